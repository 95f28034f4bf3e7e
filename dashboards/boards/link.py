"""One link, or several side by side: what it measures, what that reads as, what its detectors do."""

from grafana_foundation_sdk.builders.dashboard import Dashboard

from dashboards.board import LINKS, Row, board
from dashboards.look import CONDITIONS, DIAGNOSES, GREEN, ORANGE, VERMILION
from dashboards.panels import (
    BITS,
    BITS_PER_SECOND,
    CELSIUS,
    DECIBEL,
    HERTZ,
    RATIO,
    SECONDS,
    VOLT,
    AnyPanel,
    Place,
    Query,
    figure,
    lines,
    states,
)
from dashboards.queries import LINK, condition_code, diagnosis_code

UID = "keyweave-link"
_DETECTOR = "{{link}} {{node}} {{detector}}"


def _of(metric: str) -> str:
    return f"{metric}{{{LINK}}}"


def _device(title: str, told: str, unit: str, metric: str, *limits: tuple[str, str]) -> AnyPanel:
    """A quantity of each detector, and between what it is in order."""
    queries = [Query(_of(limit), "{{link}} " + name) for limit, name in limits]
    return lines(title, told, unit, Query(_of(metric), _DETECTOR), *queries, dashed="lowest|highest")


def build() -> Dashboard:
    """The dashboard."""
    return board(
        UID,
        "Link detail",
        "What a link measures and makes, what that reads as, and its detectors against their limits.",
        (LINKS,),
        (
            Row(
                "Condition and diagnosis",
                (
                    states("Condition", "Worst last.", CONDITIONS, Query(condition_code(), "{{link}}")),
                    states(
                        "Diagnosis",
                        "What the measurements read as; `keyweave link get` has the evidence.",
                        DIAGNOSES,
                        Query(diagnosis_code(), "{{link}}"),
                    ),
                ),
            ),
            Row(
                "Quantum channel",
                (
                    lines(
                        "QBER",
                        "The worse of both ends; dashed: where the link is aborted.",
                        RATIO,
                        Query(_of("keyweave_link_qber_ratio"), "{{link}}"),
                        Query(_of("keyweave_link_abort_qber_ratio"), "{{link}} abort"),
                        least=0,
                        dashed="abort",
                    ),
                    lines(
                        "Secret key rate",
                        "The lower of both ends; dashed: the lower bound that plans are made on.",
                        BITS_PER_SECOND,
                        Query(_of("keyweave_link_secret_key_rate_bps"), "{{link}}"),
                        Query(_of("keyweave_link_usable_rate_bps"), "{{link}} usable"),
                        Query(_of("keyweave_link_planned_rate_bps"), "{{link}} planned"),
                        least=0,
                        dashed="usable|planned",
                    ),
                    lines(
                        "Loss",
                        "Attenuation of the quantum channel.",
                        DECIBEL,
                        Query(_of("keyweave_link_loss_db"), "{{link}}"),
                        place=Place(8, 8),
                    ),
                    lines(
                        "Visibility",
                        "Of the interference, the worse of both ends.",
                        RATIO,
                        Query(_of("keyweave_link_visibility_ratio"), "{{link}}"),
                        most=1,
                        place=Place(8, 8),
                    ),
                    figure(
                        "QBER reaches the threshold in",
                        "By the trend of the last hours, of the soonest link; no data while none rises.",
                        SECONDS,
                        Query(f"min(keyweave:link_qber:seconds_to_abort{{{LINK}}} > 0)"),
                        steps=((0, VERMILION), (3600 * 6, ORANGE), (3600 * 24, GREEN)),
                        place=Place(8, 8),
                    ),
                ),
            ),
            Row(
                "Pool",
                (
                    lines(
                        "Pool",
                        "Unused key bits, the lower of both ends; dashed: held in quarantine.",
                        BITS,
                        Query(_of("keyweave_link_pool_bits"), "{{link}}"),
                        Query(_of("keyweave_link_held_bits"), "{{link}} held"),
                        least=0,
                        dashed="held",
                    ),
                    lines(
                        "Time to empty",
                        "Of pools that are being drained, at the pace of the last quarter of an hour.",
                        SECONDS,
                        Query(_of("keyweave:link_pool:seconds_to_empty"), "{{link}}"),
                        logarithmic=True,
                    ),
                ),
            ),
            Row(
                "Detectors",
                (
                    _device(
                        "Counts",
                        "Clicks a second; dashed: the highest that is in order.",
                        HERTZ,
                        "keyweave_detector_count_rate_hz",
                        ("keyweave_link_detector_count_rate_max_hz", "highest"),
                    ),
                    _device(
                        "Dark counts",
                        "Clicks without light; dashed: the highest that is in order.",
                        HERTZ,
                        "keyweave_detector_dark_count_rate_hz",
                        ("keyweave_link_detector_dark_count_rate_max_hz", "highest"),
                    ),
                    _device(
                        "Temperature",
                        "Dashed: the highest that is in order.",
                        CELSIUS,
                        "keyweave_detector_temperature_celsius",
                        ("keyweave_link_detector_temperature_max_celsius", "highest"),
                    ),
                    _device(
                        "Bias",
                        "Dashed: between what it is in order.",
                        VOLT,
                        "keyweave_detector_bias_volts",
                        ("keyweave_link_detector_bias_min_volts", "lowest"),
                        ("keyweave_link_detector_bias_max_volts", "highest"),
                    ),
                    _device(
                        "Efficiency",
                        "Share of photons that make a click; dashed: the least that is in order.",
                        RATIO,
                        "keyweave_detector_efficiency_ratio",
                        ("keyweave_link_detector_efficiency_min_ratio", "lowest"),
                    ),
                ),
            ),
        ),
    )
