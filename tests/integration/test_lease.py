"""One leader at a time on a PostgreSQL that several controllers share."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from keyweave.common.errors import FencedError, UnavailableError
from keyweave.common.names import NodeName
from keyweave.controller.store import Store
from keyweave.controller.store_engine import known_revisions
from keyweave.v1 import types_pb2
from tests.postgresql import PostgresServer
from tests.waiting import eventually

LONG = 60.0
Opener = Callable[..., Awaitable[Store]]


@pytest.fixture
async def url(postgresql: PostgresServer) -> str:
    return await postgresql.new_database()


@pytest.fixture
async def opened(url: str) -> AsyncIterator[Opener]:
    stores: list[Store] = []

    async def open_one(seconds: float = LONG) -> Store:
        stores.append(await Store.open(url, seconds))
        return stores[-1]

    yield open_one
    for store in stores:
        await store.close()


@pytest.fixture
async def first(opened: Opener) -> Store:
    store: Store = await opened()
    return store


@pytest.fixture
async def second(opened: Opener) -> Store:
    store: Store = await opened()
    return store


def node(name: str) -> types_pb2.Node:
    return types_pb2.Node(name=name)


async def nodes(store: Store) -> set[str]:
    return set((await store.load_intent()).nodes)


async def test_nobody_leads_beside_a_lease_that_stands(first: Store, second: Store) -> None:
    assert await first.lease.claim_if_free("first", "one:1") == 1
    assert await second.lease.claim_if_free("second", "two:2") is None
    leader = await second.lease.leader()
    assert (leader.epoch, leader.holder, leader.address, leader.stands) == (1, "first", "one:1", True)
    with pytest.raises(Exception, match="only reads"):
        await second.put(node("a"))


async def test_of_those_who_claim_at_once_one_leads(opened: Opener) -> None:
    stores: list[Store] = [await opened() for _ in range(5)]
    epochs = await asyncio.gather(*(store.lease.claim_if_free("x", "") for store in stores))
    assert sorted(epoch for epoch in epochs if epoch is not None) == [1]


async def test_a_lease_that_is_let_go_is_free_at_once(first: Store, second: Store) -> None:
    await first.lease.claim_if_free("first", "")
    await first.put(node("a"))
    await first.lease.release()
    assert await second.lease.claim_if_free("second", "") == 2
    assert await nodes(second) == {"a"}


async def test_a_lease_that_is_not_renewed_ends_and_its_holder_writes_nothing_from_then_on(
    opened: Opener, second: Store
) -> None:
    first: Store = await opened(0.5)
    await first.lease.claim_if_free("first", "")
    await first.put(node("a"))

    async def taken() -> bool:
        return await second.lease.claim_if_free("second", "") == 2

    await eventually(taken, 30, "the lease ends")
    # By its own clock first: it needs no word from anybody.
    with pytest.raises(UnavailableError, match="could not renew its lease"):
        await first.put(node("b"))
    # Nor by the database, had its clock stood still.
    first.lease._valid_until = None
    with pytest.raises(FencedError, match="'second' leads with epoch 2"):
        await first.put(node("b"))
    with pytest.raises(FencedError, match="'second' leads with epoch 2"):
        await first.lease.renew()
    assert await nodes(second) == {"a"}


async def test_a_holder_whose_lease_ended_unnoticed_goes_on_if_nobody_came(
    opened: Opener,
) -> None:
    first: Store = await opened(0.5)
    await first.lease.claim_if_free("first", "")

    async def ended() -> bool:
        return not (await first.lease.leader()).stands

    await eventually(ended, 30, "the lease ends")
    await first.lease.renew()
    await first.put(node("a"))
    assert first.epoch == 1


async def test_a_write_is_a_renewal(first: Store, second: Store) -> None:
    await first.lease.claim_if_free("first", "")
    async with second._engine.begin() as connection:
        await connection.execute(sa.text("UPDATE lease SET expires_at = 0"))
    await first.put(node("a"))
    assert await second.lease.claim_if_free("second", "") is None


async def test_a_holder_that_stops_in_the_middle_of_a_write_keeps_nobody_out(
    opened: Opener, second: Store
) -> None:
    first: Store = await opened(0.5)
    await first.lease.claim_if_free("first", "")

    async def taken() -> bool:
        return await second.lease.claim_if_free("second", "") == 2

    async def stopping_write() -> None:
        async with first.lease.fenced() as connection:
            await _insert_event(connection)
            # Stopped here: its transaction holds the lease row.
            await eventually(taken, 30, "the lease is free")
            await _insert_event(connection)

    with pytest.raises(UnavailableError, match="database cannot be used now"):
        await stopping_write()
    assert await second.last_event_id() == 0


async def _insert_event(connection: AsyncConnection) -> None:
    await connection.execute(sa.text("INSERT INTO events (id, content) VALUES (1, '{}')"))


def broken_off_after(end: Callable[[AsyncConnection], Awaitable[None]]) -> object:
    """A commit that ends the transaction, one way or the other, and is not answered."""

    async def commit(connection: AsyncConnection) -> None:
        await end(connection)
        raise DBAPIError("COMMIT", {}, ConnectionResetError("gone"), connection_invalidated=True)

    return commit


async def test_a_write_whose_answer_is_lost_is_told_as_it_came_out(
    first: Store, second: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection breaks as the transaction ends: once after it was made, once before."""
    await first.lease.claim_if_free("first", "")
    monkeypatch.setattr(AsyncConnection, "commit", broken_off_after(AsyncConnection.commit))
    await first.put(node("made"))
    monkeypatch.setattr(AsyncConnection, "commit", broken_off_after(AsyncConnection.rollback))
    with pytest.raises(UnavailableError, match="gone"):
        await first.put(node("not-made"))
    monkeypatch.undo()
    await first.put(node("next"))
    assert await nodes(second) == {"made", "next"}


