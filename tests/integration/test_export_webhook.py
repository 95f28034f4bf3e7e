"""Events to a real HTTPS endpoint as CloudEvents: signed, in order, retried; and the spool behind it all."""

import base64
import hashlib
import hmac
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from keyweave.common.errors import InvalidInputError
from keyweave.controller.events import Severity
from keyweave.controller.exports import sinks
from keyweave.controller.exports.config import ExportsConfig
from keyweave.controller.exports.exporter import Exports
from tests.integration.export_feed import Feed, Receiver, feeding, receiving

SECRET = b"a secret of sixteen bytes or more"


@pytest.fixture
async def receiver(tmp_path: Path) -> AsyncIterator[Receiver]:
    async with receiving(tmp_path / "hook") as running:
        yield running


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sinks, "LONGEST_PAUSE_SECONDS", 0.5)


def outcome(feed: Feed, word: str) -> float:
    return feed.counted("keyweave_export_events_total", sink="hook", outcome=word)


async def test_each_event_is_a_signed_cloud_event(receiver: Receiver, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(SECRET + b"\n")
    async with feeding(tmp_path, webhooks=[receiver.settings(secret_file=str(secret))]) as feed:
        await feed.happen(3)
        await feed.until(lambda: outcome(feed, "delivered") == 3, "three events")
    assert receiver.ids == [1, 2, 3]
    for headers, body in receiver.requests:
        assert headers["content-type"] == "application/cloudevents+json; charset=utf-8"
        signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
        expected = base64.b64encode(hmac.digest(SECRET, signed, hashlib.sha256)).decode()
        assert headers["webhook-signature"] == f"v1,{expected}"
    first = receiver.taken[0]
    assert (first["specversion"], first["type"], first["source"]) == (
        "1.0",
        "keyweave.stream_starved",
        "/keyweave/lab",
    )
    assert first["subject"] == "stream/s"
    assert first["data"]["message"] == "event 1"
    assert SECRET.decode() not in str(receiver.requests)


async def test_a_receiver_that_fails_is_tried_again_and_nothing_overtakes_what_it_did_not_take(
    receiver: Receiver, tmp_path: Path
) -> None:
    receiver.answers = [
        (500, {}),
        (204, {}),
        (429, {"Retry-After": "1"}),
        (302, {"Location": "/"}),
        (404, {}),
    ]
    async with feeding(tmp_path, webhooks=[receiver.settings()]) as feed:
        await feed.happen(4)
        await feed.until(lambda: outcome(feed, "delivered") == 4, "four events")
        assert feed.counted("keyweave_export_failures_total", sink="hook") == 4
    assert [int(one["data"]["id"]) for one in receiver.taken] == [1, 2, 3, 4]


async def test_what_the_receiver_refuses_for_good_is_counted_and_the_rest_goes_on(
    receiver: Receiver, tmp_path: Path
) -> None:
    receiver.answers = [(204, {}), (422, {}), (204, {})]
    with structlog.testing.capture_logs() as logs:
        async with feeding(tmp_path, webhooks=[receiver.settings()]) as feed:
            await feed.happen(3)
            await feed.until(lambda: outcome(feed, "delivered") == 2, "the others")
            assert outcome(feed, "refused") == 1
    assert receiver.ids == [1, 3]
    (told,) = (entry for entry in logs if entry["event"] == "export_refused")
    assert told["event_id"] == 2


async def test_a_receiver_that_is_gone_gets_nothing_more_and_the_others_go_on(
    receiver: Receiver, tmp_path: Path
) -> None:
    receiver.answers = [(204, {}), (410, {})]
    async with receiving(tmp_path / "other") as other:
        hooks = [receiver.settings(), other.settings(name="other")]
        async with feeding(tmp_path, webhooks=hooks) as feed:
            await feed.happen(5)
            await feed.until(lambda: other.ids == [1, 2, 3, 4, 5], "all at the other one")
            await feed.until(lambda: len(receiver.requests) == 2, "the answer")
            assert feed.counted("keyweave_export_up", sink="hook") == 0
    assert receiver.ids == [1]
    assert len(receiver.requests) == 2


async def test_a_receiver_that_restarts_and_a_controller_that_is_killed_lose_nothing(
    receiver: Receiver, tmp_path: Path
) -> None:
    async with feeding(tmp_path, webhooks=[receiver.settings()]) as feed:
        await feed.happen(20)
        await feed.until(lambda: len(receiver.ids) >= 5, "the first ones")
        await receiver.stop()
        await feed.happen(20)
        await feed.restart()
        await feed.happen(20)
        await receiver.start()
        await feed.until(lambda: len(receiver.ids) == 60, "all of them")
    assert receiver.ids == list(range(1, 61))


async def test_an_ordered_restart_tells_nothing_twice(receiver: Receiver, tmp_path: Path) -> None:
    async with feeding(tmp_path, webhooks=[receiver.settings()]) as feed:
        await feed.happen(5)
        await feed.until(lambda: outcome(feed, "delivered") == 5, "five events")
        await feed.stop()
        await feed.happen(5)
        await feed.restart()
        await feed.until(lambda: len(receiver.ids) == 10, "ten events")
    assert [int(one["data"]["id"]) for one in receiver.taken] == list(range(1, 11))


async def test_a_receiver_gets_only_what_it_asked_for_and_is_up_to_date_all_the_same(
    receiver: Receiver, tmp_path: Path
) -> None:
    wanted = receiver.settings(min_severity="minor", kinds=["stream_failover", "stream_supplied"])
    async with feeding(tmp_path, webhooks=[wanted]) as feed:
        await feed.happen(2)
        await feed.happen(1, kind="stream_failover", severity=Severity.MINOR)
        await feed.happen(2, kind="stream_supplied", severity=Severity.INFO)
        await feed.until(lambda: receiver.ids == [3], "the one")
        await feed.until(
            lambda: feed.counted("keyweave_export_waiting_events", sink="hook") == 0, "nothing waits"
        )


async def test_events_that_a_dead_receiver_cannot_take_in_time_are_dropped_oldest_first_and_counted(
    receiver: Receiver, tmp_path: Path
) -> None:
    await receiver.stop()
    async with feeding(tmp_path, spool_events=100, webhooks=[receiver.settings()]) as feed:
        await feed.happen(130)
        await receiver.start()
        await feed.until(lambda: bool(receiver.ids) and receiver.ids[-1] == 130, "the newest")
        dropped = int(outcome(feed, "dropped"))
        assert 0 < dropped <= 30
        assert receiver.ids[-100:] == list(range(31, 131))
        assert len(receiver.ids) + dropped == 130


async def test_events_that_the_store_forgot_are_counted_as_dropped(
    receiver: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("keyweave.controller.store.EVENTS_KEPT", 10)
    await receiver.stop()
    async with feeding(tmp_path, webhooks=[receiver.settings()]) as feed:
        await feed.stop()
        await feed.happen(25)
        await receiver.start()
        await feed.restart()
        await feed.until(lambda: receiver.ids == list(range(16, 26)), "what is left")
        assert outcome(feed, "dropped") == 15


async def test_a_receiver_that_is_new_begins_with_what_comes_next(receiver: Receiver, tmp_path: Path) -> None:
    async with feeding(tmp_path) as feed:
        await feed.happen(3)
        feed.settings = ExportsConfig.model_validate({"webhooks": [receiver.settings()]})
        await feed.restart()
        await feed.happen(1)
        await feed.until(lambda: receiver.ids == [4], "the new one")


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"url": "http://example.org/hook"}, "is not https://"),
        ({"url": "https://user:pw@example.org/"}, "does not belong into a URL"),
        ({"url": "https:///hook"}, "names no host"),
        ({"kinds": ["link_cut"]}, "link_condition_changed"),
        ({"min_severity": "critical"}, "'minor' or 'major'"),
        ({"name": "Not A Name"}, "name"),
    ],
)
def test_wrong_settings_are_refused_and_say_what_is_allowed(wrong: dict[str, Any], said: str) -> None:
    hook = {"name": "hook", "url": "https://example.org/hook"} | wrong
    with pytest.raises(ValueError, match=said):
        ExportsConfig.model_validate({"webhooks": [hook]})


def test_two_receivers_cannot_share_a_name_and_a_secret_must_be_long(tmp_path: Path) -> None:
    hook = {"name": "hook", "url": "https://example.org/hook"}
    with pytest.raises(ValueError, match="two receivers are called 'hook'"):
        ExportsConfig.model_validate({"webhooks": [hook, hook]})
    short = tmp_path / "short"
    short.write_bytes(b"short\n")
    settings = ExportsConfig.model_validate({"webhooks": [hook | {"secret_file": str(short)}]})
    with pytest.raises(InvalidInputError, match="holds 5 bytes; a secret has 16 at least"):
        Exports(settings, None, dict)  # type: ignore[arg-type]  # not reached
