"""The store on a real database, SQLite and PostgreSQL alike: fencing, durability, migrations."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine

from keyweave.common.errors import (
    AlreadyExistsError,
    ConflictError,
    FencedError,
    InvalidInputError,
    NotFoundError,
    PreconditionError,
    UnavailableError,
)
from keyweave.common.names import LinkName, NodeName, PathId, StreamName
from keyweave.controller import store as stores
from keyweave.controller.events import Event, Severity
from keyweave.controller.rollout import RetiringSet, Rollout, RolloutChange, StreamRollout
from keyweave.controller.store import Store
from keyweave.controller.store_engine import known_revisions
from keyweave.controller.topology import Hop, PathSet, StreamPlan
from keyweave.controller.topology import Path as RelayPath
from keyweave.v1 import types_pb2
from tests.postgresql import PostgresServer


def sqlite(directory: Path) -> str:
    return f"sqlite+aiosqlite:///{directory}/controller.db"


@pytest.fixture(params=["sqlite", "postgresql"])
async def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database, once of each kind."""
    if request.param == "sqlite":
        return sqlite(tmp_path)
    server: PostgresServer = request.getfixturevalue("postgresql")
    return await server.new_database()


@pytest.fixture
async def store(url: str) -> AsyncIterator[Store]:
    opened = await Store.open(url)
    await opened.claim_epoch("first")
    yield opened
    await opened.close()


@pytest.fixture
async def successor(store: Store, url: str) -> AsyncIterator[Store]:
    """A second controller on the same database; `store` is there first."""
    opened = await Store.open(url)
    yield opened
    await opened.close()


def node(name: str = "a", **fields: Any) -> types_pb2.Node:
    return types_pb2.Node(name=name, **fields)


def rollout(version: int = 1) -> RolloutChange:
    hops = (
        Hop(LinkName("ab"), NodeName("a"), NodeName("b")),
        Hop(LinkName("bc"), NodeName("b"), NodeName("c")),
    )
    path_set = PathSet(0, 1234.5, (RelayPath(PathId("s:1"), hops),), "narrowest link bc")
    plan = StreamPlan(StreamName("s"), 1234.5, (path_set,), "why", "unmet")
    followed = StreamRollout(
        StreamName("s"), plan, (RetiringSet(path_set, may_be_held=False),), frozenset({PathId("s:1")})
    )
    return RolloutChange(version, 7, 3, {StreamName("s"): followed})


def event(number: int) -> Event:
    return Event(
        "link_condition_changed",
        Severity.MINOR,
        f"event {number}",
        1.5,
        link=LinkName("ab"),
        fields={"old": "ok"},
        id=number,
    )


async def test_every_claim_takes_the_next_epoch(store: Store, successor: Store) -> None:
    assert store.epoch == 1
    assert await successor.claim_epoch("second") == 2
    assert await store.claim_epoch("first again") == 3
    assert await successor.stored_epoch() == 3


async def test_no_write_of_a_succeeded_controller_changes_anything(store: Store, successor: Store) -> None:
    present = await store.put(node("a"))
    await store.save_rollout(rollout(1))
    await store.append_events([event(1)])
    await successor.claim_epoch("second")
    for write in (
        store.put(node("b")),
        store.put(present),
        store.delete(types_pb2.Node, "a"),
        store.save_rollout(rollout(2)),
        store.append_events([event(2)]),
        store.raise_epoch(100),
    ):
        with pytest.raises(FencedError, match="epoch 1 has ended: 'second' leads with epoch 2"):
            await write
    intent = await successor.load_intent()
    assert dict(intent.nodes) == {"a": present}
    assert await successor.load_rollout() == Rollout().after(rollout(1))
    assert await successor.last_event_id() == 1
    assert await successor.stored_epoch() == 2


async def test_a_claim_waits_for_the_write_that_checked_the_epoch_before_it(
    store: Store, successor: Store
) -> None:
    """The check and the write are one transaction: no claim fits in between, whatever the interleaving."""
    checked, go_on = asyncio.Event(), asyncio.Event()

    async def slow_write() -> None:
        async with store._fenced() as connection:
            checked.set()
            await go_on.wait()
            await connection.execute(sa.text("INSERT INTO events (id, content) VALUES (1, '{}')"))

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(slow_write())
        await checked.wait()
        await _cannot_claim_now(successor)
        claim = tasks.create_task(successor.claim_epoch("second"))
        go_on.set()
    assert claim.result() == 2
    assert await successor.last_event_id() == 1


