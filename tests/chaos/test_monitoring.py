"""Debian's Prometheus and Alertmanager on a network whose fibres break: every panel and rule has its data."""

import asyncio
import json
import os
import re
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
import yaml
from prometheus_client.parser import text_string_to_metric_families

from dashboards.asking import Prometheus
from dashboards.queries import OF_PAIRS
from dashboards.render import draw
from keyweave.v1 import emulator_pb2
from tests.chaos.live import Live, running
from tests.chaos.monitoring import RULES, Monitoring, metric_names, watching
from tests.waiting import eventually

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.slow, pytest.mark.timeout(400)]
# Whether a pool falls over a quarter of an hour is up to the applications: promtool's cases hold what follows
# (tests/unit/rule_cases.py). What it is made of must be there.
OF_FALLING_POOLS = {"keyweave:link_pool:seconds_to_empty"}
ROOT = Path(__file__).parents[2]
SCENARIO = ROOT / "scenarios" / "tokyo.yaml"
BOARDS = {
    file.stem: json.loads(file.read_text()) for file in (ROOT / "dashboards" / "generated").glob("*.json")
}
CUT, WARMING = "toshiba", "all-vienna"
# Relayed over one or more other nodes, whatever way.
RELAYED = "ministry"
PATIENCE = 90.0
PACE = {"bank-settlement": 0.6, "ministry": 1.1, "grid-control": 1.1, "hospital-records": 4.1}


@dataclass
class Watched:
    """A network, and who watches it."""

    live: Live
    monitoring: Monitoring
    began: float

    @property
    def shown(self) -> Prometheus:
        """What a dashboard would show now: everything since the beginning."""
        return Prometheus(self.monitoring.prometheus, self.began, time.time(), rate_interval="10s")

    async def all_up(self) -> bool:
        """Whether every page is scraped, under its job and node."""
        up = await self.monitoring.series("up == 1")
        found = {(each["metric"]["job"], each["metric"].get("node", "")) for each in up}
        nodes = {("keyweave-agent", node.name) for node in self.live.layout.scenario.nodes}
        return found == nodes | {("keyweave-controller", "")}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def watched(
    tmp_path_factory: pytest.TempPathFactory, outside_program: Callable[[str], str]
) -> AsyncIterator[Watched]:
    """The Tokyo network with applications that fetch keys, one link cut and mended, one that drifts."""
    root = tmp_path_factory.mktemp("monitoring")
    async with running(SCENARIO, root) as live:
        began = time.time()
        async with watching(outside_program, root, live.state.targets_file) as monitoring, live.traffic(PACE):
            watched = Watched(live, monitoring, began)
            # Counters that move before they were seen at rest show no increase.
            await eventually(watched.all_up, PATIENCE, "all pages scraped")
            yield watched


async def test_a_cut_fibre_is_told_by_alertmanager_and_so_is_its_end(watched: Watched) -> None:
    live, monitoring = watched.live, watched.monitoring
    await live.cut(CUT)

    async def told() -> Any:
        return monitoring.told("KeyweaveLinkDown", "firing", link=CUT)

    alert = await eventually(told, PATIENCE, "Alertmanager tells that the link is down")
    assert alert["labels"]["severity"] == "critical"
    assert alert["annotations"]["summary"] == f"Link {CUT} is down"
    runbook = alert["annotations"]["runbook_url"].partition("/docs/")[2]
    assert (ROOT / "docs" / runbook).exists()
    assert monitoring.told("KeyweaveLinkDown", "resolved", link=CUT) is None
    await live.restore(CUT)

    async def over() -> Any:
        return monitoring.told("KeyweaveLinkDown", "resolved", link=CUT)

    await eventually(over, PATIENCE, "Alertmanager tells that it is over")
    assert monitoring.told("KeyweaveLinkDown", "firing", link="id-quantique") is None


async def test_a_detector_that_warms_up_is_told_of(watched: Watched) -> None:
    await watched.live.fault(WARMING, emulator_pb2.FAULT_KIND_DETECTOR, 4)

    async def told() -> Any:
        return watched.monitoring.told(
            "KeyweaveDetectorOutOfRange", "firing", link=WARMING, quantity="temperature"
        )

    await eventually(told, PATIENCE, "Alertmanager tells that a detector is too warm")


