"""The core: what happens, in; what is to be done, out."""

import pytest
from google.rpc import code_pb2, status_pb2

from keyweave.common.names import LinkName
from keyweave.controller import routing
from keyweave.controller.events import Severity
from keyweave.controller.instructions import (
    Confirm,
    FallSilent,
    Instruction,
    PersistRollout,
)
from keyweave.controller.reconcile.core import Core, CoreSettings
from keyweave.controller.rollout import Rollout
from keyweave.controller.stimuli import (
    Batch,
    NodeDeleted,
    PolicyConnected,
    PolicyDisconnected,
    PolicyNacked,
    StreamDeleted,
    StreamPut,
    StreamsReported,
)
from keyweave.controller.topology import Condition
from keyweave.v1 import agent_pb2, types_pb2
from tests.unit.core_run import NETWORK, RATES, START, A, B, P, Q, Run, S, events, observed, pushes, reported
from tests.unit.networks import stream


@pytest.fixture
def running() -> Run:
    """All agents connected, all links known and steady."""
    run = Run()
    run.connect()
    run.measure(10.0, RATES)
    assert run.first_path() == (A, P, B)
    assert run.core.distribution.agent(A).in_sync
    return run


def restarted(run: Run) -> Run:
    stored = run.stored
    for instruction in run.done:
        if isinstance(instruction, PersistRollout):
            stored = stored.after(instruction.change)
    return Run(stored=stored, epoch=run.epoch + 1, now=run.now + 1.0, has=dict(run.has))


# ---- start -----------------------------------------------------------------------------------------


def test_the_first_plan_is_made_as_soon_as_every_link_has_reported() -> None:
    run = Run()
    run.measure(1.0, RATES, without=("b-q",))
    assert run.core.plan.version == 0
    run.measure(1.0, RATES)
    assert not run.core.warming_up
    assert run.first_path() == (A, P, B)


def test_the_first_plan_is_made_when_the_warm_up_is_over_though_a_link_is_silent() -> None:
    run = Run()
    for _ in range(19):
        run.measure(1.0, RATES, without=("b-q",))
    assert run.core.plan.version == 0
    run.measure(2.0, RATES, without=("b-q",))
    assert not run.core.warming_up
    assert run.first_path() == (A, P, B)


def test_a_restart_withdraws_nothing_and_only_confirms_what_agents_have(running: Run) -> None:
    again = restarted(running)
    out = again.connect(epoch=1, highest_epoch=1)
    assert pushes(out) == []
    assert {i.node for i in out if isinstance(i, Confirm)} == {A, B, P, Q}
    again.measure(8.0, RATES)
    assert not again.core.warming_up
    assert pushes(again.done) == []
    assert again.first_path() == (A, P, B)


def test_even_a_broken_link_changes_nothing_before_the_warm_up_is_over(running: Run) -> None:
    again = restarted(running)
    again.connect(epoch=1, highest_epoch=1)
    again.handle(reported(A, agent_pb2.AGENT_EVENT_KIND_LINK_LOSS_OF_SIGNAL, link="a-p"))
    again.measure(5.0, RATES, without=("a-p", "b-p"))
    assert again.core.links[LinkName("a-p")].view.condition is Condition.DOWN
    assert again.first_path() == (A, P, B)
    again.advance(20.0)
    assert not again.core.warming_up
    assert P not in again.first_path()


def test_streams_created_while_warming_up_reach_their_ends_at_once() -> None:
    run = Run()
    run.connect()
    out = run.handle(StreamPut(stream("t", "p", "q")))
    assert run.core.warming_up
    assert {push.node for push in pushes(out)} == {P, Q}


# ---- when to plan ----------------------------------------------------------------------------------


def test_loss_of_signal_takes_a_link_down_at_once_and_streams_leave_it(running: Run) -> None:
    out = running.handle(reported(A, agent_pb2.AGENT_EVENT_KIND_LINK_LOSS_OF_SIGNAL, link="a-p"))
    out += running.advance(1.0)
    assert running.first_path() == (A, Q, B)
    (change,) = events(out, "link_condition_changed")
    assert (change.link, change.severity) == ("a-p", Severity.MAJOR)
    assert change.fields["old"] == "ok"
    assert change.fields["new"] == "down"
    assert events(out, "plan_changed")
    assert running.core.distribution.agent(A).in_sync


def test_a_stream_moves_back_once_the_hold_down_is_over(running: Run) -> None:
    running.handle(reported(A, agent_pb2.AGENT_EVENT_KIND_LINK_LOSS_OF_SIGNAL, link="a-p"))
    running.measure(3.0, RATES, without=("a-p",))
    running.handle(reported(A, agent_pb2.AGENT_EVENT_KIND_LINK_RESTORED, link="a-p"))
    running.measure(4.0, RATES)
    assert running.core.links[LinkName("a-p")].view.condition is Condition.DOWN
    running.measure(30.0, RATES)
    assert running.core.links[LinkName("a-p")].view.condition is Condition.OK
    used = {p.nodes for s in running.core.plan.streams[S].path_sets for p in s.paths}
    assert (A, P, B) in used


