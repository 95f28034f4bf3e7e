"""What is written last stays, though whoever wrote before was cancelled meanwhile."""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from keyweave.agent.keyplane.links.journal import Journal
from keyweave.agent.policy import Policy, PolicyStore
from keyweave.common import one_writer, process
from keyweave.common.one_writer import OneWriter

POOL = b"pool-identifier-"


class SlowDisk:
    """The first write waits until it is let go; none may begin before another has ended."""

    def __init__(self) -> None:
        self.begun, self.let_go = threading.Event(), threading.Event()
        self.at_once = 0
        self.most_at_once = 0

    def write(self, path: Path, text: str) -> None:
        """In place of write_atomically."""
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        if not self.begun.is_set():
            self.begun.set()
            assert self.let_go.wait(10)
        process.write_atomically(path, text)
        self.at_once -= 1


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> SlowDisk:
    slow = SlowDisk()
    monkeypatch.setattr(one_writer, "write_atomically", slow.write)
    return slow


async def cancelled_then(
    disk: SlowDisk, first: Callable[[], Awaitable[None]], second: Callable[[], Awaitable[None]]
) -> None:
    """`first` is cancelled in the middle of its write, `second` comes at once."""
    writing = asyncio.ensure_future(first())
    await asyncio.to_thread(disk.begun.wait, 10)
    writing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writing
    following = asyncio.ensure_future(second())
    for _ in range(20):
        await asyncio.sleep(0)
    disk.let_go.set()
    await following
    assert disk.most_at_once == 1


async def test_the_last_text_stays(disk: SlowDisk, tmp_path: Path) -> None:
    file = OneWriter(tmp_path / "f")
    await cancelled_then(disk, lambda: file.write("first"), lambda: file.write("second"))
    assert (tmp_path / "f").read_text() == "second"


async def test_a_block_once_taken_stays_taken_whatever_is_cancelled(disk: SlowDisk, tmp_path: Path) -> None:
    journal = Journal(tmp_path / "l.json")
    await cancelled_then(disk, lambda: journal.reserve(POOL, {True: 100}), lambda: journal.taken(7))
    assert Journal(tmp_path / "l.json").highest_block == 7


async def test_an_acknowledged_policy_stays_whatever_is_cancelled(disk: SlowDisk, tmp_path: Path) -> None:
    store = PolicyStore(tmp_path / "policy.json")
    older, newer = Policy(epoch=3, version=1), Policy(epoch=3, version=2)
    await cancelled_then(disk, lambda: store.save(older), lambda: store.save(newer))
    assert PolicyStore(tmp_path / "policy.json").policy == newer
