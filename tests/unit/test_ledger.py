"""The ledger: every key's end is in it, in order, before it shows, and whoever alters it is found out."""

import asyncio
import errno
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from keyweave.agent.keyplane.keys.keystore import KeyStore, Origin, Outcome, Protection, Provenance, StoredKey
from keyweave.agent.keyplane.recall import LedgerRecalls
from keyweave.agent.ledger import ledger as ledger_module
from keyweave.agent.ledger import lines, segments
from keyweave.agent.ledger.ledger import Ledger, LedgerError
from keyweave.common.names import LinkName, NodeName, PathId, SaeId, StreamName
from keyweave.v1 import agent_pb2, types_pb2
from tests.waiting import eventually

MATERIAL = bytes(range(100, 132))
PROVENANCE = Provenance(
    Protection.HYBRID,
    (PathId("s:a-b-c"),),
    frozenset({LinkName("a-b"), LinkName("b-c")}),
    ("b",),
    emulated=True,
)


def a_key(number: int, stream: str = "s", created: float = 1_000_000_000.5) -> StoredKey:
    ends = (SaeId("sae-a"), SaeId("sae-c"))
    key_id = uuid.UUID(int=number)
    name = StreamName(stream)
    origin = Origin(name, NodeName("c"), *ends, PROVENANCE, created, created + 60)
    return StoredKey(key_id.bytes, bytearray(MATERIAL), origin)


@contextmanager
def opened(directory: Path) -> Iterator[Ledger]:
    with closing(Ledger(directory / "ledger", NodeName("a"), keep=timedelta(days=400))) as ledger:
        yield ledger


def entries(directory: Path) -> list[types_pb2.LedgerEntry]:
    return [
        lines.entry_of(members, "a")
        for path in segments.segments(directory / "ledger")
        for members in segments.key_lines(path, b"")
    ]


def problems(directory: Path) -> list[str]:
    """What a later start finds wrong."""
    with opened(directory) as ledger:
        return [*ledger.problems, *ledger_module._check_all(ledger.directory)]


# ---- lines ----------------------------------------------------------------------------------------


def test_a_line_says_everything_of_a_key_but_the_key(tmp_path: Path) -> None:
    with opened(tmp_path) as ledger:
        ledger.deliver([a_key(7)], is_master=True)
    (entry,) = entries(tmp_path)
    assert entry.time_unix_nanos > 0
    assert len(entry.chain_digest) == 32
    entry.ClearField("time_unix_nanos")
    entry.ClearField("chain_digest")
    assert entry == types_pb2.LedgerEntry(
        sequence=1,
        node="a",
        stream="s",
        key_id=str(uuid.UUID(int=7)),
        key_size_bits=256,
        master_sae="sae-a",
        slave_sae="sae-c",
        is_master=True,
        peer_node="c",
        protection=types_pb2.PROTECTION_HYBRID,
        path_ids=["s:a-b-c"],
        links=["a-b", "b-c"],
        trusted_nodes=["b"],
        emulated=True,
        outcome=types_pb2.LEDGER_OUTCOME_DELIVERED,
        created_unix_nanos=1_000_000_000_500_000_000,
    )
    text = b"".join(path.read_bytes() for path in segments.segments(tmp_path / "ledger"))
    assert MATERIAL not in text
    assert MATERIAL.hex().encode() not in text


