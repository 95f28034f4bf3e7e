"""`keyweave status`: the whole network at a glance, and whether it does its job."""

import asyncio
from collections.abc import Iterator
from typing import Annotated, Any

import grpc
import typer
from rich.console import Group

from keyweave.cli import tables
from keyweave.cli.connection import CALL_TIMEOUT_SECONDS, Network
from keyweave.cli.exits import ExitCode, UnreachableError
from keyweave.cli.output import Output, OutputOption, as_json, console, show, show_json
from keyweave.v1 import admin_pb2, types_pb2

# Between two looks while waiting. Readiness is a state of many parts and has no event of its own.
_INTERVAL_SECONDS = 0.25
# Of rules that a guard withholds; `keyweave node get` has all.
_RULES_NAMED = 3
_SERVING = frozenset({types_pb2.PROTECTION_QKD, types_pb2.PROTECTION_HYBRID, types_pb2.PROTECTION_PQC})


def shortcomings(status: admin_pb2.GetStatusResponse) -> Iterator[str]:
    """What keeps the network from doing its whole job, one line each; nothing if it does."""
    if status.read_only:
        yield "controller: read-only, agents have seen a higher epoch than its database"
    if not status.nodes:
        yield "controller: knows no nodes yet"
    for node in status.nodes:
        if not node.connected:
            yield f"node '{node.node.name}': its agent is not connected"
        elif node.nacked_rules:
            yield f"node '{node.node.name}': its agent refuses its policy"
        elif not node.desired_policy.digest or node.desired_policy.digest != node.applied_policy.digest:
            yield f"node '{node.node.name}': its agent has not applied its policy yet"
        elif node.withheld_rules:
            rules = ", ".join(rule.rule_id for rule in node.withheld_rules[:_RULES_NAMED])
            more = ", ..." if len(node.withheld_rules) > _RULES_NAMED else ""
            yield f"node '{node.node.name}': its guard now forbids {rules}{more}"
    for stream in status.streams:
        if not stream.buffered_keys and stream.protection not in _SERVING:
            yield f"stream '{stream.stream.name}': can serve no keys"


async def status(
    network: Network,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until everything works.")] = False,
    timeout: Annotated[float, typer.Option(help="Seconds to wait at most.", min=0)] = 60.0,  # noqa: ASYNC109  # an option
    output: OutputOption = Output.TABLE,
) -> None:
    """The whole network.

    Exits with 0 if every agent has applied its policy and every stream has keys to serve (links may be down
    all the same), 3 if not, 4 timed out, 5 unreachable.
    """
    answer = await (_wait(network, timeout) if wait else _ask(network))
    lacking = list(shortcomings(answer))
    if output is Output.JSON:
        show_json({**as_json(answer), "ready": not lacking, "shortcomings": lacking})
    else:
        width = console().width
        show(
            Group(
                tables.nodes_table(answer.nodes, width),
                "",
                tables.links_table(answer.links, width),
                "",
                tables.streams_table(answer.streams, width),
                "",
                *(tables.order_line(order) for order in answer.orders),
            )
        )
        done = "every agent has its policy, every stream can serve keys"
        typer.echo(f"epoch {answer.epoch}, plan {answer.plan_version}: {'; '.join(lacking) or done}")
    if lacking:
        raise typer.Exit(ExitCode.TIMED_OUT if wait else ExitCode.DEGRADED)


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
