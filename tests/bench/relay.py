"""Confirmed 256-bit keys a second over three hops, with every agent a process of its own.

Both ends make keys for their own SAE at the same time, each into a buffer that does not fill up while this
measures; counted is what both agents say they have confirmed. The baseline is what the cryptography alone
allows on one core: pad and tag on three hops, derivation and confirmation at both ends, no transport.
"""

import asyncio
import os
import statistics
import time
import uuid
from collections.abc import Mapping
from itertools import pairwise
from math import inf
from pathlib import Path
from tempfile import TemporaryDirectory

from keyweave.agent import memory
from keyweave.agent.keyplane.streams import combine, wire
from keyweave.agent.keyplane.streams.near import BATCH_SECONDS, MAX_BATCH_KEYS
from keyweave.common.names import PathId, SaeId, StreamName
from keyweave.v1 import keyplane_pb2 as pb
from tests.bench import network
from tests.bench.report import COMMAND, Result

HOPS = 3
# Short enough that neither end fills its buffer (scenarios/relay.yaml), which can hold no more.
WARM_SECONDS = 3.0
WINDOWS = 3
WINDOW_SECONDS = 2.0
BUFFER_KEYS = 100_000
CRYPTO_BATCHES = 300
# The goal that was set for the latency of a batch.
P99_LIMIT_SECONDS = 0.05
STREAM, ENDS = "far", ("a", "d")


def run() -> list[Result]:
    """Measure."""
    with TemporaryDirectory() as directory:
        rates, counts = asyncio.run(_measure(Path(directory)))
    rate, bound = statistics.median(rates), cryptography_alone()
    p50, p99 = quantile_bound(counts, 0.5), quantile_bound(counts, 0.99)
    command = f"{COMMAND} relay"
    return [
        Result("relay_keys_per_second", rate, "1/s", bound, rate / bound, command),
        Result("relay_batch_p50_seconds", p50, "s", P99_LIMIT_SECONDS, p50 / P99_LIMIT_SECONDS, command),
        Result("relay_batch_p99_seconds", p99, "s", P99_LIMIT_SECONDS, p99 / P99_LIMIT_SECONDS, command),
    ]


async def _measure(root: Path) -> tuple[list[float], dict[float, float]]:
    """Keys a second in each window, and the histogram of batch times over all of them."""
    async with network.up(network.SCENARIOS / "relay.yaml", root) as running:
        await running.supplied()
        await asyncio.sleep(WARM_SECONDS)
        looks = [await _look(running)]
        for _ in range(WINDOWS):
            await asyncio.sleep(WINDOW_SECONDS)
            looks.append(await _look(running))
    rates = [(after[1] - before[1]) / 256 / (after[0] - before[0]) for before, after in pairwise(looks)]
    first, last = looks[0][2], looks[-1][2]
    return rates, {bound: last[bound] - first[bound] for bound in last}


async def _look(running: network.Running) -> tuple[float, float, dict[float, float]]:
    """When, bits confirmed so far, and batches by the bound of their time."""
    at, bits, counts = time.monotonic(), 0.0, dict.fromkeys(BATCH_SECONDS, 0.0)
    for node in ENDS:
        samples = await running.samples(node)
        confirmed = network.of(samples, "keyweave_agent_confirmed_bits_total", stream=STREAM)
        if confirmed >= BUFFER_KEYS * 256:
            raise RuntimeError(f"the buffer of {node} is full: it made no keys for a part of the time")
        bits += confirmed
        for bound, count in network.buckets(samples, "keyweave_agent_batch_seconds", stream=STREAM).items():
            counts[bound] += count
    return at, bits, counts


def quantile_bound(cumulative: Mapping[float, float], ratio: float) -> float:
    """The least bound of a cumulative histogram below which `ratio` of all lie."""
    total = cumulative[inf]
    return min(bound for bound, count in cumulative.items() if count >= ratio * total)


# ---- the baseline --------------------------------------------------------------------------------


def cryptography_alone() -> float:
    """Keys a second that one core could make if nothing had to be sent."""
    size = MAX_BATCH_KEYS * combine.secret_bytes_per_key(256)
    began = time.process_time()
    for _ in range(CRYPTO_BATCHES):
        secret = bytearray(os.urandom(size))
        for _hop in range(HOPS):
            secret = _hop_over(secret)
        context = _context()
        for _end in range(2):
            keys = combine.derive_keys(context, bytes(32), secret)
            combine.tags(context, keys)
        memory.wipe(secret)
    return MAX_BATCH_KEYS * CRYPTO_BATCHES / (time.process_time() - began)


def _hop_over(secret: bytearray) -> bytearray:
    one_time = bytearray(os.urandom(len(secret) + wire.overhead()))
    same = bytearray(one_time)
    relay = pb.Relay(stream=STREAM, path_id="far:1", link="ab", batch_id=bytes(16), pool_id=bytes(16))
    wire.seal(relay, secret, one_time)
    opened = wire.open_sealed(relay, same)
    assert opened is not None
    return opened


def _context() -> combine.BatchContext:
    return combine.BatchContext(
        stream=StreamName(STREAM),
        batch_id=os.urandom(16),
        key_ids=tuple(uuid.uuid4().bytes for _ in range(MAX_BATCH_KEYS)),
        key_size_bits=256,
        master_sae=SaeId("sae-a"),
        slave_sae=SaeId("sae-d"),
        path_ids=(PathId("far:1"),),
        trusted_nodes=("b", "c"),
        vendor_domains=(),
        emulated=True,
        kem_id=bytes(16),
        kem_step=1,
        kem_transcript=bytes(32),
    )
