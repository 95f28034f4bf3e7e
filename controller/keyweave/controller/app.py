"""The controller process: wiring, the one loop that feeds the core, and an ordered end.

Everything that happens, from telemetry to an operator's change, is a stimulus on one bounded queue. One
task takes them off, has the core handle each, and carries out what the core says, in order: what must be
on disk is on disk before anything that relies on it is sent, and before anybody is told it was handled.
"""

import asyncio
import os
import socket
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from keyweave.common import log, metrics_http
from keyweave.common.certificate_expiry import CertificateExpiry
from keyweave.common.errors import FencedError, UnavailableError
from keyweave.common.file_watch import FileWatch
from keyweave.common.grpc_errors import ErrorInterceptor
from keyweave.common.grpc_standing import StandingInterceptor
from keyweave.common.health import Health
from keyweave.common.names import LinkName, NodeName, StreamName
from keyweave.common.process import announce_ready
from keyweave.common.revocation import Trust
from keyweave.common.tls import SERVER_OPTIONS, server_credentials
from keyweave.controller import routing
from keyweave.controller.admin.event_hub import EventHub
from keyweave.controller.admin.service import AdminService
from keyweave.controller.agent_service import AgentService
from keyweave.controller.audit.calls import AuditInterceptor
from keyweave.controller.audit.keeper import AuditKeeper
from keyweave.controller.audit.records import Records
from keyweave.controller.calendar import Window
from keyweave.controller.config import ControllerConfig
from keyweave.controller.estimate.estimate import LinkLimits
from keyweave.controller.events import Event, Severity
from keyweave.controller.exports.exporter import Exports
from keyweave.controller.exports.states import states
from keyweave.controller.history.recorder import Recorder
from keyweave.controller.ingest import TelemetryIntake
from keyweave.controller.inspection import Inspection
from keyweave.controller.instructions import (
    Confirm,
    Emit,
    FallSilent,
    ForgetOrder,
    Instruction,
    KeepPlan,
    Optimise,
    PersistPin,
    PersistRollout,
    Push,
    WakeAt,
)
from keyweave.controller.intent import Intent, link_of, node_of, stream_of
from keyweave.controller.metrics import ControllerMetrics
from keyweave.controller.optimiser import Optimiser
from keyweave.controller.orders import Order
from keyweave.controller.overview import Overview
from keyweave.controller.page.face import Page
from keyweave.controller.page.scene import PAST_EVENTS, Observer
from keyweave.controller.plan_shelf import PlanShelf
from keyweave.controller.planned_intent import schedule_of, window_of
from keyweave.controller.push import PolicyPusher
from keyweave.controller.reconcile.core import Core, CoreSettings
from keyweave.controller.reconcile.homes import GIVE_UP_SECONDS
from keyweave.controller.rollout import Rollout
from keyweave.controller.stimuli import Batch, Noted, Stimulus, Tick
from keyweave.controller.store import Store
from keyweave.controller.topology import Held, Plan, Snapshot
from keyweave.controller.views import LinkStateView, NodeView, OrderView, StreamView
from keyweave.v1 import admin_pb2, admin_pb2_grpc, agent_pb2, agent_pb2_grpc

SHUTDOWN_GRACE_SECONDS = 1.0
STORE_RETRY_SECONDS = 0.5
# Events that wait for a store that is out of order; older ones are then only in the log.
UNSTORED_EVENTS = 10_000


@dataclass(frozen=True, slots=True)
class _Item:
    """A stimulus on its way to the core, and who waits for it to be handled."""

    stimulus: Stimulus
    handled: asyncio.Future[None] | None = None


class _Clock:
    """Unix seconds that never step back: the wall clock at the start, the monotonic one from then on."""

    def __init__(self) -> None:
        self._offset = time.time() - time.monotonic()

    def __call__(self) -> float:
        return self._offset + time.monotonic()


