"""`keyweave status`: the whole network on one screen, and whether it does its job."""

import asyncio
from typing import Annotated, Any

import grpc
import typer

from keyweave.cli.board import Board
from keyweave.cli.connection import CALL_TIMEOUT_SECONDS, Network
from keyweave.cli.exits import ExitCode, UnreachableError
from keyweave.cli.output import Output, OutputOption, as_json, console, show_json
from keyweave.cli.troubles import health, shortcomings, troubles
from keyweave.v1 import admin_pb2

# Between two looks while waiting. Readiness is a state of many parts and has no event of its own.
_INTERVAL_SECONDS = 0.25


async def status(
    network: Network,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until every stream can serve keys.")] = False,
    timeout: Annotated[float, typer.Option(help="Seconds to wait at most.", min=0)] = 60.0,  # noqa: ASYNC109  # an option
    everything: Annotated[
        bool, typer.Option("--all", help="All of it, more than fits on one screen.")
    ] = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """The network on one screen: what is wrong first.

    Exits with 0 if all is well and 3 if not: an agent is away or has not applied its policy, a stream has
    no keys or less protection or rate than it asks for, a link is down, suspect or silent. What an operator
    has taken out of use does not count. With --wait, 0 as soon as every agent has applied its policy and
    every stream can serve keys, 4 if they have not in time.
    """
    answer = await (_wait(network, timeout) if wait else _ask(network))
    found = troubles(answer)
    lacking = list(shortcomings(answer))
    if output is Output.JSON:
        told = [
            {"weight": one.weight.name.lower(), "kind": one.kind, "name": one.name, "what": one.what}
            for one in found
        ]
        show_json(
            {
                **as_json(answer),
                "health": health(found),
                "ready": not lacking,
                "shortcomings": lacking,
                "troubles": told,
            }
        )
    else:
        screen = console()
        # A line is left for the prompt.
        height = screen.height - 1 if screen.is_terminal and not everything else None
        screen.print(Board(status=answer, away="").render(screen.width, height))
    if lacking:
        raise typer.Exit(ExitCode.TIMED_OUT if wait else ExitCode.DEGRADED)
    if not wait and health(found) != "ok":
        raise typer.Exit(ExitCode.DEGRADED)


async def _wait(network: Network, seconds: float) -> admin_pb2.GetStatusResponse:
    """The first status without shortcomings, or the last one at the deadline."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    while True:
        try:
            answer = await _watch(network, deadline)
        except (UnreachableError, grpc.aio.AioRpcError) as error:
            # It may be starting; what is not a matter of time is told at once.
            if isinstance(error, grpc.aio.AioRpcError) and error.code() not in _PASSING:
                raise
            if loop.time() >= deadline:
                raise
            await asyncio.sleep(_INTERVAL_SECONDS)
        else:
            return answer


_PASSING = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED})


async def _watch(network: Network, deadline: float) -> admin_pb2.GetStatusResponse:
    loop = asyncio.get_running_loop()
    async with network.admin() as admin:
        while True:
            answer = await _status(admin)
            if loop.time() >= deadline or not any(shortcomings(answer)):
                return answer
            await asyncio.sleep(_INTERVAL_SECONDS)


async def _ask(network: Network) -> admin_pb2.GetStatusResponse:
    async with network.admin() as admin:
        return await _status(admin)


async def _status(admin: Any) -> admin_pb2.GetStatusResponse:
    answer: admin_pb2.GetStatusResponse = await admin.GetStatus(
        admin_pb2.GetStatusRequest(), timeout=CALL_TIMEOUT_SECONDS
    )
    return answer
