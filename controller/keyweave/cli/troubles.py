"""What is wrong with a network, the worst first: what `status` and `top` begin with."""

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

from keyweave.cli.fields import enum_word
from keyweave.v1 import admin_pb2, types_pb2

# Of rules that a guard withholds; `keyweave node get` has all.
_RULES_NAMED = 3
_SERVING = frozenset({types_pb2.PROTECTION_QKD, types_pb2.PROTECTION_HYBRID, types_pb2.PROTECTION_PQC})


class Weight(IntEnum):
    """How bad it is; the worst first."""

    # The network does not do its job: somebody gets no keys, or no policy.
    BROKEN = 0
    # It does, with less protection, rate or redundancy than asked for.
    IMPAIRED = 1
    # An operator's own doing, or on its way to being well.
    NOTED = 2


_LINK_WEIGHTS = {
    types_pb2.LINK_CONDITION_SUSPECT: Weight.IMPAIRED,
    types_pb2.LINK_CONDITION_DOWN: Weight.IMPAIRED,
    types_pb2.LINK_CONDITION_STALE: Weight.IMPAIRED,
    types_pb2.LINK_CONDITION_DEGRADED: Weight.NOTED,
    types_pb2.LINK_CONDITION_MAINTENANCE: Weight.NOTED,
}
_BADNESS = {
    condition: place
    for place, condition in enumerate(
        (
            types_pb2.LINK_CONDITION_SUSPECT,
            types_pb2.LINK_CONDITION_DOWN,
            types_pb2.LINK_CONDITION_STALE,
            types_pb2.LINK_CONDITION_UNSPECIFIED,
            types_pb2.LINK_CONDITION_DEGRADED,
            types_pb2.LINK_CONDITION_MAINTENANCE,
            types_pb2.LINK_CONDITION_OK,
        )
    )
}


@dataclass(frozen=True, slots=True)
class Trouble:
    """One thing that is wrong."""

    weight: Weight
    # `controller`, or `node`, `link` or `stream` and its name.
    kind: str
    name: str
    what: str

    @property
    def subject(self) -> str:
        """What it is about."""
        return f"{self.kind} '{self.name}'" if self.name else self.kind

    def __str__(self) -> str:
        return f"{self.subject}: {self.what}"


def troubles(status: admin_pb2.GetStatusResponse) -> list[Trouble]:
    """Everything that is wrong; nothing where all is as it should be."""
    found = [*_controller(status), *_nodes(status), *_streams(status), *_links(status), *_pairs(status)]
    # Sorting is stable: within a weight the controller first, then nodes, streams, links.
    return sorted(found, key=lambda one: one.weight)


def shortcomings(status: admin_pb2.GetStatusResponse) -> Iterator[str]:
    """What keeps the network from doing its job, one line each; nothing if it does."""
    return (str(one) for one in troubles(status) if one.weight is Weight.BROKEN)


def health(found: list[Trouble]) -> str:
    """One word for the whole: `ok`, `degraded` or `broken`."""
    worst = min((one.weight for one in found), default=Weight.NOTED)
    return {Weight.BROKEN: "broken", Weight.IMPAIRED: "degraded", Weight.NOTED: "ok"}[worst]


def summary(status: admin_pb2.GetStatusResponse) -> str:
    """Counts of agents, links and streams, in one line."""
    connected = sum(node.connected for node in status.nodes)
    conditions = Counter[int](state.condition for state in status.links)
    protections = Counter[int](stream.protection for stream in status.streams)
    links = _counted(types_pb2.LinkCondition.DESCRIPTOR, conditions)
    streams = _counted(types_pb2.Protection.DESCRIPTOR, protections)
    return (
        f"{connected} of {len(status.nodes)} agents; {len(status.links)} links: {links or 'none'}; "
        f"{len(status.streams)} streams: {streams or 'none'}{_pair_counts(status)}"
    )


def _pair_counts(status: admin_pb2.GetStatusResponse) -> str:
    """Nothing where nobody has to do with pairs."""
    if not status.pair_links and not status.pair_streams:
        return ""
    met = sum(one.state == admin_pb2.PAIR_STREAM_STATE_MET for one in status.pair_streams)
    well = sum(link.condition == types_pb2.LINK_CONDITION_OK for link in status.pair_links)
    streams, links = len(status.pair_streams), len(status.pair_links)
    return f"; {met} of {streams} pair streams met, {well} of {links} pair links ok"


def _counted(descriptor: object, counts: "Counter[int]") -> str:
    return ", ".join(
        f"{counts[number]} {enum_word(descriptor, number) if number else 'unknown'}"
        for number in sorted(counts)
    )


def _controller(status: admin_pb2.GetStatusResponse) -> Iterator[Trouble]:
    if status.read_only:
        what = "read-only, agents have seen a higher epoch than its database"
        yield Trouble(Weight.BROKEN, "controller", "", what)
    if status.database_problem:
        yield Trouble(Weight.BROKEN, "controller", "", f"changes nothing: {status.database_problem}")
    if not status.nodes:
        yield Trouble(Weight.BROKEN, "controller", "", "knows no nodes yet")
    if status.warming_up:
        what = "warming up: the stored plan stands until links have reported"
        yield Trouble(Weight.NOTED, "controller", "", what)


