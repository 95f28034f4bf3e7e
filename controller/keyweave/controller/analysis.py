"""Questions about plans, from the wire and back: what failures would do, and where new links would help.

Answered in a process of its own (`analyst.py`): sweeps plan thousands of networks, and must not keep the
controller's loop from healing the one there is.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice

from keyweave.common.names import LinkName, NodeName
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
    # Work for no longer than this.
    seconds: float


def answer(question: Question, has_time: Callable[[], bool]) -> admin_pb2.AnalysePlanResponse:
    """The answer, as far as there `has_time` to look; what explicit changes do is told in any case."""
    request = admin_pb2.AnalysePlanRequest.FromString(question.request)
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
