"""Relaying one share over one hop, and through a trusted node.

The near end sends its share to the first hop; every transit node verifies the hop's one-time tag, takes
the pad off, checks that its policy names the stream, the path, hop for hop as the sender was told it, and the
neighbours, and sends it on under the next link's pad. The reply travels back the same way once the far end
holds the share.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from keyweave.agent import memory
from keyweave.agent.guard.model import TransitGuard
from keyweave.agent.keyplane.failure import KeyPlaneError
from keyweave.agent.keyplane.links.linkend import LinkEnd
from keyweave.agent.keyplane.links.pool import Range
from keyweave.agent.keyplane.sessions.session import Peer
from keyweave.agent.keyplane.streams import wire
from keyweave.agent.keyplane.streams.budget import TokenBucket
from keyweave.agent.keyplane.streams.route import Side, Transit
from keyweave.common.names import LinkName, NodeName, PathId, StreamName
from keyweave.v1 import agent_pb2
from keyweave.v1 import keyplane_pb2 as pb

RELAY_TIMEOUT_SECONDS = 1.0
# What a reply may say of the way beyond; each hop adds its own to it.
MAX_LINKS = 64
# What a peer has not sent, within the guard's rate, it may send later: for refilled buffers and failovers.
PEER_BURST_SECONDS = 10


@dataclass(frozen=True, slots=True)
class Share:
    """One share of a batch and the way it takes."""

    stream: StreamName
    path_id: PathId
    path_digest: bytes
    reverse: bool
    batch_id: bytes
    index: int
    count: int


class Relays:
    """Sending shares from, through and to this node."""

    def __init__(
        self,
        node: NodeName,
        links: Mapping[LinkName, LinkEnd],
        peers: Mapping[NodeName, Peer],
        on_bad_tag: Callable[[Peer, pb.Relay], None],
        on_other_path: Callable[[Peer, pb.Relay], None],
    ) -> None:
        self._node = node
        self._links = links
        self._peers = peers
        self._on_bad_tag = on_bad_tag
        self._on_other_path = on_other_path
        self._transits: dict[tuple[StreamName, PathId], Transit] = {}
        self._budgets: dict[tuple[StreamName, PathId], TokenBucket] = {}
        self._guard: TransitGuard | None = None
        self._peer_budgets: dict[NodeName, TokenBucket] = {}
        # Shares refused since the agent started because a peer sent more than the guard lets it.
        self.over_guard_total = 0
        # Likewise because its sender was told other hops.
        self.other_path_total = 0

    def apply(self, rules: Iterable[agent_pb2.RelayRule], guard: TransitGuard | None) -> None:
        """Transit only what these rules name; budgets that go on keep what they have left."""
        now = time.monotonic()
        transits = [Transit.of(rule, self._node) for rule in rules]
        self._transits = {(transit.stream, transit.path_id): transit for transit in transits}
        kept = {}
        for key, transit in self._transits.items():
            bucket = self._budgets.get(key) or TokenBucket(transit.budget_bps, transit.burst_bits, now)
            bucket.resize(transit.budget_bps, transit.burst_bits, now)
            kept[key] = bucket
        self._budgets = kept
        self._guard = guard
        for peer, budget in self._peer_budgets.items():
            budget.resize(*_peer_terms(guard, peer), now)

    def transits_over(self, link: LinkName) -> list[Transit]:
        """The paths through this node that use a link."""
        return [t for t in self._transits.values() if link in (t.towards_source.link, t.towards_target.link)]

    def transits_of(self, streams: AbstractSet[StreamName]) -> list[Transit]:
        """The paths of some streams through this node."""
        return [t for t in self._transits.values() if t.stream in streams]

    async def send(
        self, share: Share, link: LinkName, to: NodeName, secret: bytes | bytearray
    ) -> pb.RelayAccepted:
        """Send a share over one hop and wait until the far end holds it; KeyPlaneError otherwise."""
        link_end, peer = self._hop(link, to)
        taken = await link_end.pools.acquire(len(secret) + wire.overhead())
        sealed = _sealed(share, link, secret, taken)
        reply = await peer.request(pb.Frame(relay=sealed), RELAY_TIMEOUT_SECONDS)
        return _passed_back(reply.relay_accepted, link_end)

    def _hop(self, link: LinkName, to: NodeName) -> tuple[LinkEnd, Peer]:
        link_end, peer = self._links.get(link), self._peers.get(to)
        if link_end is None or peer is None or link_end.peer_node != to:
            raise KeyPlaneError(
                pb.FAILURE_CODE_NOT_ALLOWED, f"there is no link '{link}' to {to} here", node=self._node
            )
        if not peer.connected:
            raise KeyPlaneError(
                pb.FAILURE_CODE_UNREACHABLE, f"no session with {to}", node=self._node, link=link
            )
        return link_end, peer

    def open(self, peer: Peer, relay: pb.Relay) -> bytearray:
        """Take the pad off a share that `peer` sent, for whoever policy says may see it here."""
        problem = wire.well_formed(relay)
        if problem:
            raise KeyPlaneError(pb.FAILURE_CODE_MALFORMED, problem, node=self._node)
        link_end = self._links.get(LinkName(relay.link))
        if link_end is None or link_end.peer_node != peer.node:
            raise self._not_allowed(f"link '{relay.link}' does not lead to {peer.node}")
        one_time = link_end.pools.receive(relay, len(relay.ciphertext) + wire.overhead())
        secret = wire.open_sealed(relay, one_time)
        if secret is None:
            self._on_bad_tag(peer, relay)
            raise KeyPlaneError(
                pb.FAILURE_CODE_BAD_TAG, "the one-time tag does not verify", node=self._node, link=relay.link
            )
        return secret

    def check_path(self, peer: Peer, relay: pb.Relay, digest: bytes) -> None:
        """KeyPlaneError unless the share is to take the path that this node was told of, hop for hop."""
        if relay.path_digest != digest:
            self.other_path_total += 1
            self._on_other_path(peer, relay)
            raise self._not_allowed(f"path '{relay.path_id}' has other hops here than at its sender")

    def admit(self, peer: Peer, relay: pb.Relay) -> Side:
        """The next hop of a share in transit, if policy and budget allow it; KeyPlaneError otherwise."""
        key = (StreamName(relay.stream), PathId(relay.path_id))
        transit = self._transits.get(key)
        if transit is None:
            raise self._not_allowed(f"no rule for stream '{relay.stream}' over path '{relay.path_id}'")
        here, there = transit.towards_source, transit.towards_target
        if relay.reverse:
            here, there = there, here
        if (relay.link, peer.node) != (here.link, here.node):
            raise self._not_allowed(
                f"path '{relay.path_id}' does not come over '{relay.link}' from {peer.node}"
            )
        self.check_path(peer, relay, transit.digest)
        self._charge(peer, relay, transit)
        return there

    def _charge(self, peer: Peer, relay: pb.Relay, transit: Transit) -> None:
        """Take a share from its stream's budget and from what the guard lets this peer send; both or none."""
        now, bits = time.monotonic(), len(relay.ciphertext) * 8
        of_peer = self._peer_budgets.get(peer.node)
        if of_peer is None:
            of_peer = self._peer_budgets[peer.node] = TokenBucket(*_peer_terms(self._guard, peer.node), now)
        if of_peer.available(now) < bits:
            self.over_guard_total += 1
            reason = f"{peer.node} has used the {of_peer.rate:g} bit/s that the guard lets it send"
        elif not self._budgets[transit.stream, transit.path_id].take(bits, now):
            reason = f"stream '{relay.stream}' has used its budget of {transit.budget_bps} bit/s"
        else:
            of_peer.take(bits, now)
            return
        raise KeyPlaneError(pb.FAILURE_CODE_OVER_BUDGET, reason, node=self._node, link=relay.link)

    def forward(self, relay: pb.Relay, secret: bytearray, onward: Side) -> Awaitable[pb.Frame]:
        """Send a share in transit on; the reply goes back with the link it came over.

        Where key to send with is at hand the share leaves before this returns, and no task waits for the
        reply: half of all frames on a path are such shares.
        """
        share = Share(
            StreamName(relay.stream),
            PathId(relay.path_id),
            relay.path_digest,
            relay.reverse,
            relay.batch_id,
            relay.share,
            relay.shares,
        )
        try:
            link_end, peer = self._hop(onward.link, onward.node)
            taken = link_end.pools.take(len(secret) + wire.overhead())
            if taken is None:
                return self._forward_later(share, bytearray(secret), onward)
            sealed = _sealed(share, onward.link, secret, taken)
        finally:
            memory.wipe(secret)
        answer: asyncio.Future[pb.Frame] = asyncio.get_running_loop().create_future()

        def pass_back(reply: pb.Frame) -> None:
            if not answer.done():
                answer.set_result(_passed_back_frame(reply, link_end))

        peer.ask(pb.Frame(relay=sealed), RELAY_TIMEOUT_SECONDS, pass_back)
        return answer

    async def _forward_later(self, share: Share, secret: bytearray, onward: Side) -> pb.Frame:
        try:
            return pb.Frame(relay_accepted=await self.send(share, onward.link, onward.node, secret))
        finally:
            memory.wipe(secret)

    def _not_allowed(self, reason: str) -> KeyPlaneError:
        return KeyPlaneError(pb.FAILURE_CODE_NOT_ALLOWED, reason, node=self._node)


