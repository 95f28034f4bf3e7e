"""ML-KEM and its ratchet: both ends in step, and no way back."""

import pytest

from keyweave.agent import crypto
from keyweave.agent.keyplane import kem
from keyweave.v1 import keyplane_pb2 as pb

NOW = 1000.0


def exchange(parameter_set: int = 768) -> tuple[kem.Ratchet, kem.Ratchet]:
    """The ratchets of the end that offered and of the end that answered."""
    key = crypto.mlkem_private_key(parameter_set)
    offer = pb.KemOffer(
        stream="s", kem_id=b"k" * 16, parameter_set=parameter_set, encapsulation_key=key.public_bytes()
    )
    answer, far = kem.answer(offer, NOW)
    return kem.finish(offer, key, answer.ciphertext, NOW), far


@pytest.mark.parametrize("parameter_set", [768, 1024])
def test_both_ends_get_the_same_secret_at_every_step_and_never_the_same_twice(parameter_set: int) -> None:
    near, far = exchange(parameter_set)
    steps = [(near.advance(), far.advance()) for _ in range(20)]
    assert all(ours == theirs for ours, theirs in steps)
    assert [ours.step for ours, _ in steps] == list(range(1, 21))
    assert len({ours.secret for ours, _ in steps}) == 20
    assert all(len(ours.secret) == 32 for ours, _ in steps)


def test_two_exchanges_share_nothing() -> None:
    first, second = exchange()[0], exchange()[0]
    assert first.transcript != second.transcript
    assert first.advance().secret != second.advance().secret


def test_a_gap_left_by_lost_batches_is_skipped() -> None:
    near, far = exchange()
    for _ in range(6):
        near.advance()
    seventh = near.advance()
    assert far.advance_to(7) == seventh
    assert far.step == 7


@pytest.mark.parametrize("step", [0, 1, 5])
def test_a_step_of_the_past_is_refused_and_changes_nothing(step: int) -> None:
    near, far = exchange()
    far.advance_to(5)
    assert far.advance_to(step) is None
    for _ in range(5):
        near.advance()
    assert far.advance_to(6) == near.advance()


def test_a_step_too_far_ahead_is_refused_and_changes_nothing() -> None:
    near, far = exchange()
    assert far.advance_to(kem.MAX_SKIPPED_STEPS + 1) is None
    assert far.step == 0
    assert far.advance_to(1) == near.advance()


def test_the_farthest_step_that_is_not_too_far_is_reached() -> None:
    _, far = exchange()
    reached = far.advance_to(kem.MAX_SKIPPED_STEPS)
    assert reached is not None
    assert reached.step == kem.MAX_SKIPPED_STEPS


def test_after_a_step_the_state_that_could_repeat_it_is_overwritten_in_place() -> None:
    ratchet, _ = exchange()
    chain = ratchet._chain
    before = bytes(chain)
    given = ratchet.advance().secret
    assert ratchet._chain is chain, "overwritten, not replaced"
    assert bytes(chain) != before
    # What an intruder finds now leads to later secrets only.
    state = bytes(chain)
    reachable = set()
    for _ in range(50):
        reachable.add(crypto.hkdf_expand(state, b"keyweave batch secret 1", 32))
        state = crypto.hkdf_expand(state, b"keyweave ratchet 1", 32)
    assert given not in reachable
    assert ratchet.advance().secret in reachable


def test_the_next_step_is_not_the_secret_given_out() -> None:
    ratchet, _ = exchange()
    secret = ratchet.advance().secret
    assert bytes(ratchet._chain) != secret
    assert crypto.hkdf_expand(secret, b"keyweave ratchet 1", 32) != bytes(ratchet._chain)


def test_an_exchange_is_renewed_after_its_time() -> None:
    ratchet, _ = exchange()
    assert ratchet.is_fresh(NOW + 59.9, refresh_seconds=60, count=1)
    assert not ratchet.is_fresh(NOW + 60.0, refresh_seconds=60, count=1)


def test_an_exchange_is_renewed_after_its_number_of_keys() -> None:
    ratchet, _ = exchange()
    ratchet.keys_made = kem.MAX_KEYS_PER_EXCHANGE - 1
    assert ratchet.is_fresh(NOW, refresh_seconds=60, count=1)
    ratchet.keys_made = kem.MAX_KEYS_PER_EXCHANGE
    assert not ratchet.is_fresh(NOW, refresh_seconds=60, count=1)


@pytest.mark.parametrize(
    ("field", "value"),
    [("stream", "t"), ("kem_id", b"l" * 16), ("parameter_set", 1024), ("encapsulation_key", b"other")],
)
def test_the_transcript_binds_every_field_of_the_offer(field: str, value: object) -> None:
    offer = pb.KemOffer(stream="s", kem_id=b"k" * 16, parameter_set=768, encapsulation_key=b"key")
    changed = pb.KemOffer()
    changed.CopyFrom(offer)
    setattr(changed, field, value)
    assert kem.transcript_of(changed, b"ciphertext") != kem.transcript_of(offer, b"ciphertext")
    assert kem.transcript_of(offer, b"ciphertexT") != kem.transcript_of(offer, b"ciphertext")


def test_an_altered_ciphertext_leaves_the_ends_with_different_secrets() -> None:
    key = crypto.mlkem_private_key(768)
    offer = pb.KemOffer(stream="s", kem_id=b"k" * 16, parameter_set=768, encapsulation_key=key.public_bytes())
    answer, far = kem.answer(offer, NOW)
    altered = bytes([answer.ciphertext[0] ^ 1]) + answer.ciphertext[1:]
    assert kem.finish(offer, key, altered, NOW).advance().secret != far.advance().secret


@pytest.mark.parametrize(
    "offer",
    [
        pb.KemOffer(kem_id=b"short", parameter_set=768, encapsulation_key=bytes(1184)),
        pb.KemOffer(kem_id=b"k" * 16, parameter_set=512, encapsulation_key=bytes(800)),
        pb.KemOffer(kem_id=b"k" * 16, parameter_set=768, encapsulation_key=bytes(1183)),
        # FIPS 203, 7.2: coefficients must be reduced modulo 3329; 0xfff is not.
        pb.KemOffer(kem_id=b"k" * 16, parameter_set=768, encapsulation_key=b"\xff" * 1184),
    ],
    ids=["kem_id", "parameter_set", "length", "modulus"],
)
def test_a_malformed_offer_is_refused(offer: pb.KemOffer) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  # the library's own words
        kem.answer(offer, NOW)


def test_a_batch_that_would_pass_a_thousand_keys_needs_a_new_exchange() -> None:
    ratchet, _ = exchange()
    ratchet.keys_made = kem.MAX_KEYS_PER_EXCHANGE - 31
    assert ratchet.is_fresh(NOW, refresh_seconds=60, count=31)
    assert not ratchet.is_fresh(NOW, refresh_seconds=60, count=32)
