"""`python -m tests.bench.entanglement [part ...]`: measure, print, write bench-entanglement.json."""

import json
import sys
from dataclasses import asdict
from pathlib import Path

from tests.bench.entanglement import growth, landing, sweep
from tests.bench.entanglement.chain_table import chains
from tests.bench.entanglement.floors.compare import floors
from tests.bench.entanglement.floors.live import live

PARTS = ("throughput", "growth", "fidelity", "memories", "chains")
OTHERS = {"growth": growth.grow, "fidelity": floors, "memories": live, "chains": chains}
OUTPUT = Path("bench-entanglement.json")


def throughput() -> dict[str, object]:
    """All algorithms at all points, once Q-CAST has landed where its authors' does."""
    landed = landing.land()
    sys.stdout.write(
        f"Q-CAST lands at {landed.pairs_a_slot:.2f} pairs a slot (published {landing.PUBLISHED} +-"
        f" {landing.WITHIN:g}), {landed.over_greedy:.2f} times greedy"
        f" (published {landing.PUBLISHED_OVER_GREEDY})\n"
    )
    if not landed.holds:
        raise SystemExit("Q-CAST is not where its authors have it: nothing can be compared with it")
    return {"landing": asdict(landed), "throughput": sweep.sweep()}


def main(parts: list[str]) -> None:
    """Measure the parts named, or all."""
    if unknown := set(parts).difference(PARTS):
        raise SystemExit(f"no part {sorted(unknown)}; there are {', '.join(PARTS)}")
    results = json.loads(OUTPUT.read_text("utf-8")) if OUTPUT.exists() else {}
    for part in parts or PARTS:
        if part == "throughput":
            results |= throughput()
        else:
            results[part] = OTHERS[part]()
        results["command"] = "python -m tests.bench.entanglement"
        OUTPUT.write_text(json.dumps(results, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
