"""What a run irrevocably did, as test builds record it.

One file per incarnation of a process; one JSON object per line, handed to the kernel in a single write before
the act that it records becomes visible, so that kill -9 loses no visible act. Keys appear only as HMAC-SHA256
under a key made for the run: equal keys can be told, none can be recovered.
"""

import heapq
import hmac
import json
import os
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from keyweave.agent.observer import Observer, PadUse, Protected, Side
from keyweave.common.names import LinkName, NodeName, PathId, SaeId, StreamName

IntentAction = Literal["created", "updated", "deleted"]


@dataclass(frozen=True, slots=True)
class Line:
    """Where a record stands: what a violation is proved with."""

    file: str
    number: int
    text: str

    def __str__(self) -> str:
        return f"{self.file}:{self.number}: {self.text}"


@dataclass(frozen=True, slots=True)
class PadUsed:
    """`node` used bytes [start, end) of one lane of one pool, at one end."""

    link: str
    pool_id: str
    first_lane: bool
    node: str
    start: int
    end: int
    use: PadUse
    first_block: int
    block_bytes: int
    line: Line


@dataclass(frozen=True, slots=True)
class BlockTaken:
    """`node` took a device block of a link."""

    link: str
    node: str
    number: int
    line: Line


@dataclass(frozen=True, slots=True)
class KeyDelivered:
    """An SAE was given a key, and how that key had been made."""

    key_id: str
    side: Side
    sae: str
    peer_sae: str
    stream: str
    mac: str
    protection: Protected
    paths: tuple[str, ...]
    k: int
    require_qkd: bool
    require_pqc: bool
    required_k: int
    line: Line
    # Further slaves that the master named, each with the stream over which its copy goes.
    further: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class PolicyApplied:
    """A node runs by this policy from here on."""

    node: str
    epoch: int
    version: int
    digest: str
    line: Line


@dataclass(frozen=True, slots=True)
class StreamRequested:
    """A change of a stream is about to be asked for; until it is acknowledged both outcomes are right."""

    name: str
    line: Line


@dataclass(frozen=True, slots=True)
class StreamAcknowledged:
    """The controller told an operator that a change of a stream is done. `saes` is empty if not recorded."""

    name: str
    action: IntentAction
    revision: int
    epoch: int
    saes: tuple[str, ...]
    line: Line


@dataclass(frozen=True, slots=True)
class StreamsPresent:
    """The streams, with their revisions, that a controller holds once it has started."""

    revisions: Mapping[str, int]
    epoch: int
    line: Line


Record = (
    PadUsed
    | BlockTaken
    | KeyDelivered
    | PolicyApplied
    | StreamRequested
    | StreamAcknowledged
    | StreamsPresent
)
_R = TypeVar("_R", bound=Record)


@dataclass(frozen=True, slots=True)
class History:
    """The records of a run in the order in which they were made."""

    records: tuple[Record, ...]

    def of(self, kind: type[_R]) -> tuple[_R, ...]:
        """All records of one kind; a run that has none of a kind proves nothing about it."""
        return tuple(record for record in self.records if isinstance(record, kind))


class Recorder(Observer):
    """Appends the records of one process incarnation to a file of its own."""

    def __init__(self, path: Path, process: str, incarnation: str, checker_key: bytes) -> None:
        self._envelope = {"process": process, "incarnation": incarnation}
        self._checker_key = checker_key
        # O_EXCL: a second incarnation that wrote to the same file would blur who did what.
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)

    def close(self) -> None:
        """Close the file; nothing may be recorded afterwards."""
        os.close(self._descriptor)

    def pad_used(
        self,
        *,
        link: LinkName,
        pool_id: bytes,
        first_lane: bool,
        node: NodeName,
        start: int,
        end: int,
        use: PadUse,
        first_block: int,
        block_bytes: int,
    ) -> None:
        self._append(
            "pad_used",
            link=link,
            pool_id=pool_id.hex(),
            first_lane=first_lane,
            node=node,
            start=start,
            end=end,
            use=use,
            first_block=first_block,
            block_bytes=block_bytes,
        )

    def block_taken(self, *, link: LinkName, node: NodeName, number: int) -> None:
        self._append("block_taken", link=link, node=node, number=number)

    def key_delivered(
        self,
        *,
        key_id: uuid.UUID,
        side: Side,
        sae: SaeId,
        peer_sae: SaeId,
        stream: StreamName,
        key: bytes,
        protection: Protected,
        paths: tuple[PathId, ...],
        k: int,
        require_qkd: bool,
        require_pqc: bool,
        required_k: int,
        further: tuple[tuple[SaeId, StreamName], ...] = (),
    ) -> None:
        self._append(
            "key_delivered",
            key_id=str(key_id),
            side=side,
            sae=sae,
            peer_sae=peer_sae,
            stream=stream,
            mac=hmac.digest(self._checker_key, key, "sha256").hex(),
            protection=protection,
            paths=list(paths),
            k=k,
            require_qkd=require_qkd,
            require_pqc=require_pqc,
            required_k=required_k,
            further=[list(each) for each in further],
        )

    def policy_applied(self, *, node: NodeName, epoch: int, version: int, digest: bytes) -> None:
        self._append("policy_applied", node=node, epoch=epoch, version=version, digest=digest.hex())

    def intent_requested(self, *, name: StreamName) -> None:
        """Call before a create, update or delete of a stream is sent."""
        self._append("intent_requested", intent="stream", name=name)

    def intent_acknowledged(
        self,
        *,
        name: StreamName,
        action: IntentAction,
        revision: int,
        epoch: int,
        saes: tuple[SaeId, ...] = (),
    ) -> None:
        """Call when a create, update or delete of a stream has been acknowledged."""
        self._append(
            "intent_acknowledged",
            intent="stream",
            name=name,
            action=action,
            revision=revision,
            epoch=epoch,
            saes=list(saes),
        )

    def intent_present(self, *, revisions: Mapping[StreamName, int], epoch: int) -> None:
        """Call with what a controller holds after a restart."""
        self._append("intent_present", intent="stream", revisions=dict(revisions), epoch=epoch)

    def _append(self, kind: str, **fields: Any) -> None:
        text = json.dumps({"t": time.time(), **self._envelope, "kind": kind, **fields}, separators=(",", ":"))
        data = text.encode() + b"\n"
        # The page cache survives the process; nothing here kills the machine, so no fsync.
        if os.write(self._descriptor, data) != len(data):
            raise OSError(f"record of {kind} was cut short: is the disk full?")


def read(paths: Iterable[Path]) -> History:
    """The history in these files, merged by time; within a file the order of its lines stands."""
    merged = heapq.merge(*(_timed(path) for path in paths), key=lambda item: item[0])
    return History(tuple(record for _, record in merged))


def _timed(path: Path) -> Iterator[tuple[float, Record]]:
    latest = 0.0
    lines = path.read_text(encoding="utf-8").split("\n")
    # What follows the last newline is empty, or the part that a killed process got out: no act followed it.
    for number, text in enumerate(lines[:-1], start=1):
        line = Line(path.name, number, text)
        try:
            fields = json.loads(text)
            # A clock that was set back must not reorder a file.
            latest = max(latest, float(fields["t"]))
            record = _record(fields, line)
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"not a record of a history: {line}") from error
        yield latest, record


def _record(fields: Mapping[str, Any], line: Line) -> Record:
    rest = {name: value for name, value in fields.items() if name not in _ENVELOPE}
    match fields["kind"]:
        case "pad_used":
            return PadUsed(**{**rest, "use": PadUse(rest["use"])}, line=line)
        case "block_taken":
            return BlockTaken(**rest, line=line)
        case "key_delivered":
            typed = {
                "side": Side(rest["side"]),
                "protection": Protected(rest["protection"]),
                "paths": tuple(rest["paths"]),
                "further": tuple((sae, stream) for sae, stream in rest.get("further", ())),
            }
            return KeyDelivered(**{**rest, **typed}, line=line)
        case "policy_applied":
            return PolicyApplied(**rest, line=line)
        case "intent_requested":
            return StreamRequested(**rest, line=line)
        case "intent_acknowledged":
            return StreamAcknowledged(**{**rest, "saes": tuple(rest["saes"])}, line=line)
        case "intent_present":
            return StreamsPresent(**rest, line=line)
        case kind:
            raise ValueError(f"unknown kind '{kind}'")


_ENVELOPE = frozenset({"t", "process", "incarnation", "kind", "intent"})
