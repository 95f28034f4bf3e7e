"""Entangled pairs over real processes: from a request to keys at both ends, and on when fibres break."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from keyweave.v1 import admin_pb2, emulator_pb2
from tests.chaos.live import Fetched, Live, running
from tests.waiting import eventually

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(420)]
SCENARIO = Path(__file__).with_name("entangled.yaml")
STATE = admin_pb2.PairStreamState


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def ring(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Live]:
    """Four nodes for all tests of this file; whatever they did, the invariants must have held."""
    async with running(SCENARIO, tmp_path_factory.mktemp("entangled")) as live:
        yield live
        assert live.violations() == []


async def pairs(live: Live) -> admin_pb2.PairStreamStatus:
    """The one pair stream."""
    request = admin_pb2.GetPairStreamRequest(name="pairs")
    return (await live.admin.GetPairStream(request, timeout=5)).pair_stream


async def key_of(live: Live, protections: set[str], within_seconds: float) -> Fetched:
    """The first key that is protected so, as both applications got it."""

    async def look() -> Fetched | None:
        got = await live.fetch("untrusting")
        return got if got.ok and got.protection in protections else None

    got = await eventually(look, within_seconds, f"a key protected by {' or '.join(sorted(protections))}")
    assert got is not None
    return got


async def delivered_over(live: Live, link: str) -> None:
    """Wait until pairs come by a plan with this link."""
    status = await pairs(live)

    async def look() -> bool:
        now = await pairs(live)
        crossed = {each for path in now.paths for each in path.links}
        return link in crossed and now.delivered_total > status.delivered_total + 20

    await eventually(look, 60, f"pairs over link {link}")


async def test_pairs_become_keys_that_no_node_between_has_seen(ring: Live) -> None:
    await delivered_over(ring, "ab")
    key = await key_of(ring, {"qkd", "hybrid"}, 240)
    assert key.links == ("ad",)
    extension = key.keys[0]["key_extension"]
    assert extension["keyweave_trusted_nodes"] == []
    assert extension["keyweave_emulated"] is True


async def test_a_bell_inequality_is_violated(ring: Live) -> None:
    answer = await ring.admin.RunBellTest(admin_pb2.RunBellTestRequest(name="pairs", pairs=400), timeout=120)
    assert answer.s_low > 2.0


async def test_pairs_go_over_other_nodes_when_memories_fail_or_fade(ring: Live) -> None:
    await delivered_over(ring, "bd")
    await ring.fault_memories("b", emulator_pb2.FAULT_KIND_MEMORY_FAILURE, 23)
    await delivered_over(ring, "cd")
    assert await ring.events("memory_failed")
    await ring.emulator.RestoreNode(emulator_pb2.RestoreNodeRequest(node="b"), timeout=5)
    # As fast as that, a pair is worth less than the stream asks for before it is swapped.
    await ring.fault_memories("c", emulator_pb2.FAULT_KIND_DECOHERENCE, 10_000)
    await delivered_over(ring, "bd")
    await ring.emulator.RestoreNode(emulator_pb2.RestoreNodeRequest(node="c"), timeout=5)


async def test_pairs_take_the_other_way_when_a_fibre_is_cut_and_keys_go_on_without_pairs(ring: Live) -> None:
    await ring.cut("bd")
    await delivered_over(ring, "cd")
    await ring.cut("ac")

    async def unmet() -> bool:
        status = await pairs(ring)
        return status.state == STATE.PAIR_STREAM_STATE_UNMET and bool(status.reason)

    await eventually(unmet, 60, "the pair stream is told that it cannot be met")
    key = await key_of(ring, {"pqc"}, 90)
    assert key.links == ()
    await ring.restore("bd")
    await ring.restore("ac")
    await delivered_over(ring, "bd")
