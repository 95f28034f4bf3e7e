"""The core: stimuli in, instructions out. The only place where the controller's state changes.

No clock, transport or chance is in here: time comes with each stimulus, so a recorded list of stimuli
and times replays to the same plans, policies and events.

When to plan (`planning`): a link that can no longer keep its paths is repaired at once; other changes of
condition and of intent are planned after a moment, so that what comes together is planned together; rates
that drift are planned every few seconds at most. Until every known link has reported, or the warm-up is
over, the stored plan stands and nothing is withdrawn.
"""

from collections.abc import Collection, Iterable, Mapping

from keyweave.common.errors import describe_status
from keyweave.common.names import LinkName, NodeName, StreamName
from keyweave.controller.agent_events import end_event, event_of
from keyweave.controller.calendar import Schedule, Window
from keyweave.controller.estimate.link_book import LinkBook, LinkChange
from keyweave.controller.event_kinds import KindName
from keyweave.controller.events import Event, Severity
from keyweave.controller.instructions import (
    Emit,
    FallSilent,
    ForgetOrder,
    Instruction,
    KeepPlan,
    PersistPin,
    WakeAt,
)
from keyweave.controller.orders import Order, OrderBook, order_event
from keyweave.controller.pairs.streams import PairRecord, PairStream
from keyweave.controller.pairs.supply import PairSupply
from keyweave.controller.reconcile.distribution import Distribution
from keyweave.controller.reconcile.news import Refusals, Unmet, link_news, plan_news
from keyweave.controller.reconcile.plan_book import PlanBook
from keyweave.controller.reconcile.plan_changes import changed_streams, moved_streams, permits, pruned
from keyweave.controller.reconcile.planning import CoreSettings, Planner, Planning
from keyweave.controller.reconcile.reports import Reports
from keyweave.controller.reconcile.snapshots import Snapshots
from keyweave.controller.reconcile.timetable import Timetable
from keyweave.controller.rollout import Rollout
from keyweave.controller.stimuli import (
    AgentHello,
    AgentReported,
    Batch,
    LinkDeleted,
    LinkObserved,
    LinkPut,
    NodeDeleted,
    NodePut,
    Noted,
    Optimised,
    OrderPut,
    PairsPlanned,
    PairsReported,
    PairStreamDeleted,
    PairStreamPut,
    PlanPinned,
    PolicyAcked,
    PolicyConnected,
    PolicyDisconnected,
    PolicyNacked,
    PoolsReported,
    SamplesDropped,
    SamplesRefused,
    ScheduleDeleted,
    SchedulePut,
    Stimulus,
    StreamDeleted,
    StreamPut,
    StreamsReported,
    TelemetryLost,
    TelemetryStimulus,
    Tick,
    TimedStimulus,
    WindowDeleted,
    WindowPut,
)
from keyweave.controller.topology import NO_PIN, Link, Node, Pin, Plan, Snapshot, Stream
from keyweave.v1 import agent_pb2

__all__ = ["Core", "CoreSettings", "Planner"]

# A deadline is handled no earlier than this after it was asked for, so that rounding cannot spin.
LEAST_WAIT_SECONDS = 0.01


