"""The agent's own metrics, read from the key plane when scraped.

Labels are bounded by what policy names: links and streams of this node, three protections.
"""

import time
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate
from typing import Protocol

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from keyweave.agent.guard.guardian import Guardian
from keyweave.agent.keyplane.keys.keystore import Protection
from keyweave.agent.keyplane.keys.supply import Served
from keyweave.agent.keyplane.plane import KeyPlane
from keyweave.agent.keyplane.recall import LedgerRecalls
from keyweave.agent.keyplane.streams.near import BATCH_SECONDS
from keyweave.agent.ledger.ledger import Ledger
from keyweave.agent.policy import PolicyStore
from keyweave.agent.ring import Ring
from keyweave.common.certificate_expiry import CertificateExpiry
from keyweave.common.revocation import Trust

Families = Iterable[GaugeMetricFamily | CounterMetricFamily | HistogramMetricFamily]


class UplinkState(Protocol):
    """What metrics need of the uplink."""

    connected: bool
    lease_ends: float
    policies_refused_total: int
    ring: Ring


class AgentCollector(Collector):
    """Reads everything at scrape time, so nothing can be stale."""

    def __init__(
        self,
        plane: KeyPlane,
        served: Served,
        policies: PolicyStore,
        uplink: UplinkState,
        ledger: Ledger,
        recalls: LedgerRecalls,
        trusts: Sequence[Trust],
        guardian: Guardian,
        certificates: Mapping[str, CertificateExpiry],
    ) -> None:
        self._plane = plane
        self._served = served
        self._policies = policies
        self._uplink = uplink
        self._ledger = ledger
        self._recalls = recalls
        self._trusts = trusts
        self._guardian = guardian
        self._certificates = certificates

    def collect(self) -> Families:
        """All families."""
        yield from self._links()
        yield from self._streams()
        yield from self._controller()
        yield from self._records()
        yield from self._trust()
        yield from self._guard()
        sessions = GaugeMetricFamily(
            "keyweave_agent_session_up", "Whether the session with a peer agent is up.", labels=["peer"]
        )
        queued = GaugeMetricFamily(
            "keyweave_agent_session_queue_depth", "Frames that wait to be written to a peer.", labels=["peer"]
        )
        for node, peer in self._plane.peers.items():
            sessions.add_metric([node], float(peer.connected))
            queued.add_metric([node], peer.queued)
        yield from (sessions, queued)

    def _trust(self) -> Families:
        current = GaugeMetricFamily(
            "keyweave_agent_trust_current",
            "Whether the trust anchors and revocation lists on disk are in force (1) or not taken (0).",
            labels=["plane"],
        )
        for trust in self._trusts:
            current.add_metric([trust.name], float(trust.current(time.time())))
        expiry = GaugeMetricFamily(
            "keyweave_agent_certificate_expiry_timestamp_seconds",
            "When the agent's own certificate of a plane ends, Unix time.",
            labels=["plane"],
        )
        for plane, certificate in self._certificates.items():
            expiry.add_metric([plane], certificate.not_after())
        failures = CounterMetricFamily(
            "keyweave_agent_signature_failures",
            "ML-DSA signatures and signing certificates of a peer that were refused.",
            labels=["peer"],
        )
        for node, count in self._plane.vouching.signature_failures.items():
            failures.add_metric([node], count)
        yield from (current, expiry, failures)

    def _links(self) -> Families:
        send = GaugeMetricFamily(
            "keyweave_agent_pool_send_bits", "Unused pool bits this end may send with.", labels=["link"]
        )
        receive = GaugeMetricFamily(
            "keyweave_agent_pool_receive_bits", "Unused pool bits the peer may send with.", labels=["link"]
        )
        intake = CounterMetricFamily(
            "keyweave_agent_pool_intake_bits", "Device key bits taken into pools.", labels=["link"]
        )
        held = GaugeMetricFamily(
            "keyweave_agent_quarantine_held_bits",
            "Bits of device blocks held until an operator clears or destroys them.",
            labels=["link"],
        )
        health = GaugeMetricFamily(
            "keyweave_agent_link_usable", "Whether this end may use the link (1) or not (0).", labels=["link"]
        )
        for name, link in self._plane.links.items():
            send.add_metric([name], link.pools.send_bytes * 8)
            receive.add_metric([name], link.pools.receive_bytes * 8)
            held.add_metric([name], link.held_bytes * 8)
            intake.add_metric([name], link.intake_bytes_total * 8)
            health.add_metric([name], float(link.watch.verdict.health == "ok" and not link.aborted))
        yield from (send, receive, intake, held, health)

    def _streams(self) -> Families:
        ready = GaugeMetricFamily(
            "keyweave_agent_keys_ready", "Confirmed keys the local SAE can draw.", labels=["stream"]
        )
        bits = CounterMetricFamily(
            "keyweave_agent_confirmed_bits", "Bits of keys confirmed by both ends.", labels=["stream"]
        )
        failovers = CounterMetricFamily(
            "keyweave_agent_failovers", "Moves to another path set or protection.", labels=["stream"]
        )
        protection = GaugeMetricFamily(
            "keyweave_agent_stream_protection",
            "What protects keys made now: 1 for the one that applies.",
            labels=["stream", "protection"],
        )
        batches = HistogramMetricFamily(
            "keyweave_agent_batch_seconds",
            "From a batch's first share to its confirmation by the far end.",
            labels=["stream"],
        )
        for name, near in self._plane.near.items():
            times = near.counters.batches
            bounds = map(floatToGoString, BATCH_SECONDS)
            buckets = list(zip(bounds, accumulate(times.counts), strict=True))
            batches.add_metric([name], buckets, times.sum_seconds)
            ready.add_metric([name], self._plane.store.ready(name))
            bits.add_metric([name], near.counters.confirmed_bits)
            failovers.add_metric([name], near.counters.failovers)
            for value in Protection:
                protection.add_metric([name, value.value], float(near.protection is value))
        served = CounterMetricFamily(
            "keyweave_agent_keys_served",
            "Keys handed to SAEs by what protects them.",
            labels=["stream", "protection"],
        )
        for (stream, kind), count in self._served.counts.items():
            served.add_metric([stream, kind.value], count)
        yield from (ready, bits, failovers, protection, served, batches)

    def _records(self) -> Families:
        ledger = self._ledger
        yield CounterMetricFamily(
            "keyweave_agent_ledger_lines", "Lines written to the ledger.", value=ledger.lines_total
        )
        yield CounterMetricFamily(
            "keyweave_agent_ledger_errors", "Writes the ledger's disk refused.", value=ledger.errors_total
        )
        yield CounterMetricFamily(
            "keyweave_agent_keys_recalled",
            "Fetched keys that were built on a link under attack.",
            value=self._recalls.recalled_total,
        )
        yield GaugeMetricFamily(
            "keyweave_agent_ledger_writable",
            "Whether deliveries can be recorded (1); no key is delivered while not (0).",
            value=float(not ledger.failure),
        )
        yield GaugeMetricFamily(
            "keyweave_agent_ledger_problems",
            "Places where the ledger is not whole.",
            value=float(len(ledger.problems)),
        )

    def _controller(self) -> Families:
        policy, uplink = self._policies.policy, self._uplink
        lease = max(0.0, uplink.lease_ends - time.monotonic())
        for name, text, value in (
            ("controller_up", "Whether the controller is reached.", float(uplink.connected)),
            ("lease_remaining_seconds", "How long the policy counts without renewal.", lease),
            ("applied_policy_epoch", "Epoch of the policy in force.", float(policy.epoch)),
            ("applied_policy_version", "Version of the policy in force.", float(policy.version)),
            ("telemetry_queue_depth", "Messages that wait for the controller.", float(len(uplink.ring))),
            ("telemetry_unacked", "Messages sent and not acknowledged.", float(uplink.ring.unacked)),
        ):
            yield GaugeMetricFamily(f"keyweave_agent_{name}", text, value=value)
        yield CounterMetricFamily(
            "keyweave_agent_telemetry_dropped_samples",
            "Samples thinned out while the controller was away.",
            value=uplink.ring.dropped_samples_total,
        )

    def _guard(self) -> Families:
        yield CounterMetricFamily(
            "keyweave_agent_policies_refused",
            "Policies refused whole: of an older epoch, malformed, or against the guard.",
            value=self._uplink.policies_refused_total,
        )
        yield GaugeMetricFamily(
            "keyweave_agent_guard_withheld_rules",
            "Rules of the policy in force that the guard does not let run.",
            value=len(self._guardian.withheld),
        )
        refused = CounterMetricFamily(
            "keyweave_agent_relays_refused",
            "Relayed shares refused: over the guard's rate for a peer, or meant for other hops.",
            labels=["reason"],
        )
        refused.add_metric(["guard_rate"], self._plane.relays.over_guard_total)
        refused.add_metric(["other_path"], self._plane.relays.other_path_total)
        yield refused


def registry(*collectors: Collector) -> CollectorRegistry:
    """A registry of its own: no global state between agents in one test process."""
    result = CollectorRegistry()
    for collector in collectors:
        result.register(collector)
    ProcessCollector(registry=result)
    return result