def test_rates_that_drift_are_planned_after_a_while_and_small_ones_never(running: Run) -> None:
    plans = running.core.plan.version
    running.measure(20.0, {**RATES, "a-p": 4800.0})
    assert running.core.plan.version == plans
    running.measure(3.0, {**RATES, "a-p": 600.0})
    assert running.core.plan.version == plans
    running.measure(20.0, {**RATES, "a-p": 600.0})
    assert running.core.plan.version > plans


def test_a_silent_link_keeps_its_paths(running: Run) -> None:
    running.measure(10.0, RATES, without=("a-p",))
    assert running.core.links[LinkName("a-p")].view.condition is Condition.STALE
    assert running.first_path() == (A, P, B)


def test_a_stream_without_any_path_is_told_of_once_and_once_when_it_has_one_again(running: Run) -> None:
    out: list[Instruction] = []
    for link in ("a-p", "a-q"):
        out += running.handle(reported(A, agent_pb2.AGENT_EVENT_KIND_LINK_LOSS_OF_SIGNAL, link=link))
    out += running.measure(10.0, RATES, without=("a-p", "a-q"))
    assert running.first_path() == ()
    (unmet,) = events(out, "stream_unmet")
    assert (unmet.stream, unmet.clears) == ("s", False)
    assert not events(out, "stream_met")
    back = running.handle(reported(A, agent_pb2.AGENT_EVENT_KIND_LINK_RESTORED, link="a-q"))
    back += running.measure(20.0, RATES, without=("a-p",))
    (met,) = events(back, "stream_met")
    assert (met.stream, met.alarm, met.clears) == ("s", unmet.alarm, True)
    assert not events(running.measure(5.0, RATES, without=("a-p",)), "stream_met")


def test_a_deleted_stream_is_gone_from_plan_and_policies(running: Run) -> None:
    running.handle(StreamDeleted(S))
    running.advance(1.0)
    assert S not in running.core.plan.streams
    for node in (A, B, P):
        applied = running.core.distribution.agent(node).applied
        assert applied is not None
        assert not [rule for rule in applied.policy.rules if rule.startswith(("stream/", "relay/"))]


def test_a_node_that_a_stream_must_avoid_from_now_on_is_left_at_once(running: Run) -> None:
    (former,) = (p.path_id for s in running.core.plan.streams[S].path_sets for p in s.paths if P in p.nodes)
    out = running.handle(StreamPut(stream("s", "a", "b", avoid_nodes=["p"])))
    assert {push.node for push in pushes(out)} >= {A, B}
    for push in pushes(out):
        assert former not in push.target.policy.uses
    running.advance(1.0)
    assert running.first_path() == (A, Q, B)


def test_a_connected_agent_whose_node_is_deleted_is_left_without_rules(running: Run) -> None:
    running.handle(StreamDeleted(S))
    running.advance(1.0)
    out = running.handle(NodeDeleted(Q))
    (push,) = [push for push in pushes(out) if push.node == Q]
    assert not push.target.policy.rules


# ---- agents ----------------------------------------------------------------------------------------


def test_an_agent_that_has_seen_a_higher_epoch_makes_the_controller_read_only() -> None:
    run = Run(epoch=3)
    have = agent_pb2.PolicyVersion(epoch=7, version=1, digest=b"d" * 32)
    out = run.handle(PolicyConnected(A, have, 7))
    assert FallSilent(7) in out
    (behind,) = events(out, "epoch_behind")
    assert "raise-epoch" in behind.message
    assert run.core.read_only
    out += run.handle(PolicyConnected(B, agent_pb2.PolicyVersion(), 0))
    out += run.measure(30.0, RATES)
    assert pushes(out) == []
    assert not [i for i in out if isinstance(i, PersistRollout | Confirm)]
    assert run.core.plan.version == 0


def test_a_controller_whose_store_was_found_behind_is_read_only_from_the_start() -> None:
    core = Core(settings=CoreSettings(), planner=routing, epoch=7, stored=Rollout(), behind=5)
    links = {name: view.link for name, view in NETWORK.links.items()}
    out = core.start(NETWORK.nodes, links, NETWORK.streams, START)
    assert core.read_only
    assert FallSilent(5) in out
    (told,) = events(out, "epoch_behind")
    assert told.message.startswith("an agent had seen epoch 5 of another run")
    for node in sorted(NETWORK.nodes):
        assert not pushes(core.handle(PolicyConnected(node, agent_pb2.PolicyVersion(), 0), START))


def test_an_agent_that_knows_this_runs_epoch_before_it_has_heard_of_it_makes_it_read_only() -> None:
    run = Run(epoch=3)
    out = run.handle(PolicyConnected(A, agent_pb2.PolicyVersion(epoch=3, version=1, digest=b"d" * 32), 3))
    assert FallSilent(3) in out
    assert events(out, "epoch_behind")
    assert run.core.read_only


