"""The end of a discussion at the target: it answers, and corrects its bits to the leader's."""

from keyweave.agent.pairs.keys.bits import Bits, packed, unpacked
from keyweave.agent.pairs.keys.cascade import Corrector, Stretch
from keyweave.agent.pairs.keys.discussion import DisagreementError, End, Terms
from keyweave.agent.pairs.keys.sifting import MAX_SPAN, Outcomes
from keyweave.v1 import pairkeys_pb2 as pb

# A block of more bits is refused: correcting it would hold this process up.
_MOST_BITS = 1 << 20


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
        # A path that has not begun here, or is over, has none.
        outcomes = self.outcomes.get(bases.path_id) or Outcomes()
        kept = outcomes.alike(bases.first_number, measured, in_x)
        key, self._my_checks = outcomes.take(bases.first_number, kept)
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
