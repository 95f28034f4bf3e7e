"""Four agents' key planes over wires in memory: two ends, two transit nodes, and all that can befall them.

The planes, sessions, pools, streams, stores and supplies are the real ones. Made for tests are the wires, the
devices, the disks' slowness, the clock, and the policy, which each node has when the test lets it have it.
"""

import asyncio
import contextvars
import json
import os
from collections.abc import Callable, Coroutine, Generator, Iterable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeVar
from unittest import mock

from keyweave.agent.etsi014.supply import SupplyError
from keyweave.agent.guard.checks import tightened
from keyweave.agent.keyplane import plane as plane_module
from keyweave.agent.keyplane.failure import KeyPlaneError
from keyweave.agent.keyplane.keys.supply import Supply
from keyweave.agent.keyplane.links import journal
from keyweave.agent.keyplane.plane import KeyPlane
from keyweave.agent.keyplane.sessions import session, vouching
from keyweave.agent.keyplane.sessions.handshake import Channel
from keyweave.agent.keyplane.sessions.session import Peer
from keyweave.agent.keyplane.streams import far, near
from keyweave.agent.keyplane.terms import StreamTerms
from keyweave.common import log, one_writer
from keyweave.common.file_watch import FileWatch
from keyweave.common.names import NodeName, SaeId
from keyweave.v1 import agent_pb2
from keyweave.v1 import keyplane_pb2 as pb
from tests.guards import open_guard
from tests.unit.delivery_policy import KEY_SECONDS, LINKS, NODES, SAES, STREAMS, Policy
from tests.unit.delivery_record import Ledger, Record, WatchedStore, Watching
from tests.unit.delivery_wires import HANDSHAKE, Devices, Fault, Wire
from tests.unit.enrolled import enrolment
from tests.unit.virtual_time import VirtualLoop

FIRST_BLOCKS = 10
RESERVE_BYTES = 4096
KEEPALIVE_SECONDS = 3.0


class _Silent:
    """A logger that says nothing."""

    def __getattr__(self, _name: str) -> Callable[..., None]:
        return lambda *_, **__: None


_T = TypeVar("_T")


