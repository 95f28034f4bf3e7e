"""kill -9 of anything, while clients fetch keys at both ends; and controllers that must not be obeyed."""

import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
import yaml

from keyweave.common.tls import TlsFiles
from keyweave.v1 import admin_pb2, agent_pb2, types_pb2
from tests.chaos.impostor import Impostor, reigning
from tests.chaos.live import Live, running
from tests.checker.history import PadUsed
from tests.waiting import eventually

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(400)]
SCENARIO = Path(__file__).with_name("triangle.yaml")
PACE = {"quantum": 0.3, "anyhow": 0.3}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def triangle(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Live]:
    """Three nodes for all tests of this file; whatever they did, the invariants must have held."""
    async with running(SCENARIO, tmp_path_factory.mktemp("triangle")) as live:
        yield live
        assert live.violations() == []


async def _digests(live: Live) -> dict[str, bytes]:
    return {n.node.name: n.applied_policy.digest for n in (await live.status()).nodes}


async def test_killing_the_controller_stops_no_key_and_its_restart_withdraws_nothing(triangle: Live) -> None:
    await triangle.wait_ready()
    before, epoch = await _digests(triangle), (await triangle.status()).epoch
    destroyed = len(await triangle.events("keys_destroyed"))
    async with triangle.traffic(PACE) as results:
        old = triangle.kill("controller")
        await triangle.wait_restarted("controller", old)
        await triangle.wait_ready()
        after = await triangle.status()
        assert after.epoch == epoch + 1
        assert all(n.applied_policy.epoch == epoch + 1 for n in after.nodes)
        assert await _digests(triangle) == before, "resumed by digest: the same rules under a new epoch"
        assert {s.stream.name for s in after.streams} == {"quantum", "anyhow"}
        seen = len(results)

        async def more() -> bool:
            return len(results) > seen + 4

        await eventually(more, 60, "keys after the restart")
    assert [r for r in results if not r.ok] == []
    assert len(await triangle.events("keys_destroyed")) == destroyed


async def test_agents_go_on_without_a_controller_and_report_that_their_lease_ran_out(triangle: Live) -> None:
    def expiries() -> list[int]:
        logs = (triangle.state.log(f"agent-{node}").read_text() for node in "abc")
        return [log.count("policy_lease_expired") for log in logs]

    # Leases may have run out before, while another test had the controller down.
    began, before = time.time(), expiries()
    resume = triangle.stop("controller")
    try:
        async with triangle.traffic(PACE) as results:

            async def lease_is_over() -> bool:
                return all(now > then for now, then in zip(expiries(), before, strict=True))

            await eventually(lease_is_over, 90, "all three leases expired")
        assert len(results) > 10
        assert [r for r in results if not r.ok] == []
    finally:
        resume()
    await triangle.wait_ready()

    async def reported() -> bool:
        events = await triangle.events("lease_expired")
        return {e.node for e in events if e.time_unix_nanos / 1e9 > began} == {"a", "b", "c"}

    await eventually(reported, 60, "lease_expired of every agent")


async def test_an_acknowledged_stream_survives_a_kill_right_after(triangle: Live) -> None:
    stream = types_pb2.Stream(
        name="late",
        source_node="b",
        target_node="c",
        source_sae="late-b",
        target_sae="late-c",
        accept_strongest_available=True,
    )
    await triangle.admin.CreateStream(admin_pb2.CreateStreamRequest(stream=stream))
    old = triangle.kill("controller")
    await triangle.wait_restarted("controller", old)
    await triangle.wait_ready()
    answer = await triangle.admin.GetStream(admin_pb2.GetStreamRequest(name="late"))
    assert answer.stream.stream.source_sae == "late-b"
    await triangle.admin.DeleteStream(admin_pb2.DeleteStreamRequest(name="late"))


def _uses(live: Live, *links: str) -> list[PadUsed]:
    return [use for use in live.history().of(PadUsed) if use.link in links]


