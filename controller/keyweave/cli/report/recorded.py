"""What a report is made of, wherever it comes from: rows of figures, and how the objects are described."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from keyweave.controller.history.rows import Row


@dataclass(frozen=True, slots=True)
class LinkAbout:
    """How operators describe a link. 0: not known."""

    a_node: str = ""
    b_node: str = ""
    technology: str = ""
    length_km: float = 0.0
    degraded_qber_ratio: float = 0.0
    abort_qber_ratio: float = 0.0
    emulated: bool = False


@dataclass(frozen=True, slots=True)
class StreamAbout:
    """How operators describe a stream."""

    source_node: str = ""
    target_node: str = ""
    requires: str = ""
    min_rate_bps: float = 0.0
    pqc_only: bool = False


@dataclass(frozen=True, slots=True)
class NodeAbout:
    """How operators describe a node."""

    owner: str = ""
    location: str = ""


@dataclass(frozen=True, slots=True)
class PairLinkAbout:
    """What a link of pairs is like."""

    a_node: str = ""
    b_node: str = ""
    length_km: float = 0.0


@dataclass(frozen=True, slots=True)
class PairStreamAbout:
    """What a pair stream asks for."""

    source_node: str = ""
    target_node: str = ""
    rate_hz: float = 0.0
    min_fidelity: float = 0.0


@dataclass(frozen=True, slots=True)
class Recorded:
    """All that a source knows of a period: Unix seconds, the end excluded."""

    source: str
    start: float
    end: float
    # In order, never overlapping.
    rows: tuple[Row, ...]
    links: Mapping[str, LinkAbout] = field(default_factory=dict)
    streams: Mapping[str, StreamAbout] = field(default_factory=dict)
    nodes: Mapping[str, NodeAbout] = field(default_factory=dict)
    pair_links: Mapping[str, PairLinkAbout] = field(default_factory=dict)
    pair_streams: Mapping[str, PairStreamAbout] = field(default_factory=dict)
    # What this source cannot tell, in words.
    limits: tuple[str, ...] = ()
