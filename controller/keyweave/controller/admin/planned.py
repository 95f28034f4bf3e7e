# ruff: noqa: N802  # gRPC names its methods
"""Maintenance windows and refresh schedules, as the admin API offers them."""

import time

from keyweave.controller.admin.changes import Changes
from keyweave.controller.admin.entry import Context, ask, ask_update, enter
from keyweave.controller.admin.messages import PHASES
from keyweave.controller.admin.tokens import page
from keyweave.controller.admin.view import ControllerView
from keyweave.controller.planned_intent import schedule_of, window_of
from keyweave.v1 import admin_pb2, admin_pb2_grpc, types_pb2


class PlannedRpcs(admin_pb2_grpc.AdminServiceServicer):
    """The part of the admin API that is about what is planned for certain times."""

    _changes: Changes
    _view: ControllerView

    # ---- maintenance -------------------------------------------------------------------------------

    async def CreateMaintenance(
        self, request: admin_pb2.CreateMaintenanceRequest, context: Context
    ) -> admin_pb2.CreateMaintenanceResponse:
        """Plan a maintenance window."""
        asked = ask("CreateMaintenance", request, context, admin_pb2.CreateMaintenanceResponse)
        return await self._changes.create(
            request.maintenance, asked, validate_only=request.validate_only, force=request.force
        )

    async def GetMaintenance(
        self, request: admin_pb2.GetMaintenanceRequest, context: Context
    ) -> admin_pb2.GetMaintenanceResponse:
        """One maintenance window."""
        enter("GetMaintenance", request, context)
        spec = self._changes.intent.get(types_pb2.Maintenance, request.name)
        return admin_pb2.GetMaintenanceResponse(maintenance=self._maintenance(spec))

    async def ListMaintenances(
        self, request: admin_pb2.ListMaintenancesRequest, context: Context
    ) -> admin_pb2.ListMaintenancesResponse:
        """Maintenance windows by name."""
        enter("ListMaintenances", request, context)
        known = self._changes.intent.maintenances
        specs, more = page(known, request.page_size, request.page_token, "ListMaintenances")
        return admin_pb2.ListMaintenancesResponse(
            maintenances=[self._maintenance(spec) for spec in specs], next_page_token=more
        )

    async def UpdateMaintenance(
        self, request: admin_pb2.UpdateMaintenanceRequest, context: Context
    ) -> admin_pb2.UpdateMaintenanceResponse:
        """Change fields of a maintenance window."""
        response = admin_pb2.UpdateMaintenanceResponse
        asked = ask_update("UpdateMaintenance", "maintenance", request, context, response)
        return await self._changes.update(
            request.maintenance,
            request.update_mask.paths,
            asked,
            validate_only=request.validate_only,
            force=request.force,
        )

    async def EndMaintenance(
        self, request: admin_pb2.EndMaintenanceRequest, context: Context
    ) -> admin_pb2.EndMaintenanceResponse:
        """End a maintenance window that is under way."""
        asked = ask("EndMaintenance", request, context, admin_pb2.EndMaintenanceResponse)
        return await self._changes.end_maintenance(request.name, request.etag, asked)

    async def DeleteMaintenance(
        self, request: admin_pb2.DeleteMaintenanceRequest, context: Context
    ) -> admin_pb2.DeleteMaintenanceResponse:
        """Forget a maintenance window; one that is under way ends."""
        asked = ask("DeleteMaintenance", request, context, admin_pb2.DeleteMaintenanceResponse)
        return await self._changes.delete(
            types_pb2.Maintenance, request.name, request.etag, asked, validate_only=request.validate_only
        )

    def _maintenance(self, spec: types_pb2.Maintenance) -> admin_pb2.MaintenanceStatus:
        window = window_of(spec)
        plan = self._view.plan()
        crossing = [
            name
            for name, planned in plan.streams.items()
            for path_set in planned.path_sets
            if path_set.rank == 0
            for path in path_set.paths
            if not window.links.isdisjoint(path.links) or not window.nodes.isdisjoint(path.trusted_nodes)
        ]
        phase = PHASES[window.phase(time.time())]
        return admin_pb2.MaintenanceStatus(maintenance=spec, phase=phase, streams=sorted(set(crossing)))

    # ---- schedules ---------------------------------------------------------------------------------

    async def CreateSchedule(
        self, request: admin_pb2.CreateScheduleRequest, context: Context
    ) -> admin_pb2.CreateScheduleResponse:
        """Make a refresh schedule."""
        asked = ask("CreateSchedule", request, context, admin_pb2.CreateScheduleResponse)
        return await self._changes.create(request.schedule, asked, validate_only=request.validate_only)

    async def GetSchedule(
        self, request: admin_pb2.GetScheduleRequest, context: Context
    ) -> admin_pb2.GetScheduleResponse:
        """One refresh schedule."""
        enter("GetSchedule", request, context)
        spec = self._changes.intent.get(types_pb2.Schedule, request.name)
        return admin_pb2.GetScheduleResponse(schedule=self._schedule(spec))

    async def ListSchedules(
        self, request: admin_pb2.ListSchedulesRequest, context: Context
    ) -> admin_pb2.ListSchedulesResponse:
        """Refresh schedules by name."""
        enter("ListSchedules", request, context)
        known = self._changes.intent.schedules
        specs, more = page(known, request.page_size, request.page_token, "ListSchedules")
        return admin_pb2.ListSchedulesResponse(
            schedules=[self._schedule(spec) for spec in specs], next_page_token=more
        )

    async def UpdateSchedule(
        self, request: admin_pb2.UpdateScheduleRequest, context: Context
    ) -> admin_pb2.UpdateScheduleResponse:
        """Change fields of a refresh schedule."""
        response = admin_pb2.UpdateScheduleResponse
        asked = ask_update("UpdateSchedule", "schedule", request, context, response)
        mask = request.update_mask.paths
        return await self._changes.update(request.schedule, mask, asked, validate_only=request.validate_only)

    async def DeleteSchedule(
        self, request: admin_pb2.DeleteScheduleRequest, context: Context
    ) -> admin_pb2.DeleteScheduleResponse:
        """Delete a refresh schedule; its streams go by less specific ones."""
        asked = ask("DeleteSchedule", request, context, admin_pb2.DeleteScheduleResponse)
        return await self._changes.delete(
            types_pb2.Schedule, request.name, request.etag, asked, validate_only=request.validate_only
        )

    def _schedule(self, spec: types_pb2.Schedule) -> admin_pb2.ScheduleStatus:
        whence = f"schedule {spec.name}"
        streams = self._view.snapshot().streams.values()
        return admin_pb2.ScheduleStatus(
            schedule=spec,
            in_force=schedule_of(spec).holds(time.time()),
            streams=sum(whence in (one.refresh_from, one.key_ttl_from) for one in streams),
        )
