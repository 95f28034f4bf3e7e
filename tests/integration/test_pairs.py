"""Pairs over real sockets: three agents and an emulator, a chain of two links, on policy written by hand."""

import asyncio
from collections.abc import AsyncIterator
from itertools import pairwise
from typing import Any

import pytest
import pytest_asyncio

from keyweave.agent.pairs.engine import Engine
from keyweave.agent.pairs.fidelity import Axis
from keyweave.common.names import NodeName, StreamName
from keyweave.v1 import agent_pb2, pairs_pb2
from tests.integration import mesh
from tests.unit.pair_lab import path_rules
from tests.waiting import eventually

NODES = tuple(map(NodeName, "abc"))
HERALDING = {"kind": "double-click", "visibility_ratio": 0.98}
SCENARIO = {
    "nodes": [
        {"name": node, "memories": {"count": 8, "t2_seconds": 20, "readout_fidelity": 0.99}} for node in NODES
    ],
    "links": [],
    "pair_links": [
        {"name": f"{a}-{b}", "a": a, "b": b, "length_km": 1, "heralding": HERALDING, "attempt_rate_hz": 200}
        for a, b in pairwise(NODES)
    ],
}
DEADLINE = 60

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(180)]


def rules_of(node: NodeName) -> list[agent_pb2.Rule]:
    """A stream whose pairs are measured, one whose pairs are kept, and tests of both links."""
    paths = [
        path_rules(NODES, stream="md", path_id="md:1", kind="md", test_ratio=0.3, rate_hz=50),
        path_rules(NODES, stream="ck", path_id="ck:1", kind="ck", width=1, cutoff_seconds=20),
    ]
    found = [
        agent_pb2.Rule(rule_id=f"pair/{rule.stream}/{rule.path_id}", pair=rule)
        for rule in (path[node] for path in paths)
    ]
    for a, b in pairwise(NODES):
        if node in (a, b):
            peer = b if node == a else a
            test = pairs_pb2.PairLinkRule(link=f"{a}-{b}", peer_node=peer, test_rate_hz=20)
            found.append(agent_pb2.Rule(rule_id=f"pair-link/{a}-{b}", pair_link=test))
    return found


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def net(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[mesh.Mesh]:
    async with mesh.running(
        tmp_path_factory.mktemp("pairs"),
        ("a-b", "b-c"),
        scenario=SCENARIO,
        rules={node: rules_of(node) for node in NODES},
    ) as running:
        yield running


def engine(net: mesh.Mesh, node: str) -> Engine:
    """Of a running agent."""
    return net.agents[node].agent.pairs.engine


async def outcomes(net: mesh.Mesh, node: str, into: dict[int, dict[str, Any]]) -> dict[int, dict[str, Any]]:
    """All that the application at a node has had, by number."""
    answer = (await net.pairs(node, "md")).json()
    return into | {each["number"]: each for each in answer["outcomes"]}


async def test_applications_at_both_ends_get_outcomes_that_agree(net: mesh.Mesh) -> None:
    here: dict[int, dict[str, Any]] = {}
    there: dict[int, dict[str, Any]] = {}

    async def enough() -> list[int]:
        nonlocal here, there
        here, there = await outcomes(net, "a", here), await outcomes(net, "c", there)
        same = [n for n in here.keys() & there.keys() if here[n]["basis"] == there[n]["basis"]]
        return same if len(same) >= 60 else []

    same = await eventually(enough, DEADLINE, "sixty outcomes in one basis")
    wrong = sum(here[n]["bit"] != there[n]["bit"] for n in same)
    assert wrong < 0.2 * len(same)
    assert all(here[n]["pair_ID"] == there[n]["pair_ID"] for n in same)


async def test_kept_pairs_wait_at_both_ends_until_they_are_measured(net: mesh.Mesh) -> None:
    async def kept() -> set[str]:
        answers = [(await net.pairs(node, "ck")).json()["pairs"] for node in ("a", "c")]
        first, second = ({(pair["pair_ID"], pair["number"]) for pair in answer} for answer in answers)
        return {pair_id for pair_id, _ in first & second}

    pair_id = min(await eventually(kept, DEADLINE, "a pair is kept at both ends"))
    asked = {"pair_ID": pair_id, "basis": "X"}
    first, second = await net.pairs("a", "ck", asked), await net.pairs("c", "ck", asked)
    assert (first.status_code, second.status_code) == (200, 200)
    assert first.json()["number"] == second.json()["number"]
    assert first.json()["basis"] == "X"
    again = await net.pairs("a", "ck", asked)
    assert again.status_code == 400
    assert "pair_ID" in again.json()["message"]


async def test_links_are_tested_and_told_of(net: mesh.Mesh) -> None:
    async def tested() -> pairs_pb2.PairLinkCounts | None:
        batch = agent_pb2.TelemetryBatch()
        net.agents["a"].agent._observe(batch)  # what goes to the controller
        (link,) = batch.pair_links
        tests = link.tests
        return link if min(tests.x_total, tests.y_total, tests.z_total) >= 5 else None

    link = await eventually(tested, DEADLINE, "five tests along each axis")
    assert link is not None
    assert link.heralds_total > 0
    assert link.attempting_seconds_total > 0
    hello = net.agents["b"].agent.hello
    assert hello.memory_bank.memories == 8
    assert [(end.link, end.peer_node) for end in hello.pair_link_ends] == [("a-b", "a"), ("b-c", "c")]


async def test_a_bell_inequality_is_violated(net: mesh.Mesh) -> None:
    plane = net.agents["a"].agent.pairs
    query = agent_pb2.BellTestQuery(stream="md", pairs=120)
    async with asyncio.timeout(DEADLINE):
        result = await plane.bell_test(query)
    assert not result.problem
    assert sum(result.pairs) == 120
    e = [2 * equal / pairs - 1 for equal, pairs in zip(result.equal, result.pairs, strict=True)]
    # Of 120 pairs S has a standard deviation of about 0.25; F is above 0.93, S above 2.5.
    assert e[0] + e[1] + e[2] - e[3] > 1.7


async def test_a_bell_test_is_of_a_stream_that_begins_here(net: mesh.Mesh) -> None:
    for node, stream in (("c", "md"), ("a", "nothing")):
        query = agent_pb2.BellTestQuery(stream=stream, pairs=16)
        result = await net.agents[node].agent.pairs.bell_test(query)
        assert "begins" in result.problem


async def test_a_node_that_restarts_takes_part_again(net: mesh.Mesh) -> None:
    for node in ("b", "a"):
        await net.stop(node)
        await net.start(node)
    before = engine(net, "c").counts.delivered_total(StreamName("md"))

    async def more() -> bool:
        return engine(net, "c").counts.delivered_total(StreamName("md")) > before + 10

    await eventually(more, DEADLINE, "pairs are delivered again")


async def test_the_fidelity_of_a_stream_is_estimated(net: mesh.Mesh) -> None:
    tests = engine(net, "a").counts.of_stream(StreamName("md")).tests

    async def enough() -> bool:
        return min(tests.total[axis] for axis in Axis) >= 20

    await eventually(enough, DEADLINE, "twenty tests along each axis")
    assert tests.fidelity is not None
    # Two links of 0.99 swapped give 0.98.
    assert tests.fidelity > 0.85
