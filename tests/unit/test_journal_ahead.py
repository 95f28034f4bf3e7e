"""What is reserved for sending grows before it is used up, and only by what the disk has."""

import asyncio
import threading
from pathlib import Path

import pytest

from keyweave.agent.keyplane.links.journal import RESERVE_BYTES, Journal
from keyweave.common import one_writer, process
from tests.waiting import eventually

POOL = b"pool-identifier-"
HALF = RESERVE_BYTES // 2


class Disk:
    """Counts what is written; writes wait while it is held, and fail while it is broken."""

    def __init__(self) -> None:
        self.written = 0
        self.broken = False
        self.free = threading.Event()
        self.free.set()

    def write(self, path: Path, text: str) -> None:
        """In place of write_atomically."""
        assert self.free.wait(10)
        if self.broken:
            raise OSError("no space left on device")
        process.write_atomically(path, text)
        self.written += 1


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    disk = Disk()
    monkeypatch.setattr(one_writer, "write_atomically", disk.write)
    return disk


@pytest.fixture
async def book(tmp_path: Path, disk: Disk) -> Journal:
    book = Journal(tmp_path / "ab.json")
    await book.reserve(POOL, {True: 0})
    assert disk.written == 1
    return book


async def test_more_is_reserved_once_half_is_used(book: Journal, disk: Disk) -> None:
    book.reserve_ahead(POOL, {True: HALF - 1})
    await book.catch_up()
    assert disk.written == 1
    book.reserve_ahead(POOL, {True: HALF})
    await book.catch_up()
    assert disk.written == 2
    assert book.covers(POOL, {True: HALF + RESERVE_BYTES})
    assert not book.covers(POOL, {False: 1})


async def test_what_runs_low_is_reserved_without_being_waited_for(book: Journal) -> None:
    running = asyncio.create_task(book.keep_ahead())
    book.reserve_ahead(POOL, {True: HALF})

    async def is_covered() -> bool:
        return book.covers(POOL, {True: HALF + RESERVE_BYTES})

    await eventually(is_covered, 10, "more is reserved")
    running.cancel()
    await asyncio.wait({running})


async def test_nothing_is_in_force_before_the_disk_has_it(book: Journal, disk: Disk) -> None:
    disk.free.clear()
    book.reserve_ahead(POOL, {True: HALF})
    writing = asyncio.create_task(book.catch_up())
    for _ in range(20):
        await asyncio.sleep(0)
    assert not book.covers(POOL, {True: RESERVE_BYTES + 1})
    book.reserve_ahead(POOL, {True: HALF + 1})
    disk.free.set()
    await writing
    await book.catch_up()
    assert book.covers(POOL, {True: HALF + RESERVE_BYTES})
    assert disk.written == 2, "what is under way is enough for both"


async def test_a_pool_that_is_destroyed_meanwhile_stays_forgotten(book: Journal, disk: Disk) -> None:
    disk.free.clear()
    book.reserve_ahead(POOL, {True: HALF})
    writing = asyncio.create_task(book.catch_up())
    for _ in range(20):
        await asyncio.sleep(0)
    book.forget(POOL)
    disk.free.set()
    await writing
    assert not book.covers(POOL, {True: 1})


async def test_a_disk_that_fails_is_told_to_whoever_needs_it(book: Journal, disk: Disk) -> None:
    disk.broken = True
    book.reserve_ahead(POOL, {True: HALF})
    await book.catch_up()
    assert not book.covers(POOL, {True: RESERVE_BYTES + 1})
    with pytest.raises(OSError, match="no space"):
        await book.reserve(POOL, {True: RESERVE_BYTES + 1})
    disk.broken = False
    book.reserve_ahead(POOL, {True: RESERVE_BYTES})
    await book.catch_up()
    assert book.covers(POOL, {True: 2 * RESERVE_BYTES})
