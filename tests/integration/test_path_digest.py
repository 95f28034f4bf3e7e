"""Nodes that a controller tells different hops of one path relay nothing over it: real agents, real TLS."""

from dataclasses import replace
from pathlib import Path

import pytest

from keyweave.v1 import agent_pb2, types_pb2
from tests.integration import mesh
from tests.integration.mesh import wait_until
from tests.integration.mesh_policy import MeshStream, Nodes

LINKS = ("a-b", "b-c", "a-d", "c-d", "b-d")
OVER_B, OVER_D = ("a", "b", "c"), ("a", "d", "c")
# Two shares, of which no node may see both. QKD or nothing.
TWO_SHARES = MeshStream(
    path_sets=((OVER_B, OVER_D),), k=2, min_k=2, require_qkd=True, on_exhaustion=types_pb2.ON_EXHAUSTION_WAIT
)
THROUGH_BOTH = ("a", "b", "d", "c")


@pytest.mark.parametrize(
    ("told", "refuses"),
    [
        # d would see both shares: b hands its share on to d, and d takes it to c.
        ({("b", OVER_B): THROUGH_BOTH, ("d", OVER_B): THROUGH_BOTH}, "b"),
        # b is in on it, in that it was told what the ends were told; d and the far end were not.
        ({("c", OVER_B): ("a", "x", "b", "c")}, "c"),
    ],
    ids=["transit", "far-end"],
)
async def test_nodes_that_were_told_different_hops_of_a_path_relay_nothing_over_it_and_say_so(
    tmp_path: Path, told: dict[tuple[str, Nodes], Nodes], refuses: str
) -> None:
    async with mesh.running(tmp_path, LINKS, replace(TWO_SHARES, told=told)) as running:
        refused = agent_pb2.AGENT_EVENT_KIND_GUARD_REFUSED
        await wait_until(lambda: running.events_of(refused, refuses), 15, f"{refuses} refuses and says so")
        (event, *_) = running.events_of(refused, refuses)
        assert event.stream == "s"
        assert "s:a-b-c" in event.reason
        assert (await running.enc_keys("a", "c")).status_code == 503
        assert running.ready_keys("a") == running.ready_keys("c") == 0


async def test_the_same_stream_is_supplied_where_every_node_is_told_the_truth(tmp_path: Path) -> None:
    async with mesh.running(tmp_path, LINKS, TWO_SHARES) as running:
        await running.supplied()
        assert not running.events_of(agent_pb2.AGENT_EVENT_KIND_GUARD_REFUSED)
