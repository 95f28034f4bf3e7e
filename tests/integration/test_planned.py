"""Windows, schedules and kept plans over the admin API: what is refused, stored, listed, ended."""

import time
import uuid
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from keyweave.common.identity import Role
from keyweave.common.names import LinkName, StreamName
from keyweave.controller import plan_shelf, routing
from keyweave.controller.admin import changes
from keyweave.controller.admin.maintenance_preview import losses
from keyweave.controller.calendar import Window
from keyweave.controller.intent import Intent
from keyweave.controller.plan_records import PlanRecord
from keyweave.controller.plan_shelf import PLANS_KEPT, packed
from keyweave.controller.stimuli import PlanPinned, SchedulePut, WindowDeleted, WindowPut
from keyweave.controller.topology import NO_PIN, Condition
from keyweave.v1 import admin_pb2 as pb
from keyweave.v1 import types_pb2
from tests.integration.admin_server import AdminServer, serving
from tests.integration.test_admin import new_stream, refusal, violations
from tests.unit.networks import link_view, snapshot, stream

NANOS = 10**9


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[AdminServer]:
    async with serving(tmp_path) as running:
        yield running


def window(
    name: str = "w", *, begins: float = 3600, lasts: float = 600, **fields: Any
) -> types_pb2.Maintenance:
    start = time.time_ns() + int(begins * NANOS)
    base: dict[str, Any] = {"links": ["bc"], "start_unix_nanos": start} | fields
    return types_pb2.Maintenance(name=name, end_unix_nanos=start + int(lasts * NANOS), **base)


def create(spec: types_pb2.Maintenance, **fields: Any) -> pb.CreateMaintenanceRequest:
    return pb.CreateMaintenanceRequest(maintenance=spec, **fields)


# ---- maintenance -----------------------------------------------------------------------------------


async def test_a_window_that_takes_what_a_stream_requires_is_refused_unless_forced(
    server: AdminServer,
) -> None:
    needs = stream("needs", "a", "c", require_qkd=True)
    network = server.controller.network
    server.controller.network = replace(network, streams={**network.streams, needs.name: needs})
    async with server.stub() as stub:
        spec = new_stream("needs", target_node="c")
        await stub.CreateStream(pb.CreateStreamRequest(stream=spec))
        error = await refusal(stub.CreateMaintenance(create(window())))
        assert error.code() is grpc.StatusCode.FAILED_PRECONDITION
        assert "stream 'needs'" in str(error.details())
        assert "stream 's'" not in str(error.details())
        assert (await stub.ListMaintenances(pb.ListMaintenancesRequest())).maintenances == []
        tried = await stub.CreateMaintenance(create(window(), validate_only=True))
        found = {loss.stream: loss.required for loss in tried.losses}
        assert found == {"needs": True, "s": False}
        assert all(not plan.path_sets for plan in tried.plan.streams)
        forced = await stub.CreateMaintenance(create(window(), force=True))
        assert {loss.stream for loss in forced.losses} == {"needs", "s"}
    (put,) = [one for one in server.controller.submitted if isinstance(one, WindowPut)]
    assert put.window.links == {"bc"}


