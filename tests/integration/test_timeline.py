"""A scenario with a timeline, as real processes: what breaks and mends by itself is seen."""

import asyncio
from pathlib import Path

from keyweave.cli.connection import Network
from keyweave.cli.up.layout import Layout
from keyweave.cli.up.supervisor import Supervisor
from keyweave.v1 import admin_pb2, types_pb2

SPEED = 20.0
# The cut comes 30 s after the emulator's start, so that the network is up by then, and lasts 10 s.
SCENARIO = """
name: cut-and-back
nodes: [{name: a}, {name: b}]
links:
  - {name: ab, a: a, b: b, technology: DV-QKD, length_km: 10, loss_db: 3, qber_ratio: 0.02, skr_bps: 200000}
timeline:
  - {at_seconds: 600, fault: cut, link: ab, duration_seconds: 200}
streams:
  - {name: s, source_node: a, target_node: b, source_sae: alice, target_sae: bob, require_qkd: true}
"""


async def test_a_link_goes_down_and_comes_back_by_itself_at_speed_20(tmp_path: Path) -> None:
    scenario = tmp_path / "scenario.yaml"
    scenario.write_text(SCENARIO)
    conditions: list[types_pb2.LinkCondition] = []

    async def watch(layout: Layout) -> None:
        async with asyncio.timeout(90), Network(layout.state).admin() as admin:
            async for _ in admin.WatchEvents(admin_pb2.WatchEventsRequest(past=1)):
                status = await admin.GetStatus(admin_pb2.GetStatusRequest())
                now = status.links[0].condition
                if not conditions or conditions[-1] != now:
                    conditions.append(now)
                if types_pb2.LINK_CONDITION_DOWN in conditions and now == types_pb2.LINK_CONDITION_OK:
                    return

    await Supervisor(scenario, tmp_path / "state", speed=SPEED).run(asyncio.Event(), watch)
    down = conditions.index(types_pb2.LINK_CONDITION_DOWN)
    assert types_pb2.LINK_CONDITION_OK in conditions[:down]
    assert conditions[-1] == types_pb2.LINK_CONDITION_OK
    emulator = (tmp_path / "state" / "logs" / "emulator.log").read_text()
    assert emulator.index("fault_began") < emulator.index("fault_ended")
