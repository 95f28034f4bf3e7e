"""Which controller to dial: of those that the agent was configured with, the one that leads if known."""

from collections.abc import Sequence


class Endpoints:
    """The addresses of one network's controllers, and whose turn it is. Pure."""

    def __init__(self, addresses: Sequence[str]) -> None:
        self._addresses = tuple(addresses)
        self._turn = 0
        self._told: str | None = None
        # Since a connection last lasted.
        self._failures = 0

    @property
    def current(self) -> str:
        """The address to dial now."""
        return self._addresses[self._turn]

    def told(self, leader: str | None) -> None:
        """The controller that was dialled stands by, and says who leads.

        An address that is not ours is not dialled: whom an agent talks to is its owner's to say.
        """
        self._told = leader

    def failed(self, *, lasted: bool) -> int:
        """The connection is over: it is another one's turn. Returns how many rounds have come to nothing."""
        self._failures = 0 if lasted else self._failures + 1
        told, self._told = self._told, None
        if told in self._addresses and told != self.current:
            self._turn = self._addresses.index(told)
        else:
            self._turn = (self._turn + 1) % len(self._addresses)
        return -(-self._failures // len(self._addresses))
