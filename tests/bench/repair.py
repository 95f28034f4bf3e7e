"""Repair, end to end in the core: an alarm goes in, the last policy it changes comes out as bytes.

Every link of a network fails once, alone, by a loss of signal that the agent at one end reports; the rest is
as before, and no agent answers meanwhile. Timed is `Core.handle` with the alarm and the serialization of
every push that follows, as it would leave on its stream. Streams whose agents hold a set that stands are left
to them (ADR 16), so there is little to write; every tenth link therefore fails once more as if agents held
nothing, and each stream that crosses it has to be moved; and beside that the same with what must be on disk
first written to SQLite. The baseline is what anybody would write with networkx: the link is taken from a
graph, and each stream that crossed it gets its new shortest path; no rates, no disjoint paths, no policies.

A network has a process of its own, whose peak memory is beside that of one that has only imported all this.
"""

import asyncio
import copy
import gc
import multiprocessing
import os
import resource
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from unittest.mock import patch

import networkx as nx

from keyweave.common import log
from keyweave.common.names import LinkName, NodeName, StreamName
from keyweave.controller import routing
from keyweave.controller.instructions import Instruction, Optimise, PersistRollout, Push
from keyweave.controller.push import fill
from keyweave.controller.reconcile.core import Core, CoreSettings
from keyweave.controller.rollout import Rollout, RolloutChange
from keyweave.controller.routing.healing import holding_nothing
from keyweave.controller.stimuli import (
    AgentReported,
    Batch,
    LinkObserved,
    Optimised,
    PolicyAcked,
    PolicyConnected,
    Stimulus,
    Tick,
)
from keyweave.controller.store import Store
from keyweave.controller.topology import Snapshot
from keyweave.v1 import agent_pb2
from tests.bench.measure import quantile, served_core
from tests.bench.networks import germany50, large, surfnet, vtlwavenet2011
from tests.bench.report import COMMAND, Result
from tests.unit.measurements import samples

NETWORKS: dict[str, Callable[[], Snapshot]] = {
    "surfnet": surfnet,
    "vtlwavenet2011": vtlwavenet2011,
    "germany50": germany50,
    "large": large,
}
# Every so manieth link fails once more unhealed.
UNHEALED_EVERY = 10
_START = 1_000_000.0
_MS = 1000.0
_MB_OF_KB = 1 / 1024


@dataclass
class Failures:
    """Milliseconds, one a failure."""

    core: list[float] = field(default_factory=list)
    unhealed: list[float] = field(default_factory=list)
    durable: list[float] = field(default_factory=list)
    networkx: list[float] = field(default_factory=list)
    # Streams that crossed a failed link, and those of them that the core moved at once.
    crossing: list[int] = field(default_factory=list)
    moved: list[int] = field(default_factory=list)
    peak_mb: float = 0.0


class Plant:
    """A core in simulated time with every agent connected and in step, and a way back after each failure."""

    def __init__(self, network: Snapshot) -> None:
        self.network = network
        self.now = _START
        self.planner = routing.Planner()
        self.asked: list[Optimise] = []
        settings = CoreSettings(warmup_seconds=3600.0)
        self.core = Core(settings=settings, planner=self.planner, epoch=1, stored=Rollout())
        links = {name: view.link for name, view in network.links.items()}
        self._follow(self.core.start(network.nodes, links, network.streams, self.now))
        for node in network.nodes:
            self.handle(PolicyConnected(node, agent_pb2.PolicyVersion(), 0))
        self._measure()
        while self.asked:
            asked = self.asked.pop()
            plan = self.planner.plan_streams(asked.snapshot, asked.basis, asked.previous.version + 1)
            self.handle(Optimised(asked.number, plan))
            while self.core._planning.deadline == 0.0:
                self.handle(Tick())

    def handle(self, stimulus: Stimulus) -> None:
        """Have the core handle it, agents answering at once."""
        self._follow(self.core.handle(stimulus, self.now))

    def _follow(self, instructions: list[Instruction]) -> None:
        acks = [i for i in instructions if isinstance(i, Push)]
        self.asked += [i for i in instructions if isinstance(i, Optimise)]
        while acks:
            push = acks.pop()
            out = self.core.handle(PolicyAcked(push.node, push.target.policy.digest), self.now)
            acks += [i for i in out if isinstance(i, Push)]

    def _measure(self) -> None:
        """Both ends of every link report its rate until it is known well enough to plan by."""
        for _ in range(6):
            self.now += 1.0
            for name, view in self.network.links.items():
                for node in (view.link.a, view.link.b):
                    one = samples(node, start=self.now - 1.0, interval=0.2, rows=5, skr=view.skr_bps)
                    self.handle(Batch(node, b"i" * 16, 1, (LinkObserved(replace(one, link=name)),)))
        self.handle(Tick())

    def fail(self, name: LinkName) -> tuple[float, list[bytes], list[Instruction]]:
        """One end of a link reports that its signal is gone: seconds, and the messages to agents."""
        node = self.network.links[name].link.a
        event = agent_pb2.AgentEvent(kind=agent_pb2.AGENT_EVENT_KIND_LINK_LOSS_OF_SIGNAL, link=name)
        alarm = Batch(node, b"i" * 16, 2, (AgentReported(node, event),))
        begun = time.perf_counter()
        instructions = self.core.handle(alarm, self.now)
        sent = [_message(one).SerializeToString() for one in instructions if isinstance(one, Push)]
        return time.perf_counter() - begun, sent, instructions

    def failing(self, name: LinkName) -> "Rewind":
        """What to go back to after the failure of a link."""
        return Rewind(self, name)


