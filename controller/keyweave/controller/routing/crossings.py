"""What holds path sets back, as arrays: the links that they cross, and their own bounds."""

from collections.abc import Mapping, Sequence
from itertools import chain, repeat
from math import inf
from operator import attrgetter
from typing import NamedTuple

import numpy as np

from keyweave.common.names import LinkName
from keyweave.controller.routing.arcs import Indices
from keyweave.controller.routing.network import Candidate

_links_of = attrgetter("links")


class Crossings(NamedTuple):
    """The limits of some sets, side by side."""

    # How many each set has, and all of them, set after set.
    counts: Indices
    limits: Indices
    # Bounds that sets have of their own; they are numbered from where the caller says.
    bounds: list[float]


def crossings(sets: Sequence[Candidate], numbers: Mapping[LinkName, int], beyond: int) -> Crossings:
    """Limits of sets by the numbers of links, bounds of single sets by numbers from `beyond` on.

    Links without a number (those that take nothing new) are no limit. A set's bound comes last.
    """
    lengths = np.fromiter(map(len, map(_links_of, sets)), np.int64, len(sets))
    crossed = chain.from_iterable(map(_links_of, sets))
    limits = np.fromiter(map(numbers.get, crossed, repeat(-1)), np.int64, int(lengths.sum()))
    owner = np.repeat(np.arange(len(sets)), lengths)
    bounded = [i for i, one in enumerate(sets) if one.bound_bps < inf]
    if bounded or (len(limits) and limits.min() < 0):
        known = limits >= 0
        owner = np.append(owner[known], np.array(bounded, dtype=np.int64))
        limits = np.append(limits[known], beyond + np.arange(len(bounded)))
        order = np.argsort(owner, kind="stable")
        owner, limits = owner[order], limits[order]
    counts = np.bincount(owner, minlength=len(sets))
    return Crossings(counts, limits, [sets[i].bound_bps for i in bounded])
