"""What Prometheus scrapes from the controller.

Gauges and counters are read from the core when scraped, so they cannot go stale. Labels are names of
nodes, links and streams (bounded by what operators create) and words of closed sets; no path, key, SAE
or address is ever a label.
"""

from collections.abc import Callable, Iterator, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from keyweave.controller.agent_events import protection_word
from keyweave.controller.described_metrics import DescribedMetrics
from keyweave.controller.device_metrics import DeviceMetrics
from keyweave.controller.event_kinds import KINDS
from keyweave.controller.events import Event
from keyweave.controller.ingest import IngestCounters
from keyweave.controller.orders import OrderKind
from keyweave.controller.overview import Overview
from keyweave.controller.pair_metrics import PairMetrics
from keyweave.controller.push import PushCounters
from keyweave.controller.reconcile.core import Core
from keyweave.controller.topology import Condition

PROTECTIONS = ("qkd", "hybrid", "pqc", "none")
_FAILOVER_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_PLANNING_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class OwnMetrics:
    """What every controller process tells, whether it leads or stands by."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.leads = Gauge(
            "keyweave_controller_leads",
            "1 while this controller leads, 0 while it stands by",
            registry=registry,
        )
        self.database_reachable = Gauge(
            "keyweave_controller_database_reachable",
            "1 while the database that controllers share answers; always 1 with SQLite",
            registry=registry,
        )
        self.trust_current = Gauge(
            "keyweave_controller_trust_current",
            "1 while the trust anchors and revocation lists on disk are in force, 0 if they were not taken",
            registry=registry,
        )
        self.certificate_expiry = Gauge(
            "keyweave_controller_certificate_expiry_timestamp_seconds",
            "When the controller's own certificate ends, Unix time",
            registry=registry,
        )


class ControllerMetrics:
    """All metrics of one controller process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.planning_duration_seconds = Histogram(
            "keyweave_planning_duration_seconds",
            "Time to plan all streams, or to repair those that a change touched",
            ("kind",),
            buckets=_PLANNING_BUCKETS,
            registry=self.registry,
        )
        self.handling_duration_seconds = Histogram(
            "keyweave_stimulus_duration_seconds",
            "Time the core took to handle one stimulus, planning included",
            buckets=_PLANNING_BUCKETS,
            registry=self.registry,
        )
        self.store_failures_total = Counter(
            "keyweave_store_failures_total",
            "Writes to the store that failed and were put off or tried again",
            registry=self.registry,
        )
        self.own = OwnMetrics(self.registry)
        self._failover_duration_seconds = Histogram(
            "keyweave_stream_failover_duration_seconds",
            "From the first failed attempt to the first confirmed key on another path or protection",
            ("stream",),
            buckets=_FAILOVER_BUCKETS,
            registry=self.registry,
        )
        self._keys_recalled_total = Counter(
            "keyweave_keys_recalled_total",
            "Fetched keys that were built on a link under attack, by the node that handed them over",
            ("node",),
            registry=self.registry,
        )
        self._signature_failures_total = Counter(
            "keyweave_signature_failures_total",
            "Peers whose signature did not verify, by the node that refused them",
            ("node",),
            registry=self.registry,
        )
        self._guard_refusals_total = Counter(
            "keyweave_guard_refusals_total",
            "Times that the node's own guard refused what policy allows",
            ("node",),
            registry=self.registry,
        )
        self._events_total = Counter(
            "keyweave_events_total",
            "Events by kind and severity",
            ("kind", "severity"),
            registry=self.registry,
        )
        # At 0, as `_begin` has it for nodes and streams.
        for kind, declared in KINDS.items():
            for severity in declared.severities:
                self._events_total.labels(kind, severity)

    def watch(
        self,
        *,
        core: Core,
        push: PushCounters,
        ingest: IngestCounters,
        queues: Callable[[], Mapping[str, int]],
        now: Callable[[], float],
    ) -> None:
        """Show the state of these whenever Prometheus asks."""
        self.registry.register(_State(core, push, ingest, queues, now, self._begin))
        self.registry.register(DescribedMetrics(core))
        self.registry.register(PairMetrics(core.pairs))
        self.registry.register(DeviceMetrics(core, now))
        ProcessCollector(registry=self.registry)

    def _begin(self, overview: Overview) -> None:
        """Counters of nodes and streams begin at 0: one born with its first event hides that from rates."""
        for node in overview.nodes():
            name = node.node.name
            self._keys_recalled_total.labels(name)
            self._signature_failures_total.labels(name)
            self._guard_refusals_total.labels(name)
        for stream in overview.streams():
            self._failover_duration_seconds.labels(stream.stream.name)

    def observe(self, event: Event) -> None:
        """Count an event, and what it measured."""
        self._events_total.labels(event.kind, event.severity).inc()
        times = int(event.fields.get("occurrences", "1"))
        match event.kind:
            case "keys_recalled":
                named = event.fields.get("key_ids", "").count(",") + 1
                self._keys_recalled_total.labels(event.node).inc(int(event.fields.get("count", named)))
            case "signature_failed":
                self._signature_failures_total.labels(event.node).inc(times)
            case "guard_refused":
                self._guard_refusals_total.labels(event.node).inc(times)
        if event.kind == "stream_failover" and event.stream:
            duration = float(event.fields.get("duration_seconds", "0"))
            # A planned move interrupts nothing; counting its 0 s would flatter the real failovers.
            if duration > 0:
                self._failover_duration_seconds.labels(event.stream).observe(duration)


