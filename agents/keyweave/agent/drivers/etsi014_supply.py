"""How much key a vendor's domain gives, as far as one end of it can tell.

A KME does not say what rate its domain makes. Its keys are drawn as pools need them, so what was drawn is the
rate of the domain only while pools wanted more than they got; otherwise it is the least that the domain can.
"""

import math
import struct
import time

from keyweave.agent.drivers.etsi014_kme import KmeStatus
from keyweave.common.names import LinkName
from keyweave.v1 import agent_pb2, types_pb2

# Whoever waited for keys for all of an interval but so much of it got all that there was.
_MOST_IDLE_RATIO = 0.1
# From a single row nobody knows how sure a rate is; the least that the domain can do does not scatter.
_ROWS_OF_A_BOUND = 5


class Supply:
    """What was drawn at one end of a link, interval by interval."""

    def __init__(self, link: LinkName, *, draws: bool) -> None:
        self._link = link
        self._draws = draws
        self._bits = 0
        self._idle_seconds = 0.0
        self._idle_since: float | None = time.monotonic()
        self._stored: int | None = None
        self._best_bps = 0.0
        self._began = time.monotonic()
        self._reported_until = 0

    def begin(self) -> None:
        """Whoever reads rows begins to, now."""
        self._bits, self._idle_seconds, self._began, self._stored = 0, 0.0, time.monotonic(), None
        if self._idle_since is not None:
            self._idle_since = self._began

    def drew(self, bits: int) -> None:
        """So much came of the domain."""
        self._bits += bits

    def idle(self) -> None:
        """From now on nobody wants key."""
        if self._idle_since is None:
            self._idle_since = time.monotonic()

    def busy(self) -> None:
        """From now on more key is wanted."""
        if self._idle_since is not None:
            self._idle_seconds += time.monotonic() - self._idle_since
            self._idle_since = None

    def rows(self, status: KmeStatus, key_bits: int) -> agent_pb2.LinkSamples:
        """The time since the last rows. QBER and loss are not measured: the KME tells none.

        It is PASSIVE where nothing is learnt of the rate, as nobody wanted key.
        """
        now = time.monotonic()
        idle_seconds = self._idle_seconds
        if self._idle_since is not None:
            idle_seconds += now - self._idle_since
            self._idle_since = now
        seconds = max(now - self._began, 1e-3)
        rate, count = self._rate(status, key_bits, seconds, idle_seconds)
        self._bits, self._idle_seconds, self._began = 0, 0.0, now
        self._stored = status.stored_key_count
        micros = max(1, round(seconds * 1e6 / count))
        # Rows must not overlap, whatever became of the clock since.
        start = max(time.time_ns() - micros * count * 1000, self._reported_until)
        self._reported_until = start + micros * count * 1000
        return agent_pb2.LinkSamples(
            link=self._link,
            start_unix_nanos=start,
            interval_micros=micros,
            rows=count,
            status=types_pb2.LINK_STATUS_PASSIVE if rate is None else types_pb2.LINK_STATUS_ACTIVE,
            skr_bps=struct.pack(f"<{count}f", *[math.nan if rate is None else rate] * count)
            if self._draws
            else b"",
        )

    def _rate(
        self, status: KmeStatus, key_bits: int, seconds: float, idle_seconds: float
    ) -> tuple[float | None, int]:
        """What is learnt of the rate, None for nothing, and in how many rows it is told."""
        if not self._draws:
            return None, 1
        if idle_seconds <= _MOST_IDLE_RATIO * seconds:
            # What the KME had in store before is no rate of the domain.
            emptied = max(0, (self._stored or 0) - status.stored_key_count) * key_bits
            self._best_bps = max(0.0, self._bits - emptied) / seconds
            return self._best_bps, 1
        if self._bits / seconds > self._best_bps:
            self._best_bps = self._bits / seconds
            return self._best_bps, _ROWS_OF_A_BOUND
        return None, 1
