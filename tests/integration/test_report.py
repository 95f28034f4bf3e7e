"""The report of a network that really ran: a fibre cut, a relay and the controller killed, keys drawn."""

import asyncio
import json
import os
import signal
import ssl
import time
from collections.abc import AsyncIterator, Awaitable
from contextlib import suppress
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import pytest

from keyweave.cli.connection import Network
from keyweave.cli.report import from_controller
from keyweave.cli.report.document import Report
from keyweave.cli.report.figures import report as report_of
from keyweave.cli.state_dir import StateDir
from keyweave.common.errors import KeyweaveError
from keyweave.v1 import admin_pb2
from tests.integration import command_line
from tests.integration.test_up import Running, keyweave, up
from tests.waiting import eventually

TRIANGLE = """
name: triangle
nodes: [{name: a}, {name: b}, {name: c}]
links:
  - {name: ab, a: a, b: b, technology: DV-QKD, length_km: 10, loss_db: 3, qber_ratio: 0.02, skr_bps: 200000}
  - {name: bc, a: b, b: c, technology: DV-QKD, length_km: 10, loss_db: 3, qber_ratio: 0.02, skr_bps: 200000}
  - {name: ac, a: a, b: c, technology: DV-QKD, length_km: 10, loss_db: 3, qber_ratio: 0.02, skr_bps: 200000}
streams:
  - {name: s, source_node: a, target_node: b, source_sae: alice, target_sae: bob, require_qkd: true,
     max_rate_bps: 20000, buffer_keys: 8}
  - {name: shadow, source_node: b, target_node: a, source_sae: bill, target_sae: anne, pqc_only: true,
     max_rate_bps: 20000, buffer_keys: 8}
"""
CRITERIA = """
title: Triangle
parties: [One, Other]
criteria:
  - {require: stream.failovers <= 0, of: [s]}
  - {require: stream.failovers <= 0, of: [shadow]}
  - {require: stream.quantum_ratio <= 0, of: [shadow]}
  - {require: link.qber_mean <= 0.05}
  - {require: link.qber_mean <= 0.05, of: [never-built]}
"""


async def output(state: StateDir, *arguments: str) -> tuple[int, str]:
    done = await command_line.keyweave(*arguments, "--state-dir", str(state.root))
    return done.code, done.out


async def reported(state: StateDir, *options: str) -> dict[str, Any]:
    _, out = await output(state, "report", "-o", "json", *options)
    found: dict[str, Any] = json.loads(out)
    return found


def named(objects: list[dict[str, Any]], name: str) -> dict[str, Any]:
    return next(each for each in objects if each["name"] == name)


async def history(running: Running) -> Report:
    """The report as it is now, without starting a process for it."""
    network = Network.of(running.state.root, None, None, None, None)
    known = await from_controller.recorded(network, 0, time.time_ns())
    return report_of(known, title="", made_at=0.0, software="")


async def draw(running: Running, sae: str, node: str, peer: str, count: int) -> int:
    """An application draws keys; how it was answered."""
    context = ssl.create_default_context(cafile=running.state.pki / "ca.pem")
    context.load_cert_chain(running.state.sae_certificate(sae), running.state.sae_key(sae))
    url = f"{running.state.read_endpoints().kme[node]}/api/v1/keys/{peer}/enc_keys?number={count}"
    async with aiohttp.ClientSession() as session, session.get(url, ssl=context) as answer:
        return answer.status


async def draw_on(running: Running) -> None:
    """An application that always wants more."""
    while True:
        await draw(running, "alice", "a", "bob", 2)
        await asyncio.sleep(0.02)  # its own pace


async def moves(running: Running) -> tuple[int, int]:
    """How often the stream has moved without interruption, and with one, as far as the history tells."""
    (stream,) = [each for each in (await history(running)).streams if each.name == "s"]
    return stream.failovers.planned, stream.failovers.count


async def paths(running: Running) -> list[list[str]]:
    """The links of the stream's path sets, best first."""
    async with Network.of(running.state.root, None, None, None, None).admin() as admin:
        answer = await admin.GetStream(admin_pb2.GetStreamRequest(name="s"), timeout=20)
    return [[hop.link for path in one.paths for hop in path.hops] for one in answer.stream.plan.path_sets]


async def any_of(counts: Awaitable[tuple[int, int]]) -> bool:
    return any(await counts)


async def equal(found: Awaitable[list[list[str]]], wanted: list[list[str]]) -> bool:
    return await found == wanted


