"""Whether a recorded history keeps the invariants (numbers as in docs/architecture.md).

Every check is a function from records to violations; each violation carries the lines that prove it.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from keyweave.agent.observer import Protected, Side
from tests.checker.history import (
    BlockTaken,
    History,
    KeyDelivered,
    Line,
    PadUsed,
    PolicyApplied,
    StreamAcknowledged,
    StreamRequested,
    StreamsPresent,
)

_WITH_QKD = frozenset({Protected.QKD, Protected.HYBRID})
_WITH_PQC = frozenset({Protected.PQC, Protected.HYBRID})


@dataclass(frozen=True, slots=True)
class Violation:
    """One broken invariant, in words, and the records that prove it in the order they were made."""

    invariant: int
    what: str
    evidence: tuple[Line, ...]

    def __str__(self) -> str:
        return "\n    ".join((f"invariant {self.invariant}: {self.what}", *map(str, self.evidence)))


def check(history: History) -> tuple[Violation, ...]:
    """All violations in a history; none means that what it records keeps the invariants."""
    return tuple(violation for checked in _CHECKS for violation in checked(history))


# ---- 1: no key bit is used twice, or handed to anyone but the SAEs named in its request -------------


def _pad_ranges_are_used_once(history: History) -> Iterator[Violation]:
    """Each end uses a byte once: one sends with it, the other receives with it, and nobody does both."""
    lanes: defaultdict[tuple[str, str, bool], list[PadUsed]] = defaultdict(list)
    for pad in history.of(PadUsed):
        if not 0 <= pad.start < pad.end or pad.block_bytes < 2:
            yield Violation(
                1, f"[{pad.start}, {pad.end}) is no range in blocks of {pad.block_bytes} bytes", (pad.line,)
            )
            continue
        lanes[pad.link, pad.pool_id, pad.first_lane].append(pad)
    for (link, pool_id, first_lane), pads in lanes.items():
        lane = "first" if first_lane else "second"
        for earlier, later in _overlaps(pads, lambda pad: (pad.start, pad.end)):
            if earlier.use is later.use or earlier.node == later.node:
                yield Violation(
                    1,
                    f"bytes [{max(earlier.start, later.start)}, {min(earlier.end, later.end)}) of the {lane} "
                    f"lane of pool {pool_id} on {link} are used twice ({earlier.node}: {earlier.use}, "
                    f"{later.node}: {later.use})",
                    (earlier.line, later.line),
                )


def _blocks_belong_to_one_pool(history: History) -> Iterator[Violation]:
    """Two pools of a link that use one device block hold the same bits under two names."""
    # Most ranges touch the same few blocks as their neighbours: one witness for each span is enough.
    links: defaultdict[str, dict[tuple[str, int, int], PadUsed]] = defaultdict(dict)
    for pad in history.of(PadUsed):
        if pad.block_bytes >= 2:
            links[pad.link].setdefault((pad.pool_id, *_device_blocks(pad)), pad)
    for link, witnesses in links.items():
        reported: set[frozenset[str]] = set()
        for earlier, later in _overlaps(witnesses.values(), _device_blocks):
            pools = frozenset((earlier.pool_id, later.pool_id))
            if len(pools) == 2 and pools not in reported:
                reported.add(pools)
                block = max(_device_blocks(earlier)[0], _device_blocks(later)[0])
                yield Violation(
                    1,
                    f"device block {block} of {link} is used in pools {earlier.pool_id} and {later.pool_id}",
                    (earlier.line, later.line),
                )


def _device_blocks(pad: PadUsed) -> tuple[int, int]:
    """Numbers [first, end) of the device blocks that a range touches; a lane is half of each block."""
    lane_bytes = pad.block_bytes // 2
    return pad.first_block + pad.start // lane_bytes, pad.first_block + (pad.end - 1) // lane_bytes + 1


def _blocks_are_taken_once(history: History) -> Iterator[Violation]:
    """A device block enters an end's pools once, whatever restarts."""
    taken: dict[tuple[str, str, int], BlockTaken] = {}
    for block in history.of(BlockTaken):
        key = (block.link, block.node, block.number)
        if (before := taken.setdefault(key, block)) is not block:
            yield Violation(
                1,
                f"{block.node} takes device block {block.number} of {block.link} a second time",
                (before.line, block.line),
            )


