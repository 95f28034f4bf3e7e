"""From plans to policies: whole, deterministic, and such that agents accept them."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keyweave.agent.policy_checks import check_rules
from keyweave.common.names import LinkName, NodeName, PathId
from keyweave.common.policy_digest import policy_digest, rule_digest
from keyweave.controller.compile.policies import NodePolicy
from keyweave.controller.reconcile.plan_changes import permits
from keyweave.controller.rollout import RetiringSet, Rollout
from keyweave.controller.routing import plan_streams
from keyweave.controller.topology import Condition, PathSet, Snapshot
from keyweave.v1 import agent_pb2
from tests.unit.networks import random_network, snapshot, stream
from tests.unit.policed import path, plan
from tests.unit.whole_compile import compile_policies, rolled_out

A, B, P, Q = NodeName("a"), NodeName("b"), NodeName("p"), NodeName("q")
LINKS = [
    ("a-p", "a", "p", 1000.0),
    ("b-p", "b", "p", 1000.0),
    ("a-q", "a", "q", 1000.0),
    ("b-q", "b", "q", 1000.0),
]
OVER_P, OVER_Q = path("s", "a", "p", "b"), path("s", "a", "q", "b")
NETWORK = snapshot(LINKS, [stream("s", "a", "b", min_rate_bps=500.0)])


def rules(policy: NodePolicy) -> dict[str, agent_pb2.Rule]:
    return {rule_id: agent_pb2.Rule.FromString(data) for rule_id, data in policy.rules.items()}


def compiled(rollout: Rollout, network: Snapshot = NETWORK) -> dict[NodeName, dict[str, agent_pb2.Rule]]:
    return {node: rules(policy) for node, policy in compile_policies(network, rollout).items()}


def established(rollout: Rollout) -> Rollout:
    return replace(
        rollout,
        streams={
            name: replace(one, established=frozenset(path.path_id for path in one.paths()))
            for name, one in rollout.streams.items()
        },
    )


def used(rule: agent_pb2.Rule) -> list[set[str]]:
    return [{p.path_id for p in path_set.paths} for path_set in rule.stream.path_sets]


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), k=st.integers(1, 2))
def test_agents_accept_what_is_compiled_from_any_plan(seed: int, k: int) -> None:
    links = random_network(seed, nodes=7, links=12)
    network = snapshot(links, [stream("s", "n0", "n5", k=k), stream("r", "n1", "n6", key_size_bits=512)])
    rollout = established(rolled_out(plan_streams(network, None, 1)))
    for node, policy in compile_policies(network, rollout).items():
        assert check_rules(node, rules(policy)) == ()
        assert policy.digest == policy_digest(rules(policy).values())
        for data in policy.rules.values():
            assert agent_pb2.Rule.FromString(data).SerializeToString(deterministic=True) == data


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_the_same_plan_compiles_to_the_same_bytes_whatever_the_order_it_is_given_in(seed: int) -> None:
    links = random_network(seed, nodes=6, links=9)
    streams = [stream("s", "n0", "n5"), stream("r", "n1", "n4")]
    network = snapshot(links, streams)
    rollout = established(rolled_out(plan_streams(network, None, 1)))
    shuffled = replace(
        network,
        nodes=dict(reversed(list(network.nodes.items()))),
        links=dict(reversed(list(network.links.items()))),
        streams=dict(reversed(list(network.streams.items()))),
    )
    one, other = compile_policies(network, rollout), compile_policies(shuffled, rollout)
    assert {n: p.rules for n, p in one.items()} == {n: p.rules for n, p in other.items()}
    assert {n: p.digest for n, p in one.items()} == {n: p.digest for n, p in other.items()}


def test_each_node_gets_its_links_its_peers_its_stream_ends_and_the_paths_that_cross_it() -> None:
    nodes = compiled(established(rolled_out(plan(1, {"s": [[OVER_P]]}))))
    relay = f"relay/s/{OVER_P.path_id}"
    assert set(nodes[A]) == {"link/a-p", "link/a-q", "peer/b", "peer/p", "peer/q", "stream/s"}
    assert set(nodes[P]) == {"link/a-p", "link/b-p", "peer/a", "peer/b", relay}
    assert set(nodes[Q]) == {"link/a-q", "link/b-q", "peer/a", "peer/b"}
    rule = nodes[P][relay].relay
    assert rule.hops == nodes[A]["stream/s"].stream.accepted_paths[0].hops, "every node is told the same path"
    assert nodes[A]["stream/s"].stream.is_source
    assert not nodes[B]["stream/s"].stream.is_source
    assert nodes[B]["stream/s"].stream.local_sae == nodes[A]["stream/s"].stream.peer_sae


def test_a_path_that_is_not_established_is_carried_and_accepted_but_not_used() -> None:
    nodes = compiled(rolled_out(plan(1, {"s": [[OVER_P]]})))
    assert f"relay/s/{OVER_P.path_id}" in nodes[P]
    for end in (A, B):
        rule = nodes[end]["stream/s"]
        assert [p.path_id for p in rule.stream.accepted_paths] == [OVER_P.path_id]
        assert used(rule) == []


def test_a_set_is_used_only_if_all_its_paths_are_established() -> None:
    rollout = rolled_out(plan(1, {"s": [[OVER_P, OVER_Q]]}), established={OVER_P.path_id})
    assert used(compiled(rollout)[A]["stream/s"]) == []
    assert used(compiled(established(rollout))[A]["stream/s"]) == [{OVER_P.path_id, OVER_Q.path_id}]


def test_a_retiring_set_is_used_until_what_replaces_it_is_established_unless_forbidden() -> None:
    former = PathSet(0, 1000.0, (OVER_P,), "")
    for may_be_held, known, expected in (
        (True, {OVER_P.path_id}, [{OVER_P.path_id}]),
        (False, {OVER_P.path_id}, []),
        (True, {OVER_P.path_id, OVER_Q.path_id}, [{OVER_Q.path_id}]),
    ):
        retiring = {OVER_STREAM: [RetiringSet(former, may_be_held)]}
        rollout = rolled_out(plan(2, {"s": [[OVER_Q]]}), retiring, map(PathId, known))
        nodes = compiled(rollout)
        assert used(nodes[A]["stream/s"]) == expected
        assert f"relay/s/{OVER_P.path_id}" in nodes[P], "it is carried as long as it is retiring"


OVER_STREAM = next(iter(NETWORK.streams))


def test_a_stream_without_a_quantum_path_still_has_its_ends() -> None:
    nodes = compiled(rolled_out(plan(1, {})))
    assert used(nodes[A]["stream/s"]) == []
    assert "peer/b" in nodes[A]


@pytest.mark.parametrize(
    ("limit", "restricts"),
    [
        ({}, False),
        ({"avoid_nodes": ["p"]}, True),
        ({"allowed_trust_domains": ["north"]}, True),
        ({"max_trusted_nodes": 0}, True),
    ],
)
def test_both_ends_are_told_whether_the_operator_limits_who_may_relay(
    limit: dict[str, Any], restricts: bool
) -> None:
    network = snapshot(LINKS, [stream("s", "a", "b", **limit)])
    told = compiled(rolled_out(plan(1, {})), network)
    assert [told[node]["stream/s"].stream.restricts_relays for node in (A, B)] == [restricts] * 2


def test_words_of_the_planner_change_no_digest() -> None:
    rollout = established(rolled_out(plan(1, {"s": [[OVER_P]]})))
    followed = rollout.streams[OVER_STREAM]
    planned = rollout.plan.streams[OVER_STREAM]
    reworded = replace(planned, path_sets=tuple(replace(s, reason="better") for s in planned.path_sets))
    other = replace(rollout, streams={OVER_STREAM: replace(followed, plan=reworded)})
    assert compile_policies(NETWORK, rollout)[A].digest == compile_policies(NETWORK, other)[A].digest


def test_nothing_is_said_of_a_peer_whose_address_nobody_has_given() -> None:
    unknown = replace(NETWORK.nodes[P], key_plane_address="")
    network = replace(NETWORK, nodes={**NETWORK.nodes, P: unknown})
    rollout = established(rolled_out(plan(1, {"s": [[OVER_P], [OVER_Q]]})))
    nodes = compiled(rollout, network)
    assert "peer/p" not in nodes[A]
    assert "link/a-p" not in nodes[A]
    assert used(nodes[A]["stream/s"]) == [{OVER_Q.path_id}]
    assert check_rules(A, nodes[A]) == ()


def test_a_relay_may_carry_the_whole_stream_both_ways_and_refill_both_buffers_at_once() -> None:
    network = replace(NETWORK, streams={s.name: replace(s, buffer_keys=10) for s in NETWORK.streams.values()})
    nodes = compiled(rolled_out(plan(1, {"s": [[OVER_P], [OVER_Q]]}, backups=1)), network)
    for node, over in ((P, OVER_P), (Q, OVER_Q)):
        rule = nodes[node][f"relay/s/{over.path_id}"].relay
        assert rule.budget_bps == 2 * max(1000, 500, 8 * 256)
        assert rule.burst_bits == 2 * 10 * 256


def test_a_disabled_link_has_no_rule_at_either_end_and_no_stream_may_use_a_path_over_it() -> None:
    name = LinkName("a-p")
    view = NETWORK.links[name]
    network = replace(
        NETWORK, links={**NETWORK.links, name: replace(view, link=replace(view.link, disabled=True))}
    )
    nodes = compiled(rolled_out(plan(1, {})), network)
    assert "link/a-p" not in nodes[A] | nodes[P]
    assert "link/b-p" in nodes[P]
    over_p, over_q = (PathSet(0, 1000.0, (over,), "") for over in (OVER_P, OVER_Q))
    assert permits(NETWORK)(OVER_STREAM, over_p)
    assert not permits(network)(OVER_STREAM, over_p)
    assert permits(network)(OVER_STREAM, over_q)


def test_both_ends_are_told_since_when_a_link_is_suspect_and_only_while_it_is() -> None:
    name = LinkName("a-p")
    view = replace(NETWORK.links[name], suspect_since=1_700_000_000.5, suspect_reason="QBER rose alone" * 100)
    for condition, since in ((Condition.SUSPECT, 1_700_000_000_500_000_000), (Condition.DOWN, 0)):
        network = replace(NETWORK, links={**NETWORK.links, name: replace(view, condition=condition)})
        for node in (A, P):
            told = compiled(rolled_out(plan(1, {})), network)[node]
            assert told["link/a-p"].link.suspect_since_unix_nanos == since
            assert len(told["link/a-p"].link.suspect_reason) == (300 if since else 0)
            assert check_rules(node, told) == ()


def test_a_digest_names_the_set_of_rules_and_no_order() -> None:
    one, other = (agent_pb2.Rule(rule_id=f"peer/{n}", peer=agent_pb2.PeerRule(node=n)) for n in ("a", "b"))
    assert policy_digest([one, other]) == policy_digest([other, one])
    assert policy_digest([one]) != policy_digest([other]) != policy_digest([])
    assert len(rule_digest(one)) == len(policy_digest([])) == 32
