"""`keyweave audit list|verify|export`: who changed what, which policies went out, what protected keys.

Entries are checked here, byte for byte: whoever asks need not believe the controller.
"""

import json
import os
import re
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any

import typer

from keyweave.cli.connection import CALL_TIMEOUT_SECONDS, Network
from keyweave.cli.exits import ExitCode
from keyweave.cli.output import Output, OutputOption, show_json
from keyweave.common.errors import InvalidInputError
from keyweave.controller.audit.chain import EntryKind, Verdict, Verifier
from keyweave.v1 import admin_pb2

_PAGE_ENTRIES = 200
_ANCHOR = re.compile(r"([0-9]{1,18}):([0-9a-f]{64})")
# An `audit_anchored` event wherever it was exported to: a log line, a syslog message, JSON.
_ANCHOR_TOLD = (
    re.compile(r"\bsequence\W{1,4}([0-9]{1,18})\b"),
    re.compile(r"\bdigest\W{1,4}([0-9a-f]{64})\b"),
)
FileOption = Annotated[
    list[Path] | None,
    typer.Option("--file", help="An exported log or archive instead (repeatable, in order)."),
]
DatabaseOption = Annotated[
    Path | None, typer.Option("--database", help="The controller's SQLite file instead; it is only read.")
]


async def show(
    network: Network,
    count: Annotated[int, typer.Option(help="How many, the newest.", min=1, max=1_000_000)] = 50,
    kind: Annotated[EntryKind | None, typer.Option(help="Only entries of this kind.")] = None,
    actor: Annotated[str, typer.Option(help="Only of whom this is part of the identity.")] = "",
    subject: Annotated[str, typer.Option(help="Only about this, like stream/s.")] = "",
    file: FileOption = None,
    database: DatabaseOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Entries of the audit log, newest last. With -o json, one object per line, as they are kept."""

    def is_asked_for(line: str) -> bool:
        members = _members(line)
        return (
            (kind is None or members.get("kind") == kind)
            and actor in str(members.get("actor"))
            and subject in ("", members.get("subject"))
        )

    if file or database is not None:
        found = [line async for line in _lines(network, file or (), database) if is_asked_for(line)]
    else:
        found = await _newest(network, count, is_asked_for)
    for line in found[-count:]:
        typer.echo(line if output is Output.JSON else _text(_members(line)))


async def export(
    network: Network,
    to: Annotated[Path, typer.Argument(help="File to write, one JSON object per line; it must not exist.")],
    database: DatabaseOption = None,
) -> None:
    """Write the audit log to a file that `keyweave audit verify --file` can check anywhere."""
    if to.exists():
        raise InvalidInputError.of("TO", f"{to} exists already; name a file that does not")
    entries = 0
    # It names who did what: nobody else's to read.
    descriptor = os.open(to, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8", newline="\n") as file:
        async for line in _lines(network, (), database):
            file.write(f"{line}\n")
            entries += 1
    typer.echo(f"{entries} entries written to {to}")


async def verify(
    network: Network,
    file: FileOption = None,
    database: DatabaseOption = None,
    anchor: Annotated[
        list[str] | None, typer.Option(help="SEQUENCE:DIGEST of an entry, as told outside (repeatable).")
    ] = None,
    anchors: Annotated[
        list[Path] | None,
        typer.Option(help="A log or syslog file with `audit_anchored` events (repeatable)."),
    ] = None,
    part: Annotated[
        bool, typer.Option("--part", help="What came before the first entry is elsewhere, and not missed.")
    ] = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Check the whole chain, entry by entry; exits with 1 and says which entry broke if any did.

    Without anchors, a log whose end was cut off looks whole: give those that went to syslog or the logs.
    """
    known = [*map(_anchor, anchor or ()), *(pair for path in anchors or () for pair in _anchors_in(path))]
    verifier = Verifier(known, is_part=part)
    async for line in _lines(network, file or (), database):
        verifier.take(line.encode("utf-8", "surrogateescape"))
    verdict = verifier.verdict()
    if output is Output.JSON:
        show_json(_verdict_members(verdict))
    else:
        typer.echo(_verdict_text(verdict))
    if not verdict.is_whole:
        raise typer.Exit(ExitCode.ERROR)


async def _newest(network: Network, count: int, is_asked_for: Callable[[str], bool]) -> list[str]:
    """The newest lines that are asked for, oldest first: read from the end, as far back as it takes."""
    found: list[str] = []
    async with network.admin() as admin:
        page = await admin.ListAuditEntries(
            admin_pb2.ListAuditEntriesRequest(page_size=1), timeout=CALL_TIMEOUT_SECONDS
        )
        end, first = page.last_sequence, page.first_sequence
        while end >= first > 0 and len(found) < count:
            after = max(end - _PAGE_ENTRIES, first - 1)
            request = admin_pb2.ListAuditEntriesRequest(after_sequence=after, page_size=end - after)
            page = await admin.ListAuditEntries(request, timeout=CALL_TIMEOUT_SECONDS)
            found = [*filter(is_asked_for, page.lines), *found]
            end = after
    return found


async def _lines(network: Network, files: Sequence[Path], database: Path | None) -> AsyncIterator[str]:
    """The lines of a log, oldest first: of files, of a database, or of the live controller."""
    if files and database is not None:
        raise InvalidInputError.of("--database", "cannot be combined with --file; name one of them")
    if files:
        for path in files:
            for line in _file_lines(path, "--file"):
                yield line
    elif database is not None:
        for line in _database_lines(database):
            yield line
    else:
        async with network.admin() as admin:
            request = admin_pb2.ListAuditEntriesRequest()
            while True:
                page = await admin.ListAuditEntries(request, timeout=CALL_TIMEOUT_SECONDS)
                for line in page.lines:
                    yield line
                if page.next_after_sequence <= request.after_sequence:
                    break
                request.after_sequence = page.next_after_sequence


def _file_lines(path: Path, option: str) -> Iterator[str]:
    try:
        with path.open(encoding="utf-8", errors="surrogateescape", newline="\n") as file:
            for line in file:
                yield line.removesuffix("\n")
    except OSError as error:
        raise InvalidInputError.of(option, f"{path} cannot be read: {error.strerror}") from None


def _database_lines(path: Path) -> Iterator[str]:
    if not path.is_file():
        raise InvalidInputError.of("--database", f"there is no file {path}")
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            for (line,) in connection.execute("SELECT line FROM audit ORDER BY sequence"):
                yield str(line)
    except sqlite3.Error as error:
        raise InvalidInputError.of("--database", f"{path} is no controller's database: {error}") from None


def _anchor(text: str) -> tuple[int, str]:
    match = _ANCHOR.fullmatch(text)
    if match is None:
        raise InvalidInputError.of(
            "--anchor", f"'{text}' is no anchor; it is SEQUENCE:DIGEST, with 64 hexadecimal digits"
        )
    return int(match[1]), match[2]


def _anchors_in(path: Path) -> Iterator[tuple[int, str]]:
    found = False
    for line in _file_lines(path, "--anchors"):
        if "audit_anchored" in line:
            sequence, digest = (pattern.search(line) for pattern in _ANCHOR_TOLD)
            if sequence is not None and digest is not None and int(sequence[1]):
                found = True
                yield int(sequence[1]), digest[1]
    if not found:
        # The wrong log, or one from before the first anchor, would make a cut at the end look whole.
        raise InvalidInputError.of("--anchors", f"{path} has no `audit_anchored` event")


def _members(line: str) -> dict[str, Any]:
    try:
        members = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return members if isinstance(members, dict) else {}


def _text(members: dict[str, Any]) -> str:
    """One entry on one line, for people."""
    if not members:
        return "(no entry: run `keyweave audit verify`)"
    details = members.get("details")
    told = " ".join(f"{k}={v}" for k, v in details.items()) if isinstance(details, dict) else ""
    words = [members.get(name, "") for name in ("sequence", "time", "kind", "actor", "action", "subject")]
    return "  ".join(str(word) for word in (*words, members.get("outcome", ""), told) if word)


def _verdict_text(verdict: Verdict) -> str:
    if verdict.is_whole:
        if not verdict.entries:
            return "whole: the log is empty"
        anchored = f", {verdict.anchors_checked} anchors met" if verdict.anchors_checked else ""
        unanchored = (
            "" if verdict.anchors_checked else "\nno anchor was given: a cut at the end would not show"
        )
        head = verdict.head
        return (
            f"whole: {verdict.entries} entries, {verdict.first} to {head.sequence}{anchored}\n"
            f"head: {head.sequence}:{head.digest}{unanchored}"
        )
    more = f"\nand {verdict.more_faults} more" if verdict.more_faults else ""
    faults = "\n".join(str(fault) for fault in verdict.faults)
    return f"BROKEN: {verdict.entries} entries were read\n{faults}{more}"


def _verdict_members(verdict: Verdict) -> dict[str, Any]:
    return {
        "whole": verdict.is_whole,
        "entries": verdict.entries,
        "first_sequence": verdict.first,
        "head_sequence": verdict.head.sequence,
        "head_digest": verdict.head.digest,
        "anchors_checked": verdict.anchors_checked,
        "faults": [{"sequence": fault.sequence, "what": fault.what} for fault in verdict.faults],
        "more_faults": verdict.more_faults,
    }
