"""What is known of links that make pairs and of the memories at their ends. Pure; owned by `supply`.

A link exists once both its ends tell of it. It is planned on with what was last worth planning anew for, so
that estimates that breathe move nobody.
"""

import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field

from keyweave.common.entanglement.bell import Bell, mixed
from keyweave.common.names import LinkName, NodeName
from keyweave.controller.pairs.estimate import Counter, FidelityEstimate, FidelityTally, RateTally, tests_of
from keyweave.controller.routing.entanglement.repeaters import PairLink, PairNode, RepeaterNetwork, network_of
from keyweave.controller.topology import Condition, Node
from keyweave.v1 import pairs_pb2, types_pb2

# Light in fibre, and what two agents take to send, receive and act on a message.
FIBRE_SECONDS_PER_KM = 5e-6
MESSAGE_SECONDS = 0.003
# Agents report every 0.1 to 0.25 s.
STALE_AFTER_SECONDS = 5.0
# A link is down if so many pairs were to be expected and none came: exp(-15) is no chance.
SILENT_PAIRS = 15.0
# After it was down, how long it must be well before it is planned on.
HOLD_DOWN_SECONDS = 2.0
# What is worth planning anew for: a rate that moved by this share, a fidelity by this much.
RATE_MOVED_RATIO = 0.2
FIDELITY_MOVED = 0.01
# Tests of its own that clear a link of doubt.
FRESH_TESTS = 90
# Swaps that what a device says of itself counts as, beside those that were counted.
_TOLD_SWAPS = 50.0
_WORKING = frozenset({types_pb2.LINK_STATUS_ACTIVE, types_pb2.LINK_STATUS_UNSPECIFIED})


@dataclass(frozen=True, slots=True)
class LinkState:
    """A link as those who ask see it."""

    name: LinkName
    a: NodeName
    b: NodeName
    model: str
    condition: Condition
    reason: str
    length_km: float
    attempt_rate_hz: float
    success_ratio: float
    pair_rate_hz: float
    fidelity: FidelityEstimate | None
    tests_total: int


@dataclass(frozen=True, slots=True)
class ConditionChange:
    """A link went from one condition to another."""

    link: LinkName
    before: Condition
    after: Condition
    reason: str


@dataclass(slots=True)
class _End:
    told: pairs_pb2.PairLinkEnd
    heard_at: float
    counts: pairs_pb2.PairLinkCounts = field(default_factory=pairs_pb2.PairLinkCounts)
    made: Counter = field(default_factory=Counter)
    tested: Counter = field(default_factory=Counter)
    rate: RateTally = field(default_factory=RateTally)


@dataclass(slots=True)
class _Track:
    """One link."""

    ends: dict[NodeName, _End] = field(default_factory=dict)
    tests: FidelityTally = field(default_factory=FidelityTally)
    # Not known before both ends have told; then as last looked at.
    condition: Condition = Condition.STALE
    reason: str = "not measured yet"
    well_since: float | None = None
    was_down: bool = False
    # Streams over it came out worse than its own tests say: what is left of its correlations, until so many
    # tests of its own have been made.
    doubt: float = 1.0
    doubt_until_tests: int = 0
    # As planned on; None where it is not.
    planned: PairLink | None = None

    @property
    def is_whole(self) -> bool:
        names = sorted(self.ends)
        return len(names) == 2 and all(self.ends[a].told.peer_node == b for a, b in (names, names[::-1]))

    def quicker(self) -> RateTally:
        """Of both ends the one whose rate is higher: the other tried while its peer did not."""
        return max((end.rate for end in self.ends.values()), key=lambda one: one.rate_hz)


@dataclass(slots=True)
class _Bank:
    told: pairs_pb2.MemoryBank
    state: pairs_pb2.MemoryState | None = None
    swapped: Counter = field(default_factory=Counter)
    swaps: float = 0.0
    succeeded: float = 0.0


