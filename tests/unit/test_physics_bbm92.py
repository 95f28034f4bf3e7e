"""BBM92 with a source midway gives the figures of Ma, Fung, Lo 2007."""

from dataclasses import replace

import pytest

from keyweave.emulator.physics.bbm92 import best_pairs
from keyweave.emulator.physics.channel import Channel
from tests.unit.physics_cases import entangled

HUNDRED_KILOMETRES = Channel(20)
PULSES_HZ = 1e6


def test_the_best_pair_rate_gives_the_published_key_at_100_km() -> None:
    best = best_pairs(entangled(0.5), HUNDRED_KILOMETRES)
    assert best.expected(HUNDRED_KILOMETRES).secret_bps / PULSES_HZ == pytest.approx(3.6e-6, rel=0.02)
    assert best.mean_pairs == pytest.approx(0.1, rel=0.1)


def test_no_other_pair_rate_gives_more() -> None:
    best = best_pairs(entangled(0.5), HUNDRED_KILOMETRES)
    most = best.expected(HUNDRED_KILOMETRES).secret_bps
    for factor in (0.25, 0.5, 0.9, 1.1, 2):
        other = replace(best, mean_pairs=factor * best.mean_pairs)
        assert other.expected(HUNDRED_KILOMETRES).secret_bps < most


def test_the_best_pair_rate_is_found_where_there_is_hardly_any_key() -> None:
    far = Channel(55)
    assert best_pairs(entangled(0.5), far).expected(far).secret_bps > 0


def test_a_brighter_source_errs_more() -> None:
    errors = [entangled(pairs).expected(HUNDRED_KILOMETRES).noise for pairs in (0.01, 0.1, 0.3, 1.0)]
    assert errors == sorted(errors)
    assert errors[0] > 0.015


def test_entangled_pairs_reach_further_than_weak_pulses_of_like_receivers() -> None:
    # What the paper is known for: a source midway tolerates far more loss. 70 dB with dark counts off.
    dark_free = replace(entangled(0.02), receiver=replace(entangled(0.02).receiver, gate_seconds=1e-13))
    assert dark_free.expected(Channel(70)).secret_bps > 0


def test_dead_time_costs_coincidences_at_both_ends() -> None:
    free = entangled(0.1)
    busy = replace(
        free,
        receiver=replace(free.receiver, detectors=replace(free.receiver.detectors, dead_time_seconds=1e-3)),
    )
    live = busy.expected(Channel(0)).light_hz / free.expected(Channel(0)).light_hz
    assert 0.05 < live < 0.9
    assert busy.expected(Channel(0)).sifted_bps == pytest.approx(
        live**2 * free.expected(Channel(0)).sifted_bps
    )