async def test_a_window_goes_through_its_phases_and_can_be_ended_and_deleted(tmp_path: Path) -> None:
    async with serving(tmp_path) as server, server.stub() as stub:
        await stub.CreateMaintenance(create(window("far")))
        await stub.CreateMaintenance(create(window("near", begins=100)))
        now = await stub.CreateMaintenance(create(window("now", begins=-10)))
    async with serving(tmp_path) as server, server.stub() as stub:
        listed = (await stub.ListMaintenances(pb.ListMaintenancesRequest())).maintenances
        assert [(one.maintenance.name, one.phase) for one in listed] == [
            ("far", pb.MAINTENANCE_PHASE_PLANNED),
            ("near", pb.MAINTENANCE_PHASE_LEAVING),
            ("now", pb.MAINTENANCE_PHASE_UNDER_WAY),
        ]
        assert listed[0].streams == ["s"]
        stale = pb.EndMaintenanceRequest(name="now", etag="stale")
        assert (await refusal(stub.EndMaintenance(stale))).code() is grpc.StatusCode.ABORTED
        for name in ("far", "near"):
            error = await refusal(stub.EndMaintenance(pb.EndMaintenanceRequest(name=name)))
            assert error.code() is grpc.StatusCode.FAILED_PRECONDITION
        ended = await stub.EndMaintenance(pb.EndMaintenanceRequest(name="now", etag=now.maintenance.etag))
        assert ended.maintenance.end_unix_nanos <= time.time_ns()
        got = await stub.GetMaintenance(pb.GetMaintenanceRequest(name="now"))
        assert got.maintenance.phase == pb.MAINTENANCE_PHASE_OVER
        await stub.DeleteMaintenance(pb.DeleteMaintenanceRequest(name="far"))
        error = await refusal(stub.GetMaintenance(pb.GetMaintenanceRequest(name="far")))
        assert error.code() is grpc.StatusCode.NOT_FOUND
        assert server.controller.submitted[-1] == WindowDeleted("far")


async def test_what_is_wrong_with_a_window_is_named(server: AdminServer) -> None:
    async with server.stub() as stub:
        wrong = window(links=["zz"])
        found = violations(await refusal(stub.CreateMaintenance(create(wrong))))
        assert found.keys() == {"maintenance.links[0]"}
        over = window(begins=-100, lasts=50)
        found = violations(await refusal(stub.CreateMaintenance(create(over))))
        assert found == {"maintenance.end_unix_nanos": "is in the past"}
        found = violations(await refusal(stub.CreateMaintenance(create(window(lead_seconds=90_000)))))
        assert found.keys() == {"maintenance.lead_seconds"}
        await stub.CreateMaintenance(create(window()))
        request = pb.UpdateMaintenanceRequest(
            maintenance=types_pb2.Maintenance(name="w", end_unix_nanos=5),
            update_mask=FieldMask(paths=["end_unix_nanos"]),
        )
        assert "must be after" in str(violations(await refusal(stub.UpdateMaintenance(request))))
        request.maintenance.name = "v"
        assert (await refusal(stub.UpdateMaintenance(request))).code() is grpc.StatusCode.NOT_FOUND


async def test_the_oldest_window_that_is_over_makes_room(
    server: AdminServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changes, "MAX_MAINTENANCES", 2)
    async with server.stub() as stub:
        await stub.CreateMaintenance(create(window("old", begins=-10)))
        await stub.EndMaintenance(pb.EndMaintenanceRequest(name="old"))
        await stub.CreateMaintenance(create(window("b")))
        # What is refused makes no room.
        await refusal(stub.CreateMaintenance(create(window("c", links=["zz"]))))
        assert "old" in (await server.store.load_intent()).maintenances
        await stub.CreateMaintenance(create(window("c")))
        assert set((await server.store.load_intent()).maintenances) == {"b", "c"}
        error = await refusal(stub.CreateMaintenance(create(window("d"))))
    assert error.code() is grpc.StatusCode.FAILED_PRECONDITION


