"""The process that answers questions about plans: one question in, its answer out, in the time it has."""

import io
import os
import pickle
import sys
from dataclasses import replace
from math import inf
from types import SimpleNamespace

import pytest

from keyweave.common import process
from keyweave.common.names import StreamName
from keyweave.controller import analyst
from keyweave.controller.analysis import Question, answer
from keyweave.controller.routing import plan_streams
from keyweave.v1 import admin_pb2
from tests.unit.networks import ring, snapshot, stream

WORST = admin_pb2.CAPACITY_GOAL_WORST_STREAM


def question(request: admin_pb2.AnalysePlanRequest, seconds: float = 60.0) -> Question:
    network = snapshot(ring(5), [stream("s", "n0", "n2"), stream("t", "n1", "n4")])
    return Question(request.SerializeToString(), network, plan_streams(network, None, 3), {}, seconds)


def test_a_service_that_may_not_lower_its_priority_answers_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def forbidden(_: int) -> int:
        raise PermissionError(1, "Operation not permitted")

    cut = admin_pb2.WhatIfChange(cut_link="l0")
    asked = question(admin_pb2.AnalysePlanRequest(what_if=admin_pb2.WhatIf(changes=[cut])))
    written = io.BytesIO()
    monkeypatch.setattr(os, "nice", forbidden)
    # It would bind the life of the tests to that of their parent.
    monkeypatch.setattr(process, "die_with_parent", lambda: None)
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(pickle.dumps(asked))))
    monkeypatch.setattr(sys, "stdout", SimpleNamespace(buffer=written))
    analyst.main()
    told = admin_pb2.AnalysePlanResponse.FromString(written.getvalue())
    assert told.plan_version == 3
    assert list(told.outcomes[0].changes) == [cut]


def test_what_helps_nobody_is_not_told_as_help() -> None:
    asked = question(admin_pb2.AnalysePlanRequest(capacity=admin_pb2.CapacitySearch(goal=WORST, count=1000)))
    network = asked.snapshot
    content = replace(network.streams[StreamName("s")], max_rate_bps=1.0, min_rate_bps=0.0)
    told = answer(asked, lambda: True)
    assert 0 < len(told.gains) < told.planned
    assert all(
        (-gain.score.without_path, gain.score.worst_bps or inf, -gain.score.unprotected, gain.score.total_bps)
        > (
            -told.present.without_path,
            told.present.worst_bps,
            -told.present.unprotected,
            told.present.total_bps * (1 - 1e-3),
        )
        for gain in told.gains
    )
    asked = replace(asked, snapshot=replace(network, streams={content.name: content}))
    told = answer(asked, lambda: True)
    assert (told.planned > 0, list(told.gains)) == (True, [])


def test_a_sweep_ends_when_its_time_does_and_says_how_far_it_came() -> None:
    asked = question(admin_pb2.AnalysePlanRequest(sweep=admin_pb2.FailureSweep(failures=2)))
    looks = iter([True, True, True, False])
    told = answer(asked, lambda: next(looks))
    assert (told.considered, told.planned, len(told.outcomes)) == (10, 3, 3)
    whole = answer(asked, lambda: True)
    assert (whole.considered, whole.planned) == (10, 10)
    lost = [one.lost_bps for one in whole.outcomes]
    assert lost[0] == max(lost)
