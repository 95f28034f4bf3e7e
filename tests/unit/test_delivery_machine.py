"""Keys from the pools of links to applications at both ends, whatever the network, disks and operators do.

Real key planes of two ends and two transit nodes (delivery_network.py), and a record (delivery_record.py) of
every key and every byte of pad, which holds them against the invariants: no key bit is used twice or goes to
anybody else, both sides get the same bytes and each once, what a stream requires is what its keys have.
"""

import asyncio
import tempfile
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from keyweave.agent.etsi014.supply import Drawn, KeyOrder, SupplyError
from keyweave.common.names import StreamName
from keyweave.v1 import agent_pb2, types_pb2
from keyweave.v1 import keyplane_pb2 as pb
from tests.unit.delivery_network import Network
from tests.unit.delivery_policy import LINKS, NODES, STREAMS
from tests.unit.delivery_wires import Fault

NAMES = st.sampled_from(tuple(STREAMS))
ENDS = st.sampled_from(("a", "b"))
# What a frame does to the key plane if it gets lost, and so on: pools, shares, exchanges, offers, other keys.
KINDS = (
    "relay",
    "relay_accepted",
    "kem_offer",
    "kem_answer",
    "offer",
    "confirm",
    "assemble",
    "assembled",
    "withdraw",
    "quarantine",
    "pool_open",
    "pool_opened",
    "pool_intake",
    "pool_grant_request",
    "pool_grant",
    "pool_destroy",
    "pool_truncate",
)
FAULTS = st.builds(
    Fault, st.sampled_from(KINDS), st.sampled_from(("lose", "repeat", "delay", "cut before", "cut after"))
)
WIDE = StreamName("wide")
ORDERS: dict[str, Callable[[list[pb.Frame]], list[pb.Frame]]] = {
    "as sent": list,
    "backwards": lambda frames: frames[::-1],
    "twice": lambda frames: [*frames, *frames],
}
HEALED_SECONDS = 10.0
STEPS_BETWEEN_ENDS = 10


@dataclass
class Request:
    """An application as master that has asked for keys."""

    stream: str
    node: str
    task: asyncio.Task[Drawn | SupplyError]

    @property
    def keys(self) -> tuple[uuid.UUID, ...]:
        """What it got."""
        answer = self.task.result() if self.task.done() and not self.task.cancelled() else None
        return tuple(key.key_id for key in answer.keys) if isinstance(answer, Drawn) else ()