def test_the_store_records_every_way_in_which_a_key_can_end(tmp_path: Path) -> None:
    with opened(tmp_path) as ledger:
        store = KeyStore(ledger)
        store.add_master([a_key(number) for number in range(1, 6)])
        store.add_slave([a_key(number) for number in range(11, 14)])
        store.draw(StreamName("s"), 1, lambda _: True, now=1_000_000_001.0)
        store.take_out(StreamName("s"), 1, lambda _: True, "replaced")
        store.withdraw(StreamName("s"), [uuid.UUID(int=3), uuid.UUID(int=11)], "withdrawn")
        store.collect(StreamName("s"), [uuid.UUID(int=12)])
        store.destroy(lambda key: key.key_id.int == 4, "overheard")
        store.expire(now=2e9)
    ends = {
        uuid.UUID(entry.key_id).int: (entry.outcome, entry.reason, entry.is_master)
        for entry in entries(tmp_path)
    }
    assert ends == {
        1: (types_pb2.LEDGER_OUTCOME_DELIVERED, "", True),
        2: (types_pb2.LEDGER_OUTCOME_DESTROYED, "replaced", True),
        3: (types_pb2.LEDGER_OUTCOME_DESTROYED, "withdrawn", True),
        11: (types_pb2.LEDGER_OUTCOME_DESTROYED, "withdrawn", False),
        12: (types_pb2.LEDGER_OUTCOME_DELIVERED, "", False),
        4: (types_pb2.LEDGER_OUTCOME_DESTROYED, "overheard", True),
        5: (types_pb2.LEDGER_OUTCOME_EXPIRED, "", True),
        13: (types_pb2.LEDGER_OUTCOME_EXPIRED, "", False),
    }


def test_it_goes_on_where_it_ended_over_restarts_and_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger_module, "SEGMENT_BYTES", 2000)
    for start in range(3):
        with opened(tmp_path) as ledger:
            for number in range(10):
                ledger.deliver([a_key(start * 10 + number)], is_master=True)
    assert [entry.sequence for entry in entries(tmp_path)] == list(range(1, 31))
    assert [uuid.UUID(entry.key_id).int for entry in entries(tmp_path)] == list(range(30))
    assert len(segments.segments(tmp_path / "ledger")) > 3
    assert problems(tmp_path) == []


# ---- crashes --------------------------------------------------------------------------------------


def test_a_line_that_a_crash_tore_is_cut_off_and_that_is_noted(tmp_path: Path) -> None:
    with opened(tmp_path) as ledger:
        ledger.deliver([a_key(1), a_key(2)], is_master=True)
    (path,) = segments.segments(tmp_path / "ledger")
    whole = path.read_bytes()
    path.write_bytes(whole[:-100])
    with opened(tmp_path) as ledger:
        ledger.deliver([a_key(3)], is_master=True)
    assert [uuid.UUID(entry.key_id).int for entry in entries(tmp_path)] == [1, 3]
    assert b"a line that a crash had torn" in path.read_bytes()
    assert problems(tmp_path) == []


@pytest.mark.parametrize("left", [0, 10])
def test_a_file_whose_first_line_was_torn_hides_nothing(tmp_path: Path, left: int) -> None:
    with opened(tmp_path) as ledger:
        ledger.deliver([a_key(1)], is_master=True)
    broken = segments.segment_path(tmp_path / "ledger", 2)
    broken.write_bytes(b"{" * left)
    with opened(tmp_path) as ledger:
        ledger.deliver([a_key(2)], is_master=True)
        assert ledger.problems
    assert [uuid.UUID(entry.key_id).int for entry in entries(tmp_path)] == [1, 2]


WRITER = """
import sys, uuid
from datetime import timedelta
from pathlib import Path
from keyweave.agent.ledger.ledger import Ledger
from tests.unit.test_ledger import a_key
ledger = Ledger(Path(sys.argv[1]) / "ledger", "a", keep=timedelta(days=1))
number = 0
while True:
    keys = [a_key(number + each) for each in range(50)]
    ledger.deliver(keys, is_master=True)
    number += 50
    sys.stdout.write(f"{number}\\n")
    sys.stdout.flush()
"""


def test_kill_9_in_the_midst_of_writing_loses_no_line_of_a_key_that_was_handed_over(tmp_path: Path) -> None:
    for _ in range(2):
        with subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True
        ) as writer:
            assert writer.stdout is not None
            handed_over = [int(writer.stdout.readline()) for _ in range(20)]
            before = len(entries(tmp_path))
            writer.send_signal(signal.SIGKILL)
        assert before >= handed_over[-1]
        assert problems(tmp_path) == []
        for path in segments.segments(tmp_path / "ledger"):
            path.unlink()


