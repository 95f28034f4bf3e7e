"""`python -m tests.fuzz --minutes 10 [--only NAME]`: every target in turn, from ever new seeds."""

import argparse
import random
import sys
import time
import traceback

from tests.fuzz.run import run
from tests.fuzz.targets import TARGETS

EXAMPLES_PER_ROUND = 300


def main() -> int:
    """Exit code 1 where anything was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--only", default="", help="targets with this in their name")
    parser.add_argument("--seed", type=int, default=None, help="repeat the rounds that began with this seed")
    asked = parser.parse_args()
    chosen = [target for target in TARGETS if asked.only in target.name]
    seed = random.randrange(2**32) if asked.seed is None else asked.seed
    ends, found, examples = time.monotonic() + asked.minutes * 60, 0, 0
    while chosen and time.monotonic() < ends:
        for target in tuple(chosen):
            if time.monotonic() >= ends:
                break
            try:
                run(target, EXAMPLES_PER_ROUND, seed=seed)
            except Exception:  # noqa: BLE001  # a finding is whatever comes out
                found += 1
                chosen.remove(target)
                print(f"---- {target.name}, seed {seed}\n{traceback.format_exc()}", flush=True)  # noqa: T201
            examples += EXAMPLES_PER_ROUND
        seed += 1
    print(f"{examples} examples, {found} findings; last seed {seed}")  # noqa: T201
    return 1 if found else 0


sys.exit(main())
