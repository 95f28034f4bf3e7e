"""What open pages are told: everything once, then each change once, whatever happens to them in between."""

import asyncio
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from keyweave.common.errors import NotFoundError
from keyweave.common.names import StreamName
from keyweave.controller.config import is_loopback
from keyweave.controller.events import Severity
from keyweave.controller.page.access import host_name
from keyweave.controller.page.feed import REMEMBERED_FRAMES, WAITING_FRAMES, Feed, FrameKind, apply, changes
from keyweave.controller.page.scene import KINDS, Observer, Scene
from keyweave.controller.topology import Condition
from keyweave.v1 import types_pb2
from tests.shown_network import ShownNetwork
from tests.unit.networks import stream
from tests.unit.pair_run import Optics, PairRun, wanted
from tests.waiting import eventually

RING = (("ab", "a", "b", 9000.0), ("bc", "b", "c", 9000.0), ("ca", "c", "a", 9000.0))


def network() -> ShownNetwork:
    return ShownNetwork(RING, (stream("s", "a", "b", max_rate_bps=1000.0),))


def feed_of(shown: ShownNetwork, limit: int = 4) -> Feed:
    return Feed(Observer(shown, lambda: shown.intent), lambda: shown.now, limit)


def replayed(frames: list[dict[str, Any]]) -> Scene:
    """What a page knows that has heard these."""
    first, *rest = frames
    scene = Scene(
        first["status"],
        first["pictures"],
        {kind: dict(first[kind]) for kind in KINDS},
        first["events"],
    )
    for news in rest:
        apply(scene, news)
    return scene


async def test_a_snapshot_and_the_changes_after_it_add_up_to_what_is() -> None:
    shown = network()
    feed = feed_of(shown)
    page = feed.listen("")
    heard = [json.loads((await anext(page))[1].data)]
    shown.put("ab", Condition.DOWN)
    shown.now += 0.1
    feed.look()
    shown.qber_ratio = 0.034
    shown.away.add("c")
    shown.now += 3
    feed.look()
    heard += [json.loads((await anext(page))[1].data) for _ in range(2)]
    await page.aclose()
    now = Observer(shown, lambda: shown.intent).look()
    assert replayed(heard) == now
    assert now.things["links"]["ab"]["condition"] == "down"
    assert now.things["streams"]["s"]["path_sets"][0]["paths"][0]["links"] == ["ca", "bc"]


async def test_figures_go_out_now_and_then_and_what_matters_at_once() -> None:
    shown = network()
    feed = feed_of(shown)
    page = feed.listen("")
    await anext(page)
    shown.now += 0.1
    shown.qber_ratio = 0.03
    shown.put("bc", Condition.SUSPECT)
    feed.look()
    _, frame = await anext(page)
    news = json.loads(frame.data)
    assert list(news["links"]) == ["bc"]
    assert "figures" not in news
    shown.now += 2.5
    feed.look()
    _, frame = await anext(page)
    figures = json.loads(frame.data)["figures"]["links"]
    assert {name: one["qber_ratio"] for name, one in figures.items()} == {"ab": 0.03, "ca": 0.03}
    await page.aclose()


async def test_nothing_is_gathered_while_nothing_happens_or_nobody_looks() -> None:
    shown = network()
    feed = feed_of(shown)
    page = feed.listen("")
    await anext(page)
    shown.now += 2.1  # long after the last event
    feed.look()
    before = shown.looks
    for _ in range(5):
        shown.now += 0.2
        feed.look()
    assert shown.looks == before
    await page.aclose()


async def test_a_page_that_comes_back_hears_only_what_it_missed() -> None:
    shown = network()
    feed = feed_of(shown)
    page = feed.listen("")
    seen, _ = await anext(page)
    await page.aclose()
    shown.put("ab", Condition.DOWN)
    again = feed.listen(seen)
    number, frame = await anext(again)
    assert frame.kind is FrameKind.DELTA
    assert number != seen
    assert json.loads(frame.data)["links"]["ab"]["condition"] == "down"
    await again.aclose()


@given(st.text())
async def test_any_last_seen_is_taken_or_answered_with_everything(text: str) -> None:
    feed = feed_of(network())
    for last_seen in (text, f"{feed.run_id}-{text}"):
        page = feed.listen(last_seen)
        assert (await anext(page))[1].kind in FrameKind
        await page.aclose()


@given(st.text() | st.from_regex(r"\[?[0-9a-fA-F:.%]*\]?(:[0-9]*)?", fullmatch=True))
def test_no_host_is_taken_for_this_machine_unless_it_is(host: str) -> None:
    name = host_name(host)
    if is_loopback(name):
        assert name.lower() == "localhost" or name.startswith("127.") or "1" in name.rpartition(":")[2]


@pytest.mark.parametrize(
    "last_seen", ["", "rubbish", "-1", "0badf00d-1", "{run}-", "{run}-x", "{run}-99", "{run}--1"]
)
async def test_whoever_cannot_be_taken_up_gets_everything(last_seen: str) -> None:
    feed = feed_of(network())
    page = feed.listen(last_seen.format(run=feed.run_id))
    assert (await anext(page))[1].kind is FrameKind.SNAPSHOT
    await page.aclose()


async def test_what_is_forgotten_is_sent_whole() -> None:
    shown = network()
    feed = feed_of(shown)
    page = feed.listen("")
    seen, _ = await anext(page)
    for number in range(REMEMBERED_FRAMES + 1):
        shown.say("plan_changed", f"number {number}")
        feed.look()
    late = feed.listen(seen)
    assert (await anext(late))[1].kind is FrameKind.SNAPSHOT
    await late.aclose()
    await page.aclose()


