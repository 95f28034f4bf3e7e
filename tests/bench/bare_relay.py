"""The frames of the relay bench over bare grpc.aio: what transport alone costs, between as many processes.

Four processes stand in a row, each with a session to its neighbours and the ends with one to each other: one
bidirectional stream of bytes, with the product's own TLS and channel options. A batch is what the product
sends for one: a share from hop to hop, the answers back, an offer straight to the far end, its confirmation.
Frames have the product's sizes and share messages by the product's rule (`outbox.Outbox`); both ends make
as many batches at once. There is no protobuf, no cryptography but TLS, no key and no emulator.
"""

import asyncio
import json
import os
import struct
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc

from keyweave.agent.keyplane.sessions.outbox import JOIN_TURNS, MESSAGE_BYTES, MESSAGE_FRAMES
from keyweave.agent.keyplane.streams.near import BATCHES_AT_ONCE, MAX_BATCH_KEYS
from keyweave.common.identity import Identity, Plane, Role
from keyweave.common.process import announce_ready, write_atomically
from keyweave.common.tls import SERVER_OPTIONS, TlsFiles, secure_channel, server_credentials
from keyweave.v1 import keyplane_pb2 as pb
from tests.bench.measure import all_cores, child
from tests.bench.pki import HOST

ROW = ("a", "b", "c", "d")
ENDS = (ROW[0], ROW[-1])
# Who dials whom: as in the product, the one whose name sorts first.
DIALS = {"a": ("b", "d"), "b": ("c",), "c": ("d",), "d": ()}
WARM_SECONDS, WINDOW_SECONDS = 1.0, 4.0
DONE_SECONDS = 60.0
POLL_SECONDS = 0.05
SERVICE, METHOD = "keyweave.bench.Relay", "Session"
HELLO, SHARE, ACCEPTED, OFFER, CONFIRMED = range(5)
# Kind, whether the batch is made by the last of the row, its number, bytes that follow.
_HEAD = struct.Struct(">BBII")
Write = Callable[[bytes], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Bare:
    """What the transport alone would allow, and what it costs."""

    keys_per_second: float
    cpu_seconds_per_key: float


def frame_bytes() -> dict[int, int]:
    """How long the product's frames of a whole batch are."""
    ids, digest, name = [bytes(16)] * MAX_BATCH_KEYS, bytes(32), "far"
    secret = bytes(32 * MAX_BATCH_KEYS)
    share = pb.Relay(
        stream=name,
        path_id=f"{name}:1",
        path_digest=digest,
        batch_id=bytes(16),
        shares=1,
        link="ab",
        pool_id=bytes(16),
        offset=1 << 24,
        ciphertext=secret,
        tag=bytes(16),
    )
    offer = pb.Offer(
        stream=name,
        batch_id=bytes(16),
        key_ids=ids,
        key_size_bits=256,
        master_sae="sae-a",
        slave_sae="sae-d",
        path_ids=[f"{name}:1"],
        kem_id=bytes(16),
        kem_step=16,
        near_tag=digest,
        emulated=True,
        created_unix_nanos=1 << 60,
        trusted_nodes=ROW[1:-1],
    )
    frames = {
        SHARE: pb.Frame(relay=share),
        ACCEPTED: pb.Frame(relay_accepted=pb.RelayAccepted(links=["ab", "bc"], emulated=True)),
        OFFER: pb.Frame(offer=offer),
        CONFIRMED: pb.Frame(confirm=pb.Confirm(batch_id=bytes(16), far_tag=digest)),
    }
    return {kind: frame.ByteSize() for kind, frame in frames.items()}


def packed(kind: int, reverse: int, number: int, size: int) -> bytes:
    """A frame of `size` bytes after its head."""
    return _HEAD.pack(kind, reverse, number, size) + bytes(size)


def unpacked(message: bytes) -> Iterator[tuple[int, int, int]]:
    """Kind, direction and number of every frame in a message."""
    at = 0
    while at < len(message):
        kind, reverse, number, size = _HEAD.unpack_from(message, at)
        yield kind, reverse, number
        at += _HEAD.size + size


@dataclass(slots=True)
class Node:
    """One process of the row."""

    name: str
    sizes: Mapping[int, int]
    outboxes: dict[str, asyncio.Queue[bytes]] = field(default_factory=dict)
    connected: asyncio.Event = field(default_factory=asyncio.Event)
    finished: dict[int, asyncio.Future[None]] = field(default_factory=dict)
    batches: int = 0

    @property
    def neighbours(self) -> set[str]:
        """With whom it has a session."""
        return {*DIALS[self.name], *(other for other, dialled in DIALS.items() if self.name in dialled)}

    def towards(self, reverse: int) -> str | None:
        """The next in the direction of a share; None at its end."""
        index = ROW.index(self.name) + (-1 if reverse else 1)
        return ROW[index] if 0 <= index < len(ROW) else None

    async def talk(self, peer: str, incoming: AsyncIterator[bytes], write: Write) -> None:
        """One session until its end."""
        outbox = self.outboxes[peer] = asyncio.Queue()
        if self.outboxes.keys() == self.neighbours:
            self.connected.set()
        writing = asyncio.create_task(_write_all(outbox, write), name=f"write-{peer}")
        try:
            async for message in incoming:
                for kind, reverse, number in unpacked(message):
                    self._take(peer, kind, reverse, number)
        finally:
            writing.cancel()

    def _take(self, peer: str, kind: int, reverse: int, number: int) -> None:
        if kind == SHARE:
            onward = self.towards(reverse)
            if onward is None:
                self._send(peer, ACCEPTED, reverse, number)
            else:
                self._send(onward, SHARE, reverse, number)
        elif kind == ACCEPTED:
            back = self.towards(1 - reverse)
            if back is None:
                self._send(ENDS[0] if reverse else ENDS[-1], OFFER, reverse, number)
            else:
                self._send(back, ACCEPTED, reverse, number)
        elif kind == OFFER:
            self._send(peer, CONFIRMED, reverse, number)
        else:
            self.finished.pop(number).set_result(None)

    def _send(self, to: str, kind: int, reverse: int, number: int) -> None:
        self.outboxes[to].put_nowait(packed(kind, reverse, number, self.sizes[kind]))

    async def make_batches(self) -> None:
        """One batch after the other, for ever."""
        reverse = ENDS.index(self.name)
        onward = self.towards(reverse)
        assert onward is not None
        while True:
            number = self.batches = self.batches + 1
            done = self.finished[number] = asyncio.get_running_loop().create_future()
            self._send(onward, SHARE, reverse, number)
            await done


async def _write_all(outbox: asyncio.Queue[bytes], write: Write) -> None:
    while True:
        frames = [await outbox.get()]
        size = len(frames[0])
        for _turn in range(JOIN_TURNS):
            before = len(frames)
            await asyncio.sleep(0)
            while not outbox.empty() and len(frames) < MESSAGE_FRAMES and size < MESSAGE_BYTES:
                frames.append(outbox.get_nowait())
                size += len(frames[-1])
            if len(frames) == before:
                break
        await write(b"".join(frames))


async def stand(
    ready: Path, stop: asyncio.Event, name: str, files: TlsFiles, addresses: Mapping[str, str]
) -> None:
    """One node of the row; what it counted goes into a file beside `ready`."""
    os.sched_setaffinity(0, all_cores())
    node = Node(name, frame_bytes())
    async with AsyncExitStack() as stack:
        server = grpc.aio.server(options=SERVER_OPTIONS)

        async def session(requests: AsyncIterator[bytes], context: Any) -> None:
            first = await anext(requests)
            await node.talk(first.decode(), requests, context.write)

        handler = grpc.stream_stream_rpc_method_handler(session)
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, {METHOD: handler}),))
        port = server.add_secure_port(f"{HOST}:0", server_credentials(files))
        await server.start()
        stack.push_async_callback(server.stop, 0)
        group = await stack.enter_async_context(asyncio.TaskGroup())
        tasks = []
        for peer in DIALS[name]:
            identity = Identity(Plane.KEY, Role.AGENT, peer)
            channel = await stack.enter_async_context(secure_channel(addresses[peer], files, identity))
            method: Any = channel.stream_stream  # the stubs want serializers; frames need none
            call = method(f"/{SERVICE}/{METHOD}")()
            await call.write(name.encode())
            tasks.append(group.create_task(node.talk(peer, call, call.write), name=f"session-{peer}"))
        announce_ready(ready, {"address": f"{HOST}:{port}"})
        await node.connected.wait()
        if name in ENDS:
            tasks += [group.create_task(node.make_batches(), name="batches") for _ in range(BATCHES_AT_ONCE)]
        await asyncio.sleep(WARM_SECONDS)
        began, cpu, batches = time.monotonic(), time.process_time(), node.batches
        await asyncio.sleep(WINDOW_SECONDS)
        counted = {
            "batches_per_second": (node.batches - batches) / (time.monotonic() - began),
            "cpu_ratio": (time.process_time() - cpu) / (time.monotonic() - began),
        }
        write_atomically(counts_file(ready.parent, name), json.dumps(counted))
        await stop.wait()
        for task in tasks:
            task.cancel()


def counts_file(directory: Path, name: str) -> Path:
    """Where a node leaves what it counted."""
    return directory / f"counted-{name}.json"


def measure(directory: Path, files: Mapping[str, TlsFiles]) -> Bare:
    """Let the row run for a few seconds; `files` are the agents' certificates of the key plane."""
    addresses: dict[str, str] = {}
    with ExitStack() as stack:
        for name in reversed(ROW):
            place = directory / name
            place.mkdir()
            served = stack.enter_context(child(place, stand, name, files[name], dict(addresses)))
            addresses[name] = served.addresses["address"]
        counted = [_counted(directory / name, name) for name in ROW]
    rate = MAX_BATCH_KEYS * sum(each["batches_per_second"] for each in counted)
    return Bare(rate, sum(each["cpu_ratio"] for each in counted) / rate)


def _counted(directory: Path, name: str) -> dict[str, float]:
    deadline = time.monotonic() + DONE_SECONDS
    path = counts_file(directory, name)
    while not path.exists():
        if time.monotonic() > deadline:
            raise RuntimeError(f"node {name} of the bare relay has counted nothing")
        time.sleep(POLL_SECONDS)
    counted: dict[str, float] = json.loads(path.read_text("utf-8"))
    return counted
