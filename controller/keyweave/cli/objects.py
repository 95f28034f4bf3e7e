"""`keyweave node|link|stream list|get|create|update|delete`."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import typer
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message
from rich.console import RenderableType

from keyweave.cli import fields, tables
from keyweave.cli.completion import names
from keyweave.cli.connection import CALL_TIMEOUT_SECONDS, Network, connected
from keyweave.cli.output import Output, OutputOption, as_json, console, show, show_json, show_message
from keyweave.common.errors import InvalidInputError
from keyweave.v1 import admin_pb2, types_pb2

_PAGE_SIZE = 1000
Name = Annotated[str, typer.Argument(help="Its name.", autocompletion=names)]
ValidateOnly = Annotated[
    bool, typer.Option("--validate-only", help="Only check it; show the plan that would result.")
]
Clear = Annotated[list[str] | None, typer.Option(help="Set this field back to its default (repeatable).")]
Etag = Annotated[str, typer.Option(help="Refuse unless it is as it was when it had this etag.")]
RequestId = Annotated[
    str, typer.Option(help="A UUID; the same change sent again with it is answered and not made twice.")
]


@dataclass(frozen=True, slots=True)
class Kind:
    """One of the three kinds of object, which have the same verbs."""

    spec: type[types_pb2.Node | types_pb2.Link | types_pb2.Stream]
    table: Callable[[Iterable[Any], int], RenderableType]

    @property
    def word(self) -> str:
        """`node`, `link`, `stream`: the field's name in requests and answers."""
        return self.spec.DESCRIPTOR.name.lower()

    def request(self, verb: str, plural: str = "", /, **content: Any) -> Message:
        """The request of one RPC."""
        kind: type[Message] = getattr(admin_pb2, f"{verb}{self.spec.DESCRIPTOR.name}{plural}Request")
        return kind(**content)

    def rpc(self, admin: Any, verb: str, plural: str = "") -> Callable[..., Awaitable[Any]]:
        """One RPC of the stub."""
        rpc: Callable[..., Awaitable[Any]] = getattr(admin, f"{verb}{self.spec.DESCRIPTOR.name}{plural}")
        return rpc


KINDS = (
    Kind(types_pb2.Node, tables.nodes_table),
    Kind(types_pb2.Link, tables.links_table),
    Kind(types_pb2.Stream, tables.streams_table),
)


def commands(kind: Kind) -> typer.Typer:
    """The commands of one kind."""
    app = typer.Typer(no_args_is_help=True, help=f"Every {kind.word} of the network.")
    options = fields.options(kind.spec)

    async def list_(network: Network, output: OutputOption = Output.TABLE) -> None:
        async with network.admin() as admin:
            found = await list_all(admin, kind)
        if output is Output.JSON:
            show_json({f"{kind.word}s": [as_json(status) for status in found]})
        else:
            show(kind.table(found, console().width))

    async def get(network: Network, name: Name, output: OutputOption = Output.TABLE) -> None:
        async with network.admin() as admin:
            answer = await kind.rpc(admin, "Get")(
                kind.request("Get", name=name), timeout=CALL_TIMEOUT_SECONDS
            )
        show_message(getattr(answer, kind.word), output)

    async def create(
        network: Network,
        name: Name,
        given: Mapping[str, Any],
        request_id: RequestId = "",
        validate_only: ValidateOnly = False,
        output: OutputOption = Output.TABLE,
    ) -> None:
        spec = fields.message(kind.spec, name, given)
        content = {kind.word: spec}
        request = kind.request("Create", **content, request_id=request_id, validate_only=validate_only)
        async with network.admin() as admin:
            answer = await kind.rpc(admin, "Create")(request, timeout=CALL_TIMEOUT_SECONDS)
        _show_change(kind, answer, output, validate_only=validate_only)

    async def update(
        network: Network,
        name: Name,
        given: Mapping[str, Any],
        clear: Clear = None,
        revision: Annotated[int, typer.Option(help="Refuse unless this is the present one.")] = 0,
        etag: Etag = "",
        request_id: RequestId = "",
        validate_only: ValidateOnly = False,
        output: OutputOption = Output.TABLE,
    ) -> None:
        mask = [*fields.named(given), *(path.replace("-", "_") for path in clear or ())]
        twice = sorted({path for path in mask if mask.count(path) > 1})
        if twice:
            raise InvalidInputError.of(twice[0], "is both set and cleared; choose one")
        spec = fields.message(kind.spec, name, given)
        spec.revision, spec.etag = revision, etag
        content: dict[str, Any] = {kind.word: spec, "update_mask": FieldMask(paths=mask)}
        request = kind.request("Update", **content, request_id=request_id, validate_only=validate_only)
        async with network.admin() as admin:
            answer = await kind.rpc(admin, "Update")(request, timeout=CALL_TIMEOUT_SECONDS)
        _show_change(kind, answer, output, validate_only=validate_only)

    async def delete(
        network: Network,
        name: Name,
        etag: Etag = "",
        request_id: RequestId = "",
        validate_only: ValidateOnly = False,
        output: OutputOption = Output.TABLE,
    ) -> None:
        request = kind.request(
            "Delete", name=name, etag=etag, request_id=request_id, validate_only=validate_only
        )
        async with network.admin() as admin:
            answer = await kind.rpc(admin, "Delete")(request, timeout=CALL_TIMEOUT_SECONDS)
        _show_change(kind, answer, output, validate_only=validate_only)

    app.command("list", help=f"All {kind.word}s and how they are.")(connected(list_))
    app.command("get", help=f"One {kind.word} in full.")(connected(get))
    app.command("create", help=f"Create a {kind.word}; once this returns, it survives a crash.")(
        connected(create, options)
    )
    app.command("update", help="Change the fields that are given.")(connected(update, options))
    app.command("delete", help=f"Delete a {kind.word}.")(connected(delete))
    return app


async def list_all(admin: Any, kind: Kind) -> list[Any]:
    """Everything of one kind, page by page."""
    found: list[Any] = []
    token = ""
    while True:
        request = kind.request("List", "s", page_size=_PAGE_SIZE, page_token=token)
        page = await kind.rpc(admin, "List", "s")(request, timeout=CALL_TIMEOUT_SECONDS)
        found += getattr(page, f"{kind.word}s")
        token = page.next_page_token
        if not token:
            return found


def _show_change(kind: Kind, answer: Any, output: Output, *, validate_only: bool) -> None:
    if output is Output.JSON:
        show_json(as_json(answer))
    elif validate_only:
        show(tables.plan_table(answer.plan, supposed=True))
    elif kind.word in answer.DESCRIPTOR.fields_by_name:
        show_message(getattr(answer, kind.word), output)
    if output is Output.TABLE and "warnings" in answer.DESCRIPTOR.fields_by_name:
        for warning in answer.warnings:
            typer.echo(f"warning: {warning}", err=True)
