"""Writes what Grafana and Prometheus are given, or says what is not as it would be written."""

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from dashboards.boards import BOARDS
from dashboards.rulefile import RULE_FILES, as_yaml

HERE = Path(__file__).parent


def files() -> Iterator[tuple[str, str]]:
    """Every file that is generated, below this folder, with its content."""
    for name, build in BOARDS.items():
        content = json.dumps(build().build(), cls=JSONEncoder, indent=2, sort_keys=True)
        yield f"generated/{name}.json", content + "\n"
    for name, groups in RULE_FILES.items():
        yield f"rules/{name}.yaml", as_yaml(groups)


def main() -> int:
    """0 if everything is as it should be."""
    parser = argparse.ArgumentParser(prog="python -m dashboards", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail if a file differs")
    arguments = parser.parse_args()
    made = dict(files())
    there = {
        path.relative_to(HERE).as_posix()
        for folder in ("generated", "rules")
        for path in (HERE / folder).glob("*.*")
    }
    differing = sorted(
        name for name, content in made.items() if name not in there or (HERE / name).read_text() != content
    )
    strays = sorted(there - made.keys())
    if arguments.check:
        for name in (*differing, *strays):
            sys.stderr.write(f"dashboards/{name} is not what the code makes; run `make dashboards`\n")
        return 1 if differing or strays else 0
    for name in differing:
        (HERE / name).parent.mkdir(exist_ok=True)
        (HERE / name).write_text(made[name])
    for name in strays:
        (HERE / name).unlink()
    return 0


if __name__ == "__main__":
    sys.exit(main())