async def interrupted(running: Running) -> bool:
    """And the agent that was killed is known to be away: its row may come a second later."""
    (dead,) = [each for each in (await history(running)).nodes if each.name == "c"]
    away = dead.uptime_ratio is not None and dead.uptime_ratio < 1
    return (await moves(running))[1] > 0 and away


@pytest.fixture
async def healed(tmp_path: Path) -> AsyncIterator[Running]:
    """A triangle whose stream has left a cut fibre, and then a relay that was killed."""
    async with up(tmp_path, content=TRIANGLE) as running:
        await running.until(lambda line: "event watch" in line)
        assert await keyweave(running.state, "status", "--wait", "--timeout", "90") == 0
        assert await draw(running, "alice", "a", "bob", 2) == 200
        assert await draw(running, "bill", "b", "anne", 3) == 200
        drawing = asyncio.create_task(draw_on(running))
        try:
            direct = [["ab"], ["ac", "bc"]]
            await eventually(lambda: equal(paths(running), direct), 60, "the stream goes over one fibre")
            assert await keyweave(running.state, "fault", "cut", "ab") == 0
            await eventually(lambda: any_of(moves(running)), 60, "the stream leaves the cut fibre")
            assert await keyweave(running.state, "fault", "restore", "ab") == 0
            both = [["ac", "bc"], ["ab"]]
            await eventually(lambda: equal(paths(running), both), 60, "the mended fibre stands by")
            os.kill(running.processes()["agent-c"], signal.SIGKILL)
            await eventually(lambda: interrupted(running), 60, "the stream leaves the dead relay")
        finally:
            drawing.cancel()
        yield running


@pytest.mark.timeout(300)
async def test_a_report_tells_what_happened(healed: Running, tmp_path: Path) -> None:
    state = healed.state
    criteria = tmp_path / "agreed.yaml"
    criteria.write_text(CRITERIA)
    report = await reported(state, "--criteria", str(criteria))

    cut = named(report["links"], "ab")
    assert cut["condition_seconds"]["down"] > 0
    assert cut["uptime_ratio"] < 1
    assert named(report["nodes"], "c")["uptime_ratio"] < 1.0
    assert named(report["nodes"], "a")["uptime_ratio"] == 1.0
    assert all(link["emulated"] for link in report["links"])
    faults = [(each["link"] or each["node"], each["what"], each["diagnosis"]) for each in report["faults"]]
    assert ("ab", "link down", "signal") in faults
    assert ("c", "agent lost", "") in faults

    stream, shadow = named(report["streams"], "s"), named(report["streams"], "shadow")
    assert stream["failovers"]["longest_seconds"] > 0
    assert stream["keys"]["hybrid"] >= 2
    assert stream["keys"]["pqc"] == 0, "it requires QKD"
    assert shadow["keys"] == {"hybrid": 0, "qkd": 0, "pqc": 3}
    assert shadow["failovers"]["count"] == 0
    assert shadow["service_seconds"].get("serving", 0) > 0
    assert report["comparisons"] == [{"stream": "s", "shadow": "shadow"}]

    acceptance = report["acceptance"]
    verdicts = [(each["name"], each["verdict"]) for each in acceptance["results"]]
    assert verdicts == [
        ("s", "fail"),
        ("shadow", "pass"),
        ("shadow", "pass"),
        ("ab", "pass"),
        ("ac", "pass"),
        ("bc", "pass"),
        ("never-built", "no data"),
    ]
    assert acceptance["verdict"] == "fail"

    page = tmp_path / "report.html"
    code, _ = await output(state, "report", "--criteria", str(criteria), "--output-file", str(page))
    assert code == 3, "a criterion was not met"
    shown = page.read_text()
    assert "come from simulated devices" in shown
    assert "Triangle" in shown

    _, explained = await output(state, "stream", "explain", "shadow")
    assert "ML-KEM alone" in explained
    assert "seen by nobody but the ends" in explained

    # Killed, it comes back and goes on; the minute that was open is lost, and nobody makes it up.
    os.kill(healed.processes()["controller"], signal.SIGKILL)
    await healed.until(lambda line: line.startswith("controller: started again"))

    async def known_again() -> bool:
        with suppress(KeyweaveError, grpc.aio.AioRpcError):  # it may not be up yet
            return (await history(healed)).period.watched_seconds > 0
        return False

    await eventually(known_again, 60, "the controller records again")
