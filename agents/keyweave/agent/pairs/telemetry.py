"""What the controller is told of memories, links and pair streams."""

import math

from keyweave.agent.drivers.memories import MemoryBankInfo
from keyweave.agent.pairs.engine import Engine
from keyweave.agent.pairs.memories import State
from keyweave.v1 import agent_pb2, types_pb2
from keyweave.v1 import pairs_pb2 as pb


def describe(bank: MemoryBankInfo, hello: agent_pb2.TelemetryHello) -> bool:
    """Put the memories into the hello; whether that changes it."""
    before = agent_pb2.TelemetryHello()
    before.CopyFrom(hello)
    hello.memory_bank.CopyFrom(
        pb.MemoryBank(
            model=bank.model,
            memories=bank.memories,
            t1_seconds=_or_zero(bank.t1_seconds),
            t2_seconds=_or_zero(bank.t2_seconds),
            swap_success_ratio=bank.swap_success_ratio,
            swap_fidelity=bank.swap_fidelity,
            readout_fidelity=bank.readout_fidelity,
            emulated=bank.emulated,
        )
    )
    del hello.pair_link_ends[:]
    for link in bank.links:
        hello.pair_link_ends.add(
            link=link.link,
            peer_node=link.peer_node,
            model=link.model,
            attempt_rate_hz=link.attempt_rate_hz,
            memories=link.memories,
            length_km=link.length_km,
        )
    return hello != before


def observe(engine: Engine, batch: agent_pb2.TelemetryBatch) -> None:
    """Add pairs as they stand to a batch of telemetry."""
    bank = engine.hardware.bank
    if bank is None:
        return
    for link in bank.links:
        totals = engine.hardware.totals(link.link)
        tests = engine.counts.links.get(link.link)
        up = engine.hardware.reached and totals.has_signal
        batch.pair_links.add(
            link=link.link,
            attempts_total=totals.attempts,
            heralds_total=totals.heralds,
            attempting_seconds_total=totals.attempting_seconds,
            tests=tests.to_message() if tests else None,
            status=types_pb2.LINK_STATUS_ACTIVE if up else types_pb2.LINK_STATUS_OFF,
        )
    register = engine.stock.register
    batch.memories.CopyFrom(
        pb.MemoryState(
            working=register.working if register else 0,
            attempting=register.count(State.ATTEMPTING) if register else 0,
            holding=register.count(State.HOLDING) if register else 0,
            t1_seconds=_or_zero(bank.t1_seconds),
            t2_seconds=_or_zero(bank.t2_seconds),
            swaps_total=engine.swaps.total,
            swaps_succeeded_total=engine.swaps.succeeded_total,
        )
    )
    kept = engine.shelf.kept_by_stream()
    for path in engine.paths.values():
        if not path.is_link_test:
            batch.pair_streams.append(engine.counts.to_message(path, kept[path.stream]))


def _or_zero(seconds: float) -> float:
    return 0.0 if math.isinf(seconds) else seconds
