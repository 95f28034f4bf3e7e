"""Token buckets: how fast a stream may draw on something."""


class TokenBucket:
    """`rate` tokens a second, at most `burst` saved up. Time comes in as an argument (seconds)."""

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self.rate = rate
        self.burst = burst
        self._tokens = burst
        self._at = now

    def available(self, now: float) -> float:
        """Tokens there are."""
        if now > self._at:
            self._tokens = min(self.burst, self._tokens + (now - self._at) * self.rate)
            self._at = now
        return self._tokens

    def take(self, tokens: float, now: float) -> bool:
        """Take `tokens` if there are as many."""
        if self.available(now) < tokens:
            return False
        self._tokens -= tokens
        return True

    def resize(self, rate: float, burst: float, now: float) -> None:
        """Change the terms; what is saved up stays, within the new burst."""
        self._tokens = min(self.available(now), burst)
        self.rate, self.burst = rate, burst