async def test_a_silent_agent_is_told_of_and_the_failover_that_it_forces_is_counted(
    watched: Watched,
) -> None:
    live, monitoring = watched.live, watched.monitoring
    fetched = await live.fetch(RELAYED)
    assert fetched.ok, fetched
    ends = {link.name: set(link.ends) for link in live.layout.scenario.links}
    first, second = fetched.links[:2]
    (relay,) = ends[first] & ends[second]
    go_on = live.stop(f"agent-{relay}")
    try:

        async def told() -> Any:
            return monitoring.told("KeyweaveAgentLost", "firing", node=relay)

        await eventually(told, PATIENCE, "Alertmanager tells that the agent is lost")

        async def counted() -> Any:
            return await monitoring.series("sum(keyweave_stream_failover_duration_seconds_count) > 0")

        await eventually(counted, PATIENCE, "a failover that interrupted a stream")
    finally:
        go_on()


async def test_every_rule_is_evaluated_and_all_that_it_asks_for_is_there(watched: Watched) -> None:
    groups = (await watched.monitoring.api("rules"))["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    written = [r for f in RULES for g in yaml.safe_load(f.read_text())["groups"] for r in g["rules"]]
    assert len(rules) == len(written)
    assert [rule["lastError"] for rule in rules if rule["health"] != "ok"] == []
    wanted = metric_names([rule["expr"] for rule in written])
    wanted |= {rule["record"] for rule in written if "record" in rule}
    await _all_there(watched, {name: name for name in wanted - OF_FALLING_POOLS})


def _queries() -> Iterator[tuple[str, str]]:
    """Every query of every dashboard, with where it is."""
    for name, board in BOARDS.items():
        for panel in board["panels"]:
            for target in panel.get("targets") or ():
                yield f"{name}: {panel['title']} {target['refId']}", target["expr"]
        for mark in board["annotations"]["list"]:
            yield f"{name}: annotation {mark['name']}", mark["expr"]


async def test_every_panel_and_annotation_has_had_something_to_show(watched: Watched) -> None:
    elsewhere = OF_PAIRS | OF_FALLING_POOLS
    await _all_there(
        watched, {where: expr for where, expr in _queries() if not metric_names([expr]) & elsewhere}
    )


async def _all_there(watched: Watched, wanted: dict[str, str]) -> None:
    """Wait until each query has had series at some time since the beginning."""
    missing = dict(wanted)

    async def look() -> bool:
        shown = watched.shown
        for where, expr in list(missing.items()):
            # In a thread: it waits for Prometheus, and applications go on meanwhile.
            if await asyncio.to_thread(shown.range, expr):
                del missing[where]
        return not missing

    try:
        await eventually(look, PATIENCE, "all queries have series")
    except AssertionError:
        assert missing == {}


async def test_a_query_that_prometheus_does_not_take_would_be_found(watched: Watched) -> None:
    with pytest.raises(Exception, match="parse error"):
        watched.shown.range("sum by (link (up)")


async def test_the_page_on_metrics_names_all_that_is_exported_and_nothing_else(watched: Watched) -> None:
    endpoints = watched.live.layout.endpoints
    exported: set[str] = set()
    async with httpx.AsyncClient() as client:
        for url in (endpoints.metrics, *endpoints.agent_metrics.values()):
            for family in text_string_to_metric_families((await client.get(url)).text):
                name = family.name + ("_total" if family.type == "counter" else "")
                exported |= {name} if not name.endswith("_created") else set()
    told = re.findall(r"^\| `(\w+)` \|", (ROOT / "docs" / "metrics.md").read_text(), flags=re.MULTILINE)
    assert exported == set(told)


# What nothing happens on here is drawn of another network (docs/pair_pictures.py).
@pytest.mark.parametrize("name", [name for name in BOARDS if name != "entanglement"])
async def test_a_dashboard_can_be_drawn_without_grafana(watched: Watched, name: str, tmp_path: Path) -> None:
    picture = await asyncio.to_thread(draw, BOARDS[name], watched.shown)
    folder = Path(os.environ.get("KEYWEAVE_PICTURES") or tmp_path)
    (folder / f"{name}.png").write_bytes(picture)
    assert picture.startswith(b"\x89PNG")
    assert len(picture) < 150_000