async def test_a_write_that_was_answered_as_failed_and_is_there_ends_the_holder(
    first: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    await first.lease.claim_if_free("first", "")
    monkeypatch.setattr(AsyncConnection, "commit", broken_off_after(AsyncConnection.commit))
    monkeypatch.setattr("keyweave.controller.lease.SETTLE_SECONDS", 0.0)
    with pytest.raises(UnavailableError, match="gone"):
        await first.put(node("made"))
    monkeypatch.undo()
    with pytest.raises(FencedError, match="was made after all"):
        await first.put(node("next"))


async def test_a_standby_reads_again_only_what_has_changed(
    first: Store, second: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    await first.lease.claim_if_free("first", "")
    a = await first.put(node("a"))
    await first.put(node("b"))
    await first.put(node("c"))
    before = (await second.load_intent()).nodes
    a.owner = "changed"
    a = await first.put(a)
    await first.delete(types_pb2.Node, "b")
    await first.put(node("d"))
    after = (await second.load_intent()).nodes
    assert set(after) == {"a", "c", "d"}
    assert after[NodeName("a")] == a
    assert after[NodeName("c")] is before[NodeName("c")]
    # Deleted and made anew, it has the revision that it had before.
    await first.delete(types_pb2.Node, "c")
    await first.put(types_pb2.Node(name="c", owner="new"))
    assert (await second.load_intent()).nodes[NodeName("c")].owner == "new"


async def test_a_server_that_is_stopped_is_an_outage_and_started_again_none(
    first: Store, postgresql: PostgresServer
) -> None:
    await first.lease.claim_if_free("first", "")
    await first.put(node("a"))
    postgresql.stop(mode="immediate")
    try:
        for use in (first.put(node("b")), first.lease.renew(), first.load_intent(), first.recent_events(1)):
            with pytest.raises(UnavailableError, match="database cannot be used now"):
                await use
    finally:
        postgresql.start()
    await first.lease.renew()
    await first.put(node("c"))
    assert await nodes(first) == {"a", "c"}


async def test_all_who_open_an_empty_database_at_once_find_its_schema(opened: Opener) -> None:
    stores: list[Store] = await asyncio.gather(*(opened() for _ in range(4)))
    assert [await store.stored_epoch() for store in stores] == [0] * 4


async def test_a_schema_of_a_later_version_is_refused_in_words(first: Store, url: str) -> None:
    async with first._engine.begin() as connection:
        await connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(Exception, match=rf"has schema 9999, and this version knows {known_revisions()[0]}"):
        await Store.open(url)
