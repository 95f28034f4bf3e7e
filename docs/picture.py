"""Draws docs/images/tokyo.svg: the live table of a network that really runs, moments after a fibre cut."""

import asyncio
import io
import tempfile
from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from keyweave.cli.board import Board
from keyweave.cli.connection import Network
from keyweave.cli.up.layout import Layout
from keyweave.cli.up.supervisor import Supervisor
from keyweave.v1 import admin_pb2, admin_pb2_grpc, emulator_pb2, types_pb2

HERE = Path(__file__).resolve().parent
WIDTH, HEIGHT = 120, 36
CUT = "toshiba"
PATIENCE_SECONDS = 60.0


async def draw(layout: Layout) -> None:
    """Wait for keys, cut a fibre, and draw what an operator sees then."""
    network = Network(layout.state)
    async with network.admin() as admin, network.emulator() as emulator:
        await _until(admin, lambda status: all(s.buffered_keys > 0 for s in status.streams))
        fault = emulator_pb2.Fault(link=CUT, kind=emulator_pb2.FAULT_KIND_CUT)
        await emulator.InjectFault(emulator_pb2.InjectFaultRequest(fault=fault))
        board = Board()
        board.away = ""
        board.status = await _until(admin, _healed)
        request = admin_pb2.WatchEventsRequest(past=8, past_only=True)
        board.events.extend([answer.event async for answer in admin.WatchEvents(request)])
    console = Console(record=True, width=WIDTH, height=HEIGHT, file=io.StringIO(), force_terminal=True)
    console.print(board.render(WIDTH, HEIGHT))
    console.save_svg(str(HERE / "images" / "tokyo.svg"), title="keyweave up scenarios/tokyo.yaml")


def _healed(status: admin_pb2.GetStatusResponse) -> bool:
    down = [s for s in status.links if s.condition == types_pb2.LINK_CONDITION_DOWN]
    return bool(down) and all(s.path_ids for s in status.streams)


async def _until(
    admin: "admin_pb2_grpc.AdminServiceAsyncStub", condition: Callable[[admin_pb2.GetStatusResponse], bool]
) -> admin_pb2.GetStatusResponse:
    """The first status that is as wanted; asked for at every event."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        async for _ in admin.WatchEvents(admin_pb2.WatchEventsRequest(past=1)):
            status = await admin.GetStatus(admin_pb2.GetStatusRequest())
            if condition(status):
                return status
    raise RuntimeError("the controller ended the stream of events")


async def main() -> None:
    """Run the network for as long as it takes."""
    with tempfile.TemporaryDirectory() as root:
        scenario = HERE.parent / "scenarios" / "tokyo.yaml"
        await Supervisor(scenario, Path(root)).run(asyncio.Event(), draw)


if __name__ == "__main__":
    asyncio.run(main())
