"""The end of a discussion at the source: it begins, asks, and its bits are the reference."""

import os

import numpy as np

from keyweave.agent.pairs.keys.bits import packed, unpacked
from keyweave.agent.pairs.keys.cascade import Reference, Stretch
from keyweave.agent.pairs.keys.discussion import DisagreementError, End, Terms
from keyweave.agent.pairs.keys.hashing import seed_bits
from keyweave.agent.pairs.keys.secrecy import expected_bits
from keyweave.agent.pairs.keys.sifting import Outcomes
from keyweave.v1 import pairkeys_pb2 as pb

# As long as no errors have been counted, what the first stretches are chosen by.
_ASSUMED_ERROR_RATIO = 0.03
# Fewer secret bits are not worth a block that time alone has ended.
_WORTHWHILE_BITS = 64


class Leader(End):
    """The end at the source; its bits are the reference."""

    def __init__(self, terms: Terms, next_block: int) -> None:
        super().__init__(terms, next_block)
        # What the answer must be, and since when it is waited for.
        self._awaited = ""
        self._since = 0.0
        # Paths whose pairs have been in this session: one that begins again numbers anew.
        self._seen: set[str] = set()
        # When the first bits came that wait to become a block.
        self._block_since = 0.0
        # What the follower is asked to compare: outcomes of a path, their first number, and how many.
        self._span = Outcomes(), 0, 0
        self._reference: Reference | None = None
        self._secret = 0
        self._seed = b""

    def poll(self, now: float) -> pb.PairKeyMessage | None:
        """See End."""
        if self._awaited and now - self._since > self.terms.patience_seconds:
            self._forget()
        if not self._session:
            return self._begin(now)
        if self._awaited:
            return None
        if self._block_is_due(now):
            return self._correct(now)
        path = self._longest_waiting()
        if path and now - self.outcomes[path].compared_at >= self.terms.lag_seconds:
            return self._compare(path, now)
        return None

    def new_run(self, path: str) -> None:
        """See End. Where this path's pairs were in the session already, the follower is to begin anew too."""
        super().new_run(path)
        if path in self._seen:
            self._forget()
        self._seen.add(path)

    def _longest_waiting(self) -> str:
        """The path whose outcomes have waited longest to be compared; empty where none has any."""
        waiting = [path for path, outcomes in self.outcomes.items() if len(outcomes)]
        return min(waiting, key=lambda path: self.outcomes[path].compared_at, default="")

    def receive(self, message: pb.PairKeyMessage, now: float) -> pb.PairKeyMessage | None:
        """The follower's answer; what to say to it, if anything."""
        kind = message.WhichOneof("body")
        if message.session != self._session or not self._session:
            return None
        if kind != self._awaited and not (kind == "ask" and self._awaited == "corrected"):
            return None
        self._since = now
        try:
            return self._answered(kind, message, now)
        except (ValueError, DisagreementError):
            self.tally.disagreements += 1
            self._forget()
            return None

    def _answered(self, kind: str, message: pb.PairKeyMessage, now: float) -> pb.PairKeyMessage | None:
        match kind:
            case "begun":
                if message.begun.next_block < self.next_block:
                    raise DisagreementError("blocks numbered anew")
                self.next_block = message.begun.next_block
            case "sifted":
                return self._sift(message.sifted, now)
            case "ask":
                return self._tell(message.ask)
            case "corrected":
                return self._verify(message.corrected)
            case "verified":
                if message.verified.block != self._number:
                    raise DisagreementError("another block")
                return self._amplify(equal=message.verified.equal, now=now)
            case "amplified":
                self._amplified(self._seed, self._secret, now)
        self._awaited = ""
        return None

    def _forget(self) -> None:
        super()._forget()
        self._awaited = ""
        self._seen = set(self.outcomes)
        if self._reference is not None:
            self._reference.forget()
            self._reference = None

    def _await(self, kind: str, now: float) -> pb.PairKeyMessage:
        self._awaited, self._since = kind, now
        return self._message()

    def _begin(self, now: float) -> pb.PairKeyMessage:
        self._session = os.urandom(16)
        message = self._await("begun", now)
        message.begin.next_block = self.next_block
        message.begin.block_bytes = self.terms.block_bytes
        return message

    def _block_is_due(self, now: float) -> bool:
        sifted, terms = self.sifted, self.terms
        if sifted.key_bits >= terms.block_bits:
            return True
        if not sifted.key_bits or now - self._block_since < terms.block_seconds:
            return False
        return (
            expected_bits(sifted.key_bits, sifted.check_bits, sifted.check_errors, terms.promise)
            >= _WORTHWHILE_BITS
        )

    def _compare(self, path: str, now: float) -> pb.PairKeyMessage:
        outcomes = self.outcomes[path]
        outcomes.compared_at = now
        first, measured, in_x = outcomes.span()
        self._span = outcomes, first, len(measured)
        message = self._await("sifted", now)
        message.bases.path_id = path
        message.bases.first_number, message.bases.count = first, len(measured)
        message.bases.measured, message.bases.in_x = packed(measured), packed(in_x)
        return message

    def _sift(self, told: pb.PairKeySifted, now: float) -> pb.PairKeyMessage:
        # The path may be over by now; what both ends measured is as good as ever.
        outcomes, first, count = self._span
        if told.first_number != first:
            raise DisagreementError("another span")
        key, checks = outcomes.take(first, unpacked(told.kept, count))
        if not self.sifted.key_bits:
            self._block_since = now
        self.sifted.add(key)
        errors = self.sifted.compare(checks, unpacked(told.checks, len(checks)))
        self.tally.compared(len(key), len(checks), errors, now)
        self._awaited = ""
        message = self._message()
        message.checks.first_number, message.checks.checks = first, packed(checks)
        return message

    def _correct(self, now: float) -> pb.PairKeyMessage:
        block = self._take_block()
        self._number += 1
        seed = os.urandom(16)
        self._reference = Reference(block, seed)
        message = self._await("corrected", now)
        message.correct.block, message.correct.key_bits = self._number, len(block)
        message.correct.seed = seed
        message.correct.error_ratio = self.tally.qber_ratio or _ASSUMED_ERROR_RATIO
        return message

    def _tell(self, ask: pb.PairKeyAsk) -> pb.PairKeyMessage:
        if ask.block != self._number or self._reference is None:
            raise DisagreementError("another block")
        parities = self._reference.answer(
            [Stretch(*each) for each in zip(ask.passes, ask.starts, ask.ends, strict=True)]
        )
        message = self._message()
        message.parities.block, message.parities.parities = self._number, packed(parities)
        return message

    def _verify(self, told: pb.PairKeyCorrected) -> pb.PairKeyMessage:
        if told.block != self._number or self._reference is None:
            raise DisagreementError("another block")
        assert self._block is not None
        # Counted here: what was told is what leaked, whatever the other end says.
        self._secret = self._secret_bits(self._reference.leaked_bits)
        self._reference.forget()
        self.tally.corrected(len(self._block), told.corrected_bits)
        self._awaited = "verified"
        seed = _seed(len(self._block), self.terms.promise.hash_bits)
        message = self._message()
        message.verify.block, message.verify.seed = self._number, seed
        message.verify.hash = packed(self._hash(seed))
        return message

    def _amplify(self, *, equal: bool, now: float) -> pb.PairKeyMessage | None:
        assert self._block is not None
        if not equal:
            self.tally.unequal(now)
            self._drop_block()
            self._awaited = ""
            return None
        self._seed = _seed(len(self._block), self._secret) if self._secret else b""
        self._awaited = "amplified"
        message = self._message()
        message.amplify.block, message.amplify.secret_bits = self._number, self._secret
        message.amplify.seed = self._seed
        return message


def _seed(input_bits: int, output_bits: int) -> bytes:
    """Fresh random diagonals; the bits that fill up the last byte are zero, as they are on the wire."""
    count = seed_bits(input_bits, output_bits)
    return packed(np.unpackbits(np.frombuffer(os.urandom((count + 7) // 8), np.uint8), count=count))