def _nodes(status: admin_pb2.GetStatusResponse) -> Iterator[Trouble]:
    for node in status.nodes:
        name = node.node.name
        if not node.connected:
            yield Trouble(Weight.BROKEN, "node", name, "its agent is not connected")
        elif node.nacked_rules:
            yield Trouble(Weight.BROKEN, "node", name, "its agent refuses its policy")
        elif not node.desired_policy.digest or node.desired_policy.digest != node.applied_policy.digest:
            yield Trouble(Weight.BROKEN, "node", name, "its agent has not applied its policy yet")
        elif node.withheld_rules:
            rules = ", ".join(rule.rule_id for rule in node.withheld_rules[:_RULES_NAMED])
            more = ", ..." if len(node.withheld_rules) > _RULES_NAMED else ""
            yield Trouble(Weight.BROKEN, "node", name, f"its guard now forbids {rules}{more}")
        if node.node.maintenance:
            yield Trouble(Weight.NOTED, "node", name, "drained: nothing is relayed through it")


def _streams(status: admin_pb2.GetStatusResponse) -> Iterator[Trouble]:
    for one in status.streams:
        name, why = one.stream.name, one.plan.unmet or one.plan.reason
        if one.protection not in _SERVING:
            if not one.buffered_keys:
                yield Trouble(Weight.BROKEN, "stream", name, "can serve no keys")
            elif one.protection == types_pb2.PROTECTION_NONE:
                what = f"makes no keys, {one.buffered_keys} are left: {why}"
                yield Trouble(Weight.IMPAIRED, "stream", name, what)
        elif one.protection == types_pb2.PROTECTION_PQC and not one.stream.pqc_only:
            if one.plan.rate_bps and not one.plan.unmet:
                why = "a path is planned, and not yet used by both ends"
            yield Trouble(Weight.IMPAIRED, "stream", name, f"ML-KEM alone: {why}")
        elif one.plan.unmet:
            yield Trouble(Weight.IMPAIRED, "stream", name, one.plan.unmet)


def _links(status: admin_pb2.GetStatusResponse) -> Iterator[Trouble]:
    for state in sorted(status.links, key=lambda state: _BADNESS.get(state.condition, len(_BADNESS))):
        weight = _LINK_WEIGHTS.get(state.condition)
        if state.link.disabled:
            yield Trouble(Weight.NOTED, "link", state.link.name, "disabled")
        elif weight is not None:
            # Between contacts nothing is wrong with a satellite's link.
            if state.HasField("next_contact") and state.condition != types_pb2.LINK_CONDITION_SUSPECT:
                weight = Weight.NOTED
            word = enum_word(types_pb2.LinkCondition.DESCRIPTOR, state.condition)
            yield Trouble(weight, "link", state.link.name, f"{word}: {state.reason or 'no reason told'}")


def _pairs(status: admin_pb2.GetStatusResponse) -> Iterator[Trouble]:
    weights = {
        admin_pb2.PAIR_STREAM_STATE_UNMET: (Weight.BROKEN, "gets no pairs"),
        admin_pb2.PAIR_STREAM_STATE_PARTLY_MET: (Weight.IMPAIRED, "gets fewer pairs than it asks for"),
    }
    for one in status.pair_streams:
        if one.state in weights:
            weight, what = weights[one.state]
            yield Trouble(weight, "pair stream", one.pair_stream.name, f"{what}: {one.reason}")
        elif one.measured_fidelity and one.measured_fidelity_high < one.pair_stream.min_fidelity:
            what = f"delivers fidelity {one.measured_fidelity:.3f}, below {one.pair_stream.min_fidelity:g}"
            yield Trouble(Weight.IMPAIRED, "pair stream", one.pair_stream.name, what)
    for link in status.pair_links:
        weighs = _LINK_WEIGHTS.get(link.condition)
        if weighs is not None:
            word = enum_word(types_pb2.LinkCondition.DESCRIPTOR, link.condition)
            yield Trouble(weighs, "pair link", link.name, f"{word}: {link.reason}")


def link_badness(state: admin_pb2.LinkState) -> tuple[float, ...]:
    """Smaller is worse: by condition, then by how near the QBER is to the abort threshold, then by pool."""
    threshold = state.link.abort_qber_ratio or 1.0
    nearness = state.qber_ratio / threshold if math.isfinite(state.qber_ratio) else 0.0
    return _BADNESS.get(state.condition, 0), -nearness, state.pool_bits


def stream_shortfall(one: admin_pb2.StreamStatus) -> tuple[float, ...]:
    """Smaller is worse: without keys, without quantum protection, below its minimum, then keys ready."""
    least = one.stream.min_rate_bps
    return (
        float(bool(one.buffered_keys)) if one.protection not in _SERVING else 2.0,
        float(one.protection != types_pb2.PROTECTION_PQC or one.stream.pqc_only),
        -max(0.0, least - one.plan.rate_bps) / least if least else 0.0,
        float(one.buffered_keys),
    )
