"""Entries of the audit log and the chain that binds them. Pure.

An entry is one JSON object on one line, its members sorted by name, without spaces, in UTF-8:

    {"action":"CreateStream","actor":"keyweave://control/operator/olga",...,"digest":"<hex>",...,
     "previous_digest":"<hex>",...,"sequence":7,...}

`digest` is SHA-256 over the bytes of that line without its member `digest`, and `previous_digest` is the
digest of the entry before; of the first entry it is 64 zeros. So whoever changes, takes out, puts in or
moves an entry has to write every later one anew, and the digest of the newest, which was told outside
(an anchor), then no longer fits.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

NO_DIGEST = "0" * 64
# Faults that are told one by one; a log that was rewritten has one in every line.
FAULTS_TOLD = 20


class EntryKind(StrEnum):
    """What an entry tells of."""

    # A call that changes something, or shows who used which keys; refused ones too.
    ADMIN = "admin"
    # A policy sent to an agent, and what it answered.
    POLICY = "policy"
    # What protects keys has changed.
    PROTECTION = "protection"
    # Who leads, what left for an archive, what could not be kept: the log itself.
    LOG = "log"


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that happened, before it has its place in the chain. Never holds key material."""

    kind: EntryKind
    time_unix_seconds: float
    # The identity in a certificate, as its URI; of the controller itself, who runs it.
    actor: str
    # The call, `push`, `ack`, `nack`, or the event's kind.
    action: str
    # What it was done to: `stream/s`, `node/a`.
    subject: str
    # `ok`, or in one word why not.
    outcome: str
    # SHA-256 of the object as it was and as it is now, hexadecimal; empty where it is not there.
    before_digest: str = ""
    after_digest: str = ""
    details: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Head:
    """The newest entry: where the next one is chained."""

    sequence: int = 0
    digest: str = NO_DIGEST


@dataclass(frozen=True, slots=True)
class Chained:
    """An entry in its place."""

    sequence: int
    digest: str
    line: str

    @property
    def head(self) -> Head:
        """What the next entry is chained to."""
        return Head(self.sequence, self.digest)


def chained(entries: Iterable[Entry], head: Head) -> Iterator[Chained]:
    """These entries in their places after `head`."""
    for entry in entries:
        members = {
            "sequence": head.sequence + 1,
            "time": datetime.fromtimestamp(entry.time_unix_seconds, UTC).isoformat(timespec="microseconds"),
            "kind": entry.kind.value,
            "actor": entry.actor,
            "action": entry.action,
            "subject": entry.subject,
            "outcome": entry.outcome,
            "before_digest": entry.before_digest,
            "after_digest": entry.after_digest,
            "details": dict(entry.details),
            "previous_digest": head.digest,
        }
        digest = digest_of(members)
        one = Chained(head.sequence + 1, digest, canonical(members | {"digest": digest}).decode())
        head = one.head
        yield one


