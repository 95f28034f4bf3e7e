"""`keyweave stream provenance`: how the keys of a stream were protected in a period. No key material.

The lines of both ends' ledgers, counted: by what protected the keys, which nodes they crossed, what became
of them, and in which intervals one protection followed on another.
"""

import datetime as dt
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Annotated, Any

import typer

from keyweave.cli import ledger
from keyweave.cli.connection import Network
from keyweave.cli.exits import ExitCode
from keyweave.cli.output import Output, OutputOption, show_json
from keyweave.v1 import admin_pb2, types_pb2

# Intervals in the table; JSON has all.
INTERVALS_SHOWN = 40
_OUTCOMES = {
    types_pb2.LEDGER_OUTCOME_DELIVERED: "delivered",
    types_pb2.LEDGER_OUTCOME_EXPIRED: "expired",
    types_pb2.LEDGER_OUTCOME_DESTROYED: "destroyed",
    types_pb2.LEDGER_OUTCOME_RECALLED: "recalled",
}
# Of what the two ends say of one key, what matters more comes first.
_GRAVEST = ("recalled", "delivered", "destroyed", "expired")


@dataclass(frozen=True, slots=True)
class Kind:
    """What keys have in common that were protected alike."""

    protection: types_pb2.Protection
    # Disjoint paths over which each key was split; 0 without QKD.
    paths: int
    emulated: bool
    vendor_domains: tuple[str, ...]

    @classmethod
    def of(cls, entry: types_pb2.LedgerEntry) -> "Kind":
        """What protected the key of a line."""
        return cls(entry.protection, len(entry.path_ids), entry.emulated, tuple(entry.vendor_domains))

    @property
    def words(self) -> str:
        """For people."""
        paths = f"QKD over {self.paths} path{'s' if self.paths != 1 else ''}"
        said = {
            types_pb2.PROTECTION_QKD: paths,
            types_pb2.PROTECTION_HYBRID: f"{paths} and ML-KEM",
            types_pb2.PROTECTION_PQC: "ML-KEM alone",
        }.get(self.protection, "nothing")
        domains = f", through {', '.join(self.vendor_domains)} (hops unknown)" if self.vendor_domains else ""
        return f"{said}{domains}{', emulated' if self.emulated else ''}"


@dataclass(slots=True)
class Counted:
    """The keys of one kind."""

    keys: int = 0
    outcomes: dict[str, int] = field(default_factory=dict)
    trusted_nodes: set[str] = field(default_factory=set)
    links: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Interval:
    """Keys of one kind that were made one after the other, with none of another kind in between."""

    first_unix_nanos: int
    last_unix_nanos: int
    kind: Kind
    keys: int


@dataclass(slots=True)
class _Key:
    kind: Kind
    created: int
    outcomes: set[str]
    disputed: bool = False


class Provenance:
    """The keys of a stream, as the lines of both ends tell of them."""

    def __init__(self) -> None:
        self._keys: dict[str, _Key] = {}
        self._nodes: dict[Kind, set[str]] = {}
        self._links: dict[Kind, set[str]] = {}

    def take(self, entry: types_pb2.LedgerEntry) -> None:
        """The next line, of either end."""
        kind = Kind.of(entry)
        self._nodes.setdefault(kind, set()).update(entry.trusted_nodes)
        self._links.setdefault(kind, set()).update(entry.links)
        outcome = _OUTCOMES.get(entry.outcome, "unknown")
        known = self._keys.get(entry.key_id)
        if known is None:
            self._keys[entry.key_id] = _Key(kind, entry.created_unix_nanos, {outcome})
        else:
            known.outcomes.add(outcome)
            known.disputed |= known.kind != kind

    @property
    def keys(self) -> int:
        """How many keys there are."""
        return len(self._keys)

    @property
    def disputed(self) -> int:
        """Keys of which the two ends say different things; counted as the first said."""
        return sum(key.disputed for key in self._keys.values())

    def counts(self) -> dict[Kind, Counted]:
        """By kind, the most keys first."""
        found: dict[Kind, Counted] = {}
        for key in self._keys.values():
            counted = found.setdefault(key.kind, Counted())
            counted.keys += 1
            outcome = _gravest(key.outcomes)
            counted.outcomes[outcome] = counted.outcomes.get(outcome, 0) + 1
        for kind, counted in found.items():
            counted.trusted_nodes, counted.links = self._nodes[kind], self._links[kind]
        return dict(sorted(found.items(), key=lambda item: -item[1].keys))

    def intervals(self) -> Iterator[Interval]:
        """By when keys were made."""
        run: list[_Key] = []
        for key in sorted(self._keys.values(), key=lambda one: one.created):
            if run and run[-1].kind != key.kind:
                yield _interval(run)
                run = []
            run.append(key)
        if run:
            yield _interval(run)


