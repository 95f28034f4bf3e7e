"""Orders on real processes: kill -9 of the controller between giving one and its being carried out."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from keyweave.v1 import admin_pb2, types_pb2
from tests.chaos.live import Live, running
from tests.waiting import eventually

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(400)]
SCENARIO = Path(__file__).with_name("triangle.yaml")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def triangle(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Live]:
    """Three nodes for all tests of this file; whatever they did, the invariants must have held."""
    async with running(SCENARIO, tmp_path_factory.mktemp("triangle")) as live:
        yield live
        assert live.violations() == []


def carried_out(live: Live, node: str, order_id: str) -> int:
    """How often an agent has carried out an order."""
    lines = live.state.log(f"agent-{node}").read_text().splitlines()
    return sum("order_carried_out" in line and order_id in line for line in lines)


async def over(live: Live, order_id: str) -> None:
    """Wait until an order has left the network."""

    async def look() -> bool:
        ended = await live.events("order_completed")
        waiting = (await live.status()).orders
        return any(e.fields["order"] == order_id for e in ended) and not waiting

    await eventually(look, 30, f"order {order_id} completed")


async def test_an_order_is_carried_out_once_at_both_ends_though_the_controller_is_killed_twice(
    triangle: Live,
) -> None:
    await triangle.wait_ready()
    resume = triangle.stop("agent-b")
    try:
        order = (await triangle.admin.DestroyLink(admin_pb2.DestroyLinkRequest(name="ab"))).order
        for _ in range(2):
            old = triangle.kill("controller")
            await triangle.wait_restarted("controller", old)

            async def a_has_done_it() -> bool:
                return carried_out(triangle, "a", order.order_id) == 1

            await eventually(a_has_done_it, 20, "a carries out the order")
            (waiting,) = (await triangle.status()).orders
            assert waiting.order_id == order.order_id
            assert "b" in waiting.waiting_for_nodes
    finally:
        resume()
    await over(triangle, order.order_id)
    assert [carried_out(triangle, node, order.order_id) for node in "abc"] == [1, 1, 0]
    await triangle.wait_ready()


async def test_a_zeroized_node_lost_its_keys_once_goes_on_and_its_ledger_says_what_became_of_them(
    triangle: Live,
) -> None:
    await triangle.wait_ready()
    # Until both ends' ledgers have it.
    fetched = await triangle.fetch("anyhow")
    assert fetched.ok
    order = (await triangle.admin.ZeroizeNode(admin_pb2.ZeroizeNodeRequest(name="a"))).order
    await over(triangle, order.order_id)
    assert [carried_out(triangle, node, order.order_id) for node in "abc"] == [1, 0, 0]

    async def told() -> bool:
        # Its acknowledgement and its event come by streams of their own.
        return bool(await triangle.events("zeroized"))

    await eventually(told, 60, "the event of the order")
    assert len(await triangle.events("zeroized")) == 1
    await triangle.wait_ready()
    request = admin_pb2.ShowLedgerRequest(stream="anyhow")
    answers = [answer async for answer in triangle.admin.ShowLedger(request, timeout=20)]
    assert [answer.problem for answer in answers if answer.problem] == []
    lines = [entry for answer in answers for entry in answer.entries]
    assert [entry.time_unix_nanos for entry in lines] == sorted(entry.time_unix_nanos for entry in lines)
    key_id = fetched.keys[0]["key_ID"]
    delivered = {
        e.node for e in lines if e.key_id == key_id and e.outcome == types_pb2.LEDGER_OUTCOME_DELIVERED
    }
    assert delivered == {triangle.streams["anyhow"].source_node, triangle.streams["anyhow"].target_node}
    assert any(e.node == "a" and e.outcome == types_pb2.LEDGER_OUTCOME_DESTROYED for e in lines)


async def test_a_link_is_calibrated_by_order_and_comes_back(triangle: Live) -> None:
    await triangle.wait_ready()
    order = (await triangle.admin.CalibrateLink(admin_pb2.CalibrateLinkRequest(name="bc"))).order

    async def has(condition: types_pb2.LinkCondition) -> bool:
        (state,) = [each for each in (await triangle.status()).links if each.link.name == "bc"]
        return state.condition == condition

    await eventually(lambda: has(types_pb2.LINK_CONDITION_DEGRADED), 20, "the link calibrates")
    await eventually(lambda: has(types_pb2.LINK_CONDITION_OK), 20, "the link is back")
    await over(triangle, order.order_id)
    asked = await triangle.events("calibration_asked")
    assert {(event.node, event.link) for event in asked} == {("b", "bc"), ("c", "bc")}
    assert all("the device was asked" in event.message for event in asked)
