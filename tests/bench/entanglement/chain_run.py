"""One lane of a chain of repeaters as it runs, pair by pair, with chance: what `predict` is held against.

It keeps states as they are, not as correlations, and follows what nodes do: who waits for too long is given
up alone, and the other goes on.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from keyweave.common.entanglement.bell import Bell, mixed, swapped
from keyweave.common.entanglement.memory import waited
from keyweave.common.entanglement.purification import dejmps
from keyweave.controller.routing.entanglement.repeaters import Lane, Prediction, RepeaterNetwork


@dataclass(frozen=True, slots=True)
class _Made:
    """A pair that is there, and known to be at both ends."""

    at: float
    state: Bell


@dataclass(frozen=True, slots=True)
class _Step:
    """A segment of the path: a hop (no parts), two segments swapped, or twice the same purified."""

    first: int
    last: int
    parts: tuple["_Step", "_Step"] | None = None


class ChainRun:
    """A lane in use."""

    def __init__(self, network: RepeaterNetwork, lane: Lane, seed: int) -> None:
        self._lane = lane
        self._nodes = [network.nodes[name] for name in lane.nodes]
        self._links = [network.links[name] for name in lane.links]
        self._random = np.random.default_rng(seed)
        steps = [self._twice(_Step(i, i + 1), rounds) for i, rounds in enumerate(lane.rounds)]
        for name in (name for level in lane.swap_order for name in level):
            node = lane.nodes.index(name)
            at = next(i for i, (left, _) in enumerate(pairwise(steps)) if left.last == node)
            steps[at : at + 2] = [_Step(steps[at].first, steps[at + 1].last, (steps[at], steps[at + 1]))]
        self._whole = self._twice(steps[0], lane.end_rounds)

    def run(self, pairs: int) -> Prediction:
        """So many pairs, one after the other: their rate and their mean state."""
        now, states = 0.0, []
        for _ in range(pairs):
            made = self._make(self._whole, now)
            now = made.at
            states.append(made.state)
        return Prediction(pairs / now, Bell(*(float(each) for each in np.mean(states, axis=0))))

    @staticmethod
    def _twice(step: _Step, rounds: int) -> _Step:
        for _ in range(rounds):
            step = _Step(step.first, step.last, (step, step))
        return step

    def _make(self, step: _Step, start: float) -> _Made:
        if step.parts is None:
            rate = self._lane.channels[step.first] * self._links[step.first].pair_rate_hz
            return _Made(start + self._random.exponential(1 / rate), self._links[step.first].state)
        while True:
            left, right = self._both(step.parts, start)
            state = self._joined(step, left, right)
            start = max(left.at, right.at) + self._told(step)
            if state is not None:
                return _Made(start, self._rested(step, state, self._told(step)))

    def _both(self, parts: tuple[_Step, _Step], start: float) -> tuple[_Made, _Made]:
        left, right = (self._make(part, start) for part in parts)
        cutoffs = [self._cutoff(part) for part in parts]
        while True:
            if right.at - left.at > cutoffs[0]:
                left = self._make(parts[0], left.at + cutoffs[0])
            elif left.at - right.at > cutoffs[1]:
                right = self._make(parts[1], right.at + cutoffs[1])
            else:
                return left, right

    def _joined(self, step: _Step, left: _Made, right: _Made) -> Bell | None:
        """What the two are made into; None where that fails."""
        assert step.parts is not None
        now = max(left.at, right.at)
        one, other = (
            self._rested(part, pair.state, now - pair.at)
            for part, pair in zip(step.parts, (left, right), strict=True)
        )
        if step.parts[0].last == step.parts[1].first:
            node = self._nodes[step.parts[0].last]
            succeeds = self._random.random() < node.swap_success_ratio
            return swapped(one, other, node.gate_fidelity) if succeeds else None
        made = dejmps(one, other)
        ends = self._nodes[step.first], self._nodes[step.last]
        kept = ends[0].gate_fidelity * ends[1].gate_fidelity
        return mixed(made.state, kept) if self._random.random() < made.success_ratio else None

    def _rested(self, step: _Step, state: Bell, seconds: float) -> Bell:
        for node in (self._nodes[step.first], self._nodes[step.last]):
            state = waited(state, seconds, node.memory)
        return state

    def _told(self, step: _Step) -> float:
        """Until the outcome is known at both ends of the segment."""
        assert step.parts is not None
        return max(
            sum(link.delay_seconds for link in self._links[part.first : part.last]) for part in step.parts
        )

    def _cutoff(self, step: _Step) -> float:
        cutoffs = self._lane.cutoff_seconds
        return min(cutoffs[step.first], cutoffs[step.last - 1])