class _State(Collector):
    """The core's state as metric families."""

    def __init__(
        self,
        core: Core,
        push: PushCounters,
        ingest: IngestCounters,
        queues: Callable[[], Mapping[str, int]],
        now: Callable[[], float],
        begin: Callable[[Overview], None],
    ) -> None:
        self._core = core
        self._overview = Overview(core)
        self._push = push
        self._ingest = ingest
        self._queues = queues
        self._now = now
        self._begin = begin

    def describe(self) -> Iterator[Metric]:
        """Nothing at registration: names are known only with values."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """Everything, as it is now."""
        self._begin(self._overview)
        yield from self._links()
        yield from self._streams()
        yield from self._agents()
        yield from self._controller()

    def _links(self) -> Iterator[Metric]:
        links = self._overview.links()
        qber = _gauge(
            "keyweave_link_qber_ratio", "QBER, the worse of both ends; absent until it is measured", "link"
        )
        skr = _gauge("keyweave_link_secret_key_rate_bps", "Secret key rate, the lower of both ends", "link")
        usable = _gauge(
            "keyweave_link_usable_rate_bps",
            "Lower confidence bound of the secret key rate, at most what pools take in: what is planned on",
            "link",
        )
        planned = _gauge(
            "keyweave_link_planned_rate_bps", "Share of the usable rate that the plan has given away", "link"
        )
        loss = _gauge("keyweave_link_loss_db", "Attenuation of the quantum channel", "link")
        pool = _gauge(
            "keyweave_link_pool_bits", "Unused key bits in the pool, the lower of both ends", "link"
        )
        held = _gauge(
            "keyweave_link_held_bits",
            "Bits held in quarantine until an operator clears or destroys them, the lower of both ends",
            "link",
        )
        condition = _gauge(
            "keyweave_link_condition", "1 for the condition the link is in, else 0", "link", "condition"
        )
        for state in links:
            name = state.view.link.name
            # Nothing measured is 0 inside, which outside would be a perfect link.
            if state.view.qber_ratio:
                qber.add_metric((name,), state.view.qber_ratio)
            skr.add_metric((name,), state.view.skr_bps)
            usable.add_metric((name,), state.view.usable_rate_bps)
            planned.add_metric((name,), state.planned_bps)
            loss.add_metric((name,), state.loss_db)
            pool.add_metric((name,), state.view.pool_bits)
            held.add_metric((name,), state.held_bits)
            for each in Condition:
                condition.add_metric((name, each), state.view.condition is each)
        yield from (qber, skr, usable, planned, loss, pool, held, condition)

    def _streams(self) -> Iterator[Metric]:
        planned = _gauge("keyweave_stream_planned_rate_bps", "Planned rate of delivered key bits", "stream")
        rate = _gauge(
            "keyweave_stream_delivered_rate_bps", "Confirmed key bits a second, both ends", "stream"
        )
        bits = _counter("keyweave_stream_delivered_bits", "Confirmed key bits, both ends as master", "stream")
        buffered = _gauge("keyweave_stream_buffered_keys", "Keys ready, the fewer of both ends", "stream")
        unmet = _gauge("keyweave_stream_unmet", "1 while the stream's requirements cannot be met", "stream")
        protection = _gauge(
            "keyweave_stream_protection",
            "1 for what protects keys being made now, else 0",
            "stream",
            "protection",
        )
        failovers = _counter("keyweave_stream_failovers", "Moves to another path set or protection", "stream")
        served = _counter(
            "keyweave_keys_served", "Keys handed to SAEs, by protection", "stream", "protection"
        )
        for view in self._overview.streams():
            name = view.stream.name
            planned.add_metric((name,), view.plan.rate_bps if view.plan else 0.0)
            rate.add_metric((name,), view.delivered_bps)
            bits.add_metric((name,), view.delivered_bits_total)
            buffered.add_metric((name,), view.buffered_keys)
            unmet.add_metric((name,), bool(view.plan and view.plan.unmet))
            word = protection_word(view.protection)
            for each in PROTECTIONS:
                protection.add_metric((name, each), word == each)
            failovers.add_metric((name,), view.failovers_total)
            served.add_metric((name, "qkd"), view.served_qkd_total)
            served.add_metric((name, "hybrid"), view.served_hybrid_total)
            served.add_metric((name, "pqc"), view.served_pqc_total)
        yield from (planned, rate, bits, buffered, unmet, protection, failovers, served)

    def _agents(self) -> Iterator[Metric]:
        connected = _gauge("keyweave_agent_connected", "1 while the agent's policy stream is open", "node")
        dropped = _counter(
            "keyweave_agent_dropped_samples", "Samples the agent thinned out of its ring", "node"
        )
        version = _gauge(
            "keyweave_agent_policy_version", "Version of the policy the agent has applied", "node"
        )
        age = _gauge(
            "keyweave_agent_policy_age_seconds",
            "How long the agent has had the desired policy; 0 if it has not",
            "node",
        )
        lag = _gauge(
            "keyweave_agent_policy_lag_seconds",
            "How long the agent has not had the desired policy; 0 if it has",
            "node",
        )
        info = _gauge("keyweave_agent_info", "1; the label tells the agent's version", "node", "version")
        nacked = _gauge(
            "keyweave_agent_policy_nacked", "1 while a refusal of the desired policy stands", "node"
        )
        for view in self._overview.nodes():
            name = view.node.name
            connected.add_metric((name,), view.connected)
            dropped.add_metric((name,), view.dropped_samples_total)
            version.add_metric((name,), view.applied.version if view.applied else 0)
            age.add_metric((name,), self._now() - view.in_sync_since if view.in_sync_since else 0.0)
            nacked.add_metric((name,), bool(view.nacked_rules))
            lag.add_metric((name,), self._now() - view.behind_since if view.behind_since else 0.0)
            if view.software_version:
                info.add_metric((name, view.software_version), 1)
        yield from (connected, dropped, version, age, lag, nacked, info)

    def _controller(self) -> Iterator[Metric]:
        core = self._core
        epoch = _gauge("keyweave_controller_epoch", "Epoch that this controller leads")
        epoch.add_metric((), core.epoch)
        read_only = _gauge(
            "keyweave_controller_read_only", "1 while agents have seen a higher epoch than the store's"
        )
        read_only.add_metric((), core.read_only)
        warming_up = _gauge("keyweave_controller_warming_up", "1 while the stored plan stands after a start")
        warming_up.add_metric((), core.warming_up)
        plan = _gauge("keyweave_plan_version", "Version of the plan in force")
        plan.add_metric((), core.plan.version)
        retiring = _gauge(
            "keyweave_plan_retiring_path_sets", "Path sets that left the plan and may still be in use"
        )
        retiring.add_metric((), sum(len(one.retiring) for one in core.distribution.streams.values()))
        orders = _gauge("keyweave_orders_waiting", "Orders that not all have carried out, by kind", "kind")
        for kind in OrderKind:
            orders.add_metric((kind,), sum(order.kind is kind for order in core.orders))
        pushes = _counter("keyweave_policy_pushes", "Policies sent, by form", "form")
        pushes.add_metric(("snapshot",), self._push.snapshots_total)
        pushes.add_metric(("delta",), self._push.deltas_total)
        answers = _counter("keyweave_policy_answers", "Answers to policies, by kind", "kind")
        answers.add_metric(("ack",), self._push.acks_total)
        answers.add_metric(("nack",), self._push.nacks_total)
        answers.add_metric(("stale",), self._push.stale_answers_total)
        telemetry = _counter("keyweave_telemetry_messages", "Telemetry messages, by outcome", "outcome")
        telemetry.add_metric(("taken",), self._ingest.messages_total)
        telemetry.add_metric(("duplicate",), self._ingest.duplicate_messages_total)
        samples = _counter("keyweave_telemetry_sample_rows", "Rows of link samples taken")
        samples.add_metric((), self._ingest.sample_rows_total)
        refused = _counter("keyweave_telemetry_refused_items", "Items of telemetry that cannot be true")
        refused.add_metric((), self._ingest.refused_items_total)
        depth = _gauge("keyweave_queue_depth", "Items that wait in a bounded queue", "queue")
        for name, items in sorted(self._queues().items()):
            depth.add_metric((name,), items)
        yield from (epoch, read_only, warming_up, plan, retiring, orders, pushes, answers)
        yield from (telemetry, samples, refused, depth)
        yield from self._push.round_trips.collect()


def _gauge(name: str, documentation: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, documentation, labels=labels)


def _counter(name: str, documentation: str, *labels: str) -> CounterMetricFamily:
    return CounterMetricFamily(name, documentation, labels=labels)
