"""The invariant checker passes what is right and finds every kind of wrong."""

import hashlib
import itertools
import json
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyweave.agent.observer import Observer, PadUse, Protected, Side
from keyweave.common.names import LinkName, NodeName, PathId, SaeId, StreamName
from tests.checker.history import (
    BlockTaken,
    History,
    KeyDelivered,
    Line,
    PadUsed,
    PolicyApplied,
    Record,
    Recorder,
    StreamAcknowledged,
    StreamRequested,
    StreamsPresent,
    read,
)
from tests.checker.invariants import check

BLOCK_BYTES = 64
LANE_BYTES = BLOCK_BYTES // 2
INJECTED = Line("injected", 1, "{}")


@dataclass
class Run:
    """Builds a history that keeps every invariant, record by record."""

    records: list[Record] = field(default_factory=list)

    def line(self) -> Line:
        return Line("run.jsonl", len(self.records) + 1, "{}")

    def pool(self, pool_id: str, first_block: int, lengths: list[int]) -> int:
        """Both ends use consecutive ranges of both lanes; returns the first block that stays untouched."""
        for first_lane, (sender, receiver) in ((True, ("a", "b")), (False, ("b", "a"))):
            start = 0
            for length in lengths:
                for node, use in ((sender, PadUse.SEND), (receiver, PadUse.RECEIVE)):
                    self.records.append(
                        PadUsed(
                            link="l",
                            pool_id=pool_id,
                            first_lane=first_lane,
                            node=node,
                            start=start,
                            end=start + length,
                            use=use,
                            first_block=first_block,
                            block_bytes=BLOCK_BYTES,
                            line=self.line(),
                        )
                    )
                start += length
        following = first_block + -(-sum(lengths) // LANE_BYTES)
        for number in range(first_block, following):
            for node in ("a", "b"):
                self.records.append(BlockTaken("l", node, number, self.line()))
        return following

    def key(self, number: int, protection: Protected, k: int, *, collected: bool) -> None:
        paths = tuple(f"p{share}" for share in range(k)) if protection is not Protected.PQC else ()
        for side, sae, peer_sae in ((Side.MASTER, "x", "y"), (Side.SLAVE, "y", "x")):
            if side is Side.SLAVE and not collected:
                continue
            self.records.append(
                KeyDelivered(
                    key_id=str(uuid.UUID(int=number)),
                    side=side,
                    sae=sae,
                    peer_sae=peer_sae,
                    stream="s",
                    mac=hashlib.sha256(str(number).encode()).hexdigest(),
                    protection=protection,
                    paths=paths,
                    k=len(paths),
                    require_qkd=protection is Protected.QKD,
                    require_pqc=protection is Protected.PQC,
                    required_k=len(paths),
                    line=self.line(),
                )
            )

    def policy(self, epoch: int, version: int) -> None:
        self.records += [
            PolicyApplied(node, epoch, version, f"{epoch}.{version}", self.line()) for node in ("a", "b")
        ]

    def stream(self, name: str, updates: int, *, deleted: bool) -> dict[str, int]:
        actions = ["created", *["updated"] * updates, *["deleted"] * deleted]
        for revision, action in enumerate(actions, start=1):
            self.records.append(StreamRequested(name, self.line()))
            self.records.append(
                StreamAcknowledged(name, action, revision, 1, ("x", "y"), self.line())  # type: ignore[arg-type]
            )
        return {} if deleted else {name: len(actions)}

    def present(self, revisions: dict[str, int]) -> None:
        self.records.append(StreamsPresent(revisions, 2, self.line()))


@st.composite
def good_runs(draw: st.DrawFn) -> list[Record]:
    """Every kind of record at least once, so that every violation can be injected."""
    run = Run()
    next_block = 1
    for number in range(draw(st.integers(1, 3))):
        lengths = draw(st.lists(st.integers(1, 3 * LANE_BYTES), min_size=1, max_size=5))
        next_block = run.pool(f"pool{number}", next_block, lengths)
    for number in range(draw(st.integers(2, 5))):
        # The first has both sides, QKD and ML-KEM, and two shares.
        protection = draw(st.sampled_from(Protected)) if number else Protected.HYBRID
        run.key(
            number,
            protection,
            draw(st.integers(1, 3)) if number else 2,
            collected=not number or draw(st.booleans()),
        )
    for epoch, version in sorted(draw(st.sets(st.tuples(st.integers(2, 4), st.integers(2, 4)), min_size=1))):
        run.policy(epoch, version)
        if draw(st.booleans()):
            run.policy(epoch, version)
    alive = run.stream("s", draw(st.integers(1, 3)), deleted=False)
    alive |= run.stream("t", draw(st.integers(0, 2)), deleted=draw(st.booleans()))
    run.stream("gone", 0, deleted=True)
    for _ in range(draw(st.integers(1, 2))):
        run.present(alive)
    return run.records


Draw = Callable[[st.SearchStrategy[Any]], Any]
Mutation = Callable[[list[Record], Draw], Record | tuple[Record, Record]]


R = TypeVar("R", bound=Record)


def first(records: list[Record], kind: type[R], **wanted: Any) -> R:
    return next(
        r for r in records if isinstance(r, kind) and all(getattr(r, n) == v for n, v in wanted.items())
    )


def any_of(records: list[Record], kind: type[R], draw: Draw) -> R:
    chosen: R = draw(st.sampled_from([r for r in records if isinstance(r, kind)]))
    return chosen


def pad_reused(records: list[Record], draw: Draw) -> Record:
    pad = any_of(records, PadUsed, draw)
    start = draw(st.integers(pad.start, pad.end - 1))
    return replace(
        pad, start=start, end=draw(st.integers(start + 1, start + 50)), node=draw(st.sampled_from("abc"))
    )


def own_pad_used_to_receive(records: list[Record], draw: Draw) -> Record:
    pad = any_of(records, PadUsed, draw)
    other_use = PadUse.SEND if pad.use is PadUse.RECEIVE else PadUse.RECEIVE
    return replace(pad, use=other_use)


def block_in_two_pools(records: list[Record], draw: Draw) -> Record:
    pad = any_of(records, PadUsed, draw)
    block = pad.first_block + draw(st.integers(pad.start, pad.end - 1)) // LANE_BYTES
    offset = draw(st.integers(0, block - 1))
    return replace(
        pad,
        pool_id="another",
        first_block=block - offset,
        start=offset * LANE_BYTES,
        end=offset * LANE_BYTES + draw(st.integers(1, LANE_BYTES)),
        first_lane=draw(st.booleans()),
    )


def empty_pad(records: list[Record], draw: Draw) -> Record:
    pad = any_of(records, PadUsed, draw)
    return replace(pad, end=pad.start)


def block_taken_again(records: list[Record], draw: Draw) -> Record:
    return any_of(records, BlockTaken, draw)


def key_delivered_again(records: list[Record], draw: Draw) -> Record:
    return any_of(records, KeyDelivered, draw)


def key_that_nobody_drew(records: list[Record], draw: Draw) -> Record:
    return replace(first(records, KeyDelivered, side=Side.SLAVE), key_id="undrawn", mac="undrawn")


def substituted(
    records: list[Record], kind: type[R], wanted: dict[str, Any], **changes: Any
) -> tuple[Record, Record]:
    old = first(records, kind, **wanted)
    return old, replace(old, **changes)


def slave_is_somebody_else(records: list[Record], draw: Draw) -> tuple[Record, Record]:
    return substituted(records, KeyDelivered, {"side": Side.SLAVE}, sae="z")


def slave_names_another_master(records: list[Record], draw: Draw) -> tuple[Record, Record]:
    return substituted(records, KeyDelivered, {"side": Side.SLAVE}, peer_sae="z")


def key_of_another_stream(records: list[Record], draw: Draw) -> tuple[Record, Record]:
    return substituted(records, KeyDelivered, {"side": Side.SLAVE}, stream="t")


def sae_outside_the_stream(records: list[Record], draw: Draw) -> Record:
    key = first(records, KeyDelivered, side=Side.MASTER)
    return replace(key, key_id="new", mac="new", sae="z")


def sides_differ(records: list[Record], draw: Draw) -> tuple[Record, Record]:
    return substituted(records, KeyDelivered, {"side": draw(st.sampled_from(Side)), "k": 2}, mac="other")


def bytes_of_another_key(records: list[Record], draw: Draw) -> Record:
    return replace(first(records, KeyDelivered, side=Side.MASTER), key_id="new")


def no_qkd_where_required(records: list[Record], draw: Draw) -> tuple[Record, Record]:
    return substituted(records, KeyDelivered, {}, protection=Protected.PQC, paths=(), k=0, require_qkd=True)


def no_pqc_where_required(records: list[Record], draw: Draw) -> tuple[Record, Record]:
    return substituted(records, KeyDelivered, {}, protection=Protected.QKD, require_pqc=True)


def too_few_shares(records: list[Record], draw: Draw) -> tuple[Record, Record]:
    return substituted(records, KeyDelivered, {"k": 2}, k=1, paths=("p0",))


def two_shares_over_one_path(records: list[Record], draw: Draw) -> tuple[Record, Record]:
    return substituted(records, KeyDelivered, {"k": 2}, paths=("p0", "p0"))


def quantum_key_without_a_path(records: list[Record], draw: Draw) -> tuple[Record, Record]:
    return substituted(records, KeyDelivered, {"k": 2}, paths=(), k=0, required_k=0)


def pqc_key_with_a_path(records: list[Record], draw: Draw) -> tuple[Record, Record]:
    return substituted(records, KeyDelivered, {"k": 2}, protection=Protected.PQC)


def sides_are_told_different_paths(records: list[Record], draw: Draw) -> tuple[Record, Record]:
    return substituted(records, KeyDelivered, {"side": Side.SLAVE}, paths=("p0", "p9"))


def older_epoch(records: list[Record], draw: Draw) -> Record:
    newest = [r for r in records if isinstance(r, PolicyApplied)][-1]
    epoch = draw(st.integers(1, newest.epoch - 1))
    return replace(newest, epoch=epoch, version=draw(st.integers(1, 9)), digest="old")


def older_version(records: list[Record], draw: Draw) -> Record:
    newest = [r for r in records if isinstance(r, PolicyApplied)][-1]
    return replace(newest, version=draw(st.integers(1, newest.version - 1)), digest="old")


def half_a_policy(records: list[Record], draw: Draw) -> Record:
    newest = [r for r in records if isinstance(r, PolicyApplied)][-1]
    return replace(newest, digest="half")


def stream_lost(records: list[Record], draw: Draw) -> Record:
    return StreamsPresent({}, 3, INJECTED)


def update_lost(records: list[Record], draw: Draw) -> Record:
    present = first(records, StreamsPresent)
    return replace(present, revisions={**present.revisions, "s": 1})


def deleted_stream_is_back(records: list[Record], draw: Draw) -> Record:
    present = first(records, StreamsPresent)
    return replace(present, revisions={**present.revisions, "gone": 1})


MUTATIONS: list[tuple[int, Mutation]] = [
    (1, pad_reused),
    (1, own_pad_used_to_receive),
    (1, block_in_two_pools),
    (1, empty_pad),
    (1, block_taken_again),
    (1, key_delivered_again),
    (1, key_that_nobody_drew),
    (1, slave_is_somebody_else),
    (1, slave_names_another_master),
    (1, key_of_another_stream),
    (1, sae_outside_the_stream),
    (2, sides_differ),
    (2, bytes_of_another_key),
    (4, no_qkd_where_required),
    (4, no_pqc_where_required),
    (4, too_few_shares),
    (4, two_shares_over_one_path),
    (4, quantum_key_without_a_path),
    (4, pqc_key_with_a_path),
    (4, sides_are_told_different_paths),
    (5, older_epoch),
    (5, older_version),
    (5, half_a_policy),
    (6, stream_lost),
    (6, update_lost),
    (6, deleted_stream_is_back),
]


@given(good_runs())
def test_a_good_history_has_no_violation(records: list[Record]) -> None:
    assert check(History(tuple(records))) == ()


@pytest.mark.parametrize(("invariant", "mutation"), MUTATIONS, ids=[m.__name__ for _, m in MUTATIONS])
@given(records=good_runs(), data=st.data())
def test_one_injected_violation_is_found_and_proved(
    invariant: int, mutation: Mutation, records: list[Record], data: st.DataObject
) -> None:
    mutated = mutation(records, data.draw)
    if isinstance(mutated, tuple):
        old, new = mutated
        history = [replace(new, line=INJECTED) if record is old else record for record in records]
    else:
        history = [*records, replace(mutated, line=INJECTED)]

    violations = check(History(tuple(history)))

    assert any(v.invariant == invariant and INJECTED in v.evidence for v in violations)


def test_adjacent_ranges_and_the_two_lanes_do_not_overlap() -> None:
    run = Run()
    run.pool("p", 1, [16, 16, 32])
    assert check(History(tuple(run.records))) == ()


def test_a_lane_granted_to_the_other_end_may_be_sent_with_by_it() -> None:
    run = Run()
    run.pool("p", 1, [16])
    granted = replace(
        first(run.records, PadUsed, node="b", use=PadUse.SEND), first_lane=True, start=16, end=32
    )
    received = replace(granted, node="a", use=PadUse.RECEIVE)
    assert check(History((*run.records, granted, received))) == ()


def test_an_end_must_not_receive_with_what_it_sends_with() -> None:
    run = Run()
    run.pool("p", 1, [16])
    sent = first(run.records, PadUsed, node="a", use=PadUse.SEND)
    received = replace(sent, use=PadUse.RECEIVE, line=INJECTED)
    without_peer = [r for r in run.records if not isinstance(r, PadUsed) or r.use is PadUse.SEND]
    (violation,) = check(History((*without_peer, received)))
    assert violation.evidence == (sent.line, INJECTED)


@pytest.mark.parametrize("present", [{}, {"s": 1}, {"s": 2}])
def test_an_unacknowledged_change_may_or_may_not_have_happened(present: dict[str, int]) -> None:
    run = Run()
    run.stream("s", 0, deleted=False)
    run.records.append(StreamRequested("s", run.line()))
    run.present(present)
    assert check(History(tuple(run.records))) == ()


def test_a_violation_reads_as_a_sentence_with_its_evidence() -> None:
    run = Run()
    run.stream("s", 0, deleted=False)
    run.present({})
    (violation,) = check(History(tuple(run.records)))
    assert str(violation) == (
        "invariant 6: stream s was acknowledged (created), and is gone\n"
        "    run.jsonl:2: {}\n"
        "    run.jsonl:3: {}"
    )


# ---- recorder and reader ----------------------------------------------------------------------------

RUN_KEY = b"a key for this run only"
SECRET = bytes(range(32))


def record_all(recorder: Recorder) -> None:
    recorder.block_taken(link=LinkName("l"), node=NodeName("a"), number=7)
    recorder.pad_used(
        link=LinkName("l"),
        pool_id=b"\x01" * 16,
        first_lane=True,
        node=NodeName("a"),
        start=0,
        end=48,
        use=PadUse.SEND,
        first_block=7,
        block_bytes=BLOCK_BYTES,
    )
    for side, sae, peer_sae in ((Side.MASTER, "x", "y"), (Side.SLAVE, "y", "x")):
        recorder.key_delivered(
            key_id=uuid.UUID(int=1),
            side=side,
            sae=SaeId(sae),
            peer_sae=SaeId(peer_sae),
            stream=StreamName("s"),
            key=SECRET,
            protection=Protected.HYBRID,
            paths=(PathId("p0"),),
            k=1,
            require_qkd=True,
            require_pqc=False,
            required_k=1,
        )
    recorder.policy_applied(node=NodeName("a"), epoch=1, version=2, digest=b"\x02" * 32)
    recorder.intent_requested(name=StreamName("s"))
    recorder.intent_acknowledged(
        name=StreamName("s"), action="created", revision=1, epoch=1, saes=(SaeId("x"), SaeId("y"))
    )
    recorder.intent_present(revisions={StreamName("s"): 1}, epoch=2)


def test_what_is_recorded_is_read_back_and_checked(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    record_all(Recorder(path, "agent-a", "00ff", RUN_KEY))

    history = read([path])

    kinds = [type(record) for record in history.records]
    assert kinds == [
        BlockTaken,
        PadUsed,
        KeyDelivered,
        KeyDelivered,
        PolicyApplied,
        StreamRequested,
        StreamAcknowledged,
        StreamsPresent,
    ]
    assert len(history.of(KeyDelivered)) == 2
    assert check(history) == ()


def test_every_line_says_when_and_by_which_incarnation(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    record_all(Recorder(path, "agent-a", "00ff", RUN_KEY))
    for text in path.read_text().splitlines():
        line = json.loads(text)
        assert (line["process"], line["incarnation"]) == ("agent-a", "00ff")
        assert line["t"] > 0


def test_key_bytes_stand_in_no_form_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    record_all(Recorder(path, "agent-a", "00ff", RUN_KEY))
    data = path.read_bytes()
    assert SECRET not in data
    assert SECRET.hex().encode() not in data.lower()
    assert hashlib.sha256(SECRET).hexdigest().encode() not in data


def test_equal_keys_are_equal_within_a_run_only(tmp_path: Path) -> None:
    macs = []
    for number, run_key in enumerate((RUN_KEY, RUN_KEY, b"another run")):
        path = tmp_path / f"{number}.jsonl"
        record_all(Recorder(path, "agent-a", "00ff", run_key))
        macs.append(read([path]).of(KeyDelivered)[0].mac)
    assert macs[0] == macs[1] != macs[2]


def test_a_second_incarnation_cannot_write_to_the_same_file(tmp_path: Path) -> None:
    Recorder(tmp_path / "a.jsonl", "agent-a", "00ff", RUN_KEY)
    with pytest.raises(FileExistsError):
        Recorder(tmp_path / "a.jsonl", "agent-a", "01ff", RUN_KEY)


def policy_line(t: float, epoch: int) -> str:
    return json.dumps(
        {
            "t": t,
            "process": "agent-a",
            "incarnation": "0",
            "kind": "policy_applied",
            "node": "a",
            "epoch": epoch,
            "version": 1,
            "digest": f"{epoch}",
        }
    )


def epochs(history: History) -> list[int]:
    return [policy.epoch for policy in history.of(PolicyApplied)]


def test_files_are_merged_by_time(tmp_path: Path) -> None:
    for name, lines in (("new", [(3.0, 3), (4.0, 4)]), ("old", [(1.0, 1), (2.0, 2), (5.0, 5)])):
        (tmp_path / name).write_text("".join(policy_line(*line) + "\n" for line in lines))
    history = read(sorted(tmp_path.iterdir()))
    assert epochs(history) == [1, 2, 3, 4, 5]
    assert check(history) == ()


def test_a_clock_set_back_reorders_nothing_within_a_file(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text("".join(policy_line(t, epoch) + "\n" for t, epoch in ((9.0, 1), (2.0, 2), (3.0, 3))))
    assert epochs(read([path])) == [1, 2, 3]


def test_a_line_cut_short_by_kill_is_no_record(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text(policy_line(1.0, 1) + "\n" + policy_line(2.0, 2)[:40])
    assert epochs(read([path])) == [1]


@pytest.mark.parametrize(
    "text",
    ["{", "[]", '{"kind":"policy_applied"}', '{"t":1,"kind":"unheard_of"}', '{"t":1,"kind":"block_taken"}'],
)
def test_any_other_broken_line_is_refused_and_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "a"
    path.write_text(policy_line(1.0, 1) + f"\n{text}\n")
    with pytest.raises(ValueError, match="not a record of a history: a:2"):
        read([path])


def test_the_recorder_overrides_everything_that_the_product_observes() -> None:
    observed = {name for name in vars(Observer) if not name.startswith("_")}
    assert observed == {"pad_used", "block_taken", "key_delivered", "policy_applied"}
    assert observed <= set(vars(Recorder))


def test_mutations_cover_every_recorded_invariant() -> None:
    assert [invariant for invariant, _ in itertools.groupby(MUTATIONS, lambda m: m[0])] == [1, 2, 4, 5, 6]
