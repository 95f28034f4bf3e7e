"""The report from a real Prometheus, whose data was made up: the figures that a controller would tell."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import aiohttp
import pytest

from keyweave.cli.exits import UnreachableError
from keyweave.cli.report.document import Report
from keyweave.cli.report.figures import report as report_of
from keyweave.cli.report.from_prometheus import recorded
from keyweave.common.errors import InvalidInputError, KeyweaveError
from tests.integration.test_health import free_port

SCRAPE = 15
MINUTE = 60
# Minutes of three hours: ab is down, s is on ML-KEM alone, nobody scrapes.
DOWN, WEAK, BLIND = range(60, 75), range(60, 65), range(120, 130)
LENGTH = 180


def samples(start: int) -> Iterator[tuple[str, dict[str, str], int, float]]:
    """Name, labels, Unix seconds and value of every sample."""
    for now in range(start, start + LENGTH * MINUTE, SCRAPE):
        minute = (now - start) // MINUTE
        if minute in BLIND:
            continue
        down, weak = minute in DOWN, minute in WEAK
        yield "keyweave_controller_epoch", {}, now, 1
        for word in ("ok", "degraded", "suspect", "down", "stale", "maintenance"):
            yield (
                "keyweave_link_condition",
                {"link": "ab", "condition": word},
                now,
                word == ("down" if down else "ok"),
            )
        yield "keyweave_link_diagnosis", {"link": "ab", "diagnosis": "signal" if down else "none"}, now, 1
        yield "keyweave_link_qber_ratio", {"link": "ab"}, now, 0.03 + 0.002 * (now // SCRAPE % 2)
        yield "keyweave_link_secret_key_rate_bps", {"link": "ab"}, now, 0 if down else 9000
        yield "keyweave_link_loss_db", {"link": "ab"}, now, 6.5
        for word in ("qkd", "hybrid", "pqc", "none"):
            yield (
                "keyweave_stream_protection",
                {"stream": "s", "protection": word},
                now,
                word == ("pqc" if weak else "hybrid"),
            )
        yield "keyweave_stream_unmet", {"stream": "s"}, now, 0
        yield "keyweave_stream_planned_rate_bps", {"stream": "s"}, now, 2048
        yield "keyweave_stream_pqc_only", {"stream": "s"}, now, 0
        yield "keyweave_stream_requires", {"stream": "s", "protection": "qkd"}, now, 1
        for node in ("a", "b"):
            yield "keyweave_stream_end", {"stream": "s", "node": node}, now, 1
            yield "keyweave_link_end", {"link": "ab", "node": node}, now, 1
            yield "keyweave_agent_connected", {"node": node}, now, 1
        # Counted since long before; a restart of the controller at 90 minutes begins again from nothing.
        since = (now - start) // SCRAPE
        keys = 5000 + since if minute < 90 else since - 90 * MINUTE // SCRAPE
        yield "keyweave_keys_served_total", {"stream": "s", "protection": "hybrid"}, now, keys
        yield "keyweave_stream_delivered_bits_total", {"stream": "s"}, now, 256 * keys
        if 60 <= minute < 90:  # two failovers, of about 40 and 180 ms
            for bound, count in (("0.025", 0), ("0.05", 1), ("0.1", 1), ("0.25", 2), ("+Inf", 2)):
                name = "keyweave_stream_failover_duration_seconds_bucket"
                yield name, {"stream": "s", "le": bound}, now, count
            yield "keyweave_stream_failover_duration_seconds_sum", {"stream": "s"}, now, 0.22


def open_metrics(start: int) -> str:
    families: dict[str, dict[str, list[str]]] = {}
    for name, labels, now, value in samples(start):
        inner = ",".join(f'{label}="{text}"' for label, text in labels.items())
        line = f"{name}{{{inner}}} {float(value)} {now}"
        families.setdefault(name, {}).setdefault(inner, []).append(line)
    lines = [line for family in families.values() for series in family.values() for line in series]
    return "\n".join([*lines, "# EOF\n"])


@pytest.fixture(scope="module")
def start() -> int:
    return int(time.time()) // 3600 * 3600 - 4 * 3600


@pytest.fixture
async def prometheus(tmp_path: Path, start: int, outside_program: Callable[[str], str]) -> AsyncIterator[str]:
    """The URL of a Prometheus that holds the samples."""
    (tmp_path / "samples.txt").write_text(open_metrics(start))
    (tmp_path / "prometheus.yml").write_text("{}\n")
    data = tmp_path / "data"
    command = (outside_program("promtool"), "tsdb", "create-blocks-from", "openmetrics")
    filling = await asyncio.create_subprocess_exec(
        *(*command, str(tmp_path / "samples.txt"), str(data)), stdout=asyncio.subprocess.DEVNULL
    )
    assert await filling.wait() == 0
    address = f"127.0.0.1:{free_port()}"
    process = await asyncio.create_subprocess_exec(
        outside_program("prometheus"),
        f"--config.file={tmp_path / 'prometheus.yml'}",
        f"--storage.tsdb.path={data}",
        f"--web.listen-address={address}",
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        async with asyncio.timeout(60), aiohttp.ClientSession() as session:
            while not await _is_ready(session, address):
                assert process.returncode is None
        yield f"http://{address}"
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def _is_ready(session: aiohttp.ClientSession, address: str) -> bool:
    try:
        async with session.get(f"http://{address}/-/ready") as answer:
            return answer.status == 200
    except aiohttp.ClientError:
        await asyncio.sleep(0.05)  # a port that nobody listens on yet has no event to wait for
        return False


async def reported(url: str, start: int, end: int) -> Report:
    known = await recorded(url, start * 10**9, end * 10**9)
    return report_of(known, title="t", made_at=float(end), software="1")


async def test_figures_come_out_of_series_as_the_controller_would_tell_them(
    prometheus: str, start: int
) -> None:
    report = await reported(prometheus, start, start + LENGTH * MINUTE)
    known = (LENGTH - len(BLIND)) * MINUTE
    # A step at either edge of what was scraped may count one scrape less.
    close = 2.0 * SCRAPE
    assert report.period.watched_seconds == pytest.approx(known, abs=close)
    (link,) = report.links
    assert link.condition_seconds["down"] == pytest.approx(len(DOWN) * MINUTE, abs=close)
    assert link.uptime_ratio == pytest.approx(1 - len(DOWN) * MINUTE / known, abs=0.005)
    assert link.qber is not None
    assert link.qber.mean == pytest.approx(0.031, abs=3e-4)
    assert link.qber.deviation == pytest.approx(0.001, abs=1e-4)
    assert link.skr_bps is not None
    assert link.skr_bps.least == 9000, "of the time in service only"
    (stream,) = report.streams
    assert stream.requires == "QKD"
    assert stream.availability_ratio == pytest.approx(1.0)
    assert stream.service_seconds["degraded"] == pytest.approx(len(WEAK) * MINUTE, abs=close)
    assert stream.failovers.count == 2
    assert stream.failovers.longest_seconds == 0.25, "its bucket's upper bound, never less"
    assert stream.failovers.mean_seconds == pytest.approx(0.11)
    assert {node.uptime_ratio for node in report.nodes} == {1.0}
    assert report.limits, "what Prometheus cannot tell is said"


async def test_keys_are_counted_across_restarts_and_never_from_before(prometheus: str, start: int) -> None:
    report = await reported(prometheus, start, start + LENGTH * MINUTE)
    (stream,) = report.streams
    scrapes = LENGTH * MINUTE / SCRAPE
    # Those between the last scrape of a step and a restart are not seen.
    assert stream.keys["hybrid"] == pytest.approx(scrapes, abs=2 * MINUTE / SCRAPE)
    assert stream.keys["hybrid"] <= scrapes


async def test_a_time_without_scrapes_is_a_gap_and_a_fault_is_told(prometheus: str, start: int) -> None:
    report = await reported(prometheus, start, start + LENGTH * MINUTE)
    (gap,) = [each for each in report.period.gaps if each.end < report.period.end]
    assert gap.start == pytest.approx(start + BLIND.start * MINUTE, abs=MINUTE)
    assert gap.end == pytest.approx(start + BLIND.stop * MINUTE, abs=MINUTE)
    (fault,) = [each for each in report.faults if each.link == "ab"]
    assert (fault.what, fault.diagnosis) == ("link down", "signal")
    assert fault.start == pytest.approx(start + DOWN.start * MINUTE, abs=MINUTE)
    assert fault.end == pytest.approx(start + DOWN.stop * MINUTE, abs=MINUTE)


async def test_what_is_no_prometheus_is_told_so() -> None:
    with pytest.raises(UnreachableError, match="no Prometheus answers"):
        await recorded(f"http://127.0.0.1:{free_port()}", 0, 10**18)
    with pytest.raises(InvalidInputError, match="--prometheus"):
        await recorded("localhost:9090", 0, 10**18)
    assert issubclass(UnreachableError, KeyweaveError)
