"""What the device says of itself and its links, added up over its sessions."""

from dataclasses import dataclass, replace

from keyweave.agent.drivers.memories import Coherence, LinkCounts, MemoryBankInfo
from keyweave.common.names import LinkName


@dataclass(frozen=True, slots=True)
class LinkTotals:
    """Of one link end, since the agent started."""

    attempts: int = 0
    heralds: int = 0
    attempting_seconds: float = 0.0
    has_signal: bool = True

    def plus(self, counts: LinkCounts) -> "LinkTotals":
        """With those of the session that goes on."""
        return LinkTotals(
            self.attempts + counts.attempts_total,
            self.heralds + counts.heralds_total,
            self.attempting_seconds + counts.attempting_seconds_total,
            counts.has_signal,
        )


class Hardware:
    """The node's memories and pair links."""

    def __init__(self) -> None:
        self.bank: MemoryBankInfo | None = None
        self.reached = False
        self._before: dict[LinkName, LinkTotals] = {}
        self._now: dict[LinkName, LinkTotals] = {}

    def began(self, bank: MemoryBankInfo) -> None:
        """A session has begun, and counts from zero."""
        self.bank, self.reached = bank, True
        self._before = dict(self._now)

    def lost(self) -> None:
        """It is over."""
        self.reached = False

    def counted(self, counts: LinkCounts) -> None:
        """The device's counts of a link."""
        self._now[counts.link] = self._before.get(counts.link, LinkTotals()).plus(counts)

    def coherence(self, now: Coherence) -> None:
        """It has changed."""
        if self.bank is not None:
            self.bank = replace(self.bank, t1_seconds=now.t1_seconds, t2_seconds=now.t2_seconds)

    def totals(self, link: LinkName) -> LinkTotals:
        """Of a link."""
        return self._now.get(link, LinkTotals())
