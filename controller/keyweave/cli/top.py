"""`keyweave top`: the network as it is, for as long as somebody looks; also under `keyweave up`."""

import asyncio
from typing import Annotated

import grpc
import typer
from rich.console import Console
from rich.live import Live

from keyweave.cli.board import EVENTS_KEPT, Board, LinkOrder, StreamOrder, View
from keyweave.cli.connection import CALL_TIMEOUT_SECONDS, Network
from keyweave.cli.exits import UnreachableError
from keyweave.cli.output import Output, OutputOption, as_json, console, show_json
from keyweave.v1 import admin_pb2, admin_pb2_grpc

REFRESH_SECONDS = 0.5
# After the controller was away.
_RETRY_SECONDS = 0.5


async def top(
    network: Network,
    match: Annotated[
        str, typer.Option(help="Only links, streams and nodes with this in their name or at their ends.")
    ] = "",
    links: Annotated[LinkOrder, typer.Option(help="Sort links by this.")] = LinkOrder.BADNESS,
    streams: Annotated[StreamOrder, typer.Option(help="Sort streams by this.")] = StreamOrder.SHORTFALL,
    interval: Annotated[
        float, typer.Option(help="Seconds between two looks.", min=0.1, max=3600)
    ] = REFRESH_SECONDS,
    once: Annotated[
        bool, typer.Option("--once", help="Print it once, plainly; so where stdout is no terminal.")
    ] = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """The network live: what is wrong, streams by shortfall, links by badness, events; until Ctrl-C.

    It goes on while the controller is away, and says so.
    """
    board = Board(View(links, streams, match))
    screen = console()
    if output is Output.JSON or once or not screen.is_terminal:
        await _look(network, board)
        if output is Output.JSON:
            show_json(as_json(board.view.of(board.status)))
        else:
            screen.print(board.render(screen.width, None))
    else:
        await watch(network, screen, board, interval, full_screen=True)


async def watch(
    network: Network,
    screen: Console,
    board: Board,
    interval: float = REFRESH_SECONDS,
    *,
    full_screen: bool = False,
) -> None:
    """Show the network until cancelled, also while its controller is away."""
    with Live(console=screen, auto_refresh=False, screen=full_screen, vertical_overflow="crop") as live:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(_follow_events(network, board), name="events")
            while True:
                try:
                    async with network.admin() as admin:
                        while True:
                            await _refresh(admin, board)
                            live.update(board.render(screen.width, screen.height), refresh=True)
                            await asyncio.sleep(interval)
                except (grpc.aio.AioRpcError, UnreachableError) as error:
                    board.away = _away(error)
                    live.update(board.render(screen.width, screen.height), refresh=True)
                    await asyncio.sleep(_RETRY_SECONDS)


async def _look(network: Network, board: Board) -> None:
    async with network.admin() as admin:
        await _refresh(admin, board)
        past = admin_pb2.WatchEventsRequest(past=EVENTS_KEPT, past_only=True)
        async for answer in admin.WatchEvents(past, timeout=CALL_TIMEOUT_SECONDS):
            board.events.append(answer.event)


async def _refresh(admin: "admin_pb2_grpc.AdminServiceAsyncStub", board: Board) -> None:
    board.status = await admin.GetStatus(admin_pb2.GetStatusRequest(), timeout=CALL_TIMEOUT_SECONDS)
    board.away = ""


def _away(error: Exception) -> str:
    if isinstance(error, grpc.aio.AioRpcError):
        return f"the controller is away ({error.code().name.lower()})"
    return "the network is down"


async def _follow_events(network: Network, board: Board) -> None:
    while True:
        try:
            async with network.admin() as admin:
                # After a break the past ones fill the gap; those that are there already are skipped.
                async for answer in admin.WatchEvents(admin_pb2.WatchEventsRequest(past=EVENTS_KEPT)):
                    event = answer.event
                    if not board.events or event.id > board.events[-1].id or event.id == 0:
                        board.events.append(event)
        except (grpc.aio.AioRpcError, UnreachableError):
            # The headline says that the controller is away.
            pass
        await asyncio.sleep(_RETRY_SECONDS)