async def _cannot_claim_now(store: Store) -> None:
    """The lease row is locked, told without waiting for it."""
    async with store._engine.connect() as connection:
        if connection.dialect.name == "sqlite":
            await connection.execute(sa.text("PRAGMA busy_timeout = 0"))
        else:
            await connection.execute(sa.text("SET lock_timeout = 1"))
        with pytest.raises(DBAPIError, match=r"locked|lock timeout"):
            await connection.execute(sa.text("UPDATE lease SET epoch = epoch + 1"))
        # What was set is of this connection alone.
        await connection.invalidate()


async def test_a_store_without_an_epoch_only_reads(url: str) -> None:
    opened = await Store.open(url)
    assert (await opened.load_intent()).nodes == {}
    with pytest.raises(PreconditionError, match="claim_epoch"):
        await opened.put(node())
    await opened.close()


async def test_a_raised_epoch_is_written_under_and_counted_on_from(store: Store, successor: Store) -> None:
    assert await store.raise_epoch(500) == 500
    await store.put(node())
    assert await successor.claim_epoch("second") == 501
    with pytest.raises(InvalidInputError, match="5 is below the present epoch, 501"):
        await successor.raise_epoch(5)


async def test_a_database_that_is_behind_stays_so_over_restarts_until_its_epoch_is_raised_above(
    store: Store, successor: Store
) -> None:
    assert await store.behind() == 0
    await store.fall_behind(900)
    assert await successor.claim_epoch("second") == 2
    assert await successor.behind() == 900
    with pytest.raises(InvalidInputError, match="900 is not above 900, which agents have seen"):
        await successor.raise_epoch(900)
    assert await successor.raise_epoch(901) == 901
    assert await successor.behind() == 0


async def test_what_was_acknowledged_is_there_after_reopening(store: Store, url: str) -> None:
    acknowledged = await store.put(node("a", owner="NICT", latitude_degrees=35.5))
    await store.put(types_pb2.Link(name="ab", a_node="a", b_node="b", risk_groups=["duct-7"]))
    stream = types_pb2.Stream(name="s", source_sae="alice", max_trusted_nodes=0, require_qkd=True)
    stream = await store.put(stream)
    await store.save_rollout(rollout())
    await store.append_events([event(1), event(2)])
    # Not closed: nothing that close() does may matter for what was acknowledged.
    again = await Store.open(url)
    intent = await again.load_intent()
    assert intent.nodes[NodeName("a")] == acknowledged
    assert (acknowledged.owner, acknowledged.latitude_degrees, acknowledged.revision) == ("NICT", 35.5, 1)
    assert list(intent.links[LinkName("ab")].risk_groups) == ["duct-7"]
    assert intent.streams[StreamName("s")] == stream
    assert stream.revision == 1
    assert intent.streams[StreamName("s")].HasField("max_trusted_nodes")
    assert await again.load_rollout() == Rollout().after(rollout())
    assert await again.recent_events(10) == (event(1), event(2))
    await again.close()


async def test_a_revision_rises_by_one_and_a_stale_one_is_refused(store: Store) -> None:
    first = await store.put(node(owner="x"))
    second = await store.put(node(owner="y", revision=first.revision))
    assert (first.revision, second.revision) == (1, 2)
    with pytest.raises(ConflictError, match="at revision 2, not 1"):
        await store.put(node(owner="z", revision=1))
    assert (await store.load_intent()).nodes[NodeName("a")] == second


async def test_a_name_is_created_once_and_updated_or_deleted_only_while_it_exists(store: Store) -> None:
    await store.put(node())
    with pytest.raises(AlreadyExistsError, match="node 'a' exists already"):
        await store.put(node())
    await store.delete(types_pb2.Node, "a")
    with pytest.raises(NotFoundError, match="no node 'a'"):
        await store.delete(types_pb2.Node, "a")
    with pytest.raises(NotFoundError, match="deleted since"):
        await store.put(node(revision=1))


async def test_only_the_newest_events_are_kept(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stores, "EVENTS_KEPT", 3)
    await store.append_events([event(number) for number in range(1, 6)])
    await store.append_events([event(6)])
    assert [one.id for one in await store.recent_events(10)] == [4, 5, 6]
    assert [one.id for one in await store.recent_events(2)] == [5, 6]
    assert [one.id for one in await store.recent_events(10, before=6)] == [4, 5]
    assert await store.last_event_id() == 6


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
async def test_sqlite_writes_are_durable_by_its_strictest_settings(store: Store) -> None:
    async with store._engine.connect() as connection:
        settings = [
            (await connection.execute(sa.text(f"PRAGMA {name}"))).scalar_one()
            for name in ("journal_mode", "synchronous", "foreign_keys")
        ]
    assert settings == ["wal", 2, 1]


