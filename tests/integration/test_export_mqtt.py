"""Events and states on a real Mosquitto: each acknowledged, none missing across a restart of the broker."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiomqtt
import pytest

from keyweave.cli.up.ports import HOST
from keyweave.controller.events import Severity
from keyweave.controller.exports import sinks
from tests.integration.export_feed import Feed, feeding
from tests.integration.mosquitto import PASSWORD, USER, Broker, broker

Find = Callable[[str], str]
AB: dict[str, Any] = {"link": "ab", "condition": "ok"}


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sinks, "LONGEST_PAUSE_SECONDS", 0.5)


@pytest.fixture
async def secured(outside_program: Find, tmp_path: Path) -> AsyncIterator[Broker]:
    (tmp_path / "broker").mkdir()
    async with broker(outside_program, tmp_path / "broker") as running:
        yield running


def sink(to: Broker, **changed: Any) -> dict[str, Any]:
    return {"name": "bus", **to.access(), **changed}


class Subscriber:
    """What somebody hears who subscribes to all of it."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, bytes, bool]] = []

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(payload) for topic, payload, _ in self.heard if "/events/" in topic]

    @property
    def ids(self) -> list[int]:
        return list(dict.fromkeys(event["id"] for event in self.events))

    def latest(self, topic: str) -> dict[str, Any] | None:
        """The last payload there; None if nothing came, or it was cleared."""
        found = [payload for name, payload, _ in self.heard if name == topic]
        return json.loads(found[-1]) if found and found[-1] else None


@asynccontextmanager
async def subscribed(to: Broker, listener: Subscriber) -> AsyncIterator[Subscriber]:
    context = ssl.create_default_context(cafile=to.trust_anchor)
    async with aiomqtt.Client(HOST, to.port, username=USER, password=PASSWORD, tls_context=context) as client:
        await client.subscribe("keyweave/#", qos=1)

        async def listen() -> None:
            async for message in client.messages:
                assert isinstance(message.payload, bytes)
                listener.heard.append((message.topic.value, message.payload, message.retain))

        task = asyncio.create_task(listen())
        try:
            yield listener
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def all_delivered(feed: Feed, count: int) -> None:
    await feed.until(
        lambda: feed.counted("keyweave_export_events_total", sink="bus", outcome="delivered") >= count,
        f"{count} events acknowledged",
    )


async def test_events_go_to_a_topic_of_their_kind_and_states_are_retained_and_follow(
    secured: Broker, tmp_path: Path
) -> None:
    async with feeding(tmp_path, mqtt=[sink(secured)]) as feed, subscribed(secured, Subscriber()) as live:
        feed.states["links/ab/state"] = AB
        await feed.happen(2)
        await feed.happen(1, kind="stream_supplied", severity=Severity.INFO)
        await feed.until(lambda: len(live.events) == 3, "three events")
        assert [topic for topic, _, _ in live.heard if "/events/" in topic] == [
            "keyweave/lab/events/stream_starved",
            "keyweave/lab/events/stream_starved",
            "keyweave/lab/events/stream_supplied",
        ]
        assert live.ids == [1, 2, 3]
        assert live.events[0]["message"] == "event 1"
        assert (live.events[2]["alarm"], live.events[2]["alarm_state"]) == ("stream_supply", "ended")
        await feed.until(lambda: live.latest("keyweave/lab/links/ab/state") == AB, "the state")
        down = {**AB, "condition": "down"}
        feed.states["links/ab/state"] = down
        await feed.until(lambda: live.latest("keyweave/lab/links/ab/state") == down, "the state after a cut")
        async with subscribed(secured, Subscriber()) as later:
            await feed.until(lambda: later.latest("keyweave/lab/links/ab/state") == down, "what is retained")
            assert all(retained for _, _, retained in later.heard)
            assert later.events == []
            assert later.latest("keyweave/lab/controller/state") == {"online": True}
        del feed.states["links/ab/state"]
        await feed.until(
            lambda: live.latest("keyweave/lab/links/ab/state") is None, "no state of what is gone"
        )


async def test_when_we_are_gone_the_broker_says_so(secured: Broker, tmp_path: Path) -> None:
    async with subscribed(secured, Subscriber()) as live:
        async with feeding(tmp_path, mqtt=[sink(secured)]) as feed:
            await feed.until(
                lambda: live.latest("keyweave/lab/controller/state") == {"online": True}, "we are online"
            )
        await feed.until(
            lambda: live.latest("keyweave/lab/controller/state") == {"online": False}, "we are not"
        )


async def test_a_broker_that_restarts_mid_run_misses_nothing_and_hears_it_in_order(
    outside_program: Find, tmp_path: Path
) -> None:
    (tmp_path / "broker").mkdir()
    before, after = Subscriber(), Subscriber()
    async with broker(outside_program, tmp_path / "broker") as first:
        settings = sink(first)
        feed_context = feeding(tmp_path, mqtt=[settings])
        feed = await feed_context.__aenter__()
        try:
            async with subscribed(first, before):
                await feed.happen(20)
                await feed.until(lambda: len(before.ids) == 20, "twenty events")
            feed.states["links/ab/state"] = AB
            await first.stop()
            await feed.happen(20)
            async with broker(outside_program, tmp_path / "broker", port=first.port) as second:
                # It kept nothing: whoever comes first hears all that was waiting, and states anew.
                async with subscribed(second, after):
                    await feed.happen(20)
                    await all_delivered(feed, 60)
                    await feed.until(lambda: bool(after.ids) and after.ids[-1] == 60, "the last event")
                    await feed.until(lambda: after.latest("keyweave/lab/links/ab/state") == AB, "the state")
                # A subscriber may come too late for the first of them, but sees no gap and no disorder.
                assert after.ids == list(range(after.ids[0], 61))
                assert before.ids == list(range(1, 21))
        finally:
            await feed_context.__aexit__(None, None, None)


async def test_a_broker_that_refuses_us_is_tried_again_and_the_events_wait(
    secured: Broker, tmp_path: Path
) -> None:
    wrong = tmp_path / "wrong"
    wrong.write_text("not the password\n")
    async with feeding(tmp_path, mqtt=[sink(secured, password_file=str(wrong))]) as feed:
        await feed.happen(3)
        await feed.until(lambda: feed.counted("keyweave_export_failures_total", sink="bus") >= 1, "a failure")
        assert feed.counted("keyweave_export_up", sink="bus") == 0
        assert feed.counted("keyweave_export_waiting_events", sink="bus") == 3
        wrong.write_text(PASSWORD + "\n")
        await all_delivered(feed, 3)
