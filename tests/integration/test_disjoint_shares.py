"""Keys split over k disjoint paths: whoever has the memory of k - 1 transit nodes has none of the keys.

The attacker here has everything that its nodes ever held: every share that any of them took the pad off, of
batches that came to something and of those that did not, for as long as the stream lived.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from keyweave.agent.keyplane.streams import combine
from keyweave.agent.keyplane.streams.relay import Relays
from keyweave.common.names import StreamName
from keyweave.v1 import agent_pb2, types_pb2
from tests.integration import mesh
from tests.integration.mesh import Mesh, wait_until
from tests.integration.mesh_policy import MeshStream
from tests.waiting import eventually

FAILOVER = agent_pb2.AGENT_EVENT_KIND_FAILOVER
LINKS = ("a-b", "b-z", "a-c", "c-z", "a-d", "d-z")
TRANSIT, ENDS = ("b", "c", "d"), ("a", "z")
B, C, D = (("a", node, "z") for node in TRANSIT)
# Long keys: of shares as long, more can be drawn before they span everything and the test says nothing.
KEY_BITS = 1024
TWO_OF_THREE = MeshStream(
    path_sets=((B, C), (B, D), (C, D)),
    k=2,
    min_k=2,
    require_qkd=True,
    on_exhaustion=types_pb2.ON_EXHAUSTION_WAIT,
    buffer_keys=4,
    key_size_bits=KEY_BITS,
)
ALL_THREE = MeshStream(
    path_sets=((B, C, D), (B, C), (B, D), (C, D)),
    k=3,
    min_k=2,
    require_qkd=True,
    on_exhaustion=types_pb2.ON_EXHAUSTION_WAIT,
    buffer_keys=4,
    key_size_bits=KEY_BITS,
)
# Of every secret the first key's part; a basis of fewer vectors than bits says something.
BYTES = combine.secret_bytes_per_key(KEY_BITS)


@dataclass
class Memory:
    """What every node held, and what the ends made of it."""

    # By transit node: (batch, share number) -> the share.
    seen: dict[str, dict[tuple[bytes, int], bytes]] = field(default_factory=lambda: defaultdict(dict))
    # By batch that became keys: how many shares, and their XOR.
    secrets: dict[bytes, tuple[int, bytes]] = field(default_factory=dict)
    # All shares that the near end drew, also of batches that failed.
    drawn: list[bytes] = field(default_factory=list)


@pytest.fixture
def memory() -> Iterator[Memory]:
    """Reads the memory of all nodes of the meshes that a test runs."""
    read = Memory()
    forward, derive_keys, send = Relays.forward, combine.derive_keys, Relays.send

    async def forwarding(relays: Relays, message: Any, secret: bytearray, *rest: Any) -> Any:
        read.seen[relays._node][message.batch_id, message.share] = bytes(secret)
        return await forward(relays, message, secret, *rest)

    async def sending(relays: Relays, share: Any, link: Any, to: Any, secret: bytearray) -> Any:
        if relays._node in ENDS:
            read.drawn.append(bytes(secret))
        return await send(relays, share, link, to, secret)

    def deriving(context: combine.BatchContext, kem: bytes, qkd: bytes | bytearray) -> list[bytearray]:
        if qkd:
            read.secrets[context.batch_id] = (len(context.path_ids), bytes(qkd))
        return derive_keys(context, kem, qkd)

    with (
        mock.patch.object(Relays, "forward", forwarding),
        mock.patch.object(Relays, "send", sending),
        mock.patch.object(combine, "derive_keys", deriving),
    ):
        yield read


def in_use(running: Mesh) -> list[str]:
    """The transit nodes of the paths that keys for a's SAE come over now."""
    near = running.plane("a").near[StreamName("s")]
    return [near.terms.accepted[path].trusted_nodes[0] for path in near.path_ids]