async def _only_new_pools(live: Live, links: tuple[str, ...], before: set[str]) -> None:
    """Fetch until pads of these links are used again: from pools begun since."""
    seen = len(_uses(live, *links))

    async def used() -> bool:
        return (await live.fetch("quantum")).ok and len(_uses(live, *links)) > seen

    await eventually(used, 90, f"keys over {links}")
    assert not {use.pool_id for use in _uses(live, *links)[seen:]} & before


async def test_a_killed_agent_costs_its_pools_and_undelivered_keys_and_nothing_else(triangle: Live) -> None:
    await triangle.wait_ready()
    orphan = (await triangle.encrypt_keys("quantum")).json()["keys"][0]["key_ID"]
    pools = {use.pool_id for use in _uses(triangle, "ab", "bc")}
    old = triangle.kill("agent-b")

    # Whether the gap is seen depends on how soon the agent is back; what must not be is a key it lost.
    async with triangle.traffic({"anyhow": 0.3}) as others:
        await triangle.wait_restarted("agent-b", old)
        await triangle.wait_ready()
    assert [r for r in others if not r.ok] == [], "streams between other nodes are not touched"
    lost = await triangle.decrypt_keys("quantum", [orphan])
    assert lost.status_code == 400, "drawn and never collected: counted as lost"

    await _only_new_pools(triangle, ("ab", "bc"), pools)
    destroyed = await triangle.events("keys_destroyed")
    assert any(e.node == "a" and e.stream == "quantum" and "restarted" in e.message for e in destroyed)


async def test_both_agents_of_a_link_killed_at_once_begin_a_new_pool(triangle: Live) -> None:
    await triangle.wait_ready()
    pools = {use.pool_id for use in _uses(triangle, "ab", "bc", "ac")}
    killed = {name: triangle.kill(name) for name in ("agent-a", "agent-b")}
    for name, old in killed.items():
        await triangle.wait_restarted(name, old)
    await triangle.wait_ready()

    await _only_new_pools(triangle, ("ab", "bc", "ac"), pools)


async def test_a_silent_far_agent_means_503_and_no_key(triangle: Live) -> None:
    await triangle.wait_ready()
    resume = triangle.stop("agent-b")
    try:

        async def refused() -> bool:
            return (await triangle.encrypt_keys("quantum")).status_code == 503

        await eventually(refused, 60, "503 for a stream to a silent agent")
    finally:
        resume()
    await triangle.wait_ready()


async def test_a_controller_of_an_older_epoch_and_one_with_a_bad_rule_are_refused(tmp_path: Path) -> None:
    async with running(SCENARIO, tmp_path, restart=False) as live:
        epoch = (await live.status()).epoch
        address = live.layout.endpoints.admin
        tls = _controller_tls(live)
        await live.kill_for_good("controller")

        async with reigning(Impostor(epoch - 1), address, tls) as old:
            await _all_answered(old.nacks)
            assert old.acks == {}
            assert "older" in old.nacks["a"].rules[0].status.message

        bad = agent_pb2.Rule(
            rule_id="link/ab", link=agent_pb2.LinkRule(link="ab", peer_node="b", abort_qber_ratio=0.7)
        )
        good = agent_pb2.Rule(
            rule_id="peer/z", peer=agent_pb2.PeerRule(node="z", key_plane_address="127.0.0.1:9")
        )
        async with reigning(Impostor(epoch + 1, (bad, good)), address, tls) as careless:
            await _all_answered(careless.nacks)
            assert careless.acks == {}
            assert [rule.rule_id for rule in careless.nacks["a"].rules] == ["link/ab"]
        for name in live.streams:
            assert (await live.fetch(name)).ok, "the old policy is whole"
        assert live.violations() == []


def _controller_tls(live: Live) -> TlsFiles:
    config = yaml.safe_load(live.state.config("controller").read_text(encoding="utf-8"))
    return TlsFiles.model_validate(config["tls"])


async def _all_answered(answers: dict[str, agent_pb2.PolicyNack]) -> None:
    async def look() -> bool:
        return answers.keys() == {"a", "b", "c"}

    await eventually(look, 60, "an answer of every agent")
