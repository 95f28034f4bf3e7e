"""Every policy that is sent, every answer, and every change of protection has its entry; nothing else has."""

from collections.abc import Iterator

from google.rpc import code_pb2, status_pb2

from keyweave.controller.audit.chain import Entry, EntryKind
from keyweave.controller.audit.records import VALUE_CHARACTERS, Records
from keyweave.controller.event_kinds import KINDS
from keyweave.controller.instructions import Push
from keyweave.controller.stimuli import PolicyNacked
from keyweave.v1 import agent_pb2, types_pb2
from tests.unit.core_run import RATES, A, B, Run, pushes, reported


def entries_of(run: Run) -> Iterator[Entry]:
    """A core with agents that answer at once, and the entries of all that happens there."""
    records = Records(run.epoch)
    for now, stimulus in run.journal:
        yield from records.of(stimulus, (), now)


def test_each_push_is_an_entry_with_node_epoch_version_and_digest_and_so_is_each_answer() -> None:
    run = Run(answering=False, epoch=4)
    run.connect()
    out = run.measure(10.0, RATES)
    (push, *_) = pushes(out) or [one for one in run.done if isinstance(one, Push)]
    records = Records(run.epoch)
    (sent,) = records.of(None, [push], 7.0)
    version = {"epoch": "4", "version": str(push.target.version), "digest": push.target.policy.digest.hex()}
    assert (sent.kind, sent.action, sent.outcome) == (EntryKind.POLICY, "push", "sent")
    assert (sent.subject, sent.actor) == (f"node/{push.node}", "controller")
    assert version.items() <= sent.details.items()
    assert sent.after_digest == version["digest"]
    status = status_pb2.Status(code=code_pb2.FAILED_PRECONDITION, message="the guard forbids it")
    refusal = agent_pb2.RuleStatus(rule_id="stream/s", status=status)
    (nack,) = records.of(PolicyNacked(push.node, push.target.policy.digest, (refusal,)), (), 8.0)
    assert (nack.actor, nack.action) == (f"keyweave://control/agent/{push.node}", "nack")
    assert nack.outcome == "refused"
    assert version.items() <= nack.details.items()
    assert "stream/s: FAILED_PRECONDITION: the guard forbids it" in nack.details["reason"]


def test_a_network_that_settles_has_an_ack_for_every_push() -> None:
    run = Run()
    run.connect()
    run.measure(10.0, RATES)
    records = Records(run.epoch)
    sent = [entry for entry in records.of(None, run.done, 1.0) if entry.action == "push"]
    acked = [entry for entry in entries_of(run) if entry.action == "ack"]
    assert len(sent) == len(pushes(run.done)) > 0
    assert sorted(e.details["digest"] for e in sent) == sorted(e.details["digest"] for e in acked)


def test_a_failover_is_an_entry_with_protection_and_paths_before_and_after() -> None:
    run = Run()
    out = run.handle(
        reported(
            A,
            agent_pb2.AGENT_EVENT_KIND_FAILOVER,
            stream="s",
            duration_seconds=0.25,
            protection_before=types_pb2.PROTECTION_HYBRID,
            protection_after=types_pb2.PROTECTION_PQC,
            path_ids_before=["s:1"],
        )
    )
    (entry,) = (e for e in Records(1).of(None, out, 5.0) if e.kind is EntryKind.PROTECTION)
    assert (entry.actor, entry.action, entry.subject) == (
        "keyweave://control/agent/a",
        "stream_failover",
        "stream/s",
    )
    assert entry.details["protection_before"] == "hybrid"
    assert entry.details["protection_after"] == "pqc"
    assert entry.details["paths_before"] == "s:1"
    assert entry.details["duration_seconds"] == "0.250"


def test_what_starves_and_what_comes_back_are_entries_and_what_changes_no_protection_is_not() -> None:
    run = Run()
    out = run.handle(reported(A, agent_pb2.AGENT_EVENT_KIND_STREAM_STARVED, stream="s"))
    out += run.handle(reported(B, agent_pb2.AGENT_EVENT_KIND_STREAM_SUPPLIED, stream="s"))
    out += run.handle(reported(B, agent_pb2.AGENT_EVENT_KIND_LEASE_EXPIRED))
    out += run.handle(reported(B, agent_pb2.AGENT_EVENT_KIND_POOL_DESTROYED, link="b-p"))
    kept = [e.action for e in Records(1).of(None, out, 5.0) if e.kind is EntryKind.PROTECTION]
    assert kept == ["stream_starved", "stream_supplied"]
    assert all(
        KINDS[kind].protects for kind in ("stream_failover", "keys_recalled", "stream_unmet", "zeroized")
    )


def test_a_long_list_of_keys_is_cut_in_the_entry() -> None:
    ids = [f"8d9a6f0e-0000-4000-8000-{number:012d}" for number in range(256)]
    out = Run().handle(reported(A, agent_pb2.AGENT_EVENT_KIND_KEYS_RECALLED, link="a-p", key_ids=ids))
    (entry,) = Records(1).of(None, out, 5.0)
    assert len(entry.details["key_ids"]) == VALUE_CHARACTERS + 3