def _gravest(outcomes: Iterable[str]) -> str:
    told = set(outcomes)
    return next((word for word in _GRAVEST if word in told), "unknown")


def _interval(run: list[_Key]) -> Interval:
    return Interval(run[0].created, run[-1].created, run[0].kind, len(run))


async def provenance(
    network: Network,
    stream: Annotated[str, typer.Argument(help="The stream.")],
    from_: Annotated[str, typer.Option("--from", help=f"The first moment: {ledger.FORMS}.")] = "-1h",
    to: Annotated[str, typer.Option(help="The moment after the last, in the same forms.")] = "now",
    output: OutputOption = Output.TABLE,
) -> None:
    """How the keys that were fetched, expired or destroyed in a period were protected, in figures.

    From the ledgers of both ends; exits with 3 if an end is away or its ledger is not whole.
    """
    now = time.time_ns()
    begin, end = ledger.unix_nanos("--from", from_, now), ledger.unix_nanos("--to", to, now)
    request = admin_pb2.ShowLedgerRequest(
        stream=stream, from_unix_nanos=begin, to_unix_nanos=end, limit=ledger.MAX_LINES
    )
    found, problems, lines = Provenance(), [], dict[str, int]()
    async with network.admin() as admin:
        async for answer in admin.ShowLedger(request):
            for entry in answer.entries:
                found.take(entry)
                lines[entry.node] = lines.get(entry.node, 0) + 1
            if answer.problem:
                problems.append(f"not all of node '{answer.node}': {answer.problem}")
    problems += [
        f"node '{node}' has more than {ledger.MAX_LINES} lines there: the oldest are not counted; "
        "ask for shorter periods"
        for node, count in lines.items()
        if count >= ledger.MAX_LINES
    ]
    if output is Output.JSON:
        show_json(
            {"stream": stream, "from_unix_nanos": begin, "to_unix_nanos": end, **_members(found, problems)}
        )
    else:
        _show(stream, found, begin, end)
        for problem in problems:
            typer.echo(f"warning: {problem}", err=True)
    if problems:
        raise typer.Exit(ExitCode.DEGRADED)


def _members(found: Provenance, problems: list[str]) -> dict[str, Any]:
    return {
        "keys": found.keys,
        "keys_on_which_ends_disagree": found.disputed,
        "protections": [
            {
                **_kind_members(kind),
                "keys": counted.keys,
                "outcomes": counted.outcomes,
                "trusted_nodes": sorted(counted.trusted_nodes),
                "links": sorted(counted.links),
            }
            for kind, counted in found.counts().items()
        ],
        "intervals": [
            {
                "first_unix_nanos": interval.first_unix_nanos,
                "last_unix_nanos": interval.last_unix_nanos,
                "keys": interval.keys,
                **_kind_members(interval.kind),
            }
            for interval in found.intervals()
        ],
        "problems": problems,
    }


def _kind_members(kind: Kind) -> dict[str, Any]:
    return {
        "words": kind.words,
        "protection": types_pb2.Protection.Name(kind.protection).removeprefix("PROTECTION_").lower(),
        "paths": kind.paths,
        "emulated": kind.emulated,
        "vendor_domains": list(kind.vendor_domains),
    }


def _show(stream: str, found: Provenance, begin: int, end: int) -> None:
    typer.echo(f"stream '{stream}', {_moment(begin)} to {_moment(end)}: {found.keys} keys")
    if not found.keys:
        return
    for kind, counted in found.counts().items():
        outcomes = ", ".join(
            f"{counted.outcomes[word]} {word}" for word in _GRAVEST if word in counted.outcomes
        )
        nodes = ", ".join(sorted(counted.trusted_nodes)) or "none"
        typer.echo(f"  {kind.words}: {counted.keys} keys, {outcomes}; trusted nodes crossed: {nodes}")
    if found.disputed:
        typer.echo(f"warning: the two ends disagree on what protected {found.disputed} keys", err=True)
    intervals = list(found.intervals())
    typer.echo("made")
    for one in intervals[:INTERVALS_SHOWN]:
        typer.echo(
            f"  {_moment(one.first_unix_nanos)} to {_moment(one.last_unix_nanos)}  "
            f"{one.kind.words}  ({one.keys} keys)"
        )
    if len(intervals) > INTERVALS_SHOWN:
        typer.echo(f"  and {len(intervals) - INTERVALS_SHOWN} more intervals; -o json has all")


def _moment(unix_nanos: int) -> str:
    return dt.datetime.fromtimestamp(unix_nanos / 1e9).astimezone().strftime("%Y-%m-%d %H:%M:%S")
