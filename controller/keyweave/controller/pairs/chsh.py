"""The Bell inequality of Clauser, Horne, Shimony and Holt, Phys. Rev. Lett. 23, 880 (1969). Pure.

S = E(0,0) + E(0,1) + E(1,0) - E(1,1), where E is the mean product of outcomes (+1 or -1) for one choice of
axes at each end. No local model has |S| > 2. Quantum mechanics has at most 2 sqrt 2 (Tsirelson, Lett. Math.
Phys. 4, 93 (1980)), which Phi+ reaches with axes 0 and 90 degrees at one end, 45 and -45 at the other; a
Werner pair has 2 sqrt 2 (4 F - 1) / 3.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from keyweave.common.errors import UnavailableError
from keyweave.controller.pairs.estimate import Z_95

_SETTINGS = 4
_SIGNS = (1, 1, 1, -1)


@dataclass(frozen=True, slots=True)
class Chsh:
    """S and its 95 % confidence interval."""

    s: float
    low: float
    high: float


def chsh(pairs: Sequence[int], equal: Sequence[int]) -> Chsh:
    """Of so many pairs for each choice of axes, and so many equal outcomes.

    The interval is of the normal approximation, with variances of binomials that one outcome of either kind
    has been added to, so that few pairs never look certain.
    """
    fits = len(pairs) == len(equal) == _SETTINGS and all(e <= n for n, e in zip(pairs, equal, strict=True))
    if not fits or not all(pairs):
        raise UnavailableError("the test had no pair for some choice of axes; ask for more pairs")
    s = sum(sign * (2 * e / n - 1) for sign, n, e in zip(_SIGNS, pairs, equal, strict=True))
    shares = [(e + 1) / (n + 2) for n, e in zip(pairs, equal, strict=True)]
    variance = sum(4 * p * (1 - p) / n for p, n in zip(shares, pairs, strict=True))
    half = Z_95 * math.sqrt(variance)
    return Chsh(s, s - half, s + half)
