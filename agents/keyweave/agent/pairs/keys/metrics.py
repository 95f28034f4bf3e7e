"""What the agent counts of keys made of pairs, read when scraped."""

from collections.abc import Iterable

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from keyweave.agent.pairs.keys.virtual_links import VirtualLinks

_COUNTERS = (
    ("measured_pairs", "Pairs measured for keys at this end.", "measured_total"),
    ("secret_bits", "Bits of key made, after privacy amplification.", "secret_bits_total"),
    ("blocks", "Blocks of sifted bits that were corrected alike at both ends.", "blocks_total"),
    ("blocks_without_key", "Of these, blocks with nothing secret in them.", "blocks_without_key_total"),
    (
        "blocks_unequal",
        "Blocks that the ends did not bring to the same bits; destroyed.",
        "blocks_unequal_total",
    ),
    ("disagreements", "Discussions begun anew: the other end said what cannot be.", "disagreements"),
)


class PairKeyCollector(Collector):
    """Labels are bounded by the virtual links that policy names."""

    def __init__(self, links: VirtualLinks) -> None:
        self._links = links

    def collect(self) -> Iterable[GaugeMetricFamily | CounterMetricFamily]:
        """All families."""
        for name, text, field in _COUNTERS:
            family = CounterMetricFamily(f"keyweave_agent_pair_key_{name}", text, labels=["link"])
            for link, tally in self._links.tallies.items():
                family.add_metric([link], float(getattr(tally, field)))
            yield family
        qber = GaugeMetricFamily(
            "keyweave_agent_pair_key_qber_ratio",
            "QBER of the pairs' outcomes in the basis that is compared, of late.",
            labels=["link"],
        )
        for link, tally in self._links.tallies.items():
            if tally.qber_ratio is not None:
                qber.add_metric([link], tally.qber_ratio)
        yield qber
