"""Questions about plans, from the wire and back: what failures would do, and where new links would help.

Answered in a process of its own (`analyst.py`): sweeps plan thousands of networks, and must not keep the
controller's loop from healing the one there is.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice

from keyweave.common.names import LinkName, NodeName
from keyweave.controller.routing.capacity import Capacity, Goal, Option, Place, Score, options
from keyweave.controller.routing.what_if import (
    Added,
    Case,
    Change,
    Cut,
    Effect,
    NodeDown,
    Outcome,
    WhatIf,
    doubles,
    singles,
)
from keyweave.controller.topology import Plan, Snapshot
from keyweave.v1 import admin_pb2

DEFAULT_OUTCOMES = 20
DEFAULT_GAINS = 10
DEFAULT_OPTIONS_PLANNED = 100
_GOALS: Mapping[admin_pb2.CapacityGoal, Goal] = {
    admin_pb2.CAPACITY_GOAL_UNSPECIFIED: Goal.WORST_STREAM,
    admin_pb2.CAPACITY_GOAL_WORST_STREAM: Goal.WORST_STREAM,
    admin_pb2.CAPACITY_GOAL_PROTECTED: Goal.PROTECTED,
    admin_pb2.CAPACITY_GOAL_TOTAL: Goal.TOTAL,
}
_EFFECTS: Mapping[Effect, admin_pb2.StreamEffect] = {
    Effect.ENDS: admin_pb2.STREAM_EFFECT_ENDS,
    Effect.FAILS_CLOSED: admin_pb2.STREAM_EFFECT_FAILS_CLOSED,
    Effect.PQC_ONLY: admin_pb2.STREAM_EFFECT_PQC_ONLY,
    Effect.BELOW_MINIMUM: admin_pb2.STREAM_EFFECT_BELOW_MINIMUM,
    Effect.FEWER_PATHS: admin_pb2.STREAM_EFFECT_FEWER_PATHS,
    Effect.SLOWER: admin_pb2.STREAM_EFFECT_SLOWER,
    Effect.MOVED: admin_pb2.STREAM_EFFECT_MOVED,
    Effect.FASTER: admin_pb2.STREAM_EFFECT_FASTER,
    Effect.RECOVERS: admin_pb2.STREAM_EFFECT_RECOVERS,
}


@dataclass(frozen=True, slots=True)
class Question:
    """One question, and the network that it is about."""

    # An AnalysePlanRequest as it is on the wire.
    request: bytes
    snapshot: Snapshot
    plan: Plan
    # Latitude and longitude of nodes that are located, in degrees.
    places: Mapping[NodeName, Place]
    # Work for no longer than this.
    seconds: float


def answer(question: Question, has_time: Callable[[], bool]) -> admin_pb2.AnalysePlanResponse:
    """The answer, as far as there `has_time` to look; what explicit changes do is told in any case."""
    request = admin_pb2.AnalysePlanRequest.FromString(question.request)
    if request.HasField("capacity"):
        return _most_helpful(question, request.capacity, has_time)
    what_if = WhatIf(question.snapshot, question.plan)
    response = admin_pb2.AnalysePlanResponse(plan_version=question.plan.version)
    if request.HasField("sweep"):
        sweep = request.sweep
        cases = what_if.by_expected_harm((singles if sweep.failures == 1 else doubles)(question.snapshot))
        wanted = islice(cases, sweep.planned_at_most or None)
        found = sorted(_in_time(what_if, wanted, has_time), key=lambda one: one.harm, reverse=True)
        response.considered, response.planned = len(cases), len(found)
        chosen = found[: sweep.count or DEFAULT_OUTCOMES]
    else:
        chosen = [what_if.outcome(Case(changes_of(request.what_if)))]
        response.considered = response.planned = 1
    response.outcomes.extend(map(_outcome_message, chosen))
    return response


def _most_helpful(
    question: Question, asked: admin_pb2.CapacitySearch, has_time: Callable[[], bool]
) -> admin_pb2.AnalysePlanResponse:
    capacity = Capacity(question.snapshot)
    there = options(question.snapshot, question.places, asked.rate_bps, asked.max_length_km)
    goal = _GOALS[asked.goal]
    present = capacity.present.merit(goal)
    found: list[tuple[Score, Option]] = []
    for option in capacity.by_promise(there)[: asked.planned_at_most or DEFAULT_OPTIONS_PLANNED]:
        if not has_time():
            break
        found.append((capacity.score(option), option))
    helpful = [one for one in found if one[0].merit(goal) > present]
    helpful.sort(key=lambda one: one[0].merit(goal), reverse=True)
    return admin_pb2.AnalysePlanResponse(
        plan_version=question.plan.version,
        considered=len(there),
        planned=len(found),
        present=_score_message(capacity.present),
        gains=[
            admin_pb2.CapacityGain(
                link=_change_message(option.link).add_link,
                existing_link=option.existing or "",
                score=_score_message(score),
            )
            for score, option in helpful[: asked.count or DEFAULT_GAINS]
        ],
    )


def _score_message(score: Score) -> admin_pb2.NetworkScore:
    return admin_pb2.NetworkScore(
        without_path=score.without_path,
        unprotected=score.unprotected,
        worst_bps=score.worst_bps,
        total_bps=score.total_bps,
        worst_stream=score.worst_stream or "",
    )


def changes_of(what_if: admin_pb2.WhatIf) -> tuple[Change, ...]:
    """The changes that a request names."""
    return tuple(map(_change, what_if.changes))


def _in_time(what_if: WhatIf, cases: Iterable[Case], has_time: Callable[[], bool]) -> Iterator[Outcome]:
    for case in cases:
        if not has_time():
            return
        yield what_if.outcome(case)


def _change(message: admin_pb2.WhatIfChange) -> Change:
    if message.HasField("cut_link"):
        return Cut(LinkName(message.cut_link))
    if message.HasField("down_node"):
        return NodeDown(NodeName(message.down_node))
    link = message.add_link
    return Added(NodeName(link.a_node), NodeName(link.b_node), link.rate_bps, link.length_km)


def _change_message(change: Change) -> admin_pb2.WhatIfChange:
    if isinstance(change, Cut):
        return admin_pb2.WhatIfChange(cut_link=change.link)
    if isinstance(change, NodeDown):
        return admin_pb2.WhatIfChange(down_node=change.node)
    return admin_pb2.WhatIfChange(
        add_link=admin_pb2.SupposedLink(
            a_node=change.a, b_node=change.b, rate_bps=change.rate_bps, length_km=change.length_km
        )
    )


def _outcome_message(outcome: Outcome) -> admin_pb2.WhatIfOutcome:
    return admin_pb2.WhatIfOutcome(
        changes=map(_change_message, outcome.changes),
        label=outcome.label,
        streams=[
            admin_pb2.StreamOutcome(
                stream=one.stream,
                effect=_EFFECTS[one.effect],
                before_bps=one.before_bps,
                after_bps=one.after_bps,
                before_k=one.before_k,
                after_k=one.after_k,
                at_once=one.at_once,
                reason=one.reason,
            )
            for one in outcome.streams
        ],
        lost_bps=outcome.lost_bps,
    )
