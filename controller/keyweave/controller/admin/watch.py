"""Events for somebody who watches: past ones, then live ones, none missed or sent twice in between."""

from collections.abc import AsyncGenerator, AsyncIterator
from typing import Protocol

from keyweave.common.errors import InvalidInputError, TooOldError
from keyweave.controller.admin.event_hub import EventHub
from keyweave.controller.admin.messages import event_message
from keyweave.controller.admin.tokens import resume_place, resume_token
from keyweave.controller.events import Event
from keyweave.controller.store import Store
from keyweave.v1 import admin_pb2

# Read from the store at a time.
PAGE_EVENTS = 500


class Source(Protocol):
    """Where events are published."""

    @property
    def epoch(self) -> int:
        """The epoch under which the controller leads."""

    @property
    def events(self) -> EventHub:
        """Where events are published."""


async def watched(
    source: Source, store: Store, request: admin_pb2.WatchEventsRequest
) -> AsyncGenerator[admin_pb2.WatchEventsResponse, None]:
    """What a watcher is sent."""
    if request.resume_token and request.past:
        raise InvalidInputError.of("past", "says how many past events to begin with; resume_token says which")
    hub, epoch = source.events, source.epoch
    last = hub.last_id
    if request.resume_token:
        seen_epoch, seen = resume_place(request.resume_token)
        if seen_epoch > epoch or (seen_epoch == epoch and seen > hub.last_id):
            raise InvalidInputError.of(
                "resume_token",
                "is of events that this controller has not had; its database may be an old copy",
            )
        last = seen if seen_epoch == epoch else await store.first_unseen_event(seen_epoch, seen) - 1
        async for event in _stored_since(hub, store, last):
            last = event.id
            yield _answer(event, epoch, last)
    with hub.subscribe() as live:
        # No await between these: what is not among the recent ones will come live.
        recent = tuple(hub.recent)
        if request.resume_token:
            past = tuple(event for event in recent if event.id > last)
        else:
            past = await _newest(recent, store, request.past)
        for event in past:
            last = event.id
            yield _answer(event, epoch, last)
        if not request.past_only:
            async for event in live:
                # That a slow watcher lost some is no event with a number: from its token it gets them yet.
                last = event.id or last
                yield _answer(event, epoch, last)


async def _stored_since(hub: EventHub, store: Store, last: int) -> AsyncIterator[Event]:
    """Events after `last`, until those that the hub still has follow on."""
    while last < hub.last_id and not (hub.recent and hub.recent[0].id <= last + 1):
        found = await store.events_from(last + 1, PAGE_EVENTS)
        if not found:
            raise _too_old(last, hub.last_id + 1)
        for event in found:
            if event.id != last + 1:
                raise _too_old(last, event.id)
            last = event.id
            yield event


def _too_old(last: int, next_kept: int) -> TooOldError:
    return TooOldError(
        f"resume_token: of the events after number {last} those before number {next_kept} are no longer "
        "kept; read what you need anew, then watch without a token"
    )


async def _newest(recent: tuple[Event, ...], store: Store, count: int) -> tuple[Event, ...]:
    """The newest `count` events: those of this process, and before them what the store has."""
    missing = count - len(recent)
    if missing > 0:
        stored = await store.recent_events(missing, before=recent[0].id if recent else None)
        recent = (*stored, *recent)
    return recent[len(recent) - count :] if count < len(recent) else recent


def _answer(event: Event, epoch: int, last: int) -> admin_pb2.WatchEventsResponse:
    return admin_pb2.WatchEventsResponse(event=event_message(event), resume_token=resume_token(epoch, last))
