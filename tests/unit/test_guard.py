"""The guard: what its owner writes, what of a policy it refuses, and that no terms are used below it."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from google.rpc import code_pb2
from hypothesis import given
from hypothesis import strategies as st

from keyweave.agent.guard.checks import lawful, refusals, tightened, tightened_link
from keyweave.agent.guard.model import Guard, load
from keyweave.agent.keyplane.keys.keystore import Protection, Provenance
from keyweave.agent.keyplane.terms import LinkPolicy, StreamTerms
from keyweave.agent.policy import PolicyRefusedError, next_policy
from keyweave.common.errors import InvalidInputError, describe_status
from keyweave.common.names import LinkName, PathId
from keyweave.v1 import agent_pb2, types_pb2
from tests.unit.test_agent_policy import GOOD, NODE, PEERS, link, path, peer, policy, push, relay, stream

SHARING: dict[str, Any] = {
    "peer_sae": "y",
    "peer_node": "c",
    "require_qkd": True,
    "require_pqc": True,
    "min_k": 2,
    "allowed_trust_domains": ["north"],
    "max_trusted_nodes": 1,
    "streams": ["s"],
}
WRITTEN: dict[str, Any] = {
    "node": "a",
    "peers": ["b", "c", "d"],
    "qber_ceiling_ratio": 0.11,
    "links": {"a-d": {"qber_ceiling_ratio": 0.06}},
    "trust_domains": {"north": ["b", "d"], "south": ["e"]},
    "saes": {"x": [SHARING]},
    "transit": {"for_nodes": ["b", "d"], "max_bps": 1000, "max_bps_from": {"b": 5000}},
}
GUARD = Guard.model_validate(WRITTEN)


def strict(rule: agent_pb2.StreamRule) -> None:
    rule.require_qkd = rule.require_pqc = True


def changed(change: Callable[[agent_pb2.StreamRule], object]) -> agent_pb2.Rule:
    """The stream as the guard allows it, but for one change."""

    def both(rule: agent_pb2.StreamRule) -> None:
        strict(rule)
        change(rule)

    return stream(both)


LAWFUL = [*PEERS, link(), stream(strict), relay()]


def by_id(rules: list[agent_pb2.Rule]) -> dict[str, agent_pb2.Rule]:
    return {rule.rule_id: rule for rule in rules}


def guard(**changes: Any) -> Guard:
    return Guard.model_validate(WRITTEN | changes)


def with_sharing(**changes: Any) -> Guard:
    return guard(saes={"x": [SHARING | changes]})


# ---- what policy may not do ---------------------------------------------------------------------


def test_a_policy_within_the_guard_is_taken() -> None:
    assert refusals(GUARD, by_id(LAWFUL)) == ()
    assert next_policy(NODE, policy(), 5, push(LAWFUL), GUARD).rules == by_id(LAWFUL)


def _drop_a_share(rule: agent_pb2.StreamRule) -> None:
    rule.k = rule.min_k = 1


def _two_on_one_path(rule: agent_pb2.StreamRule) -> None:
    for paths in (rule.accepted_paths, rule.path_sets[0].paths):
        paths[0].CopyFrom(path("s:b", "a", "b", "d", "c"))
        del paths[1]
    rule.min_k = rule.k = 2
    rule.path_sets[0].paths.append(path("s:x", "a", "c"))
    rule.accepted_paths.append(path("s:x", "a", "c"))


def _over_the_south(rule: agent_pb2.StreamRule) -> None:
    rule.accepted_paths.append(path("s:e", "a", "e", "c"))


def _to_another_node(rule: agent_pb2.StreamRule) -> None:
    rule.peer_node = "d"
    del rule.path_sets[:], rule.accepted_paths[:]


def without(field: str) -> agent_pb2.Rule:
    return changed(lambda rule: setattr(rule, field, False))


def _named(rule: agent_pb2.StreamRule, name: str) -> agent_pb2.StreamRule:
    rule.stream = name
    return rule


def _order(kind: types_pb2.OrderKind) -> agent_pb2.Rule:
    about = "" if kind == types_pb2.ORDER_KIND_NODE_ZEROIZE else "a-b"
    order = agent_pb2.OrderRule(order_id="0" * 32, kind=kind, link=about)
    return agent_pb2.Rule(rule_id=f"order/{order.order_id}", order=order)


FORBIDDEN = {
    "a peer that is no business of this node": (peer("e"), "peer.node: is 'e'", "b, c, d"),
    "a threshold above the ceiling": (link(0.12), "link.abort_qber_ratio: is 0.12", "at most 0.11"),
    "require_qkd dropped": (
        changed(lambda s: setattr(s, "require_qkd", False)),
        "stream.require_qkd",
        "true only",
    ),
    "require_pqc dropped": (
        changed(lambda s: setattr(s, "require_pqc", False)),
        "stream.require_pqc",
        "true only",
    ),
    "k and min_k lowered": (changed(_drop_a_share), "stream.k: is 1", "no less than 2"),
    "min_k lowered": (changed(lambda s: setattr(s, "min_k", 1)), "stream.min_k: is 1", "no less than 2"),
    "short keys": (
        changed(lambda s: setattr(s, "key_size_bits", 128)),
        "stream.key_size_bits: is 128",
        "256",
    ),
    "the far SAE re-mapped": (
        changed(lambda s: setattr(s, "peer_sae", "mallory")),
        "stream.peer_sae: is 'mallory'",
        "'y' at c",
    ),
    "the far node re-mapped": (
        changed(_to_another_node),
        "stream.peer_sae: is 'y' at d",
        "'y' at c",
    ),
    "an SAE that the owner does not know": (
        changed(lambda s: setattr(s, "local_sae", "z")),
        "stream.local_sae: is 'z'",
        "x",
    ),
    "a way through another domain": (
        changed(_over_the_south),
        "stream.accepted_paths[2]: 's:e' crosses e",
        "nodes of north: b, d",
    ),
    "too many trusted nodes": (
        changed(_two_on_one_path),
        "stream.accepted_paths[0]: 's:b' crosses 2 trusted nodes",
        "at most 1",
    ),
    "a stream of another name": (
        agent_pb2.Rule(rule_id="stream/t", stream=_named(stream(strict).stream, "t")),
        "by 't'",
        "by s",
    ),
    "relaying for strangers": (relay("b", "a", "d", "e"), "relay.hops: lead to 'e'", "b, d"),
    "clearing quarantine": (
        _order(types_pb2.ORDER_KIND_LINK_CLEAR),
        "order.kind: is LINK_CLEAR",
        "not allow",
    ),
}


@pytest.mark.parametrize("case", FORBIDDEN)
def test_what_the_guard_forbids_is_refused_with_rule_field_and_what_is_allowed(case: str) -> None:
    bad, field, allowed = FORBIDDEN[case]
    rules = [rule for rule in LAWFUL if rule.rule_id != bad.rule_id] + [bad]
    current = policy(LAWFUL)
    with pytest.raises(PolicyRefusedError) as refused:
        next_policy(NODE, current, 5, push(rules), GUARD)
    (status,) = refused.value.rules
    assert status.rule_id == bad.rule_id
    assert status.status.code == code_pb2.PERMISSION_DENIED
    text = describe_status(status.status)
    assert field in text
    assert allowed in text
    assert current == policy(LAWFUL), "what was in force stays, whole"


@pytest.mark.parametrize("kind", [types_pb2.ORDER_KIND_LINK_DESTROY, types_pb2.ORDER_KIND_NODE_ZEROIZE])
def test_orders_that_only_destroy_need_no_leave(kind: types_pb2.OrderKind) -> None:
    assert refusals(GUARD, by_id([_order(kind)])) == ()


def test_an_owner_may_let_a_controller_clear_quarantine() -> None:
    clear = by_id([_order(types_pb2.ORDER_KIND_LINK_CLEAR)])
    assert refusals(guard(may_clear_quarantine=True), clear) == ()


def test_a_link_may_have_a_ceiling_of_its_own() -> None:
    assert GUARD.qber_ceiling("a-d") == 0.06
    assert GUARD.qber_ceiling("a-b") == 0.11


def test_without_transit_nothing_is_relayed() -> None:
    (status,) = refusals(guard(transit=None), by_id([relay()]))
    assert status.rule_id == "relay/t/t:1"


def test_a_delta_is_held_against_the_guard_as_a_snapshot_is() -> None:
    weak = stream()
    message = push([*PEERS, link(), weak, relay()])
    message.ClearField("snapshot")
    message.delta.base_digest = policy(LAWFUL).digest
    message.delta.upserts.append(weak)
    with pytest.raises(PolicyRefusedError, match="stream/s"):
        next_policy(NODE, policy(LAWFUL), 5, message, GUARD)


def test_where_several_entries_match_each_of_them_counts() -> None:
    loose = SHARING | {"require_pqc": False, "require_qkd": False, "min_k": 1}
    both = guard(saes={"x": [loose, SHARING]})
    assert [s.rule_id for s in refusals(both, by_id([stream()]))] == ["stream/s"]


def test_in_a_laboratory_unlisted_saes_are_free_and_listed_ones_are_not() -> None:
    lab = guard(other_saes="allow")
    free = changed(lambda s: setattr(s, "local_sae", "new"))
    assert refusals(lab, by_id([free])) == ()
    bound = changed(lambda s: setattr(s, "peer_sae", "mallory"))
    assert [s.rule_id for s in refusals(lab, by_id([bound]))] == ["stream/s"]


# ---- what is in force when the guard changes ----------------------------------------------------


def test_what_a_new_guard_forbids_stops_and_the_rest_goes_on() -> None:
    allowed, withheld = lawful(with_sharing(peer_sae="other"), by_id(LAWFUL))
    assert set(allowed) == set(by_id(LAWFUL)) - {"stream/s"}
    assert [status.rule_id for status in withheld] == ["stream/s"]


def test_rules_about_a_peer_that_is_not_allowed_any_more_stop_with_it() -> None:
    allowed, withheld = lawful(guard(peers=["b", "c"]), by_id(LAWFUL))
    assert set(allowed) == {"peer/b", "peer/c", "link/a-b", "stream/s"}
    assert {status.rule_id for status in withheld} == {"peer/d", "relay/t/t:1"}


def test_a_link_in_force_is_not_lost_to_a_lower_ceiling_but_stops_at_it() -> None:
    lower = guard(qber_ceiling_ratio=0.05)
    allowed, withheld = lawful(lower, by_id(LAWFUL))
    assert "link/a-b" in allowed
    assert [status.rule_id for status in withheld] == ["link/a-b"], "and it is told"
    terms = tightened_link(lower, LinkName("a-b"), LinkPolicy.of(link().link))
    assert terms.abort_qber_ratio == 0.05


def test_a_threshold_below_the_ceiling_is_left_as_it_is() -> None:
    terms = tightened_link(GUARD, LinkName("a-b"), LinkPolicy.of(link(0.03).link))
    assert terms.abort_qber_ratio == 0.03


# ---- terms before use ---------------------------------------------------------------------------


def test_terms_that_slipped_past_the_check_are_tightened_before_use() -> None:
    def weak(rule: agent_pb2.StreamRule) -> None:
        rule.k = rule.min_k = 1
        rule.on_exhaustion = types_pb2.ON_EXHAUSTION_PQC
        rule.path_sets.append(types_pb2.PathSet(rank=1, paths=[path("s:e", "a", "e", "c")]))
        rule.accepted_paths.append(path("s:e", "a", "e", "c"))

    terms = tightened(GUARD, StreamTerms.of(stream(weak).stream))
    assert (terms.require_qkd, terms.require_pqc, terms.k, terms.min_k) == (True, True, 2, 2)
    assert not terms.pqc_when_exhausted
    assert [path_set.key for path_set in terms.path_sets] == [(PathId("s:b"), PathId("s:d"))]
    assert set(terms.accepted) == {"s:b", "s:d"}


@given(
    require_qkd=st.booleans(),
    require_pqc=st.booleans(),
    min_k=st.integers(1, 3),
    asked_qkd=st.booleans(),
    asked_pqc=st.booleans(),
    asked_k=st.integers(1, 3),
    protection=st.sampled_from(Protection),
    shares=st.integers(0, 3),
)
def test_no_key_passes_tightened_terms_that_guard_or_policy_alone_would_refuse(
    *,
    require_qkd: bool,
    require_pqc: bool,
    min_k: int,
    asked_qkd: bool,
    asked_pqc: bool,
    asked_k: int,
    protection: Protection,
    shares: int,
) -> None:
    base = StreamTerms.of(stream().stream)
    asked = replace(base, require_qkd=asked_qkd, require_pqc=asked_pqc, k=asked_k, min_k=asked_k)
    owners = replace(base, require_qkd=require_qkd, require_pqc=require_pqc, k=min_k, min_k=min_k)
    made = Provenance(protection, paths=tuple(PathId(str(n)) for n in range(shares)))
    held = tightened(with_sharing(require_qkd=require_qkd, require_pqc=require_pqc, min_k=min_k), asked)
    assert held.allows(made) == (asked.allows(made) and owners.allows(made))


@pytest.mark.parametrize("accepted", [False, True])
def test_bits_that_an_emulator_made_are_no_qkd_unless_the_owner_says_so(accepted: bool) -> None:
    terms = tightened(with_sharing(require_pqc=False, min_k=1), StreamTerms.of(stream().stream))
    terms = replace(terms, accept_emulated=accepted)
    made = Provenance(Protection.HYBRID, paths=(PathId("1"), PathId("2")), emulated=True)
    assert terms.require_qkd
    assert terms.allows(made) == accepted
    assert terms.allows(replace(made, emulated=False))


def test_the_guard_says_whether_emulated_bits_count_and_by_default_they_do_not() -> None:
    terms = StreamTerms.of(stream().stream)
    assert not terms.accept_emulated
    assert not tightened(GUARD, terms).accept_emulated
    assert tightened(guard(accept_emulated=True), terms).accept_emulated


# ---- the file -----------------------------------------------------------------------------------


def written(tmp_path: Path, content: object) -> Path:
    file = tmp_path / "guard.yaml"
    file.write_text(content if isinstance(content, str) else yaml.safe_dump(content), encoding="utf-8")
    return file


def test_a_guard_is_read_as_it_was_written(tmp_path: Path) -> None:
    assert load(written(tmp_path, WRITTEN), "a") == GUARD


BAD_FILES: dict[str, tuple[dict[str, Any], str]] = {
    "another node's": ({"node": "b"}, "is 'b'; this agent is 'a'"),
    "an unknown field": ({"require_qkd": True}, "require_qkd: is unknown; expected node, peers, "),
    "a ceiling that lets noise pass": ({"qber_ceiling_ratio": 0.6}, "qber_ceiling_ratio"),
    "requirements left open": (
        {"saes": {"x": [{"peer_sae": "y", "peer_node": "c"}]}},
        "require_qkd: field required",
    ),
    "a domain without nodes": ({"trust_domains": {}}, "north is not among trust_domains"),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_a_file_that_is_no_guard_names_what_is_wrong(tmp_path: Path, case: str) -> None:
    changes, expected = BAD_FILES[case]
    with pytest.raises(InvalidInputError, match=expected):
        load(written(tmp_path, WRITTEN | changes), "a")


def test_the_digest_is_of_what_is_said_not_of_how(tmp_path: Path) -> None:
    shuffled = yaml.safe_dump(dict(reversed(WRITTEN.items())))
    assert load(written(tmp_path, "# a comment\n" + shuffled), "a").digest == GUARD.digest
    assert with_sharing(min_k=3).digest != GUARD.digest
    assert len(GUARD.digest) == 32


def test_what_is_not_said_is_the_strict_case() -> None:
    least = Guard(node="a", peers=(), qber_ceiling_ratio=0.1)
    assert (least.other_saes, least.transit, least.accept_emulated) == ("refuse", None, False)
    assert not least.may_clear_quarantine
    assert len(refusals(least, by_id(GOOD))) == len(GOOD)


def test_what_was_in_force_before_the_guard_was_tightened_holds_no_later_policy_back() -> None:
    tighter, current = with_sharing(min_k=3), policy(LAWFUL)
    later = [*LAWFUL, _order(types_pb2.ORDER_KIND_NODE_ZEROIZE)]
    assert next_policy(NODE, current, 5, push(later), tighter).rules == by_id(later)
    assert "stream/s" not in lawful(tighter, by_id(later))[0], "and is not run by"
    again = changed(lambda s: setattr(s, "buffer_keys", 9))
    with pytest.raises(PolicyRefusedError, match="stream/s"):
        next_policy(NODE, current, 5, push([*PEERS, link(), again, relay()]), tighter)


def test_a_guard_that_limits_who_may_relay_holds_for_copies_over_other_streams_too() -> None:
    terms = StreamTerms.of(stream().stream)
    assert not terms.restricts_relays
    assert tightened(GUARD, terms).restricts_relays
    assert not tightened(
        with_sharing(allowed_trust_domains=None, max_trusted_nodes=None), terms
    ).restricts_relays


def test_a_rule_on_disk_that_nothing_here_can_read_is_withheld_and_the_rest_is_run_by() -> None:
    older = relay()
    del older.relay.hops[:]  # as before a path's every hop was in it
    rules = by_id([*PEERS, link(), stream(strict), older])
    allowed, withheld = lawful(GUARD, rules)
    assert set(allowed) == set(rules) - {"relay/t/t:1"}
    assert [status.rule_id for status in withheld] == ["relay/t/t:1"]


@pytest.mark.parametrize(
    ("nodes", "allowed"),
    [(("b", "d"), True), (("b",), True), (("b", "e"), False), (("e",), False), (("c", "a"), True)],
)
def test_keys_made_before_over_nodes_that_the_guard_forbids_now_are_not_allowed(
    nodes: tuple[str, ...], *, allowed: bool
) -> None:
    terms = tightened(GUARD, StreamTerms.of(stream(strict).stream))
    made = Provenance(Protection.HYBRID, paths=(PathId("1"), PathId("2")), trusted_nodes=nodes)
    assert terms.allows(made) == allowed


def test_keys_made_before_over_more_nodes_than_the_guard_allows_now_are_not_allowed() -> None:
    direct = with_sharing(min_k=1, max_trusted_nodes=0, allowed_trust_domains=None)
    terms = tightened(direct, StreamTerms.of(stream(strict).stream))
    terms = replace(terms, min_k=1)
    made = Provenance(Protection.HYBRID, paths=(PathId("1"),), trusted_nodes=("b",))
    assert not terms.allows(made)
    assert terms.allows(replace(made, trusted_nodes=()))


def test_the_least_size_holds_for_keys_of_every_size() -> None:
    assert (
        tightened(with_sharing(min_key_size_bits=192), StreamTerms.of(stream().stream)).min_key_size_bits
        == 192
    )
