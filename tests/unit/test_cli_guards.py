"""Guards of a laboratory say what its scenario says; the offline check reads them as an agent does."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from keyweave.agent.guard.checks import refusals
from keyweave.agent.guard.model import Guard, load
from keyweave.agent.policy import PolicyStore
from keyweave.cli.guards import TEMPLATE
from keyweave.cli.main import main
from keyweave.cli.up.lab_guards import lab_guard, write_guard
from keyweave.common import settings
from keyweave.emulator.scenario import Scenario, load_scenario
from keyweave.v1 import agent_pb2
from tests.unit.test_agent_policy import link, policy
from tests.unit.test_guard import GUARD, LAWFUL, WRITTEN, by_id

ROOT = Path(__file__).parents[2]
TOKYO = load_scenario(ROOT / "scenarios" / "tokyo.yaml")


def guard_of(name: str, scenario: Scenario = TOKYO) -> Guard:
    (node,) = (node for node in scenario.nodes if node.name == name)
    return Guard.model_validate(lab_guard(scenario, node))


def with_stream(**changes: Any) -> Scenario:
    data = yaml.safe_load((ROOT / "tests" / "chaos" / "guarded.yaml").read_text(encoding="utf-8"))
    data["streams"][0] |= changes
    return Scenario.model_validate(data)


# ---- what `keyweave up` writes ------------------------------------------------------------------


def test_both_ends_of_a_stream_keep_it_to_what_the_scenario_asks() -> None:
    scenario = with_stream(max_trusted_nodes=1, key_size_bits=512, min_k=1)
    for name, local, peer, there in (("a", "vault-a", "vault-c", "c"), ("c", "vault-c", "vault-a", "a")):
        (sharing,) = guard_of(name, scenario).saes[local]
        assert (sharing.peer_sae, sharing.peer_node) == (peer, there)
        assert (sharing.require_qkd, sharing.require_pqc) == (True, True)
        assert (sharing.min_k, sharing.max_trusted_nodes, sharing.min_key_size_bits) == (1, 1, 512)
        assert sharing.allowed_trust_domains == ("north",)
    assert guard_of("b", scenario).saes == {}


def test_a_min_k_that_the_scenario_leaves_out_is_its_k() -> None:
    (sharing,) = guard_of("a", with_stream()).saes["vault-a"]
    assert sharing.min_k == 2


def test_domains_peers_and_links_are_those_of_the_scenario() -> None:
    guard = guard_of("a", with_stream())
    assert guard.trust_domains == {"north": ("b", "d"), "south": ("e",)}
    assert set(guard.peers) == {"b", "c", "d", "e"}
    assert set(guard.links) == {"ab", "ad", "ae"}
    assert guard.qber_ceiling("ab") == 0.11
    assert guard.transit is not None
    assert guard.transit.max_bps_from == {"b": 200_000, "d": 200_000, "e": 200_000}


@pytest.mark.parametrize("node", [node.name for node in TOKYO.nodes])
def test_every_node_of_a_scenario_gets_a_guard_that_an_agent_takes(tmp_path: Path, node: str) -> None:
    (spec,) = (each for each in TOKYO.nodes if each.name == node)
    assert write_guard(tmp_path / "guard.yaml", TOKYO, spec)
    assert load(tmp_path / "guard.yaml", node) == guard_of(node)


def test_a_guard_follows_its_scenario_until_somebody_edits_it(tmp_path: Path) -> None:
    path, one, other = tmp_path / "guard.yaml", with_stream(), with_stream(k=1)
    node = one.nodes[0]
    assert write_guard(path, one, node)
    assert write_guard(path, other, node), "as it was written, it is written anew"
    assert load(path, "a") == guard_of("a", other)
    path.write_text(path.read_text(encoding="utf-8").replace("min_k: 1", "min_k: 3"), encoding="utf-8")
    edited = path.read_text(encoding="utf-8")
    assert not write_guard(path, one, node)
    assert path.read_text(encoding="utf-8") == edited


# ---- keyweave guard -----------------------------------------------------------------------------


def test_the_template_becomes_a_guard_once_its_names_are_filled_in() -> None:
    text = TEMPLATE.format(node="a")
    for blank in ("NEIGHBOUR", "FAR-NODE", "DOMAIN", "LOCAL-SAE", "FAR-SAE", "STREAM", "LINK"):
        text = text.replace(blank, blank.lower())
    guard = settings.parse(text, Guard, source="template")
    assert (guard.other_saes, guard.accept_emulated, guard.may_clear_quarantine) == ("refuse", False, False)


async def stored(path: Path, rules: list[agent_pb2.Rule]) -> Path:
    await PolicyStore(path).save(policy(rules))
    return path


async def test_a_check_says_what_of_a_policy_would_stop(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "guard.yaml"
    file.write_text(yaml.safe_dump(WRITTEN), encoding="utf-8")
    good = await stored(tmp_path / "good.json", LAWFUL)
    assert main(["guard", "check", str(file), "--policy", str(good)]) == 0
    assert GUARD.digest.hex() in capsys.readouterr().out
    bad = await stored(tmp_path / "bad.json", [link(0.4) if r.rule_id == "link/a-b" else r for r in LAWFUL])
    assert main(["guard", "check", str(file), "--policy", str(bad)]) == 3
    told = capsys.readouterr().out
    assert "link/a-b" in told
    assert "at most 0.11" in told
    assert "stream/s" not in told


def test_a_check_names_what_is_wrong_with_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "guard.yaml"
    file.write_text("node: a\npeers: []\nqber_ceiling_ratio: 0.1\nrequire_qkd: true\n", encoding="utf-8")
    assert main(["guard", "check", str(file)]) == 1
    assert "require_qkd: is unknown; expected node, peers, " in capsys.readouterr().err


def test_a_check_points_out_what_is_for_a_laboratory(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "guard.yaml"
    file.write_text(yaml.safe_dump(lab_guard(TOKYO, TOKYO.nodes[0])), encoding="utf-8")
    assert main(["guard", "check", str(file)]) == 0
    told = capsys.readouterr().out
    assert "note: other_saes is 'allow'" in told
    assert "note: accept_emulated is true" in told


def test_a_lab_guard_refuses_nothing_of_its_own_scenario() -> None:
    assert refusals(guard_of("a", with_stream()), by_id([])) == ()