class Delivery(RuleBasedStateMachine):
    @initialize()
    def the_nodes_start(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.network = Network(Path(self.folder.name))
        self.network.start()
        self.requests: list[Request] = []
        self.orders = 0
        self.steps = 0

    # ---- applications ----------------------------------------------------------------------------

    @rule(
        stream=NAMES,
        node=ENDS,
        number=st.integers(1, 6),
        size=st.sampled_from((256, 256, 512, 136)),
        for_both=st.booleans(),
    )
    def an_application_draws(self, stream: str, node: str, number: int, size: int, for_both: bool) -> None:
        """Once as it likes, and once as most do."""
        further = {"narrow": "beside", "beside": "narrow"}.get(stream) if for_both and node == "a" else None
        self._draw(stream, node, number, size, further)
        self.network.run()
        self._draw(stream, node, 1, 256)
        self.network.run()

    def _draw(self, stream: str, node: str, number: int, size: int, further: str | None = None) -> Request:
        process, peer = self.network.processes[node], {"a": "b", "b": "a"}[node]
        slaves = () if further is None else (self.network.sae(further, peer),)
        drawing = process.supply.draw(
            self.network.sae(stream, node), self.network.sae(stream, peer), KeyOrder(number, size, slaves)
        )
        request = Request(stream, node, process.ask(drawing))
        self.requests.append(request)
        return request

    @precondition(lambda self: any(not request.task.done() for request in self.requests))
    @rule()
    def an_application_gives_up(self) -> None:
        next(request for request in self.requests if not request.task.done()).task.cancel()
        self.network.run()

    @precondition(lambda self: any(request.keys for request in self.requests))
    @rule(which=st.integers(0, 30), stream=NAMES, whole=st.booleans())
    def its_peer_collects(self, which: int, stream: str, whole: bool) -> None:
        """Of the right stream or, as it may be for several slaves, of the other one; perhaps again."""
        served = [request for request in self.requests if request.keys]
        request = served[-1 - which % len(served)]
        self._collect(request, request.keys if whole else request.keys[:1], stream)
        self.network.run()

    def _collect(self, request: Request, keys: tuple[uuid.UUID, ...], stream: str) -> asyncio.Task[Any]:
        here = {"a": "b", "b": "a"}[request.node]
        process, sae = self.network.processes[here], self.network.sae
        collecting = process.supply.collect(sae(stream, here), sae(stream, request.node), keys)
        return process.ask(collecting)

    # ---- the network -----------------------------------------------------------------------------

    @rule(seconds=st.sampled_from((0.05, 0.3, 1.2, 5.0)))
    def time_passes(self, seconds: float) -> None:
        self.network.run(seconds)

    @rule(fault=FAULTS)
    def a_fault_awaits(self, fault: Fault) -> None:
        self.network.faults.append(fault)

    @rule(faults=st.lists(FAULTS, min_size=1, max_size=3), stream=NAMES, node=ENDS, other=st.booleans())
    def faults_meet_new_keys(self, faults: list[Fault], stream: str, node: str, other: bool) -> None:
        """What is drawn is made anew at once."""
        self.network.faults = list(faults)
        self._draw(stream, node, 4, 512 if other else 256)
        self.network.run(0.05)

    @precondition(lambda self: any(any(wire.late.values()) for wire in self.network.wires))
    @rule(order=st.sampled_from(sorted(ORDERS)))
    def what_is_late_arrives(self, order: str) -> None:
        self.network.late_frames_arrive(ORDERS[order])
        self.network.run()

    @precondition(lambda self: self.network.wires)
    @rule(which=st.integers(0, 9), end=st.integers(0, 1))
    def a_connection_breaks(self, which: int, end: int) -> None:
        wire = self.network.wires[which % len(self.network.wires)]
        self.network.cut(wire, noticed_by=wire.ends[end])
        self.network.run()

    @rule(node=st.sampled_from(("a", "b", "p")))
    def a_node_restarts(self, node: str) -> None:
        self.network.restart(node)
        self.network.run()

    @precondition(lambda self: self.network.wires)
    @rule(which=st.integers(0, 9))
    def a_connection_breaks_while_disks_write(self, which: int) -> None:
        """Whoever waits for a disk is cancelled, and the next comes at once."""
        self.network.loop.thread_seconds = 0.4
        for node in ("a", "b"):
            self._draw("wide", node, max(1, self.network.processes[node].store.ready(WIDE)), 256)
        self.network.run(0.1)
        self.network.wires[which % len(self.network.wires)].end()
        self.network.make_blocks(LINKS, 2)
        self.network.run()

    @rule(seconds=st.sampled_from((0.0, 0.02, 0.4, 1.5)))
    def disks_are_as_slow_as(self, seconds: float) -> None:
        self.network.loop.thread_seconds = seconds

    # ---- the quantum links -----------------------------------------------------------------------

    @rule(link=st.sampled_from(LINKS))
    def a_fibre_breaks_or_is_mended(self, link: str) -> None:
        self.network.down ^= {link}

    @rule(link=st.sampled_from(LINKS), end=st.integers(0, 1))
    def a_device_falls_behind_or_catches_up(self, link: str, end: int) -> None:
        place = (link, link.split("-")[end])
        if self.network.lagging.pop(place, None) is None:
            self.network.lagging[place] = len(self.network.produced[link])
        self.network.make_blocks([link], 2)
        self.network.run()

    # ---- operators -------------------------------------------------------------------------------

    @rule(link=st.sampled_from(LINKS), earlier=st.sampled_from((0.0, 3.0)))
    def a_link_is_suspected_or_no_more(self, link: str, earlier: float) -> None:
        suspected = self.network.wanted.suspected
        if suspected.pop(link, None) is None:
            suspected[link] = self.network.loop.unix() - earlier

    @rule(
        stream=NAMES,
        what=st.sampled_from(("pqc", "weak", "paths", "gone", "plain")),
        known_to=st.sets(st.sampled_from(NODES)),
    )
    def a_stream_changes(self, stream: str, what: str, known_to: set[str]) -> None:
        streams = self.network.wanted.streams
        plain = STREAMS[stream]
        match what:
            case "pqc":
                streams[stream] = replace(plain, require_pqc=True)
            case "weak":
                weak = replace(plain, k=1, min_k=1, require_qkd=False, path_sets=plain.path_sets[1:])
                streams[stream] = replace(weak, path_sets=((weak.path_sets[0][0],),))
            case "paths":
                streams[stream] = replace(plain, path_sets=plain.path_sets[1:])
            case "gone":
                streams.pop(stream, None)
            case _:
                streams[stream] = plain
        for node in sorted(known_to):
            self.network.tell_policy(node)
        self.network.run()

    @rule(stream=NAMES, what=st.sampled_from(("pqc", "plain")), first=ENDS)
    def demands_rise_while_keys_wait(self, stream: str, what: str, first: str) -> None:
        self.a_stream_changes(stream, "weak", set(NODES))
        for node in ("a", "b"):
            # All that waits: what takes its place is made under the weaker terms.
            ready = self.network.processes[node].store.ready(StreamName(stream))
            self._draw(stream, node, max(1, ready), 256)
        self.network.run(0.3)
        self.a_stream_changes(stream, what, {first})
        self._draw(stream, first, 3, 256)
        self.network.run()

    @rule(node=st.sampled_from(NODES))
    def policy_reaches_a_node(self, node: str) -> None:
        self.network.tell_policy(node)
        self.network.run()

    @rule(
        node=st.sampled_from(NODES),
        link=st.sampled_from(LINKS),
        kind=st.sampled_from(
            (
                types_pb2.ORDER_KIND_LINK_CLEAR,
                types_pb2.ORDER_KIND_LINK_DESTROY,
                types_pb2.ORDER_KIND_NODE_ZEROIZE,
            )
        ),
    )
    def an_order_reaches_a_node(self, node: str, link: str, kind: types_pb2.OrderKind) -> None:
        self.orders += 1
        order = agent_pb2.OrderRule(order_id=f"{self.orders:032x}", kind=kind, link=link)
        self.network.carry_out(node, order)
        self.network.run()

    # ---- what must hold --------------------------------------------------------------------------

    @precondition(lambda self: self.steps >= STEPS_BETWEEN_ENDS)
    @rule()
    def in_the_end_keys_flow(self) -> None:
        self.steps = 0
        self.network.heal()
        self.network.run(HEALED_SECONDS)
        asked = [self._draw(stream, node, 3, 256) for stream in STREAMS for node in ("a", "b")]
        asked.append(self._draw("narrow", "a", 2, 512, "beside"))
        self.network.run(1.5)
        for request in asked:
            assert request.keys, f"no keys of {request.stream} at {request.node}: {request.task}"
            collecting = self._collect(request, request.keys, request.stream)
            self.network.run()
            assert isinstance(collecting.result(), tuple), (
                f"keys of {request.stream} are not at the other end"
            )
        collecting = self._collect(asked[-1], asked[-1].keys, "beside")
        self.network.run()
        assert isinstance(collecting.result(), tuple), "a further slave does not get its copies"

    @invariant()
    def nothing_is_wrong(self) -> None:
        self.steps += 1
        record = self.network.record
        for process in self.network.processes.values():
            for key_id, stream, key in (*process.store.master_keys(), *process.store.slave_keys()):
                there = record.confirmed_at_far_end.get((key_id, stream))
                assert there == key, f"{key_id} has changed at {process.node}"
        assert not record.wrong

    def teardown(self) -> None:
        self.network.stop()
        self.folder.cleanup()


SETTINGS = settings(deadline=None, suppress_health_check=list(HealthCheck), stateful_step_count=25)
Delivery.TestCase.settings = settings(SETTINGS, max_examples=20)
TestDelivery = Delivery.TestCase
