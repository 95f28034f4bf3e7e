"""Whether peers are still who they proved to be, and what becomes of those that are not.

A certificate of a peer that expires, is revoked, or whose anchor goes ends the session, and with it goes what
is shared with the peer and not yet used: pools and undelivered keys. A peer that is revoked may be in other
hands.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Mapping

from keyweave.agent.keyplane.failure import KeyPlaneError, RevokedError
from keyweave.agent.keyplane.sessions.enrolment import Enrolment
from keyweave.agent.keyplane.sessions.session import Peer
from keyweave.common import log
from keyweave.common.names import NodeName
from keyweave.v1 import agent_pb2

LOOK_SECONDS = 0.5


class Vouching:
    """Keeps watch over the certificates of all peers."""

    def __init__(
        self,
        enrolment: Enrolment,
        peers: Mapping[NodeName, Peer],
        destroy: Callable[[NodeName, str], None],
        on_event: Callable[[agent_pb2.AgentEvent], None],
    ) -> None:
        # Signatures that did not verify, by peer; for metrics.
        self.signature_failures: Counter[NodeName] = Counter()
        self._enrolment = enrolment
        self._peers = peers
        self._destroy = destroy
        self._on_event = on_event
        self._told: dict[NodeName, str] = {}

    async def watch(self) -> None:
        """Look at every peer's certificates twice a second: they also end by the clock, without any event."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            self.look()

    def look(self) -> None:
        """End the sessions of peers whose certificates are no longer good."""
        for peer in self._peers.values():
            reason = self._refusal(peer)
            if reason:
                peer.last_proven = None
                peer.hang_up()
                self._destroy(peer.node, reason)
                self.disbelieved(peer, RevokedError(reason))

    def admitted(self, peer: Peer) -> None:
        """A session is up: what is refused next is told again."""
        self._told.pop(peer.node, None)

    def disbelieved(self, peer: Peer, error: KeyPlaneError) -> None:
        """Somebody spoke for a peer and was refused. Told once until a new session, however often it happens.

        A session that stands is left alone: else whoever stole an old, revoked key could end it.
        """
        if isinstance(error, RevokedError):
            kind = agent_pb2.AGENT_EVENT_KIND_PEER_REVOKED
        else:
            kind = agent_pb2.AGENT_EVENT_KIND_SIGNATURE_FAILED
            self.signature_failures[peer.node] += 1
        if self._told.get(peer.node) == error.reason:
            return
        self._told[peer.node] = error.reason
        log.get().warning("peer_not_believed", peer=peer.node, reason=error.reason)
        self._on_event(agent_pb2.AgentEvent(kind=kind, peer_node=peer.node, reason=error.reason[:1000]))

    def _refusal(self, peer: Peer) -> str:
        proven, now = peer.last_proven, time.time()
        if proven is None:
            return ""
        reason = self._enrolment.signing_trust.refusal(proven.verifier.standing, now)
        if not reason and proven.tls is not None:
            reason = self._enrolment.tls_trust.refusal(proven.tls, now)
        return reason and f"{peer.node} {reason}"
