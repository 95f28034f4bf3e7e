"""What operators describe, as metrics: where nodes are, what links and streams are held against.

Dashboards and alert rules compare what is measured with these, so that no limit is written down twice.
"""

from collections.abc import Iterator

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from keyweave.controller.reconcile.core import Core

# Limits of a link's detectors: field of `DetectorLimits`, metric, what it says.
_DETECTOR_LIMITS = (
    ("max_count_rate_hz", "keyweave_link_detector_count_rate_max_hz", "Highest count rate of a detector"),
    (
        "max_dark_count_rate_hz",
        "keyweave_link_detector_dark_count_rate_max_hz",
        "Highest dark count rate of a detector",
    ),
    ("min_efficiency_ratio", "keyweave_link_detector_efficiency_min_ratio", "Least efficiency of a detector"),
    (
        "max_temperature_celsius",
        "keyweave_link_detector_temperature_max_celsius",
        "Highest temperature of a detector",
    ),
    ("min_bias_volts", "keyweave_link_detector_bias_min_volts", "Lowest bias of a detector"),
    ("max_bias_volts", "keyweave_link_detector_bias_max_volts", "Highest bias of a detector"),
)


class DescribedMetrics(Collector):
    """The core's nodes, links and streams as operators wrote them, and what the plan gives each stream."""

    def __init__(self, core: Core) -> None:
        self._core = core

    def describe(self) -> Iterator[Metric]:
        """Nothing at registration: names are known only with values."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """Everything, as it is described now."""
        yield from self._nodes()
        yield from self._links()
        yield from self._streams()

    def _nodes(self) -> Iterator[Metric]:
        latitude = _gauge("keyweave_node_latitude_degrees", "Where the node is; absent if not said", "node")
        longitude = _gauge("keyweave_node_longitude_degrees", "Where the node is; absent if not said", "node")
        for name, node in sorted(self._core.nodes.items()):
            if node.latitude_degrees or node.longitude_degrees:
                latitude.add_metric((name,), node.latitude_degrees)
                longitude.add_metric((name,), node.longitude_degrees)
        yield from (latitude, longitude)

    def _links(self) -> Iterator[Metric]:
        end = _gauge("keyweave_link_end", "1 for each node at which the link ends", "link", "node")
        abort = _gauge("keyweave_link_abort_qber_ratio", "QBER at or above which the link is aborted", "link")
        degraded = _gauge(
            "keyweave_link_degraded_qber_ratio", "QBER at or above which the link is degraded", "link"
        )
        limits = {
            field: _gauge(name, f"{what} that is in order; absent if not said", "link")
            for field, name, what in _DETECTOR_LIMITS
        }
        for name in self._core.links:
            link = self._core.links[name].link
            for node in (link.a, link.b):
                end.add_metric((name, node), 1)
            abort.add_metric((name,), link.abort_qber_ratio)
            degraded.add_metric((name,), link.degraded_qber_ratio)
            for field, family in limits.items():
                limit = getattr(link.detector_limits, field)
                if limit is not None:
                    family.add_metric((name,), limit)
        yield from (end, abort, degraded, *limits.values())

    def _streams(self) -> Iterator[Metric]:
        end = _gauge("keyweave_stream_end", "1 for each node at which the stream ends", "stream", "node")
        least = _gauge("keyweave_stream_min_rate_bps", "Rate that the stream is guaranteed", "stream")
        buffer = _gauge("keyweave_stream_buffer_target_keys", "Keys that each end keeps ready", "stream")
        requires = _gauge(
            "keyweave_stream_requires",
            "1 for what every key of the stream must be protected by, else 0",
            "stream",
            "protection",
        )
        pqc_only = _gauge(
            "keyweave_stream_pqc_only", "1 for a stream that wants no quantum path, else 0", "stream"
        )
        backups = _gauge(
            "keyweave_stream_backup_path_sets", "Path sets that stand by for those in use", "stream"
        )
        for name, stream in sorted(self._core.streams.items()):
            for node in (stream.source, stream.target):
                end.add_metric((name, node), 1)
            least.add_metric((name,), stream.min_rate_bps)
            buffer.add_metric((name,), stream.buffer_keys)
            requires.add_metric((name, "qkd"), stream.require_qkd)
            requires.add_metric((name, "pqc"), stream.require_pqc)
            pqc_only.add_metric((name,), stream.pqc_only)
            plan = self._core.plan.streams.get(name)
            backups.add_metric((name,), sum(each.rank > 0 for each in plan.path_sets) if plan else 0)
        yield from (end, least, buffer, requires, pqc_only, backups)


def _gauge(name: str, documentation: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, documentation, labels=labels)