def test_an_agent_that_comes_back_with_this_runs_epoch_has_it_from_this_run(running: Run) -> None:
    epoch = running.core.epoch
    for node in (A, B):
        running.handle(PolicyDisconnected(node))
    out = running.connect(epoch=epoch, highest_epoch=epoch)
    assert not events(out, "epoch_behind")
    assert not running.core.read_only
    assert {i.node for i in out if isinstance(i, Confirm)} == {A, B, P, Q}


def test_a_refusal_names_the_rule_and_leaves_the_agent_with_what_it_had(running: Run) -> None:
    before = running.core.distribution.agent(Q).applied
    running.answering = False
    out = running.handle(StreamPut(stream("t", "p", "q")))
    (push,) = [push for push in pushes(out) if push.node == Q]
    status = agent_pb2.RuleStatus(
        rule_id="stream/t", status=status_pb2.Status(code=code_pb2.INVALID_ARGUMENT, message="not here")
    )
    out = running.handle(PolicyNacked(Q, push.target.policy.digest, (status,)))
    (nacked,) = events(out, "policy_nacked")
    assert "stream/t" in nacked.message
    assert "not here" in nacked.message
    assert pushes(out) == []
    assert running.core.distribution.agent(Q).applied == before


def test_a_lost_agent_is_told_of_and_keeps_its_paths(running: Run) -> None:
    out = running.handle(PolicyDisconnected(P))
    assert [event.node for event in events(out, "agent_lost")] == ["p"]
    assert pushes(out) == []
    assert running.first_path() == (A, P, B)


def test_an_agent_cannot_speak_for_a_link_or_stream_of_others(running: Run) -> None:
    out = running.handle(reported(Q, agent_pb2.AGENT_EVENT_KIND_LINK_LOSS_OF_SIGNAL, link="a-p"))
    out += running.handle(observed("a-p", Q, running.now, 0.0))
    assert [event.node for event in events(out, "report_refused")] == ["q"], "told once, not with every batch"
    assert running.core.links[LinkName("a-p")].view.condition is Condition.OK
    state = agent_pb2.StreamState(stream="s", served_qkd_total=9)
    running.handle(Batch(Q, b"i" * 16, 2, (StreamsReported(Q, (state,)),)))
    assert not running.core.reports.stream(S).ends


def test_a_fault_that_an_agent_reports_twice_is_told_once_until_it_is_over(running: Run) -> None:
    def told(kind: agent_pb2.AgentEventKind) -> int:
        return len(events(running.handle(reported(A, kind, link="a-p")), "link_qber_abort"))

    aborted = agent_pb2.AGENT_EVENT_KIND_LINK_QBER_ABORT
    restored = agent_pb2.AGENT_EVENT_KIND_LINK_RESTORED
    assert [told(kind) for kind in (aborted, aborted, restored, aborted)] == [1, 0, 0, 1]


def test_a_failover_is_an_event_with_its_duration(running: Run) -> None:
    failover = reported(
        A,
        agent_pb2.AGENT_EVENT_KIND_FAILOVER,
        stream="s",
        duration_seconds=0.25,
        protection_before=types_pb2.PROTECTION_HYBRID,
        protection_after=types_pb2.PROTECTION_PQC,
    )
    (event,) = events(running.handle(failover), "stream_failover")
    assert event.fields["duration_seconds"] == "0.250"
    assert (event.fields["protection_before"], event.fields["protection_after"]) == ("hybrid", "pqc")
    view = running.core.reports.stream(S).view(running.core.streams[S], None)
    assert view.last_failover_seconds == 0.25


def test_what_both_ends_of_a_stream_report_is_told_as_one(running: Run) -> None:
    for seconds in range(2):
        running.advance(1.0)
        for node, buffered, protection in (
            (A, 5, types_pb2.PROTECTION_HYBRID),
            (B, 3, types_pb2.PROTECTION_PQC),
        ):
            state = agent_pb2.StreamState(
                stream="s", buffered_keys=buffered, protection=protection, confirmed_bits_total=512 * seconds
            )
            running.handle(Batch(node, b"i" * 16, 2, (StreamsReported(node, (state,)),)))
    view = running.core.reports.stream(S).view(running.core.streams[S], None)
    assert view.buffered_keys == 3
    assert view.protection == types_pb2.PROTECTION_PQC
    assert view.delivered_bits_total == 1024
    assert 0 < view.delivered_bps <= 1024


# ---- replay ----------------------------------------------------------------------------------------


def test_a_recorded_run_replays_to_the_same_instructions(running: Run) -> None:
    running.handle(reported(A, agent_pb2.AGENT_EVENT_KIND_LINK_LOSS_OF_SIGNAL, link="a-p"))
    running.measure(5.0, RATES, without=("a-p",))
    running.handle(StreamPut(stream("t", "p", "q")))
    running.advance(5.0)
    replay = Run()
    replay.answering = replay.optimising = False  # the answers are in the journal
    for now, stimulus in running.journal:
        replay.now = now
        replay.handle(stimulus)
    assert sorted(map(repr, replay.done)) == sorted(map(repr, running.done))
    assert replay.core.plan == running.core.plan
