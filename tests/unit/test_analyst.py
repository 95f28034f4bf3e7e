"""The process that answers questions about plans: one question in, its answer out, in the time it has."""

import io
import os
import pickle
import sys
from types import SimpleNamespace

import pytest

from keyweave.common import process
from keyweave.controller import analyst
from keyweave.controller.analysis import Question, answer
from keyweave.controller.routing import plan_streams
from keyweave.v1 import admin_pb2
from tests.unit.networks import ring, snapshot, stream


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


def test_a_sweep_ends_when_its_time_does_and_says_how_far_it_came() -> None:
    asked = question(admin_pb2.AnalysePlanRequest(sweep=admin_pb2.FailureSweep(failures=2)))
    looks = iter([True, True, True, False])
    told = answer(asked, lambda: next(looks))
    assert (told.considered, told.planned, len(told.outcomes)) == (10, 3, 3)
    whole = answer(asked, lambda: True)
    assert (whole.considered, whole.planned) == (10, 10)
    lost = [one.lost_bps for one in whole.outcomes]
    assert lost[0] == max(lost)
