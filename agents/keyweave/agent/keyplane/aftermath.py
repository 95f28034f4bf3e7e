"""After the fact: what goes when a link turned out to be under attack, and what operators order then.

What is still here is destroyed at once, at both ends of every stream concerned; what applications have
fetched is recalled.
"""

import time
import uuid
from collections.abc import Callable, Iterable, Mapping

from keyweave.agent.keyplane.failure import KeyPlaneError
from keyweave.agent.keyplane.keys.keystore import KeyStore, StoredKey
from keyweave.agent.keyplane.links.linkend import LinkEnd
from keyweave.agent.keyplane.links.linkwatch import LinkHealth, Verdict
from keyweave.agent.keyplane.quarantine import QuarantineNotices
from keyweave.agent.keyplane.recall import Recalls
from keyweave.agent.keyplane.sessions.session import Peer
from keyweave.agent.keyplane.streams.far import FarEnd
from keyweave.agent.keyplane.streams.near import NearEnd
from keyweave.agent.keyplane.streams.relay import Relays
from keyweave.agent.keyplane.terms import StreamTerms
from keyweave.common import log
from keyweave.common.names import LinkName, NodeName, StreamName, is_name
from keyweave.v1 import agent_pb2, types_pb2
from keyweave.v1 import keyplane_pb2 as pb

# Key IDs in one notice; a message must stay below gRPC's limit.
IDS_PER_WITHDRAW = 4096

_EVENT_OF_HEALTH = {
    LinkHealth.NO_SIGNAL: agent_pb2.AGENT_EVENT_KIND_LINK_LOSS_OF_SIGNAL,
    LinkHealth.FAULT: agent_pb2.AGENT_EVENT_KIND_LINK_DEVICE_FAULT,
    LinkHealth.ABORTED: agent_pb2.AGENT_EVENT_KIND_LINK_QBER_ABORT,
}


