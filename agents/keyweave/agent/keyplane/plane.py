"""The key plane of one node: what policy names comes to life here, and frames find their handlers.

One task group owns every task. Policy comes in as a whole by `apply`; sessions, links and streams are
started, changed and stopped to match it.
"""

import asyncio
import os
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Protocol

from keyweave.agent.drivers.base import DeviceReport, Driver, LinkEndInfo
from keyweave.agent.drivers.joined import who_meets_twin
from keyweave.agent.guard.checks import tightened, tightened_link
from keyweave.agent.guard.model import Guard
from keyweave.agent.keyplane.aftermath import Aftermath
from keyweave.agent.keyplane.failure import KeyPlaneError, SignatureError
from keyweave.agent.keyplane.keys.keystore import KeyStore, Records
from keyweave.agent.keyplane.links.devices import check_link_end, follow
from keyweave.agent.keyplane.links.journal import Journal
from keyweave.agent.keyplane.links.linkend import LinkEnd
from keyweave.agent.keyplane.recall import Recalls
from keyweave.agent.keyplane.sessions.enrolment import Enrolment
from keyweave.agent.keyplane.sessions.session import Peer
from keyweave.agent.keyplane.sessions.transport import dial
from keyweave.agent.keyplane.sessions.vouching import Vouching
from keyweave.agent.keyplane.streams import kem
from keyweave.agent.keyplane.streams.budget import TokenBucket
from keyweave.agent.keyplane.streams.far import FarEnd
from keyweave.agent.keyplane.streams.near import NearEnd
from keyweave.agent.keyplane.streams.relay import Relays
from keyweave.agent.keyplane.terms import LinkPolicy, StreamTerms
from keyweave.agent.observer import Observer
from keyweave.common import log
from keyweave.common.file_watch import FileWatch
from keyweave.common.names import LinkName, NodeName, PathId, StreamName
from keyweave.v1 import agent_pb2, pairs_pb2, types_pb2
from keyweave.v1 import keyplane_pb2 as pb

EXPIRY_CHECK_SECONDS = 1.0
# Quarantines, truncations and new pools that one peer may send.
ALARMS_PER_SECOND = 20.0
ALARMS_AT_ONCE = 200.0
# Events that one peer causes by what it does wrong; of more the next one says how many there were.
COMPLAINTS_PER_SECOND = 1.0
COMPLAINTS_AT_ONCE = 20.0

_LINK_FRAMES = frozenset(
    {
        "pool_open",
        "pool_opened",
        "pool_intake",
        "pool_grant",
        "pool_destroy",
        "pool_truncate",
        "pool_burn",
        "driver_message",
    }
)

_LINK_TASKS = ("link-open", "link-journal", "link-blocks", "link-calibration", "link-watch")

# What makes this end destroy something and tell others of it.
_ALARMING = frozenset({"pool_open", "pool_truncate"})


class HearsOfPairs(Protocol):
    """Whoever works the node's entangled pairs, over the same sessions."""

    def on_messages(self, sender: NodeName, told: pairs_pb2.PairMessages) -> None:
        """A peer says something of pairs."""
        ...

    def on_connected(self, node: NodeName, *, restarted: bool) -> None:
        """A session is up."""
        ...

    def on_disconnected(self, node: NodeName) -> None:
        """It is gone."""
        ...


