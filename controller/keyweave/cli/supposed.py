"""What-if questions as people write them: `cut L1, L2, down N, add A-B 20k`."""

import re
from collections.abc import Collection

from keyweave.common.errors import InvalidInputError
from keyweave.v1 import admin_pb2

FORM = "cut LINK, down NODE or add NODE-NODE RATE, with commas between; cut A, B is cut A, cut B"
_OPTION = "what-if"
_RATE = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([kMG]?)(?:bit/s|bps)?")
_FACTORS = {"": 1.0, "k": 1e3, "M": 1e6, "G": 1e9}


def changes(text: str, nodes: Collection[str]) -> list[admin_pb2.WhatIfChange]:
    """What `text` supposes. `nodes` are those that there are: names may have hyphens of their own."""
    found: list[admin_pb2.WhatIfChange] = []
    verb = ""
    for said in re.split("[,;]", text):
        head, _, rest = said.strip().partition(" ")
        begins = head in ("cut", "down", "add")
        verb, part = (head, rest.strip()) if begins else (verb, said.strip())
        if not part or not verb:
            raise InvalidInputError.of(_OPTION, f"'{text}' is not understood; write {FORM}")
        if verb == "cut":
            found.append(admin_pb2.WhatIfChange(cut_link=part))
        elif verb == "down":
            found.append(admin_pb2.WhatIfChange(down_node=part))
        else:
            found.append(admin_pb2.WhatIfChange(add_link=_link(part, nodes)))
    return found


def rate_bps(option: str, text: str) -> float:
    """A rate as people write it: `20000`, `20k`, `1.5 Mbit/s`."""
    match = _RATE.fullmatch(text.strip())
    if match is None:
        raise InvalidInputError.of(option, f"'{text}' is no rate; write bit/s like 20000, 20k or 1.5M")
    return float(match[1]) * _FACTORS[match[2]]


def words(change: admin_pb2.WhatIfChange) -> str:
    """A change as it would be written."""
    if change.HasField("cut_link"):
        return f"cut {change.cut_link}"
    if change.HasField("down_node"):
        return f"down {change.down_node}"
    return f"add {change.add_link.a_node}-{change.add_link.b_node} {change.add_link.rate_bps:.6g}"


def _link(text: str, nodes: Collection[str]) -> admin_pb2.SupposedLink:
    names, _, rate = text.partition(" ")
    if not rate:
        raise InvalidInputError.of(_OPTION, f"'add {text}' has no rate; write it like add a-b 20k")
    splits = [(names[:i], names[i + 1 :]) for i, letter in enumerate(names) if letter in "-:"]
    known = [(a, b) for a, b in splits if a in nodes and b in nodes]
    if len(known) > 1:
        ways = " or ".join(f"{a}:{b}" for a, b in known)
        raise InvalidInputError.of(_OPTION, f"'{names}' can be read as {ways}; write it so")
    if not known:
        raise InvalidInputError.of(
            _OPTION, f"'{names}' does not name two nodes that there are; the nodes are {_some(nodes)}"
        )
    a, b = known[0]
    return admin_pb2.SupposedLink(a_node=a, b_node=b, rate_bps=rate_bps(_OPTION, rate))


def _some(nodes: Collection[str]) -> str:
    shown = sorted(nodes)[:12]
    return ", ".join(shown) + (f" and {len(nodes) - len(shown)} more" if len(nodes) > len(shown) else "")
