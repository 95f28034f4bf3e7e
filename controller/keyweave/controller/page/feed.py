"""What goes out to open pages: one snapshot, then changes. Nothing is gathered while nobody looks.

Each change is made once for all listeners, numbered, and remembered for a while, so that a page that was cut
off for a moment takes up where it was. A listener that does not keep up loses what waits for it and gets a
fresh snapshot.
"""

import asyncio
import json
import re
import secrets
import time
import traceback
from collections import deque
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from keyweave.common import log
from keyweave.controller.page.documents import Document
from keyweave.controller.page.scene import PAST_EVENTS, Observer, Scene

# What matters is looked for this often while something happens, and at this pace figures go out.
TICK_SECONDS = 0.2
FIGURES_SECONDS = 2.0
# Share of the controller's time that looking may take: a network of 1,000 nodes is looked at less often.
MOST_OF_THE_TIME = 0.05
# Agents tell of a failover first and of the paths they use now a moment later.
RESTLESS_SECONDS = 2.0
# A page that hears nothing for several of these connects anew.
BEAT_SECONDS = 5.0
# For one page; a slow one gets a fresh snapshot instead.
WAITING_FRAMES = 64
REMEMBERED_FRAMES = 60


class FrameKind(StrEnum):
    """The type of a server-sent event."""

    SNAPSHOT = "snapshot"
    DELTA = "delta"
    BEAT = "beat"


@dataclass(frozen=True, slots=True)
class Frame:
    """One server-sent event; without a number where it changes nothing."""

    kind: FrameKind
    number: int | None = None
    data: bytes = b"{}"


class Listener:
    """What waits for one page, which begins with what it `missed`; with everything where that is None."""

    def __init__(self, missed: Sequence[Frame] | None) -> None:
        self._waiting = deque(missed or ())
        self._needs_all = missed is None
        self._arrived = asyncio.Event()
        self._closed = False

    def offer(self, frame: Frame) -> None:
        """Take a frame; of too many let all go, and have everything instead."""
        if len(self._waiting) >= WAITING_FRAMES:
            self._waiting.clear()
            self._needs_all = True
        if not self._needs_all:
            self._waiting.append(frame)
        self._arrived.set()

    def close(self) -> None:
        """Nothing comes any more."""
        self._closed = True
        self._arrived.set()

    async def next(self) -> Frame | None:
        """The next frame, a beat where none comes for a while, None at the end.

        A snapshot has no content yet: it is of the moment when it goes out.
        """
        try:
            async with asyncio.timeout(BEAT_SECONDS):
                while not (self._waiting or self._needs_all or self._closed):
                    self._arrived.clear()
                    await self._arrived.wait()
        except TimeoutError:
            return Frame(FrameKind.BEAT)
        if self._closed:
            return None
        if self._needs_all:
            self._needs_all = False
            return Frame(FrameKind.SNAPSHOT)
        return self._waiting.popleft()


