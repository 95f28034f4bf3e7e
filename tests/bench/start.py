"""`keyweave up` to all streams serving: every process started, policies applied, keys at both ends.

The baseline is what as many bare processes need to start that only import what an agent imports, so the
ratio says what Keyweave adds to the interpreter's own time on this machine.
"""

import asyncio
import json
import sys
import time
from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests.bench import network
from tests.bench.report import COMMAND, Result

TOKYO = Path(__file__).parents[2] / "scenarios" / "tokyo.yaml"
STREAMS = 25
SUPPLIED_SECONDS = 240.0
IMPORTS = "import keyweave.agent.app"


def run() -> list[Result]:
    """Measure."""
    with TemporaryDirectory() as directory:
        surfnet = Path(directory) / "surfnet.yaml"
        surfnet.write_text(json.dumps(surfnet_scenario()), "utf-8")  # JSON is YAML
        return [
            asyncio.run(_start("start_6_nodes_seconds", TOKYO, 6, Path(directory) / "tokyo")),
            asyncio.run(_start("start_50_nodes_seconds", surfnet, 50, Path(directory) / "surfnet")),
        ]


async def _start(name: str, scenario: Path, nodes: int, root: Path) -> Result:
    bare = await _bare(nodes + 2)
    began = time.monotonic()
    async with network.up(scenario, root) as running:
        await running.supplied(SUPPLIED_SECONDS)
        took = time.monotonic() - began
    return Result(name, took, "s", bare, took / bare, f"{COMMAND} start")


async def _bare(processes: int) -> float:
    began = time.monotonic()
    started = [await asyncio.create_subprocess_exec(sys.executable, "-c", IMPORTS) for _ in range(processes)]
    for process in started:
        if await process.wait():
            raise RuntimeError(f"`{IMPORTS}` failed")
    return time.monotonic() - began


def surfnet_scenario() -> dict[str, Any]:
    """The Dutch research network of the Internet Topology Zoo, with 25 streams between nodes in turn."""
    # Read here: `topohub.get` leaves the file open.
    graph = json.loads((files("topohub") / "data/topozoo/Surfnet.json").read_text("utf-8"))
    names = {node["id"]: f"n{node['id']}" for node in graph["nodes"]}
    nodes = sorted(names.values(), key=lambda name: int(name[1:]))
    links = [
        {
            "name": f"{names[edge['source']]}-{names[edge['target']]}",
            "a": names[edge["source"]],
            "b": names[edge["target"]],
            "technology": "DV-QKD",
            "length_km": 20,
            "loss_db": 5,
            "qber_ratio": 0.02,
            "skr_bps": 100_000,
        }
        for edge in graph["edges"]
    ]
    streams = [
        {
            "name": f"s{number}",
            "source_node": nodes[2 * number],
            "target_node": nodes[2 * number + 1],
            "source_sae": f"s{number}-a",
            "target_sae": f"s{number}-b",
            "min_rate_bps": 256,
            "max_rate_bps": 2048,
            "require_qkd": True,
        }
        for number in range(STREAMS)
    ]
    return {
        "name": "surfnet",
        "nodes": [{"name": name} for name in nodes],
        "links": links,
        "streams": streams,
    }