def canonical(members: Mapping[str, Any]) -> bytes:
    """A JSON object as it is written here: members sorted, no spaces, UTF-8."""
    text = json.dumps(members, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    # Half a character, which only a forged line has, must not end the check.
    return text.encode("utf-8", "surrogatepass")


def digest_of(members: Mapping[str, Any]) -> str:
    """SHA-256 over the canonical bytes of these members, hexadecimal."""
    return hashlib.sha256(canonical(members)).hexdigest()


# ---- checking -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong, and at which entry; 0 where that cannot be told."""

    sequence: int
    what: str

    def __str__(self) -> str:
        return f"entry {self.sequence}: {self.what}" if self.sequence else self.what


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a check found."""

    entries: int
    first: int
    head: Head
    anchors_checked: int
    faults: tuple[Fault, ...]
    # Faults beyond those that are told.
    more_faults: int = 0

    @property
    def is_whole(self) -> bool:
        """Whether nothing is wrong."""
        return not self.faults


class Verifier:
    """Takes the lines of a log in order and finds what does not fit.

    `anchors` are digests by sequence, as told outside. Unless `is_part`, a log that does not begin with
    entry 1 must hold the checkpoint that says which entries were archived.
    """

    def __init__(self, anchors: Iterable[tuple[int, str]] = (), *, is_part: bool = False) -> None:
        self._anchors = sorted(set(anchors))
        self._is_part = is_part
        self._told: list[Fault] = []
        self._faults = 0
        self._entries = 0
        self._first: tuple[int, str] | None = None
        self._head = Head()
        self._archived: set[tuple[str, str]] = set()
        self._digests: dict[int, str] = {sequence: "" for sequence, _ in self._anchors}

    def take(self, line: bytes) -> None:
        """The next line, without its line feed."""
        self._entries += 1
        after = f"the line after entry {self._head.sequence}" if self._head.sequence else "the first line"
        members = _members_of(line)
        if members is None:
            self._fault(0, f"{after} is no entry")
            return
        sequence, previous, stated = members["sequence"], members["previous_digest"], members["digest"]
        computed = digest_of({name: value for name, value in members.items() if name != "digest"})
        if computed != stated or canonical(members) != line:
            self._fault(sequence, "was altered: its digest is not that of what it says")
        if self._first is None:
            self._first = (sequence, previous)
            self._check_first(sequence, previous)
        else:
            self._check_place(sequence, previous)
        self._note(sequence, stated, members)

    def verdict(self) -> Verdict:
        """What was found, once all lines were taken."""
        first, before = self._first or (0, NO_DIGEST)
        if first > 1 and not self._is_part and (str(first - 1), before) not in self._archived:
            self._fault(
                first, f"is the first: entries 1 to {first - 1} are missing, and no checkpoint archived them"
            )
        checked = 0
        for sequence, digest in self._anchors:
            if sequence < first:
                continue  # archived
            checked += 1
            if sequence > self._head.sequence:
                self._fault(
                    sequence, f"is missing: it was anchored, and the log ends at entry {self._head.sequence}"
                )
            elif self._digests[sequence] != digest:
                self._fault(sequence, "is not the one that was anchored: the log was rewritten")
        return Verdict(
            self._entries, first, self._head, checked, tuple(self._told), self._faults - len(self._told)
        )

    def _check_first(self, sequence: int, previous: str) -> None:
        if sequence == 1 and previous != NO_DIGEST:
            self._fault(1, "says that something was before it")

    def _check_place(self, sequence: int, previous: str) -> None:
        last = self._head.sequence
        if sequence <= last:
            self._fault(sequence, f"stands after entry {last}: moved, or there twice")
        elif sequence > last + 1:
            gone = (
                f"entry {last + 1} is"
                if sequence == last + 2
                else f"entries {last + 1} to {sequence - 1} are"
            )
            self._fault(sequence, f"follows on entry {last}: {gone} missing")
        elif previous != self._head.digest:
            self._fault(sequence, f"is not chained to entry {last} as it stands here")

    def _note(self, sequence: int, digest: str, members: Mapping[str, Any]) -> None:
        self._head = Head(sequence, digest)
        if sequence in self._digests:
            self._digests[sequence] = digest
        if members["kind"] == EntryKind.LOG and members["action"] == CHECKPOINT:
            details = members["details"]
            # As text, so that no number is too long to read.
            self._archived.add((str(details.get("last")), str(details.get("digest"))))

    def _fault(self, sequence: int, what: str) -> None:
        self._faults += 1
        if len(self._told) < FAULTS_TOLD:
            self._told.append(Fault(sequence, what))


# The action of an entry that says: entries up to `last`, whose digest was `digest`, went to an archive.
CHECKPOINT = "checkpoint"
_TYPES: Mapping[str, type] = {
    "sequence": int,
    "time": str,
    "kind": str,
    "actor": str,
    "action": str,
    "subject": str,
    "outcome": str,
    "before_digest": str,
    "after_digest": str,
    "details": dict,
    "previous_digest": str,
    "digest": str,
}


def _members_of(line: bytes) -> dict[str, Any] | None:
    """An entry's members, all there and of their types; None for anything else."""
    try:
        members = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(members, dict) or members.keys() != _TYPES.keys():
        return None
    if not all(type(members[name]) is kind for name, kind in _TYPES.items()):
        return None
    return members