async def test_migrations_lead_from_an_empty_file_to_the_schema_that_the_store_uses(url: str) -> None:
    await (await Store.open(url)).close()
    engine = create_async_engine(url)
    async with engine.connect() as connection:
        schema = await connection.run_sync(
            lambda sync: {
                table: {column["name"] for column in sa.inspect(sync).get_columns(table)}
                for table in sa.inspect(sync).get_table_names()
            }
        )
    await engine.dispose()
    assert schema.pop("alembic_version") == {"version_num"}
    assert schema == {table.name: set(table.columns.keys()) for table in stores._metadata.sorted_tables}


async def test_opening_again_migrates_nothing_and_loses_nothing(store: Store, url: str) -> None:
    await store.put(node())
    for _ in range(2):
        again = await Store.open(url)
        assert set((await again.load_intent()).nodes) == {"a"}
        await again.close()


async def test_a_migration_that_fails_halfway_leaves_the_old_schema_whole(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_args: object, **_kwargs: object) -> None:
        raise OSError("disk gone")

    monkeypatch.setattr("alembic.op.bulk_insert", fail)
    with pytest.raises(UnavailableError, match="disk gone"):
        await Store.open(url)
    monkeypatch.undo()
    tables = await _tables(url)
    assert tables <= {"alembic_version"}
    opened = await Store.open(url)
    assert await opened.claim_epoch("after the repair") == 1
    await opened.close()


async def _tables(url: str) -> set[str]:
    engine = create_async_engine(url)
    async with engine.connect() as connection:
        tables = await connection.run_sync(lambda sync: set(sa.inspect(sync).get_table_names()))
    await engine.dispose()
    return tables


@pytest.mark.parametrize("wrong", ["nonsense", "oracle+nothing://x", "sqlite+nodriver:///x"])
async def test_a_url_that_cannot_work_is_named_with_what_would(wrong: str) -> None:
    with pytest.raises(InvalidInputError, match=r"database_url: .*expected sqlite\+aiosqlite"):
        await Store.open(wrong)


@pytest.mark.parametrize("obstacle", ["directory", "other content", "file as parent"])
async def test_a_database_that_cannot_be_opened_says_so(tmp_path: Path, obstacle: str) -> None:
    database = tmp_path / "controller.db"
    if obstacle == "directory":
        database.mkdir()
    elif obstacle == "other content":
        database.write_text("no database" * 100)
    else:
        database.write_text("")
        database /= "below.db"
    with pytest.raises(UnavailableError, match=r"database_url: .* cannot be opened"):
        await Store.open(f"sqlite+aiosqlite:///{database}")


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
async def test_a_database_that_is_locked_for_long_is_unavailable_and_then_works_again(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with store._engine.connect() as connection:
        await connection.execute(sa.text("PRAGMA busy_timeout = 0"))
    other = sqlite3.connect(tmp_path / "controller.db")
    try:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(UnavailableError, match="locked"):
            await store.put(node())
        other.rollback()
        await store.put(node())
    finally:
        other.close()


async def test_a_schema_is_taken_back_and_brought_forward_again_and_keeps_what_both_versions_know(
    store: Store, url: str
) -> None:
    kept = await store.put(node(owner="NICT"))
    await store.append_events([event(1)])
    await store.close()
    # The newest alone, then all of them.
    for revision in (known_revisions()[1], known_revisions()[-1]):
        again = await Store.open(url)
        await again.migrate_back(revision)
        assert await _revision(url) == revision
        await again.close()
        again = await Store.open(url)
        assert await _revision(url) == known_revisions()[0]
        assert (await again.load_intent()).nodes == {"a": kept}
        assert await again.recent_events(5) == (event(1),)
        assert await again.stored_epoch() == 1
        await again.close()


async def test_a_schema_is_taken_back_only_to_one_that_was(store: Store) -> None:
    with pytest.raises(InvalidInputError, match="--to: there is no revision '0815'"):
        await store.migrate_back("0815")


async def _revision(url: str) -> str:
    engine = create_async_engine(url)
    async with engine.connect() as connection:
        found = (await connection.execute(sa.text("SELECT version_num FROM alembic_version"))).scalar_one()
    await engine.dispose()
    return str(found)
