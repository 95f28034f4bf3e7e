"""A stream of ML-KEM alone: planning gives it no path, and takes nothing from anybody for it."""

from dataclasses import replace
from typing import Any

import pytest

from keyweave.common.names import LinkName, StreamName
from keyweave.controller import routing
from keyweave.controller.reconcile.plan_changes import permits, pruned
from keyweave.controller.routing.explain import explain
from keyweave.controller.routing.warnings import warnings_for
from keyweave.controller.topology import Snapshot
from tests.unit.networks import snapshot, stream

SHADOW = stream("shadow", "a", "c", pqc_only=True, require_pqc=True, priority=9, min_rate_bps=50_000.0)


def network(*others: str) -> Snapshot:
    streams = [stream(name, "a", "c") for name in others]
    return snapshot([("ab", "a", "b", 9000.0), ("bc", "b", "c", 1000.0)], [*streams, SHADOW])


def test_it_has_no_path_and_is_not_short_of_anything() -> None:
    planned = routing.plan_streams(network(), None, 1).streams[SHADOW.name]
    assert planned.path_sets == ()
    assert planned.unmet == ""
    assert planned.rate_bps == 50_000.0
    assert "pqc_only" in planned.reason


def test_others_are_routed_as_if_it_were_not_there() -> None:
    both = routing.plan_streams(network("s"), None, 1)
    without = snapshot([("ab", "a", "b", 9000.0), ("bc", "b", "c", 1000.0)], [stream("s", "a", "c")])
    assert both.streams[StreamName("s")] == routing.plan_streams(without, None, 1).streams[StreamName("s")]


@pytest.mark.parametrize(
    ("fields", "rate"),
    [({"max_rate_bps": 70_000.0}, 70_000.0), ({"min_rate_bps": 0.0}, 8 * 256), ({}, 50_000.0)],
)
def test_its_rate_is_what_it_asks_for(fields: dict[str, Any], rate: float) -> None:
    known = network()
    asking = replace(known, streams={SHADOW.name: replace(SHADOW, **fields)})
    assert routing.plan_streams(asking, None, 1).streams[SHADOW.name].rate_bps == rate


def test_a_stream_that_becomes_one_leaves_its_paths_at_once() -> None:
    before = replace(SHADOW, pqc_only=False)
    known = network()
    routed = replace(known, streams={before.name: before})
    plan = routing.plan_streams(routed, None, 1)
    assert plan.streams[before.name].path_sets
    left = pruned(plan, [SHADOW.name], permits(known))
    assert left.streams[SHADOW.name].path_sets == ()


def test_a_repair_leaves_it_alone() -> None:
    known = network("s")
    plan = routing.plan_streams(known, None, 1)
    broken = {
        **known.links,
        LinkName("bc"): replace(known.links[LinkName("bc")], keeps_paths=False, takes_paths=False),
    }
    repaired = routing.repair(replace(known, links=broken), plan, frozenset({LinkName("bc")}), 2)
    assert repaired.streams[SHADOW.name] is plan.streams[SHADOW.name]


def test_its_explanation_says_who_sees_its_keys_and_that_no_link_matters() -> None:
    known = network()
    lines = explain(known, routing.plan_streams(known, None, 1), SHADOW.name)
    assert any("ML-KEM alone" in line for line in lines)
    assert any("seen by nobody but the ends" in line for line in lines)
    assert not any("no quantum path" in line for line in lines)


def test_nothing_is_warned_of_where_no_links_join_its_ends() -> None:
    island = snapshot([("ab", "a", "b", 9000.0)], [SHADOW], nodes=["c"])
    assert warnings_for(island, SHADOW) == ()
