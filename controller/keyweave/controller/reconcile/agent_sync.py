"""What one agent should have, has, and was last sent. Pure; owned by `distribution`."""

from collections.abc import Collection
from dataclasses import dataclass

from keyweave.common.names import PathId
from keyweave.controller.instructions import VersionedPolicy
from keyweave.v1 import agent_pb2

NO_PATHS: frozenset[PathId] = frozenset()


@dataclass(slots=True)
class AgentSync:
    """One agent.

    A push whose answer never came may or may not have been applied, so until the agent says which, it
    counts as carrying only the paths that both policies carry and as using those that either uses.
    """

    assumed_carries: frozenset[PathId]
    assumed_uses: frozenset[PathId]
    connected: bool = False
    # The agent has connected and waits to hear that what it has is right.
    unconfirmed: bool = False
    # Whether the agent has said what it runs by since this controller started.
    heard: bool = False
    desired: VersionedPolicy | None = None
    # Applied and persisted by the agent; None while its content is not known.
    applied: VersionedPolicy | None = None
    # Sent, not answered (the connection may have gone meanwhile).
    outstanding: VersionedPolicy | None = None
    # Last refusal; it holds back this digest until the agent reconnects or something else is desired.
    nacked_digest: bytes = b""
    nacked_rules: tuple[agent_pb2.RuleStatus, ...] = ()
    # Whether what was last sent is what the agent has with other orders, because it refuses what is desired,
    # and the last of these that it refused as well.
    orders_alone: bool = False
    nacked_orders_digest: bytes = b""

    def does_carry(self, path: PathId) -> bool:
        """Whether the agent relays or accepts the path, whatever became of the last push."""
        return path in self._base_carries and (
            self.outstanding is None or path in self.outstanding.policy.carries
        )

    def may_use(self, path: PathId) -> bool:
        """Whether the agent may be drawing keys over the path."""
        return path in self._base_uses or (
            self.outstanding is not None and path in self.outstanding.policy.uses
        )

    def does_use(self, path: PathId) -> bool:
        """Whether the agent may draw keys over the path, whatever became of the last push."""
        return path in self._base_uses and (self.outstanding is None or path in self.outstanding.policy.uses)

    @property
    def carries(self) -> frozenset[PathId]:
        """All paths of which `does_carry` holds."""
        return frozenset(filter(self.does_carry, self._base_carries))

    @property
    def uses(self) -> frozenset[PathId]:
        """All paths of which `may_use` holds."""
        sent = self.outstanding.policy.uses if self.outstanding is not None else ()
        return frozenset((*self._base_uses, *sent))

    @property
    def in_doubt(self) -> frozenset[PathId]:
        """Paths on which what the agent is known to have and what it was last sent may differ."""
        if self.outstanding is None:
            return NO_PATHS
        sent = self.outstanding.policy
        if self.applied is not None and self.applied.policy.digest == sent.since:
            return sent.moved
        carried = frozenset(self._base_carries) ^ frozenset(sent.carries)
        return carried | (frozenset(self._base_uses) ^ frozenset(sent.uses))

    @property
    def in_sync(self) -> bool:
        """Whether the agent has applied what is desired of it."""
        return (
            self.applied is not None
            and self.desired is not None
            and self.outstanding is None
            and self.applied.policy.digest == self.desired.policy.digest
        )

    @property
    def _base_carries(self) -> Collection[PathId]:
        return self.applied.policy.carries if self.applied else self.assumed_carries

    @property
    def _base_uses(self) -> Collection[PathId]:
        return self.applied.policy.uses if self.applied else self.assumed_uses
