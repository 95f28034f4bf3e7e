"""Scenario files: what is right is read, what is wrong is named with its field and line."""

from pathlib import Path

import pytest

from keyweave.common import settings
from keyweave.common.errors import InvalidInputError
from keyweave.common.validation import violations
from keyweave.emulator.scenario import Scenario, load_scenario
from keyweave.v1 import pairs_pb2, types_pb2

GOOD = """\
name: two-sites
description: Two sites and a fibre.
seed: 7
ports: {admin: 7000}
nodes:
  - name: north
    trust_domain: city
    owner: City
    location: North exchange
    latitude_degrees: 48.2
    longitude_degrees: 16.4
    ports: {kme: 7443}
    memories: &bank {count: 2, t2_seconds: 1, swap_success_ratio: 0.5}
  - {name: south, memories: *bank}
links:
  - name: north-south
    a: north
    b: south
    technology: DV-QKD
    length_km: 45
    loss_db: 14.5
    qber_ratio: 0.027
    skr_bps: 304000
    risk_groups: [ring-road]
    model: Decoy BB84
    detector: {kind: InGaAs, efficiency_ratio: 0.15, dark_count_rate_hz: 500, pulse_rate_hz: 1.0e+9}
    source: {skr_bps: "paper, table 1", detector: assumed}
timeline:
  - {at_seconds: 60, fault: bend, link: north-south, magnitude: 3, ramp_seconds: 30, duration_seconds: 600}
  - {at_seconds: 90, fault: node-loss, node: south}
  - {at_seconds: 95, fault: attenuate, link: pairs}
streams:
  - name: bank
    source_node: north
    target_node: south
    source_sae: bank-a
    target_sae: bank-b
    min_rate_bps: 1000
    require_qkd: true
    max_trusted_nodes: 0
    on_exhaustion: wait
pair_links:
  - name: pairs
    a: north
    b: south
    length_km: 20
    heralding: {kind: single-click, bright_state_ratio: 0.05}
    other_loss_db: 10
pair_streams:
  - name: entangled
    source_node: north
    target_node: south
    type: md
    min_fidelity: 0.8
    rate_hz: 2
    key_link: key
"""


BRIGHT = "pair_links[0].heralding.single-click.bright_state_ratio"


def parse(text: str) -> Scenario:
    return settings.parse(text, Scenario, source="s.yaml")


def refusal(text: str) -> str:
    with pytest.raises(InvalidInputError) as caught:
        parse(text)
    return str(caught.value)


def line_of(text: str, fragment: str) -> int:
    return next(number for number, line in enumerate(text.splitlines(), 1) if fragment in line)


def test_a_good_file_is_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    path.write_text(GOOD)
    scenario = load_scenario(path)
    assert [node.name for node in scenario.nodes] == ["north", "south"]
    assert scenario.nodes[0].ports.kme == 7443
    assert scenario.ports.admin == 7000
    assert scenario.sample_interval_seconds == 0.1
    assert scenario.links[0].block_bytes == 256
    assert scenario.links[0].source == {"skr_bps": "paper, table 1", "detector": "assumed"}


def test_what_is_created_from_it_passes_the_protocols_own_rules() -> None:
    scenario = parse(GOOD)
    node = scenario.nodes[0].to_proto("127.0.0.1:7001")
    link = scenario.links[0].to_proto()
    stream = scenario.streams[0].to_proto()
    pairs = scenario.pair_streams[0].to_proto()
    assert [violations(message) for message in (node, link, stream, pairs)] == [[], [], [], []]
    assert (pairs.kind, pairs.key_link) == (pairs_pb2.PAIR_KIND_MEASURE_DIRECTLY, "key")
    assert (node.latitude_degrees, node.key_plane_address) == (48.2, "127.0.0.1:7001")
    assert link.technology == types_pb2.LINK_TECHNOLOGY_DV_QKD
    assert (link.a_node, link.b_node, list(link.risk_groups)) == ("north", "south", ["ring-road"])
    assert stream.on_exhaustion == types_pb2.ON_EXHAUSTION_WAIT
    assert stream.HasField("max_trusted_nodes")
    assert stream.max_trusted_nodes == 0


def test_a_stream_may_set_every_field_that_the_protocol_has_but_what_the_controller_sets() -> None:
    ours = set(type(parse(GOOD).streams[0]).model_fields)
    assert ours == {field.name for field in types_pb2.Stream.DESCRIPTOR.fields} - {"revision", "etag"}


def test_a_pair_stream_may_set_what_the_protocol_has_but_what_the_controller_sets_and_a_deadline() -> None:
    ours = set(type(parse(GOOD).pair_streams[0]).model_fields) - {"type"}
    theirs = {field.name for field in pairs_pb2.PairStream.DESCRIPTOR.fields}
    assert ours == theirs - {"revision", "etag", "kind", "deadline_unix_nanos"}


def test_names_of_links_of_pairs_are_their_own_and_keys_are_made_of_pairs_that_are_measured() -> None:
    twice = GOOD.replace("  - name: pairs", "  - name: north-south", 1)
    assert "pair_links[0].name: there is a link 'north-south' already" in refusal(twice)
    kept = GOOD.replace("    type: md", "    type: ck", 1)
    assert "pair_streams[0].key_link: keys are made of pairs that are measured directly" in refusal(kept)


def test_pairs_need_memories_at_both_ends_and_so_do_faults_of_memories() -> None:
    bare = GOOD.replace(", memories: *bank", "", 1)
    message = refusal(bare)
    for field in ("pair_links[0].b", "pair_streams[0].target_node"):
        assert f"{field}: node 'south' has no memories; nodes that have some are north" in message
    text = GOOD.replace(", memories: *bank", "", 1).replace("node-loss, node", "memory-failure, node", 1)
    assert "timeline[1].node: node 'south' has no memories" in refusal(text)


