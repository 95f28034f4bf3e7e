"""What the two ends say to each other to make keys of what they measured; no I/O, no clock of its own.

The end at the source leads. One question is open at a time. Where an answer does not come, or says what
cannot be, all that is not yet key is forgotten and the discussion begins anew: it costs bits, never secrecy.
The follower has the key one message before the leader; where that one is lost the leader goes without, and
numbers of blocks are never used twice.

Who answers is vouched for by the agents' session (ADR 20): an attacker between them cannot take part.
"""

import os
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from keyweave.agent.pairs.deliver import Basis
from keyweave.agent.pairs.keys.bits import Bits, packed, unpacked
from keyweave.agent.pairs.keys.cascade import Corrector, Reference, Stretch
from keyweave.agent.pairs.keys.hashing import hashed, seed_bits
from keyweave.agent.pairs.keys.secrecy import Promise, expected_bits, secret_bits
from keyweave.agent.pairs.keys.sifting import MAX_SPAN, Outcomes, Sifted
from keyweave.agent.pairs.keys.tally import Tally
from keyweave.v1 import pairkeys_pb2 as pb

# As long as no errors have been counted, what the first stretches are chosen by.
_ASSUMED_ERROR_RATIO = 0.03
# Fewer secret bits are not worth a block that time alone has ended.
_WORTHWHILE_BITS = 64
# A block is at most so many times what was asked for.
_MOST_BITS = 1 << 20


@dataclass(frozen=True, slots=True)
class Terms:
    """How keys are made; the leader's count, the follower checks what it can."""

    # Sifted bits in Z that make a block. Longer blocks lose less to statistics, and come less often.
    block_bits: int = 4096
    # Where that takes longer, what there is makes a block after this time, if any of it is secret.
    block_seconds: float = 60.0
    promise: Promise = field(default_factory=Promise)
    # The link's own blocks, cut from the key.
    block_bytes: int = 64
    # How long an answer may take.
    patience_seconds: float = 10.0
    # How old outcomes are before they are compared: those of the other end are on their way.
    lag_seconds: float = 1.0


class DisagreementError(Exception):
    """The other end says what cannot be; what is not yet key is forgotten."""


