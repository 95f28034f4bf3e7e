"""Runs a whole network: emulator, controller, and an agent for each node of a scenario."""

import asyncio
import fcntl
import json
import os
import sys
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from keyweave.cli.connection import Network
from keyweave.cli.state_dir import StateDir
from keyweave.cli.up import ports
from keyweave.cli.up.child import Child, describe
from keyweave.cli.up.layout import CONTROLLER, EMULATOR, Layout, agent_process, lay_out
from keyweave.cli.up.wishes import create_network
from keyweave.common.errors import InvalidInputError, PreconditionError
from keyweave.common.process import write_atomically
from keyweave.emulator.scenario import load_scenario

PROGRAM = (sys.executable, "-m", "keyweave.cli")
READY_SECONDS = 60.0
# Before a process that died is started again: doubles with every time it dies young.
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.5, 10.0
_GROWN_UP_SECONDS = 30.0


class Supervisor:
    """Starts a scenario's processes in order, keeps them up, and stops them in order.

    `program` is what the name of a process is given to (`[*program, "agent", "--config", ...]`), so that
    other builds can be run.
    """

    def __init__(
        self,
        scenario_file: Path,
        root: Path,
        *,
        program: Sequence[str] = PROGRAM,
        speed: float = 1.0,
        network_faults: bool = False,
        controllers: int = 1,
        database: str = "",
        restart: bool = True,
        tell: Callable[[str], None] = print,
    ) -> None:
        self._scenario_file = scenario_file
        self._root = root
        self._program = tuple(program)
        self._speed = speed
        self._network_faults = network_faults
        self._controllers = controllers
        self._database = database
        self._restart = restart
        self._tell = tell
        self._stopping = asyncio.Event()
        self._children: dict[str, Child] = {}

    async def run(self, stop: asyncio.Event, when_up: Callable[[Layout], Awaitable[None]]) -> None:
        """Bring the network up, run `when_up`, and when it returns or `stop` is set take the network down.

        Returns once no process is left.
        """
        scenario = load_scenario(self._scenario_file)
        with _held(StateDir(self._root)), ports.Held() as held:
            layout = lay_out(
                scenario,
                self._scenario_file,
                self._root,
                held,
                speed=self._speed,
                network_faults=self._network_faults,
                controllers=self._controllers,
                database=self._database,
            )
            layout.state.endpoints_file.unlink(missing_ok=True)
            for node in layout.edited_guards:
                self._tell(
                    f"guard of {node}: edited, left as it is ({layout.state.guard(agent_process(node))})"
                )
            async with asyncio.TaskGroup() as keepers:
                work = asyncio.create_task(self._work(layout, keepers, when_up), name="work")
                stopped = asyncio.create_task(stop.wait(), name="stop")
                try:
                    await asyncio.wait({work, stopped}, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    stopped.cancel()
                    work.cancel()
                    layout.state.endpoints_file.unlink(missing_ok=True)
                    await self._stop_all(layout)
                    await asyncio.gather(work, stopped, return_exceptions=True)
            if not work.cancelled():
                work.result()

    async def _work(
        self, layout: Layout, keepers: asyncio.TaskGroup, when_up: Callable[[Layout], Awaitable[None]]
    ) -> None:
        await self._start(layout, keepers, EMULATOR)
        await self._start(layout, keepers, CONTROLLER)
        async with Network(layout.state, layout.address("admin")).admin() as admin:
            changed = await create_network(admin, layout)
        self._tell(f"network: {changed}")
        # One failing must not leave others half started, so all are awaited as one group.
        async with asyncio.TaskGroup() as starting:
            for name in (*layout.controllers[1:], *layout.agents):
                starting.create_task(self._start(layout, keepers, name), name=f"start-{name}")
        layout.state.write_endpoints(layout.endpoints)
        await when_up(layout)

    async def _start(self, layout: Layout, keepers: asyncio.TaskGroup, name: str) -> None:
        state = layout.state
        verb = "agent" if name in layout.agents else CONTROLLER if name in layout.controllers else name
        command = (*self._program, verb, "--config", str(state.config(name)), "--die-with-parent")
        child = Child(name, command, state.log(name), state.ready(name), layout.environment(name))
        self._children[name] = child
        if not await child.start():
            return
        self._write_processes(state)
        await child.ready(READY_SECONDS)
        self._tell(f"{name}: up, process {child.pid}")
        keepers.create_task(self._keep(child, state), name=f"keep-{name}")

    async def _keep(self, child: Child, state: StateDir) -> None:
        """Start `child` again whenever it ends, until we stop."""
        loop = asyncio.get_running_loop()
        pause = _FIRST_PAUSE_SECONDS
        while True:
            started = loop.time()
            status = await child.ended()
            if self._stopping.is_set():
                return
            self._write_processes(state)
            if not self._restart:
                self._tell(f"{child.name}: {describe(status)}; it stays down (--no-restart)")
                return
            if loop.time() - started > _GROWN_UP_SECONDS:
                pause = _FIRST_PAUSE_SECONDS
            self._tell(f"{child.name}: {describe(status)}; starting it again in {pause:g} s")
            if await _within(self._stopping, pause) or not await child.start():
                return
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
            self._write_processes(state)
            self._tell(f"{child.name}: started again, process {child.pid}")

    async def _stop_all(self, layout: Layout) -> None:
        """Agents first, so that they can say goodbye to a controller that listens."""
        self._stopping.set()
        for names in (layout.agents, layout.controllers, (EMULATOR,)):
            children = [self._children[name] for name in names if name in self._children]
            await asyncio.gather(*(child.stop() for child in children))
        layout.state.processes_file.unlink(missing_ok=True)

    def _write_processes(self, state: StateDir) -> None:
        running = {name: child.pid for name, child in self._children.items() if child.pid is not None}
        write_atomically(state.processes_file, json.dumps(running, indent=2) + "\n")


async def _within(event: asyncio.Event, seconds: float) -> bool:
    """Whether `event` is set before `seconds` have passed."""
    try:
        async with asyncio.timeout(seconds):
            return await event.wait()
    except TimeoutError:
        return False


@contextmanager
def _held(state: StateDir) -> Iterator[None]:
    """Keep a second network out of this directory; the kernel lets go if we die."""
    try:
        state.root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidInputError.of(
            "--state-dir", f"{state.root} cannot be made: {error.strerror}; name a directory you may write to"
        ) from None
    with state.lock_file.open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise PreconditionError(
                f"{state.root} is in use by process {file.read().strip() or 'unknown'}; stop that network "
                "first, or name another --state-dir"
            ) from None
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield
