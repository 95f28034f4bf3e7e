"""The timeline of a scenario: which fault begins where and when, as its file says it."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Annotated, Any, Protocol

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo, field_validator

from keyweave.emulator.faults import BY_WORD, KINDS, OF_NODES, Fault
from keyweave.v1 import emulator_pb2 as pb

# How the controller is called as the peer of a network fault.
CONTROLLER = "controller"
YEAR_SECONDS = 366 * 86_400


def _known(word: Any) -> Any:
    if not isinstance(word, str) or word not in BY_WORD:
        raise ValueError(f"there is no fault {word!r}; faults are {', '.join(BY_WORD)}")
    return word


class TimelineEntry(BaseModel):
    """One fault that is to come. Seconds are those of the scenario, from the emulator's start."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    at_seconds: Annotated[float, Field(ge=0, le=YEAR_SECONDS)]
    fault: Annotated[str, BeforeValidator(_known)]
    # One of the two, as the fault is of a link or of a node.
    link: str | None = None
    node: str | None = None
    # Of faults of the classical network: between the node and this one (or `controller`) only.
    peer: str | None = None
    # Left out: the fault's default.
    magnitude: float | None = None
    ramp_seconds: Annotated[float, Field(ge=0, le=YEAR_SECONDS)] = 0.0
    # Left out: until somebody restores the link or node.
    duration_seconds: Annotated[float | None, Field(gt=0, le=YEAR_SECONDS)] = None

    @field_validator("magnitude")
    @classmethod
    def _makes_sense(cls, magnitude: float | None, info: ValidationInfo) -> float | None:
        if magnitude is None or "fault" not in info.data:
            return magnitude
        objection = KINDS[BY_WORD[info.data["fault"]]].objection(magnitude)
        if objection:
            raise ValueError(objection)
        return magnitude

    @field_validator("ramp_seconds")
    @classmethod
    def _can_grow(cls, ramp_seconds: float, info: ValidationInfo) -> float:
        word = info.data.get("fault")
        if ramp_seconds and word and KINDS[BY_WORD[word]].is_switch:
            raise ValueError(f"{word} is there or it is not: it has no ramp; leave it out")
        return ramp_seconds

    @property
    def kind(self) -> pb.FaultKind:
        """The protocol's number for it."""
        return BY_WORD[self.fault]

    @property
    def magnitude_text(self) -> str:
        """The magnitude with its unit; empty for a switch."""
        kind = KINDS[self.kind]
        return "" if kind.is_switch else f"{self.magnitude or kind.default:g} {kind.unit}"

    def to_fault(self) -> Fault:
        """The fault that it brings about."""
        return Fault(
            kind=self.kind,
            magnitude=self.magnitude or KINDS[self.kind].default,
            begins_seconds=self.at_seconds,
            ramp_seconds=self.ramp_seconds,
            duration_seconds=self.duration_seconds,
            planned=True,
            peer=self.peer or "",
        )


class _Named(Protocol):
    @property
    def name(self) -> str: ...


class _Node(_Named, Protocol):
    @property
    def memories(self) -> object | None: ...


class _Link(_Named, Protocol):
    def unfit(self, kind: pb.FaultKind) -> str: ...


def misfits(
    timeline: Sequence[TimelineEntry], nodes: Sequence[_Node], links: Sequence[_Link]
) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Entries that this network cannot have: where, and what is wrong."""
    links_by_name = {link.name: link for link in links}
    node_names = [node.name for node in nodes]
    without_memories = {node.name for node in nodes if node.memories is None}
    for index, entry in enumerate(timeline):
        wanted, other = ("node", "link") if entry.kind in OF_NODES else ("link", "node")
        name = getattr(entry, wanted)
        if getattr(entry, other) is not None:
            yield ("timeline", index, other), f"{entry.fault} is a fault of a {wanted}; name that instead"
        elif name is None:
            yield ("timeline", index, "fault"), f"{entry.fault} needs the {wanted} that has it"
        elif wanted == "node" and name not in node_names:
            yield ("timeline", index, wanted), f"there is no node '{name}'; nodes are {_listed(node_names)}"
        elif wanted == "link" and name not in links_by_name:
            yield (
                ("timeline", index, wanted),
                f"there is no link '{name}'; links are {_listed(links_by_name)}",
            )
        elif wanted == "link" and (why := links_by_name[name].unfit(entry.kind)):
            yield ("timeline", index, "fault"), f"link '{name}' cannot have it: {why}"
        elif KINDS[entry.kind].needs_memories and name in without_memories:
            yield ("timeline", index, wanted), f"node '{name}' has no memories; {entry.fault} is of those"
        if entry.peer is not None and (why := _unfit_peer(entry, node_names)):
            yield ("timeline", index, "peer"), why


def _unfit_peer(entry: TimelineEntry, nodes: Sequence[str]) -> str:
    if not KINDS[entry.kind].is_of_network:
        return f"{entry.fault} is not between two ends of the classical network; leave it out"
    if entry.peer == entry.node:
        return f"'{entry.peer}' is the node itself; name another, or leave it out for all"
    if entry.peer not in (*nodes, CONTROLLER):
        return f"there is no node '{entry.peer}'; nodes are {_listed(nodes)}, and {CONTROLLER}"
    return ""


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names) or "none"
