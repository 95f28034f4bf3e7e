"""The controller's side of entangled pairs: from telemetry and intent to rules, news and figures."""

import pytest

from keyweave.common.entanglement.bell import werner
from keyweave.common.names import NodeName
from keyweave.controller.instructions import PersistPairs, PlanPairs, Push
from keyweave.controller.pairs.served import State
from keyweave.controller.pairs.words import explain
from keyweave.controller.topology import Condition
from keyweave.v1 import types_pb2
from tests.unit.pair_run import PairRun, told, wanted


def measured(**given: object) -> PairRun:
    run = PairRun(**given)  # type: ignore[arg-type]  # fields by name
    run.hello()
    run.run(5)
    return run


def test_a_link_exists_once_both_its_ends_tell_of_it_and_its_tests_say_how_it_is() -> None:
    run = PairRun()
    assert list(run.core.pairs.links()) == []
    run.hello()
    assert {link.condition for link, _ in run.core.pairs.links()} == {Condition.STALE}
    run.run(10)
    for link, _ in run.core.pairs.links():
        assert link.condition is Condition.OK
        assert link.pair_rate_hz == pytest.approx(100, rel=0.05)
        assert link.success_ratio == pytest.approx(0.01, rel=0.05)
        assert link.fidelity is not None
        assert link.fidelity.fidelity == pytest.approx(0.96, abs=0.01)
        assert link.fidelity.low < 0.96 < link.fidelity.high


def test_links_are_tested_at_both_ends() -> None:
    run = measured()
    rule = run.rules[NodeName("b")]["pair-link/bc"].pair_link
    assert (rule.peer_node, rule.test_rate_hz > 0) == ("c", True)
    assert "pair-link/bc" in run.rules[NodeName("c")]
    assert "pair-link/bc" not in run.rules[NodeName("a")]


def test_a_stream_becomes_rules_at_every_node_of_its_path_with_peers_between_all_of_them() -> None:
    run = measured()
    run.want(wanted())
    run.run(1)
    view = run.view()
    assert view.state is State.MET
    assert view.predicted_rate_hz == pytest.approx(5.0)
    assert view.predicted_fidelity > 0.8
    for position, node in enumerate("abcd"):
        (rule,) = run.pair_rules(node)
        assert (rule.position, list(rule.nodes), list(rule.links)) == (
            position,
            [*"abcd"],
            ["ab", "bc", "cd"],
        )
        assert (rule.left_memories > 0, rule.right_memories > 0) == (position > 0, position < 3)
        peers = {
            rule_id.removeprefix("peer/") for rule_id in run.rules[NodeName(node)] if rule_id[:5] == "peer/"
        }
        assert peers == set("abcd") - {node}
    assert any(isinstance(one, PersistPairs) for one in run.done)


def test_no_half_waits_for_ever_where_the_plan_has_no_cut_off() -> None:
    run = measured()
    run.want(wanted(kind="ck"))
    run.run(1)
    (way,) = run.view().ways
    (rule,) = run.pair_rules("b")
    cutoffs = [step.cutoff.seconds for step in rule.steps if step.WhichOneof("action") == "cutoff"]
    assert cutoffs
    assert min(cutoffs) >= 12 / way.path.predicted_rate_hz
    assert max(cutoffs) < run.t2_seconds


@pytest.mark.parametrize(("share", "told"), [(0.95, ""), (0.5, "2.48 pairs/s are to be expected")])
def test_what_came_of_the_prediction_is_learnt_and_told(share: float, told: str) -> None:
    run = measured()
    run.want(wanted())
    run.run(1)
    delivered = 0.0
    for _ in range(60):
        delivered += 5.0 * share
        run.report("a", stream="s", path_id=run.view().ways[0].path_id, delivered_total=round(delivered))
        run.run(1)
    came = run.view().came
    assert came is not None
    assert came.ratio == pytest.approx(share, abs=0.03)
    links = {link.name: link for link, _ in run.core.pairs.links()}
    (line,) = [one for one in explain(run.view(), links, run.core.pairs.book.network()) if " came (" in one]
    assert told in line
    assert ("expected" in line) is bool(told)


def test_nothing_is_held_against_a_prediction_before_enough_has_come() -> None:
    run = measured()
    run.want(wanted())
    run.run(15)
    assert run.view().came is None


def test_what_estimates_that_breathe_change_is_pushed_to_nobody() -> None:
    run = measured()
    run.want(wanted())
    run.run(10)
    for one in run.links.values():
        one.rate_hz *= 1.05
    assert [i for i in run.run(30) if isinstance(i, Push)] == []


def test_a_cut_link_ends_what_runs_over_it_and_its_return_brings_it_back() -> None:
    run = measured()
    run.want(wanted())
    run.run(2)
    run.links["bc"].status = types_pb2.LINK_STATUS_OFF
    run.links["bc"].rate_hz = 0.0
    out = run.run(2)
    assert told(out, "pair_link_condition_changed")[0].severity == "major"
    assert run.view().state is State.UNMET
    assert "no path" in run.view().reason
    assert told(out, "pair_stream_unmet")
    assert run.pair_rules("b") == []
    run.links["bc"].status = types_pb2.LINK_STATUS_ACTIVE
    run.links["bc"].rate_hz = 100.0
    out = run.run(10)
    assert run.view().state is State.MET
    assert told(out, "pair_stream_met")


