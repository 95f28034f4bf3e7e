"""Writes surfnet.yaml: a national network of 50 nodes and 68 spans, from the Dutch research network's map.

The map is topohub's `topozoo/Surfnet` (MIT licence), which has it from the Internet Topology Zoo (Knight
et al., IEEE J. Sel. Areas Commun. 29, 1765 (2011)). It gives towns, coordinates and who is joined to whom;
all else is assumed, as surfnet.sources.md says.

    python scenarios/surfnet.py           writes it
    python scenarios/surfnet.py --check   says whether it is what this program would write
"""

import math
import re
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import topohub
import yaml

HERE = Path(__file__).resolve().parent
TOPOLOGY = "topozoo/Surfnet"
HEAD = """\
# A national network of 50 nodes and 68 spans on the map of the Dutch research network. surfnet.py beside
# this file writes it; change that. surfnet.sources.md says what is taken from where and what is assumed.
"""
EARTH_KM = 6371.0
# Fibre follows roads: how much longer it is than the straight line between its ends.
DETOUR = 1.2
LOSS_DB_PER_KM = 0.2
# Connectors and splices at the two ends.
END_LOSS_DB = 1.0
# Longer spans have superconducting detectors and a faster clock.
GATED_KM = 50.0
GATED = {"pulse_rate_hz": 1.0e7}
NANOWIRE = {
    "kind": "SNSPD",
    "efficiency_ratio": 0.6,
    "dark_count_rate_hz": 50,
    "temperature_celsius": -270,
    "bias_volts": 0,
    "pulse_rate_hz": 5.0e7,
}
# Spans that leave a node in directions nearer to each other than this share a duct there.
SHARED_DUCT_DEGREES = 20.0
STREAMS: tuple[dict[str, Any], ...] = (
    {"name": "north-south", "source_node": "groningen", "target_node": "maastricht", "require_qkd": True},
    {"name": "government", "source_node": "den-haag", "target_node": "apeldoorn", "require_qkd": True,
     "require_pqc": True},
    {"name": "exchange", "source_node": "amsterdam", "target_node": "rotterdam", "require_qkd": True,
     "k": 2, "min_k": 1},
    {"name": "universities", "source_node": "enschede", "target_node": "delft", "require_qkd": True},
    {"name": "harbour", "source_node": "vlissingen", "target_node": "rotterdam",
     "accept_strongest_available": True},
    {"name": "chips", "source_node": "eindhoven", "target_node": "nijmegen", "require_qkd": True},
    {"name": "grid", "source_node": "leeuwarden", "target_node": "arnhem",
     "accept_strongest_available": True},
    {"name": "hospitals", "source_node": "utrecht", "target_node": "leiden", "require_qkd": True,
     "require_pqc": True},
)  # fmt: skip


def scenario() -> dict[str, Any]:
    """The whole scenario file's content."""
    graph = topohub.get(TOPOLOGY)
    names = {node["id"]: _name(node["name"]) for node in graph["nodes"]}
    places = {names[node["id"]]: (node["pos"][1], node["pos"][0]) for node in graph["nodes"]}
    spans = [(names[edge["source"]], names[edge["target"]]) for edge in graph["edges"]]
    ducts = _ducts(spans, places)
    return {
        "name": "surfnet",
        "description": "A national network on the map of the Dutch research network, SURFnet (topohub)",
        "seed": 50,
        "nodes": [
            {
                "name": names[node["id"]],
                "location": node["name"],
                "latitude_degrees": places[names[node["id"]]][0],
                "longitude_degrees": places[names[node["id"]]][1],
            }
            for node in graph["nodes"]
        ],
        "links": [_link(a, b, places, ducts) for a, b in spans],
        "streams": [_stream(given) for given in STREAMS],
    }


def _name(town: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", town.lower())


def _link(
    a: str, b: str, places: dict[str, tuple[float, float]], ducts: dict[tuple[str, str], list[str]]
) -> dict[str, Any]:
    length = DETOUR * _distance_km(places[a], places[b])
    link: dict[str, Any] = {
        "name": f"{a}-{b}",
        "a": a,
        "b": b,
        "technology": "DV-QKD",
        "length_km": round(length, 1),
        "loss_db": round(END_LOSS_DB + LOSS_DB_PER_KM * length, 1),
        "protocol": {"kind": "decoy-bb84"},
        "detector": dict(GATED if length <= GATED_KM else NANOWIRE),
    }
    if ducts[a, b]:
        link["risk_groups"] = ducts[a, b]
    return link


def _stream(given: dict[str, Any]) -> dict[str, Any]:
    sae = {f"{end}_sae": f"{given['name']}-{given[f'{end}_node']}" for end in ("source", "target")}
    return {**given, **sae, "min_rate_bps": 128, "max_rate_bps": 1024, "buffer_keys": 16}


def _distance_km(a: tuple[float, float], b: tuple[float, float]) -> float:
    """Along a great circle (haversine)."""
    (lat_a, lon_a), (lat_b, lon_b) = ((math.radians(x), math.radians(y)) for x, y in (a, b))
    half = math.sin((lat_b - lat_a) / 2) ** 2
    half += math.cos(lat_a) * math.cos(lat_b) * math.sin((lon_b - lon_a) / 2) ** 2
    return 2 * EARTH_KM * math.asin(math.sqrt(half))


def _ducts(
    spans: list[tuple[str, str]], places: dict[str, tuple[float, float]]
) -> dict[tuple[str, str], list[str]]:
    """The ducts that each span shares with another: those that leave a node in nearly the same direction."""
    leaving: dict[str, list[tuple[float, tuple[str, str]]]] = defaultdict(list)
    for span in spans:
        for here, there in (span, span[::-1]):
            leaving[here].append((_bearing_degrees(places[here], places[there]), span))
    shared: dict[tuple[str, str], list[str]] = {span: [] for span in spans}
    for node, found in sorted(leaving.items()):
        duct = 0
        ordered = sorted(found)
        run = ordered[:1]
        for bearing, span in [*ordered[1:], (math.inf, ("", ""))]:
            if bearing - run[-1][0] < SHARED_DUCT_DEGREES:
                run.append((bearing, span))
                continue
            if len(run) > 1:
                duct += 1
                for _, member in run:
                    shared[member].append(f"{node}-duct-{duct}")
            run = [(bearing, span)]
    return shared


def _bearing_degrees(here: tuple[float, float], there: tuple[float, float]) -> float:
    north = there[0] - here[0]
    east = (there[1] - here[1]) * math.cos(math.radians(here[0]))
    return math.degrees(math.atan2(east, north)) % 360


def rendered() -> str:
    """The file, as it is to be."""
    return HEAD + yaml.safe_dump(scenario(), sort_keys=False, default_flow_style=None, width=120)


def main(arguments: list[str]) -> int:
    """Write the file, or with --check compare it; the exit code."""
    file = HERE / "surfnet.yaml"
    if arguments == ["--check"]:
        if file.read_text() == rendered():
            return 0
        sys.stderr.write(f"error: {file} is not what {Path(__file__).name} writes; run it\n")
        return 1
    file.write_text(rendered())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