class _MeasuredPlanner:
    """Step 4 with a stopwatch: repairs in the core, plans of everything in the optimiser's thread."""

    def __init__(self, metrics: ControllerMetrics) -> None:
        self._durations = metrics.planning_duration_seconds
        self._planner = routing.Planner()

    def plan(self, asked: Optimise) -> Plan:
        """Route all streams."""
        with self._durations.labels("plan").time():
            return self._planner.plan_streams(asked.snapshot, asked.basis, asked.previous.version + 1)

    def repair(
        self,
        snapshot: Snapshot,
        previous: Plan,
        changed_links: frozenset[LinkName],
        version: int,
        *,
        held: Held,
    ) -> Plan:
        """Route anew what a change of these links touched."""
        with self._durations.labels("repair").time():
            return self._planner.repair(snapshot, previous, changed_links, version, held=held)


class Controller:
    """The core with everything around it; what the admin API sees of the controller."""

    def __init__(
        self, config: ControllerConfig, store: Store, stored: Rollout, last_event_id: int, behind: int = 0
    ) -> None:
        self.metrics = ControllerMetrics()
        self.events = EventHub(last_event_id)
        self._now: Callable[[], float] = _Clock()
        self._store = store
        self._records = Records(store.epoch)
        limits = LinkLimits(
            stale_after_seconds=config.links.stale_after_seconds,
            hold_down_seconds=config.links.hold_down_seconds,
            hold_down_max_seconds=config.links.hold_down_max_seconds,
        )
        planner = _MeasuredPlanner(self.metrics)
        self._core = Core(
            settings=CoreSettings(warmup_seconds=config.warmup_seconds, links=limits),
            planner=planner,
            epoch=store.epoch,
            stored=stored,
            behind=behind,
        )
        self._overview = Overview(self._core)
        self.history = Recorder(self._core, store.history, self._now)
        self._queue: asyncio.Queue[_Item | None] = asyncio.Queue(config.queue_limit)
        self._unstored: deque[Event] = deque(maxlen=UNSTORED_EVENTS)
        self._alarm: asyncio.TimerHandle | None = None
        self._finishing = False
        self.audit = AuditInterceptor(store.audit, time.time)
        self.exports = Exports(config.exports, store.spool, lambda: states(self._overview))
        self.metrics.registry.register(self.exports)
        self.audit_keeper = AuditKeeper(store, config.audit, config.audit_archive, self._note)
        self.plan_shelf = PlanShelf(store.keep_plan)
        self.optimiser = Optimiser(planner.plan, self._offer)
        self.intake = TelemetryIntake(known_node=self._knows, submit=self._offer)
        self.inspection = Inspection(known_node=self._knows)
        self.pusher = PolicyPusher(
            epoch=store.epoch,
            lease_seconds=config.lease_seconds,
            known_node=self._knows,
            submit=self._offer,
        )
        self.metrics.watch(
            core=self._core,
            push=self.pusher.counters,
            ingest=self.intake.counters,
            queues=self._queue_depths,
            now=self._now,
        )

    # ---- what the admin API sees ---------------------------------------------------------------------

    @property
    def epoch(self) -> int:
        """The epoch under which this controller leads."""
        return self._core.epoch

    @property
    def read_only(self) -> bool:
        """Agents have seen a higher epoch than the store's: nothing may change."""
        return self._core.read_only

    @property
    def warming_up(self) -> bool:
        """The stored plan stands until links have reported."""
        return self._core.warming_up

    @property
    def planned_at(self) -> float:
        """When the plan in force was made, unix seconds; 0 while it is the stored one."""
        return self._core.planned_at

    @property
    def overview(self) -> Overview:
        """All that is known of nodes, links and streams."""
        return self._overview

    def snapshot(self) -> Snapshot:
        """The network now."""
        return self._core.snapshot()

    def plan(self) -> Plan:
        """The plan in force."""
        return self._core.plan

    def node(self, name: NodeName) -> NodeView | None:
        """What is known of a node."""
        return self._overview.node(name) if name in self._core.nodes else None

    def desired_rules(self, name: NodeName) -> tuple[bytes, ...]:
        """A node's policy: its rules (serialized), by their IDs."""
        return self._overview.desired_rules(name)

    def link(self, name: LinkName) -> LinkStateView | None:
        """What is known of a link."""
        return self._overview.link(name) if name in self._core.links else None

    def stream(self, name: StreamName) -> StreamView | None:
        """What is known of a stream."""
        return self._overview.stream(name) if name in self._core.streams else None

    def vendor_domains(self) -> Mapping[LinkName, str]:
        """Links whose keys come through a vendor's domain, and which."""
        return self._overview.vendor_domains()

    def orders(self) -> tuple[OrderView, ...]:
        """Orders that not all have carried out."""
        return self._overview.orders()

    async def submit(self, stimulus: Stimulus) -> None:
        """Have the core handle `stimulus`; returns once it has and what followed was carried out."""
        handled = asyncio.get_running_loop().create_future()
        await self._queue.put(_Item(stimulus, handled))
        await handled

    # ---- the loop ------------------------------------------------------------------------------------

    async def start(self, intent: Intent, orders: Sequence[Order] = ()) -> None:
        """Take up where the store left off."""
        await self.exports.begin()
        message = f"this controller leads under epoch {self.epoch}"
        fields = {"epoch": str(self.epoch)}
        await self._record([Event("controller_started", Severity.INFO, message, self._now(), fields=fields)])
        windows = [window_of(spec) for spec in intent.maintenances.values()]
        instructions = self._core.start(
            {name: node_of(spec) for name, spec in intent.nodes.items()},
            {name: link_of(spec) for name, spec in intent.links.items()},
            {name: stream_of(spec) for name, spec in intent.streams.items()},
            self._now(),
            orders,
            windows,
            [schedule_of(spec) for spec in intent.schedules.values()],
            await self._store.pin(),
            await self._before(windows),
        )
        await self.history.take_up()
        self._store.audit.note(*self._records.of(None, instructions, self._now()))
        await self._execute(instructions)

    async def _before(self, windows: Sequence[Window]) -> list[tuple[Window, Plan]]:
        """Of windows whose streams may be away from home, the plan that was in force before each."""
        now = self._now()
        away = [one for one in windows if one.leaves_at <= now < one.end + GIVE_UP_SECONDS]
        plans = [(window, await self._store.plan_before(window.leaves_at)) for window in away]
        return [(window, plan) for window, plan in plans if plan is not None]

    async def run(self) -> None:
        """Handle stimuli until `finish`."""
        while (item := await self._queue.get()) is not None:
            began = time.perf_counter()
            instructions = self._core.handle(item.stimulus, self._now())
            self.metrics.handling_duration_seconds.observe(time.perf_counter() - began)
            self._store.audit.note(*self._records.of(item.stimulus, instructions, self._now()))
            if instructions:
                await self._execute(instructions)
            if isinstance(item.stimulus, Batch):
                self.intake.processed(item.stimulus)
            if item.handled is not None and not item.handled.done():
                item.handled.set_result(None)
        await self.audit_keeper.finish()
        await self.exports.finish()

    def begin(self, group: asyncio.TaskGroup) -> tuple[asyncio.Task[None], ...]:
        """Start what works beside the core."""
        optimiser = group.create_task(self.optimiser.run(), name="optimiser")
        return optimiser, group.create_task(self.plan_shelf.run(), name="plan-shelf")

    async def finish(self) -> None:
        """Let `run` end once everything that waits is handled. Nothing may come after this."""
        self._finishing = True
        if self._alarm is not None:
            self._alarm.cancel()
        await self._queue.put(None)

    async def _note(self, event: Event) -> None:
        """Have an event recorded that happened around the core."""
        await self._offer(Noted(event))

    async def _offer(self, stimulus: Stimulus) -> None:
        """Queue a stimulus; waits while the queue is full, and so does the agent that it came from."""
        await self._queue.put(_Item(stimulus))

    async def _execute(self, instructions: Sequence[Instruction]) -> None:
        # Events first: what agents said is stored before they are told that they may forget it.
        await self._record([i.event for i in instructions if isinstance(i, Emit)])
        for instruction in instructions:
            match instruction:
                case PersistRollout(change):
                    await self._stored("rollout", partial(self._store.save_rollout, change))
                case Optimise() | KeepPlan():
                    self._leave_to_background(instruction)
                case PersistPin(pin):
                    await self._stored("pin", partial(self._store.put_pin, pin))
                case ForgetOrder(order_id):
                    await self._stored("order", partial(self._store.delete_order, order_id))
                case Push() | Confirm():
                    await self._send(instruction)
                case FallSilent(seen_epoch):
                    log.get().error("controller_read_only", epoch=self.epoch, seen_epoch=seen_epoch)
                    self.pusher.fall_silent()
                    await self._stored("standing", partial(self._store.fall_behind, seen_epoch))
                case WakeAt(when):
                    self._set_alarm(when)
                case Emit():
                    pass

    def _leave_to_background(self, instruction: Optimise | KeepPlan) -> None:
        if isinstance(instruction, Optimise):
            self.optimiser.execute(instruction)
        else:
            self.plan_shelf.offer(instruction.record)

    async def _send(self, instruction: Push | Confirm) -> None:
        # Whoever asks later which policies went out finds each of them, whatever happens next.
        if isinstance(instruction, Push) and self._store.audit.is_waiting:
            await self._stored("audit", self._store.audit.flush)
        self.pusher.execute(instruction)

    async def _stored(self, what: str, write: Callable[[], Awaitable[None]]) -> None:
        """Write to the store, trying until it is done: what follows must not be sent before."""
        while True:
            try:
                await write()
            except UnavailableError as error:
                self.metrics.store_failures_total.inc()
                log.get().error(f"{what}_not_stored", reason=str(error))
                if self._finishing:
                    return  # no stream is open any more that could carry what follows
                await asyncio.sleep(STORE_RETRY_SECONDS)
            else:
                return

    async def _record(self, events: Sequence[Event]) -> None:
        """Number, count, log, show and store events. A store that is out of order does not stop the rest."""
        for event in events:
            numbered = self.events.number(event)
            self.metrics.observe(numbered)
            self.history.observe(numbered)
            log.get().info(numbered.kind, **_log_fields(numbered))
            self.events.publish(numbered)
            self._unstored.append(numbered)
        if not events:
            return
        try:
            await self._store.append_events(tuple(self._unstored))
        except UnavailableError as error:
            self.metrics.store_failures_total.inc()
            log.get().error("events_not_stored", count=len(self._unstored), reason=str(error))
        else:
            self._unstored.clear()
            self.exports.wake(self.events.last_id)

    def _set_alarm(self, when: float) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        loop = asyncio.get_running_loop()
        self._alarm = loop.call_later(max(0.0, when - self._now()), self._ring)

    def _ring(self) -> None:
        self._alarm = None
        # A full queue brings the core round to what is due anyway, with its next stimulus.
        if not self._queue.full():
            self._queue.put_nowait(_Item(Tick()))

    def _knows(self, node: NodeName) -> bool:
        return node in self._core.nodes

    def _queue_depths(self) -> dict[str, int]:
        return {
            "stimuli": self._queue.qsize(),
            "telemetry_in_flight": self.intake.in_flight,
            "unstored_events": len(self._unstored),
            "unwritten_history": self.history.unwritten,
        }


