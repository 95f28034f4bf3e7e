"""`python -m tests.fuzz.guided --seconds 600 [--only NAME]`: every parser in turn, coverage as the guide.

The corpus grows in --corpus from run to run. What is found is written to tests/fuzz/found, where the quick
run takes it from then on.
"""

import argparse
import json
import logging
import os
import re
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import NoReturn

import atheris
import structlog

with atheris.instrument_imports(include=["keyweave"]):
    from tests.fuzz.guided.entries import CONVERSATIONS, ENTRIES
    from tests.fuzz.guided.entry import Entry

FOUND = Path(__file__).parents[1] / "found"
# An input that takes longer, or a process that is larger, is a finding too.
INPUT_SECONDS = 20
MEMORY_MIB = 1500
_STATUS = re.compile(r"#(\d+)\s+\w+\s+cov: (\d+) ft: (\d+) corp: (\d+)")
_DONE = re.compile(r"stat::number_of_executed_units:\s+(\d+)")


@dataclass(frozen=True)
class Result:
    """What one entry's run came to."""

    entry: str
    executions: int
    edges: int
    corpus: int
    seconds: float
    found: int


def _write_seeds(entry: Entry, corpus: Path) -> None:
    corpus.mkdir(parents=True, exist_ok=True)
    for seed in entry.seeds():
        (corpus / f"seed-{sha256(seed).hexdigest()[:16]}").write_bytes(seed)


def _fuzz(entry: Entry, corpus: Path, seconds: int, seed: int) -> Result:
    _write_seeds(entry, corpus)
    FOUND.mkdir(exist_ok=True)
    before = set(FOUND.iterdir())
    began = time.monotonic()
    options = [
        f"-max_total_time={seconds}",
        f"-timeout={INPUT_SECONDS}",
        f"-rss_limit_mb={MEMORY_MIB}",
        f"-max_len={entry.max_bytes}",
        f"-artifact_prefix={FOUND}/{entry.name}-",
        f"-seed={seed}",
        "-print_final_stats=1",
        str(corpus),
    ]
    with tempfile.TemporaryFile() as said:
        # A process of its own for each, of this one: instrumenting takes a minute.
        child = os.fork()
        if not child:
            _run(entry, options, said.fileno())
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        said.seek(0)
        text = said.read().decode(errors="replace")
    told = [tuple(map(int, match.groups())) for match in _STATUS.finditer(text)]
    done = _DONE.search(text)
    executions, edges, _, kept = told[-1] if told else (0, 0, 0, 0)
    found = set(FOUND.iterdir()) - before
    if code or found:
        print(text[-6000:])  # noqa: T201
    failed = max(len(found), int(code != 0))
    return Result(
        entry.name,
        int(done[1]) if done else executions,
        edges,
        kept,
        round(time.monotonic() - began, 1),
        failed,
    )


def _run(entry: Entry, options: list[str], said: int) -> NoReturn:
    os.dup2(said, sys.stdout.fileno())
    os.dup2(said, sys.stderr.fileno())
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    atheris.Setup([sys.argv[0], *options], entry.take)
    atheris.Fuzz()
    raise AssertionError("libFuzzer ends the process")


def _table(results: Iterable[Result]) -> str:
    lines = ["| parser | executions | edges | corpus | seconds | found |", "|---|---|---|---|---|---|"]
    lines += [
        f"| {r.entry} | {r.executions:,} | {r.edges:,} | {r.corpus} | {r.seconds:g} | {r.found} |"
        for r in results
    ]
    return "\n".join(lines)


def main() -> int:
    """Exit code 1 where anything was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.guided", description=__doc__)
    parser.add_argument("--seconds", type=int, default=3600, help="for all chosen parsers together")
    parser.add_argument("--only", default="", help="parsers with this in their name")
    parser.add_argument("--corpus", type=Path, default=Path(".fuzz/corpus"))
    parser.add_argument("--seed", type=int, default=0, help="of libFuzzer; 0 draws one")
    parser.add_argument("--results", type=Path, default=Path("fuzz.json"))
    asked = parser.parse_args()
    chosen = [entry for entry in (*ENTRIES, *CONVERSATIONS) if asked.only in entry.name]
    if not chosen:
        parser.error(
            f"--only {asked.only}: there are {', '.join(e.name for e in (*ENTRIES, *CONVERSATIONS))}"
        )
    each = max(1, asked.seconds // len(chosen))
    results = []
    for entry in chosen:
        results.append(_fuzz(entry, asked.corpus / entry.name, each, asked.seed))
        print(results[-1], flush=True)  # noqa: T201
    asked.results.write_text(json.dumps([asdict(result) for result in results], indent=2) + "\n")
    print(_table(results))  # noqa: T201
    return 1 if any(result.found for result in results) else 0


sys.exit(main())
