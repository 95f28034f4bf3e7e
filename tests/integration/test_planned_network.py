"""Windows, schedules and going back to a plan, with a real controller: what agents are told, what lasts."""

import asyncio
import json
import signal
import sys
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import yaml

from keyweave.common.tls import secure_channel
from keyweave.v1 import admin_pb2 as pb
from keyweave.v1 import admin_pb2_grpc, types_pb2
from tests.integration.test_controller import CONTROLLER, OPERATOR, Agent, Running, Site, agents, site
from tests.waiting import eventually

# Fixtures, found by their names.
__all__ = ["agents", "site"]
NANOS = 10**9
PATIENCE_SECONDS = 60.0


def window(link: str, lasts: float = 3600.0) -> types_pb2.Maintenance:
    now = time.time_ns()
    return types_pb2.Maintenance(
        name="w", links=[link], start_unix_nanos=now, end_unix_nanos=now + int(lasts * NANOS)
    )


async def condition(controller: Running, link: str) -> int:
    return (await controller.admin.GetLink(pb.GetLinkRequest(name=link))).link.condition


async def kept(controller: Running) -> list[pb.PlanRecord]:
    return list((await controller.admin.ListPlans(pb.ListPlansRequest())).plans)


async def test_streams_leave_for_a_window_that_outlasts_the_controller_and_a_plan_brings_them_back(
    site: Site, agents: dict[str, Agent]
) -> None:
    async with site.controller() as controller:
        await controller.create_network()
        async with controller.connected(agents):
            await agents["a"].until(lambda agent: bool(agent.first_hops()))
            (over,) = agents["a"].first_hops()
            other = "n" if over == "m" else "m"

            async def first_is_kept() -> list[pb.PlanRecord]:
                return [one for one in await kept(controller) if one.in_force]

            (before,) = await eventually(first_is_kept, PATIENCE_SECONDS, "the first plan is kept")
            schedule = types_pb2.Schedule(name="x", refresh_seconds=7)
            await controller.admin.CreateSchedule(pb.CreateScheduleRequest(schedule=schedule))
            for name in "ab":
                await agents[name].until(lambda agent: agent.stream().refresh_seconds == 7)
            await controller.admin.CreateMaintenance(
                pb.CreateMaintenanceRequest(maintenance=window(f"a-{over}"))
            )
            for name in "ab":
                await agents[name].until(lambda agent: agent.first_hops() == {other})
            assert await condition(controller, f"a-{over}") == types_pb2.LINK_CONDITION_MAINTENANCE
    async with site.controller() as controller, controller.connected(agents):
        assert await condition(controller, f"a-{over}") == types_pb2.LINK_CONDITION_MAINTENANCE
        status = (await controller.admin.GetStream(pb.GetStreamRequest(name="s"))).stream
        assert (status.refresh_seconds, status.refresh_from) == (7, "schedule x")
        await controller.admin.EndMaintenance(pb.EndMaintenanceRequest(name="w"))

        async def is_back() -> bool:
            return await condition(controller, f"a-{over}") == types_pb2.LINK_CONDITION_OK

        await eventually(is_back, PATIENCE_SECONDS, "the link is in use again")
        rolled = await controller.admin.RollbackPlan(pb.RollbackPlanRequest(version=before.version))
        assert list(rolled.pin.streams) == ["s"]
        for name in "ab":
            await agents[name].until(lambda agent: agent.first_hops() == {over})
        answer = await controller.admin.GetPlan(pb.GetPlanRequest())
        assert answer.pin == rolled.pin
        assert answer.plan.version > before.version


@asynccontextmanager
async def process(site: Site) -> AsyncIterator[tuple[asyncio.subprocess.Process, Any]]:
    """A controller as a process of its own, and its admin API; killed at the end."""
    tls = site.files(CONTROLLER)
    ready = site.directory / "ready.json"
    ready.unlink(missing_ok=True)
    config = {
        "state_dir": str(site.directory / "state"),
        "ready_file": str(ready),
        "tls": {name: str(getattr(tls, name)) for name in ("certificate", "private_key", "trust_anchor")},
    }
    path = site.directory / "controller.yaml"
    path.write_text(yaml.safe_dump(config))
    run = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "keyweave.cli", "controller", "--config", str(path)),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )

    async def is_ready() -> bool:
        assert run.returncode is None
        return ready.exists()

    try:
        await eventually(is_ready, PATIENCE_SECONDS, "the controller is ready")
        address = json.loads(ready.read_text())["admin"]
        async with secure_channel(address, site.files(OPERATOR), CONTROLLER) as channel:
            yield run, admin_pb2_grpc.AdminServiceStub(channel)
    finally:
        if run.returncode is None:
            run.send_signal(signal.SIGKILL)
        await run.wait()


async def test_what_was_acknowledged_and_its_request_id_survive_a_kill(site: Site) -> None:
    node = pb.CreateNodeRequest(node=types_pb2.Node(name="a"), request_id=str(uuid.uuid4()))
    maintenance = types_pb2.Maintenance(
        name="w", nodes=["a"], start_unix_nanos=time.time_ns(), end_unix_nanos=time.time_ns() + 10**13
    )
    planned = pb.CreateMaintenanceRequest(maintenance=maintenance, request_id=str(uuid.uuid4()))
    async with process(site) as (run, admin):
        made = await admin.CreateNode(node, timeout=PATIENCE_SECONDS)
        first = await admin.CreateMaintenance(planned, timeout=PATIENCE_SECONDS)
        run.send_signal(signal.SIGKILL)
        await run.wait()
    async with process(site) as (_, admin):
        assert await admin.CreateNode(node, timeout=PATIENCE_SECONDS) == made
        assert await admin.CreateMaintenance(planned, timeout=PATIENCE_SECONDS) == first
        (listed,) = (await admin.ListMaintenances(pb.ListMaintenancesRequest())).maintenances
        assert listed.maintenance == first.maintenance
        assert listed.phase == pb.MAINTENANCE_PHASE_UNDER_WAY