class PairBook:
    """Links and memories."""

    def __init__(self) -> None:
        self._tracks: dict[LinkName, _Track] = {}
        self._banks: dict[NodeName, _Bank] = {}
        self._away: set[NodeName] = set()
        # Nodes as planned on.
        self._planned_nodes: dict[NodeName, PairNode] = {}

    def __contains__(self, name: LinkName) -> bool:
        """Whether both ends of such a link have told of it."""
        return name in self._tracks and self._tracks[name].is_whole

    # ---- what agents tell --------------------------------------------------------------------------

    def hello(
        self,
        node: NodeName,
        bank: pairs_pb2.MemoryBank | None,
        ends: Collection[pairs_pb2.PairLinkEnd],
        now: float,
    ) -> None:
        """An agent says which memories and link ends its node has."""
        self._away.discard(node)
        if bank is None:
            self._banks.pop(node, None)
        elif node in self._banks:
            self._banks[node].told = bank
        else:
            self._banks[node] = _Bank(bank)
        named = {LinkName(end.link): end for end in ends} if bank is not None else {}
        for name, track in list(self._tracks.items()):
            if name not in named and track.ends.pop(node, None) is not None and not track.ends:
                del self._tracks[name]
        for name, end in named.items():
            track = self._tracks.setdefault(name, _Track())
            known = track.ends.get(node)
            if known is not None and known.told.peer_node == end.peer_node:
                known.told, known.heard_at = end, now
            elif len(track.ends) < 2 or known is not None:
                track.ends[node] = _End(end, now)

    def lost(self, node: NodeName) -> None:
        """An agent's telemetry stream ended."""
        self._away.add(node)

    def forget(self, node: NodeName) -> None:
        """The node is gone."""
        self.hello(node, None, (), 0.0)

    def counted(self, node: NodeName, counts: pairs_pb2.PairLinkCounts, now: float) -> bool:
        """What one end of a link has counted so far; whether its status is another one."""
        track = self._tracks.get(LinkName(counts.link))
        end = track.ends.get(node) if track is not None else None
        if track is None or end is None:
            return False
        is_news = end.counts.status != counts.status
        end.heard_at, end.counts = now, counts
        heralds, attempts, seconds = end.made.news(
            counts.heralds_total, counts.attempts_total, counts.attempting_seconds_total
        )
        end.rate.add(int(heralds), int(attempts), seconds)
        if node == min(track.ends):
            track.tests.add(*tests_of(end.tested, counts.tests), now)
        return is_news

    def memories(self, node: NodeName, state: pairs_pb2.MemoryState) -> None:
        """How the memories of a node are."""
        bank = self._banks.get(node)
        if bank is None:
            return
        bank.state = state
        swaps, succeeded = bank.swapped.news(state.swaps_total, state.swaps_succeeded_total)
        bank.swaps += swaps
        bank.succeeded += succeeded

    def doubt(self, links: Collection[LinkName], kept: float) -> None:
        """Pairs over these links have only this share of the correlations that were predicted."""
        each = kept ** (1 / len(links))
        for name in links:
            track = self._tracks.get(name)
            if track is not None:
                track.doubt *= each
                track.doubt_until_tests = track.tests.tests_total + FRESH_TESTS

    # ---- what follows ------------------------------------------------------------------------------

    def assess(self, nodes: Mapping[NodeName, Node], now: float) -> list[ConditionChange]:
        """Look at every link; what has changed."""
        changes = []
        for name, track in sorted(self._tracks.items()):
            if not track.is_whole:
                continue
            if track.doubt < 1 and track.tests.tests_total >= track.doubt_until_tests:
                track.doubt = 1.0
            before = track.condition
            track.condition, track.reason = self._condition(track, nodes, now)
            if track.condition is not before:
                changes.append(ConditionChange(name, before, track.condition, track.reason))
        return changes

    def _condition(self, track: _Track, nodes: Mapping[NodeName, Node], now: float) -> tuple[Condition, str]:
        resting = [name for name in sorted(track.ends) if name not in nodes or nodes[name].maintenance]
        if resting:
            return Condition.MAINTENANCE, f"'{resting[0]}' is in maintenance"
        down = self._fault(track)
        if down:
            track.well_since, track.was_down = None, True
            return Condition.DOWN, down
        quiet = [
            name
            for name, end in sorted(track.ends.items())
            if name in self._away or now - end.heard_at > STALE_AFTER_SECONDS
        ]
        if quiet:
            return Condition.STALE, f"no telemetry from '{quiet[0]}'"
        track.well_since = now if track.well_since is None else track.well_since
        if track.was_down and now - track.well_since < HOLD_DOWN_SECONDS:
            return Condition.DOWN, "it was down a moment ago"
        track.was_down = False
        if self._measured(track) is None:
            return Condition.STALE, "not measured yet"
        return Condition.OK, "as it should be"

    def _fault(self, track: _Track) -> str:
        """Why it makes no pairs; empty where it does."""
        off = [n for n, end in sorted(track.ends.items()) if end.counts.status not in _WORKING]
        if off:
            return f"no signal at '{off[0]}'"
        silent = min(end.rate.silence for end in track.ends.values())
        if silent < SILENT_PAIRS:
            return ""
        return f"no pair came where {silent:.0f} were to be expected"

    def _measured(self, track: _Track) -> tuple[float, Bell] | None:
        found = self._fidelity(track)
        rate = track.quicker().rate_hz
        if found is None or not rate:
            return None
        return rate, mixed(found.state, track.doubt)

    def _fidelity(self, track: _Track) -> FidelityEstimate | None:
        return track.tests.estimate(self.readout(*track.ends))

    def readout(self, a: NodeName, b: NodeName) -> float:
        """By how much outcomes at two nodes are less correlated than the pair."""
        each = [self._banks[n].told.readout_fidelity or 1.0 for n in (a, b) if n in self._banks]
        return math.prod(2 * one - 1 for one in each)

    def refresh(self, in_use: Collection[LinkName]) -> bool:
        """Bring what is planned on up to date where that is worth it; whether anything moved."""
        moved = False
        for name, track in self._tracks.items():
            current = self._link(name, track, in_use)
            if _has_moved(track.planned, current):
                track.planned, moved = current, True
        nodes = {name: _node(name, bank) for name, bank in self._banks.items()}
        for node in nodes.keys() | self._planned_nodes.keys():
            now, then = nodes.get(node), self._planned_nodes.get(node)
            if now is None:
                del self._planned_nodes[node]
                moved = True
            elif then is None or _differs(then, now):
                self._planned_nodes[node], moved = now, True
        return moved

    def _link(self, name: LinkName, track: _Track, in_use: Collection[LinkName]) -> PairLink | None:
        """As it would be planned on now."""
        if not track.is_whole:
            return None
        if track.condition is Condition.STALE and name in in_use:
            return track.planned  # what runs is kept
        measured = self._measured(track)
        if track.condition is not Condition.OK or measured is None:
            return None
        a, b = sorted(track.ends)
        length = max(end.told.length_km for end in track.ends.values())
        delay = length * FIBRE_SECONDS_PER_KM + MESSAGE_SECONDS
        return PairLink(name, a, b, measured[0], measured[1], delay)

    def network(self) -> RepeaterNetwork:
        """What is planned on."""
        links = [track.planned for track in self._tracks.values() if track.planned is not None]
        usable = [link for link in links if {link.a, link.b} <= self._planned_nodes.keys()]
        return network_of(self._planned_nodes.values(), sorted(usable, key=lambda one: one.name))

    # ---- for those who ask -------------------------------------------------------------------------

    def links(self) -> Iterator[LinkState]:
        """All links, by name."""
        for name, track in sorted(self._tracks.items()):
            if not track.is_whole:
                continue
            a, b = sorted(track.ends)
            told = track.ends[a].told
            rate = track.quicker()
            yield LinkState(
                name,
                a,
                b,
                told.model,
                track.condition,
                track.reason,
                told.length_km,
                told.attempt_rate_hz,
                rate.success_ratio,
                rate.rate_hz,
                self._fidelity(track),
                track.tests.tests_total,
            )

    def condition(self, name: LinkName) -> Condition:
        """How a link is; one that nobody tells of is stale."""
        return self._tracks[name].condition if name in self else Condition.STALE

    def banks(self) -> Iterator[tuple[PairNode, pairs_pb2.MemoryBank, pairs_pb2.MemoryState | None]]:
        """The memories of all nodes: as planned on, as told at first, and as they are."""
        for name, bank in sorted(self._banks.items()):
            yield _node(name, bank), bank.told, bank.state


