"""Objects that an snmpd hands through (its pass_persist protocol): a JSON file of {OID: [type, value]}.

`python fake_snmp_objects.py FILE`. A counter written as ["counter64", value, per_second] goes on by itself.
"""

import json
import sys
import time
from pathlib import Path

BEGAN = time.monotonic()


def main(file: Path) -> None:
    """Answer snmpd until it closes the pipe."""
    for line in sys.stdin:
        word = line.strip()
        if word == "PING":
            sys.stdout.write("PONG\n")
        elif word == "get":
            sys.stdout.write(answer(file, sys.stdin.readline().strip().removeprefix(".")))
        elif word == "getnext":
            sys.stdin.readline()
            sys.stdout.write("NONE\n")
        sys.stdout.flush()


def answer(file: Path, oid: str) -> str:
    """What there is at an OID, in snmpd's form."""
    objects = json.loads(file.read_text(encoding="utf-8"))
    if oid not in objects:
        return "NONE\n"
    kind, value, *per_second = objects[oid]
    if per_second:
        value += int(per_second[0] * (time.monotonic() - BEGAN))
    return f".{oid}\n{kind}\n{value}\n"


if __name__ == "__main__":
    main(Path(sys.argv[1]))
