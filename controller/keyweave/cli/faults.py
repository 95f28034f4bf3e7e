"""`keyweave fault ...`: break the emulated optical plane, and mend it."""

import inspect
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from keyweave.cli import tables
from keyweave.cli.completion import names
from keyweave.cli.connection import CALL_TIMEOUT_SECONDS, Network, connected
from keyweave.cli.output import Output, OutputOption, as_json, show, show_json
from keyweave.common.errors import InvalidInputError
from keyweave.emulator.faults import KINDS, OF_NODES, Kind
from keyweave.v1 import emulator_pb2 as pb

app = typer.Typer(no_args_is_help=True, help="Break the emulated optical plane, and mend it.")
# The option that sets a magnitude, by its unit.
_OPTIONS: Mapping[str, str] = {
    "fraction of pulses": "--fraction",
    "fraction of the light": "--fraction",
    "dB": "--db",
    "times the dark counts": "--factor",
    "probability of a flip": "--probability",
    "ms each way": "--ms",
    "fraction of packets": "--fraction",
    "memories": "--memories",
    "times as fast": "--factor",
}
_RAMP = typer.Option("--ramp", help="Grow to it over so many seconds of the scenario.", min=0)
_DURATION = typer.Option("--duration", help="End by itself after so many seconds of the scenario.", min=0)

_PEER = typer.Option("--peer", help="Only between the node and this one, or `controller`; else and all.")


async def restore(
    network: Network,
    name: Annotated[str, typer.Argument(help="The link; with --node, the node.", autocompletion=names)],
    node: Annotated[bool, typer.Option("--node", help="End the faults of a node.")] = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """End all faults of a link or node."""
    answer: pb.RestoreNodeResponse | pb.RestoreLinkResponse
    async with network.emulator() as emulator:
        if node:
            answer = await emulator.RestoreNode(
                pb.RestoreNodeRequest(node=name), timeout=CALL_TIMEOUT_SECONDS
            )
        else:
            answer = await emulator.RestoreLink(
                pb.RestoreLinkRequest(link=name), timeout=CALL_TIMEOUT_SECONDS
            )
    if output is Output.JSON:
        show_json(as_json(answer))
    else:
        ended = ", ".join(_describe(fault) for fault in answer.ended) or "it had no fault"
        typer.echo(f"{tables.clock(answer.time_unix_nanos)}  {name} restored: {ended}")


async def list_(network: Network, output: OutputOption = Output.TABLE) -> None:
    """Faults in force."""
    async with network.emulator() as emulator:
        answer = await emulator.ListFaults(pb.ListFaultsRequest(), timeout=CALL_TIMEOUT_SECONDS)
    if output is Output.JSON:
        show_json(as_json(answer))
    else:
        show(tables.faults_table(answer.faults))


def _add(number: pb.FaultKind, kind: Kind) -> None:
    """The command that brings about one kind of fault."""
    where = "node" if number in OF_NODES else "link"

    async def inject(network: Network, given: Mapping[str, Any], output: OutputOption = Output.TABLE) -> None:
        if not given.get("magnitude", 1.0):
            raise InvalidInputError.of(_OPTIONS[kind.unit], kind.objection(0.0))
        fault = pb.Fault(
            **{where: given["name"]},
            kind=number,
            magnitude=given.get("magnitude", 0.0),
            ramp_seconds=given.get("ramp", 0.0),
            duration_seconds=given["duration"],
            peer=given.get("peer") or "",
        )
        async with network.emulator() as emulator:
            answer = await emulator.InjectFault(
                pb.InjectFaultRequest(fault=fault), timeout=CALL_TIMEOUT_SECONDS
            )
        if output is Output.JSON:
            show_json(as_json(answer.fault))
        else:
            begun = tables.clock(answer.fault.since_unix_nanos)
            typer.echo(f"{begun}  {given['name']}: {_describe(answer.fault)}")

    inject.__name__ = kind.word.replace("-", "_")
    parameters = [
        _parameter("name", Annotated[str, typer.Argument(help=f"The {where}.", autocompletion=names)])
    ]
    if not kind.is_switch:
        magnitude = typer.Option(
            _OPTIONS[kind.unit], help=f"Magnitude, {kind.unit}.", min=kind.least, max=kind.most
        )
        parameters += [
            _parameter("magnitude", Annotated[float, magnitude], kind.default),
            _parameter("ramp", Annotated[float, _RAMP], 0.0),
        ]
    if kind.is_of_network:
        parameters.append(_parameter("peer", Annotated[str | None, _PEER], None))
    parameters.append(_parameter("duration", Annotated[float, _DURATION], 0.0))
    app.command(kind.word, help=kind.summary)(connected(inject, parameters))


def _parameter(name: str, annotation: Any, default: Any = inspect.Parameter.empty) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _describe(fault: pb.Fault) -> str:
    kind = KINDS[fault.kind]
    said = kind.word if kind.is_switch else f"{kind.word} {fault.magnitude:g}"
    return f"{said} to and from {fault.peer}" if fault.peer else said


for _number, _kind in KINDS.items():
    _add(_number, _kind)
app.command("restore")(connected(restore))
app.command("list")(connected(list_))
