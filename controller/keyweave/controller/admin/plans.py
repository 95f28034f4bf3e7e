# ruff: noqa: N802  # gRPC names its methods
"""Plans that are and were in force, and going back to one, as the admin API offers it."""

import time
from dataclasses import replace

from keyweave.common.errors import NotFoundError, PreconditionError
from keyweave.common.names import LinkName, NodeName, StreamName
from keyweave.controller import routing
from keyweave.controller.admin.changes import Changes
from keyweave.controller.admin.entry import Context, ask, enter
from keyweave.controller.admin.messages import node_status, plan_message, unix_nanos
from keyweave.controller.admin.tokens import page
from keyweave.controller.admin.view import ControllerView
from keyweave.controller.optimiser import in_thread
from keyweave.controller.reconcile.plan_book import infeasible, same_paths
from keyweave.controller.reconcile.plan_changes import permits
from keyweave.controller.store import Store
from keyweave.controller.topology import NO_PIN, Pin, Plan, StreamPlan
from keyweave.v1 import admin_pb2, admin_pb2_grpc, agent_pb2, types_pb2


class PlanRpcs(admin_pb2_grpc.AdminServiceServicer):
    """The part of the admin API that is about plans."""

    _changes: Changes
    _store: Store
    _view: ControllerView

    async def GetPlan(self, request: admin_pb2.GetPlanRequest, context: Context) -> admin_pb2.GetPlanResponse:
        """The plan in force, or an earlier one."""
        enter("GetPlan", request, context)
        if request.version:
            plan, kept_at = await self._kept(request.version)
            return admin_pb2.GetPlanResponse(plan=plan_message(plan, kept_at))
        pin = self._view.snapshot().pin
        return admin_pb2.GetPlanResponse(
            plan=plan_message(self._view.plan(), self._view.planned_at),
            pin=_pin_message(pin) if pin.streams else None,
        )

    async def GetPolicy(
        self, request: admin_pb2.GetPolicyRequest, context: Context
    ) -> admin_pb2.GetPolicyResponse:
        """What one node is to do by the plan, and what its agent says to that."""
        enter("GetPolicy", request, context)
        name = NodeName(request.node)
        view = self._view.node(name)
        if view is None:
            raise NotFoundError(f"node '{name}' does not exist")
        status = node_status(self._changes.intent.get(types_pb2.Node, name), view)
        return admin_pb2.GetPolicyResponse(
            connected=status.connected,
            desired=status.desired_policy,
            applied=status.applied_policy,
            rules=[agent_pb2.Rule.FromString(rule) for rule in self._view.desired_rules(name)],
            nacked_rules=status.nacked_rules,
            withheld_rules=status.withheld_rules,
        )

    async def ListPlans(
        self, request: admin_pb2.ListPlansRequest, context: Context
    ) -> admin_pb2.ListPlansResponse:
        """Plans that were in force for a while, oldest first."""
        enter("ListPlans", request, context)
        kept = await self._store.kept_plans()
        latest = await self._store.kept_plan(kept[-1].version) if kept else None
        stands = latest is not None and same_paths(latest[0], self._view.plan())
        records = {
            # Names sort as their numbers do.
            f"{one.version:020}": admin_pb2.PlanRecord(
                version=one.version,
                time_unix_nanos=unix_nanos(one.kept_at),
                streams=one.streams,
                moved_count=one.moved_count,
                moved=one.moved,
                in_force=stands and one is kept[-1],
            )
            for one in kept
        }
        plans, more = page(records, request.page_size, request.page_token, "ListPlans")
        return admin_pb2.ListPlansResponse(plans=plans, next_page_token=more)

    async def RollbackPlan(
        self, request: admin_pb2.RollbackPlanRequest, context: Context
    ) -> admin_pb2.RollbackPlanResponse:
        """Have streams use their paths of an earlier plan again."""
        asked = ask("RollbackPlan", request, context, admin_pb2.RollbackPlanResponse)
        if request.validate_only:
            pin, answer = await self._rolled_back(request.version, asked.caller.name)
            snapshot, present = replace(self._view.snapshot(), pin=pin), self._view.plan()
            plan = await in_thread(
                lambda: routing.plan_streams(snapshot, present, present.version + 1), "rollback"
            )
            answer.plan.CopyFrom(plan_message(plan, 0.0))
            return answer
        return await self._changes.pin(lambda: self._rolled_back(request.version, asked.caller.name), asked)

    async def UnpinPlan(
        self, request: admin_pb2.UnpinPlanRequest, context: Context
    ) -> admin_pb2.UnpinPlanResponse:
        """Plan freely again."""
        asked = ask("UnpinPlan", request, context, admin_pb2.UnpinPlanResponse)

        async def nothing() -> tuple[Pin, admin_pb2.UnpinPlanResponse]:
            return NO_PIN, admin_pb2.UnpinPlanResponse(pin=_pin_message(self._view.snapshot().pin))

        return await self._changes.pin(nothing, asked)

    async def _kept(self, version: int) -> tuple[Plan, float]:
        found = await self._store.kept_plan(version)
        if found is None:
            known = [one.version for one in await self._store.kept_plans()]
            kept = f"{', '.join(map(str, known))} are" if known else "none is yet"
            raise NotFoundError(f"plan {version} is not kept; {kept}")
        return found

    async def _rolled_back(self, version: int, caller: str) -> tuple[Pin, admin_pb2.RollbackPlanResponse]:
        """What would be pinned, and the answer; or why it cannot be."""
        earlier, _ = await self._kept(version)
        snapshot = self._view.snapshot()
        wanted = {name: plan for name, plan in earlier.streams.items() if name in snapshot.streams}
        gone = sorted({link for plan in wanted.values() for link in _links(plan)} - snapshot.links.keys())
        if gone:
            raise PreconditionError(
                f"plan {version} runs over what is gone: {', '.join(f'link {link!r}' for link in gone)}; "
                "create it again, or go back to a later plan"
            )
        permitted = permits(snapshot)
        why = {name: infeasible(plan, snapshot, permitted) for name, plan in wanted.items()}
        feasible: dict[StreamName, StreamPlan] = {n: plan for n, plan in wanted.items() if not why[n]}
        skipped = [
            admin_pb2.StreamLoss(stream=name, loss=reason) for name, reason in sorted(why.items()) if reason
        ]
        if not feasible:
            reasons = "; ".join(f"stream '{one.stream}': {one.loss}" for one in skipped[:8])
            raise PreconditionError(f"nothing of plan {version} is feasible now: {reasons or 'no streams'}")
        pin = Pin(version, time.time(), caller, feasible)
        return pin, admin_pb2.RollbackPlanResponse(pin=_pin_message(pin), skipped=skipped)


def _links(plan: StreamPlan) -> set[LinkName]:
    in_use = [path_set for path_set in plan.path_sets if path_set.rank == 0]
    return {link for path_set in in_use for path in path_set.paths for link in path.links}


def _pin_message(pin: Pin) -> admin_pb2.PlanPin:
    return admin_pb2.PlanPin(
        version=pin.version,
        time_unix_nanos=unix_nanos(pin.pinned_at),
        pinned_by=pin.pinned_by,
        streams=sorted(pin.streams),
    )