async def fail_over(running: Mesh, away: str | None = None) -> str:
    """Stop a transit node that is in use while keys are drawn, until the stream has moved; which one."""

    async def drawn(wanted: Callable[[], bool]) -> bool:
        answer = await running.enc_keys("a", "z")
        return answer.status_code == 200 and wanted()

    async def has_failed_over() -> bool:
        # Drawing keeps the stream making keys; on a busy machine there may be none for a moment.
        await running.enc_keys("a", "z")
        return len(running.events_of(FAILOVER)) > before

    async def carries() -> bool:
        return await drawn(lambda: away in in_use(running) if away else bool(in_use(running)))

    # A stream that was moved away comes back only with keys that are made again.
    await eventually(carries, 30, f"keys come over {away or 'some node'}")
    before = len(running.events_of(FAILOVER))
    away = away or in_use(running)[0]
    await running.stop(away)
    # Where its pools ran dry just before, the way in use counts as slow and not as gone for ten seconds.
    await eventually(has_failed_over, 90, f"a failover when {away} went away")
    await running.start(away)
    await wait_until(
        lambda: all(running.plane(away).peers[end].connected for end in ("a", "z")), 60, f"{away} is back"
    )
    return away


def span(vectors: Iterable[bytes]) -> list[int]:
    """A basis over GF(2) of all XORs that can be made of these."""
    basis: list[int] = []
    for vector in vectors:
        rest = reduced(int.from_bytes(vector[:BYTES], "big"), basis)
        if rest:
            basis.append(rest)
            basis.sort(reverse=True)
    return basis


def reduced(value: int, basis: Iterable[int]) -> int:
    """What is left of a value; 0 where it is the XOR of some of the basis."""
    for one in basis:
        value = min(value, value ^ one)
    return value


def knowledge(memory: Memory, nodes: Iterable[str]) -> list[int]:
    """All that these nodes together can compute."""
    return span(share for node in nodes for share in memory.seen[node].values())


def assert_no_key_is_determined(memory: Memory) -> None:
    """Whatever k - 1 nodes held determines no key, and what k nodes of one path set held determines it."""
    assert memory.secrets
    assert len(memory.drawn) < 8 * BYTES, "few enough shares for their span to say something"
    for batch_id, (shares, secret) in memory.secrets.items():
        target = int.from_bytes(secret[:BYTES], "big")
        for compromised in combinations(TRANSIT, shares - 1):
            left = reduced(target, knowledge(memory, compromised))
            assert left, f"{compromised} alone know a key of {shares} shares"
        holders = [node for node in TRANSIT if any(batch == batch_id for batch, _ in memory.seen[node])]
        assert len(holders) == shares
        assert not reduced(target, knowledge(memory, holders)), "all its nodes together do: the test sees"


@pytest.mark.timeout(400)
@pytest.mark.parametrize("stream", [TWO_OF_THREE, ALL_THREE], ids=["k=2", "k=3, min_k=2"])
async def test_one_node_less_than_there_are_shares_determines_no_key_also_across_failovers(
    tmp_path: Path, memory: Memory, stream: MeshStream
) -> None:
    async with mesh.running(tmp_path, LINKS, stream) as running:
        await running.supplied()
        for _ in TRANSIT:
            await fail_over(running)
        assert len(running.events_of(FAILOVER)) >= len(TRANSIT)
        used = {shares for shares, _ in memory.secrets.values()}
        assert used <= {2, stream.k}
    assert_no_key_is_determined(memory)


async def test_a_failover_draws_all_shares_afresh(tmp_path: Path, memory: Memory) -> None:
    async with mesh.running(tmp_path, LINKS, TWO_OF_THREE) as running:
        await running.supplied()
        for away in ("c", "b"):
            await fail_over(running, away)
    lost = len(memory.drawn) - sum(shares for shares, _ in memory.secrets.values())
    assert lost > 0, "some shares were drawn for batches that failed"
    assert len(set(memory.drawn)) == len(memory.drawn), "no share was ever sent twice, over no path"