async def test_a_slow_page_is_given_a_fresh_snapshot_and_holds_nobody_up() -> None:
    shown = network()
    feed = feed_of(shown)
    slow, quick = feed.listen(""), feed.listen("")
    await anext(slow)
    await anext(quick)
    for number in range(WAITING_FRAMES + 5):
        shown.say("plan_changed", f"number {number}")
        feed.look()
        assert (await anext(quick))[1].kind is FrameKind.DELTA
    seen, frame = await anext(slow)
    assert frame.kind is FrameKind.SNAPSHOT
    assert json.loads(frame.data)["events"][-1]["message"] == f"number {WAITING_FRAMES + 4}"
    shown.say("plan_changed", "after it")
    feed.look()
    following, frame = await anext(slow)
    assert frame.kind is FrameKind.DELTA
    assert int(following.partition("-")[2]) == int(seen.partition("-")[2]) + 1
    await slow.aclose()
    await quick.aclose()


async def test_pages_are_counted_while_they_listen() -> None:
    feed = feed_of(network(), limit=1)
    page = feed.listen("")
    await anext(page)
    filled = feed.full
    await page.aclose()
    assert (filled, feed.full) == (True, False)


async def test_a_look_that_fails_is_told_once_and_the_next_one_goes_on() -> None:
    shown = network()
    feed = feed_of(shown)
    page = feed.listen("")
    await anext(page)
    whole, shown.streams_wanted = shown.streams_wanted, (None,)  # type: ignore[assignment]
    shown.say("plan_changed", "now it fails")
    with capture_logs() as said:
        running = asyncio.create_task(feed.run())

        async def told() -> bool:
            return bool(said)

        await eventually(told, 30, "the failure is told")
        assert [line["event"] for line in said] == ["page_failed"]
        shown.streams_wanted = whole
        assert (await anext(page))[1].kind is FrameKind.DELTA
        running.cancel()
    await page.aclose()


async def test_closing_ends_every_page() -> None:
    feed = feed_of(network())
    page = feed.listen("")
    await anext(page)
    feed.close()
    assert [frame async for frame in page] == []


def test_what_is_gone_is_told_as_gone() -> None:
    shown = network()
    observer = Observer(shown, lambda: shown.intent)
    scene = observer.look()
    shown.rows = RING[:2]
    shown.streams_wanted = ()
    shown.change()
    news = changes(scene, observer.look(), figures=True)
    assert news["links"]["ca"] is None
    assert news["streams"] == {"s": None}


async def test_a_map_is_there_before_the_graph_and_goes_when_a_site_is_nowhere() -> None:
    shown = network()
    shown.locations = {"a": (52.0, 4.0), "b": (52.5, 5.0), "c": (51.9, 5.5)}
    shown.change()
    observer = Observer(shown, lambda: shown.intent)
    await observer.draw()
    assert list(observer.look().pictures) == ["map"]
    await observer.draw()
    both = observer.look().pictures
    assert list(both) == ["map", "graph"]
    await observer.draw()
    assert observer.look().pictures is both
    shown.locations = {"a": (52.0, 4.0), "b": (52.5, 5.0)}
    shown.change()
    await observer.draw()
    assert list(observer.look().pictures) == ["graph"]


def pairs_over_two_hops() -> PairRun:
    run = PairRun(links={"ab": Optics("a", "b"), "bc": Optics("b", "c")}, memories=dict.fromkeys("abc", 8))
    run.hello()
    run.run(5)
    run.want(wanted(target="c"))
    run.run(1)
    return run


def test_pairs_are_shown_with_what_the_command_line_says_of_them() -> None:
    shown, run = network(), pairs_over_two_hops()
    shown.pairs_known = run.core.pairs
    observer = Observer(shown, lambda: shown.intent)
    scene = observer.look()
    json.dumps(scene.things, allow_nan=False)
    link, asked = scene.things["pair_links"]["bc"], scene.things["pair_streams"]["s"]
    assert (link["a"], link["b"], link["condition"], link["streams"]) == ("b", "c", "ok", ["s"])
    assert link["figures"]["fidelity_low"] < 0.96 < link["figures"]["fidelity_high"]
    assert (asked["state"], asked["paths"][0]["nodes"], asked["deadline"]) == ("met", ["a", "b", "c"], None)
    assert asked["figures"]["predicted_rate_hz"] == pytest.approx(5.0)
    node = scene.things["nodes"]["b"]
    assert node["memories"]["count"] == node["figures"]["memories"]["working"] == 8
    assert node["figures"]["memories"]["planned"] >= 2
    run.links["bc"].status, run.links["bc"].rate_hz = types_pb2.LINK_STATUS_OFF, 0.0
    run.run(2)
    news = changes(scene, observer.look(), figures=False)
    assert news["pair_links"]["bc"]["condition"] == "down"
    assert news["pair_streams"]["s"]["state"] == "unmet"


async def test_a_pair_stream_is_explained_as_the_command_line_does() -> None:
    shown, run = network(), pairs_over_two_hops()
    shown.pairs_known = run.core.pairs
    observer = Observer(shown, lambda: shown.intent)
    found = await observer.explain_pairs(StreamName("s"))
    assert found["lines"][0].startswith("'s' asks for 5 pairs/s of fidelity 0.8")
    with pytest.raises(NotFoundError, match="pair-stream list"):
        await observer.explain_pairs(StreamName("none"))


def test_events_never_carry_fields_which_may_list_key_ids() -> None:
    shown = network()
    shown.events.publish(shown.say("keys_recalled", "2 keys", Severity.MAJOR))
    (event, *_) = Observer(shown, lambda: shown.intent).look().events
    assert set(event) == {"id", "time", "severity", "kind", "message", "node", "link", "stream"}
