"""The guard files of a laboratory: each node allows what the scenario says, and SAEs that it does not name.

Whoever edits one keeps it: a file is only written anew while it is as it was written last.
"""

import hashlib
from pathlib import Path
from typing import Any

import yaml

from keyweave.common.process import write_atomically
from keyweave.controller.intent import ABORT_QBER_RATIO, DEFAULT_KEY_SIZE_BITS
from keyweave.emulator.scenario import LinkSpec, NodeSpec, Scenario, StreamSpec
from keyweave.v1 import types_pb2

# Relayed bits cannot exceed what the link makes; this leaves room for what its pools have saved up.
TRANSIT_FACTOR = 2
_STAMP = "# Written by `keyweave up`, which keeps its hands off once you edit it. "


def write_guard(path: Path, scenario: Scenario, node: NodeSpec) -> bool:
    """Write a node's guard; False where its owner has edited it, which is then left alone."""
    if path.exists():
        first, _, rest = path.read_text(encoding="utf-8").partition("\n")
        if first != _stamp(rest):
            return False
    text = yaml.safe_dump(lab_guard(scenario, node), sort_keys=False)
    write_atomically(path, f"{_stamp(text)}\n{text}")
    return True


def _stamp(text: str) -> str:
    return _STAMP + hashlib.sha256(text.encode()).hexdigest()


def lab_guard(scenario: Scenario, node: NodeSpec) -> dict[str, Any]:
    """What the scenario says, as the owner of one of its nodes would write it."""
    nodes = [each.name for each in scenario.nodes]
    links = [link for link in scenario.links if node.name in link.ends]
    ceilings = {link.name: {"qber_ceiling_ratio": _ceiling(link)} for link in links}
    guard: dict[str, Any] = {
        "node": node.name,
        "peers": [name for name in nodes if name != node.name],
        "qber_ceiling_ratio": ABORT_QBER_RATIO[types_pb2.LINK_TECHNOLOGY_DV_QKD],
        "links": ceilings,
        "trust_domains": _trust_domains(scenario),
        "saes": _saes(scenario, node),
        "other_saes": "allow",
        "accept_emulated": True,
        "may_clear_quarantine": True,
    }
    if links:
        rates = {neighbour: 0.0 for link in links for neighbour in link.ends if neighbour != node.name}
        for link in links:
            (neighbour,) = set(link.ends) - {node.name}
            rates[neighbour] += TRANSIT_FACTOR * link.undisturbed_skr_bps
        limits = {neighbour: round(rate) for neighbour, rate in rates.items()}
        guard["transit"] = {"for_nodes": nodes, "max_bps": max(limits.values()), "max_bps_from": limits}
    return guard


def _ceiling(link: LinkSpec) -> float:
    spec = link.to_proto()
    return spec.abort_qber_ratio or ABORT_QBER_RATIO[spec.technology]


def _trust_domains(scenario: Scenario) -> dict[str, list[str]]:
    domains: dict[str, list[str]] = {}
    for node in scenario.nodes:
        if node.trust_domain:
            domains.setdefault(node.trust_domain, []).append(node.name)
    for stream in scenario.streams:
        for domain in stream.allowed_trust_domains:
            domains.setdefault(domain, [])
    return domains


def _saes(scenario: Scenario, node: NodeSpec) -> dict[str, list[dict[str, Any]]]:
    saes: dict[str, list[dict[str, Any]]] = {}
    for stream in scenario.streams:
        source = (stream.source_node, stream.source_sae)
        target = (stream.target_node, stream.target_sae)
        for (here, local_sae), (there, peer_sae) in ((source, target), (target, source)):
            if here == node.name:
                saes.setdefault(local_sae, []).append(_sharing(stream, peer_sae, there))
    return saes


def _sharing(stream: StreamSpec, peer_sae: str, peer_node: str) -> dict[str, Any]:
    sharing: dict[str, Any] = {
        "peer_sae": peer_sae,
        "peer_node": peer_node,
        "require_qkd": stream.require_qkd,
        "require_pqc": stream.require_pqc or stream.pqc_only,
        "min_k": stream.min_k or stream.k or 1,
        "min_key_size_bits": stream.key_size_bits or DEFAULT_KEY_SIZE_BITS,
    }
    if stream.allowed_trust_domains:
        sharing["allowed_trust_domains"] = list(stream.allowed_trust_domains)
    if stream.max_trusted_nodes is not None:
        sharing["max_trusted_nodes"] = stream.max_trusted_nodes
    return sharing