def _log_fields(event: Event) -> dict[str, str]:
    fields = {"node": event.node, "link": event.link, "stream": event.stream, **event.fields}
    return {"severity": event.severity, "message": event.message} | {k: v for k, v in fields.items() if v}


async def serve(config: ControllerConfig, stop: asyncio.Event) -> None:
    """Run a controller until `stop` is set."""
    async with Health.served(config.health_listen) as standing:
        await _lead(config, standing, stop)


async def _lead(config: ControllerConfig, standing: Health, stop: asyncio.Event) -> None:
    store = await Store.open(config.store_url)
    try:
        epoch = await store.claim_epoch(f"{socket.gethostname()}:{os.getpid()}")
        intent = await store.load_intent()
        stored = await store.load_rollout() or Rollout()
        log.get().info(
            "controller_starting", epoch=epoch, plan_version=stored.version, streams=len(intent.streams)
        )
        controller = Controller(config, store, stored, await store.last_event_id(), await store.behind())
        await controller.start(intent, await store.load_orders())
        admin = AdminService(store, intent, controller)
        observer = Observer(controller, lambda: admin.intent, await store.recent_events(PAST_EVENTS))
        await _serve(config, controller, admin, observer, standing, stop)
    except ExceptionGroup as failures:
        fenced = failures.subgroup(FencedError)
        if fenced is None:
            raise
        # A newer controller leads: not a failure, but the end of this one, told in its own words.
        raise FencedError("; ".join(str(error) for error in _leaves(fenced))) from failures
    finally:
        await store.close()
    log.get().info("controller_stopped")


