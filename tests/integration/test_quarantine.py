"""What one end of a stream destroys, the other neither hands out nor keeps."""

from pathlib import Path
from uuid import UUID

import pytest

from keyweave.agent.keyplane.keys.keystore import KeyStore
from keyweave.agent.keyplane.links.linkwatch import LinkHealth, Verdict
from keyweave.v1 import types_pb2
from tests.integration import mesh
from tests.integration.mesh import wait_until
from tests.integration.mesh_policy import MeshStream

STREAM = MeshStream(path_sets=((("a", "b", "c"),),), on_exhaustion=types_pb2.ON_EXHAUSTION_WAIT)


def _undelivered(store: KeyStore) -> set[UUID]:
    return {*store._ready.get("s", {}), *store._slave.get("s", {})}  # type: ignore[call-overload]


@pytest.mark.parametrize("end", ["a", "c"])
async def test_keys_destroyed_at_one_end_alone_go_at_the_other_too(tmp_path: Path, end: str) -> None:
    async with mesh.running(tmp_path, ("a-b", "b-c"), STREAM) as running:
        await running.supplied()
        stores = {node: running.plane(node).store for node in ("a", "c")}
        before = _undelivered(stores["a"]) & _undelivered(stores["c"])
        assert before
        plane = running.plane(end)
        (link,) = plane.links.values()
        # Only this end judges so: neither the relay nor the link's other end passes anything on.
        plane.aftermath.link_verdict(
            link, link.watch.verdict, Verdict(LinkHealth.ABORTED, "only this end thinks so", 0.0)
        )
        assert not before & _undelivered(stores[end])
        far = "c" if end == "a" else "a"
        await wait_until(lambda: not before & _undelivered(stores[far]), 5, "the far end's copies are gone")