class Rewind:
    """The state before a failure that no agent has answered."""

    def __init__(self, plant: Plant, name: LinkName) -> None:
        core = plant.core
        self.plant, self.name = plant, name
        self.entry = copy.copy(core.links[name])
        self.plan, self.streams = core.plan, dict(core.distribution.streams)
        planning = core._planning
        self.planned_on, self.ground = dict(planning._planned_on), dict(planning._ground)
        # What the optimiser has read ahead for the first repair of its plan, each failure being the first.
        self.memory = plant.planner._ahead or plant.planner._memory
        self.unmet = copy.deepcopy(core._unmet)

    def back(self, change: RolloutChange | None, pushed: list[Push]) -> None:
        """Undo it."""
        core, distribution = self.plant.core, self.plant.core.distribution
        core.links._entries[self.name] = self.entry
        core._snapshots.link_changed(self.name)
        for name in change.streams if change else ():
            distribution._put(self.streams[name])
        distribution.plan = self.plan
        for push in pushed:
            sync = distribution.agent(push.node)
            sync.outstanding = None
        distribution._compile(core.snapshot())
        distribution._desire_changed()
        for push in pushed:
            sync = distribution.agent(push.node)
            assert sync.applied is not None
            assert sync.desired is not None
            assert sync.applied.policy.digest == sync.desired.policy.digest, "not as before"
            sync.applied = sync.desired
        distribution._moving.clear()
        distribution._unwritten.clear()
        distribution._stirred.clear()
        planning = core._planning
        planning._planned_on, planning._ground = self.planned_on, self.ground
        planning._plan_at = planning._optimising = None
        self.plant.planner._memory = self.memory
        core._unmet = self.unmet


def _message(push: Push) -> agent_pb2.PolicyResponse:
    """As `PolicySession` writes it."""
    target = push.target
    version = agent_pb2.PolicyVersion(epoch=1, version=target.version, digest=target.policy.digest)
    response = agent_pb2.PolicyResponse(nonce=1, version=version, lease_seconds=30)
    fill(response, push.base, target.policy)
    return response


class Routes:
    """The baseline: one shortest path a stream."""

    def __init__(self, network: Snapshot) -> None:
        self._network = network
        self._graph = nx.MultiGraph()
        for name, view in network.links.items():
            weight = 1 + view.link.length_km * 1e-6
            self._graph.add_edge(view.link.a, view.link.b, key=name, weight=weight)
        self._users: dict[frozenset[NodeName], set[StreamName]] = {}
        for user, stream in network.streams.items():
            path = nx.shortest_path(self._graph, stream.source, stream.target, weight="weight")
            for pair in pairwise(path):
                self._users.setdefault(frozenset(pair), set()).add(user)

    def fail(self, name: LinkName) -> float:
        """Seconds to route anew what crossed the link."""
        link = self._network.links[name].link
        data = self._graph.edges[link.a, link.b, name]
        begun = time.perf_counter()
        self._graph.remove_edge(link.a, link.b, key=name)
        for user in self._users.get(frozenset((link.a, link.b)), ()):
            stream = self._network.streams[user]
            try:
                nx.shortest_path(self._graph, stream.source, stream.target, weight="weight")
            except nx.NetworkXNoPath:
                continue
        seconds = time.perf_counter() - begun
        self._graph.add_edge(link.a, link.b, key=name, **data)
        return seconds