async def _serve(
    config: ControllerConfig,
    controller: Controller,
    admin: AdminService,
    observer: Observer,
    standing: Health,
    stop: asyncio.Event,
) -> None:
    files, trust = FileWatch(), Trust("control", config.tls)
    files.on_change(trust.paths, trust.reload)
    controller.metrics.certificate_expiry.set_function(CertificateExpiry(config.tls).not_after)
    controller.metrics.trust_current.set_function(lambda: float(trust.current(time.time())))
    interceptors = (ErrorInterceptor(), controller.audit, StandingInterceptor(trust))
    server = grpc.aio.server(interceptors=interceptors, options=SERVER_OPTIONS)
    agent_pb2_grpc.add_AgentServiceServicer_to_server(
        AgentService(controller.intake, controller.pusher, controller.inspection), server
    )
    admin_pb2_grpc.add_AdminServiceServicer_to_server(admin, server)
    health_servicer = health.aio.HealthServicer()  # type: ignore[attr-defined]  # not in the stubs
    health_pb2_grpc.add_HealthServicer_to_server(health_servicer, server)
    services = [
        file.services_by_name[name].full_name
        for file, name in (
            (agent_pb2.DESCRIPTOR, "AgentService"),
            (admin_pb2.DESCRIPTOR, "AdminService"),
            (health_pb2.DESCRIPTOR, "Health"),
        )
    ]
    reflection.enable_server_reflection((*services, reflection.SERVICE_NAME), server)
    host, port = _split(config.listen)
    port = server.add_secure_port(f"{host}:{port}", server_credentials(config.tls))
    metrics_runner, metrics_url = await metrics_http.serve(
        controller.metrics.registry, *_split(config.metrics_listen)
    )
    page = Page(config, observer, trust)
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(controller.run(), name="core")
            watching = group.create_task(files.run(), name="file-watch")
            recording = group.create_task(controller.history.run(), name="history")
            background = controller.begin(group)
            await page.start(files, group)
            tellers = [
                group.create_task(controller.audit_keeper.run(), name="audit"),
                group.create_task(controller.exports.run(), name="exports"),
            ]
            await server.start()
            for service in ("", *services):
                await health_servicer.set(service, health_pb2.HealthCheckResponse.SERVING)
            address = f"{host}:{port}"
            log.get().info("controller_ready", address=address, metrics=metrics_url, page=page.url)
            announce_ready(config.ready_file, {"admin": address, "metrics": metrics_url, "page": page.url})
            await standing.ready(True)
            await stop.wait()
            await standing.ready(False)
            await health_servicer.enter_graceful_shutdown()
            controller.intake.stop()
            controller.pusher.stop()
            controller.inspection.stop()
            controller.events.close()
            await page.close()
            await server.stop(SHUTDOWN_GRACE_SECONDS)
            await admin.close()
            for task in (*background, *tellers):
                task.cancel()
            await controller.finish()
            recording.cancel()
            watching.cancel()
    finally:
        await server.stop(0)
        await page.close()
        await metrics_runner.cleanup()


def _leaves(group: ExceptionGroup[FencedError]) -> list[FencedError]:
    return [
        leaf
        for error in group.exceptions
        for leaf in (_leaves(error) if isinstance(error, ExceptionGroup) else [error])
    ]


def _split(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    return host, int(port)
