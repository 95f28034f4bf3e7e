"""Entangled pairs as metrics: links that make them, streams that take them, memories."""

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from keyweave.controller.pairs.served import State
from keyweave.controller.pairs.supply import PairSupply
from keyweave.controller.topology import Condition

_CONDITIONS = (Condition.OK, Condition.DOWN, Condition.STALE, Condition.MAINTENANCE)


class PairMetrics(Collector):
    """The pairs of the core; nothing where no agent has memories and nobody asks for pairs."""

    def __init__(self, pairs: PairSupply) -> None:
        self._pairs = pairs

    def describe(self) -> Iterator[Metric]:
        """Nothing at registration: names are known only with values."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """Everything, as it is now."""
        yield from self._links()
        yield from self._streams()
        yield from self._memories()

    def _links(self) -> Iterator[Metric]:
        attempts = _gauge(
            "keyweave_link_pair_attempt_rate_hz", "Attempts a second of one memory at each end", "link"
        )
        success = _gauge("keyweave_link_pair_success_ratio", "Share of attempts that made a pair", "link")
        rate = _gauge("keyweave_link_pair_rate_hz", "Pairs a second of one memory at each end", "link")
        fidelity = _gauge(
            "keyweave_link_pair_fidelity_ratio",
            "Fidelity of pairs as they are made, from tests; absent until it is measured",
            "link",
        )
        condition = _gauge(
            "keyweave_link_pair_condition",
            "1 for the condition that a link of pairs is in, else 0",
            "link",
            "condition",
        )
        tests = _counter("keyweave_link_pair_tests", "Pairs of the link that were tested", "link")
        for link, _ in self._pairs.links():
            attempts.add_metric((link.name,), link.attempt_rate_hz)
            success.add_metric((link.name,), link.success_ratio)
            rate.add_metric((link.name,), link.pair_rate_hz)
            tests.add_metric((link.name,), link.tests_total)
            if link.fidelity is not None:
                fidelity.add_metric((link.name,), link.fidelity.fidelity)
            for each in _CONDITIONS:
                condition.add_metric((link.name, each), link.condition is each)
        yield from (attempts, success, rate, fidelity, condition, tests)

    def _streams(self) -> Iterator[Metric]:
        asked = _gauge("keyweave_pair_stream_asked_rate_hz", "Pairs a second that are asked for", "stream")
        planned = _gauge(
            "keyweave_pair_stream_planned_rate_hz",
            "Pairs a second that are predicted, tests left out",
            "stream",
        )
        delivered = _gauge(
            "keyweave_pair_stream_delivered_rate_hz", "Pairs a second that are delivered", "stream"
        )
        floor = _gauge(
            "keyweave_pair_stream_min_fidelity_ratio", "Fidelity that the stream asks for", "stream"
        )
        foreseen = _gauge(
            "keyweave_pair_stream_planned_fidelity_ratio",
            "Fidelity that is predicted; absent while nothing is planned",
            "stream",
        )
        measured = _gauge(
            "keyweave_pair_stream_fidelity_ratio",
            "Fidelity as delivered, from tests; absent until it is measured",
            "stream",
        )
        pairs = _counter("keyweave_pair_stream_pairs", "Pairs that were delivered", "stream")
        tested = _counter("keyweave_pair_stream_tested_pairs", "Pairs that were used as tests", "stream")
        lost = _counter(
            "keyweave_pair_stream_lost_pairs",
            "Pairs that were given up: too old, or lost by failed swaps and purifications",
            "stream",
        )
        state = _gauge("keyweave_pair_stream_state", "1 for how the stream stands, else 0", "stream", "state")
        for view in self._pairs.views():
            name = (view.stream.name,)
            asked.add_metric(name, view.stream.rate_hz)
            planned.add_metric(name, view.predicted_rate_hz)
            delivered.add_metric(name, view.delivered_rate_hz)
            floor.add_metric(name, view.stream.min_fidelity)
            if view.ways:
                foreseen.add_metric(name, view.predicted_fidelity)
            if view.measured is not None:
                measured.add_metric(name, view.measured.fidelity)
            pairs.add_metric(name, view.delivered_total)
            tested.add_metric(name, view.tested_total)
            lost.add_metric(name, view.lost_total)
            for each in State:
                state.add_metric((view.stream.name, each), view.state is each)
        yield from (asked, planned, delivered, floor, foreseen, measured, pairs, tested, lost, state)

    def _memories(self) -> Iterator[Metric]:
        memories = _gauge("keyweave_node_memories", "Quantum memories of a node, by state", "node", "state")
        given = _gauge(
            "keyweave_node_planned_memories", "Quantum memories that the plan gives to pair streams", "node"
        )
        coherence = _gauge(
            "keyweave_node_memory_coherence_seconds",
            "Coherence time T2 of a node's memories; absent where they do not fade",
            "node",
        )
        swaps = _gauge("keyweave_node_swap_success_ratio", "Share of entanglement swaps that succeed", "node")
        planned = self._pairs.planned_memories()
        for node, told, state in self._pairs.book.banks():
            attempting = state.attempting if state is not None else 0
            holding = state.holding if state is not None else 0
            out = told.memories - node.memories
            memories.add_metric((node.name, "free"), max(0, node.memories - attempting - holding))
            memories.add_metric((node.name, "attempting"), attempting)
            memories.add_metric((node.name, "holding"), holding)
            memories.add_metric((node.name, "out of order"), out)
            given.add_metric((node.name,), planned.get(node.name, 0))
            if node.t2_seconds != float("inf"):
                coherence.add_metric((node.name,), node.t2_seconds)
            swaps.add_metric((node.name,), node.swap_success_ratio)
        yield from (memories, given, coherence, swaps)


def _gauge(name: str, documentation: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, documentation, labels=labels)


def _counter(name: str, documentation: str, *labels: str) -> CounterMetricFamily:
    return CounterMetricFamily(name, documentation, labels=labels)
