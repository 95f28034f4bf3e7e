"""Policy at the agent: whole or not at all, never of an older epoch, and on disk before it is in force."""

import json
import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import pytest
from google.rpc import code_pb2

from keyweave.agent.policy import MAX_EPOCH_JUMP, Policy, PolicyRefusedError, PolicyStore, next_policy
from keyweave.common import process
from keyweave.common.errors import describe_status
from keyweave.common.names import NodeName
from keyweave.common.policy_digest import policy_digest
from keyweave.v1 import agent_pb2, types_pb2
from tests.guards import open_guard

NODE = NodeName("a")
GUARD = open_guard("a", "abcde")


def peer(node: str, address: str = "127.0.0.1:1") -> agent_pb2.Rule:
    return agent_pb2.Rule(
        rule_id=f"peer/{node}", peer=agent_pb2.PeerRule(node=node, key_plane_address=address)
    )


def link(threshold: float = 0.11, peer_node: str = "b") -> agent_pb2.Rule:
    return agent_pb2.Rule(
        rule_id="link/a-b",
        link=agent_pb2.LinkRule(link="a-b", peer_node=peer_node, abort_qber_ratio=threshold),
    )


def path(path_id: str, *nodes: str) -> types_pb2.Path:
    return types_pb2.Path(
        path_id=path_id,
        hops=[types_pb2.Hop(link=f"{a}-{b}", from_node=a, to_node=b) for a, b in pairwise(nodes)],
    )


VIA_B, VIA_D = path("s:b", "a", "b", "c"), path("s:d", "a", "d", "c")


def stream(change: Callable[[agent_pb2.StreamRule], object] = lambda _: None) -> agent_pb2.Rule:
    rule = agent_pb2.StreamRule(
        stream="s",
        is_source=True,
        peer_node="c",
        local_sae="x",
        peer_sae="y",
        key_size_bits=256,
        k=2,
        min_k=2,
        on_exhaustion=types_pb2.ON_EXHAUSTION_WAIT,
        refresh_seconds=60,
        key_ttl_seconds=60,
        buffer_keys=8,
        rate_bps=1000,
        path_sets=[types_pb2.PathSet(paths=[VIA_B, VIA_D])],
        accepted_paths=[VIA_B, VIA_D],
    )
    change(rule)
    return agent_pb2.Rule(rule_id="stream/s", stream=rule)


def relay(*nodes: str) -> agent_pb2.Rule:
    return agent_pb2.Rule(
        rule_id="relay/t/t:1",
        relay=agent_pb2.RelayRule(
            stream="t",
            path_id="t:1",
            hops=path("t:1", *(nodes or ("b", "a", "d"))).hops,
            budget_bps=1,
            burst_bits=1,
        ),
    )


PEERS = [peer("b"), peer("c"), peer("d")]
GOOD = [*PEERS, link(), stream(), relay()]


def policy(rules: Iterable[agent_pb2.Rule] = tuple(GOOD), epoch: int = 5, version: int = 7) -> Policy:
    rules = list(rules)
    return Policy(epoch, version, policy_digest(rules), {rule.rule_id: rule for rule in rules})


def push(
    rules: Iterable[agent_pb2.Rule], *, epoch: int = 5, version: int = 8, digest: bytes | None = None
) -> agent_pb2.PolicyResponse:
    """A snapshot."""
    rules = list(rules)
    return agent_pb2.PolicyResponse(
        version=_version(rules, epoch, version, digest), snapshot=agent_pb2.PolicySnapshot(rules=rules)
    )


def delta(
    after: Iterable[agent_pb2.Rule],
    *,
    base: bytes,
    upserts: Iterable[agent_pb2.Rule] = (),
    removed: Iterable[str] = (),
) -> agent_pb2.PolicyResponse:
    return agent_pb2.PolicyResponse(
        version=_version(list(after), 5, 8, None),
        delta=agent_pb2.PolicyDelta(base_digest=base, upserts=upserts, removed_rule_ids=removed),
    )


def _version(
    rules: list[agent_pb2.Rule], epoch: int, version: int, digest: bytes | None
) -> agent_pb2.PolicyVersion:
    return agent_pb2.PolicyVersion(
        epoch=epoch, version=version, digest=policy_digest(rules) if digest is None else digest
    )


