"""The one loop that feeds the core.

Everything that happens, from telemetry to an operator's change, is a stimulus on one bounded queue. One
task takes them off, has the core handle each, and carries out what the core says, in order: what must be
on disk is on disk before anything that relies on it is sent, and before anybody is told it was handled.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

from keyweave.common import log
from keyweave.common.errors import UnavailableError
from keyweave.common.names import LinkName, NodeName, StreamName
from keyweave.controller.admin.event_hub import EventHub
from keyweave.controller.audit.calls import AuditInterceptor
from keyweave.controller.audit.keeper import AuditKeeper
from keyweave.controller.audit.records import Records
from keyweave.controller.calendar import Window
from keyweave.controller.chronicle import Chronicle
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
    PersistPairs,
    PersistPin,
    PersistRollout,
    PlanPairs,
    Push,
    WakeAt,
)
from keyweave.controller.intent import Intent, link_of, node_of, stream_of
from keyweave.controller.leadership import Keeper
from keyweave.controller.metrics import ControllerMetrics
from keyweave.controller.optimiser import Optimiser
from keyweave.controller.orders import Order
from keyweave.controller.overview import Overview
from keyweave.controller.pair_planner import PairPlanner
from keyweave.controller.pairs.streams import pair_stream_of
from keyweave.controller.pairs.supply import PairSupply
from keyweave.controller.plan_shelf import PlanShelf
from keyweave.controller.planned_intent import schedule_of, window_of
from keyweave.controller.planner import MeasuredPlanner
from keyweave.controller.push import PolicyPusher
from keyweave.controller.reconcile.core import Core, CoreSettings
from keyweave.controller.reconcile.homes import GIVE_UP_SECONDS
from keyweave.controller.rollout import Rollout
from keyweave.controller.stimuli import Batch, Noted, Stimulus, Tick
from keyweave.controller.store import Store
from keyweave.controller.topology import Plan, Snapshot
from keyweave.controller.views import LinkStateView, NodeView, OrderView, StreamView

STORE_RETRY_SECONDS = 0.5


class _Item(NamedTuple):
    """A stimulus on its way to the core, and who waits for it to be handled."""

    stimulus: Stimulus
    handled: asyncio.Future[None] | None = None


class _Clock:
    """Unix seconds that never step back: the wall clock at the start, the monotonic one from then on."""

    def __init__(self) -> None:
        self._offset = time.time() - time.monotonic()

    def __call__(self) -> float:
        return self._offset + time.monotonic()


class Controller:
    """The core with everything around it; what the admin API sees of the controller."""

    def __init__(
        self,
        config: ControllerConfig,
        store: Store,
        stored: Rollout,
        last_event_id: int,
        behind: int = 0,
        keeper: Keeper | None = None,
    ) -> None:
        self.metrics = ControllerMetrics()
        self.events = EventHub(last_event_id)
        self._now: Callable[[], float] = _Clock()
        self._store = store
        self._keeper = keeper or Keeper(store)
        self._records = Records(store.epoch)
        limits = LinkLimits(
            stale_after_seconds=config.links.stale_after_seconds,
            hold_down_seconds=config.links.hold_down_seconds,
            hold_down_max_seconds=config.links.hold_down_max_seconds,
        )
        planner = MeasuredPlanner(self.metrics)
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
        self._alarm: asyncio.TimerHandle | None = None
        self._finishing = False
        self.audit = AuditInterceptor(store.audit, time.time)
        self.exports = Exports(config.exports, store.spool, lambda: states(self._overview))
        self.metrics.registry.register(self.exports)
        self._chronicle = Chronicle(self.events, self.metrics, self.history, self.exports, store)
        self.audit_keeper = AuditKeeper(store, config.audit, config.audit_archive, self._note)
        self.plan_shelf = PlanShelf(store.keep_plan)
        self.optimiser = Optimiser(planner.plan, self._offer)
        self.pair_planner = PairPlanner(self._offer)
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
    def database_problem(self) -> str:
        """Why the database that controllers share cannot be used; empty while it can."""
        return self._keeper.problem

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

    def pairs(self) -> PairSupply:
        """Links that make pairs, and streams of pairs; to be read."""
        return self._core.pairs

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
        await self._chronicle.record(
            [Event("controller_started", Severity.INFO, message, self._now(), fields=fields)]
        )
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
            (map(pair_stream_of, intent.pair_streams.values()), await self._store.pair_records()),
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
            # Of most telemetry nothing follows, and nothing is put on record.
            if instructions or not isinstance(item.stimulus, Batch):
                self._store.audit.note(*self._records.of(item.stimulus, instructions, self._now()))
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
        pairs = group.create_task(self.pair_planner.run(), name="pair-planner")
        return optimiser, pairs, group.create_task(self.plan_shelf.run(), name="plan-shelf")

    async def finish(self) -> None:
        """Let `run` end once everything that waits is handled. Nothing may come after this."""
        self._finishing = True
        if self._alarm is not None:
            self._alarm.cancel()
        await self._queue.put(None)

    async def tell_of_database(self) -> None:
        """The database has gone or come back: recorded at once, whatever the core waits for."""
        await self._chronicle.record([self._keeper.event(self._now())])

    async def _note(self, event: Event) -> None:
        """Have an event recorded that happened around the core."""
        await self._offer(Noted(event))

    async def _offer(self, stimulus: Stimulus) -> None:
        """Queue a stimulus; waits while the queue is full, and so does the agent that it came from."""
        await self._queue.put(_Item(stimulus))

    async def _execute(self, instructions: Sequence[Instruction]) -> None:
        # Events first: what agents said is stored before they are told that they may forget it.
        await self._chronicle.record([i.event for i in instructions if isinstance(i, Emit)])
        for instruction in instructions:
            match instruction:
                case PersistRollout(change):
                    await self._stored("rollout", partial(self._store.save_rollout, change))
                case Optimise() | PlanPairs() | KeepPlan():
                    self._leave_to_background(instruction)
                case PersistPin() | PersistPairs() | ForgetOrder():
                    await self._keep(instruction)
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

    async def _keep(self, instruction: PersistPin | PersistPairs | ForgetOrder) -> None:
        match instruction:
            case PersistPin(pin):
                await self._stored("pin", partial(self._store.put_pin, pin))
            case PersistPairs(records):
                await self._stored("pairs", partial(self._store.put_pair_records, records))
            case ForgetOrder(order_id):
                await self._stored("order", partial(self._store.delete_order, order_id))

    def _leave_to_background(self, instruction: Optimise | PlanPairs | KeepPlan) -> None:
        if isinstance(instruction, Optimise):
            self.optimiser.execute(instruction)
        elif isinstance(instruction, PlanPairs):
            self.pair_planner.execute(instruction)
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
            "unstored_events": self._chronicle.unstored,
            "unwritten_history": self.history.unwritten,
        }