class Core:
    """The controller's state, and what follows from each thing that happens."""

    def __init__(
        self, *, settings: CoreSettings, planner: Planner, epoch: int, stored: Rollout, behind: int = 0
    ) -> None:
        self._settings = settings
        self.epoch = epoch
        # As an earlier run found: agents know an epoch that is not of this store.
        self.read_only = behind > 0
        self._behind = behind
        self.warming_up = True
        self.nodes: dict[NodeName, Node] = {}
        self.streams: dict[StreamName, Stream] = {}
        self.links = LinkBook(settings.links)
        self.orders = OrderBook()
        self.timetable = Timetable()
        self.reports = Reports()
        self.pairs = PairSupply(self.nodes, settings.warmup_seconds)
        # When the plan in force was made by this controller; 0 while it is the stored one.
        self.planned_at = 0.0
        self.distribution = Distribution(epoch, stored)
        self.plans = PlanBook()
        self._snapshots = Snapshots(self.nodes, self.links, self.streams, self.orders, self.plans)
        self._planning = Planning(settings, planner, stored.version)
        self._unmet = Unmet()
        self._refusals = Refusals()
        self._warm_at = 0.0
        self._unsettled = True
        # When to be woken, as last asked for; None once that has passed.
        self._alarm: float | None = None
        self._out: list[Instruction] = []

    @property
    def plan(self) -> Plan:
        """The plan in force."""
        return self.distribution.plan

    def snapshot(self) -> Snapshot:
        """The network now; the same object until something changes."""
        return self._snapshots.now()

    def start(
        self,
        nodes: Mapping[NodeName, Node],
        links: Mapping[LinkName, Link],
        streams: Mapping[StreamName, Stream],
        now: float,
        orders: Iterable[Order] = (),
        windows: Iterable[Window] = (),
        schedules: Iterable[Schedule] = (),
        pin: Pin = NO_PIN,
        before: Iterable[tuple[Window, Plan]] = (),
        pairs: tuple[Iterable[PairStream], Mapping[StreamName, PairRecord]] = ((), {}),
    ) -> list[Instruction]:
        """Begin with what the store holds. Call once, before the first stimulus.

        `pairs` has pair streams and how they were served, `before` the plans that were in force before
        windows whose streams may not be back yet.
        """
        self.plans.pin = pin
        for window, plan in before:
            self._planning.homes.leave((window,), plan)
        self.timetable.resume(windows, schedules, now)
        self.timetable.turn(now)
        self.nodes.update((name, self.timetable.node(node)) for name, node in nodes.items())
        self.streams.update((name, self.timetable.stream(stream)) for name, stream in streams.items())
        for name in sorted(links):
            self.links.put(self.timetable.link(links[name]), now)
        for order in orders:
            self.orders.put(order)
        self._snapshots.intent_changed()
        self._warm_at = now + self._settings.warmup_seconds
        self.pairs.resume(*pairs, now)
        self._planning.intent_changed(now)
        self._prune(tuple(self.distribution.streams))
        if self._behind:
            self._out.append(FallSilent(self._behind))
            self._tell_behind(f"an agent had seen epoch {self._behind}", self._behind, now)
        return self._conclude(now)

    def handle(self, stimulus: Stimulus, now: float) -> list[Instruction]:
        """Take in one stimulus; what is to be done, in order."""
        touched: set[LinkName] = set()
        self._take(stimulus, now, touched)
        self._turn(now)
        touched.update(self.links.due(now))
        for name in sorted(touched):
            if name in self.links:
                self._judge(self.links.assess(name, now), now)
        if isinstance(stimulus, Batch) and not touched and self._is_quiet(now):
            return []
        return self._conclude(now)

    def _is_quiet(self, now: float) -> bool:
        """Whether nothing is due and nothing follows from what came in; most telemetry is like that."""
        is_still = not self._out and not self._unsettled and not self.pairs.is_due(now)
        return is_still and self._alarm is not None and now < self._alarm

    def _take(self, stimulus: Stimulus, now: float, touched: set[LinkName]) -> None:
        match stimulus:
            case Batch():
                for item in stimulus.items:
                    self._take_telemetry(item, now, touched)
            case NodePut() | NodeDeleted() | LinkPut() | LinkDeleted() | StreamPut() | StreamDeleted():
                self._change_intent(stimulus, now)
            case PairStreamPut() | PairStreamDeleted() | PairsPlanned():
                self._take_pairs(stimulus, now)
            case PlanPinned() | WindowPut() | WindowDeleted() | SchedulePut() | ScheduleDeleted():
                self._take_planned(stimulus, now)
            case OrderPut(order):
                self.orders.put(order)
                self._orders_changed(order)
                said = f"given to {', '.join(order.nodes)}"
                self._out.append(Emit(order_event(order, "order_given", Severity.MINOR, said, now)))
            case PolicyConnected() | PolicyDisconnected() | PolicyAcked() | PolicyNacked():
                self._take_policy(stimulus, now)
            case Optimised(number, plan):
                self._take_optimised(number, plan, now)
            case Noted() | Tick():
                # What time has made due is looked at after every stimulus.
                self._out += [Emit(stimulus.event)] if isinstance(stimulus, Noted) else []
            case _:
                self._take_telemetry(stimulus, now, touched)

    def _take_telemetry(self, item: TelemetryStimulus, now: float, touched: set[LinkName]) -> None:
        match item:
            case LinkObserved(samples):
                if self._may_speak(samples.node, samples.link, now) and self.links.observe(samples, now):
                    touched.add(samples.link)
            case PoolsReported():
                self._pools_reported(item, now, touched)
            case StreamsReported(node, states):
                for state in (s for s in states if self._stream_ends_at(StreamName(s.stream), node)):
                    self.reports.stream(StreamName(state.stream)).update(node, state, now)
            case AgentReported(node, report):
                self._agent_reported(node, report, now, touched)
            case SamplesRefused(node, link, reason):
                message = f"samples of '{link}' from '{node}' refused: {reason}"
                self._emit("samples_refused", Severity.MINOR, message, now, node=node, link=link)
            case PairsReported() | AgentHello() | TelemetryLost() | SamplesDropped():
                self._agent_told(item, now)

    def _agent_told(
        self, item: PairsReported | AgentHello | TelemetryLost | SamplesDropped, now: float
    ) -> None:
        if not isinstance(item, PairsReported):
            self.reports.agent(item.node).take(item)
        if not isinstance(item, SamplesDropped):
            self.pairs.take(item, now)

    def _pools_reported(self, item: PoolsReported, now: float, touched: set[LinkName]) -> None:
        for level in item.pools:
            name = LinkName(level.link)
            if not self._may_speak(item.node, name, now):
                continue
            self.reports.held_bits.setdefault(name, {})[item.node] = level.held_bits
            if self.links.pool(item.node, level, now):
                touched.add(name)

    # ---- intent ------------------------------------------------------------------------------------

    def _change_intent(
        self,
        change: NodePut | NodeDeleted | LinkPut | LinkDeleted | StreamPut | StreamDeleted,
        now: float,
    ) -> None:
        self._snapshots.intent_changed()
        self._planning.intent_changed(now)
        match change:
            case NodePut(node):
                self._put_node(self.timetable.node(node))
            case NodeDeleted(name):
                self.timetable.forget(name, Node)
                self._node_changed(self.nodes.pop(name, None), None)
                self.reports.agents.pop(name, None)
            case LinkPut(link):
                self._put_link(self.timetable.link(link), now)
            case LinkDeleted(name):
                self.timetable.forget(name, Link)
                self.links.remove(name)
                self.reports.held_bits.pop(name, None)
                self._planning.removed(name)
                self.distribution.links_changed((name,))
                self._prune(self.distribution.streams_over(name))
            case StreamPut(stream, warnings):
                self._planning.homes.forget(stream.name)
                self.streams[stream.name] = self.timetable.stream(stream)
                for warning in warnings:
                    message = f"stream '{stream.name}': {warning}"
                    self._emit("stream_warning", Severity.MINOR, message, now, stream=stream.name)
                self.distribution.streams_changed((stream.name,))
                self._prune((stream.name,))
            case StreamDeleted(name):
                self.timetable.forget(name, Stream)
                self.streams.pop(name, None)
                self.reports.streams.pop(name, None)
                self.distribution.streams_changed((name,))
                self._prune((name,))

    def _take_pairs(self, stimulus: PairStreamPut | PairStreamDeleted | PairsPlanned, now: float) -> None:
        """A pair stream and the link that its keys feed come and go together."""
        match stimulus:
            case PairStreamPut(stream, link):
                if link is not None:
                    self._change_intent(LinkPut(link), now)
                self.pairs.put(stream, now)
            case PairStreamDeleted(name, gone):
                if gone is not None:
                    self._change_intent(LinkDeleted(gone), now)
                self.pairs.delete(name, now)
            case PairsPlanned(number, plan):
                self.pairs.planned(number, plan, now)

    def _turn(self, now: float) -> None:
        """Have what windows and schedules make of intent now hold."""
        turned = self.timetable.turn(now)
        if turned is None:
            return
        self._out += map(Emit, turned.news)
        self._planning.homes.leave(turned.leaving, self.plan)
        if turned.nodes or turned.links or turned.streams:
            self._snapshots.intent_changed()
            self._planning.intent_changed(now)
        for node in turned.nodes:
            self._put_node(node)
        for link in turned.links:
            self._put_link(link, now)
        self.streams.update((stream.name, stream) for stream in turned.streams)
        self.distribution.streams_changed([stream.name for stream in turned.streams])
        self._unsettled = True

    def _take_planned(self, stimulus: TimedStimulus | PlanPinned, now: float) -> None:
        if isinstance(stimulus, PlanPinned):
            self._pin(stimulus.pin, now)
        else:
            self.timetable.change(stimulus)

    def _pin(self, pin: Pin, now: float) -> None:
        self.plans.pin = pin
        self._pin_changed(now)
        count = str(len(pin.streams))
        message = (
            f"'{pin.pinned_by}' pinned {count} streams to their paths of plan {pin.version}"
            if pin.streams
            else "no stream is pinned to an earlier plan any more"
        )
        fields = {"version": str(pin.version), "pinned_by": pin.pinned_by, "streams": count}
        self._emit("plan_pinned", Severity.INFO, message, now, fields=fields)

    def _pin_changed(self, now: float) -> None:
        self._snapshots.pin_changed()
        self._planning.plan_by(now)

    def _drop_pins(self, now: float) -> None:
        """Plan streams freely whose pinned paths cannot be used now."""
        snapshot = self.snapshot()
        dropped = self.plans.drop_infeasible(snapshot, permits(snapshot), now)
        if dropped:
            self._out += [*map(Emit, dropped), PersistPin(self.plans.pin)]
            self._pin_changed(now)

    def _put_node(self, node: Node) -> None:
        former = self.nodes.get(node.name)
        self.nodes[node.name] = node
        self._node_changed(former, node)

    def _node_changed(self, former: Node | None, node: Node | None) -> None:
        known = node or former
        if known is None or former == node:
            return
        if former is None or node is None or former.key_plane_address != node.key_plane_address:
            self.distribution.nodes_changed((known.name,))
        if former is None or node is None or former.trust_domain != node.trust_domain:
            self._prune(self.distribution.streams_through(known.name))
        self._unsettled = True

    def _put_link(self, link: Link, now: float) -> None:
        entry = self.links.find(link.name)
        former = entry.link if entry is not None else None
        self.links.put(link, now)
        if entry is not None and (entry.link.a, entry.link.b) == (link.a, link.b):
            change = LinkChange(link, entry.estimate, self.links[link.name].estimate)
            self._out += map(Emit, link_news(change, now))
        self._refusals.forget(link.name)
        self.distribution.links_changed((link.name,))
        self._planning.judged(self.links[link.name].view, now)
        if former is not None and (former.a, former.b, former.disabled) != (link.a, link.b, link.disabled):
            self._prune(self.distribution.streams_over(link.name))
        self._unsettled = True

    def _prune(self, names: Collection[StreamName]) -> None:
        """Take from these streams what operators have removed or forbidden."""
        permitted = permits(self.snapshot())
        plan = pruned(self.plan, names, permitted)
        self.distribution.adopt(plan, names, permitted)
        self._unmet.planned(plan, names)
        self._unsettled = True

    # ---- agents ------------------------------------------------------------------------------------

    def _may_speak(self, node: NodeName, link: LinkName, now: float) -> bool:
        """Whether the link ends at `node`; an agent that claims otherwise is told of."""
        if self.links.ends_at(link, node):
            return True
        self._out += map(Emit, self._refusals.news(node, link, now))
        return False

    def _stream_ends_at(self, name: StreamName, node: NodeName) -> bool:
        stream = self.streams.get(name)
        return stream is not None and node in (stream.source, stream.target)

    def _agent_reported(
        self, node: NodeName, report: agent_pb2.AgentEvent, now: float, touched: set[LinkName]
    ) -> None:
        event = event_of(node, report, now)
        if (
            event is None or event.kind == "pair_stream_ended"
        ):  # which the controller tells once, by the counts
            return
        link, stream = LinkName(report.link), StreamName(report.stream)
        kind = end_event(report.kind)
        ends_there = kind is not None and self._may_speak(node, link, now)
        # An agent whose peer aborts as well says so once more; that is no news.
        if not ends_there or self.links.fault_at(link, node) is not kind:
            self._out.append(Emit(event))
        if kind is not None and ends_there:
            self.links.report(link, kind, node, report.reason, now)
            touched.add(link)
        if event.kind == "stream_failover" and self._stream_ends_at(stream, node):
            self.reports.stream(stream).last_failover_seconds = report.duration_seconds

    def _take_policy(
        self, stimulus: PolicyConnected | PolicyDisconnected | PolicyAcked | PolicyNacked, now: float
    ) -> None:
        node = stimulus.node
        self._unsettled = True
        match stimulus:
            case PolicyConnected(_, have, highest_epoch):
                self.reports.agent(node).connected_since = now
                self._emit("agent_connected", Severity.INFO, f"agent '{node}' connected", now, node=node)
                # Nobody knows the epoch that this run has claimed before it has spoken to them: whoever does
                # has it from another, of which the store knows nothing.
                least_strange = self.epoch + 1 if self.distribution.agent(node).heard else self.epoch
                if highest_epoch >= least_strange:
                    self._fall_behind(node, highest_epoch, now)
                self.distribution.connected(node, have)
            case PolicyDisconnected():
                self._emit("agent_lost", Severity.MAJOR, f"agent '{node}' disconnected", now, node=node)
                self.distribution.disconnected(node)
            case PolicyAcked(_, digest):
                self.distribution.acked(node, digest)
            case PolicyNacked(_, digest, rules):
                if self.distribution.nacked(node, digest, rules):
                    why = "; ".join(f"{r.rule_id or 'policy'}: {describe_status(r.status)}" for r in rules)
                    message = f"agent '{node}' refused its policy and keeps the one it had: {why}"
                    self._emit("policy_nacked", Severity.MAJOR, message, now, node=node)
                    for rule in rules:
                        order = self.orders.refuse(rule.rule_id, node, describe_status(rule.status))
                        if order is not None:
                            self._orders_changed(order)

    def _fall_behind(self, node: NodeName, seen: int, now: float) -> None:
        if not self.read_only:
            self.read_only = True
            self._out.append(FallSilent(seen))
        self._tell_behind(f"agent '{node}' has seen epoch {seen}", seen, now, node)

    def _tell_behind(self, who: str, seen: int, now: float, node: str = "") -> None:
        message = (
            f"{who} of another run, this one claimed {self.epoch}: its store is older than the network."
            " It changes nothing until `keyweave controller raise-epoch`"
        )
        fields = {"seen_epoch": str(seen), "epoch": str(self.epoch)}
        self._emit("epoch_behind", Severity.MAJOR, message, now, node=node, fields=fields)

    # ---- orders ------------------------------------------------------------------------------------

    def _orders_changed(self, order: Order) -> None:
        self._snapshots.orders_changed()
        self.distribution.order_changed(order.order_id)
        self._unsettled = True

    def _end_orders(self, now: float) -> None:
        """Orders that are over leave the store first, then policies."""
        for ended in self.orders.settle(now, self._concerns, self.distribution.has_rule):
            self._out += [Emit(ended.event), ForgetOrder(ended.order.order_id)]
            self._orders_changed(ended.order)

    def _concerns(self, order: Order, node: NodeName) -> bool:
        """Whether the node, and the link if it is about one, are still there."""
        return node in self.nodes and (not order.link or self.links.ends_at(order.link, node))

    # ---- links and plans ---------------------------------------------------------------------------

    def _judge(self, change: LinkChange, now: float) -> None:
        name, before, after = change.link.name, change.before, change.after
        if before != after:
            self._snapshots.link_changed(name)
        self._out += map(Emit, link_news(change, now))
        if (before.suspect_since, before.suspect_reason) != (after.suspect_since, after.suspect_reason):
            self.distribution.links_changed((name,))
            self._unsettled = True
        self._planning.judged(self.links[name].view, now)

    def _plan_if_due(self, now: float) -> None:
        if self.warming_up:
            if not self.links.all_reported() and now < self._warm_at:
                return
            self.warming_up = False
            self._planning.plan_by(now)
        if self.read_only:
            return
        if self.plans.pin.streams and (self._planning.needs_repair or self._planning.is_due(now)):
            self._drop_pins(now)
        # Where nothing is planned there is nothing to repair.
        if self._planning.needs_repair and self.plan.streams:
            ground = self._snapshots.over(self._planning.ground)
            plan = self._planning.repair(ground, self.plan, now, self.distribution.held_sets)
            moved = moved_streams(self.plan, plan)
            if moved:
                self._out.append(Emit(plan_news(plan, moved, now)))
                self._adopt(plan, changed_streams(self.plan, plan), now)
        if not self._planning.is_due(now):
            return
        step = self._planning.next_step(self.snapshot(), self.plan)
        if step is not None:
            self._adopt(step.plan, step.changed, now)
        asked = self._planning.optimise_if_due(self.snapshot(), self.plan, now)
        if asked is not None:
            self._out.append(asked)

    def _take_optimised(self, number: int, plan: Plan, now: float) -> None:
        moved = self._planning.optimised(number, plan, self.snapshot())
        if self._planning.homes.ready(self.snapshot()):
            self._planning.plan_by(now + self._settings.rebalance_seconds)
        if moved and not self.read_only:
            self._out.append(Emit(plan_news(plan, moved, now)))
        self._tell_unmet(now)

    def _adopt(self, plan: Plan, changed: Collection[StreamName], now: float) -> None:
        self.distribution.adopt(plan, changed, permits(self.snapshot()))
        self.planned_at = now
        self.plans.adopted(plan, changed, now)
        self._unsettled = True
        self._unmet.planned(plan, changed)
        self._tell_unmet(now)

    def _tell_unmet(self, now: float) -> None:
        # Not before links have told what they can.
        if self.links.all_reported():
            self._out += map(Emit, self._unmet.news(now))

    # ---- what follows ------------------------------------------------------------------------------

    def _conclude(self, now: float) -> list[Instruction]:
        self._plan_if_due(now)
        record = self.plans.due(self.plan, now)
        if record is not None:
            self._out.append(KeepPlan(record))
        self._out += self.pairs.settle(now, may_plan=not self.read_only)
        changed = self.pairs.take_stale()
        if changed:
            self.distribution.pairs_changed(changed)
            self._unsettled = True
        if not self.read_only:
            self._end_orders(now)
        if self._unsettled and not self.read_only:
            self._out += self.distribution.settle(self.snapshot)
            self._unsettled = False
            for node in self.distribution.stirred:
                if node in self.nodes:
                    report = self.reports.agent(node)
                    in_sync = self.distribution.agent(node).in_sync
                    report.in_sync_since = (report.in_sync_since or now) if in_sync else 0.0
                    report.behind_since = 0.0 if in_sync else (report.behind_since or now)
        self._set_alarm(now)
        out, self._out = self._out, []
        return [Emit(self.timetable.marked(one.event)) if isinstance(one, Emit) else one for one in out]

    def _set_alarm(self, now: float) -> None:
        """Ask to be woken if that is sooner than what was asked for; a tick with nothing due costs little."""
        if self._alarm is not None and self._alarm <= now:
            self._alarm = None
        wake = self._next_wake()
        if wake is None:
            return
        wake = max(wake, now + LEAST_WAIT_SECONDS)
        if self._alarm is None or wake < self._alarm:
            self._alarm = wake
            self._out.append(WakeAt(wake))

    def _next_wake(self) -> float | None:
        times = [self.timetable.next_change, self.links.next_deadline(), self.plans.deadline]
        times.append(self.pairs.deadline)
        if self.warming_up:
            times += [self.orders.next_deadline(), self._warm_at]
        elif not self.read_only:
            times += [self.orders.next_deadline(), self._planning.deadline]
        return min((time for time in times if time is not None), default=None)

    def _emit(
        self,
        kind: KindName,
        severity: Severity,
        message: str,
        now: float,
        *,
        node: str = "",
        link: str = "",
        stream: str = "",
        fields: Mapping[str, str] | None = None,
    ) -> None:
        event = Event(kind, severity, message, now, node, link, stream, dict(fields or {}))
        self._out.append(Emit(event))