def test_a_link_that_falls_silent_without_a_word_is_taken_to_be_down() -> None:
    run = measured()
    run.links["bc"].rate_hz = 0.0
    out = run.run(3)
    (event,) = told(out, "pair_link_condition_changed")
    assert (event.link, event.fields["new"]) == ("bc", "down")


def test_falling_fidelity_leads_to_another_plan() -> None:
    run = measured()
    run.want(wanted(min_fidelity=0.85))
    run.run(3)
    before = run.view()
    run.links["bc"].state = werner(0.85)
    run.run(60)
    after = run.view()
    assert before.state is State.MET
    assert after.answer != before.answer
    assert after.state is not State.MET or after.predicted_fidelity >= 0.845


def test_a_stream_that_asks_for_too_much_is_told_so_and_resumed_when_it_can_be_met() -> None:
    run = measured()
    run.want(wanted(min_fidelity=0.999))
    run.run(30)
    assert run.view().state is State.UNMET
    assert "0.999" in run.view().reason
    assert told(run.done, "pair_stream_unmet")
    run.want(wanted(min_fidelity=0.8, revision=1))
    out = run.run(2)
    assert run.view().state is State.MET
    assert told(out, "pair_stream_met")


def test_failing_memories_lead_to_another_plan() -> None:
    run = measured()
    run.want(wanted())
    run.run(2)
    assert run.view().state is State.MET
    run.memories["b"] = 1  # one cannot join two links
    run.run(10)
    assert run.view().state is State.UNMET


def test_silence_of_an_agent_moves_nothing_that_runs() -> None:
    run = measured()
    run.want(wanted())
    run.run(2)
    run.silent.add("b")
    out = run.run(20)
    assert {event.fields["new"] for event in told(out, "pair_link_condition_changed")} == {"stale"}
    assert run.view().state is State.MET
    assert len(run.pair_rules("b")) == 1


def test_a_deadline_ends_a_stream() -> None:
    run = measured()
    run.want(wanted(deadline=run.now + 5))
    run.run(3)
    assert run.view().state is State.MET
    out = run.run(3)
    assert run.view().state is State.ENDED
    assert told(out, "pair_stream_ended")
    assert run.pair_rules("a") == []


def test_a_count_of_pairs_ends_a_stream_and_stays_so_after_a_restart() -> None:
    run = measured()
    run.want(wanted(pair_count=100))
    run.run(2)
    path = run.view().ways[0].path_id
    run.report("a", stream="s", is_source=True, path_id=path, delivered_total=100)
    run.run(1)
    assert run.view().state is State.ENDED
    again = PairRun(streams=(wanted(pair_count=100),), records=run.records)
    again.hello()
    again.run(5)
    assert again.view().state is State.ENDED


def test_after_a_restart_the_paths_of_before_stand_and_their_rules_are_the_same() -> None:
    run = measured()
    run.want(wanted())
    run.run(2)
    again = PairRun(streams=(wanted(),), records=run.records)
    assert again.pair_rules("b") == run.pair_rules("b")
    again.hello()
    out = again.run(30)
    assert again.pair_rules("b") == run.pair_rules("b")
    assert told(out, "pair_plan_changed") == []


def test_a_path_whose_tests_are_worse_than_predicted_casts_doubt_on_its_links() -> None:
    run = measured()
    run.want(wanted(min_fidelity=0.85))
    run.run(2)
    for one in run.links.values():
        one.tests_hz = 0.0  # all memories are in use
    path = run.view().ways[0].path_id
    tests = {"x_total": 400, "y_total": 400, "z_total": 400}
    tests |= {"x_equal_total": 320, "y_equal_total": 80, "z_equal_total": 320}
    run.report("a", stream="s", is_source=True, path_id=path)
    run.report("a", stream="s", is_source=True, path_id=path, tests=tests)
    out = run.run(10)
    assert run.view().measured is None or run.view().state is not State.MET
    assert [i for i in out if isinstance(i, PlanPairs)]
    assert told(out, "pair_fidelity_changed")


def test_streams_that_cannot_all_be_met_are_served_by_priority() -> None:
    run = measured(memories=dict.fromkeys("abcd", 2))
    run.want(wanted("low", priority=0))
    run.run(1)
    assert run.view("low").state is not State.UNMET
    run.want(wanted("high", priority=9))
    run.run(2)
    assert run.view("high").ways
    assert run.view("low").state is State.UNMET


def test_a_deleted_stream_leaves_no_rule_behind() -> None:
    from keyweave.controller.stimuli import PairStreamDeleted  # noqa: PLC0415

    run = measured()
    run.want(wanted())
    run.run(1)
    run.handle(PairStreamDeleted(run.view().stream.name))
    run.run(1)
    assert all(run.pair_rules(node) == [] for node in "abcd")
    assert not run.records


def test_a_stream_that_does_not_get_what_was_planned_is_not_called_met() -> None:
    run = measured()
    run.want(wanted())
    run.run(1)
    for second in range(70):
        run.report("a", stream="s", is_source=True, delivered_total=second)
        run.run(1)
    view = run.view()
    assert view.state is State.PARTLY_MET
    assert "of 5 pairs/s planned are delivered" in view.reason


def test_a_stream_that_gets_what_was_planned_is_met() -> None:
    run = measured()
    run.want(wanted())
    run.run(1)
    for second in range(70):
        run.report("a", stream="s", is_source=True, delivered_total=5 * second)
        run.run(1)
    assert run.view().state is State.MET
