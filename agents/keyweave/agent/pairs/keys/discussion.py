"""What the two ends say to each other to make keys of what they measured; no I/O, no clock of its own.

The end at the source leads. One question is open at a time. Where an answer does not come, or says what
cannot be, all that is not yet key is forgotten and the discussion begins anew: it costs bits, never secrecy.
The follower has the key one message before the leader; where that one is lost the leader goes without, and
numbers of blocks are never used twice.

Who answers is vouched for by the agents' session (ADR 20): an attacker between them cannot take part.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from keyweave.agent.pairs.deliver import Basis
from keyweave.agent.pairs.keys.bits import Bits, unpacked
from keyweave.agent.pairs.keys.hashing import hashed, seed_bits
from keyweave.agent.pairs.keys.secrecy import Promise, secret_bits
from keyweave.agent.pairs.keys.sifting import Outcomes, Sifted
from keyweave.agent.pairs.keys.tally import Tally
from keyweave.v1 import pairkeys_pb2 as pb


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
        # Of each path that pairs come over now.
        self.outcomes: dict[str, Outcomes] = {}
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

    def measured(self, path: str, number: int, basis: Basis, bit: int, now: float) -> None:
        """An outcome of a path's run that is on."""
        self.outcomes[path].add(number, basis, bit)
        self.tally.measured(now)

    def new_run(self, path: str) -> None:
        """Pairs come over a path. Numbers begin anew: what was measured before has no counterpart."""
        self.end_run(path)
        self.outcomes[path] = Outcomes()

    def end_run(self, path: str) -> None:
        """No more pairs come over it. What was compared already is as good as ever."""
        self.outcomes.pop(path, None)

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
        for outcomes in self.outcomes.values():
            outcomes.clear()
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
