"""Every watcher sees every event in order, or is told how many it missed; nobody waits for it."""

from keyweave.controller.admin.event_hub import EventHub
from keyweave.controller.events import Event, Severity


def event(message: str) -> Event:
    return Event("plan_changed", Severity.INFO, message, 1.0)


def publish(hub: EventHub, *messages: str) -> None:
    for message in messages:
        hub.publish(hub.number(event(message)))


async def test_events_are_numbered_from_where_the_store_left_off_and_reach_every_watcher_in_order() -> None:
    hub = EventHub(last_id=41)
    with hub.subscribe() as one, hub.subscribe() as other:
        publish(hub, "first", "second")
        hub.close()
        for watcher in (one, other):
            assert [(e.id, e.message) async for e in watcher] == [(42, "first"), (43, "second")]
    assert hub.last_id == 43


async def test_a_slow_watcher_keeps_the_oldest_and_is_told_how_many_it_missed() -> None:
    hub = EventHub(queue_limit=2)
    with hub.subscribe() as slow:
        publish(hub, "a", "b", "c", "d")
        hub.close()
        seen = [e async for e in slow]
    assert [e.message for e in seen[:2]] == ["a", "b"]
    assert seen[-1].kind == "events_lost"
    assert seen[-1].fields == {"count": "2"}


async def test_a_watcher_that_has_caught_up_sees_what_comes_later() -> None:
    hub = EventHub()
    with hub.subscribe() as watcher:
        reading = aiter(watcher)
        publish(hub, "early")
        assert (await anext(reading)).message == "early"
        publish(hub, "late")
        assert (await anext(reading)).message == "late"


async def test_nothing_is_kept_for_a_watcher_that_has_left() -> None:
    hub = EventHub(queue_limit=1)
    with hub.subscribe() as watcher:
        pass
    publish(hub, "a", "b")
    watcher.close()
    assert [e async for e in watcher] == []
