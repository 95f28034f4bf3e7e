"""What chains of repeaters are predicted to give beside a run of them, pair by pair."""

import sys
from dataclasses import asdict, replace
from math import inf
from typing import Any

from keyweave.common.entanglement.bell import werner
from keyweave.common.names import LinkName, NodeName
from keyweave.controller.routing.entanglement.chain import predict
from keyweave.controller.routing.entanglement.repeaters import (
    Lane,
    PairLink,
    PairNode,
    RepeaterNetwork,
    network_of,
    plain_lane,
)
from tests.bench.entanglement.chain_run import ChainRun

PAIRS = 3000
LANES: tuple[tuple[str, dict[str, Any]], ...] = (
    ("plain", {}),
    ("cut-off 100 ms", {"cutoff": 0.1}),
    ("cut-off 50 ms", {"cutoff": 0.05}),
    ("one round a hop", {"rounds": 1}),
    ("one round a hop, cut-off 100 ms", {"rounds": 1, "cutoff": 0.1}),
    ("one round at the ends, cut-off 200 ms", {"end_rounds": 1, "cutoff": 0.2}),
)


def chain(hops: int) -> tuple[RepeaterNetwork, Lane]:
    """Hops of 20 pairs a second at 0.96, swaps that succeed 6 times in 10, T1 5 s, T2 1 s, 2 ms a hop."""
    names = [NodeName(f"n{i}") for i in range(hops + 1)]
    nodes = [PairNode(name, 64, 5.0, 1.0, 0.6) for name in names]
    links = [
        PairLink(LinkName(f"l{i}"), names[i], names[i + 1], 20.0, werner(0.96), 0.002) for i in range(hops)
    ]
    return network_of(nodes, links), plain_lane(tuple(names), tuple(link.name for link in links))


def chains() -> list[dict[str, object]]:
    """Both for every lane, printed as they come."""
    rows: list[dict[str, object]] = []
    for hops in (3, 5):
        network, plain = chain(hops)
        for name, settings in LANES:
            lane = replace(
                plain,
                rounds=(settings.get("rounds", 0),) * hops,
                end_rounds=settings.get("end_rounds", 0),
                cutoff_seconds=(settings.get("cutoff", inf),) * hops,
            )
            found, run = predict(network, lane), ChainRun(network, lane, seed=1).run(PAIRS)
            assert found is not None
            sys.stdout.write(
                f"{hops} hops, {name}: predicted {found.rate_hz:.3f} pairs/s of {found.state.fidelity:.4f},"
                f" run {run.rate_hz:.3f} of {run.state.fidelity:.4f}\n"
            )
            sys.stdout.flush()
            rows.append({"hops": hops, "lane": name, "predicted": asdict(found), "run": asdict(run)})
    return rows
