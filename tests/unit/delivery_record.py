"""What agents did with keys and pads, held against invariants 1, 2 and 4 as they do it.

The checker of recorded histories (tests/checker) sees less: here the stores and the wires are seen, too.
"""

import uuid
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from keyweave.agent.keyplane.keys.keystore import KeyStore, Outcome, StoredKey
from keyweave.agent.keyplane.terms import StreamTerms
from keyweave.agent.observer import Observer, Side
from keyweave.common.names import StreamName
from keyweave.v1 import keyplane_pb2 as pb

CHUNK = 32


@dataclass
class _Batch:
    """What was seen of a batch on the wires."""

    # By share, the path that it was first sent over.
    paths: dict[int, str] = field(default_factory=dict)
    # The shares that each node was sent.
    seen: defaultdict[str, set[int]] = field(default_factory=lambda: defaultdict(set))


@dataclass
class Record:
    """Everything that ever happened, over restarts. `wrong` says what must not have."""

    # What policy and guard demand of a stream at a node now, as the test has told it.
    demands: Callable[[str, str], StreamTerms]
    wrong: list[str] = field(default_factory=list)
    delivered: dict[tuple[uuid.UUID, Side, str], bytes] = field(default_factory=dict)
    # Who drew a key, and for whom: (node, SAE, {(SAE, stream)}).
    drawn: dict[uuid.UUID, tuple[str, str, set[tuple[str, str]]]] = field(default_factory=dict)
    confirmed_at_far_end: dict[tuple[uuid.UUID, str], bytes] = field(default_factory=dict)
    offers: dict[uuid.UUID, pb.Offer] = field(default_factory=dict)
    batches: defaultdict[bytes, _Batch] = field(default_factory=lambda: defaultdict(_Batch))
    _chunks: dict[bytes, uuid.UUID] = field(default_factory=dict)
    _fates: dict[tuple[str, uuid.UUID, str, bool], Outcome] = field(default_factory=dict)
    # For each lane of a link, and each use of it: by byte, the place of the node that used it.
    _pads: defaultdict[tuple[str, bool, str], bytearray] = field(
        default_factory=lambda: defaultdict(bytearray)
    )
    _offered: set[tuple[uuid.UUID, str]] = field(default_factory=set)
    # What is on each node's disk for each link.
    journals: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    _blocks: set[tuple[str, str, int]] = field(default_factory=set)

    def must(self, holds: object, otherwise: str) -> None:
        """Something that must hold, in whatever task it is found not to."""
        if not holds:
            self.wrong.append(otherwise)

    # ---- stores -------------------------------------------------------------------------------

    def came_to_rest_at_far_end(self, keys: Sequence[StoredKey]) -> None:
        """A far end keeps keys: it has proved, or is about to prove, that it has them."""
        for key in keys:
            place, material = (key.key_id, key.stream), bytes(key.key)
            before = self.confirmed_at_far_end.setdefault(place, material)
            self.must(before == material and any(material), f"two keys under one ID at the far end: {place}")

    def is_offered(self, keys: Sequence[StoredKey]) -> None:
        """A near end lets its SAE draw keys."""
        for key in keys:
            place = (key.key_id, key.stream)
            self.must(place not in self._offered, f"{place} can be drawn a second time")
            self._offered.add(place)
            far = self.confirmed_at_far_end.get(place)
            self.must(far is not None, f"{key.key_id} can be drawn, and the far end never had it")
            self.must(far in (None, bytes(key.key)), f"{key.key_id} is another key at the far end")

    def fate(self, node: str, keys: Sequence[StoredKey], outcome: Outcome, *, is_master: bool) -> None:
        """What became of keys at one end: each has one end."""
        for key in keys:
            place = (node, key.key_id, key.stream, is_master)
            self.must(place not in self._fates, f"{place} is {outcome} after {self._fates.get(place)}")
            self._fates[place] = outcome

    # ---- deliveries ---------------------------------------------------------------------------

    def delivery(self, node: str, told: dict[str, Any]) -> None:
        """An SAE is about to be given a key (see Observer.key_delivered)."""
        key_id, side, sae, key = told["key_id"], told["side"], told["sae"], told["key"]
        place = (key_id, side, "" if side is Side.MASTER else sae)
        self.must(place not in self.delivered, f"{place} is handed out twice")
        self.delivered[place] = key
        self.must(len(key) >= CHUNK // 4 and any(key), f"{place} is handed out empty")
        fate = self._fates.get((node, key_id, told["stream"], side is Side.MASTER))
        self.must(fate is Outcome.DELIVERED, f"{place} is handed out, and in no ledger ({fate})")
        for start in range(0, len(key), CHUNK):
            owner = self._chunks.setdefault(key[start : start + CHUNK], key_id)
            self.must(owner == key_id, f"{owner} and {key_id} share bits")
        if side is Side.MASTER:
            slaves = {(told["peer_sae"], told["stream"]), *told["further"]}
            self.drawn[key_id] = (node, sae, slaves)
            for _, stream in slaves:
                far = self.confirmed_at_far_end.get((key_id, stream))
                self.must(far == key, f"{key_id} goes to its master, and the far end of {stream} differs")
                self._meets_demands(node, stream, told)
        else:
            _, master, slaves = self.drawn.get(key_id, ("", "", set()))
            self.must(master == told["peer_sae"], f"{place} goes out, drawn by '{master}'")
            self.must((sae, told["stream"]) in slaves, f"{place} goes to {sae}, drawn for {slaves}")
            drawn = self.delivered.get((key_id, Side.MASTER, ""))
            self.must(drawn == key, f"master and slave have different bytes for {key_id}")
            self._meets_demands(node, told["stream"], told)

    def _meets_demands(self, node: str, stream: str, told: dict[str, Any]) -> None:
        demands, protection, what = self.demands(node, stream), told["protection"], str(told["key_id"])
        with_qkd, with_pqc = protection in ("qkd", "hybrid"), protection in ("pqc", "hybrid")
        self.must(with_qkd or not demands.require_qkd, f"{what} has no QKD in it")
        self.must(with_pqc or not demands.require_pqc, f"{what} has no ML-KEM in it")
        self.must(not with_qkd or told["k"] >= demands.min_k, f"{what} has {told['k']} shares")
        offer = self.offers.get(told["key_id"])
        if offer is None:
            return  # made of others
        batch = self.batches[offer.batch_id]
        self.must(with_pqc == bool(offer.kem_id), f"{what} is said to be {protection}")
        if with_qkd:
            shares = len(batch.paths)
            self.must(shares >= max(1, demands.min_k), f"{what} crossed the wires in {shares} shares")
            self.must(
                sorted(batch.paths.values()) == sorted(offer.path_ids), f"{what} went other ways than it says"
            )
        ends = {node, demands.peer_node}
        for relay in batch.seen.keys() - ends:
            self.must(len(batch.seen[relay]) == 1, f"{relay} saw more than one share of {what}")

    # ---- wires --------------------------------------------------------------------------------

    def sent(self, sender: str, receiver: str, frame: pb.Frame) -> None:
        """A frame leaves a node."""
        match frame.WhichOneof("body"):
            case "relay":
                batch = self.batches[frame.relay.batch_id]
                before = batch.paths.setdefault(frame.relay.share, frame.relay.path_id)
                self.must(before == frame.relay.path_id, "a share is sent over two paths")
                batch.seen[receiver].add(frame.relay.share)
            case "offer":
                for key_id in frame.offer.key_ids:
                    before_offer = self.offers.setdefault(uuid.UUID(bytes=key_id), frame.offer)
                    same = before_offer.batch_id == frame.offer.batch_id
                    self.must(same, f"{sender} offers one key ID in two batches")

    # ---- pads ---------------------------------------------------------------------------------

    def pad(self, node: str, used: dict[str, Any]) -> None:
        """A node uses a range of pad (see Observer.pad_used)."""
        link, lane, half = used["link"], used["first_lane"], used["block_bytes"] // 2
        start = used["first_block"] * half + used["start"]
        end = used["first_block"] * half + used["end"]
        mark = node.encode()[0]
        for use in ("send", "receive"):
            bytes_used = self._pads[link, lane, use]
            bytes_used.extend(bytes(max(0, end - len(bytes_used))))
            forbidden = bytes_used[start:end]
            if use != used["use"]:
                forbidden = bytearray(byte for byte in forbidden if byte == mark)
            self.must(not any(forbidden), f"{node} uses bytes {start}..{end} of {link} a second time ({use})")
        self._pads[link, lane, used["use"]][start:end] = bytes([mark]) * (end - start)
        if used["use"] == "send":
            reserved = self.journal(node, link)["reserved"].get(used["pool_id"].hex(), [0, 0])
            self.must(reserved[0 if lane else 1] >= used["end"], f"{node} sends on {link}, not on its disk")

    def block(self, node: str, link: str, number: int) -> None:
        """A node takes a device block."""
        self.must((node, link, number) not in self._blocks, f"{node} takes block {number} of {link} again")
        self._blocks.add((node, link, number))
        self.must(self.journal(node, link)["highest_block"] >= number, f"block {number} is not on the disk")

    def journal(self, node: str, link: str) -> dict[str, Any]:
        """What is on a node's disk for a link."""
        return self.journals.get((node, link), {"highest_block": 0, "reserved": {}})


class Watching(Observer):
    """One process's observer."""

    def __init__(self, node: str, record: Record) -> None:
        self._node = node
        self._record = record

    def pad_used(self, **used: Any) -> None:
        """See Observer."""
        self._record.pad(self._node, used)

    def block_taken(self, **taken: Any) -> None:
        """See Observer."""
        self._record.block(self._node, taken["link"], taken["number"])

    def key_delivered(self, **told: Any) -> None:
        """See Observer."""
        self._record.delivery(self._node, told)


class Ledger:
    """One process's records; of one that is dead nothing is heard."""

    def __init__(self, node: str, record: Record) -> None:
        self.dead = False
        self._node = node
        self._record = record

    def deliver(self, keys: Sequence[StoredKey], *, is_master: bool) -> None:
        """See Records."""
        if not self.dead:
            self._record.fate(self._node, keys, Outcome.DELIVERED, is_master=is_master)

    def gone(self, keys: Sequence[StoredKey], outcome: Outcome, reason: str, *, is_master: bool) -> None:
        """See Records."""
        if not self.dead:
            self._record.fate(self._node, keys, outcome, is_master=is_master)


class WatchedStore(KeyStore):
    """A store that tells what comes into it."""

    record: Record

    def add_master(self, keys: Sequence[StoredKey]) -> None:
        """See KeyStore."""
        super().add_master(keys)
        self.record.is_offered(keys)

    def _keep_slave(self, keys: Sequence[StoredKey]) -> None:
        super()._keep_slave(keys)
        self.record.came_to_rest_at_far_end(keys)

    def slave_keys(self) -> list[tuple[uuid.UUID, StreamName, bytes]]:
        """What waits to be collected."""
        return [(key.key_id, s, bytes(key.key)) for s, held in self._slave.items() for key in held.values()]

    def master_keys(self) -> list[tuple[uuid.UUID, StreamName, bytes]]:
        """What waits to be drawn."""
        return [(key.key_id, s, bytes(key.key)) for s, held in self._ready.items() for key in held.values()]
