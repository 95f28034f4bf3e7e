"""A controller with a valid certificate and a higher epoch cannot weaken a key: real agents, real guards."""

import os
import signal
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
import yaml

from keyweave.agent.policy import PolicyStore
from keyweave.common.tls import TlsFiles
from keyweave.v1 import agent_pb2, types_pb2
from tests.chaos.impostor import Impostor, reigning
from tests.chaos.live import Live, running
from tests.waiting import eventually

SCENARIO = Path(__file__).with_name("guarded.yaml")
pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(300)]

ENDS = frozenset("ac")
StreamChange = Callable[[agent_pb2.StreamRule], None]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def leaderless(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Live]:
    """The network after its controller has died for good; whatever comes, the invariants must hold."""
    async with running(SCENARIO, tmp_path_factory.mktemp("guarded"), restart=False) as live:
        await live.kill_for_good("controller")
        yield live
        assert live.violations() == []


def in_force(live: Live, node: str) -> dict[str, agent_pb2.Rule]:
    """The rules that a node runs by, to be changed at will."""
    return dict(PolicyStore(live.state.root / f"agent-{node}" / "policy.json").policy.rules)


def highest_epoch(live: Live) -> int:
    stores = (PolicyStore(live.state.root / f"agent-{node}" / "policy.json") for node in "abcde")
    return max(store.highest_epoch for store in stores)


def controller_tls(live: Live) -> TlsFiles:
    config = yaml.safe_load(live.state.config("controller").read_text(encoding="utf-8"))
    return TlsFiles.model_validate(config["tls"])


async def metric(live: Live, node: str, name: str) -> float:
    async with httpx.AsyncClient() as client:
        page = (await client.get(live.layout.endpoints.agent_metrics[node])).text
    return sum(float(line.rsplit(" ", 1)[1]) for line in page.splitlines() if line.startswith(name))


def log_of(live: Live, node: str) -> str:
    return live.state.log(f"agent-{node}").read_text(encoding="utf-8")


def end_rules(live: Live, node: str, change: StreamChange) -> tuple[agent_pb2.Rule, ...]:
    rules = in_force(live, node)
    change(rules["stream/vault"].stream)
    return tuple(rules.values())


# ---- what a compromised controller may try ------------------------------------------------------


def drop_require_qkd(rule: agent_pb2.StreamRule) -> None:
    rule.require_qkd = False


def one_share(rule: agent_pb2.StreamRule) -> None:
    rule.k = rule.min_k = 1
    for path_set in rule.path_sets:
        del path_set.paths[1:]


def remap_sae(rule: agent_pb2.StreamRule) -> None:
    rule.peer_sae = "mallory"


def through_the_south(rule: agent_pb2.StreamRule) -> None:
    hops = [
        types_pb2.Hop(link="ae", from_node="a", to_node="e"),
        types_pb2.Hop(link="ce", from_node="e", to_node="c"),
    ]
    way = types_pb2.Path(path_id="vault:south", hops=hops)
    rule.accepted_paths.append(way)
    rule.path_sets[0].paths[0].CopyFrom(way)


ATTACKS: dict[str, tuple[StreamChange, str]] = {
    "require_qkd dropped": (drop_require_qkd, "stream.require_qkd: is false"),
    "k lowered to one": (one_share, "stream.min_k: is 1"),
    "an SAE re-mapped": (remap_sae, "stream.peer_sae: is 'mallory'"),
    "a way through a forbidden domain": (through_the_south, "crosses e"),
}


async def refused_everywhere(live: Live, pushed: dict[str, tuple[agent_pb2.Rule, ...]], says: str) -> None:
    """Every node that the impostor pushes to refuses, says so, and goes on by what it had."""
    before = {node: await metric(live, node, "keyweave_agent_policies_refused_total") for node in pushed}
    old = {node: in_force(live, node) for node in pushed}
    impostor = Impostor(highest_epoch(live) + 1, by_node=pushed)
    async with reigning(impostor, live.layout.endpoints.admin, controller_tls(live)):

        async def answered() -> bool:
            told = (impostor.reasons(node, agent_pb2.AGENT_EVENT_KIND_POLICY_REFUSED) for node in pushed)
            return impostor.nacks.keys() >= pushed.keys() and all(says in " ".join(each) for each in told)

        await eventually(answered, 30, f"{sorted(pushed)} refuse and report: {says}")
        assert impostor.acks.keys() & pushed.keys() == set()
        for node in pushed:
            assert says in impostor.nacks[node].rules[0].status.message
            assert says in log_of(live, node)
            assert await metric(live, node, "keyweave_agent_policies_refused_total") > before[node]
            assert in_force(live, node) == old[node]
        await keys_as_the_owner_wants(live)