def test_windows_that_are_harmless_alone_and_not_together_are_found() -> None:
    rows = [("ap", "a", "p", 9e3), ("pb", "p", "b", 9e3), ("aq", "a", "q", 9e3), ("qb", "q", "b", 9e3)]
    network = snapshot(rows, [stream("s", "a", "b", require_qkd=True)])
    intent = Intent()
    for name in "abpq":
        intent = intent.put(types_pb2.Node(name=name))
    for name, a, b, _ in rows:
        technology = types_pb2.LINK_TECHNOLOGY_DV_QKD
        intent = intent.put(types_pb2.Link(name=name, a_node=a, b_node=b, technology=technology))
    intent = intent.put(types_pb2.Stream(name="s", source_node="a", target_node="b", require_qkd=True))
    plan = routing.plan_streams(network, None, 1)
    other = types_pb2.Maintenance(
        name="q", links=["aq"], start_unix_nanos=1000 * NANOS, end_unix_nanos=2000 * NANOS, lead_seconds=0
    )

    def lost(start: float, end: float) -> list[str]:
        mine = Window("mine", frozenset({LinkName("ap")}), frozenset(), start, end)
        return [one.stream for one in losses(intent.put(other), mine, network, plan) if one.required]

    assert lost(0, 999) == []
    assert lost(2000, 3000) == []
    for span in ((0, 1001), (1999, 3000), (1200, 1300), (0, 5000)):
        assert lost(*span) == ["s"], span


# ---- schedules -------------------------------------------------------------------------------------


async def test_a_schedule_is_stored_listed_updated_and_deleted(tmp_path: Path) -> None:
    spec = types_pb2.Schedule(name="x", tenant="bank", refresh_seconds=20, times=["00:00-24:00"])
    async with serving(tmp_path) as server, server.stub() as stub:
        made = (await stub.CreateSchedule(pb.CreateScheduleRequest(schedule=spec))).schedule
        assert made.etag
        rival = types_pb2.Schedule(name="y", tenant="bank", refresh_seconds=30, times=["01:00-02:00"])
        error = await refusal(stub.CreateSchedule(pb.CreateScheduleRequest(schedule=rival)))
        assert violations(error).keys() == {"schedule.times"}
        bad = types_pb2.Schedule(name="z", refresh_seconds=61, times=["25:00-26:00"])
        error = await refusal(stub.CreateSchedule(pb.CreateScheduleRequest(schedule=bad)))
        assert violations(error).keys() == {"schedule.refresh_seconds", "schedule.times[0]"}
    async with serving(tmp_path) as server, server.stub() as stub:
        (listed,) = (await stub.ListSchedules(pb.ListSchedulesRequest())).schedules
        assert (listed.schedule, listed.in_force, listed.streams) == (made, True, 0)
        changed = types_pb2.Schedule(name="x", refresh_seconds=30, etag=made.etag)
        request = pb.UpdateScheduleRequest(
            schedule=changed, update_mask=FieldMask(paths=["refresh_seconds", "times"])
        )
        assert (await stub.UpdateSchedule(request)).schedule.refresh_seconds == 30
        put = server.controller.submitted[-1]
        assert isinstance(put, SchedulePut)
        assert put.schedule.times == ()
        assert (await refusal(stub.UpdateSchedule(request))).code() is grpc.StatusCode.ABORTED
        await stub.DeleteSchedule(pb.DeleteScheduleRequest(name="x"))
        assert (await server.store.load_intent()).schedules == {}


async def test_a_stream_says_whence_its_values_are(server: AdminServer) -> None:
    network = server.controller.network
    scheduled = replace(network.streams[StreamName("s")], refresh_seconds=9, refresh_from="schedule x")
    server.controller.network = replace(network, streams={scheduled.name: scheduled})
    async with server.stub() as stub:
        status = (await stub.GetStream(pb.GetStreamRequest(name="s"))).stream
        lines = (await stub.ExplainStream(pb.ExplainStreamRequest(name="s"))).lines
    assert (status.refresh_seconds, status.refresh_from) == (9, "schedule x")
    assert (status.key_ttl_seconds, status.key_ttl_from) == (3600, "default")
    assert [line for line in lines if "9 s at the latest (from the schedule x)" in line]


# ---- plans -----------------------------------------------------------------------------------------


async def keep(server: AdminServer, *versions: int) -> None:
    """Plans of these versions were in force."""
    plan = server.controller.planned
    for version in versions:
        old = replace(plan, version=version)
        await server.store.keep_plan(PlanRecord(old, 100.0 + version, (StreamName("s"),)), packed(old))


