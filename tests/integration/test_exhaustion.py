"""A stream that is to refuse once no quantum path is left does so at once: real agents, real TLS."""

from pathlib import Path

from keyweave.v1 import agent_pb2, types_pb2
from tests.integration import mesh
from tests.integration.mesh import Mesh, wait_until
from tests.integration.mesh_policy import MeshStream


def apply(running: Mesh, *, paths: bool) -> None:
    """Both ends run by their policy, with or without the path sets that it has for them."""
    for node in ("a", "b"):
        agent = running.agents[node].agent
        rules = []
        for rule in agent.policies.policy.rules.values():
            copy = agent_pb2.Rule.FromString(rule.SerializeToString())
            if copy.HasField("stream") and not paths:
                copy.stream.ClearField("path_sets")
            rules.append(copy)
        agent.plane.apply(rules, agent.guardian.guard)


async def test_its_buffered_keys_are_destroyed_as_soon_as_policy_knows_no_path_and_come_back_with_one(
    tmp_path: Path,
) -> None:
    stream = MeshStream(
        path_sets=((("a", "b"),),), require_qkd=True, on_exhaustion=types_pb2.ON_EXHAUSTION_REFUSE
    )
    async with mesh.running(tmp_path, ("a-b",), stream) as running:
        await running.supplied()
        apply(running, paths=False)
        await wait_until(lambda: not running.ready_keys("a"), 2, "a's buffered keys are destroyed")
        assert (await running.enc_keys("a", "b")).status_code == 503
        assert running.events_of(agent_pb2.AGENT_EVENT_KIND_STREAM_STARVED, "a")
        apply(running, paths=True)
        await running.supplied()


async def test_one_that_is_to_wait_serves_what_is_buffered(tmp_path: Path) -> None:
    stream = MeshStream(
        path_sets=((("a", "b"),),), require_qkd=True, on_exhaustion=types_pb2.ON_EXHAUSTION_WAIT
    )
    async with mesh.running(tmp_path, ("a-b",), stream) as running:
        await running.supplied()
        apply(running, paths=False)
        assert (await running.enc_keys("a", "b")).status_code == 200
        assert running.ready_keys("a")
