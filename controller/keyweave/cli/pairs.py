"""`keyweave pair-stream create|update|list|show|explain|delete|verify`, `keyweave pair-link list`."""

import time
from enum import StrEnum
from typing import Annotated, Any

import typer
from google.protobuf.field_mask_pb2 import FieldMask

from keyweave.cli.completion import names
from keyweave.cli.connection import CALL_TIMEOUT_SECONDS, Network, connected
from keyweave.cli.durations import span
from keyweave.cli.objects import Clear, Etag, Name, RequestId
from keyweave.cli.output import Output, OutputOption, as_json, console, show, show_json, show_message
from keyweave.cli.pair_tables import links_table, memories_table, streams_table
from keyweave.common.errors import InvalidInputError
from keyweave.v1 import admin_pb2, pairs_pb2

app = typer.Typer(no_args_is_help=True, help="Entangled pairs between two nodes, with a fidelity floor.")
links_app = typer.Typer(no_args_is_help=True, help="Links that make entangled pairs.")
_PAGE_SIZE = 1000
_NANOS = 1_000_000_000
BELL_TIMEOUT_SECONDS = 600.0
# What could be had is worked out before such a call is answered: seconds, in a large network.
PLANNED_TIMEOUT_SECONDS = 60.0
# No local model reaches more, whatever it does.
_CLASSICAL_BOUND = 2.0


class PairType(StrEnum):
    """What becomes of the pairs."""

    NL = "nl"
    CK = "ck"
    MD = "md"


_TYPES = {
    PairType.NL: pairs_pb2.PAIR_KIND_NETWORK_LAYER,
    PairType.CK: pairs_pb2.PAIR_KIND_CREATE_KEEP,
    PairType.MD: pairs_pb2.PAIR_KIND_MEASURE_DIRECTLY,
}
Source = Annotated[str, typer.Argument(help="The node that the pairs begin at.", autocompletion=names)]
Target = Annotated[str, typer.Argument(help="The node at their other end.", autocompletion=names)]
Fidelity = Annotated[
    float | None, typer.Option(help="Of delivered pairs on average, at the least: 0.5 to 1.")
]
Rate = Annotated[float | None, typer.Option(help="Pairs a second.")]
Deadline = Annotated[str | None, typer.Option(help="It ends by itself after this, like 90s, 10m or 2h.")]
Count = Annotated[int | None, typer.Option(help="It ends once so many pairs are delivered.", min=1)]
Type = Annotated[
    PairType | None,
    typer.Option(
        "--type",
        help="nl: for the network layer; ck: created and kept until an application takes them; "
        "md: measured directly.",
    ),
]
Priority = Annotated[int | None, typer.Option(help="Higher goes first.", min=0, max=255)]
MaxRounds = Annotated[
    int | None, typer.Option(help="Of purification, on any pair; as many as help if not given.", min=0, max=4)
]
TestRatio = Annotated[
    float | None, typer.Option(help="Share of the pairs that is measured to know their fidelity.")
]
Avoid = Annotated[list[str] | None, typer.Option(help="A node that no path crosses (repeatable).")]
Force = Annotated[bool, typer.Option("--force", help="Even if it cannot be met now: it waits until it can.")]
Only = Annotated[bool, typer.Option("--validate-only", help="Change nothing; tell what would be answered.")]


