"""A report as data: what the HTML and the PDF show is all in here, and `-o json` writes it.

docs/report-schema.json is this, published. Ratios are 0..1, rates bit/s, times Unix seconds; null is unknown.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

SCHEMA_VERSION: Literal["1"] = "1"
Verdict = Literal["pass", "fail", "no data"]
Seconds = dict[str, float]


class Part(BaseModel):
    """Anything in a report."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Gap(Part):
    """Time in the period of which nothing is known, because nobody watched."""

    start: float
    end: float


class Period(Part):
    """What the report is about, and how much of that is known."""

    start: float
    end: float
    watched_seconds: float
    known_ratio: Annotated[float, Field(description="Share of the period that was watched")]
    coarsest_row_seconds: Annotated[int, Field(description="Length of the longest stretch told as one")]
    gaps: tuple[Gap, ...]


class Spread(Part):
    """A quantity over the time in which it was measured."""

    seconds: float
    mean: float
    deviation: Annotated[float, Field(description="Standard deviation over time")]
    least: float
    most: float


class Allan(Part):
    """Stability: the Allan deviation over one averaging time."""

    tau_seconds: int
    deviation: float
    pairs: Annotated[int, Field(description="Of neighbouring averages that it rests on")]


class Link(Part):
    """One link over the period."""

    name: str
    a_node: str
    b_node: str
    technology: str
    length_km: float
    emulated: bool
    degraded_qber_ratio: float
    abort_qber_ratio: float
    condition_seconds: Seconds
    status_seconds: Seconds
    known_seconds: float
    maintenance_seconds: float
    uptime_ratio: Annotated[
        float | None, Field(description="Share of OK and DEGRADED in the known time outside maintenance")
    ]
    qber: Spread | None
    qber_drift_per_day: Annotated[
        float | None, Field(description="Slope of the least-squares line through QBER, per day")
    ]
    qber_allan: tuple[Allan, ...]
    skr_bps: Annotated[Spread | None, Field(description="While the link was in service")]
    produced_bits: float
    loss_db: Spread | None


class Failovers(Part):
    """Moves of a stream after the way in use failed."""

    count: int
    planned: Annotated[int, Field(description="Moves that interrupted nothing; not among `count`")]
    mean_seconds: float | None
    p50_seconds: Annotated[float | None, Field(description="From a histogram: never less than the true one")]
    p99_seconds: Annotated[float | None, Field(description="From a histogram: never less than the true one")]
    longest_seconds: float | None
    bounds_seconds: tuple[float, ...]
    counts: Annotated[tuple[int, ...], Field(description="One per bound, then those beyond the last")]


class Stream(Part):
    """One stream over the period."""

    name: str
    source_node: str
    target_node: str
    requires: str
    pqc_only: bool
    service_seconds: Seconds
    protection_seconds: Seconds
    availability_ratio: Annotated[
        float | None, Field(description="Share of the known time in which keys could be had")
    ]
    quantum_ratio: Annotated[
        float | None, Field(description="Share of the known time in which keys were made with QKD in them")
    ]
    planned_bps: float | None
    delivered_bps: float | None
    delivered_bits: int
    keys: Annotated[dict[str, int], Field(description="Handed to applications at both ends, by protection")]
    failovers: Failovers


class Node(Part):
    """One node over the period."""

    name: str
    owner: str
    location: str
    presence_seconds: Seconds
    uptime_ratio: Annotated[
        float | None, Field(description="Share of `connected` in the known time outside maintenance")
    ]


class PairLink(Part):
    """One link that makes entangled pairs, over the period."""

    name: str
    a_node: str
    b_node: str
    length_km: float
    condition_seconds: Seconds
    known_seconds: float
    uptime_ratio: Annotated[
        float | None, Field(description="Share of OK in the known time outside maintenance")
    ]
    pair_rate_hz: Annotated[
        Spread | None, Field(description="Pairs a second of one memory at each end, while OK")
    ]
    fidelity: Annotated[Spread | None, Field(description="Of pairs as they are made, from tests, while OK")]


class PairStream(Part):
    """One stream of entangled pairs over the period."""

    name: str
    source_node: str
    target_node: str
    asked_rate_hz: float
    min_fidelity: float
    standing_seconds: Annotated[Seconds, Field(description="`met`, `partly_met`, `unmet`")]
    met_ratio: Annotated[float | None, Field(description="Share of the known time in which it was met")]
    planned_rate_hz: Annotated[
        float | None, Field(description="Predicted, no more than asked, over the known time")
    ]
    delivered_rate_hz: Annotated[Spread | None, Field(description="Tests left out")]
    fidelity: Annotated[Spread | None, Field(description="Of what was delivered, from tests")]


class Fault(Part):
    """A time in which something was not as it should be, or a single thing that must be known."""

    start: float
    end: Annotated[float | None, Field(description="None: it was not over when the period was")]
    node: str
    link: str
    stream: str
    what: str
    severity: str
    diagnosis: str
    reason: str


class Comparison(Part):
    """A stream beside its shadow of ML-KEM alone between the same nodes."""

    stream: str
    shadow: str


class Result(Part):
    """One criterion for one object."""

    requirement: str
    name: Annotated[str, Field(description="The link, stream or node; empty for the network")]
    value: float | None
    unit: str
    verdict: Verdict
    because: str


class Acceptance(Part):
    """What was agreed, and what came of it."""

    title: str
    parties: tuple[str, ...]
    criteria_sha256: str
    verdict: Verdict
    results: tuple[Result, ...]


class LinkSeries(Part):
    """A link over time; one value for each of the report's times."""

    condition_ratio: dict[str, tuple[float, ...]]
    qber_mean: tuple[float | None, ...]
    qber_least: tuple[float | None, ...]
    qber_most: tuple[float | None, ...]
    skr_bps: tuple[float | None, ...]


class StreamSeries(Part):
    """A stream over time."""

    service_ratio: dict[str, tuple[float, ...]]
    planned_bps: tuple[float | None, ...]
    delivered_bps: tuple[float | None, ...]


class Series(Part):
    """Figures over time, in steps of equal length."""

    step_seconds: int
    times: Annotated[tuple[float, ...], Field(description="Where each step begins")]
    links: dict[str, LinkSeries]
    streams: dict[str, StreamSeries]


class Report(Part):
    """The whole report."""

    schema_version: Literal["1"] = SCHEMA_VERSION
    title: str
    made_at: float
    software: str
    source: str
    limits: tuple[str, ...]
    period: Period
    acceptance: Acceptance | None
    links: tuple[Link, ...]
    streams: tuple[Stream, ...]
    nodes: tuple[Node, ...]
    pair_links: tuple[PairLink, ...]
    pair_streams: tuple[PairStream, ...]
    comparisons: tuple[Comparison, ...]
    faults: tuple[Fault, ...]
    lost_faults: Annotated[int, Field(description="Events that there was no room to keep")]
    series: Series
