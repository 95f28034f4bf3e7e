"""Figures that add up: what was seen of a link, a stream or a node over some time.

All of it may be added in any pieces and merged in any order: the figures of a day are those of its hours.
"""

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf, sqrt

# Durations of failovers are counted up to these, and beyond the last.
FAILOVER_BOUNDS_SECONDS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)

# Seconds, or counts, by a word of a closed set.
Shares = dict[str, float]
Counts = dict[str, int]


@dataclass(slots=True)
class Spread:
    """The values that a quantity had, each weighted by how long it had it."""

    seconds: float = 0.0
    mean: float = 0.0
    # Sum over time of the squared deviation from the mean.
    squares: float = 0.0
    least: float = inf
    most: float = -inf

    def add(self, value: float, seconds: float) -> None:
        """It had this value for so long."""
        if seconds > 0:
            self.merge(Spread(seconds, value, 0.0, value, value))

    def merge(self, other: "Spread") -> None:
        """Both times together: Chan, Golub and LeVeque, Stanford STAN-CS-79-773 (1979), by weight."""
        if other.seconds <= 0:
            return
        total = self.seconds + other.seconds
        apart = other.mean - self.mean
        self.squares += other.squares + apart * apart * self.seconds * other.seconds / total
        self.mean += apart * other.seconds / total
        self.seconds = total
        self.least = min(self.least, other.least)
        self.most = max(self.most, other.most)

    @property
    def deviation(self) -> float:
        """Standard deviation over time."""
        return sqrt(self.squares / self.seconds) if self.seconds else 0.0


@dataclass(slots=True)
class Failovers:
    """Moves after the way in use failed, by how long they took."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(FAILOVER_BOUNDS_SECONDS) + 1))
    sum_seconds: float = 0.0
    longest_seconds: float = 0.0
    # Moves that interrupted nothing; not among the counts.
    planned: int = 0

    def add(self, seconds: float) -> None:
        """One move; of 0 seconds where nothing was interrupted."""
        if seconds <= 0:
            self.planned += 1
            return
        self.counts[bisect_left(FAILOVER_BOUNDS_SECONDS, seconds)] += 1
        self.sum_seconds += seconds
        self.longest_seconds = max(self.longest_seconds, seconds)

    def merge(self, other: "Failovers") -> None:
        """Both times together."""
        self.counts = [ours + theirs for ours, theirs in zip(self.counts, other.counts, strict=True)]
        self.sum_seconds += other.sum_seconds
        self.longest_seconds = max(self.longest_seconds, other.longest_seconds)
        self.planned += other.planned

    @property
    def total(self) -> int:
        """Moves that interrupted something."""
        return sum(self.counts)

    def at_most(self, share: float) -> float:
        """A duration that this share of the moves did not exceed: never less than the true quantile."""
        wanted, seen = share * self.total, 0
        for bound, count in zip(FAILOVER_BOUNDS_SECONDS, self.counts, strict=False):
            seen += count
            if seen and seen >= wanted:
                return min(bound, self.longest_seconds)
        return self.longest_seconds


@dataclass(slots=True)
class LinkCell:
    """One link over some time."""

    condition: Shares = field(default_factory=dict)
    status: Shares = field(default_factory=dict)
    qber_ratio: Spread = field(default_factory=Spread)
    skr_bps: Spread = field(default_factory=Spread)
    loss_db: Spread = field(default_factory=Spread)

    def merge(self, other: "LinkCell") -> None:
        """Both times together."""
        add_up(self.condition, other.condition)
        add_up(self.status, other.status)
        self.qber_ratio.merge(other.qber_ratio)
        self.skr_bps.merge(other.skr_bps)
        self.loss_db.merge(other.loss_db)


@dataclass(slots=True)
class StreamCell:
    """One stream over some time."""

    service: Shares = field(default_factory=dict)
    protection: Shares = field(default_factory=dict)
    planned_bits: float = 0.0
    delivered_bits: int = 0
    served: Counts = field(default_factory=dict)
    failovers: Failovers = field(default_factory=Failovers)

    def merge(self, other: "StreamCell") -> None:
        """Both times together."""
        add_up(self.service, other.service)
        add_up(self.protection, other.protection)
        self.planned_bits += other.planned_bits
        self.delivered_bits += other.delivered_bits
        for word, count in other.served.items():
            self.served[word] = self.served.get(word, 0) + count
        self.failovers.merge(other.failovers)


@dataclass(slots=True)
class PairLinkCell:
    """One link that makes pairs, over some time."""

    condition: Shares = field(default_factory=dict)
    pair_rate_hz: Spread = field(default_factory=Spread)
    fidelity: Spread = field(default_factory=Spread)

    def merge(self, other: "PairLinkCell") -> None:
        """Both times together."""
        add_up(self.condition, other.condition)
        self.pair_rate_hz.merge(other.pair_rate_hz)
        self.fidelity.merge(other.fidelity)


@dataclass(slots=True)
class PairStreamCell:
    """One stream of pairs over some time."""

    standing: Shares = field(default_factory=dict)
    planned_pairs: float = 0.0
    delivered_rate_hz: Spread = field(default_factory=Spread)
    fidelity: Spread = field(default_factory=Spread)

    def merge(self, other: "PairStreamCell") -> None:
        """Both times together."""
        add_up(self.standing, other.standing)
        self.planned_pairs += other.planned_pairs
        self.delivered_rate_hz.merge(other.delivered_rate_hz)
        self.fidelity.merge(other.fidelity)


@dataclass(slots=True)
class NodeCell:
    """One node over some time: `connected`, `away` or in `maintenance`."""

    presence: Shares = field(default_factory=dict)
    dropped_samples: int = 0

    def merge(self, other: "NodeCell") -> None:
        """Both times together."""
        add_up(self.presence, other.presence)
        self.dropped_samples += other.dropped_samples


def add_up(shares: Shares, more: Mapping[str, float]) -> None:
    """Add seconds word by word."""
    for word, seconds in more.items():
        shares[word] = shares.get(word, 0.0) + seconds