def failures(which: str) -> Failures:
    """Every link of one network fails once."""
    os.sched_setaffinity(0, {served_core()})
    log.configure(process="bench", level="error")
    network = NETWORKS[which]()
    plant, found = Plant(network), Failures()
    gc.collect()
    gc.freeze()
    with tempfile.TemporaryDirectory() as directory, asyncio.Runner() as runner:
        store = runner.run(Store.open(f"sqlite+aiosqlite:///{Path(directory) / 'controller.db'}"))
        runner.run(store.claim_epoch("bench"))
        for count, name in enumerate(network.links):
            rewind = plant.failing(name)
            seconds, _, out = plant.fail(name)
            found.core.append(seconds * _MS)
            change = next((i.change for i in out if isinstance(i, PersistRollout)), None)
            pushed = [i for i in out if isinstance(i, Push)]
            found.crossing.append(len(rewind.memory.book.users.get(name, ())))
            found.moved.append(len(change.streams) if change else 0)
            rewind.back(change, pushed)
            if count % UNHEALED_EVERY == 0:
                seconds, change = _unhealed(plant, name)
                found.unhealed.append(seconds * _MS)
                if change is not None:
                    begun = time.perf_counter()
                    runner.run(store.save_rollout(change))
                    found.durable.append((seconds + time.perf_counter() - begun) * _MS)
        runner.run(store.close())
    found.peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _MB_OF_KB
    baseline = Routes(network)
    found.networkx = [baseline.fail(name) * _MS for name in network.links]
    return found


def _unhealed(plant: Plant, name: LinkName) -> tuple[float, RolloutChange | None]:
    """Seconds to move every stream that crosses the link, agents being taken to hold nothing."""
    rewind = plant.failing(name)
    with patch.object(plant.core.distribution, "held_sets", holding_nothing):
        seconds, _, out = plant.fail(name)
    change = next((i.change for i in out if isinstance(i, PersistRollout)), None)
    rewind.back(change, [i for i in out if isinstance(i, Push)])
    return seconds, change


def idle_mb() -> float:
    """Peak memory of a process that has only imported all this."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _MB_OF_KB


def rows(which: str, found: Failures, idle: float) -> list[Result]:
    """One network's results."""
    command = f"{COMMAND} repair"
    results = []
    for word, ratio in (("p50", 0.5), ("p99", 0.99), ("max", 1.0)):
        value, bare = quantile(found.core, ratio), quantile(found.networkx, ratio)
        results.append(Result(f"repair_{which}_{word}", value, "ms", bare, value / bare, command))
    value, bare = quantile(found.unhealed, 0.99), quantile(found.networkx, 0.99)
    results.append(Result(f"repair_{which}_unhealed_p99", value, "ms", bare, value / bare, command))
    moved, crossing = float(sum(found.moved)), float(sum(found.crossing))
    results.append(
        Result(f"repair_{which}_streams_moved", moved, "", crossing, moved / max(1.0, crossing), command)
    )
    durable = quantile(found.durable, 0.99)
    results.append(
        Result(f"repair_{which}_unhealed_durable_p99", durable, "ms", value, durable / value, command)
    )
    memory = f"repair_{which}_peak_memory"
    results.append(Result(memory, found.peak_mb, "MB", idle, found.peak_mb / idle, command))
    return results


def run() -> list[Result]:
    """Measure."""
    results: list[Result] = []
    spawning = multiprocessing.get_context("spawn")
    for which in NETWORKS:
        with ProcessPoolExecutor(1, mp_context=spawning, max_tasks_per_child=1) as alone:
            idle = alone.submit(idle_mb).result()
            found = alone.submit(failures, which).result()
        results += rows(which, found, idle)
    return results
