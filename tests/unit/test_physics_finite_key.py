"""Finite blocks of decoy-state BB84 cost what Lim et al. 2014 say."""

import math
from dataclasses import replace

import pytest

from keyweave.emulator.physics.channel import Channel
from keyweave.emulator.physics.decoy_bb84 import DecoyBb84
from keyweave.emulator.physics.finite_key import FiniteKey
from keyweave.emulator.physics.information import binary_entropy
from tests.unit.physics_cases import LIM, SMALL_BLOCKS, receiver


def fibre(kilometres: float) -> Channel:
    return Channel(0.2 * kilometres)


def ratio(kilometres: float = 100, **finite: float) -> float:
    assert LIM.finite
    expected = replace(LIM, finite=replace(LIM.finite, **finite)).expected(fibre(kilometres))
    return expected.secret_ratio(expected.noise)


def test_key_per_block_shrinks_with_the_block() -> None:
    ratios = [ratio(block_bits=10.0**power) for power in range(4, 12)]
    assert ratios == sorted(ratios)
    assert ratios[0] == 0 < ratios[3] < ratios[5] < ratios[7]


def test_very_long_blocks_come_to_a_limit() -> None:
    assert ratio(block_bits=1e16) == pytest.approx(ratio(block_bits=1e18), rel=1e-3)


def test_a_block_without_end_tells_vacuum_and_single_photons_apart() -> None:
    # With a true vacuum decoy: its gain is the yield of no photon, and the bound on that of one photon is
    # that of Ma et al. 2005. Many dark counts, so that vacuum matters; no afterpulses.
    dark, error, mu, nu, shares = 2e-4, 0.005, 0.5, 0.1, (0.6, 0.3, 0.1)
    transmittance = 0.1 * 10**-1

    def gain(photons: float) -> float:
        return dark + (1 - dark) * -math.expm1(-transmittance * photons)

    def wrong(photons: float) -> float:
        return dark / 2 + error * (gain(photons) - dark)

    single = mu / (mu * nu - nu**2)
    single *= gain(nu) * math.exp(nu) - gain(mu) * math.exp(mu) * nu**2 / mu**2 - dark * (1 - nu**2 / mu**2)
    phase = (wrong(nu) * math.exp(nu) - dark / 2) / (nu * single)
    photons = (mu, nu, 0.0)
    detected = sum(share * gain(k) for share, k in zip(shares, photons, strict=True))
    none_sent, one_sent = (
        sum(share * math.exp(-k) * k**n for share, k in zip(shares, photons, strict=True)) for n in (0, 1)
    )
    qber = sum(share * wrong(k) for share, k in zip(shares, photons, strict=True)) / detected
    secret = (none_sent * dark + one_sent * single * (1 - binary_entropy(phase))) / detected

    endless = DecoyBb84(
        receiver(0.1, dark),
        mu,
        nu,
        *shares[:2],
        misalignment_ratio=error,
        reconciliation_efficiency=1.16,
        finite=FiniteKey(block_bits=1e24),
    ).expected(Channel(10))
    assert endless.noise == pytest.approx(qber, rel=1e-3)
    assert none_sent * dark / detected > 0.02
    assert endless.secret_ratio(endless.noise) == pytest.approx(
        secret - 1.16 * binary_entropy(qber), rel=2e-3
    )


def test_blocks_of_the_order_of_ten_thousand_bits_give_key_up_to_135_km() -> None:
    assert SMALL_BLOCKS.expected(fibre(135)).secret_bps > 0
    assert SMALL_BLOCKS.expected(fibre(145)).secret_bps == 0


def test_a_stricter_promise_costs_key() -> None:
    assert ratio(secrecy=1e-6) > ratio(secrecy=1e-12) > ratio(secrecy=1e-18) > 0
    assert ratio(correctness=1e-5) > ratio(correctness=1e-25)


def test_two_hundred_kilometres_are_too_far_for_any_block() -> None:
    assert ratio(200, block_bits=1e18) == 0


def test_the_key_is_of_one_basis_only() -> None:
    assert LIM.finite
    biased = LIM.expected(fibre(50))
    halved = replace(LIM, finite=replace(LIM.finite, key_basis_ratio=0.433)).expected(fibre(50))
    assert halved.sifted_bps == pytest.approx(biased.sifted_bps / 4)


def test_a_device_that_reads_a_higher_qber_makes_less_key() -> None:
    expected = LIM.expected(fibre(50))
    ratios = [expected.secret_ratio(qber) for qber in (expected.noise, 0.03, 0.04, 0.12)]
    assert ratios[0] > ratios[1] > ratios[2] > ratios[3] == 0
