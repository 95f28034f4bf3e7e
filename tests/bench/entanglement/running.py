"""Pairs over real processes: what a stream was promised when it began, and what it got.

`python -m tests.bench.entanglement running` brings scenarios up with `keyweave up`'s own processes, with few
memories (so that it is not agents in Python that bound the rate), asks for as many pairs as there can be
between the ends of their pair streams, and counts.
"""

import asyncio
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import yaml

from keyweave.v1 import admin_pb2, pairs_pb2
from tests.bench.network import Running, up

SCENARIOS = tuple(Path("scenarios") / f"{name}.yaml" for name in ("repeaters", "chain5", "tokyo-pairs"))
SECONDS = 180.0
MEMORIES = 4
# More than any of the scenarios can give.
ALL_HZ = 100.0
SETTLED_SECONDS = 120.0
TESTED_SECONDS = 600.0
# Tests of each link that is wanted before a plan is held to its word: half of the interval of a fidelity
# is 0.01 then.
LINK_TESTS = 1500
STATE = admin_pb2.PairStreamState


@dataclass(frozen=True, slots=True)
class Kept:
    """One stream: what was promised, and what came of it."""

    scenario: str
    stream: str
    hops: int
    seconds: float
    predicted_rate_hz: float
    delivered_rate_hz: float
    predicted_fidelity: float
    measured_fidelity: float
    fidelity_low: float
    fidelity_high: float

    @property
    def line(self) -> str:
        """For people."""
        ratio = self.delivered_rate_hz / self.predicted_rate_hz
        return (
            f"{self.scenario:<12} {self.stream:<10} {self.hops} hops"
            f"  rate {self.predicted_rate_hz:7.3f} predicted"
            f" {self.delivered_rate_hz:7.3f} delivered ({ratio:.2f})"
            f"  fidelity {self.predicted_fidelity:.3f} predicted {self.measured_fidelity:.3f} measured"
            f" ({self.fidelity_low:.3f}..{self.fidelity_high:.3f})"
        )


async def measured(scenario: Path, seconds: float = SECONDS) -> list[Kept]:
    """All pair streams of one scenario."""
    with tempfile.TemporaryDirectory() as directory:
        few = Path(directory) / scenario.name
        _write_with_few_memories(scenario, few)
        async with up(few, Path(directory) / "state") as network:
            wanted = await _asked_for_all(network)
            before = await _settled(network, wanted)
            began = time.monotonic()
            await asyncio.sleep(seconds)
            after, passed = await _statuses(network), time.monotonic() - began
    return [_kept(scenario, before[name], after[name], passed) for name in wanted]


def _write_with_few_memories(scenario: Path, to: Path) -> None:
    parsed = yaml.safe_load(scenario.read_text("utf-8"))
    for node in parsed["nodes"]:
        node["memories"] |= {"count": MEMORIES}
    to.write_text(yaml.safe_dump(parsed), "utf-8")


async def _asked_for_all(network: Running) -> list[str]:
    """Have every pair stream of the scenario want all that there is, half of it for tests."""
    names = []
    statuses = await _planned(network)
    for status in statuses:
        request = admin_pb2.DeletePairStreamRequest(name=status.pair_stream.name)
        await network.admin.DeletePairStream(request)
    # Links are tested while their memories have nothing else to do.
    await _tested(network, {link for status in statuses for path in status.paths for link in path.links})
    for status in statuses:
        name = status.pair_stream.name
        await network.admin.CreatePairStream(
            admin_pb2.CreatePairStreamRequest(
                pair_stream=pairs_pb2.PairStream(
                    name=f"all-{name}",
                    source_node=status.pair_stream.source_node,
                    target_node=status.pair_stream.target_node,
                    kind=pairs_pb2.PAIR_KIND_MEASURE_DIRECTLY,
                    min_fidelity=status.pair_stream.min_fidelity,
                    rate_hz=ALL_HZ,
                    test_ratio=0.5,
                ),
                force=True,
            )
        )
        names.append(f"all-{name}")
    return names


async def _planned(network: Running) -> list[admin_pb2.PairStreamStatus]:
    """The scenario's own pair streams, once each has a path."""
    deadline = time.monotonic() + SETTLED_SECONDS
    while True:
        streams = list((await _statuses(network)).values())
        if streams and all(status.paths for status in streams):
            return streams
        if time.monotonic() > deadline:
            raise RuntimeError(f"no paths within {SETTLED_SECONDS:g} s: {streams}")
        await asyncio.sleep(0.5)


async def _tested(network: Running, wanted: set[str]) -> None:
    deadline = time.monotonic() + TESTED_SECONDS
    while True:
        links = (await network.admin.ListPairLinks(admin_pb2.ListPairLinksRequest())).pair_links
        if all(link.tests_total >= LINK_TESTS for link in links if link.name in wanted):
            return
        if time.monotonic() > deadline:
            raise RuntimeError(f"fewer than {LINK_TESTS} tests within {TESTED_SECONDS:g} s: {links}")
        await asyncio.sleep(1)


async def _settled(network: Running, names: list[str]) -> dict[str, admin_pb2.PairStreamStatus]:
    """Once each stream has had a plan that stayed the same for some seconds, and pairs by it."""
    deadline = time.monotonic() + SETTLED_SECONDS
    paths: dict[str, list[str]] = {}
    since = time.monotonic()
    while True:
        now = await _statuses(network)
        seen = {name: [path.path_id for path in now[name].paths] for name in names}
        if seen != paths or not all(seen.values()):
            paths, since = seen, time.monotonic()
        elif time.monotonic() - since > 30:
            return now
        if time.monotonic() > deadline:
            raise RuntimeError(f"no plan that stays the same within {SETTLED_SECONDS:g} s: {now}")
        await asyncio.sleep(0.5)


async def _statuses(network: Running) -> dict[str, admin_pb2.PairStreamStatus]:
    answer = await network.admin.ListPairStreams(admin_pb2.ListPairStreamsRequest())
    return {status.pair_stream.name: status for status in answer.pair_streams}


def _kept(
    scenario: Path, before: admin_pb2.PairStreamStatus, after: admin_pb2.PairStreamStatus, seconds: float
) -> Kept:
    pairs = after.delivered_total + after.tested_total - before.delivered_total - before.tested_total
    tested = after.tested_total - before.tested_total
    # The prediction leaves tests out; all pairs count here.
    share = (pairs - tested) / pairs if pairs else 1.0
    return Kept(
        scenario.stem,
        after.pair_stream.name,
        max(len(path.links) for path in after.paths),
        seconds,
        before.predicted_rate_hz / share,
        pairs / seconds,
        before.predicted_fidelity,
        after.measured_fidelity,
        after.measured_fidelity_low,
        after.measured_fidelity_high,
    )


def running() -> list[dict[str, object]]:
    """Measure and tell."""
    kept = [one for scenario in SCENARIOS for one in asyncio.run(measured(scenario))]
    for one in kept:
        sys.stdout.write(one.line + "\n")
    return [asdict(one) for one in kept]