# ---- alterations ----------------------------------------------------------------------------------


@pytest.fixture
def three_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(ledger_module, "SEGMENT_BYTES", 2000)
    with opened(tmp_path) as ledger:
        for number in range(12):
            ledger.deliver([a_key(number)], is_master=True)
    assert len(segments.segments(tmp_path / "ledger")) == 3
    return tmp_path


def alter_a_word(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b"delivered", b"destroyed", 1))


def take_a_line_out(path: Path) -> None:
    written = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(written[:2] + written[3:]))


def swap_two_lines(path: Path) -> None:
    one, two, three, *rest = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([one, three, two, *rest]))


def write_rubbish(path: Path) -> None:
    path.write_bytes(b"\xff\xfe nonsense\n" * 3)


@pytest.mark.parametrize("alter", [alter_a_word, take_a_line_out, swap_two_lines, write_rubbish])
@pytest.mark.parametrize("which", [0, 1, 2])
def test_what_is_altered_afterwards_is_found_and_the_ledger_goes_on(
    three_files: Path, alter: Callable[[Path], None], which: int
) -> None:
    assert problems(three_files) == []
    path = segments.segments(three_files / "ledger")[which]
    alter(path)
    assert any(path.name in problem for problem in problems(three_files))
    with opened(three_files) as ledger:
        ledger.deliver([a_key(99)], is_master=True)
    assert any(path.name in problem for problem in problems(three_files)), "it stays known"
    assert uuid.UUID(entries(three_files)[-1].key_id).int == 99


def test_a_file_that_is_taken_out_is_found(three_files: Path) -> None:
    segments.segments(three_files / "ledger")[1].unlink()
    assert problems(three_files) != []


def test_only_files_whose_every_line_is_too_old_are_removed(three_files: Path) -> None:
    first, second, _ = segments.segments(three_files / "ledger")
    assert ledger_module._remove_older(three_files / "ledger", segments.head_time_unix_nanos(second)) == 0
    assert ledger_module._remove_older(three_files / "ledger", segments.head_time_unix_nanos(second) + 1) == 1
    assert not first.exists()
    assert problems(three_files) == [], "what is kept is whole"


# ---- disks that refuse ------------------------------------------------------------------------------


def no_space(*_: object) -> int:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_where_the_line_cannot_be_written_the_key_stays_and_nothing_of_it_is_in_the_ledger(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(tmp_path) as ledger:
        store = KeyStore(ledger)
        store.add_master([a_key(1), a_key(2)])
        honest = os.write

        def full_soon(file: int, text: memoryview) -> int:
            monkeypatch.setattr(os, "write", no_space)
            return honest(file, text[:100])

        monkeypatch.setattr(os, "write", full_soon)
        with pytest.raises(LedgerError, match="No space left"):
            store.draw(StreamName("s"), 1, lambda _: True, now=1_000_000_001.0)
        assert store.ready(StreamName("s")) == 2
        assert ledger.failure
        assert entries(tmp_path) == []

        monkeypatch.setattr(os, "write", honest)
        assert len(store.draw(StreamName("s"), 1, lambda _: True, now=1_000_000_001.0)) == 1
        assert not ledger.failure
        assert ledger.errors_total == 1
    assert [entry.sequence for entry in entries(tmp_path)] == [1]
    assert problems(tmp_path) == []


def test_keys_that_nobody_fetched_are_destroyed_though_that_cannot_be_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(tmp_path) as ledger:
        store = KeyStore(ledger)
        key = a_key(1)
        store.add_master([key])
        monkeypatch.setattr(os, "write", no_space)
        store.destroy(lambda _: True, "overheard")
        monkeypatch.undo()
    assert not any(key.key)
    assert ledger.errors_total == 1


def test_a_ledger_that_cannot_be_opened_refuses_until_it_can(tmp_path: Path) -> None:
    (tmp_path / "ledger").write_text("in the way", "utf-8")
    with opened(tmp_path) as ledger:
        with pytest.raises(LedgerError):
            ledger.deliver([a_key(1)], is_master=True)
        (tmp_path / "ledger").unlink()
        ledger.deliver([a_key(1)], is_master=True)
    assert len(entries(tmp_path)) == 1


async def test_while_lines_cannot_be_made_durable_nothing_is_delivered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger_module, "SYNC_SECONDS", 0.01)

    async def failing() -> str:
        return ledger.failure

    async def working() -> bool:
        return not ledger.failure

    with opened(tmp_path) as ledger:
        running = asyncio.create_task(ledger.run())
        honest = os.fsync
        monkeypatch.setattr(os, "fsync", no_space)
        ledger.deliver([a_key(1)], is_master=True)
        await eventually(failing, 5, "the failure shows")
        with pytest.raises(LedgerError, match="made durable"):
            ledger.deliver([a_key(2)], is_master=True)
        monkeypatch.setattr(os, "fsync", honest)
        await eventually(working, 5, "the disk works again")
        ledger.deliver([a_key(2)], is_master=True)
        assert ledger.problems, "what was lost meanwhile cannot be known"
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    assert len(entries(tmp_path)) == 2