def refusal(
    message: agent_pb2.PolicyResponse, current: Policy, highest_epoch: int = 5
) -> dict[str, tuple[int, str]]:
    """(code, text) by rule_id; empty rule_id for the policy as a whole."""
    before = dict(current.rules)
    with pytest.raises(PolicyRefusedError) as refused:
        next_policy(NODE, current, highest_epoch, message, GUARD)
    assert dict(current.rules) == before, "what was in force is not touched"
    return {r.rule_id: (r.status.code, describe_status(r.status)) for r in refused.value.rules}


# ---- what leads to a new policy -----------------------------------------------------------------


def test_a_snapshot_replaces_everything() -> None:
    rules = [*PEERS, stream()]
    assert next_policy(NODE, policy(), 5, push(rules), GUARD) == policy(rules, version=8)


def test_the_first_policy_ever_may_have_any_epoch() -> None:
    assert next_policy(NODE, Policy(), 0, push(GOOD, epoch=123_456), GUARD).epoch == 123_456


def test_a_policy_without_rules_is_a_policy() -> None:
    assert next_policy(NODE, policy(), 5, push([]), GUARD).rules == {}


def test_a_delta_changes_adds_and_removes() -> None:
    current = policy()
    changed, after = link(0.08), [*PEERS, link(0.08), relay()]
    message = delta(after, base=current.digest, upserts=[changed], removed=["stream/s"])
    assert next_policy(NODE, current, 5, message, GUARD) == policy(after, version=8)


def test_a_heartbeat_confirms_the_policy_in_force() -> None:
    current = policy()
    message = agent_pb2.PolicyResponse(version=current.as_version(), heartbeat=agent_pb2.PolicyHeartbeat())
    assert next_policy(NODE, current, 5, message, GUARD) == current


def test_a_heartbeat_for_another_policy_is_refused() -> None:
    message = agent_pb2.PolicyResponse(
        version=policy([*PEERS]).as_version(), heartbeat=agent_pb2.PolicyHeartbeat()
    )
    assert refusal(message, policy())[""][0] == code_pb2.DATA_LOSS


def test_a_new_controller_may_begin_its_epoch_with_any_version() -> None:
    assert next_policy(NODE, policy(version=900), 5, push(GOOD, epoch=6, version=1), GUARD).epoch == 6


# ---- what is refused as a whole -----------------------------------------------------------------


def test_an_older_epoch_is_refused_even_where_the_policy_in_force_is_older_still() -> None:
    code, text = refusal(push(GOOD, epoch=8), policy(epoch=5), highest_epoch=9)[""]
    assert code == code_pb2.FAILED_PRECONDITION
    assert "epoch 8 is older than 9" in text


@pytest.mark.parametrize("kind", ["delta", "heartbeat"])
def test_an_older_epoch_is_refused_in_whatever_form(kind: str) -> None:
    message = push(GOOD, epoch=4)
    getattr(message, kind).SetInParent()
    assert "epoch 4 is older than 5" in refusal(message, policy())[""][1]


def test_an_epoch_may_jump_by_a_thousand_and_no_further() -> None:
    assert next_policy(NODE, policy(), 5, push(GOOD, epoch=5 + MAX_EPOCH_JUMP), GUARD).epoch == 1005
    code, text = refusal(push(GOOD, epoch=6 + MAX_EPOCH_JUMP), policy())[""]
    assert code == code_pb2.OUT_OF_RANGE
    assert "epoch 1006 jumps more than 1000 above 5" in text


def test_an_older_version_of_the_same_epoch_is_refused() -> None:
    assert "version 6 is older than 7" in refusal(push(GOOD, version=6), policy())[""][1]


def test_a_delta_on_another_base_is_refused() -> None:
    message = delta(GOOD, base=policy([*PEERS]).digest, upserts=[stream(), link(), relay()])
    assert "base is not the policy in force" in refusal(message, policy())[""][1]


def test_rules_with_another_digest_than_stated_are_refused() -> None:
    code, text = refusal(push(GOOD, digest=bytes(32)), policy())[""]
    assert code == code_pb2.DATA_LOSS
    assert "digest" in text


