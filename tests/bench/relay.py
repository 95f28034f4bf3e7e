"""Confirmed 256-bit keys a second over three hops, with every agent a process of its own.

Both ends make keys for their own SAE at the same time, each into a buffer that does not fill up while this
measures; counted is what both agents say they have confirmed. The baseline is what the cryptography alone
allows on one core: pad and tag on three hops, derivation and confirmation at both ends, no transport. Beside
it stands what the transport alone allows on all cores: the same frames, between as many processes, over bare
gRPC (`bare_relay`), and what the four agents' CPU time for a key is to what that costs.
"""

import asyncio
import os
import statistics
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from math import inf
from pathlib import Path
from tempfile import TemporaryDirectory

import yaml

from keyweave.agent import memory
from keyweave.agent.keyplane.streams import combine, wire
from keyweave.agent.keyplane.streams.near import BATCH_SECONDS, MAX_BATCH_KEYS
from keyweave.cli.up.layout import agent_process
from keyweave.common.names import PathId, SaeId, StreamName
from keyweave.common.tls import TlsFiles
from keyweave.v1 import keyplane_pb2 as pb
from tests.bench import bare_relay, network
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
STREAM = "far"


def run() -> list[Result]:
    """Measure."""
    with TemporaryDirectory() as directory:
        looks, files = asyncio.run(_measure(Path(directory)))
        bare = bare_relay.measure(Path(directory), files)
    rates = [(after.bits - before.bits) / 256 / (after.at - before.at) for before, after in pairwise(looks)]
    first, last = looks[0], looks[-1]
    counts = {bound: last.counts[bound] - first.counts[bound] for bound in last.counts}
    cpu = (last.cpu_seconds - first.cpu_seconds) / ((last.bits - first.bits) / 256)
    rate, bound = statistics.median(rates), cryptography_alone()
    p50, p99 = quantile_bound(counts, 0.5), quantile_bound(counts, 0.99)
    command = f"{COMMAND} relay"
    return [
        Result("relay_keys_per_second", rate, "1/s", bound, rate / bound, command),
        Result(
            "relay_keys_per_second_beside_transport",
            rate,
            "1/s",
            bare.keys_per_second,
            rate / bare.keys_per_second,
            command,
        ),
        Result(
            "relay_agents_cpu_seconds_per_key",
            cpu,
            "s",
            bare.cpu_seconds_per_key,
            cpu / bare.cpu_seconds_per_key,
            command,
        ),
        Result("relay_batch_p50_seconds", p50, "s", P99_LIMIT_SECONDS, p50 / P99_LIMIT_SECONDS, command),
        Result("relay_batch_p99_seconds", p99, "s", P99_LIMIT_SECONDS, p99 / P99_LIMIT_SECONDS, command),
    ]


@dataclass(frozen=True, slots=True)
class Look:
    """What the agents say at a moment."""

    at: float
    # Confirmed at both ends so far.
    bits: float
    # Batches by the bound of their time.
    counts: Mapping[float, float]
    # Of all agents.
    cpu_seconds: float


async def _measure(root: Path) -> tuple[list[Look], dict[str, TlsFiles]]:
    """A look before and after each window, and the agents' certificates of the key plane."""
    async with network.up(network.SCENARIOS / "relay.yaml", root) as running:
        await running.supplied()
        await asyncio.sleep(WARM_SECONDS)
        looks = [await look(running)]
        for _ in range(WINDOWS):
            await asyncio.sleep(WINDOW_SECONDS)
            looks.append(await look(running))
        return looks, {node: _key_tls(running, node) for node in bare_relay.ROW}


def _key_tls(running: network.Running, node: str) -> TlsFiles:
    config = yaml.safe_load(running.layout.state.config(agent_process(node)).read_text("utf-8"))
    return TlsFiles.model_validate(config["key_plane"]["tls"])


async def look(running: network.Running) -> Look:
    """Everything that this measures, now."""
    at, bits, cpu_seconds, counts = time.monotonic(), 0.0, 0.0, dict.fromkeys(BATCH_SECONDS, 0.0)
    for node in bare_relay.ROW:
        samples = await running.samples(node)
        cpu_seconds += network.of(samples, "process_cpu_seconds_total")
        confirmed = network.of(samples, "keyweave_agent_confirmed_bits_total", stream=STREAM)
        if confirmed >= BUFFER_KEYS * 256:
            raise RuntimeError(f"the buffer of {node} is full: it made no keys for a part of the time")
        bits += confirmed
        for bound, count in network.buckets(samples, "keyweave_agent_batch_seconds", stream=STREAM).items():
            counts[bound] += count
    return Look(at, bits, counts, cpu_seconds)


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