async def create(
    network: Network,
    source: Source,
    target: Target,
    min_fidelity: Fidelity = 0.8,
    rate: Rate = 1.0,
    deadline: Deadline = None,
    type_: Type = PairType.MD,
    name: Annotated[str, typer.Option(help="SOURCE-TARGET if not given.")] = "",
    keys: Annotated[
        str, typer.Option(help="Make keys of the pairs (BBM92), for a link of this name; needs --type md.")
    ] = "",
    priority: Priority = None,
    max_rounds: MaxRounds = None,
    count: Count = None,
    test_ratio: TestRatio = None,
    avoid: Avoid = None,
    tenant: Annotated[str, typer.Option(help="Whose it is.")] = "",
    force: Force = False,
    validate_only: Only = False,
    request_id: RequestId = "",
    output: OutputOption = Output.TABLE,
) -> None:
    """Ask for pairs: taken on with what is predicted, or refused with the best that could be had."""
    given = _given(min_fidelity, rate, deadline, type_, priority, max_rounds, count, test_ratio, avoid)
    spec = pairs_pb2.PairStream(
        name=name or f"{source}-{target}",
        source_node=source,
        target_node=target,
        key_link=keys,
        tenant=tenant,
        **given,
    )
    request = admin_pb2.CreatePairStreamRequest(
        pair_stream=spec, force=force, validate_only=validate_only, request_id=request_id
    )
    async with network.admin() as admin:
        answer = await admin.CreatePairStream(request, timeout=PLANNED_TIMEOUT_SECONDS)
    _show_answer(answer, output)


async def update(
    network: Network,
    name: Name,
    min_fidelity: Fidelity = None,
    rate: Rate = None,
    deadline: Deadline = None,
    type_: Type = None,
    priority: Priority = None,
    max_rounds: MaxRounds = None,
    count: Count = None,
    test_ratio: TestRatio = None,
    avoid: Avoid = None,
    clear: Clear = None,
    etag: Etag = "",
    force: Force = False,
    validate_only: Only = False,
    request_id: RequestId = "",
    output: OutputOption = Output.TABLE,
) -> None:
    """Change what is given of a pair stream, if it can still be met."""
    given = _given(min_fidelity, rate, deadline, type_, priority, max_rounds, count, test_ratio, avoid)
    mask = [*given, *(path.replace("-", "_") for path in clear or ())]
    twice = sorted({path for path in mask if mask.count(path) > 1})
    if twice:
        raise InvalidInputError.of(twice[0], "is both set and cleared; choose one")
    request = admin_pb2.UpdatePairStreamRequest(
        pair_stream=pairs_pb2.PairStream(name=name, etag=etag, **given),
        update_mask=FieldMask(paths=mask),
        force=force,
        validate_only=validate_only,
        request_id=request_id,
    )
    async with network.admin() as admin:
        answer = await admin.UpdatePairStream(request, timeout=PLANNED_TIMEOUT_SECONDS)
    _show_answer(answer, output)


async def list_(network: Network, output: OutputOption = Output.TABLE) -> None:
    """All pair streams: what they ask for, what is predicted, what is measured."""
    async with network.admin() as admin:
        found = await list_all(admin)
    if output is Output.JSON:
        show_json({"pair_streams": [as_json(one) for one in found]})
    else:
        show(streams_table(found, console().width))


async def show_one(network: Network, name: Name, output: OutputOption = Output.TABLE) -> None:
    """One pair stream in full."""
    async with network.admin() as admin:
        request = admin_pb2.GetPairStreamRequest(name=name)
        answer = await admin.GetPairStream(request, timeout=CALL_TIMEOUT_SECONDS)
    show_message(answer.pair_stream, output)


async def explain(network: Network, name: Name, output: OutputOption = Output.TABLE) -> None:
    """Why a pair stream is served as it is, what else could be had, and what would give more."""
    async with network.admin() as admin:
        request = admin_pb2.ExplainPairStreamRequest(name=name)
        answer = await admin.ExplainPairStream(request, timeout=PLANNED_TIMEOUT_SECONDS)
    if output is Output.JSON:
        show_json(as_json(answer))
    else:
        for line in answer.lines:
            typer.echo(line)


