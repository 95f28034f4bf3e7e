"""The rim of the engine: its session with the device, its messages over the key plane's sessions, its clock.

Whatever comes in is handed to the engine at once. What that leads to goes out once a turn of the event loop,
so that much of it shares one message.
"""

import asyncio
import random
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

from keyweave.agent.drivers.base import DriverUnavailableError
from keyweave.agent.drivers.memories import Command, HasMemories, MemoryBankInfo, MemorySession
from keyweave.agent.keyplane.links.devices import follow
from keyweave.agent.pairs.bell_test import BellTest
from keyweave.agent.pairs.deliver import Basis, BeginKeyRun, Outcome
from keyweave.agent.pairs.engine import Engine
from keyweave.agent.pairs.pair import Moment
from keyweave.agent.pairs.steps import PathRule
from keyweave.common import log
from keyweave.common.names import NodeName, StreamName
from keyweave.v1 import agent_pb2, keyplane_pb2
from keyweave.v1 import pairs_pb2 as pb

# A device without memories now may have been given some: it is asked again.
ASK_AGAIN_SECONDS = 60.0
# For an application that has a half measured; the device answers at once, or is gone.
MEASURE_SECONDS = 10.0
# As emulator.proto bounds them.
COMMANDS_AT_ONCE = 4096


class PeerSession(Protocol):
    """What this needs of another agent."""

    def post(self, frame: keyplane_pb2.Frame) -> bool:
        """Send; False where it cannot be sent now."""
        ...

    @property
    def connected(self) -> bool:
        """Whether it can be reached."""
        ...


