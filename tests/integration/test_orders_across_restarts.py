"""An order and a controller that goes: real store, real sockets, agents of a few lines."""

from pathlib import Path

import pytest

from keyweave.common.identity import Plane
from keyweave.common.pki import Authority
from keyweave.v1 import admin_pb2 as pb
from tests.integration.test_controller import LINKS, Agent, Running, Site


@pytest.fixture
def site(tmp_path: Path) -> Site:
    authority = Authority.create(Plane.CONTROL)
    (tmp_path / "ca.pem").write_bytes(authority.credential.certificate)
    made = Site(tmp_path, authority)
    made.revoke()
    return made


def agent(name: str) -> Agent:
    return Agent(name, tuple(link for link, a, b in LINKS if name in (a, b)))


async def orders(controller: Running) -> list[pb.Order]:
    return list((await controller.admin.GetStatus(pb.GetStatusRequest())).orders)


async def test_an_order_for_an_agent_that_is_away_outlives_the_controller_and_is_given_once(
    site: Site,
) -> None:
    a, m = agent("a"), agent("m")
    async with site.controller() as controller:
        await controller.create_network()
        async with controller.connected({"a": a}):
            await a.until(lambda agent: "link/a-m" in agent.policy.rules)
            order = (await controller.admin.DestroyLink(pb.DestroyLinkRequest(name="a-m"))).order
            rule_id = f"order/{order.order_id}"
            await a.until(lambda agent: rule_id in agent.policy.rules)
    async with site.controller() as controller:
        assert [waiting.order_id for waiting in await orders(controller)] == [order.order_id]
        a.received.clear()
        async with controller.connected({"a": a}):
            # It has the rule, and is told that this is right: nothing to be carried out again.
            await a.until(lambda agent: agent.received.count("heartbeat") >= 2)
            assert rule_id in a.policy.rules
            assert set(a.received) == {"heartbeat"}
            async with controller.connected({"m": m}):
                await a.until(lambda agent: rule_id not in agent.policy.rules)
                await m.until(lambda agent: agent.policy.digest != b"" and rule_id not in agent.policy.rules)
                assert await orders(controller) == []
                events = await controller.events()
        assert [kind for kind in events if kind.startswith("order_")] == ["order_given", "order_completed"]
    async with site.controller() as controller:
        assert await orders(controller) == []
