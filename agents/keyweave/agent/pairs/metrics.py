"""Metrics of memories and pairs, read when scraped. Labels are bounded by the device and by policy."""

from collections.abc import Iterable

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from keyweave.agent.pairs.engine import Engine
from keyweave.agent.pairs.memories import State
from keyweave.agent.pairs.stock import Ending

Families = Iterable[GaugeMetricFamily | CounterMetricFamily]

_STREAM_COUNTERS = (
    ("delivered", "Pairs that reached both ends, tests left out.", "delivered"),
    ("tested", "Pairs measured at both ends to estimate their fidelity, or for a Bell test.", "tested"),
    ("waiting_seconds", "Age of delivered pairs, added up.", "waiting_seconds"),
)


class PairCollector(Collector):
    """Reads the engine of one node."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def collect(self) -> Families:
        """All families; without memories there are none to read."""
        engine, register = self._engine, self._engine.stock.register
        memories = GaugeMetricFamily(
            "keyweave_agent_memories", "Quantum memories by what they do.", labels=["state"]
        )
        for state in State:
            memories.add_metric([state.value], float(register.count(state)) if register else 0.0)
        yield memories
        yield GaugeMetricFamily(
            "keyweave_agent_memories_reached",
            "Whether the device of the memories is reached (1) or not, or there is none (0).",
            value=float(engine.hardware.reached),
        )
        yield from self._links()
        ended = CounterMetricFamily(
            "keyweave_agent_pair_halves_ended",
            "Halves of pairs that this node held, by what became of them.",
            labels=["ending"],
        )
        for ending in Ending:
            ended.add_metric([ending.value], float(engine.stock.endings[ending]))
        yield CounterMetricFamily(
            "keyweave_agent_pair_halves_heralded",
            "Halves of pairs that this node came to hold.",
            value=float(engine.stock.heralded_total),
        )
        yield ended
        yield from self._streams()

    def _links(self) -> Families:
        attempts = CounterMetricFamily(
            "keyweave_agent_pair_link_attempts", "Attempts at a pair over a link.", labels=["link"]
        )
        heralds = CounterMetricFamily(
            "keyweave_agent_pair_link_heralds", "Pairs heralded over a link.", labels=["link"]
        )
        signal = GaugeMetricFamily(
            "keyweave_agent_pair_link_up", "Whether a pair link has signal (1) or not (0).", labels=["link"]
        )
        bank = self._engine.hardware.bank
        for link in bank.links if bank else ():
            totals = self._engine.hardware.totals(link.link)
            attempts.add_metric([link.link], float(totals.attempts))
            heralds.add_metric([link.link], float(totals.heralds))
            signal.add_metric([link.link], float(self._engine.hardware.reached and totals.has_signal))
        yield from (attempts, heralds, signal)

    def _streams(self) -> Families:
        engine = self._engine
        for name, text, field in _STREAM_COUNTERS:
            family = CounterMetricFamily(f"keyweave_agent_pair_stream_{name}", text, labels=["stream"])
            for stream, counts in engine.counts.streams.items():
                family.add_metric([stream], float(getattr(counts, field)))
            yield family
        fidelity = GaugeMetricFamily(
            "keyweave_agent_pair_stream_fidelity_ratio",
            "Fidelity of a stream's pairs as its source has measured it since it started.",
            labels=["stream"],
        )
        kept = GaugeMetricFamily(
            "keyweave_agent_pair_stream_kept", "Pairs that wait for an application.", labels=["stream"]
        )
        held = engine.shelf.kept_by_stream()
        for stream, counts in engine.counts.streams.items():
            kept.add_metric([stream], float(held[stream]))
            estimate = counts.tests.fidelity
            if estimate is not None:
                fidelity.add_metric([stream], estimate)
        yield from (fidelity, kept)
        yield CounterMetricFamily(
            "keyweave_agent_pair_outcomes_dropped",
            "Outcomes that no application took in time.",
            value=float(engine.shelf.dropped_total),
        )
