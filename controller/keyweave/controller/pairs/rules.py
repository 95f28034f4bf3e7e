"""What a path of pairs and a link that makes them amount to in the rules of nodes. Pure."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import pairwise

from keyweave.common.entanglement.bell import SEPARABLE_FIDELITY, Bell
from keyweave.common.entanglement.memory import Memory, waited
from keyweave.common.names import LinkName, NodeName
from keyweave.controller.compile.rules import NodeRule, Nodes, is_reachable
from keyweave.controller.pairs.streams import NANOS, PairStream, PairWay
from keyweave.controller.routing.entanglement.offers import rounded
from keyweave.controller.routing.entanglement.repeaters import Lane
from keyweave.v1 import agent_pb2, pairs_pb2

# Test pairs a second on a link whose memories have nothing else to do: a fidelity of 0.95 is known to 0.02
# after half a minute.
TEST_RATE_HZ = 20.0
# Nobody keeps a pair for longer.
MAX_KEEP_SECONDS = 3600.0
# Where the plan has no cut-off, what has waited for as long as so many pairs take goes: by chance, exp(-12).
PATIENCE_PAIRS = 12.0
_KINDS = {
    "nl": pairs_pb2.PAIR_KIND_NETWORK_LAYER,
    "ck": pairs_pb2.PAIR_KIND_CREATE_KEEP,
    "md": pairs_pb2.PAIR_KIND_MEASURE_DIRECTLY,
}


@dataclass(frozen=True, slots=True)
class WayRules:
    """One path of a stream, in force."""

    stream: PairStream
    way: PairWay

    def rules(self, nodes: Nodes) -> list[NodeRule]:
        """A rule at every node of the path; none while one of them cannot be found by the others."""
        path, stream = self.way.path, self.stream
        if not all(is_reachable(nodes, node) for node in path.nodes):
            return []
        steps = steps_of(
            _impatient(self.way), keep_seconds=self.way.keep_seconds if stream.kind != "md" else math.inf
        )
        memories = path.width
        deadline = 0 if math.isinf(stream.deadline) else round(stream.deadline * NANOS)
        found = []
        for position, node in enumerate(path.nodes):
            rule = pairs_pb2.PairRule(
                stream=stream.name,
                path_id=self.way.path_id,
                nodes=path.nodes,
                links=path.links,
                position=position,
                left_memories=memories[position - 1] if position else 0,
                right_memories=memories[position] if position < len(memories) else 0,
                steps=steps[position],
                kind=_KINDS[stream.kind],
                min_fidelity=stream.min_fidelity,
                rate_hz=self.way.rate_hz,
                test_ratio=stream.test_ratio,
                key_link=stream.key_link or "",
                deadline_unix_nanos=deadline,
                pair_count=stream.pair_count,
                revision=stream.revision,
            )
            whole = agent_pb2.Rule(rule_id=f"pair/{stream.name}/{self.way.path_id}", pair=rule)
            peers = tuple(each for each in path.nodes if each != node)
            found.append(_rule(node, whole, peers))
        return found


@dataclass(frozen=True, slots=True)
class LinkRules:
    """Tests on a link that makes pairs."""

    link: LinkName
    a: NodeName
    b: NodeName

    def rules(self, nodes: Nodes) -> list[NodeRule]:
        """The same at both ends."""
        found = []
        for node, peer in ((self.a, self.b), (self.b, self.a)):
            if node in nodes and is_reachable(nodes, peer):
                rule = pairs_pb2.PairLinkRule(link=self.link, peer_node=peer, test_rate_hz=TEST_RATE_HZ)
                found.append(
                    _rule(node, agent_pb2.Rule(rule_id=f"pair-link/{self.link}", pair_link=rule), (peer,))
                )
        return found


def _impatient(way: PairWay) -> Lane:
    """Its lane, where nobody waits for ever: pairs that an application keeps may block those that follow."""
    lane, path = way.path.lane, way.path
    patience = rounded(PATIENCE_PAIRS * path.lanes / path.predicted_rate_hz)
    return replace(lane, cutoff_seconds=tuple(min(each, patience) for each in lane.cutoff_seconds))


def _rule(node: NodeName, rule: agent_pb2.Rule, peers: tuple[NodeName, ...]) -> NodeRule:
    return NodeRule(node, rule.rule_id, rule.SerializeToString(deterministic=True), peers)


# ---- steps -----------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Node:
    cutoffs: list[pairs_pb2.PairStep] = field(default_factory=list)
    others: list[pairs_pb2.PairStep] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Segment:
    """Pairs between two nodes of the path, by position."""

    first: int
    last: int
    rounds: int
    # How often its oldest part may have had to wait before: for another pair, or another segment.
    waits: int


def steps_of(lane: Lane, *, keep_seconds: float = math.inf) -> list[list[pairs_pb2.PairStep]]:
    """What each node of a lane does with which pairs, in the order of the path.

    What has waited too long is given up first; the rest goes by the swap order.
    """
    at = [_Node() for _ in lane.nodes]
    place = {name: position for position, name in enumerate(lane.nodes)}
    segments = [_Segment(hop, hop + 1, lane.rounds[hop], 0) for hop in range(len(lane.links))]
    swapping = [place[name] for level in lane.swap_order for name in level]
    if len(segments) == 1:
        segments = [_Segment(0, 1, lane.rounds[0] + lane.end_rounds, 0)]
    for segment in segments:
        _purify(lane, at, segment)
    for node in swapping:
        index = next(i for i, (left, _) in enumerate(pairwise(segments)) if left.last == node)
        left, right = segments[index : index + 2]
        for part in (left, right):
            _cut(lane, at, part, part.rounds)
        at[node].others.append(
            pairs_pb2.PairStep(
                partner=lane.nodes[left.first],
                rounds=left.rounds,
                swap=pairs_pb2.PairSwap(with_partner=lane.nodes[right.last], with_rounds=right.rounds),
            )
        )
        whole = len(segments) == 2
        joined = _Segment(
            left.first,
            right.last,
            lane.end_rounds if whole else 0,
            1 + max(left.waits + left.rounds, right.waits + right.rounds),
        )
        segments[index : index + 2] = [joined]
        _purify(lane, at, joined)
    (end,) = segments
    for node, partner in _ends(lane, end):
        deliver = pairs_pb2.PairStep(partner=partner, rounds=end.rounds, deliver=pairs_pb2.PairDeliver())
        at[node].others.append(deliver)
        if math.isfinite(keep_seconds):
            cut = pairs_pb2.PairCutoff(seconds=keep_seconds)
            at[node].cutoffs.append(pairs_pb2.PairStep(partner=partner, rounds=end.rounds, cutoff=cut))
    return [node.cutoffs + node.others for node in at]


def _ends(lane: Lane, segment: _Segment) -> Iterator[tuple[int, NodeName]]:
    yield segment.first, lane.nodes[segment.last]
    yield segment.last, lane.nodes[segment.first]


def _purify(lane: Lane, at: list[_Node], segment: _Segment) -> None:
    for rounds in range(segment.rounds):
        _cut(lane, at, segment, rounds)
        for node, partner in _ends(lane, segment):
            step = pairs_pb2.PairStep(partner=partner, rounds=rounds, purify=pairs_pb2.PairPurify())
            at[node].others.append(step)


def _cut(lane: Lane, at: list[_Node], segment: _Segment, rounds: int) -> None:
    """The pair waits for another. The cut-off is for each such wait; the age that agents know is of all."""
    once = min(lane.cutoff_seconds[segment.first], lane.cutoff_seconds[segment.last - 1])
    if math.isinf(once):
        return
    cut = pairs_pb2.PairCutoff(seconds=once * (segment.waits + rounds + 1))
    for node, partner in _ends(lane, segment):
        at[node].cutoffs.append(pairs_pb2.PairStep(partner=partner, rounds=rounds, cutoff=cut))


def keep_seconds(state: Bell, floor: float, source: Memory, target: Memory) -> float:
    """How long a pair that is handed on in this state is worth keeping; infinite where it does not fade.

    Until its fidelity is half way from the floor to where nothing is entangled.
    """
    least = (min(floor, state.fidelity) + SEPARABLE_FIDELITY) / 2

    def left(seconds: float) -> float:
        return waited(waited(state, seconds, source), seconds, target).fidelity

    if left(MAX_KEEP_SECONDS) >= least:
        return math.inf
    low, high = 0.0, MAX_KEEP_SECONDS
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if left(middle) >= least else (low, middle)
    return max(float(f"{low:.2g}"), 0.01)