def _keys_are_delivered_once_per_side(history: History) -> Iterator[Violation]:
    # A key for several slaves goes to each of them once.
    delivered: dict[tuple[str, str], KeyDelivered] = {}
    for key in history.of(KeyDelivered):
        place = str(key.side) if key.side is Side.MASTER else key.sae
        if (before := delivered.setdefault((key.key_id, place), key)) is not key:
            yield Violation(
                1,
                f"key {key.key_id} is delivered twice to the {key.side} side ({before.sae}, {key.sae})",
                (before.line, key.line),
            )


def _keys_go_to_the_saes_that_were_named(history: History) -> Iterator[Violation]:
    """The slave is the peer that the master named; both are SAEs of the stream, where it is known."""
    drawn = {key.key_id for key in history.of(KeyDelivered) if key.side is Side.MASTER}
    for key in history.of(KeyDelivered):
        if key.key_id not in drawn:
            yield Violation(1, f"key {key.key_id} is delivered to {key.sae}, and nobody drew it", (key.line,))
    for master, slave in _pairs(history):
        named = ((master.peer_sae, master.stream), *master.further)
        if slave.peer_sae != master.sae or (slave.sae, slave.stream) not in named:
            yield Violation(
                1,
                f"key {master.key_id}, drawn by {master.sae} for {master.peer_sae} ({master.stream}), is "
                f"delivered to {slave.sae}, which named {slave.peer_sae} ({slave.stream})",
                (master.line, slave.line),
            )
    allowed: defaultdict[str, list[StreamAcknowledged]] = defaultdict(list)
    for intent in history.of(StreamAcknowledged):
        if intent.saes:
            allowed[intent.name].append(intent)
    for key in history.of(KeyDelivered):
        intents = allowed.get(key.stream, [])
        if intents and not any({key.sae, key.peer_sae} == set(intent.saes) for intent in intents):
            yield Violation(
                1,
                f"key {key.key_id} of {key.stream} is delivered to {key.sae}, which named {key.peer_sae}; "
                f"the stream joins {' and '.join(intents[-1].saes)}",
                (intents[-1].line, key.line),
            )


# ---- 2: master and slave get the same bytes ---------------------------------------------------------


def _both_sides_get_the_same_key(history: History) -> Iterator[Violation]:
    for master, slave in _pairs(history):
        if master.mac != slave.mac:
            yield Violation(
                2, f"master and slave get different bytes for key {master.key_id}", (master.line, slave.line)
            )


def _different_keys_have_different_bytes(history: History) -> Iterator[Violation]:
    by_mac: dict[str, KeyDelivered] = {}
    for key in history.of(KeyDelivered):
        before = by_mac.setdefault(key.mac, key)
        if before.key_id != key.key_id:
            yield Violation(
                2, f"keys {before.key_id} and {key.key_id} have the same bytes", (before.line, key.line)
            )


# ---- 4: requirements fail closed --------------------------------------------------------------------


def _requirements_are_met(history: History) -> Iterator[Violation]:
    """`k` counts the shares of the QKD part: a key of ML-KEM alone crosses no trusted node."""
    for key in history.of(KeyDelivered):
        with_qkd = key.protection in _WITH_QKD
        problems = []
        if key.require_qkd and not with_qkd:
            problems.append(f"has no QKD in it ({key.protection}), which its stream requires")
        if key.require_pqc and key.protection not in _WITH_PQC:
            problems.append(f"has no ML-KEM in it ({key.protection}), which its stream requires")
        if with_qkd and key.k < max(key.required_k, 1):
            problems.append(f"is made of {key.k} shares; its stream requires {max(key.required_k, 1)}")
        if with_qkd and len(set(key.paths)) < key.k:
            problems.append(f"is said to have {key.k} shares, over {len(set(key.paths))} paths")
        if not with_qkd and (key.paths or key.k):
            problems.append(f"is said to have no QKD in it ({key.protection}), yet paths")
        for problem in problems:
            yield Violation(4, f"key {key.key_id} of {key.stream} {problem}", (key.line,))
    for master, slave in _pairs(history):
        if _provenance(master) != _provenance(slave):
            yield Violation(
                4,
                f"master and slave are told different provenance of key {master.key_id}: "
                f"{_provenance(master)}, {_provenance(slave)}",
                (master.line, slave.line),
            )