def test_two_rules_of_one_name_are_refused() -> None:
    assert "same rule_id" in refusal(push([*GOOD, link(0.05)]), policy())[""][1]


def test_a_push_of_no_known_kind_is_refused() -> None:
    message = agent_pb2.PolicyResponse(version=policy().as_version())
    assert "neither snapshot nor delta" in refusal(message, policy())[""][1]


# ---- what is refused rule by rule ---------------------------------------------------------------


def _elsewhere(rule: agent_pb2.StreamRule) -> None:
    rule.path_sets[0].paths[0].hops[-1].to_node = "z"


def _torn(rule: agent_pb2.StreamRule) -> None:
    rule.accepted_paths[0].hops[0].to_node = "z"


def _shared_node(rule: agent_pb2.StreamRule) -> None:
    del rule.path_sets[0].paths[1]
    rule.path_sets[0].paths.append(path("s:b2", "a", "b", "c"))
    rule.accepted_paths.append(path("s:b2", "a", "b", "c"))


def _not_accepted(rule: agent_pb2.StreamRule) -> None:
    del rule.accepted_paths[1]


def _one_path(rule: agent_pb2.StreamRule) -> None:
    del rule.path_sets[0].paths[1]


def _pqc_against_qkd(rule: agent_pb2.StreamRule) -> None:
    rule.require_qkd, rule.on_exhaustion = True, types_pb2.ON_EXHAUSTION_PQC


def _other_hops(rule: agent_pb2.StreamRule) -> None:
    rule.path_sets[0].paths[0].CopyFrom(path("s:b", "a", "e", "c"))


def _shared_link(rule: agent_pb2.StreamRule) -> None:
    for paths in (rule.path_sets[0].paths, rule.accepted_paths):
        paths[1].hops[0].link = paths[0].hops[0].link


def _twice(rule: agent_pb2.StreamRule) -> None:
    rule.accepted_paths.append(path("s:b", "a", "e", "c"))


def _round_trip(rule: agent_pb2.StreamRule) -> None:
    rule.accepted_paths.append(path("s:r", "a", "b", "e", "b", "c"))


def _torn_relay() -> agent_pb2.Rule:
    rule = relay()
    rule.relay.hops[1].from_node = "e"
    return rule


BAD_RULES = {
    "peer without address": (peer("b", ""), "peer.key_plane_address"),
    "link to a stranger": (link(peer_node="z"), "link.peer_node: is 'z', for which there is no peer rule"),
    "link without threshold": (link(threshold=0), "link.abort_qber_ratio"),
    "relay to a stranger": (relay("b", "a", "z"), "relay.hops: is 'z', for which there is no peer rule"),
    "relay back to where it came from": (relay("b", "a", "b"), "relay.hops: come to one node twice"),
    "relay that ends here": (relay("b", "d", "a"), "relay.hops: do not lead through a"),
    "relay of a single hop": (relay("b", "d"), "relay.hops"),
    "relay whose hops do not meet": (_torn_relay(), "relay.hops: do not meet"),
    "rule of no kind": (agent_pb2.Rule(rule_id="link/a-b"), "kind"),
    "stream with a stranger": (stream(lambda s: setattr(s, "peer_node", "z")), "stream.peer_node: is 'z'"),
    "min_k above k": (stream(lambda s: setattr(s, "k", 1)), "stream.min_k: is 2, above k = 1"),
    "odd key size": (stream(lambda s: setattr(s, "key_size_bits", 257)), "stream.key_size_bits: is 257"),
    "unspecified enum": (stream(lambda s: setattr(s, "on_exhaustion", 0)), "stream.on_exhaustion"),
    "ML-KEM alone against require_qkd": (stream(_pqc_against_qkd), "stream.on_exhaustion: is PQC"),
    "path to somewhere else": (
        stream(_elsewhere),
        "stream.path_sets[0].paths: 's:b' does not lead from a to c",
    ),
    "path whose hops do not meet": (
        stream(_torn),
        "stream.accepted_paths[0]: 's:b' has hops that do not meet",
    ),
    "shares through one node": (stream(_shared_node), "stream.path_sets[0].paths: share a trusted node"),
    "path that is not accepted": (stream(_not_accepted), "stream.path_sets[0].paths: 's:d' is not among"),
    "path with other hops than accepted": (
        stream(_other_hops),
        "stream.path_sets[0].paths: 's:b' has other hops than among the accepted paths",
    ),
    "shares over one link": (stream(_shared_link), "stream.path_sets[0].paths: share a link"),
    "two paths of one name": (stream(_twice), "stream.accepted_paths[2]: 's:b' is there twice"),
    "path through one node twice": (
        stream(_round_trip),
        "stream.accepted_paths[2]: 's:r' has hops that come to one node twice",
    ),
    "fewer paths than min_k": (stream(_one_path), "stream.path_sets[0].paths: holds 1 paths; min_k is 2"),
}


