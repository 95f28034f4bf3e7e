"""The reference point and around it: every algorithm at each point, in one run."""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace

from tests.bench.entanglement.compare import Algorithm, Effort, Outcome, Point, compare, paired
from tests.bench.entanglement.greedy import Greedy
from tests.bench.entanglement.ours import Ours
from tests.bench.entanglement.qcast import QCast, QCastKeeping
from tests.bench.entanglement.qpass import QPass, QPassStopping
from tests.bench.entanglement.reps import KeyweaveKnowingAll, Reps
from tests.bench.entanglement.slmp import Slmp
from tests.bench.entanglement.turns import Turns

REFERENCE = Point()
TOPOLOGIES = 30
_USUAL = Effort(TOPOLOGIES, demands=1, draws=4)
# Where hardly a pair comes about, means need more slots; planning, which takes the time, stays the same.
_RARE = Effort(TOPOLOGIES, demands=1, draws=40)
ALGORITHMS: tuple[type[Algorithm], ...] = (QCast, Slmp, Greedy, QPass, Reps, Ours)
# At the reference point also a fixed schedule, and what explains the others.
EXPLAINING: tuple[type[Algorithm], ...] = (
    Turns,
    QCastKeeping,
    QPassStopping,
    KeyweaveKnowingAll,
)
SWEEP: tuple[tuple[Point, Effort], ...] = (
    (REFERENCE, Effort(TOPOLOGIES, demands=1, draws=10)),
    *((replace(REFERENCE, success=success), _USUAL) for success in (0.3, 0.9)),
    (replace(REFERENCE, success=0.1), _RARE),
    *((replace(REFERENCE, pairs=pairs), _USUAL) for pairs in (1, 4, 7)),
    *((replace(REFERENCE, swap=swap), _USUAL) for swap in (0.8, 0.85, 0.95, 1.0)),
    *((replace(REFERENCE, degree=degree), _USUAL) for degree in (3.0, 4.0, 5.0)),
    *((replace(REFERENCE, nodes=nodes), _USUAL) for nodes in (50, 200, 400)),
)

# A point's name, its effort and what came out, as the results file has them.
Row = dict[str, object]


def changed(point: Point) -> str:
    """What of the reference point is different."""
    fields = {name: value for name, value in asdict(point).items() if value != getattr(REFERENCE, name)}
    return " ".join(f"{name} {value:g}" for name, value in fields.items()) or "reference"


def sweep(points: Sequence[tuple[Point, Effort]] = SWEEP) -> Iterator[list[Row]]:
    """Measure and print; after each point all rows so far, one for each point and algorithm."""
    rows: list[Row] = []
    for point, effort in points:
        algorithms = (*ALGORITHMS, *EXPLAINING) if point == REFERENCE else ALGORITHMS
        outcomes = compare(algorithms, point, effort)
        sys.stdout.write(f"{changed(point)} ({effort.topologies} topologies)\n")
        for name, outcome in outcomes.items():
            row = described(outcome, outcomes[QCast.name])
            rows.append(
                {"at": changed(point), "algorithm": name, **row}
                | {"point": asdict(point), "effort": asdict(effort), "each": asdict(outcome)}
            )
            sys.stdout.write(
                f"  {name:<22} {row['pairs']:7.3f} pairs/slot {row['ratio']:6.3f}"
                f" {row['difference']:+7.3f} +- {row['half_width']:5.3f}"
                f"  fairness {row['fairness']:.2f} {row['planning_ms']:8.1f} ms\n"
            )
        sys.stdout.flush()
        yield rows


def described(outcome: Outcome, theirs: Outcome) -> dict[str, float]:
    """One algorithm beside Q-CAST."""
    difference, half_width = paired(outcome.throughput, theirs.throughput)
    return {
        "pairs": outcome.mean,
        "ratio": outcome.mean / theirs.mean,
        # Of the mean difference: half of its 95 % confidence interval.
        "difference": difference,
        "half_width": half_width,
        "fairness": sum(outcome.fairness) / len(outcome.fairness),
        "planning_ms": 1e3 * sum(outcome.planning_seconds) / len(outcome.planning_seconds),
    }