class PairPlane:
    """The pairs of one node, at work."""

    def __init__(
        self,
        node: NodeName,
        peers: Mapping[NodeName, PeerSession],
        *,
        on_event: Callable[[agent_pb2.AgentEvent], None],
        on_bank: Callable[[MemoryBankInfo], None] = lambda _bank: None,
        begin_keys: BeginKeyRun | None = None,
    ) -> None:
        self.node = node
        self.engine = Engine(node, begin_keys)
        self._peers = peers
        self._on_event = on_event
        self._on_bank = on_bank
        self._device: HasMemories | None = None
        self._commands: list[Command] = []
        self._work = asyncio.Event()
        self._flushing = False
        self._timer: asyncio.TimerHandle | None = None
        self._asked: dict[bytes, asyncio.Future[Outcome]] = {}
        self.engine.shelf.on_measured = self._measured

    def serve(self, device: HasMemories) -> None:
        """Work the memories of this driver, once `run` runs."""
        self._device = device

    # ---- stimuli ------------------------------------------------------------------------------

    def apply(self, rules: Iterable[agent_pb2.Rule]) -> None:
        """Bring paths and tests of links to what policy says."""
        paths = []
        for rule in rules:
            match rule.WhichOneof("kind"):
                case "pair":
                    paths.append(PathRule.of(rule.pair))
                case "pair_link":
                    paths.append(PathRule.of_link_tests(self.node, rule.pair_link))
        self.engine.apply(paths, moment())
        self.touched()

    def on_messages(self, sender: NodeName, told: pb.PairMessages) -> None:
        """A peer says something of pairs."""
        self.engine.peer_told(sender, told, moment())
        self.touched()

    def on_connected(self, node: NodeName, *, restarted: bool) -> None:
        """A session with a peer is up. It may replace one that nobody has said is gone."""
        self.engine.peer_lost(node, moment())
        self.engine.peer_up(node, moment(), restarted=restarted)
        self.touched()

    def on_disconnected(self, node: NodeName) -> None:
        """It is gone."""
        self.engine.peer_lost(node, moment())
        self.touched()

    async def measure(self, stream: StreamName, pair_id: bytes, basis: Basis) -> Outcome | None:
        """Measure a half that is kept for applications; None where it is not there (any more)."""
        kept = self.engine.shelf.kept.get(pair_id)
        if kept is None or kept.stream != stream or not self.engine.uses.measure_kept(pair_id, basis):
            return None
        asked = self._asked[pair_id] = asyncio.get_running_loop().create_future()
        self.touched()
        try:
            return await asyncio.wait_for(asked, MEASURE_SECONDS)
        except TimeoutError:
            return None
        finally:
            del self._asked[pair_id]

    async def bell_test(self, query: agent_pb2.BellTestQuery) -> agent_pb2.BellTestResult:
        """Test a Bell inequality with the next pairs of a stream whose source is here."""
        stream, tests = StreamName(query.stream), self.engine.uses.bell_tests
        if not any(p.stream == stream and p.is_source for p in self.engine.paths.values()):
            return agent_pb2.BellTestResult(problem=f"no pair stream '{stream}' begins at {self.node} now")
        if stream in tests:
            return agent_pb2.BellTestResult(problem=f"pair stream '{stream}' is being tested already")
        finished = asyncio.Event()
        test = tests[stream] = BellTest(query.pairs, on_finished=finished.set)
        log.get().info("bell_test_begun", stream=stream, pairs=query.pairs)
        self.engine.tick(moment())
        self.touched()
        try:
            await finished.wait()
        finally:
            if tests.get(stream) is test:
                del tests[stream]
        log.get().info("bell_test_over", stream=stream, s=test.s)
        return agent_pb2.BellTestResult(pairs=test.pairs, equal=test.equal)

    def _measured(self, outcome: Outcome) -> None:
        asked = self._asked.get(outcome.pair_id)
        if asked is not None and not asked.done():
            asked.set_result(outcome)

    # ---- what they lead to --------------------------------------------------------------------

    def touched(self) -> None:
        """Send, in the next turn of the event loop, what the engine wants sent."""
        if not self._flushing:
            self._flushing = True
            asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        self._flushing = False
        instructions = self.engine.take()
        for node, messages in instructions.messages:
            peer = self._peers.get(node)
            if peer is None or not peer.connected:
                continue  # the engine hears of that, or has
            if not peer.post(keyplane_pb2.Frame(pair_messages=messages)):
                # It does not read: what it was not told makes what is shared with it worthless.
                log.get().warning("pair_messages_dropped", peer=node, reason="the peer reads too slowly")
                self.engine.peer_lost(node, moment())
                self.engine.peer_up(node, moment())
                self.touched()
        for event in instructions.events:
            self._on_event(event)
        if instructions.commands:
            self._commands.extend(instructions.commands)
            self._work.set()
        self._arm()

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        due = self.engine.due(moment())
        if due is not None:
            delay = max(0.0, due - time.monotonic())
            self._timer = asyncio.get_running_loop().call_later(delay, self._tick)

    def _tick(self) -> None:
        self._timer = None
        self.engine.tick(moment())
        self.touched()

    # ---- the device ---------------------------------------------------------------------------

    async def run(self) -> None:
        """Keep the memories in hand until cancelled."""
        try:
            if self._device is not None:
                await follow(self._work_device, self._device_lost)
        finally:
            if self._timer is not None:
                self._timer.cancel()

    async def _work_device(self) -> None:
        """One session with the device."""
        device = self._device
        assert device is not None
        bank = await device.memory_bank()
        if bank is None:
            await asyncio.sleep(random.uniform(0.5, 1.0) * ASK_AGAIN_SECONDS)  # noqa: S311
            return
        async with device.open_memories() as session:
            self._commands = []
            self.engine.device_began(bank, moment())
            log.get().info("memories_in_hand", memories=bank.memories, links=len(bank.links))
            self._on_bank(bank)
            self.touched()
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(self._send(session), name="memories-send")
                    while True:
                        self.engine.device_told(await session.receive(), moment())
                        self.touched()
            except* DriverUnavailableError as errors:
                raise DriverUnavailableError(str(errors.exceptions[0])) from None
            finally:
                self.engine.device_lost("the device is not reached", moment())
                self.touched()

    async def _send(self, session: MemorySession) -> None:
        while True:
            await self._work.wait()
            self._work.clear()
            commands, self._commands = self._commands, []
            if commands:
                for first in range(0, len(commands), COMMANDS_AT_ONCE):
                    await session.send(commands[first : first + COMMANDS_AT_ONCE])

    def _device_lost(self, reason: str) -> None:
        log.get().warning("memories_lost", reason=reason)


def moment() -> Moment:
    """Now."""
    return Moment(time.monotonic(), time.time_ns())
