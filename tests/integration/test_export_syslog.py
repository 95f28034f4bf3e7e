"""Events to a real rsyslog over TLS: none missing and in order, whatever becomes of the server meanwhile."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import structlog

from keyweave.common.errors import InvalidInputError
from keyweave.controller.exports import sinks
from keyweave.controller.exports.config import ExportsConfig
from keyweave.controller.exports.exporter import Exports
from tests.integration.export_feed import feeding
from tests.integration.rsyslog import Rsyslog, rsyslog

Find = Callable[[str], str]


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sinks, "LONGEST_PAUSE_SECONDS", 0.5)


@pytest.fixture
async def server(outside_program: Find, tmp_path: Path) -> AsyncIterator[Rsyslog]:
    async with rsyslog(outside_program, tmp_path / "syslog") as running:
        yield running


async def test_every_event_arrives_once_in_order_with_structured_data_and_cef(
    server: Rsyslog, tmp_path: Path
) -> None:
    async with feeding(tmp_path, syslog=[server.settings()]) as feed:
        await feed.happen(3)
        long = ",".join(f"8d9a6f0e-0000-4000-8000-{number:012d}" for number in range(256))
        await feed.happen(1, kind="keys_recalled", fields={"key_ids": long, "reason": 'a "ü" ]\n'})
        await feed.happen(2)
        await feed.until(lambda: len(server.messages) >= 6, "six messages")
        assert server.ids == [1, 2, 3, 4, 5, 6]
        first, fourth = server.messages[0], server.messages[3]
        assert first.startswith("<106>1 20")
        assert " kms1 keyweave " in first
        assert 'stream_starved [keyweave@32473 id="1"' in first
        assert "] CEF:0|Keyweave|Keyweave|" in first
        assert len(fourth.encode()) <= 8192
        assert "..." in fourth
        # Not in doubt for long: the connection stands.
        await feed.until(
            lambda: feed.counted("keyweave_export_events_total", sink="siem", outcome="delivered") == 6,
            "all settled",
        )
        assert feed.counted("keyweave_export_up", sink="siem") == 1
        assert feed.counted("keyweave_export_waiting_events", sink="siem") == 0


async def test_a_server_that_is_killed_mid_run_misses_nothing_and_sees_it_in_order(
    server: Rsyslog, tmp_path: Path
) -> None:
    async with feeding(tmp_path, syslog=[server.settings(settle_seconds=60)]) as feed:
        await feed.happen(50)
        await feed.until(lambda: len(server.ids) == 50, "the first ones")
        # Its kernel takes and acknowledges what it will never read.
        server.pause()
        await feed.happen(20)
        await feed.until(lambda: feed.handed_out("siem") == 70, "those that are lost on the way")
        await server.kill()
        await feed.happen(50)
        await server.start()
        await feed.happen(50)
        await feed.until(lambda: len(server.ids) >= 170, "all of them")
        assert server.ids == list(range(1, 171))
        await feed.restart()
        await feed.happen(5)
        await feed.until(lambda: len(server.ids) >= 175, "those after a crash of ours")
        assert server.ids == list(range(1, 176))


async def test_a_server_that_none_of_ours_vouches_for_gets_nothing(server: Rsyslog, tmp_path: Path) -> None:
    tls = {**server.settings()["tls"], "server_name": "elsewhere.example"}
    with structlog.testing.capture_logs() as logs:
        async with feeding(tmp_path, syslog=[server.settings(tls=tls)]) as feed:
            await feed.happen(2)
            await feed.until(
                lambda: feed.counted("keyweave_export_failures_total", sink="siem") >= 1, "a failure"
            )
    assert server.ids == []
    failed = [entry for entry in logs if entry["event"] == "export_failed"]
    assert "elsewhere.example" in failed[0]["reason"]


def test_a_file_that_cannot_be_read_is_named_before_anything_starts(tmp_path: Path) -> None:
    settings = {
        "syslog": [{"name": "siem", "address": "h:6514", "tls": {"trust_anchor": str(tmp_path / "none")}}]
    }
    with pytest.raises(InvalidInputError, match=r"exports\.siem: .*none cannot be read"):
        Exports(ExportsConfig.model_validate(settings), None, dict)  # type: ignore[arg-type]  # not reached
