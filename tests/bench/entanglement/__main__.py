"""`python -m tests.bench.entanglement [part ...]`: measure, print, write bench-entanglement.json."""

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

from tests.bench.entanglement import growth, landing, sweep
from tests.bench.entanglement.chain_table import chains
from tests.bench.entanglement.floors.compare import floors
from tests.bench.entanglement.floors.live import live
from tests.bench.entanglement.running import running

OUTPUT = Path("bench-entanglement.json")


def throughput() -> Iterator[dict[str, object]]:
    """All algorithms at all points, once Q-CAST has landed where its authors' does."""
    landed = landing.land()
    sys.stdout.write(
        f"Q-CAST lands at {landed.pairs_a_slot:.2f} pairs a slot (published {landing.PUBLISHED} +-"
        f" {landing.WITHIN:g}), {landed.over_greedy:.2f} times greedy"
        f" (published {landing.PUBLISHED_OVER_GREEDY})\n"
    )
    if not landed.holds:
        raise SystemExit("Q-CAST is not where its authors have it: nothing can be compared with it")
    for rows in sweep.sweep():
        yield {"landing": asdict(landed), "throughput": rows}


def once(name: str, measure: Callable[[], object]) -> Callable[[], Iterator[dict[str, object]]]:
    """A part whose results are there all at once."""

    def run() -> Iterator[dict[str, object]]:
        yield {name: measure()}

    return run


# What to measure; each yields what it has found so far, over and over.
PARTS: dict[str, Callable[[], Iterator[dict[str, object]]]] = {
    "throughput": throughput,
    "growth": once("growth", growth.grow),
    "fidelity": once("fidelity", floors),
    "memories": once("memories", live),
    "chains": once("chains", chains),
    "running": once("running", running),
}


def main(parts: list[str]) -> None:
    """Measure the parts named, or all."""
    if unknown := set(parts).difference(PARTS):
        raise SystemExit(f"no part {sorted(unknown)}; there are {', '.join(PARTS)}")
    results = json.loads(OUTPUT.read_text("utf-8")) if OUTPUT.exists() else {}
    for part in parts or PARTS:
        for found in PARTS[part]():
            results |= {"command": "python -m tests.bench.entanglement"} | found
            OUTPUT.write_text(json.dumps(results, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
