"""The history on a real database and through the admin API."""

import time
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random
from typing import Any

import grpc
import pytest

from keyweave.common.errors import FencedError
from keyweave.common.identity import Role
from keyweave.controller.history.cells import LinkCell, NodeCell, StreamCell
from keyweave.controller.history.recorder import Recorder
from keyweave.controller.history.rows import DAY_SECONDS, TIERS, Happening, Merge, Row
from keyweave.controller.history.watch import Served, Totals
from keyweave.controller.history.wire import pack, row_message, row_of, totals_message
from keyweave.controller.stimuli import AgentHello, Batch, StreamsReported
from keyweave.controller.store import Store
from keyweave.v1 import agent_pb2, types_pb2
from keyweave.v1 import history_pb2 as pb
from tests.integration.admin_server import AdminServer, serving
from tests.unit.core_run import RATES, A, B, Run

MINUTE = 60
START = 1_800_000_000
NO_TOTALS = totals_message(Totals())


def url(directory: Path) -> str:
    return f"sqlite+aiosqlite:///{directory}/controller.db"


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = await Store.open(url(tmp_path))
    await opened.claim_epoch("first")
    yield opened
    await opened.close()


def row(start: int, seconds: int = MINUTE, watched: float = 60.0) -> Row:
    link = LinkCell(condition={"ok": watched}, status={"active": watched})
    link.qber_ratio.add(0.03125, watched)  # exact in single precision
    stream = StreamCell({"serving": watched}, {"hybrid": watched}, 1000.0, 256, {"hybrid": 1})
    return Row(
        start,
        seconds,
        watched,
        {"ab": link},
        {"s": stream},
        {"a": NodeCell({"connected": watched})},
        [Happening(float(start), "agent_lost", "major", "m", node="a")],
    )


async def stored(store: Store, first: float = 0.0, end: float = float("inf")) -> list[Row]:
    return [row_of(message) async for message in store.history.rows(first, end)]


async def test_rows_and_totals_are_there_after_opening_again(store: Store, tmp_path: Path) -> None:
    totals = Totals({("s", "a"): Served(1, 2, 3, 4)}, {"a": 5})
    await store.history.append([row_message(row(START))], totals_message(totals))
    again = await Store.open(url(tmp_path))
    assert await stored(again) == [row(START)]
    assert await again.history.totals() == totals
    await again.close()


async def test_a_controller_restarted_within_a_minute_goes_on_with_its_row(store: Store) -> None:
    await store.history.append([row_message(row(START, watched=20.0))], NO_TOTALS)
    await store.history.append([row_message(row(START, watched=10.0))], NO_TOTALS)
    (whole,) = await stored(store)
    assert whole.watched_seconds == whole.links["ab"].condition["ok"] == 30.0
    assert whole.streams["s"].served == {"hybrid": 2}


async def test_a_range_has_the_rows_that_begin_in_it_page_by_page(store: Store) -> None:
    starts = [START + MINUTE * i for i in range(450)]
    await store.history.append([row_message(row(start)) for start in starts], NO_TOTALS)
    found = [each.start for each in await stored(store, starts[3] - 0.5, starts[447])]
    assert found == starts[3:447]


async def test_merging_loses_nothing_and_reading_meanwhile_sees_each_moment_once(store: Store) -> None:
    starts = [START + MINUTE * i for i in range(400)]
    await store.history.append([row_message(row(start)) for start in starts], NO_TOTALS)
    reading = store.history.rows(0, float("inf"))
    seen = [row_of(await anext(reading)) for _ in range(195)]
    merge = Merge(starts[190], 600, tuple(starts[190:200]))
    await store.history.merge(merge)
    seen += [row_of(message) async for message in reading]
    assert [each.start for each in seen] == starts
    after = await stored(store)
    assert sum(each.watched_seconds for each in after) == 60.0 * 400
    (longer,) = [each for each in after if each.seconds == 600]
    assert longer.streams["s"].delivered_bits == 2560
    assert len(longer.happenings) == 10


async def test_a_succeeded_controller_writes_no_history(store: Store, tmp_path: Path) -> None:
    newer = await Store.open(url(tmp_path))
    await newer.claim_epoch("newer")
    await newer.close()
    with pytest.raises(FencedError):
        await store.history.append([row_message(row(START))], NO_TOTALS)