async def keys_as_the_owner_wants(live: Live, number: int = 8) -> None:
    """New keys, more than were buffered: two shares, QKD and ML-KEM, nobody of the south."""
    for _ in range(number):

        async def drawn() -> bool:
            fetched = await live.fetch("vault")
            if not fetched.ok:
                return False
            (extension,) = [key["key_extension"] for key in fetched.keys]
            assert extension["keyweave_protection"] == "hybrid"
            assert extension["keyweave_shares"] == 2
            assert set(extension["keyweave_trusted_nodes"]) == {"b", "d"}
            return True

        await eventually(drawn, 15, "a key at both ends")


@pytest.mark.parametrize("attack", ATTACKS)
async def test_a_controller_of_a_higher_epoch_cannot_weaken_a_stream(leaderless: Live, attack: str) -> None:
    change, says = ATTACKS[attack]
    await refused_everywhere(leaderless, {n: end_rules(leaderless, n, change) for n in ENDS}, says)


async def test_a_controller_of_a_higher_epoch_cannot_lift_a_qber_ceiling(leaderless: Live) -> None:
    def lifted(node: str) -> tuple[agent_pb2.Rule, ...]:
        rules = in_force(leaderless, node)
        rules["link/ab"].link.abort_qber_ratio = 0.4
        return tuple(rules.values())

    says = "link.abort_qber_ratio: is 0.4; this node's guard allows at most 0.11"
    await refused_everywhere(leaderless, {node: lifted(node) for node in "ab"}, says)


async def hang_up(live: Live, node: str, says: str) -> None:
    """SIGHUP, and wait until the agent has read its guard."""
    seen = log_of(live, node).count(says)
    os.kill(live.pid(f"agent-{node}"), signal.SIGHUP)

    async def read() -> bool:
        return log_of(live, node).count(says) > seen

    await eventually(read, 10, f"agent {node}: {says}")


async def test_a_guard_that_its_owner_tightens_stops_what_it_forbids_at_once_and_until_it_is_allowed_again(
    leaderless: Live,
) -> None:
    path = leaderless.state.guard("agent-a")
    text = path.read_text(encoding="utf-8")
    stricter = yaml.safe_load(text)
    stricter["saes"]["vault-a"][0]["min_k"] = 3
    try:
        path.write_text("node: a\npeers: nobody\n", encoding="utf-8")
        await hang_up(leaderless, "a", "guard_not_read")
        await keys_as_the_owner_wants(leaderless, 1)

        path.write_text(yaml.safe_dump(stricter), encoding="utf-8")
        await hang_up(leaderless, "a", "guard_withholds")
        assert await metric(leaderless, "a", "keyweave_agent_guard_withheld_rules") == 1
        refused = await leaderless.encrypt_keys("vault")
        assert refused.status_code == 401, refused.text
    finally:
        path.write_text(text, encoding="utf-8")
        await hang_up(leaderless, "a", "guard_read")
    await keys_as_the_owner_wants(leaderless)


# Last: what this one achieves is that no key is made any more.
async def test_transit_nodes_that_are_told_other_hops_relay_nothing_and_no_key_is_made(
    leaderless: Live,
) -> None:
    def detoured(node: str) -> tuple[agent_pb2.Rule, ...]:
        """Whoever goes over b shall go on over d, who would see both shares."""
        rules = in_force(leaderless, node)
        (over_b,) = {
            name: rule
            for name, rule in in_force(leaderless, "b").items()
            if goes_through(rule, "a", "b", "c")
        }.values()
        detour = agent_pb2.Rule()
        detour.CopyFrom(over_b)
        del detour.relay.hops[:]
        for link, start, end in (("ab", "a", "b"), ("bd", "b", "d"), ("cd", "d", "c")):
            detour.relay.hops.add(link=link, from_node=start, to_node=end)
        rules[detour.rule_id] = detour
        return tuple(rules.values())

    impostor = Impostor(highest_epoch(leaderless) + 1, by_node={node: detoured(node) for node in "bd"})
    async with reigning(impostor, leaderless.layout.endpoints.admin, controller_tls(leaderless)):

        async def told() -> bool:
            refused = agent_pb2.AGENT_EVENT_KIND_GUARD_REFUSED
            return any("has other hops here" in reason for reason in impostor.reasons("b", refused))

        async def next_key() -> bool:
            return not (await leaderless.fetch("vault")).ok

        await eventually(next_key, 60, "what was made before is used up")
        await eventually(told, 30, "b reports the difference")
    assert "has other hops here" in log_of(leaderless, "b")
    assert await metric(leaderless, "b", 'keyweave_agent_relays_refused_total{reason="other_path"}') > 0
    assert not (await leaderless.fetch("vault")).ok, "rather no key than one whose shares met"


def goes_through(rule: agent_pb2.Rule, *nodes: str) -> bool:
    hops: Iterable[types_pb2.Hop] = rule.relay.hops
    return [hop.to_node for hop in hops] == list(nodes[1:])
