"""How the keys of a stream were protected in a period, from the ledgers of both ends."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from keyweave.cli.main import main
from keyweave.cli.provenance import Interval, Kind, Provenance
from keyweave.common.identity import Role
from keyweave.v1 import types_pb2
from tests.integration.admin_server import AdminServer, serving
from tests.integration.test_ledger import agent

SECOND = 1_000_000_000
HYBRID, PQC = types_pb2.PROTECTION_HYBRID, types_pb2.PROTECTION_PQC
DELIVERED = types_pb2.LEDGER_OUTCOME_DELIVERED


def line(number: int, node: str = "a", **changed: Any) -> types_pb2.LedgerEntry:
    """One end's line of a key that was made in second `number`."""
    members: dict[str, Any] = {
        "node": node,
        "stream": "s",
        "key_id": f"8d9a6f0e-0000-4000-8000-{number:012d}",
        "created_unix_nanos": number * SECOND,
        "time_unix_nanos": (number + 5) * SECOND,
        "protection": HYBRID,
        "path_ids": ["s:1", "s:2"],
        "trusted_nodes": ["b", "d"],
        "links": ["ab", "bc", "ad", "dc"],
        "outcome": DELIVERED,
    }
    return types_pb2.LedgerEntry(**members | changed)


def alone(number: int, node: str = "a", **changed: Any) -> types_pb2.LedgerEntry:
    return line(number, node, protection=PQC, path_ids=[], trusted_nodes=[], links=[], **changed)


def of(*entries: types_pb2.LedgerEntry) -> Provenance:
    found = Provenance()
    for entry in entries:
        found.take(entry)
    return found


def test_a_key_of_which_both_ends_tell_is_one_key() -> None:
    found = of(line(1, "a"), line(1, "c", outcome=types_pb2.LEDGER_OUTCOME_EXPIRED), line(2, "a"))
    (counted,) = found.counts().values()
    assert (found.keys, counted.keys, counted.outcomes) == (2, 2, {"delivered": 2})
    assert found.disputed == 0


def test_what_matters_most_of_a_key_is_what_counts() -> None:
    recalled = types_pb2.LEDGER_OUTCOME_RECALLED
    destroyed = types_pb2.LEDGER_OUTCOME_DESTROYED
    found = of(line(1), line(1, "c", outcome=recalled), line(2, outcome=destroyed))
    (counted,) = found.counts().values()
    assert counted.outcomes == {"recalled": 1, "destroyed": 1}


def test_keys_are_counted_by_what_protected_them_and_who_saw_them() -> None:
    found = of(
        line(1),
        line(2),
        line(3, protection=types_pb2.PROTECTION_QKD, path_ids=["s:3"], trusted_nodes=["e"], emulated=True),
        alone(4),
        line(5, path_ids=["s:4"], vendor_domains=["acme"]),
    )
    assert [
        (kind.words, counted.keys, sorted(counted.trusted_nodes)) for kind, counted in found.counts().items()
    ] == [
        ("QKD over 2 paths and ML-KEM", 2, ["b", "d"]),
        ("QKD over 1 path, emulated", 1, ["e"]),
        ("ML-KEM alone", 1, []),
        ("QKD over 1 path and ML-KEM, through acme (hops unknown)", 1, ["b", "d"]),
    ]
    assert Kind(types_pb2.PROTECTION_NONE, 0, emulated=False, vendor_domains=()).words == "nothing"


def test_intervals_tell_when_one_protection_followed_on_another_whatever_the_order_of_lines() -> None:
    found = of(line(30), alone(20), line(1), alone(25), line(2), line(31))
    quantum, classical = Kind.of(line(1)), Kind.of(alone(1))
    assert list(found.intervals()) == [
        Interval(1 * SECOND, 2 * SECOND, quantum, 2),
        Interval(20 * SECOND, 25 * SECOND, classical, 2),
        Interval(30 * SECOND, 31 * SECOND, quantum, 2),
    ]


def test_ends_that_disagree_on_a_key_are_told() -> None:
    assert of(line(1, "a"), alone(1, "c")).disputed == 1


@pytest.fixture(autouse=True)
def no_log_among_the_output() -> Iterator[None]:
    with structlog.testing.capture_logs():
        yield


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[AdminServer]:
    async with serving(tmp_path) as running:
        yield running


async def provenance(server: AdminServer, *options: str) -> int:
    files = server.files(Role.OPERATOR)
    where = (
        *("--address", server.address, "--certificate", str(files.certificate)),
        *("--key", str(files.private_key), "--trust-anchor", str(files.trust_anchor)),
    )
    return await asyncio.to_thread(main, ["stream", "provenance", "s", *options, *where])


async def test_the_command_sums_up_what_both_ends_tell(
    server: AdminServer, capsys: pytest.CaptureFixture[str]
) -> None:
    period = ("--from", "1970-01-01T00:00:00Z", "--to", "1970-01-01T00:01:00Z")
    async with agent(server, "a") as a, agent(server, "c") as c:

        async def answered(*options: str) -> tuple[int, str]:
            async with asyncio.TaskGroup() as group:
                asking = group.create_task(provenance(server, *period, *options))
                query, other = await a.asked(), await c.asked()
                assert query.ledger.to_unix_nanos == 60 * SECOND
                await a.page(query.query_id, [line(1), line(2), alone(9)], last=True)
                await c.page(other.query_id, [line(1, "c"), line(2, "c"), alone(9, "c")], last=True)
            return asking.result(), capsys.readouterr().out

        code, text = await answered()
        assert code == 0
        assert "stream 's'" in text
        assert "3 keys" in text.splitlines()[0]
        assert "QKD over 2 paths and ML-KEM: 2 keys, 2 delivered; trusted nodes crossed: b, d" in text
        assert "ML-KEM alone: 1 keys, 1 delivered; trusted nodes crossed: none" in text
        code, text = await answered("-o", "json")
        told = json.loads(text)
        assert (code, told["keys"], told["problems"]) == (0, 3, [])
        assert [(one["protection"], one["paths"], one["keys"]) for one in told["intervals"]] == [
            ("hybrid", 2, 2),
            ("pqc", 0, 1),
        ]


async def test_an_end_that_is_away_is_told_and_the_exit_code_says_so(
    server: AdminServer, capsys: pytest.CaptureFixture[str]
) -> None:
    async with agent(server, "a") as a, asyncio.TaskGroup() as group:
        asking = group.create_task(provenance(server))
        query = await a.asked()
        await a.page(query.query_id, [line(1)], last=True)
    assert asking.result() == 3
    said = capsys.readouterr()
    assert "1 keys" in said.out
    assert "not all of node 'c'" in said.err
