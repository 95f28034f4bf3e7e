"""What devices measure beyond rate and QBER, and what that reads as, as metrics.

A link end that is not heard of shows nothing: an old reading must not look like a new one.
"""

from collections.abc import Callable, Iterator

import numpy as np
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from keyweave.controller.estimate.conditions import fresh_ends
from keyweave.controller.reconcile.core import Core
from keyweave.controller.samples import Column

# Column of a detector, metric, what it says.
_DETECTOR_QUANTITIES = (
    ("count_rate_hz", "keyweave_detector_count_rate_hz", "Clicks a second"),
    ("dark_count_rate_hz", "keyweave_detector_dark_count_rate_hz", "Clicks a second without light"),
    ("efficiency_ratio", "keyweave_detector_efficiency_ratio", "Share of photons that make a click"),
    ("temperature_celsius", "keyweave_detector_temperature_celsius", "Temperature"),
    ("bias_volts", "keyweave_detector_bias_volts", "Bias voltage"),
)


class DeviceMetrics(Collector):
    """Reads each link's track and the detectors of its ends when scraped."""

    def __init__(self, core: Core, now: Callable[[], float]) -> None:
        self._core = core
        self._now = now

    def describe(self) -> Iterator[Metric]:
        """Nothing at registration: names are known only with values."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """Everything that is measured now."""
        now = self._now()
        visibility = _gauge("keyweave_link_visibility_ratio", "Visibility, the worse of both ends", "link")
        diagnosis = _gauge(
            "keyweave_link_diagnosis",
            "1 for what the link's measurements read as now, `none` while they say nothing",
            "link",
            "diagnosis",
        )
        quantities = {
            column: _gauge(name, f"{what}, one detector", "link", "node", "detector")
            for column, name, what in _DETECTOR_QUANTITIES
        }
        for name in self._core.links:
            entry = self._core.links[name]
            diagnosis.add_metric((name, entry.estimate.cause or "none"), 1)
            ends = fresh_ends(entry.track, entry.limits, now)
            seen = [end.fast.visibility_ratio.mean for end in ends if end.fast.visibility_ratio.weight]
            if seen:
                visibility.add_metric((name,), min(seen))
            for end in ends:
                for detector in entry.detectors.get(end.node, {}).values():
                    for column, family in quantities.items():
                        reading = _mean(getattr(detector, column))
                        if reading is not None:
                            family.add_metric((name, end.node, detector.detector), reading)
        yield from (visibility, diagnosis, *quantities.values())


def _mean(column: Column) -> float | None:
    """Of the rows of the newest message: a single row has too few counts. None where nothing was measured."""
    measured = column[~np.isnan(column)]
    return float(measured.mean()) if measured.size else None


def _gauge(name: str, documentation: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, documentation, labels=labels)
