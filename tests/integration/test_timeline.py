"""Scenarios with a timeline, as real processes: what breaks and mends by itself is seen by the controller."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from keyweave.cli.connection import Network
from keyweave.cli.up.layout import Layout
from keyweave.cli.up.supervisor import Supervisor
from keyweave.v1 import admin_pb2, types_pb2

SPEED = 20.0
# Again and again, so that one comes after the network is up however long that takes: 15 s of every 40 s.
FAULTS = "\n".join(
    f"  - {{at_seconds: {at}, fault: FAULT, duration_seconds: 300}}" for at in range(200, 6000, 800)
)
SCENARIO = f"""
name: pair
nodes: [{{name: a}}, {{name: b}}]
links:
  - {{name: ab, a: a, b: b, technology: DV-QKD, length_km: 10, loss_db: 3, qber_ratio: 0.02, skr_bps: 200000}}
timeline:
{FAULTS}
streams:
  - {{name: s, source_node: a, target_node: b, source_sae: alice, target_sae: bob, require_qkd: true}}
"""


async def come_and_go(
    directory: Path, fault: str, well: Callable[[admin_pb2.GetStatusResponse], bool | None]
) -> str:
    """Run the scenario until it was well, then not, then well again; what the emulator logged."""
    scenario = directory / "scenario.yaml"
    scenario.write_text(SCENARIO.replace("FAULT", fault))

    async def watch(layout: Layout) -> None:
        wanted = [True, False, True]
        async with asyncio.timeout(200), Network(layout.state).admin() as admin:
            async for _ in admin.WatchEvents(admin_pb2.WatchEventsRequest(past=1)):
                status = await admin.GetStatus(admin_pb2.GetStatusRequest())
                if well(status) is wanted[0]:
                    wanted.pop(0)
                if not wanted:
                    return

    await Supervisor(scenario, directory / "state", speed=SPEED).run(asyncio.Event(), watch)
    return (directory / "state" / "logs" / "emulator.log").read_text()


@pytest.mark.timeout(280)
async def test_a_link_goes_down_and_comes_back_by_itself_at_speed_20(tmp_path: Path) -> None:
    def well(status: admin_pb2.GetStatusResponse) -> bool | None:
        conditions = {types_pb2.LINK_CONDITION_OK: True, types_pb2.LINK_CONDITION_DOWN: False}
        return conditions.get(status.links[0].condition)

    logged = await come_and_go(tmp_path, "cut, link: ab", well)
    assert logged.index("fault_began") < logged.index("fault_ended")


@pytest.mark.timeout(280)
async def test_an_agent_is_parted_from_the_controller_and_comes_back_by_itself(tmp_path: Path) -> None:
    def well(status: admin_pb2.GetStatusResponse) -> bool | None:
        connected = {node.node.name: node.connected for node in status.nodes}
        return connected["b"] if connected["a"] else None

    logged = await come_and_go(tmp_path, "partition, node: b, peer: controller", well)
    assert logged.index("fault_began") < logged.index("fault_ended")