class End(ABC):
    """What both ends have in common: outcomes in, blocks of key out."""

    def __init__(self, terms: Terms, next_block: int) -> None:
        self.terms = terms
        self.next_block = next_block
        self.outcomes = Outcomes()
        self.sifted = Sifted()
        self.tally = Tally()
        self._session = b""
        self._block: Bits | None = None
        self._number = 0
        self._checks: tuple[int, int] = (0, 0)
        self._key = bytearray()
        self._ready: list[tuple[int, bytearray]] = []

    @abstractmethod
    def poll(self, now: float) -> pb.PairKeyMessage | None:
        """What to say unasked."""

    @abstractmethod
    def receive(self, message: pb.PairKeyMessage, now: float) -> pb.PairKeyMessage | None:
        """What the other end says; what to say to it, if anything."""

    def measured(self, number: int, basis: Basis, bit: int, now: float) -> None:
        """An outcome of the run that is on."""
        self.outcomes.add(number, basis, bit)
        self.tally.measured(now)

    def new_run(self) -> None:
        """Numbers begin anew: what was measured before has no counterpart."""
        self.outcomes.clear()

    @property
    def has_blocks(self) -> bool:
        """Whether blocks of key are ready."""
        return bool(self._ready)

    def blocks(self) -> Iterator[tuple[int, bytearray]]:
        """Blocks of key that are ready, each once, in order."""
        ready, self._ready = self._ready, []
        yield from ready

    def begin_from(self, first_block: int) -> None:
        """Whoever takes blocks has had all below this number.

        Both ends count alike within a session, so one that counts lower is over.
        """
        if first_block > self.next_block:
            self.next_block = first_block
            self._forget()

    def _forget(self) -> None:
        """End the session; the leader begins another."""
        self._reset()
        self._session = b""

    def close(self) -> None:
        """Overwrite all that is left."""
        self._reset()
        for _, block in self._ready:
            block[:] = bytes(len(block))
        self._ready.clear()

    def _reset(self) -> None:
        self.outcomes.clear()
        self.sifted.clear()
        self._drop_block()
        self._key[:] = bytes(len(self._key))
        self._key.clear()

    def _drop_block(self) -> None:
        if self._block is not None:
            self._block.fill(0)
        self._block = None

    def _take_block(self) -> Bits:
        self._checks = self.sifted.check_bits, self.sifted.check_errors
        block = self._block = self.sifted.take()
        self.sifted.clear()
        return block

    def _secret_bits(self, leaked_bits: int) -> int:
        assert self._block is not None
        leaked = leaked_bits + self.terms.promise.hash_bits
        return secret_bits(len(self._block), *self._checks, leaked, self.terms.promise)

    def _hash(self, seed: bytes) -> Bits:
        assert self._block is not None
        bits = self.terms.promise.hash_bits
        return hashed(self._block, unpacked(seed, seed_bits(len(self._block), bits)), bits)

    def _amplified(self, seed: bytes, length: int, now: float) -> None:
        """The block becomes key, and is gone."""
        assert self._block is not None
        self.tally.block(len(self._block), length, now)
        if length:
            key = hashed(self._block, unpacked(seed, seed_bits(len(self._block), length)), length)
            # Whole bytes only; up to seven bits a block are let go.
            whole = key[: len(key) // 8 * 8]
            self._key += np.packbits(whole).tobytes()
            key.fill(0)
        self._drop_block()
        size = self.terms.block_bytes
        while len(self._key) >= size:
            self._ready.append((self.next_block, self._key[:size]))
            self.next_block += 1
            self._key[:size] = bytes(size)
            del self._key[:size]

    def _message(self) -> pb.PairKeyMessage:
        return pb.PairKeyMessage(session=self._session)


class Leader(End):
    """The end at the source; its bits are the reference."""

    def __init__(self, terms: Terms, next_block: int) -> None:
        super().__init__(terms, next_block)
        # What the answer must be, and since when it is waited for.
        self._awaited = ""
        self._since = 0.0
        self._compared_at = 0.0
        # When the first bits came that wait to become a block.
        self._block_since = 0.0
        self._span = 0, 0
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
        if len(self.outcomes) and now - self._compared_at >= self.terms.lag_seconds:
            return self._compare(now)
        return None

    def new_run(self) -> None:
        """See End. The follower is told to begin anew too."""
        super().new_run()
        self._forget()

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

    def _compare(self, now: float) -> pb.PairKeyMessage:
        self._compared_at = now
        first, measured, in_x = self.outcomes.span()
        self._span = first, len(measured)
        message = self._await("sifted", now)
        message.bases.first_number, message.bases.count = first, len(measured)
        message.bases.measured, message.bases.in_x = packed(measured), packed(in_x)
        return message

    def _sift(self, told: pb.PairKeySifted, now: float) -> pb.PairKeyMessage:
        first, count = self._span
        if told.first_number != first:
            raise DisagreementError("another span")
        key, checks = self.outcomes.take(first, unpacked(told.kept, count))
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


class Follower(End):
    """The end at the target; it corrects its bits to the leader's."""

    def __init__(self, terms: Terms, next_block: int) -> None:
        super().__init__(terms, next_block)
        self._my_checks: Bits | None = None
        self._corrector: Corrector | None = None
        self._asked: tuple[Stretch, ...] = ()

    def poll(self, now: float) -> pb.PairKeyMessage | None:  # noqa: ARG002  # as the leader's
        """It says nothing unasked."""
        return None

    def receive(self, message: pb.PairKeyMessage, now: float) -> pb.PairKeyMessage | None:
        """What the leader says; the answer."""
        kind = message.WhichOneof("body")
        if kind == "begin":
            return self._begin(message)
        if not self._session or message.session != self._session:
            return None
        try:
            return self._answer(kind or "", message, now)
        except (ValueError, DisagreementError):
            self.tally.disagreements += 1
            # The leader hears nothing, and begins anew.
            self._forget()
            return None

    def _answer(self, kind: str, message: pb.PairKeyMessage, now: float) -> pb.PairKeyMessage | None:
        match kind:
            case "bases":
                return self._sift(message.bases, now)
            case "checks":
                if self._my_checks is None:
                    raise DisagreementError("nothing to compare")
                theirs = unpacked(message.checks.checks, len(self._my_checks))
                errors = self.sifted.compare(self._my_checks, theirs)
                self.tally.compared(0, len(self._my_checks), errors, now)
                self._my_checks = None
                return None
            case "correct":
                return self._correct(message.correct)
            case "parities":
                return self._learn(message.parities)
            case "verify":
                return self._verify(message.verify, now)
            case "amplify":
                return self._amplify(message.amplify, now)
        raise DisagreementError("not for a follower")

    def _begin(self, message: pb.PairKeyMessage) -> pb.PairKeyMessage | None:
        if len(message.session) != 16 or message.begin.block_bytes != self.terms.block_bytes:
            return None
        # What was measured so far stays: the leader names the numbers that it has.
        self.sifted.clear()
        self._drop_block()
        self._key[:] = bytes(len(self._key))
        self._key.clear()
        self._my_checks, self._corrector = None, None
        self._session, self._number = message.session, 0
        self.next_block = max(self.next_block, message.begin.next_block)
        answer = self._message()
        answer.begun.next_block = self.next_block
        return answer

    def _sift(self, bases: pb.PairKeyBases, now: float) -> pb.PairKeyMessage:
        if self._my_checks is not None or bases.count > MAX_SPAN:
            raise DisagreementError("the comparison before is open, or this one too long")
        measured, in_x = unpacked(bases.measured, bases.count), unpacked(bases.in_x, bases.count)
        kept = self.outcomes.alike(bases.first_number, measured, in_x)
        key, self._my_checks = self.outcomes.take(bases.first_number, kept)
        self.sifted.add(key)
        self.tally.compared(len(key), 0, 0, now)
        answer = self._message()
        answer.sifted.first_number, answer.sifted.kept = bases.first_number, packed(kept)
        answer.sifted.checks = packed(self._my_checks)
        return answer

    def _correct(self, told: pb.PairKeyCorrect) -> pb.PairKeyMessage:
        if self._block is not None or not 0 < told.key_bits == self.sifted.key_bits <= _MOST_BITS:
            raise DisagreementError("another number of bits")
        if len(told.seed) != 16 or not 0.0 < told.error_ratio <= 0.5:
            raise DisagreementError("no seed, or no error ratio")
        self._number = told.block
        self._corrector = Corrector(self._take_block(), told.seed, told.error_ratio)
        return self._ask(self._corrector)

    def _ask(self, corrector: Corrector) -> pb.PairKeyMessage:
        self._asked = corrector.questions()
        answer = self._message()
        if self._asked:
            answer.ask.block = self._number
            answer.ask.passes.extend(each.number for each in self._asked)
            answer.ask.starts.extend(each.start for each in self._asked)
            answer.ask.ends.extend(each.end for each in self._asked)
            return answer
        answer.corrected.block = self._number
        answer.corrected.corrected_bits = corrector.corrected_bits
        answer.corrected.leaked_bits = corrector.leaked_bits
        return answer

    def _learn(self, told: pb.PairKeyParities) -> pb.PairKeyMessage:
        if self._corrector is None or told.block != self._number or not self._asked:
            raise DisagreementError("nothing was asked")
        self._corrector.learn(self._asked, unpacked(told.parities, len(self._asked)))
        return self._ask(self._corrector)

    def _verify(self, told: pb.PairKeyVerify, now: float) -> pb.PairKeyMessage:
        if self._corrector is None or self._block is None or told.block != self._number or self._asked:
            raise DisagreementError("nothing to verify")
        self.tally.corrected(len(self._block), self._corrector.corrected_bits)
        equal = packed(self._hash(told.seed)) == told.hash
        if not equal:
            self.tally.unequal(now)
            self._drop_block()
        answer = self._message()
        answer.verified.block, answer.verified.equal = self._number, equal
        return answer

    def _amplify(self, told: pb.PairKeyAmplify, now: float) -> pb.PairKeyMessage:
        if self._corrector is None or self._block is None or told.block != self._number:
            raise DisagreementError("nothing to amplify")
        if told.secret_bits != self._secret_bits(self._corrector.leaked_bits):
            raise DisagreementError("another number of secret bits")
        self._amplified(told.seed, told.secret_bits, now)
        self._corrector = None
        answer = self._message()
        answer.amplified.block = self._number
        return answer


def _seed(input_bits: int, output_bits: int) -> bytes:
    """Fresh random diagonals; the bits that fill up the last byte are zero, as they are on the wire."""
    count = seed_bits(input_bits, output_bits)
    return packed(np.unpackbits(np.frombuffer(os.urandom((count + 7) // 8), np.uint8), count=count))
