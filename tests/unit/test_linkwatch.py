"""Local protection: no signal at once, an attack within about a second, honest noise never."""

import math
import struct
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyweave.agent.keyplane.links.linkwatch import (
    CLEAR_SECONDS,
    ONSET_MARGIN_SECONDS,
    LinkHealth,
    LinkWatch,
    Verdict,
    lower_bound,
)
from keyweave.v1 import agent_pb2, types_pb2

THRESHOLD = 0.11
ROW_SECONDS = 0.1
EPOCH = 1_000_000_000.0
NAN = float("nan")


@dataclass
class Device:
    """A link end that counts `sifted_bps` bits a second, a share of them wrong, with binomial noise."""

    sifted_bps: float
    watch: LinkWatch = field(default_factory=LinkWatch)
    random: np.random.Generator = field(default_factory=lambda: np.random.default_rng(2010))
    rows: int = 0

    @property
    def now(self) -> float:
        """Seconds since the Unix epoch of the last row."""
        return EPOCH + self.rows * ROW_SECONDS

    def report(self, qber: float, *, fault: str = "") -> Verdict:
        """One row with noise."""
        bits = int(self.random.poisson(self.sifted_bps * ROW_SECONDS))
        wrong = self.random.binomial(bits, qber) / bits if bits else NAN
        return self.exactly(wrong, bits / ROW_SECONDS, fault=fault)

    def exactly(
        self,
        qber: float,
        sifted_bps: float | None,
        *,
        status: types_pb2.LinkStatus = types_pb2.LINK_STATUS_ACTIVE,
        fault: str = "",
    ) -> Verdict:
        """One row as given."""
        self.rows += 1
        samples = agent_pb2.LinkSamples(
            link="a-b",
            start_unix_nanos=round(self.now * 1e9),
            interval_micros=round(ROW_SECONDS * 1e6),
            rows=1,
            qber_ratio=struct.pack("<f", qber),
            sifted_rate_bps=b"" if sifted_bps is None else struct.pack("<f", sifted_bps),
            status=status,
        )
        return self.watch.observe(samples, fault, THRESHOLD)

    def run(self, qber: float, seconds: float) -> None:
        for _ in range(round(seconds / ROW_SECONDS)):
            self.report(qber)

    def until(self, health: LinkHealth, qber: float, most_seconds: float) -> float:
        """Seconds until the verdict is `health`."""
        begun = self.now
        while self.report(qber).health is not health:
            assert self.now - begun < most_seconds, f"still {self.watch.verdict} after {most_seconds} s"
        return self.now - begun


def test_before_the_first_report_nothing_is_known() -> None:
    assert LinkWatch().verdict.health is LinkHealth.UNKNOWN


def test_loss_of_signal_shows_in_the_very_report_and_so_does_its_return() -> None:
    device = Device(100_000)
    device.run(0.02, 5)
    lost = device.exactly(NAN, 0.0, status=types_pb2.LINK_STATUS_OFF)
    assert lost.health is LinkHealth.NO_SIGNAL
    assert lost.since == pytest.approx(device.now)
    assert device.report(0.02).health is LinkHealth.OK


def test_a_device_fault_shows_at_once_with_the_devices_own_words() -> None:
    device = Device(100_000)
    verdict = device.report(0.02, fault="cooling failed")
    assert (verdict.health, verdict.reason) == (LinkHealth.FAULT, "cooling failed")
    assert verdict.since == pytest.approx(device.now)
    assert device.report(0.02).health is LinkHealth.OK


@pytest.mark.parametrize("sifted_bps", [250, 4_000, 60_000, 1_700_000])
def test_full_interception_aborts_within_about_a_second_and_its_onset_is_found(sifted_bps: float) -> None:
    device = Device(sifted_bps)
    device.run(0.03, 30)
    onset = device.now
    assert device.until(LinkHealth.ABORTED, 0.25, most_seconds=3) <= 1.5
    since = device.watch.verdict.since
    assert since <= onset + ROW_SECONDS, "no bit measured under attack is trusted"
    assert since >= onset - ONSET_MARGIN_SECONDS - 1.0, "nor are many from before given up"


def test_an_error_rate_a_little_above_the_threshold_aborts_a_slow_link_too() -> None:
    device = Device(1_000)
    device.run(0.03, 30)
    assert device.until(LinkHealth.ABORTED, 0.15, most_seconds=30) <= 15


@pytest.mark.parametrize("qber", [0.02, 0.05, 0.08])
def test_honest_noise_of_a_link_of_250_bit_per_second_does_not_abort_over_hours(qber: float) -> None:
    device = Device(250)
    for _ in range(int(2 * 3600 / ROW_SECONDS)):
        assert device.report(qber).health is LinkHealth.OK