async def delete(
    network: Network,
    name: Name,
    etag: Etag = "",
    request_id: RequestId = "",
    validate_only: Only = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Delete a pair stream, and the link that its keys feed."""
    request = admin_pb2.DeletePairStreamRequest(
        name=name, etag=etag, request_id=request_id, validate_only=validate_only
    )
    async with network.admin() as admin:
        answer = await admin.DeletePairStream(request, timeout=CALL_TIMEOUT_SECONDS)
    if output is Output.JSON:
        show_json(as_json(answer))


async def verify(
    network: Network,
    name: Name,
    pairs: Annotated[int, typer.Option(help="Pairs that the test uses up.", min=16, max=100_000)] = 400,
    wait: Annotated[float, typer.Option(help="Seconds to wait for them.", min=1)] = BELL_TIMEOUT_SECONDS,
    output: OutputOption = Output.TABLE,
) -> None:
    """Test a Bell inequality (CHSH) on the next pairs of a stream; exit code 3 if it is not surely broken."""
    request = admin_pb2.RunBellTestRequest(name=name, pairs=pairs)
    async with network.admin() as admin:
        answer = await admin.RunBellTest(request, timeout=wait)
    is_sure = answer.s_low > _CLASSICAL_BOUND
    if output is Output.JSON:
        show_json({**as_json(answer), "entangled": is_sure})
    else:
        said = "above 2: entangled" if is_sure else "not surely above 2: nothing is shown"
        interval = f"{answer.s_low:.3f} to {answer.s_high:.3f} with 95 % confidence"
        typer.echo(f"S = {answer.s:.3f} ({interval}) of {sum(answer.pairs)} pairs, {said}")
    if not is_sure:
        raise typer.Exit(3)


async def list_links(network: Network, output: OutputOption = Output.TABLE) -> None:
    """All links that make pairs, and the memories at the nodes."""
    async with network.admin() as admin:
        answer = await admin.ListPairLinks(admin_pb2.ListPairLinksRequest(), timeout=CALL_TIMEOUT_SECONDS)
    if output is Output.JSON:
        show_json(as_json(answer))
    else:
        show(links_table(answer.pair_links))
        show(memories_table(answer.memories))


async def list_all(admin: Any) -> list[admin_pb2.PairStreamStatus]:
    """Every pair stream, page by page."""
    found: list[admin_pb2.PairStreamStatus] = []
    token = ""
    while True:
        request = admin_pb2.ListPairStreamsRequest(page_size=_PAGE_SIZE, page_token=token)
        page = await admin.ListPairStreams(request, timeout=CALL_TIMEOUT_SECONDS)
        found += page.pair_streams
        token = page.next_page_token
        if not token:
            return found


def _given(
    min_fidelity: float | None,
    rate: float | None,
    deadline: str | None,
    type_: PairType | None,
    priority: int | None,
    max_rounds: int | None,
    count: int | None,
    test_ratio: float | None,
    avoid: list[str] | None,
) -> dict[str, Any]:
    """Fields by their names, of what was given."""
    ends = None if deadline is None else time.time_ns() + span("deadline", deadline) * _NANOS
    said = {
        "min_fidelity": min_fidelity,
        "rate_hz": rate,
        "deadline_unix_nanos": ends,
        "kind": None if type_ is None else _TYPES[type_],
        "priority": priority,
        "max_rounds": max_rounds,
        "pair_count": count,
        "test_ratio": test_ratio,
        "avoid_nodes": avoid,
    }
    return {field: value for field, value in said.items() if value is not None}


def _show_answer(
    answer: admin_pb2.CreatePairStreamResponse | admin_pb2.UpdatePairStreamResponse, output: Output
) -> None:
    if output is Output.JSON:
        show_json(as_json(answer))
        return
    verdict = "accepted" if answer.predicted_rate_hz else "waits"
    typer.echo(f"pair stream '{answer.pair_stream.name}' {verdict}: {answer.answer}")


app.command("create")(connected(create))
app.command("update")(connected(update))
app.command("list")(connected(list_))
app.command("show")(connected(show_one))
app.command("explain")(connected(explain))
app.command("delete")(connected(delete))
app.command("verify")(connected(verify))
links_app.command("list")(connected(list_links))