def _provenance(key: KeyDelivered) -> tuple[str, tuple[str, ...], int]:
    return key.protection.value, tuple(sorted(key.paths)), key.k


# ---- 5: no policy of an older epoch, and never half of one ------------------------------------------


def _policies_never_go_back(history: History) -> Iterator[Violation]:
    """(epoch, version) never falls at a node; the same policy may be applied again after a restart."""
    newest: dict[str, PolicyApplied] = {}
    for policy in history.of(PolicyApplied):
        before = newest.setdefault(policy.node, policy)
        if (policy.epoch, policy.version) < (before.epoch, before.version):
            yield Violation(
                5,
                f"{policy.node} applies epoch {policy.epoch} version {policy.version} after epoch "
                f"{before.epoch} version {before.version}",
                (before.line, policy.line),
            )
        else:
            newest[policy.node] = policy


def _a_policy_version_has_one_content(history: History) -> Iterator[Violation]:
    first: dict[tuple[str, int, int], PolicyApplied] = {}
    for policy in history.of(PolicyApplied):
        before = first.setdefault((policy.node, policy.epoch, policy.version), policy)
        if before.digest != policy.digest:
            yield Violation(
                5,
                f"{policy.node} applies two different policies as epoch {policy.epoch} version "
                f"{policy.version}",
                (before.line, policy.line),
            )


# ---- 6: acknowledged intent survives ----------------------------------------------------------------


def _acknowledged_streams_survive(history: History) -> Iterator[Violation]:
    """A change that was asked for and not (yet) acknowledged may or may not have happened."""
    acknowledged: dict[str, StreamAcknowledged] = {}
    in_flight: set[str] = set()
    for record in history.records:
        match record:
            case StreamRequested():
                in_flight.add(record.name)
            case StreamAcknowledged():
                in_flight.discard(record.name)
                acknowledged[record.name] = record
            case StreamsPresent():
                yield from _missing(acknowledged, in_flight, record)


def _missing(
    acknowledged: dict[str, StreamAcknowledged], in_flight: set[str], present: StreamsPresent
) -> Iterator[Violation]:
    for name, intent in acknowledged.items():
        revision = present.revisions.get(name)
        evidence = (intent.line, present.line)
        if name in in_flight:
            continue
        if intent.action == "deleted":
            if revision is not None:
                yield Violation(6, f"stream {name} was deleted, and is back", evidence)
        elif revision is None:
            yield Violation(6, f"stream {name} was acknowledged ({intent.action}), and is gone", evidence)
        elif revision < intent.revision:
            yield Violation(
                6,
                f"revision {intent.revision} of stream {name} was acknowledged; {revision} is what is left",
                evidence,
            )


# ---- shared -----------------------------------------------------------------------------------------


def _pairs(history: History) -> Iterator[tuple[KeyDelivered, KeyDelivered]]:
    """Every master's delivery with each slave's of the same key ID."""
    keys = history.of(KeyDelivered)
    masters = {key.key_id: key for key in reversed(keys) if key.side is Side.MASTER}
    for key in keys:
        if key.side is Side.SLAVE and key.key_id in masters:
            yield masters[key.key_id], key


def _overlaps(
    records: Iterable[PadUsed], interval: Callable[[PadUsed], tuple[int, int]]
) -> Iterator[tuple[PadUsed, PadUsed]]:
    """Pairs of records whose half-open intervals overlap, the earlier record of each pair first."""
    pads = tuple(records)
    order = {id(pad): position for position, pad in enumerate(pads)}
    active: list[PadUsed] = []
    for pad in sorted(pads, key=lambda pad: interval(pad)[0]):
        start = interval(pad)[0]
        active = [other for other in active if interval(other)[1] > start]
        for other in active:
            earlier, later = sorted((other, pad), key=lambda each: order[id(each)])
            yield earlier, later
        active.append(pad)


_CHECKS: tuple[Callable[[History], Iterator[Violation]], ...] = (
    _pad_ranges_are_used_once,
    _blocks_belong_to_one_pool,
    _blocks_are_taken_once,
    _keys_are_delivered_once_per_side,
    _keys_go_to_the_saes_that_were_named,
    _both_sides_get_the_same_key,
    _different_keys_have_different_bytes,
    _requirements_are_met,
    _policies_never_go_back,
    _a_policy_version_has_one_content,
    _acknowledged_streams_survive,
)