@pytest.mark.parametrize("case", BAD_RULES)
def test_a_bad_rule_is_named_with_its_field_and_nothing_of_the_push_is_applied(case: str) -> None:
    bad, expected = BAD_RULES[case]
    rules = [bad if rule.rule_id == bad.rule_id else rule for rule in GOOD]
    found = refusal(push(rules), policy())
    assert set(found) == {bad.rule_id}
    code, text = found[bad.rule_id]
    assert code == code_pb2.INVALID_ARGUMENT
    assert expected in text


def test_every_bad_rule_is_named_at_once() -> None:
    rules = [*PEERS, link(threshold=2), stream(lambda s: setattr(s, "k", 1)), relay()]
    assert set(refusal(push(rules), policy())) == {"link/a-b", "stream/s"}


def test_removing_a_peer_that_others_need_is_refused() -> None:
    current = policy()
    after = [rule for rule in GOOD if rule.rule_id != "peer/c"]
    found = refusal(delta(after, base=current.digest, removed=["peer/c"]), current)
    assert set(found) == {"stream/s"}


# ---- on disk ------------------------------------------------------------------------------------


async def test_the_policy_and_its_epoch_survive_a_restart(tmp_path: Path) -> None:
    file = tmp_path / "policy.json"
    await PolicyStore(file).save(policy())
    reopened = PolicyStore(file)
    assert reopened.policy == policy()
    assert reopened.highest_epoch == 5


async def test_the_highest_epoch_outlives_the_policy_that_brought_it(tmp_path: Path) -> None:
    store = PolicyStore(tmp_path / "policy.json")
    await store.save(policy(epoch=9))
    await store.save(policy(epoch=6))
    assert PolicyStore(tmp_path / "policy.json").highest_epoch == 9


async def test_an_agent_without_a_policy_has_none(tmp_path: Path) -> None:
    store = PolicyStore(tmp_path / "policy.json")
    assert (store.policy, store.highest_epoch) == (Policy(), 0)


@pytest.mark.parametrize("stage", ["fsync", "replace"])
async def test_a_write_that_is_torn_leaves_the_old_policy_whole_in_memory_and_on_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    store = PolicyStore(tmp_path / "policy.json")
    await store.save(policy(version=1))

    def fail(*_: object) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr(*{"fsync": (os, "fsync"), "replace": (Path, "replace")}[stage], fail)
    with pytest.raises(OSError, match="the disk is full"):
        await store.save(policy([*PEERS], epoch=6, version=2))
    assert (store.policy, store.highest_epoch) == (policy(version=1), 5)
    assert PolicyStore(tmp_path / "policy.json").policy == policy(version=1)


def test_a_reader_sees_the_old_file_or_the_new_and_never_a_part(tmp_path: Path) -> None:
    file = tmp_path / "state.json"
    old, new = (json.dumps({"n": n, "padding": "x" * 1_000_000}) for n in (1, 2))
    process.write_atomically(file, old)
    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(process.write_atomically, file, new)
        seen = {file.read_text(encoding="utf-8")}
        while not writing.done():
            seen.add(file.read_text(encoding="utf-8"))
        writing.result()
    assert seen <= {old, new}
    assert file.read_text(encoding="utf-8") == new
    assert [each.name for each in tmp_path.iterdir()] == ["state.json"], "no temporary file is left behind"