class Feed:
    """The network as pages know it, and who listens."""

    def __init__(self, observer: Observer, clock: Callable[[], float], limit: int) -> None:
        # Numbers of another run mean nothing here.
        self.run_id = secrets.token_hex(4)
        self._observer = observer
        self._clock = clock
        self._limit = limit
        self._listeners: set[Listener] = set()
        self._somebody = asyncio.Event()
        self._number = 0
        self._remembered: deque[Frame] = deque(maxlen=REMEMBERED_FRAMES)
        # What a page knows that has heard everything up to now.
        self._shown = Scene()
        self._figures_at = self._restless_until = 0.0
        self._stamp = (-1, -1)
        self._trouble = ""

    @property
    def full(self) -> bool:
        """Whether no more pages may listen."""
        return len(self._listeners) >= self._limit

    async def listen(self, last_seen: str) -> AsyncGenerator[tuple[str, Frame]]:
        """Frames with their IDs for one page, which has seen those up to `last_seen`."""
        self.look()
        missed = self._missed(last_seen)
        listener = Listener(missed)
        self._listeners.add(listener)
        self._somebody.set()
        try:
            while (frame := await listener.next()) is not None:
                if frame.kind is FrameKind.SNAPSHOT:
                    frame = Frame(FrameKind.SNAPSHOT, self._number, self._everything())
                yield (f"{self.run_id}-{frame.number}" if frame.number is not None else ""), frame
        finally:
            self._listeners.discard(listener)
            if not self._listeners:
                self._somebody.clear()

    async def run(self) -> None:
        """Look for changes while somebody listens, until cancelled."""
        while True:
            await self._somebody.wait()
            # A page must never take the controller down with it.
            try:
                await self._observer.draw()
                began = time.perf_counter()
                self.look()
                pause = (time.perf_counter() - began) / MOST_OF_THE_TIME
            except Exception as error:  # noqa: BLE001
                pause = TICK_SECONDS
                self._tell(repr(error))
            else:
                self._trouble = ""
            await asyncio.sleep(max(TICK_SECONDS, pause))

    def close(self) -> None:
        """End every listener; the controller is shutting down."""
        for listener in self._listeners:
            listener.close()

    def look(self) -> None:
        """Tell all listeners what has changed since the last look, if it is time for one."""
        now, stamp = self._clock(), self._observer.stamp
        if stamp != self._stamp:
            self._stamp = stamp
            self._restless_until = now + RESTLESS_SECONDS
        figures = now - self._figures_at >= FIGURES_SECONDS
        if not figures and now >= self._restless_until:
            return
        if figures:
            self._figures_at = now
        news = changes(self._shown, self._observer.look(), figures=figures)
        if not news:
            return
        apply(self._shown, news)
        self._number += 1
        frame = Frame(FrameKind.DELTA, self._number, encoded({**news, "time": now}))
        self._remembered.append(frame)
        for listener in self._listeners:
            listener.offer(frame)

    def _missed(self, last_seen: str) -> list[Frame] | None:
        """What came after `last_seen`, or None where not all of it is remembered."""
        run_id, _, text = last_seen.partition("-")
        # Longer numbers than any of ours are not even read.
        if run_id != self.run_id or not re.fullmatch(r"[0-9]{1,12}", text):
            return None
        missed = [frame for frame in self._remembered if frame.number is None or frame.number > int(text)]
        return missed if len(missed) == self._number - int(text) else None

    def _everything(self) -> bytes:
        shown = self._shown
        return encoded(
            {
                "status": shown.status,
                "pictures": shown.pictures,
                **shown.things,
                "events": shown.events,
                "time": self._clock(),
            }
        )

    def _tell(self, trouble: str) -> None:
        # Once for each trouble, not five times a second.
        if trouble != self._trouble:
            log.get().error("page_failed", error=trouble, at=traceback.format_exc(limit=-3))
        self._trouble = trouble


def changes(shown: Scene, seen: Scene, *, figures: bool) -> Document:
    """What is new: things as a whole where more than figures changed, None for one that is gone."""
    news: Document = {}
    for kind, new in seen.things.items():
        old = shown.things[kind]
        changed: dict[str, Document | None] = {
            name: document
            for name, document in new.items()
            if name not in old or {**old[name], "figures": document["figures"]} != document
        }
        changed |= dict.fromkeys(old.keys() - new.keys())
        if changed:
            news[kind] = changed
        moved = {
            name: document["figures"]
            for name, document in new.items()
            if figures and name not in changed and document["figures"] != old[name]["figures"]
        }
        if moved:
            news.setdefault("figures", {})[kind] = moved
    if shown.status != seen.status:
        news["status"] = seen.status
    if shown.pictures != seen.pictures:
        news["pictures"] = seen.pictures
    newest = shown.events[-1]["id"] if shown.events else 0
    events = [event for event in seen.events if event["id"] > newest]
    if events:
        news["events"] = events
    return news


def apply(shown: Scene, news: Document) -> None:
    """Do to a scene what a page does that hears of `news`."""
    for kind, things in shown.things.items():
        for name, document in news.get(kind, {}).items():
            if document is None:
                things.pop(name, None)
            else:
                things[name] = document
        for name, figures in news.get("figures", {}).get(kind, {}).items():
            things[name] = {**things[name], "figures": figures}
    shown.status = news.get("status", shown.status)
    shown.pictures = news.get("pictures", shown.pictures)
    shown.events = (shown.events + news.get("events", []))[-PAST_EVENTS:]


def encoded(document: Mapping[str, Any]) -> bytes:
    """As it goes out: on one line, as server-sent events want it."""
    return json.dumps(document, separators=(",", ":"), allow_nan=False).encode()