def test_the_first_few_bits_after_a_start_are_no_evidence() -> None:
    for seed in range(300):
        device = Device(250, random=np.random.default_rng(seed))
        for _ in range(20):
            assert device.report(0.05).health is LinkHealth.OK


def test_one_wrong_bit_is_no_attack_and_none_at_all_is_no_news() -> None:
    device = Device(10)
    assert device.exactly(0.5, 10).health is LinkHealth.OK
    assert device.exactly(NAN, 0.0).health is LinkHealth.OK
    assert math.isfinite(device.watch.verdict.since)


@pytest.mark.parametrize("uncounted", [None, NAN])
def test_a_device_that_does_not_count_sifted_bits_aborts_all_the_same(uncounted: float | None) -> None:
    device = Device(sifted_bps=0.0)
    verdicts = [device.exactly(0.16, uncounted).health for _ in range(10)]
    assert verdicts[0] is LinkHealth.OK
    assert verdicts[-1] is LinkHealth.ABORTED


def test_an_abort_is_over_after_the_error_rate_was_low_for_the_clearing_time() -> None:
    device = Device(50_000)
    device.run(0.03, 5)
    device.until(LinkHealth.ABORTED, 0.25, most_seconds=3)
    device.run(0.25, 5)
    assert device.watch.verdict.health is LinkHealth.ABORTED
    took = device.until(LinkHealth.OK, 0.03, most_seconds=10)
    assert CLEAR_SECONDS <= took <= CLEAR_SECONDS + 1.5


def test_what_was_measured_under_attack_does_not_abort_the_link_again_once_it_is_clear() -> None:
    device = Device(50_000)
    device.run(0.25, 20)
    device.until(LinkHealth.OK, 0.03, most_seconds=10)
    for _ in range(600):
        assert device.report(0.03).health is LinkHealth.OK


def test_a_relapse_begins_the_clearing_time_anew() -> None:
    device = Device(50_000)
    device.run(0.25, 5)
    device.run(0.03, CLEAR_SECONDS - 0.5)
    device.run(0.25, 1)
    assert device.watch.verdict.health is LinkHealth.ABORTED
    assert device.until(LinkHealth.OK, 0.03, most_seconds=10) >= CLEAR_SECONDS


def test_an_abort_says_since_when_and_does_not_move_while_it_lasts() -> None:
    device = Device(50_000)
    device.run(0.03, 5)
    device.until(LinkHealth.ABORTED, 0.25, most_seconds=3)
    first = device.watch.verdict
    device.run(0.25, 10)
    assert device.watch.verdict == first
    assert "threshold 0.11" in first.reason


def test_a_link_that_starts_under_attack_aborts() -> None:
    assert Device(50_000).until(LinkHealth.ABORTED, 0.25, most_seconds=3) <= 0.3


def test_rows_of_one_report_are_judged_together() -> None:
    watch = LinkWatch()
    samples = agent_pb2.LinkSamples(
        link="a-b",
        start_unix_nanos=int(EPOCH * 1e9),
        interval_micros=100_000,
        rows=4,
        qber_ratio=struct.pack("<4f", 0.02, NAN, 0.26, 0.27),
        sifted_rate_bps=struct.pack("<4f", 1e5, 1e5, 1e5, 1e5),
        status=types_pb2.LINK_STATUS_ACTIVE,
    )
    verdict = watch.observe(samples, "", THRESHOLD)
    assert verdict.health is LinkHealth.ABORTED
    assert verdict.since == pytest.approx(EPOCH + 0.2 - ONSET_MARGIN_SECONDS)


@given(ratio=st.floats(0, 1), trials=st.integers(1, 10**9))
def test_the_lower_bound_is_below_what_was_seen_and_rises_with_the_evidence(
    ratio: float, trials: int
) -> None:
    bound = lower_bound(ratio, trials)
    assert 0.0 <= bound <= ratio + 1e-12
    assert bound <= lower_bound(ratio, trials * 4) + 1e-12


@pytest.mark.parametrize(
    ("ratio", "trials", "sigmas", "expected"),
    # 8 of 10 at 1.96 sigma: 0.490, as tables of the Wilson interval have it; nothing proves nothing.
    [(0.8, 10, 1.96, 0.490), (0.5, 100, 1.96, 0.4038), (0.0, 50, 3.0, 0.0), (0.3, 0, 3.0, 0.0)],
)
def test_the_lower_bound_is_wilsons(ratio: float, trials: int, sigmas: float, expected: float) -> None:
    assert lower_bound(ratio, trials, sigmas) == pytest.approx(expected, abs=5e-4)