def _node(name: NodeName, bank: _Bank) -> PairNode:
    told, state = bank.told, bank.state
    working = told.memories if state is None else min(state.working, told.memories)
    t1 = (state.t1_seconds if state is not None else 0.0) or told.t1_seconds or math.inf
    t2 = (state.t2_seconds if state is not None else 0.0) or told.t2_seconds or math.inf
    counted = bank.succeeded + _TOLD_SWAPS * told.swap_success_ratio
    success = counted / (bank.swaps + _TOLD_SWAPS)
    # A node that never swaps has no more to give than its ends.
    return PairNode(name, working, t1, min(t2, 2 * t1), max(success, 1e-6), told.swap_fidelity or 1e-6)


def _has_moved(then: PairLink | None, now: PairLink | None) -> bool:
    if then is None or now is None:
        return then is not now
    if (then.a, then.b) != (now.a, now.b):
        return True
    if abs(now.pair_rate_hz / then.pair_rate_hz - 1) > RATE_MOVED_RATIO:
        return True
    return max(abs(a - b) for a, b in zip(then.state, now.state, strict=True)) > FIDELITY_MOVED


def _differs(then: PairNode, now: PairNode) -> bool:
    def moved(a: float, b: float) -> bool:
        return a != b and abs(a - b) > 0.05 * max(abs(a), abs(b)) if math.isfinite(a + b) else a != b

    return then.memories != now.memories or any(
        moved(getattr(then, name), getattr(now, name))
        for name in ("t1_seconds", "t2_seconds", "swap_success_ratio", "gate_fidelity")
    )