class KeyPlane:
    """Sessions, link ends and streams of one node."""

    def __init__(
        self,
        node: NodeName,
        incarnation: bytes,
        enrolment: Enrolment,
        observer: Observer,
        *,
        files: FileWatch,
        kem_parameter_set: int = kem.DEFAULT_PARAMETER_SET,
        on_report: Callable[[DeviceReport], None],
        on_event: Callable[[agent_pb2.AgentEvent], None],
        records: Records | None = None,
        recalls: Recalls | None = None,
        quarantine_seconds: float = 24 * 3600.0,
    ) -> None:
        self.node = node
        self.store = KeyStore(records)
        self.links: dict[LinkName, LinkEnd] = {}
        self.near: dict[StreamName, NearEnd] = {}
        self.far: dict[StreamName, FarEnd] = {}
        self.peers: dict[NodeName, Peer] = {}
        self.pairs: HearsOfPairs | None = None
        self.observer = observer
        self.relays = Relays(node, self.links, self.peers, self._bad_tag, self._other_path)
        self._incarnation = incarnation
        self._enrolment = enrolment
        self._files = files
        self._kem_parameter_set = kem_parameter_set
        self._on_report = on_report
        self._on_event = on_event
        self._quarantine_seconds = quarantine_seconds
        self._addresses: dict[NodeName, str] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._group: asyncio.TaskGroup | None = None
        self._alarms: dict[NodeName, TokenBucket] = {}
        self._complaints: dict[NodeName, TokenBucket] = {}
        self._untold: Counter[tuple[NodeName, int]] = Counter()
        self.vouching = Vouching(enrolment, self.peers, self._peer_lost_trust, on_event)
        # What is run by; nothing before the first policy.
        self._in_force: tuple[tuple[agent_pb2.Rule, ...], Guard] | None = None
        self.aftermath = Aftermath(
            node, self.store, self.links, self.near, self.far, self.peers, self.relays, recalls, on_event
        )

    # ---- life ---------------------------------------------------------------------------------

    async def add_driver(self, driver: Driver, state_dir: Path) -> None:
        """Take up the link ends that a driver serves."""
        for info in await driver.link_ends():
            self.take_up(info, driver, state_dir)

    def take_up(self, info: LinkEndInfo, driver: Driver, state_dir: Path) -> None:
        """Take up one link end, now or before all else runs; InvalidInputError where there can be no such."""
        check_link_end(info)
        link = self.links[info.link] = LinkEnd(
            self.node,
            info,
            driver,
            Journal(state_dir / "links" / f"{info.link}.json"),
            self.observer,
            on_report=self._on_report,
            on_verdict=self.aftermath.link_verdict,
            on_event=self._on_event,
            on_supply=self._wake_streams,
        )
        meeting = who_meets_twin(driver, link.name)
        if meeting is not None:
            link.twin.met()
            meeting.meet(link.name, link.twin)
        if self._group is not None:
            self._run_link(link)

    def let_go(self, name: LinkName) -> None:
        """A link that had been taken up is no more; what it held is destroyed at both ends."""
        link = self.links.pop(name)
        for work in _LINK_TASKS:
            self._stop(f"{work}-{name}")
        link.destroy_keys("the link is no more", tell=True)

    async def run(self) -> None:
        """Own all tasks of the key plane until cancelled."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            for link in self.links.values():
                self._run_link(link)
            group.create_task(self._expire_keys(), name="expire-keys")
            group.create_task(self.vouching.watch(), name="peer-certificates")

    def close(self) -> None:
        """Overwrite all key bytes that this process still holds."""
        for link in self.links.values():
            link.destroy_keys("the agent stops", tell=False)
        self.store.destroy(lambda _key: True, "the agent stops")

    # ---- policy -------------------------------------------------------------------------------

    def apply(self, rules: Iterable[agent_pb2.Rule], guard: Guard) -> None:
        """Bring sessions, links, streams and transit to what these rules say, within the guard."""
        rules = tuple(rules)
        self._in_force = rules, guard
        self._apply_peers({NodeName(r.peer.node): r.peer.key_plane_address for r in _of("peer", rules)})
        self.relays.apply((rule.relay for rule in _of("relay", rules)), guard.transit)
        streams = [tightened(guard, StreamTerms.of(r.stream)) for r in _of("stream", rules)]
        self._apply_streams({terms.stream: terms for terms in streams})
        # Last: a link that comes under suspicion quarantines what the rules above name.
        links = [(LinkName(r.link.link), LinkPolicy.of(r.link)) for r in _of("link", rules)]
        self._apply_links({name: tightened_link(guard, name, policy) for name, policy in links})

    def zeroize(self, reason: str) -> None:
        """Destroy all key material of this node and begin anew, for its peers as after a restart."""
        in_force, keys = self._in_force, sum(self.store.count())
        # First, while policy is in force: what becomes of each link and key is told with its real reason.
        for link in self.links.values():
            link.destroy_keys(reason, tell=False)
        self.store.destroy(lambda _key: True, reason)
        if in_force is not None:
            self.apply((), in_force[1])
        # What peers share with this node they destroy when it comes back as another incarnation.
        self._incarnation = os.urandom(16)
        log.get().warning("zeroized", keys=keys, reason=reason)
        self._on_event(
            agent_pb2.AgentEvent(kind=agent_pb2.AGENT_EVENT_KIND_ZEROIZED, reason=reason, count=keys)
        )
        if in_force is not None:
            self.apply(*in_force)

    def carry_out(self, order: agent_pb2.OrderRule) -> None:
        """Do what an operator ordered; the order is new to this node."""
        log.get().info("order_carried_out", order=order.order_id, by=order.ordered_by, link=order.link)
        if order.kind == types_pb2.ORDER_KIND_NODE_ZEROIZE:
            self.zeroize(f"ordered by {order.ordered_by or 'an operator'}")
        else:
            self.aftermath.carry_out(order)

    def _apply_peers(self, addresses: Mapping[NodeName, str]) -> None:
        self._addresses.update(addresses)
        for node in self.peers.keys() - addresses.keys():
            self._stop(f"session-{node}")
            self.peers.pop(node).close()
        for node in addresses.keys() - self.peers.keys():
            peer = self.peers[node] = Peer(self.node, node, self._incarnation, self._enrolment, self)
            if self.node < node:
                dialling = dial(peer, partial(self._address_of, node), self._enrolment, self._files)
                self._start(f"session-{node}", dialling)

    def _apply_links(self, policies: Mapping[LinkName, LinkPolicy]) -> None:
        for name, link in self.links.items():
            policy = policies.get(name)
            if policy is not None and policy.peer_node != link.peer_node:
                policy = None
            link.bind(self.peers.get(link.peer_node), policy)

    def _apply_streams(self, wanted: Mapping[StreamName, StreamTerms]) -> None:
        for name in self.near.keys() - wanted.keys():
            self._stop(f"stream-{name}")
            self.near.pop(name).forget()
            self.far.pop(name).forget()
            self.aftermath.destroy_keys_of(name, "the stream is gone")
        for name, terms in wanted.items():
            peer = self.peers[terms.peer_node]
            if name in self.near and _same_stream(self.near[name].terms, terms):
                before = self.near[name].terms
                self.near[name].update(terms, peer)
                self.far[name].terms = terms
                restricted_anew = terms.restricts_relays and terms.revision != before.revision
                # New paths and rates come often, and looking at each of many keys takes long.
                if restricted_anew or terms.requirements != before.requirements:
                    self.aftermath.destroy_disallowed(terms, restricted_anew=restricted_anew)
                continue
            if name in self.near:
                self._stop(f"stream-{name}")
                self.near[name].forget()
                self.far[name].forget()
                self.aftermath.destroy_keys_of(name, "the stream has changed")
            near = NearEnd(
                self.node,
                terms,
                peer,
                self.relays,
                self.store,
                self._on_event,
                parameter_set=self._kem_parameter_set,
            )
            self.near[name] = near
            self.far[name] = FarEnd(self.node, terms, self.store, self._kem_parameter_set)
            self._start(f"stream-{name}", near.run())

    # ---- frames (session.FrameHandler) --------------------------------------------------------

    def on_frame(self, peer: Peer, frame: pb.Frame) -> pb.Frame | Awaitable[pb.Frame] | None:
        """Find the handler of a frame. State changes before this returns; only waiting is put off."""
        kind = frame.WhichOneof("body")
        if kind in _LINK_FRAMES:
            link = self._link_with(peer, getattr(frame, kind).link)
            if kind in _ALARMING:
                self._check_alarms(peer)
            link.on_frame(frame)
            return None
        match kind:
            case "relay":
                if not frame.id:
                    raise KeyPlaneError(
                        pb.FAILURE_CODE_MALFORMED, "a relay without an id has no reply", node=self.node
                    )
                return self._on_relay(peer, frame.relay)
            case "offer" | "kem_offer" | "assemble":
                return self._on_far_end(peer, frame)
            case "pool_grant_request" | "quarantine" | "pair_messages":
                self._on_notice(peer, frame)
                return None
            case "withdraw":
                stream = self._far_end(peer, frame.withdraw.stream).terms.stream
                return self.aftermath.on_withdraw(peer, stream, frame.withdraw)
        raise KeyPlaneError(pb.FAILURE_CODE_MALFORMED, f"unexpected frame '{kind}'", node=self.node)

    def _on_notice(self, peer: Peer, frame: pb.Frame) -> None:
        match frame.WhichOneof("body"):
            case "pool_grant_request":
                request = frame.pool_grant_request
                self._spawn("pool-grant", self._link_with(peer, request.link).pools.grant(request))
            case "quarantine":
                self._check_alarms(peer)
                self.aftermath.on_quarantine(peer, frame.quarantine)
            case "pair_messages":
                if self.pairs is None:
                    raise KeyPlaneError(pb.FAILURE_CODE_NOT_ALLOWED, "this node has no pairs", node=self.node)
                self.pairs.on_messages(peer.node, frame.pair_messages)

    def on_connected(self, peer: Peer, *, restarted: bool) -> None:
        """A session is up."""
        self.vouching.admitted(peer)
        log.get().info("session_up", peer=peer.node, restarted=restarted)
        if restarted:
            self.aftermath.destroy_keys(
                lambda key: key.peer_node == peer.node, f"agent {peer.node} has restarted"
            )
        for link in self.links.values():
            if link.peer_node == peer.node:
                link.session_up(restarted=restarted)
        self.aftermath.notices.repeat(peer)
        for name, near in self.near.items():
            if near.terms.peer_node == peer.node and restarted:
                self.far[name].forget()
                near.forget()
            near.path_back()
        if self.pairs is not None:
            self.pairs.on_connected(peer.node, restarted=restarted)

    def on_disconnected(self, peer: Peer) -> None:
        """A session is gone; what it carried fails by itself."""
        log.get().info("session_down", peer=peer.node)
        if self.pairs is not None:
            self.pairs.on_disconnected(peer.node)

    def on_disbelieved(self, peer: Peer, error: KeyPlaneError) -> None:
        """Somebody spoke for a peer and was not believed."""
        self.vouching.disbelieved(peer, error)

    def _peer_lost_trust(self, node: NodeName, reason: str) -> None:
        """What is shared with a peer that is revoked, and not yet used, goes."""
        self.aftermath.destroy_keys(lambda key: key.peer_node == node, reason)
        for link in self.links.values():
            if link.peer_node == node:
                link.destroy_keys(reason, tell=False)

    def _answer_kem(self, peer: Peer, offer: pb.KemOffer) -> pb.Frame:
        far = self._far_end(peer, offer.stream)
        try:
            return far.answer_kem(offer, peer.proven)
        except SignatureError as error:
            peer.disbelieve(error)
            raise

    def _on_relay(self, peer: Peer, relay: pb.Relay) -> pb.Frame | Awaitable[pb.Frame]:
        # Policy is asked before any pool byte is spent, so that no node can drain another's pools.
        far = self.far.get(StreamName(relay.stream))
        if far is not None and far.accepts(relay):
            if (relay.link, peer.node) != far.last_hop(relay):
                raise KeyPlaneError(
                    pb.FAILURE_CODE_NOT_ALLOWED, f"path '{relay.path_id}' does not end so", node=self.node
                )
            self.relays.check_path(peer, relay, far.terms.accepted[PathId(relay.path_id)].digest)
            info = self.links[LinkName(relay.link)].info
            return far.receive(
                relay,
                self.relays.open(peer, relay),
                emulated=info.emulated,
                vendor_domain=info.vendor_domain,
            )
        onward = self.relays.admit(peer, relay)
        secret = self.relays.open(peer, relay)
        return self.relays.forward(relay, secret, onward)

    def _on_far_end(self, peer: Peer, frame: pb.Frame) -> pb.Frame:
        match frame.WhichOneof("body"):
            case "offer":
                return self._far_end(peer, frame.offer.stream).confirm(frame.offer)
            case "kem_offer":
                return self._answer_kem(peer, frame.kem_offer)
        return self._far_end(peer, frame.assemble.stream).assemble(frame.assemble)

    def _far_end(self, peer: Peer, stream: str) -> FarEnd:
        far = self.far.get(StreamName(stream))
        if far is None or far.terms.peer_node != peer.node:
            raise KeyPlaneError(
                pb.FAILURE_CODE_NOT_ALLOWED, f"no stream '{stream}' with {peer.node} here", node=self.node
            )
        return far

    def _link_with(self, peer: Peer, name: str) -> LinkEnd:
        link = self.links.get(LinkName(name))
        if link is None or link.peer_node != peer.node:
            raise KeyPlaneError(
                pb.FAILURE_CODE_NOT_ALLOWED, f"no link '{name}' with {peer.node} here", node=self.node
            )
        return link

    def _check_alarms(self, peer: Peer) -> None:
        # Alarms travel on to other agents: one that floods them must not drown those.
        now = time.monotonic()
        bucket = self._alarms.setdefault(peer.node, TokenBucket(ALARMS_PER_SECOND, ALARMS_AT_ONCE, now))
        if not bucket.take(1, now):
            raise KeyPlaneError(pb.FAILURE_CODE_OVER_BUDGET, "too many alarms", node=self.node)

    def _bad_tag(self, peer: Peer, relay: pb.Relay) -> None:
        reason = "a one-time tag did not verify; its bytes are burnt"
        self._complain(agent_pb2.AGENT_EVENT_KIND_RELAY_TAG_FAILED, peer, relay, reason)

    def _other_path(self, peer: Peer, relay: pb.Relay) -> None:
        """The controller told nodes of one path different hops, or the peer made them up."""
        reason = f"path '{relay.path_id}'"[:300] + " has other hops here than at the node that sends over it"
        self._complain(agent_pb2.AGENT_EVENT_KIND_GUARD_REFUSED, peer, relay, reason)

    def _complain(self, kind: agent_pb2.AgentEventKind, peer: Peer, relay: pb.Relay, reason: str) -> None:
        """Tell of a share that is not as it should be.

        Events go before telemetry and are stored: a peer that makes them must not drown all else.
        """
        now = time.monotonic()
        bucket = self._complaints.setdefault(
            peer.node, TokenBucket(COMPLAINTS_PER_SECOND, COMPLAINTS_AT_ONCE, now)
        )
        if not bucket.take(1, now):
            self._untold[peer.node, kind] += 1
            return
        by_tag = kind == agent_pb2.AGENT_EVENT_KIND_RELAY_TAG_FAILED
        said = "relay_tag_failed" if by_tag else "relay_path_differs"
        log.get().warning(said, stream=relay.stream, peer=peer.node, reason=reason)
        self._on_event(
            agent_pb2.AgentEvent(
                kind=kind,
                link=relay.link,
                stream=relay.stream,
                peer_node=peer.node,
                reason=reason,
                occurrences=1 + self._untold.pop((peer.node, kind), 0),
            )
        )

    def _address_of(self, node: NodeName) -> str:
        return self._addresses[node]

    # ---- tasks --------------------------------------------------------------------------------

    def _run_link(self, link: LinkEnd) -> None:
        if link.info.gives_key:
            self._start(f"link-open-{link.name}", link.keep_open())
            self._start(f"link-journal-{link.name}", link.keep_ahead())
            self._start(f"link-blocks-{link.name}", follow(link.take_blocks, link.key_lost))
        self._start(f"link-calibration-{link.name}", link.calibration.serve())
        if link.info.measures:
            self._start(f"link-watch-{link.name}", follow(link.watch_device, link.device_lost))

    def _wake_streams(self) -> None:
        for near in self.near.values():
            near.wake_if_short()

    async def _expire_keys(self) -> None:
        while True:
            await asyncio.sleep(EXPIRY_CHECK_SECONDS)
            for link in self.links.values():
                link.expire_held(time.time() - self._quarantine_seconds)
            for stream in self.store.expire(time.time()):
                if stream in self.near:
                    self.near[stream].wake()

    def _spawn(self, name: str, work: Coroutine[object, object, None]) -> asyncio.Task[None]:
        if self._group is None:
            work.close()
            raise RuntimeError("the key plane is not running")
        return self._group.create_task(work, name=name)

    def _start(self, name: str, work: Coroutine[object, object, None]) -> None:
        self._tasks[name] = self._spawn(name, work)

    def _stop(self, name: str) -> None:
        task = self._tasks.pop(name, None)
        if task is not None:
            task.cancel()


def _of(kind: str, rules: Iterable[agent_pb2.Rule]) -> list[agent_pb2.Rule]:
    return [rule for rule in rules if rule.WhichOneof("kind") == kind]


def _same_stream(old: StreamTerms, new: StreamTerms) -> bool:
    """Whether keys made under the old terms are still keys of the same stream."""
    return (old.peer_node, old.local_sae, old.peer_sae, old.key_size_bits, old.is_source) == (
        new.peer_node,
        new.local_sae,
        new.peer_sae,
        new.key_size_bits,
        new.is_source,
    )