async def test_kept_plans_are_listed_shown_and_bounded(
    server: AdminServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    await keep(server, 3, 5, 9)
    async with server.stub(Role.VIEWER) as stub:
        first = await stub.ListPlans(pb.ListPlansRequest(page_size=2))
        assert [(one.version, one.in_force) for one in first.plans] == [(3, False), (5, False)]
        rest = await stub.ListPlans(pb.ListPlansRequest(page_token=first.next_page_token))
        (last,) = rest.plans
        assert (last.version, last.in_force, list(last.moved), last.streams) == (9, True, ["s"], 1)
        shown = await stub.GetPlan(pb.GetPlanRequest(version=5))
        assert (shown.plan.version, shown.plan.time_unix_nanos) == (5, 105 * NANOS)
        assert shown.plan.streams[0].path_sets
        error = await refusal(stub.GetPlan(pb.GetPlanRequest(version=4)))
        assert error.code() is grpc.StatusCode.NOT_FOUND
        assert "3, 5, 9 are" in str(error.details())
        assert PLANS_KEPT >= 50
        monkeypatch.setattr(plan_shelf, "PLANS_KEPT", 2)
        await keep(server, 11)
        assert [one.version for one in (await stub.ListPlans(pb.ListPlansRequest())).plans] == [9, 11]


async def test_going_back_to_a_plan_pins_what_is_feasible_and_outlasts_a_restart(tmp_path: Path) -> None:
    request = pb.RollbackPlanRequest(version=3, request_id=str(uuid.uuid4()))
    async with serving(tmp_path) as server, server.stub() as stub:
        await keep(server, 3)
        tried = await stub.RollbackPlan(pb.RollbackPlanRequest(version=3, validate_only=True))
        assert tried.plan.streams[0].path_sets
        assert server.controller.submitted == []
        done = await stub.RollbackPlan(request)
        assert (done.pin.version, done.pin.pinned_by, list(done.pin.streams)) == (3, "somebody", ["s"])
        (put,) = server.controller.submitted
        assert isinstance(put, PlanPinned)
        assert put.pin.streams.keys() == {"s"}
    async with serving(tmp_path) as server, server.stub() as stub:
        assert (await server.store.pin()) == put.pin
        assert await stub.RollbackPlan(request) == done
        server.controller.network = replace(server.controller.network, pin=put.pin)
        assert (await stub.GetPlan(pb.GetPlanRequest())).pin == done.pin
        lines = (await stub.ExplainStream(pb.ExplainStreamRequest(name="s"))).lines
        assert [line for line in lines if line.startswith("pinned to its paths of plan 3")]
        assert (await stub.UnpinPlan(pb.UnpinPlanRequest())).pin == done.pin
        assert await server.store.pin() == NO_PIN
        assert server.controller.submitted == [PlanPinned(NO_PIN)]


@pytest.mark.parametrize(
    ("links", "told"),
    [({"bc": None}, "link 'bc'"), ({"bc": Condition.DOWN}, "nothing of plan 3 is feasible")],
)
async def test_a_plan_whose_link_is_gone_or_none_of_which_is_feasible_is_refused(
    server: AdminServer, links: Mapping[str, Condition | None], told: str
) -> None:
    await keep(server, 3)
    network = server.controller.network
    views = dict(network.links)
    for name, condition in links.items():
        if condition is None:
            del views[LinkName(name)]
        else:
            views[LinkName(name)] = link_view((name, "b", "c", 1000.0), condition)
    server.controller.network = replace(network, links=views)
    async with server.stub() as stub:
        error = await refusal(stub.RollbackPlan(pb.RollbackPlanRequest(version=3)))
        assert error.code() is grpc.StatusCode.FAILED_PRECONDITION
        assert told in str(error.details())
        error = await refusal(stub.RollbackPlan(pb.RollbackPlanRequest(version=4)))
        assert error.code() is grpc.StatusCode.NOT_FOUND
    assert await server.store.pin() == NO_PIN
