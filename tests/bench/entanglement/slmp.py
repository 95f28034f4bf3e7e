"""SLMP: one channel on each edge, many paths.

Pant and others (npj Quantum Information 5, 25, 2019) let every edge try once and every pair of nodes use all
paths that come about. Shi and Qian (SIGCOMM 2020, section 6) take that to random networks as their baseline
"single-link multipath": each edge has one channel and paths of width one are found, and mended, as in Q-CAST.
"""

from keyweave.controller.routing.entanglement.slots import PairNetwork
from tests.bench.entanglement.qcast import QCastKeeping


class Slmp(QCastKeeping):
    """Q-CAST without parallel channels."""

    name = "SLMP"

    def __init__(self, network: PairNetwork) -> None:
        super().__init__(
            PairNetwork(
                network.memories,
                dict.fromkeys(network.channels, 1),
                network.success_ratio,
                network.swap_ratio,
            )
        )