def test_an_outcome_that_is_no_delivery_may_follow_a_delivery_of_the_same_key(tmp_path: Path) -> None:
    with opened(tmp_path) as ledger:
        ledger.deliver([a_key(1)], is_master=True)
        ledger.record([replace(a_key(1))], Outcome.RECALLED, "tapped", is_master=True)
    assert [entry.outcome for entry in entries(tmp_path)] == [
        types_pb2.LEDGER_OUTCOME_DELIVERED,
        types_pb2.LEDGER_OUTCOME_RECALLED,
    ]


def test_half_a_line_that_cannot_be_cut_off_is_never_written_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(tmp_path) as ledger:
        ledger.deliver([a_key(1), a_key(2)], is_master=True)
    (path,) = segments.segments(tmp_path / "ledger")
    torn = path.read_bytes()[:-100]
    path.write_bytes(torn)

    def append_only(*_: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr("keyweave.agent.ledger.ledger.os.ftruncate", append_only)
    with opened(tmp_path) as ledger, pytest.raises(LedgerError):
        ledger.deliver([a_key(3)], is_master=True)
    assert path.read_bytes() == torn


# ---- recalls ----------------------------------------------------------------------------------------


async def test_a_flood_of_alarms_adds_nothing_and_each_stream_is_recalled_from_its_own_onset(
    tmp_path: Path,
) -> None:
    names = [StreamName(f"s{number}") for number in range(12)]
    told: list[agent_pb2.AgentEvent] = []
    with opened(tmp_path) as ledger:
        keys = {(n, at): a_key(100 * n + at, names[n], created=float(at)) for n in (0, 1) for at in (1, 2)}
        ledger.deliver(list(keys.values()), is_master=True)
        recalls = LedgerRecalls(ledger, told.append)
        for number in range(1, 2 ** len(names)):
            some = frozenset(name for bit, name in enumerate(names) if number >> bit & 1)
            recalls.ask(LinkName("a-b"), 3 * 10**9, some)
        assert sum(map(len, recalls._asked.values())) == len(names)
        recalls.ask(LinkName("a-b"), 10**9, frozenset({names[0]}))
        recalls.ask(LinkName("a-b"), 2 * 10**9, frozenset({names[1]}))
        running = asyncio.create_task(recalls.run())

        async def both() -> bool:
            return len(told) == 2

        await eventually(both, 5, "both streams are recalled")
        running.cancel()
    recalled = {(event.stream, key_id) for event in told for key_id in event.key_ids}
    expected = {(names[n], str(key.key_id)) for (n, at), key in keys.items() if (n, at) != (1, 1)}
    assert recalled == expected
