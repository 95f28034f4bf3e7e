"""The live table of `keyweave up`."""

import asyncio
from collections import deque

import grpc
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from keyweave.cli import tables
from keyweave.cli.connection import CALL_TIMEOUT_SECONDS, Network
from keyweave.v1 import admin_pb2

REFRESH_SECONDS = 0.5
# After the controller was away.
_RETRY_SECONDS = 0.5
_EVENTS_SHOWN = 8
_EVENTS_KEPT = 50


class Board:
    """What is on the screen."""

    def __init__(self) -> None:
        self.status = admin_pb2.GetStatusResponse()
        self.events: deque[admin_pb2.Event] = deque(maxlen=_EVENTS_KEPT)
        self.trouble = "waiting for the controller"

    def render(self, width: int, height: int) -> RenderableType:
        """Links, streams and last events; of the events as many as fit."""
        status = self.status
        # Two tables with title and heading, the blank lines between, the header line.
        used = len(status.links) + len(status.streams) + 9
        shown = max(1, min(_EVENTS_SHOWN, height - used))
        return Group(
            self._headline(),
            "",
            tables.links_table(status.links, width),
            "",
            tables.streams_table(status.streams, width),
            "",
            tables.events_table(list(self.events)[-shown:]),
        )

    def _headline(self) -> Text:
        connected = sum(node.connected for node in self.status.nodes)
        text = Text(f"{connected} of {len(self.status.nodes)} agents", style="bold")
        text.append(f"   plan {self.status.plan_version}   epoch {self.status.epoch}", style="default")
        if self.status.warming_up:
            text.append("   warming up", style="yellow")
        if self.status.read_only:
            text.append("   READ-ONLY", style="bold red")
        if self.trouble:
            text.append(f"   {self.trouble}", style="bold red")
        return text


async def show_network(network: Network, console: Console) -> None:
    """Show the network until cancelled, also while its controller is away."""
    board = Board()
    with Live(console=console, auto_refresh=False, transient=False, vertical_overflow="crop") as live:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(_follow_events(network, board), name="events")
            async with network.admin() as admin:
                while True:
                    try:
                        board.status = await admin.GetStatus(
                            admin_pb2.GetStatusRequest(), timeout=CALL_TIMEOUT_SECONDS
                        )
                        board.trouble = ""
                    except grpc.aio.AioRpcError as error:
                        board.trouble = f"the controller is away ({error.code().name.lower()})"
                    live.update(board.render(console.width, console.height), refresh=True)
                    await asyncio.sleep(REFRESH_SECONDS)


async def _follow_events(network: Network, board: Board) -> None:
    async with network.admin() as admin:
        while True:
            try:
                # After a break the past ones fill the gap; those that are there already are skipped.
                async for answer in admin.WatchEvents(admin_pb2.WatchEventsRequest(past=_EVENTS_KEPT)):
                    event = answer.event
                    if not board.events or event.id > board.events[-1].id or event.id == 0:
                        board.events.append(event)
            except grpc.aio.AioRpcError:
                # The status line says that the controller is away.
                pass
            await asyncio.sleep(_RETRY_SECONDS)
