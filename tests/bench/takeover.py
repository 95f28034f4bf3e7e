"""How long nobody leads: `python -m tests.bench.takeover --trials 50` kills the leader of three repeatedly.

Measured as an operator has it: from kill -9 to the first change that a successor has acknowledged, asked for
by a command that finds the leader itself. Keys are fetched at both ends all the while.
"""

import argparse
import asyncio
import json
import sys
import tempfile
import time
from pathlib import Path

from tests.bench.measure import quantile
from tests.chaos.live import running
from tests.chaos.trio import SCENARIO, Trio
from tests.postgresql import PostgresServer, programs


async def measure(trials: int, root: Path, server: PostgresServer) -> dict[str, object]:
    """Figures of this many kills, one after the other."""
    took: list[float] = []
    async with running(SCENARIO, root, controllers=3, database=await server.new_database()) as live:
        trio = Trio(live)
        async with live.traffic({"quantum": 0.3, "anyhow": 0.3}) as results:
            for number in range(trials):
                leader = await trio.leader()
                await trio.settled()
                began = time.monotonic()
                live.kill(leader)
                await trio.create(f"s{number}")
                took.append(time.monotonic() - began)
                sys.stderr.write(f"{number + 1}: {took[-1]:.2f} s\n")
        kept = len({f"s{number}" for number in range(trials)} & await trio.streams())
        violations = live.violations()
    return {
        "trials": trials,
        "median_seconds": round(quantile(took, 0.5), 2),
        "p99_seconds": round(quantile(took, 0.99), 2),
        "largest_seconds": round(max(took), 2),
        "acknowledged_and_kept": kept,
        "keys_fetched": len(results),
        "requests_failed": sum(not result.ok for result in results),
        "violations": violations,
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--trials", type=int, default=50)
    arguments = parser.parse_args()
    binaries = programs()
    if binaries is None:
        sys.exit("PostgreSQL is not installed; Debian has it: postgresql")
    server = PostgresServer(binaries)
    try:
        with tempfile.TemporaryDirectory() as root:
            found = asyncio.run(measure(arguments.trials, Path(root), server))
        sys.stdout.write(json.dumps(found, indent=2) + "\n")
    finally:
        server.remove()


if __name__ == "__main__":
    main()
