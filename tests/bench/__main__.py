"""`python -m tests.bench [part ...]`: measure, print a table, write bench.json."""

import sys
import time
from collections.abc import Callable
from pathlib import Path

from tests.bench import batch, diagnosis, etsi014, heal, ingest, planning, relay, repair, start
from tests.bench.report import Result, table, to_json

PARTS: dict[str, Callable[[], list[Result]]] = {
    "batch": batch.run,
    "diagnosis": diagnosis.run,
    "etsi014": etsi014.run,
    "heal": heal.run,
    "ingest": ingest.run,
    "planning": planning.run,
    "relay": relay.run,
    "repair": repair.run,
    "start": start.run,
}
OUTPUT = Path("bench.json")


def main(wanted: list[str]) -> None:
    """Measure the parts named, or all."""
    unknown = [name for name in wanted if name not in PARTS]
    if unknown:
        raise SystemExit(f"there is no part {', '.join(unknown)}; the parts are {', '.join(PARTS)}")
    results: list[Result] = []
    for name in wanted or PARTS:
        begun = time.monotonic()
        results += PARTS[name]()
        sys.stderr.write(f"{name}: {time.monotonic() - begun:.0f} s\n")
    OUTPUT.write_text(to_json(results), "utf-8")
    sys.stdout.write(table(results) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
