"""The chain of the audit log: whatever is done to a log afterwards shows, and where."""

import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyweave.controller.audit.chain import (
    CHECKPOINT,
    NO_DIGEST,
    Chained,
    Entry,
    EntryKind,
    Head,
    Verdict,
    Verifier,
    chained,
)

ENTRY = Entry(
    EntryKind.ADMIN, 1_763_755_200.25, "keyweave://control/operator/olga", "CreateStream", "stream/s", "ok",
    after_digest="ab" * 32, details={"from": "10.0.0.7", "reason": "größer"},
)  # fmt: skip


def log(count: int) -> list[Chained]:
    return list(chained((replace(ENTRY, subject=f"stream/s{n}") for n in range(1, count + 1)), Head()))


def checked(lines: Iterable[Chained | bytes], *anchors: tuple[int, str], is_part: bool = False) -> Verdict:
    verifier = Verifier(anchors, is_part=is_part)
    for line in lines:
        verifier.take(line if isinstance(line, bytes) else line.line.encode())
    return verifier.verdict()


def faults(lines: Iterable[Chained | bytes], *anchors: tuple[int, str]) -> list[str]:
    return [str(fault) for fault in checked(lines, *anchors).faults]


def test_an_entry_is_chained_as_the_page_says() -> None:
    """By hand: what somebody would write who has only docs/audit.md."""
    first, second = log(2)
    members = json.loads(second.line)
    stated = members.pop("digest")
    text = json.dumps(members, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert hashlib.sha256(text.encode()).hexdigest() == stated
    assert members["previous_digest"] == json.loads(first.line)["digest"]
    assert json.loads(first.line)["previous_digest"] == NO_DIGEST == "0" * 64
    assert members["time"] == "2025-11-21T20:00:00.250000+00:00"
    assert members["details"] == {"from": "10.0.0.7", "reason": "größer"}


def test_a_log_that_nobody_touched_is_whole() -> None:
    entries = log(5)
    verdict = checked(entries, (3, entries[2].digest), (5, entries[4].digest))
    assert verdict.is_whole
    assert (verdict.entries, verdict.first, verdict.head, verdict.anchors_checked) == (
        5,
        1,
        entries[4].head,
        2,
    )
    assert checked([]).is_whole


@pytest.mark.parametrize(
    "name", ["sequence", "time", "kind", "actor", "action", "subject", "outcome", "before_digest", "details"]
)
def test_whatever_is_altered_in_an_entry_shows_at_that_entry(name: str) -> None:
    entries = log(5)
    members = json.loads(entries[2].line)
    members[name] = 9 if name == "sequence" else {} if name == "details" else "x"
    lines: list[Chained | bytes] = [*entries]
    lines[2] = json.dumps(members, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    number = 9 if name == "sequence" else 3
    assert faults(lines)[0] == f"entry {number}: was altered: its digest is not that of what it says"


def test_an_entry_that_is_altered_and_chained_anew_shows_at_the_next() -> None:
    entries = log(5)
    (forged,) = chained([replace(ENTRY, actor="keyweave://control/operator/eve")], entries[1].head)
    assert faults([*entries[:2], forged, *entries[3:]]) == [
        "entry 4: is not chained to entry 3 as it stands here"
    ]


def test_a_log_that_is_rewritten_from_an_entry_on_shows_only_by_an_anchor() -> None:
    entries = log(5)
    forged = list(chained([replace(ENTRY, actor="eve")] * 3, entries[1].head))
    lines = [*entries[:2], *forged]
    assert faults(lines) == []
    assert faults(lines, (4, entries[3].digest)) == [
        "entry 4: is not the one that was anchored: the log was rewritten"
    ]


def test_a_removed_entry_is_named() -> None:
    entries = log(6)
    assert faults([*entries[:2], *entries[3:]]) == ["entry 4: follows on entry 2: entry 3 is missing"]
    assert faults([*entries[:2], *entries[4:]]) == ["entry 5: follows on entry 2: entries 3 to 4 are missing"]


def test_entries_that_changed_places_are_named() -> None:
    entries = log(4)
    assert faults([entries[0], entries[2], entries[1], entries[3]]) == [
        "entry 3: follows on entry 1: entry 2 is missing",
        "entry 2: stands after entry 3: moved, or there twice",
        "entry 4: follows on entry 2: entry 3 is missing",
    ]
    assert faults([*entries, entries[3]]) == ["entry 4: stands after entry 4: moved, or there twice"]


def test_a_log_whose_end_is_cut_off_shows_by_an_anchor_only() -> None:
    entries = log(5)
    assert faults(entries[:3]) == []
    assert faults(entries[:3], (5, entries[4].digest)) == [
        "entry 5: is missing: it was anchored, and the log ends at entry 3"
    ]
    assert faults([], (5, entries[4].digest)) == [
        "entry 5: is missing: it was anchored, and the log ends at entry 0"
    ]


def test_a_log_whose_beginning_is_cut_off_needs_the_checkpoint_that_archived_it() -> None:
    entries = log(5)
    assert faults(entries[2:]) == [
        "entry 3: is the first: entries 1 to 2 are missing, and no checkpoint archived them"
    ]
    assert checked(entries[2:], is_part=True).is_whole

    def with_checkpoint(last: int, digest: str) -> list[Chained]:
        details = {"last": str(last), "digest": digest}
        entry = replace(ENTRY, kind=EntryKind.LOG, action=CHECKPOINT, details=details)
        return [*entries[2:], *chained([entry], entries[4].head)]

    assert faults(with_checkpoint(2, entries[1].digest)) == []
    # Anchors of what is archived have nothing to be held against.
    assert checked(with_checkpoint(2, entries[1].digest), (1, "00" * 32)).anchors_checked == 0
    assert faults(with_checkpoint(2, entries[0].digest))
    assert faults(with_checkpoint(1, entries[0].digest))


def test_an_operators_entry_is_no_checkpoint_whatever_its_details_say() -> None:
    entries = log(2)
    details = {"last": "1", "digest": entries[0].digest}
    forged = chained([replace(ENTRY, action=CHECKPOINT, details=details)], entries[1].head)
    assert faults([entries[1], *forged])


@pytest.mark.parametrize(
    "change",
    [
        lambda line: line.replace(b'"action"', b' "action"'),
        lambda line: line + b" ",
        lambda line: line.replace(b'"kind":"admin"', b'"kind":"x","kind":"admin"'),
        lambda line: line.replace("ö".encode(), b"\\u00f6"),
    ],
)
def test_an_entry_has_one_form_only(change: Callable[[bytes], bytes]) -> None:
    first, second = (entry.line.encode() for entry in log(2))
    assert change(second) != second
    assert faults([first, change(second)]) == ["entry 2: was altered: its digest is not that of what it says"]


@pytest.mark.parametrize(
    "line", [b"", b"{", b"[]", b"{}", b"\xff", b"null", b'{"sequence":"2"}', b"[" * 100_000, b"1" * 5000]
)
def test_what_is_no_entry_is_told_and_the_rest_still_checked(line: bytes) -> None:
    entries = log(3)
    assert faults([entries[0], line, entries[1], entries[2]]) == ["the line after entry 1 is no entry"]
    assert faults([line]) == ["the first line is no entry"]


def test_a_log_full_of_faults_tells_the_first_ones_and_counts_the_rest() -> None:
    verdict = checked([b"x"] * 1000)
    assert (len(verdict.faults), verdict.more_faults) == (20, 980)


@given(st.integers(1, 8), st.data())
def test_no_flip_of_a_byte_and_no_line_gone_goes_unseen(count: int, data: st.DataObject) -> None:
    entries = log(count)
    lines = [entry.line.encode() for entry in entries]
    anchor = (count, entries[-1].digest)
    index = data.draw(st.integers(0, count - 1))
    if data.draw(st.booleans()):
        del lines[index]
    else:
        at = data.draw(st.integers(0, len(lines[index]) - 1))
        other = data.draw(st.integers(0, 255).filter(lambda byte: byte != lines[index][at]))
        lines[index] = lines[index][:at] + bytes([other]) + lines[index][at + 1 :]
    assert not checked(lines, anchor).is_whole