@pytest.mark.parametrize(
    ("good", "bad", "field", "hint"),
    [
        ("    b: south", "    b: mars", "links[0].b", "nodes are north, south"),
        ("    b: south", "    b: north", "links[0].b", "two different nodes"),
        ("  - {name: south,", "  - {name: north,", "nodes[1].name", "already the name of nodes[0]"),
        ("    target_node: south", "    target_node: mars", "streams[0].target_node", "no node 'mars'"),
        ("    target_node: south", "    target_node: north", "streams[0].target_node", "two different nodes"),
        ("    target_sae: bank-b", "    target_sae: bank-a", "streams[0].target_sae", "two different SAEs"),
        ("    qber_ratio: 0.027", "    qber_ratio: 0.7", "links[0].qber_ratio", "less than 0.5"),
        ("    loss_db: 14.5", "    lossdb: 14.5", "links[0].lossdb", "is unknown; expected name, a, b"),
        ("    technology: DV-QKD", "    technology: carrier-pigeon", "links[0].technology", "'DV-QKD-COW'"),
        ("    on_exhaustion: wait", "    on_exhaustion: panic", "streams[0].on_exhaustion", "'refuse'"),
        (
            "  - name: north-south",
            "  - name: North South",
            "links[0].name",
            "is no name: lower-case",
        ),
        ("    model: Decoy BB84", "    block_bytes: 255", "links[0].block_bytes", "multiple of 2"),
        ("fault: bend,", "fault: benD,", "timeline[0].fault", "no fault 'benD'; faults are cut, eavesdrop"),
        ("magnitude: 3,", "magnitude: 31,", "timeline[0].magnitude", "outside 0 to 30 (dB) of bend"),
        ("magnitude: 3,", "magnitude: 0,", "timeline[0].magnitude", "leave it out for 3"),
        ("fault: bend,", "fault: cut,", "timeline[0].magnitude", "has no magnitude"),
        (
            "fault: bend, link: north-south, magnitude: 3",
            "fault: cut, link: north-south",
            "timeline[0].ramp_seconds",
            "no ramp",
        ),
        ("link: north-south, mag", "link: south-pole, mag", "timeline[0].link", "links are north-south"),
        ("link: north-south, mag", "mag", "timeline[0].fault", "bend needs the link that has it"),
        ("link: north-south, mag", "node: north, mag", "timeline[0].node", "bend is a fault of a link"),
        ("fault: bend,", "fault: cloud,", "timeline[0].fault", "this one is a fibre"),
        ("node-loss, node: south", "node-loss, node: mars", "timeline[1].node", "nodes are north, south"),
        ("node-loss, node: south", "node-loss, link: north-south", "timeline[1].link", "fault of a node"),
        (
            "node-loss, node: south",
            "partition, node: south, peer: mars",
            "timeline[1].peer",
            "and controller",
        ),
        ("node-loss, node: south", "partition, node: south, peer: south", "timeline[1].peer", "node itself"),
        ("node-loss, node: south", "node-loss, node: south, peer: north", "timeline[1].peer", "leave it out"),
        ("at_seconds: 60", "at_seconds: -1", "timeline[0].at_seconds", "greater than or equal to 0"),
        ("count: 2", "count: 0", "nodes[0].memories.count", "greater than or equal to 1"),
        ("t2_seconds: 1,", "t1_seconds: 1, t2_seconds: 3,", "nodes[0].memories", "more than twice t1"),
        ("kind: single-click", "kind: clickety", "pair_links[0].heralding", "'double-click'"),
        ("bright_state_ratio: 0.05", "bright_state_ratio: 0.6", BRIGHT, "less than or equal to 0.5"),
        ("    rate_hz: 2", "    rate_hz: 0", "pair_streams[0].rate_hz", "greater than 0"),
        (
            "    key_link: key",
            "    key_link: pairs",
            "pair_streams[0].key_link",
            "a pair link 'pairs' already",
        ),
        ("attenuate, link: pairs", "blind, link: pairs", "timeline[2].fault", "none of those of pair links"),
        ("duration_seconds: 600", "duration_seconds: 0", "timeline[0].duration_seconds", "greater than 0"),
    ],
)
def test_a_wrong_field_is_named_with_its_line_and_what_would_be_right(
    good: str, bad: str, field: str, hint: str
) -> None:
    text = GOOD.replace(good, bad, 1)
    message = refusal(text)
    wrong = set(text.splitlines()) - set(GOOD.splitlines())
    line = line_of(text, wrong.pop())
    assert f"s.yaml:{line}: {field}: " in message
    assert hint in message


def test_an_unknown_node_to_avoid_is_named_by_its_place() -> None:
    message = refusal(GOOD + "    avoid_nodes: [south, mars]\n")
    assert "streams[0].avoid_nodes[1]: there is no node 'mars'" in message


def test_figures_that_cannot_be_true_together_are_refused_with_what_to_change() -> None:
    text = GOOD.replace("skr_bps: 304000", "skr_bps: 3.0e+9")
    message = refusal(text)
    assert f"s.yaml:{line_of(text, 'name: north-south')}: links[0]: skr_bps 3e+09 exceeds" in message
    assert "pulse_rate_hz" in message


def test_all_wrong_fields_are_named_at_once() -> None:
    message = refusal(GOOD.replace("    a: north", "    a: x").replace("    b: south", "    b: y"))
    assert "links[0].a" in message
    assert "links[0].b" in message


def test_not_a_number_is_not_a_figure() -> None:
    assert "links[0].loss_db" in refusal(GOOD.replace("loss_db: 14.5", "loss_db: .nan"))
