"""What an end can say of the discussion: how much is measured, how often ends differ, how much is secret."""

from collections import deque

from keyweave.agent.pairs.keys.secrecy import Promise, expected_bits

# Rates are of so many seconds past; error ratios of so many comparisons.
WINDOW_SECONDS = 10.0
WINDOW_CHECKS = 1000


class Tally:
    """Counts, never bits."""

    def __init__(self) -> None:
        self.measured_total = 0
        self.blocks_total = 0
        self.blocks_unequal_total = 0
        self.blocks_without_key_total = 0
        self.secret_bits_total = 0
        self.corrected_bits_total = 0
        self.key_bits_total = 0
        self.disagreements = 0
        self._measured: deque[float] = deque()
        self._checks: deque[tuple[int, int]] = deque()
        self._sifted: deque[tuple[float, int, int]] = deque()
        self._started: float | None = None

    def measured(self, now: float) -> None:
        """One more outcome."""
        self.measured_total += 1
        self._measured.append(now)
        if self._started is None:
            self._started = now

    def compared(self, key_bits: int, check_bits: int, errors: int, now: float) -> None:
        """More was sifted."""
        self._sifted.append((now, key_bits, check_bits))
        if check_bits:
            self._checks.append((check_bits, errors))
            while len(self._checks) > 1 and sum(n for n, _ in self._checks) > WINDOW_CHECKS:
                self._checks.popleft()

    def corrected(self, key_bits: int, errors: int) -> None:
        """A block was corrected: so many of its bits were wrong."""
        self.key_bits_total += key_bits
        self.corrected_bits_total += errors

    def block(self, _key_bits: int, length: int, _now: float) -> None:
        """A block became so many bits of key."""
        self.blocks_total += 1
        self.blocks_without_key_total += length == 0
        self.secret_bits_total += length

    def unequal(self, _now: float) -> None:
        """The ends did not come to the same bits."""
        self.blocks_unequal_total += 1

    @property
    def qber_ratio(self) -> float | None:
        """Of late, in X; None before anything was compared."""
        checks = sum(n for n, _ in self._checks)
        return sum(errors for _, errors in self._checks) / checks if checks else None

    def silent_seconds(self, now: float) -> float | None:
        """Since the last outcome; None before the first."""
        return now - self._measured[-1] if self._measured else None

    def sifted_rate_bps(self, now: float) -> float:
        """Bits in Z a second, of late."""
        self._thin(now)
        if self._started is None:
            return 0.0
        seconds = min(WINDOW_SECONDS, max(1.0, now - self._started))
        return sum(key for _, key, _ in self._sifted) / seconds

    def secret_rate_bps(self, now: float, most_bits: int, most_seconds: float, promise: Promise) -> float:
        """What comes of that in blocks of so many bits, or as many as come in a time."""
        rate, qber = self.sifted_rate_bps(now), self.qber_ratio
        key = sum(key for _, key, _ in self._sifted)
        checks = sum(check for _, _, check in self._sifted)
        if qber is None or not key:
            return 0.0
        block_bits = max(1, min(most_bits, round(rate * most_seconds)))
        of_block = round(block_bits * checks / key)
        return rate * expected_bits(block_bits, of_block, round(qber * of_block), promise) / block_bits

    def _thin(self, now: float) -> None:
        while self._sifted and now - self._sifted[0][0] > WINDOW_SECONDS:
            self._sifted.popleft()
        while len(self._measured) > 1 and now - self._measured[0] > WINDOW_SECONDS:
            self._measured.popleft()