class Process:
    """One life of an agent."""

    def __init__(self, network: "Network", node: str) -> None:
        self.node = node
        self.network = network
        self.alive = True
        self.tasks: set[asyncio.Task[Any]] = set()
        self.ledger = Ledger(node, network.record)
        self.observer = Watching(node, network.record)
        self.context = contextvars.copy_context()
        self.context.run(_PROCESS.set, self)
        self.plane = KeyPlane(
            NodeName(node),
            os.urandom(16),
            enrolment(node),
            self.observer,
            files=FileWatch(),
            on_report=lambda _report: None,
            on_event=lambda event: network.events.append((node, event)),
            records=self.ledger,
        )
        self.supply = Supply(self.plane, self.observer, show_provenance=lambda _sae: True)
        self.task = self.begin(self._run())

    def begin(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """A task of this process."""
        return self.network.loop.create_task(work, context=self.context)

    def ask(self, work: Coroutine[Any, Any, _T]) -> "asyncio.Task[_T | SupplyError]":
        """What an application asks of this process; a refusal is an answer like others."""

        async def answer() -> _T | SupplyError:
            try:
                return await work
            except SupplyError as error:
                return error

        return self.begin(answer())

    async def _run(self) -> None:
        await self.plane.add_driver(Devices(self.network, self.node), self.network.directory / self.node)
        running = asyncio.create_task(self.plane.run())
        await asyncio.sleep(0)
        self.take_policy()
        try:
            await running
        finally:
            running.cancel()

    def take_policy(self) -> None:
        """Run by what this node was told last."""
        rules = self.network.policies[self.node].rules(self.node)
        self.plane.apply(rules, self.network.guard(self.node))

    @property
    def store(self) -> WatchedStore:
        """Its keys."""
        assert isinstance(self.plane.store, WatchedStore)
        return self.plane.store


_PROCESS: contextvars.ContextVar[Process] = contextvars.ContextVar("process")


class Network:
    """The four nodes. All of it runs in one loop that the test moves."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.loop = VirtualLoop()
        self.loop.thread_alive = _thread_of_this_process
        self.loop.set_task_factory(_task_of_this_process)
        self.record = Record(self.demands)
        self.events: list[tuple[str, agent_pb2.AgentEvent]] = []
        self.wanted = Policy(dict(STREAMS))
        self.policies = {node: self.wanted.copy() for node in NODES}
        self.produced: dict[str, list[float]] = {link: [] for link in LINKS}
        self.lagging: dict[tuple[str, str], int] = {}
        self.more_blocks = asyncio.Event()
        self.down: set[str] = set()
        self.faults: list[Fault] = []
        self.struck: set[tuple[str, str]] = set()
        self.wires: list[Wire] = []
        self._being_written: set[Path] = set()
        self.processes: dict[str, Process] = {}
        self._patches: tuple[Any, ...] = (
            mock.patch.multiple(plane_module, dial=self._dial, KeyStore=self._store),
            mock.patch.object(log, "get", _Silent),
            mock.patch.object(Peer, "_unforeseen", self._unforeseen),
            mock.patch.object(one_writer, "write_atomically", self._write),
            mock.patch.object(asyncio, "to_thread", self._to_thread),
            mock.patch.object(journal, "RESERVE_BYTES", RESERVE_BYTES),
            mock.patch.object(far, "SLAVE_GRACE_SECONDS", KEY_SECONDS // 2),
            mock.patch.object(near, "BACKOFF_CAP_SECONDS", 2.0),
            mock.patch.object(session, "HEARTBEAT_SECONDS", 1.0),
            mock.patch.object(vouching, "LOOK_SECONDS", 5.0),
        )
        self._guards = {node: open_guard(node, NODES) for node in NODES}

    def _store(self, records: Any) -> WatchedStore:
        store = WatchedStore(records)
        store.record = self.record
        return store

    def _unforeseen(self, _frame: pb.Frame, error: Exception) -> pb.Frame:
        raise error

    def _write(self, path: Path, text: str) -> None:
        """In place of write_atomically: the next life of a process finds it in the file."""
        self.record.journals[path.parent.parent.name, path.stem] = json.loads(text)

    async def _to_thread(self, work: Callable[..., None], path: Path, text: str) -> None:
        """In place of asyncio.to_thread, which only journals use here."""
        self.record.must(path not in self._being_written, f"two threads write {path} at once")
        self._being_written.add(path)

        def write() -> None:
            self._being_written.discard(path)
            work(path, text)

        await self.loop.run_in_executor(None, write)

    def guard(self, node: str) -> Any:
        """What its owner allows."""
        return self._guards[node]

    def demands(self, node: str, stream: str) -> StreamTerms:
        """What a node was told to demand."""
        rule = Policy.stream_rule(self.policies[node].streams[stream], node)
        return tightened(self.guard(node), StreamTerms.of(rule))

    # ---- life ---------------------------------------------------------------------------------

    def start(self) -> None:
        """Bring everything up."""
        for patch in self._patches:
            patch.start()
        for node in NODES:
            self.processes[node] = Process(self, node)
        self.make_blocks(LINKS, FIRST_BLOCKS)
        self.run(0.5)

    def stop(self) -> None:
        """Take everything down, whatever has gone wrong."""
        try:
            for node in NODES:
                self.crash(node)
            self.loop.run_for()
        finally:
            for patch in self._patches:
                patch.stop()
            self.loop.close()

    def run(self, seconds: float = 0.0) -> None:
        """Let time pass; devices make key meanwhile."""
        while seconds >= 1.0:
            self.loop.run_for(1.0)
            self.make_blocks([link for link in LINKS if link not in self.down], 4)
            seconds -= 1.0
        self.loop.run_for(seconds)
        assert not self.record.wrong, "\n".join(self.record.wrong)
        for process in self.processes.values():
            if process.alive and process.task.done():
                process.task.result()
                raise AssertionError(f"{process.node} has ended")

    def crash(self, node: str) -> None:
        """A process dies: nothing that it holds in memory is left, nothing more is heard from it."""
        process = self.processes[node]
        process.alive, process.ledger.dead = False, True
        self._being_written = {path for path in self._being_written if path.parent.parent.name != node}
        for wire in [wire for wire in self.wires if node in wire.ends]:
            self.wires.remove(wire)
            wire.end()
        for task in tuple(process.tasks):
            task.cancel()

    def restart(self, node: str) -> None:
        """The next life, on the disk of the one before."""
        self.crash(node)
        self.loop.run_for()
        for (owner, link), numbers in self.record.journals.items():
            if owner == node:
                path = self.directory / node / "links" / f"{link}.json"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(json.dumps(numbers), encoding="utf-8")
        self.processes[node] = Process(self, node)

    def heal(self) -> None:
        """Nothing is broken any more, and every node runs by the plain policy."""
        self.faults.clear()
        self.down.clear()
        self.lagging.clear()
        self.loop.thread_seconds = 0.0
        self.late_frames_arrive(list)
        self.wanted = Policy(dict(STREAMS))
        for node in NODES:
            self.tell_policy(node)

    # ---- the controller -----------------------------------------------------------------------

    def tell_policy(self, node: str) -> None:
        """What the controller wants now reaches a node."""
        self.policies[node] = self.wanted.copy()
        self.loop.call_soon(self.processes[node].take_policy, context=self.processes[node].context)

    def carry_out(self, node: str, order: agent_pb2.OrderRule) -> None:
        """An operator's order reaches a node."""
        process = self.processes[node]
        self.loop.call_soon(process.plane.carry_out, order, context=process.context)

    # ---- devices ------------------------------------------------------------------------------

    def make_blocks(self, links: Iterable[str], count: int) -> None:
        """Both ends of links measure."""
        for link in links:
            self.produced[link] += [self.loop.unix()] * count
        event, self.more_blocks = self.more_blocks, asyncio.Event()
        event.set()

    def made(self, link: str, node: str) -> int:
        """The last block that a node's device has ready."""
        return min(len(self.produced[link]), self.lagging.get((link, node), 1 << 30))

    # ---- wires --------------------------------------------------------------------------------

    async def _dial(self, peer: Peer, address: Callable[[], str], *_: object) -> None:
        """In place of transport.dial."""
        caller = _PROCESS.get()
        while True:
            callee = self.processes.get(address().split(":")[0])
            there = callee.plane.peers.get(NodeName(caller.node)) if callee and callee.alive else None
            if callee is not None and there is not None:
                wire = Wire(self, caller.node, callee.node)
                self.wires.append(wire)
                answering = callee.begin(self._serve(wire, there, callee.node, dialled_by_us=False))
                try:
                    await self._serve(wire, peer, caller.node, dialled_by_us=True)
                finally:
                    wire.end()
                    with suppress(ValueError):
                        self.wires.remove(wire)
                del answering
            await asyncio.sleep(0.1)

    async def _serve(self, wire: Wire, peer: Peer, node: str, *, dialled_by_us: bool) -> None:
        channel = Channel(dialled_by_us=dialled_by_us, dialler_certificate=b"fingerprint")
        other = wire.other(node)
        with suppress(KeyPlaneError, asyncio.InvalidStateError):
            await peer.run(wire.incoming(node), partial(wire.write, other), channel)
        wire.end()

    def carry(self, wire: Wire, receiver: str, frame: pb.Frame) -> None:
        """Deliver a frame, or do to it what is in store for its kind."""
        kind = frame.WhichOneof("body") or ""
        self.record.sent(wire.other(receiver), receiver, frame)
        fault = next((fault for fault in self.faults if fault.kind == kind), None)
        late = wire.late[receiver]
        if fault is None or kind in HANDSHAKE:
            wire.arrive(receiver, frame)
            return
        self.faults.remove(fault)
        self.struck.add((fault.kind, fault.what))
        match fault.what:
            case "lose":
                pass
            case "repeat":
                wire.arrive(receiver, frame)
                wire.arrive(receiver, frame)
            case "delay":
                late.append(frame)
            case "cut before":
                wire.end()
            case "cut after":
                wire.arrive(receiver, frame)
                # What has arrived is handled; the answer finds no way back.
                self.loop.call_soon(wire.end)

    def cut(self, wire: Wire, noticed_by: str) -> None:
        """A connection breaks, and its other end notices when its keepalive does."""
        wire.end((noticed_by,))
        self.loop.call_later(KEEPALIVE_SECONDS, wire.end)

    def late_frames_arrive(self, order: Callable[[list[pb.Frame]], list[pb.Frame]]) -> None:
        """What was held up goes on its way."""
        for wire in self.wires:
            for receiver, late in wire.late.items():
                for frame in order(list(late)):
                    wire.arrive(receiver, frame)
                late.clear()

    # ---- applications -------------------------------------------------------------------------

    def sae(self, stream: str, node: str) -> SaeId:
        """The application at one end of a stream."""
        return SaeId(SAES[stream, node])


def _task_of_this_process(
    loop: asyncio.AbstractEventLoop,
    work: Coroutine[Any, Any, Any] | Generator[Any, None, Any],
    *,
    context: contextvars.Context | None = None,
) -> asyncio.Task[Any]:
    task: asyncio.Task[Any] = asyncio.Task(work, loop=loop, context=context)
    process = (context or contextvars.copy_context()).get(_PROCESS)
    if process is not None:
        process.tasks.add(task)
        task.add_done_callback(process.tasks.discard)
    return task


def _thread_of_this_process() -> Callable[[], bool]:
    process = _PROCESS.get()
    return lambda: process.alive
