"""`python -m tests.bench.entanglement [TOPOLOGIES [SLOTS]]`: the reference point and around it."""

import json
import sys
from dataclasses import asdict, replace
from pathlib import Path

from tests.bench.entanglement.compare import SLOTS, TOPOLOGIES, Algorithm, Outcome, Point, compare, paired
from tests.bench.entanglement.greedy import Greedy
from tests.bench.entanglement.ours import Ours
from tests.bench.entanglement.qcast import QCast

REFERENCE = Point()
SWEEP: tuple[Point, ...] = (
    REFERENCE,
    *(replace(REFERENCE, success=success) for success in (0.1, 0.3, 0.9)),
    *(replace(REFERENCE, swap=swap) for swap in (0.8, 0.95, 1.0)),
    *(replace(REFERENCE, nodes=nodes) for nodes in (50, 200, 400)),
    *(replace(REFERENCE, degree=degree) for degree in (3.0, 4.0, 5.0)),
    *(replace(REFERENCE, pairs=pairs) for pairs in (1, 4, 7)),
)
ALGORITHMS: tuple[type[Algorithm], ...] = (QCast, Greedy, Ours)
OUTPUT = Path("bench-entanglement.json")


def changed(point: Point) -> str:
    """What of the reference point is different."""
    fields = {name: value for name, value in asdict(point).items() if value != getattr(REFERENCE, name)}
    return " ".join(f"{name} {value:g}" for name, value in fields.items()) or "reference"


def line(name: str, outcome: Outcome, theirs: Outcome) -> str:
    """One algorithm beside Q-CAST."""
    difference, half = paired(outcome.throughput, theirs.throughput)
    milliseconds = 1e3 * sum(outcome.planning_seconds) / len(outcome.planning_seconds)
    fairness = sum(outcome.fairness) / len(outcome.fairness)
    return (
        f"  {name:<10} {outcome.mean:7.2f} pairs/slot  {outcome.mean / theirs.mean:6.3f}"
        f"  {difference:+6.2f} +- {half:4.2f}  fairness {fairness:.2f}  {milliseconds:7.1f} ms"
    )


def main(topologies: int, slots: int) -> None:
    """Measure all points."""
    rows = []
    for point in SWEEP:
        outcomes = compare(ALGORITHMS, point, topologies, slots)
        sys.stdout.write(changed(point) + "\n")
        for name, outcome in outcomes.items():
            sys.stdout.write(line(name, outcome, outcomes[QCast.name]) + "\n")
            rows.append({"point": asdict(point), "algorithm": name, **asdict(outcome)})
        sys.stdout.flush()
    OUTPUT.write_text(json.dumps(rows, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    numbers = [int(each) for each in sys.argv[1:]]
    main(*(numbers + [TOPOLOGIES, SLOTS][len(numbers) :]))
