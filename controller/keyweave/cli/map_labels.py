"""Where on a map words have room: each goes where it covers the least of lines, nodes and other words."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

POINTS_PER_INCH = 72.0
# Of an ordinary sans-serif letter, over the size of its font.
_LETTER_WIDTH, _LETTER_HEIGHT = 0.6, 1.25
# Clear of the node that it names, and of the line that it stands beside, in points.
_FROM_NODE, _FROM_LINE = 9.0, 5.0
# Where on a line its words may be, best first.
_SHARES = (0.5, 0.42, 0.58, 0.34, 0.66, 0.26, 0.74)
# Words over words are worse than words over a line.
_WORD_WEIGHT = 4.0


@dataclass(frozen=True, slots=True)
class Spot:
    """The middle of a text, and how it is turned."""

    middle: np.ndarray
    degrees: float = 0.0


class Room:
    """What is on the map already. `scale` is in units of the map per point of print."""

    def __init__(self, scale: float, drawn: Iterable[np.ndarray]) -> None:
        self._scale = scale
        self._drawn = np.concatenate(list(drawn))
        self._words = np.empty((0, 2))

    def name_node(self, text: str, font: float, place: np.ndarray) -> Spot:
        """The spot for a node's name; it is taken then."""
        return self._take(text, font, self._around(text, font, place), self._drawn)

    def name_line(self, text: str, font: float, line: np.ndarray) -> Spot:
        """The spot for what a line is called, along it where it is long enough; it is taken then."""
        length = float(np.linalg.norm(line[-1] - line[0]))
        if length > 1.25 * self._extent(text, font)[0]:
            others = self._drawn[np.linalg.norm(self._drawn[:, None] - line[None], axis=2).min(axis=1) > 1e-9]
            return self._take(text, font, self._along(line), others)
        return self._take(text, font, self._beside(text, font, line), self._drawn)

    def _extent(self, text: str, font: float) -> tuple[float, float]:
        return len(text) * font * _LETTER_WIDTH * self._scale, font * _LETTER_HEIGHT * self._scale

    def _around(self, text: str, font: float, place: np.ndarray) -> Iterator[Spot]:
        width, height = self._extent(text, font)
        # To the right and left first: there names read best.
        for turn in (0, 4, 1, 7, 3, 5, 2, 6):
            way = np.array((math.cos(turn * math.pi / 4), math.sin(turn * math.pi / 4)))
            yield Spot(place + way * _FROM_NODE * self._scale + np.round(way) * (width / 2, height / 2))

    def _along(self, line: np.ndarray) -> Iterator[Spot]:
        way = line[-1] - line[0]
        degrees = math.degrees(math.atan2(way[1], way[0]))
        upright = degrees - 180 if degrees > 90 else degrees + 180 if degrees <= -90 else degrees
        for share in _SHARES:
            yield Spot(line[int(share * len(line))], upright)

    def _beside(self, text: str, font: float, line: np.ndarray) -> Iterator[Spot]:
        width, height = self._extent(text, font)
        way = line[-1] - line[0]
        across = np.array((-way[1], way[0])) / (float(np.linalg.norm(way)) or 1.0)
        for share in _SHARES:
            for side in (across, -across):
                half = abs(side[0]) * width / 2 + abs(side[1]) * height / 2
                yield Spot(line[int(share * len(line))] + side * (_FROM_LINE * self._scale + half))

    def _take(self, text: str, font: float, spots: Iterable[Spot], drawn: np.ndarray) -> Spot:
        width, height = self._extent(text, font)
        grid = np.stack(
            np.meshgrid(np.linspace(-0.5, 0.5, 13) * width, (-height / 3, 0.0, height / 3)), axis=-1
        )

        def covered(spot: Spot) -> np.ndarray:
            turn = math.radians(spot.degrees)
            turned = np.array(((math.cos(turn), math.sin(turn)), (-math.sin(turn), math.cos(turn))))
            points: np.ndarray = grid.reshape(-1, 2) @ turned + spot.middle
            return points

        def cost(spot: Spot) -> float:
            points = covered(spot)
            return _near(points, drawn, height / 2) + _WORD_WEIGHT * _near(points, self._words, height * 0.8)

        best = min(spots, key=cost)
        self._words = np.concatenate((self._words, covered(best)))
        return best


def _near(points: np.ndarray, others: np.ndarray, distance: float) -> int:
    """How many of the points have another one nearer than that."""
    if not len(others):
        return 0
    return int((np.linalg.norm(points[:, None] - others[None], axis=2).min(axis=1) < distance).sum())
