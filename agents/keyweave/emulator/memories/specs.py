"""Quantum memories, pair links and wanted pair streams in a scenario file.

Defaults are of ideal memories and ordinary fibre. Every figure should say in `source` where it is from, or
that it is assumed.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Annotated, Any, Literal, Protocol

from pydantic import Field, model_validator

from keyweave.common.entanglement.heralding import (
    Heralding,
    attempt_rate_hz,
    double_click,
    fibre_transmission,
    single_click,
)
from keyweave.common.entanglement.memory import Memory
from keyweave.emulator.faults import unfit_for_pairs
from keyweave.emulator.hardware import Name, Part, Ratio
from keyweave.v1 import emulator_pb2, pairs_pb2

# (where, what is wrong) of a check that spans several fields.
Finding = tuple[tuple[str | int, ...], str]
_MOST_MEMORIES = 4096
_KINDS: dict[str, pairs_pb2.PairKind] = {
    "nl": pairs_pb2.PAIR_KIND_NETWORK_LAYER,
    "ck": pairs_pb2.PAIR_KIND_CREATE_KEEP,
    "md": pairs_pb2.PAIR_KIND_MEASURE_DIRECTLY,
}


class MemoriesSpec(Part):
    """The quantum memories of a node, all alike."""

    count: Annotated[int, Field(ge=1, le=_MOST_MEMORIES)]
    # Left out: they do not fade.
    t1_seconds: Annotated[float, Field(gt=0, le=1e9)] | None = None
    t2_seconds: Annotated[float, Field(gt=0, le=1e9)] | None = None
    swap_success_ratio: Ratio = 1.0
    # With what is missing from 1, a Bell measurement or the gates of a purification leave a pair fully mixed.
    swap_fidelity: Ratio = 1.0
    # How often the outcome of measuring one memory is the right one.
    readout_fidelity: Annotated[float, Field(ge=0.5, le=1)] = 1.0
    model: Annotated[str, Field(max_length=128)] = ""
    source: Any = None

    @model_validator(mode="after")
    def _times_agree(self) -> "MemoriesSpec":
        """T2 is at most twice T1."""
        self.coherence(1.0)
        return self

    def coherence(self, faster: float) -> Memory:
        """What waiting does, so many times faster than undisturbed."""
        t1, t2 = self.t1_seconds or math.inf, self.t2_seconds or math.inf
        if self.t1_seconds is not None and self.t2_seconds is None:
            t2 = 2.0 * t1
        return Memory(t1 / faster, t2 / faster)


class SingleClickSpec(Part):
    """One click heralds a pair: fast, and both memories are bright at times."""

    kind: Literal["single-click"]
    # How probably a memory is excited (alpha): the rate rises with it, the fidelity falls.
    bright_state_ratio: Annotated[float, Field(gt=0, le=0.5)]

    def attempt(self, transmission_ratio: float) -> Heralding:
        """One attempt, by the transmission of each arm."""
        return single_click(self.bright_state_ratio, transmission_ratio)


class DoubleClickSpec(Part):
    """Two clicks herald a pair: its fidelity does not suffer from loss, its rate does twice."""

    kind: Literal["double-click"]
    visibility_ratio: Ratio = 1.0

    def attempt(self, transmission_ratio: float) -> Heralding:
        """One attempt, by the transmission of each arm."""
        return double_click(transmission_ratio, self.visibility_ratio)


class PairLinkSpec(Part):
    """Fibre between two nodes with memories; photons from both meet halfway."""

    name: Name
    a: Name
    b: Name
    length_km: Annotated[float, Field(ge=0, le=10_000)]
    heralding: Annotated[SingleClickSpec | DoubleClickSpec, Field(discriminator="kind")]
    loss_db_per_km: Annotated[float, Field(ge=0, le=100)] = 0.2
    # Of each arm, besides its fibre: emission, collection, conversion, detection.
    other_loss_db: Annotated[float, Field(ge=0, le=100)] = 0.0
    # Of one pair of memories; never more than light going halfway and the herald coming back allow.
    attempt_rate_hz: Annotated[float, Field(gt=0, le=1e9)] = 1e5
    # Memories at each end that it can use at the same time; 0: any.
    memories: Annotated[int, Field(ge=0, le=_MOST_MEMORIES)] = 0
    model: Annotated[str, Field(max_length=128)] = ""
    source: Any = None

    @property
    def attempts_hz(self) -> float:
        """Attempts a second of one pair of memories."""
        return attempt_rate_hz(self.length_km, self.attempt_rate_hz)

    @property
    def undisturbed_hz(self) -> float:
        """Pairs a second of one pair of memories."""
        return self.attempts_hz * self.attempt(0.0).success_ratio

    def attempt(self, added_loss_db: float) -> Heralding:
        """One attempt; what is lost in addition is lost in both arms alike."""
        arm_db = self.other_loss_db + added_loss_db / 2.0
        return self.heralding.attempt(fibre_transmission(self.length_km / 2.0, self.loss_db_per_km, arm_db))

    def unfit(self, kind: emulator_pb2.FaultKind) -> str:
        """Why it cannot have a kind of fault; empty where it can."""
        return unfit_for_pairs(kind)


class PairStreamSpec(Part):
    """A pair stream to create; see keyweave.v1.PairStream. The controller checks it further."""

    name: Name
    source_node: Name
    target_node: Name
    type: Literal["nl", "ck", "md"]
    min_fidelity: Annotated[float, Field(gt=0.5, lt=1)]
    rate_hz: Annotated[float, Field(gt=0, le=1e6)]
    priority: Annotated[int, Field(ge=0, le=255)] = 0
    pair_count: Annotated[int, Field(ge=0, le=2**63)] = 0
    max_rounds: Annotated[int, Field(ge=0, le=4)] | None = None
    test_ratio: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    key_link: Name | None = None
    avoid_nodes: Annotated[tuple[Name, ...], Field(max_length=256)] = ()
    tenant: Annotated[str, Field(max_length=128)] = ""

    def to_proto(self) -> pairs_pb2.PairStream:
        """The pair stream as an operator creates it."""
        return pairs_pb2.PairStream(
            kind=_KINDS[self.type], **self.model_dump(exclude={"type"}, exclude_none=True)
        )


class _Node(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def memories(self) -> MemoriesSpec | None: ...


def misfits(
    nodes: Sequence[_Node],
    links: Iterable[str],
    pair_links: Sequence[PairLinkSpec],
    pair_streams: Sequence[PairStreamSpec],
) -> Iterator[Finding]:
    """What cannot be together; `links` are the names of the QKD links."""
    known = {node.name: node.memories is not None for node in nodes}
    taken = {name: f"a link '{name}' already" for name in links}
    for index, link in enumerate(pair_links):
        yield from _two_nodes(("pair_links", index), {"a": link.a, "b": link.b}, known)
        if link.name in taken:
            yield ("pair_links", index, "name"), f"there is {taken[link.name]}; choose another name"
        taken[link.name] = f"a pair link '{link.name}' already"
    for index, stream in enumerate(pair_streams):
        ends = {"source_node": stream.source_node, "target_node": stream.target_node}
        yield from _two_nodes(("pair_streams", index), ends, known)
        for position, node in enumerate(stream.avoid_nodes):
            if node not in known:
                yield ("pair_streams", index, "avoid_nodes", position), _no_node(node, known)
        if stream.key_link is None:
            continue
        if stream.type != "md":
            text = "keys are made of pairs that are measured directly; make it `type: md`, or leave it out"
            yield ("pair_streams", index, "key_link"), text
        if stream.key_link in taken:
            yield (
                ("pair_streams", index, "key_link"),
                f"there is {taken[stream.key_link]}; choose another name",
            )
        taken[stream.key_link] = f"a key link '{stream.key_link}' already"


def _two_nodes(
    where: tuple[str | int, ...], ends: dict[str, str], known: dict[str, bool]
) -> Iterator[Finding]:
    for field, name in ends.items():
        if name not in known:
            yield (*where, field), _no_node(name, known)
        elif not known[name]:
            having = ", ".join(node for node, has in known.items() if has) or "none"
            yield (*where, field), f"node '{name}' has no memories; nodes that have some are {having}"
    first, second = ends.values()
    if first == second:
        yield (*where, list(ends)[1]), f"it joins two different nodes, but both ends are '{first}'"


def _no_node(name: str, known: Iterable[str]) -> str:
    return f"there is no node '{name}'; nodes are {', '.join(known)}"