def _sealed(share: Share, link: LinkName, secret: bytes | bytearray, taken: Range) -> pb.Relay:
    """A share under the next hop's pad, which is overwritten."""
    relay = pb.Relay(
        stream=share.stream,
        path_id=share.path_id,
        path_digest=share.path_digest,
        reverse=share.reverse,
        batch_id=share.batch_id,
        share=share.index,
        shares=share.count,
        link=link,
        pool_id=taken.pool_id,
        first_lane=taken.first_lane,
        offset=taken.offset,
    )
    wire.seal(relay, secret, taken.data)
    return relay


def _passed_back(accepted: pb.RelayAccepted, link_end: LinkEnd) -> pb.RelayAccepted:
    """What the way beyond told of itself, and with it the link that leads there."""
    return pb.RelayAccepted(
        links=[link_end.name, *(name[:63] for name in accepted.links[:MAX_LINKS])],
        emulated=accepted.emulated or link_end.info.emulated,
        vendor_domains=vendor_domains([*accepted.vendor_domains, link_end.info.vendor_domain]),
    )


def _passed_back_frame(reply: pb.Frame, link_end: LinkEnd) -> pb.Frame:
    """The same as a reply; a failure beyond, or word of too much, as a failure."""
    try:
        if reply.WhichOneof("body") == "failure":
            raise KeyPlaneError.from_message(reply.failure)
        return pb.Frame(relay_accepted=_passed_back(reply.relay_accepted, link_end))
    except KeyPlaneError as error:
        return pb.Frame(failure=error.to_message())


def vendor_domains(told: Iterable[str]) -> list[str]:
    """The vendors' domains that nodes on a way told of, sorted; KeyPlaneError where they are too many.

    None is left out: a peer that tells of many must not make others forgotten.
    """
    names = sorted({name[:63] for name in told if name})
    if len(names) > MAX_LINKS:
        raise KeyPlaneError(
            pb.FAILURE_CODE_MALFORMED, f"{len(names)} vendors' domains on one way; at most {MAX_LINKS}"
        )
    return names


def _peer_terms(guard: TransitGuard | None, peer: NodeName) -> tuple[float, float]:
    """Rate (bit/s) and burst (bits) of what a peer may send through this node; one message always fits."""
    rate = guard.bps_from(peer) if guard else 0
    return float(rate), float(max(rate * PEER_BURST_SECONDS, wire.MAX_SECRET_BYTES * 8)) if rate else 0.0
