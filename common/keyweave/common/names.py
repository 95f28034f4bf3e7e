"""Names that must not be mixed, and the one rule they follow."""

import re
from typing import NewType

NodeName = NewType("NodeName", str)
LinkName = NewType("LinkName", str)
StreamName = NewType("StreamName", str)
PathId = NewType("PathId", str)
SaeId = NewType("SaeId", str)
OrderId = NewType("OrderId", str)

NAME_PATTERN = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
NAME_RULE = "lower-case letters, digits and hyphens, at most 63, not starting with a hyphen"


def is_name(text: str) -> bool:
    """Whether `text` may name a node, link or stream."""
    return NAME_PATTERN.fullmatch(text) is not None