class Aftermath:
    """What the key plane of one node destroys and tells, once something is known."""

    def __init__(
        self,
        node: NodeName,
        store: KeyStore,
        links: Mapping[LinkName, LinkEnd],
        near: Mapping[StreamName, NearEnd],
        far: Mapping[StreamName, FarEnd],
        peers: Mapping[NodeName, Peer],
        relays: Relays,
        recalls: Recalls | None,
        on_event: Callable[[agent_pb2.AgentEvent], None],
    ) -> None:
        self.notices = QuarantineNotices(peers)
        self._node = node
        self._store = store
        self._links = links
        self._near = near
        self._far = far
        self._peers = peers
        self._relays = relays
        self._recalls = recalls
        self._on_event = on_event

    # ---- links going bad ----------------------------------------------------------------------

    def link_verdict(self, link: LinkEnd, before: Verdict, after: Verdict) -> None:
        """A link end's health changed: tell the controller, and quarantine where it was an abort."""
        kind = _EVENT_OF_HEALTH.get(after.health)
        by_device = LinkHealth.SUSPECT not in (before.health, after.health)
        if by_device and (kind is not None or before.health in _EVENT_OF_HEALTH):
            self._event(
                kind or agent_pb2.AGENT_EVENT_KIND_LINK_RESTORED,
                after.reason,
                link=link.name,
                peer_node=link.peer_node,
                since_unix_nanos=int(after.since * 1e9),
            )
        if after.health in (LinkHealth.ABORTED, LinkHealth.SUSPECT):
            self._quarantine(link.name, after.since, after.reason)
        else:
            for near in self._near.values():
                near.path_back()

    def _quarantine(self, link: LinkName, since: float, reason: str) -> None:
        """Undelivered keys built on a link since a moment go, here and at the ends of what crosses here."""
        nanos = int(since * 1e9)
        self._event(agent_pb2.AGENT_EVENT_KIND_QUARANTINED, reason, link=link, since_unix_nanos=nanos)
        self._spoiled(link, since, reason, None)
        if self._recalls is not None:
            self._recalls.ask(link, nanos, None)
        notice = pb.Quarantine(link=link, since_unix_nanos=nanos, reason=reason[:300])
        self.notices.spread(notice, self._relays.transits_over(link), None)

    def on_quarantine(self, peer: Peer, notice: pb.Quarantine) -> None:
        """A neighbour says that keys built on a link are no longer to be trusted.

        A moment before 1970 stands for an order to destroy what is undelivered: it recalls nothing.
        """
        since, link = notice.since_unix_nanos / 1e9, LinkName(notice.link)
        if not is_name(link):
            raise KeyPlaneError(pb.FAILURE_CODE_MALFORMED, "link is not a name", node=self._node)
        named = {StreamName(name) for name in notice.streams}
        # Only a neighbour on a stream's way may have its keys destroyed.
        ending = frozenset(
            name
            for name in named & self._far.keys()
            for path in self._far[name].terms.accepted.values()
            if link in path.links and path.first_node == peer.node
        )
        if ending:
            self._spoiled(link, since, notice.reason, ending)
            if since > 0 and self._recalls is not None:
                self._recalls.ask(link, notice.since_unix_nanos, ending)
        self.notices.spread(notice, self._relays.transits_of(named), peer.node)

    def _spoiled(
        self, link: LinkName, since: float, reason: str, streams: frozenset[StreamName] | None
    ) -> None:
        """Destroy undelivered keys, of these streams or all, that were built on a link since a moment."""
        self._store.quarantine(link, time.time(), (None,) if streams is None else streams)
        self.destroy_keys(
            lambda key: (
                link in key.provenance.links
                and key.created >= since
                and (streams is None or key.went_over(streams))
            ),
            f"built on {link}: {reason}"[:300],
            at_both_ends=True,
        )

    # ---- operators' orders --------------------------------------------------------------------

    def carry_out(self, order: agent_pb2.OrderRule) -> None:
        """Do what an operator ordered for a link; the order is new to this node."""
        link = self._links.get(LinkName(order.link))
        by = f"ordered by {order.ordered_by or 'an operator'}"
        if link is None:
            log.get().warning("order_not_for_here", order=order.order_id, link=order.link)
        elif order.kind == types_pb2.ORDER_KIND_LINK_CLEAR:
            self._event(
                agent_pb2.AGENT_EVENT_KIND_QUARANTINE_CLEARED,
                by,
                link=link.name,
                peer_node=link.peer_node,
                count=link.release_held(),
            )
        elif order.kind == types_pb2.ORDER_KIND_LINK_CALIBRATE:
            link.calibration.ask(by)
        elif order.kind == types_pb2.ORDER_KIND_LINK_DESTROY:
            self._event(
                agent_pb2.AGENT_EVENT_KIND_QUARANTINE_DESTROYED,
                by,
                link=link.name,
                peer_node=link.peer_node,
                count=link.destroy_keys(by, tell=True),
            )
            self._spoiled(link.name, 0.0, by, None)
            # The number tells this order from others, of which a node may have passed on the notice.
            number = -max(1, abs(order.ordered_unix_nanos))
            notice = pb.Quarantine(link=link.name, since_unix_nanos=number, reason=by[:300])
            self.notices.spread(notice, self._relays.transits_over(link.name), None)

    # ---- keys ---------------------------------------------------------------------------------

    def destroy_keys(
        self, doomed: Callable[[StoredKey], bool], reason: str, *, at_both_ends: bool = False
    ) -> int:
        """Destroy undelivered keys of this node, if need be at the other ends too, and say so; how many."""
        destroyed = 0
        for stream, ids in self._store.destroy(doomed, reason).items():
            destroyed += len(ids)
            self._keys_destroyed(stream, len(ids), reason)
            if at_both_ends:
                self.withdraw(stream, ids, reason)
        return destroyed

    def destroy_keys_of(self, stream: StreamName, reason: str) -> None:
        """Destroy a stream's undelivered keys."""
        self.destroy_keys(lambda key: key.stream == stream, reason)

    def destroy_disallowed(self, terms: StreamTerms, *, restricted_anew: bool) -> None:
        """Destroy, at both ends, a stream's undelivered keys that its terms do not allow any more.

        Where the operator has changed what nodes may relay them, only what those now in question have made
        is kept. The other end may go by other terms: what it hands out must be here, too.
        """

        def allowed(key: StoredKey) -> bool:
            if restricted_anew and not terms.allows_copy(key.provenance, self._node):
                return False
            return terms.allows(key.provenance)

        self.destroy_keys(
            lambda key: key.stream == terms.stream and not allowed(key),
            "no longer what the stream requires",
            at_both_ends=True,
        )

    def withdraw(self, stream: StreamName, key_ids: Iterable[uuid.UUID], reason: str) -> None:
        """Have the other end of a stream destroy its copies of keys that nobody gets here."""
        far = self._far.get(stream)
        ids = list(key_ids)
        if far is not None:
            for start in range(0, len(ids), IDS_PER_WITHDRAW):
                part = ids[start : start + IDS_PER_WITHDRAW]
                self.notices.withdraw(self._peers[far.terms.peer_node], stream, part, reason)

    def on_withdraw(self, peer: Peer, stream: StreamName, withdraw: pb.Withdraw) -> pb.Frame:
        """The other end of a stream has destroyed its copies of these keys."""
        ids = [uuid.UUID(bytes=key_id) for key_id in withdraw.key_ids if len(key_id) == 16]
        reason = f"withdrawn by {peer.node}: {withdraw.reason}"[:300]
        drawable, collectable = self._store.withdraw(stream, ids, reason)
        if drawable:
            self._keys_destroyed(stream, drawable, reason)
        return pb.Frame(withdrawn=pb.Withdrawn(destroyed=drawable + collectable))

    def _keys_destroyed(self, stream: StreamName, count: int, reason: str) -> None:
        self._event(agent_pb2.AGENT_EVENT_KIND_KEYS_DESTROYED, reason, stream=stream, count=count)
        if stream in self._near:
            self._near[stream].wake()

    def _event(
        self,
        kind: agent_pb2.AgentEventKind,
        reason: str,
        *,
        link: str = "",
        stream: str = "",
        peer_node: str = "",
        count: int = 0,
        since_unix_nanos: int = 0,
    ) -> None:
        self._on_event(
            agent_pb2.AgentEvent(
                kind=kind,
                reason=reason[:1000],
                link=link,
                stream=stream,
                peer_node=peer_node,
                count=count,
                since_unix_nanos=since_unix_nanos,
            )
        )
