"""Events on a real store, with exports that take them out; and a webhook's receiver."""

import asyncio
import json
import ssl
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web

from keyweave.cli.up.ports import HOST, free
from keyweave.common.identity import Identity, Plane, Role
from keyweave.common.pki import Authority
from keyweave.controller.events import Event, Severity
from keyweave.controller.exports.config import ExportsConfig
from keyweave.controller.exports.exporter import Exports
from keyweave.controller.store import Store
from tests.waiting import eventually

WITHIN_SECONDS = 90.0


@dataclass
class Feed:
    """A store in which things happen, and exports that run."""

    store: Store
    settings: ExportsConfig
    states: dict[str, dict[str, Any]] = field(default_factory=dict)
    last: int = 0
    exports: Exports = field(init=False)
    _task: "asyncio.Task[None] | None" = None

    def __post_init__(self) -> None:
        self.exports = Exports(self.settings, self.store.spool, lambda: self.states)

    async def start(self) -> None:
        await self.exports.begin()
        self._task = asyncio.create_task(self.exports.run())

    async def stop(self, *, crash: bool = False) -> None:
        """End the exports; a crash writes nothing down."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        if not crash:
            await self.exports.finish()

    async def restart(self) -> None:
        """As a controller that was killed comes back."""
        await self.stop(crash=True)
        self.exports = Exports(self.settings, self.store.spool, lambda: self.states)
        await self.start()

    async def happen(self, count: int, **changed: Any) -> None:
        """So many more events."""
        for _ in range(count):
            self.last += 1
            members = {"kind": "stream_starved", "severity": Severity.MAJOR, "node": "a", "stream": "s"}
            event = Event(
                message=f"event {self.last}", time_unix_seconds=time.time(), id=self.last, **members | changed
            )
            await self.store.append_events([event])
            self.exports.wake(self.last)

    async def until(self, look: Callable[[], bool], what: str) -> None:
        async def seen() -> bool:
            return look()

        await eventually(seen, WITHIN_SECONDS, what)

    def handed_out(self, sink: str) -> int:
        """The number of the last event that a receiver was handed, whether it has it or not."""
        return self.exports._outboxes[sink]._read

    def counted(self, name: str, **labels: str) -> float:
        """What Prometheus would be told."""
        return next(
            sample.value
            for metric in self.exports.collect()
            for sample in metric.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )


@asynccontextmanager
async def feeding(directory: Path, **settings: Any) -> AsyncIterator[Feed]:
    """Exports with these settings; whoever is new there begins with the first event of the feed."""
    store = await Store.open(f"sqlite+aiosqlite:///{directory}/controller.db")
    await store.claim_epoch("test")
    feed = Feed(store, ExportsConfig.model_validate({"network": "lab", **settings}))
    await feed.start()
    try:
        yield feed
    finally:
        await feed.stop()
        await store.close()


@dataclass
class Receiver:
    """A webhook's endpoint over TLS that answers as it is told, and keeps what it has taken."""

    directory: Path
    port: int
    requests: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    # What to answer next, in order; then 204.
    answers: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    taken: list[dict[str, Any]] = field(default_factory=list)
    _runner: web.AppRunner | None = None

    @property
    def ids(self) -> list[int]:
        """The numbers of the events it has taken, each where it came first."""
        return list(dict.fromkeys(int(one["data"]["id"]) for one in self.taken))

    def settings(self, **changed: Any) -> dict[str, Any]:
        url = f"https://{HOST}:{self.port}/hook"
        return {"name": "hook", "url": url, "trust_anchor": str(self.directory / "ca.pem"), **changed}

    async def start(self) -> None:
        application = web.Application()
        application.router.add_post("/hook", self._answer)
        self._runner = web.AppRunner(application, shutdown_timeout=0.1)
        await self._runner.setup()
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(self.directory / "hook.pem", self.directory / "hook.key")
        await web.TCPSite(self._runner, HOST, self.port, ssl_context=context, reuse_address=True).start()

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _answer(self, request: web.Request) -> web.Response:
        body = await request.read()
        self.requests.append(({name.lower(): value for name, value in request.headers.items()}, body))
        status, headers = self.answers.pop(0) if self.answers else (204, {})
        if status < 300:
            self.taken.append(json.loads(body))
        return web.Response(status=status, headers=headers)


@asynccontextmanager
async def receiving(directory: Path) -> AsyncIterator[Receiver]:
    """A receiver on a free port."""
    directory.mkdir(parents=True, exist_ok=True)  # noqa: ASYNC240  # a test may wait
    authority = Authority.create(Plane.CONTROL)
    (directory / "ca.pem").write_bytes(authority.credential.certificate)
    issued = authority.issue(Identity(Plane.CONTROL, Role.CONTROLLER, "hook"), hosts=(HOST,))
    issued.write(directory / "hook.pem", directory / "hook.key")
    receiver = Receiver(directory, free(()))
    await receiver.start()
    try:
        yield receiver
    finally:
        await receiver.stop()
