"""From a cut fibre to the first new key over another way, as the application gets it.

Every trial: an application draws one key after the other from a stream that keeps at most one ready, then the
emulator cuts the second hop of the stream's path. Counted is the time from the emulator's own stamp on that
fault to the moment the application holds the first key whose provenance says that it came another way: over
the backup path, or by ML-KEM alone. The cut link's pool is destroyed by its ends as they lose the signal
(`tests.bench.unpooled` does that: key that a pool holds would hide the failure); the backup's pool is full.
The controller is killed first: nobody but the agents moves the stream.
"""

import asyncio
import json
import os
import signal
import ssl
import statistics
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import aiohttp

from keyweave.v1 import admin_pb2, emulator_pb2
from tests.bench import network
from tests.bench.measure import quantile
from tests.bench.report import COMMAND, Result

# Protection switching in transport networks completes within this (ITU-T G.841, G.808.1).
LIMIT_SECONDS = 0.05
TRIALS = 200
WAYS = 4
PROGRAM = (sys.executable, "-m", "tests.bench.unpooled")
OUTPUT = Path("bench-heal.json")
# Before each cut: the application draws at its pace, no faster.
STEADY_KEYS = 20
PACE_SECONDS = 0.004
PATIENCE_SECONDS = 40.0
STOCK_BITS = 50_000


def run() -> list[Result]:
    """Measure both kinds; every single trial goes to a file beside bench.json."""
    with TemporaryDirectory() as directory:
        trials = asyncio.run(_measure(Path(directory)))
    OUTPUT.write_text(json.dumps(trials, indent=1) + "\n", "utf-8")
    return [row for kind, seconds in trials.items() for row in _rows(kind, seconds)]


def _rows(kind: str, seconds: list[float]) -> list[Result]:
    figures = {
        "p50": statistics.median(seconds),
        "p99": quantile(seconds, 0.99),
        "worst": max(seconds),
    }
    return [
        Result(
            f"heal_{kind}_{name}_seconds", value, "s", LIMIT_SECONDS, value / LIMIT_SECONDS, f"{COMMAND} heal"
        )
        for name, value in figures.items()
    ]


async def _measure(root: Path) -> dict[str, list[float]]:
    scenario = network.SCENARIOS / "heal.yaml"
    async with network.up(scenario, root, program=PROGRAM, restart=False) as running:
        await running.until(_settled, PATIENCE_SECONDS, "every stream has its own way, and a backup")
        os.kill(
            json.loads(running.layout.state.processes_file.read_text("utf-8"))["controller"], signal.SIGKILL
        )
        found: dict[str, list[float]] = {"qkd_to_qkd": [], "qkd_to_mlkem": []}
        for trial in range(TRIALS):
            way = trial % WAYS + 1
            for kind, letter in (("qkd_to_qkd", "q"), ("qkd_to_mlkem", "p")):
                async with _application(running, f"{letter}{way}") as application:
                    found[kind].append(await _trial(running, application, f"m{way}-c"))
        return found


def _settled(status: admin_pb2.GetStatusResponse) -> bool:
    """Whether every stream is on the way over its own node, with what it may fall back to in force."""
    return network.serving(status) and all(
        [hop.link for hop in stream.plan.path_sets[0].paths[0].hops][-1] == f"m{stream.stream.name[1:]}-c"
        and len(stream.plan.path_sets) == (2 if stream.stream.require_qkd else 1)
        for stream in status.streams
    )


async def _trial(running: network.Running, application: "_Application", link: str) -> float:
    """Seconds from the cut to the first key over another way. Begins and ends with the link in order."""
    await _in_order(running, link)
    await application.draw_until(lambda key: link in key.links, STEADY_KEYS)
    cutting = asyncio.create_task(_cut(running, link), name="cut")
    moved = await application.draw_until(lambda key: link not in key.links, 1)
    since = await cutting
    await running.emulator.RestoreLink(emulator_pb2.RestoreLinkRequest(link=link))
    return (moved.at_unix_nanos - since) / 1e9


async def _in_order(running: network.Running, link: str) -> None:
    """Both ends say that the link works, and both hops of the backup have key for many batches."""
    ends = time.monotonic() + PATIENCE_SECONDS
    usable, stock = "keyweave_agent_link_usable", "keyweave_agent_pool_send_bits"
    for node, name, labels, least in (
        (link.split("-", maxsplit=1)[0], usable, {"link": link}, 1),
        ("c", usable, {"link": link}, 1),
        ("a", stock, {"link": "a-z"}, STOCK_BITS),
        ("z", stock, {"link": "z-c"}, STOCK_BITS),
    ):
        while network.of(await running.samples(node), name, **labels) < least:
            if time.monotonic() > ends:
                raise RuntimeError(f"{name} of {labels} at {node} stays below {least}")
            await asyncio.sleep(PACE_SECONDS)


async def _cut(running: network.Running, link: str) -> int:
    """Cut a fibre; the emulator's stamp on it."""
    fault = emulator_pb2.Fault(link=link, kind=emulator_pb2.FAULT_KIND_CUT)
    answer = await running.emulator.InjectFault(emulator_pb2.InjectFaultRequest(fault=fault))
    return answer.fault.since_unix_nanos


@dataclass(frozen=True, slots=True)
class _Key:
    """What a trial needs to know of a key that the application got."""

    links: frozenset[str]
    at_unix_nanos: int


@dataclass(slots=True)
class _Application:
    """An SAE that draws one key after the other as master."""

    url: str
    http: aiohttp.ClientSession = field(repr=False)

    async def draw_until(self, wanted: Callable[[_Key], bool], times: int) -> _Key:
        """Draw until `times` keys in a row were as wanted; the last of them."""
        ends, row = time.monotonic() + PATIENCE_SECONDS, 0
        while True:
            key = await self._draw()
            row = row + 1 if key is not None and wanted(key) else 0
            if key is not None and row == times:
                return key
            if time.monotonic() > ends:
                raise RuntimeError(f"{self.url}: the stream did not come to the way that was waited for")
            if times > 1:
                await asyncio.sleep(PACE_SECONDS)

    async def _draw(self) -> _Key | None:
        async with self.http.get(self.url) as answer:
            body = await answer.json()
            at = time.time_ns()
        if answer.status != 200:
            return None
        return _Key(frozenset(body["keys"][0]["key_extension"]["keyweave_links"]), at)


@asynccontextmanager
async def _application(running: network.Running, stream: str) -> AsyncIterator[_Application]:
    state = running.layout.state
    context = ssl.create_default_context(cafile=str(state.pki / "ca.pem"))
    sae = f"{stream}-a"
    context.load_cert_chain(state.sae_certificate(sae), state.sae_key(sae))
    connector = aiohttp.TCPConnector(ssl=context)
    async with aiohttp.ClientSession(connector=connector) as http:
        yield _Application(f"{running.layout.endpoints.kme['a']}/api/v1/keys/{stream}-c/enc_keys", http)