async def test_a_recorder_ages_what_is_old_and_forgets_what_is_older_than_all(store: Store) -> None:
    now = float(START + 500 * DAY_SECONDS)
    ages = [5 * MINUTE, 2 * DAY_SECONDS, 30 * DAY_SECONDS, 200 * DAY_SECONDS, 450 * DAY_SECONDS]
    old = [row(int(now - age) // MINUTE * MINUTE) for age in ages]
    await store.history.append([row_message(each) for each in old], NO_TOTALS)
    recorder = Recorder(Run().core, store.history, lambda: now)
    await recorder._write([])
    assert [each.seconds for each in await stored(store)] == [86_400, 3600, 600, 60]


# ---- kill -9 ----------------------------------------------------------------------------------------


def told(run: Run, keys: int) -> None:
    """Both ends of the stream say how many keys they have handed out."""
    for node in (A, B):
        state = agent_pb2.StreamState(
            stream="s",
            is_source=node == A,
            protection=types_pb2.PROTECTION_HYBRID,
            buffered_keys=9,
            served_hybrid_total=keys,
        )
        hello = AgentHello(node, agent_pb2.TelemetryHello(node=node, incarnation=b"i" * 16))
        run.handle(Batch(node, b"i" * 16, 1, (hello, StreamsReported(node, (state,)))))


async def test_a_killed_controller_loses_the_open_minute_and_no_key_of_the_time_it_was_away(
    store: Store,
) -> None:
    now = [float(START)]
    run = Run(now=now[0])
    told(run, 10)
    first = Recorder(run.core, store.history, lambda: now[0])
    for _ in range(150):
        await first._write(first._look())
        now[0] += 1
    # Killed here, half a minute into the third row; agents go on.
    now[0] += 200
    again = Run(now=now[0])
    told(again, 17)
    second = Recorder(again.core, store.history, lambda: now[0])
    await second.take_up()
    for _ in range(90):
        await second._write(second._look())
        now[0] += 1
    await second._write(second._watch.finish(now[0]))
    rows = await stored(store)
    # 350 s after the start is within the sixth minute.
    assert [each.start - START for each in rows] == [0, 60, 300, 360, 420]
    assert [round(each.watched_seconds) for each in rows] == [60, 60, 10, 60, 20]
    assert sum(each.streams["s"].served.get("hybrid", 0) for each in rows) == 2 * 7
    assert sum(each.streams["s"].service["serving"] for each in rows) == sum(e.watched_seconds for e in rows)


# ---- size -------------------------------------------------------------------------------------------


async def test_a_hundred_links_take_less_than_fifty_megabytes_a_year(tmp_path: Path) -> None:
    # As noisy as measured links are, so that nothing compresses by being the same.
    random = Random(5)

    def busy(seconds: int) -> Row:
        made = Row(START, seconds, float(seconds))
        for i in range(100):
            cell = LinkCell({"ok": seconds - i % 7, "degraded": i % 7}, {"active": float(seconds)})
            for _ in range(20):
                cell.qber_ratio.add(random.gauss(0.03, 0.002), seconds / 20)
                cell.skr_bps.add(random.gauss(9000, 500), seconds / 20)
                cell.loss_db.add(random.gauss(8, 0.1), seconds / 20)
            made.links[f"site{i % 40:02d}-site{i % 37:02d}-{i}"] = cell
        return made

    rows = [tier.kept_seconds // tier.seconds for tier in TIERS]
    sizes = [len(pack(row_message(busy(tier.seconds)))) for tier in TIERS]
    assert sum(count * size for count, size in zip(rows, sizes, strict=True)) < 50e6


# ---- the admin API ----------------------------------------------------------------------------------


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[AdminServer]:
    async with serving(tmp_path) as running:
        yield running


async def asked(server: AdminServer, **fields: Any) -> list[Row]:
    async with server.stub(Role.VIEWER) as stub:
        answers = [answer async for answer in stub.GetHistory(pb.GetHistoryRequest(**fields), timeout=30)]
    return [row_of(answer.row) for answer in answers]


async def test_a_viewer_reads_what_is_stored_and_the_row_being_written(server: AdminServer) -> None:
    run = Run()
    run.measure(3, RATES)
    now = [float(START + 130)]
    recorder = Recorder(run.core, server.store.history, lambda: now[0])
    server.controller.history = recorder
    recorder._look()
    now[0] += 4
    recorder._look()
    # A minute of before, and of this minute what was seen before a restart.
    before = [row_message(row(START + 60)), row_message(row(START + 120, watched=9.0))]
    await server.store.history.append(before, NO_TOTALS)
    found = await asked(server)
    assert [each.start for each in found] == [START + 60, START + 120]
    assert found[-1].watched_seconds == 13.0
    assert found[-1].links["a-p"].condition == {"ok": 4.0}
    assert [each.start for each in await asked(server, to_unix_nanos=(START + 120) * 10**9)] == [START + 60]


async def test_only_what_is_named_is_answered(server: AdminServer) -> None:
    await server.store.history.append([row_message(row(START))], NO_TOTALS)
    (found,) = await asked(server, links=["ab"])
    assert (set(found.links), found.streams, found.nodes, found.happenings) == ({"ab"}, {}, {}, [])
    (found,) = await asked(server, nodes=["a"])
    assert len(found.happenings) == 1
    assert found.watched_seconds == 60.0


async def test_a_range_that_ends_before_it_begins_is_refused(server: AdminServer) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await asked(server, from_unix_nanos=time.time_ns(), to_unix_nanos=5)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
