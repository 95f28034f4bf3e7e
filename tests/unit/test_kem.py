"""ML-KEM and its ratchet: both ends in step, and no way back."""

from dataclasses import replace

import pytest

from keyweave.agent import crypto
from keyweave.agent.keyplane.failure import SignatureError
from keyweave.agent.keyplane.sessions.handshake import Proven
from keyweave.agent.keyplane.streams import kem
from keyweave.v1 import keyplane_pb2 as pb
from tests.unit.enrolled import ends, enrolment

NOW = 1000.0


NEAR, FAR = ends("tokyo", "osaka")


def exchange(parameter_set: int = 768) -> tuple[kem.Ratchet, kem.Ratchet]:
    """The ratchets of the end that offered and of the end that answered."""
    offer, key = kem.offer("s", b"k" * 16, parameter_set, NEAR)
    answer, far = kem.answer(offer, FAR, NOW)
    return kem.finish(offer, key, answer, NEAR, NOW), far


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


def signed(**fields: object) -> pb.KemOffer:
    """An offer that the near end signs whatever it says."""
    offer, _key = kem.offer("s", b"k" * 16, 768, NEAR)
    for name, value in fields.items():
        setattr(offer, name, value)
    offer.signature = NEAR.signer.sign(kem._OFFER, kem._offer_statement(offer, kem._near_first(NEAR)))
    return offer


CHANGES = [("stream", "t"), ("kem_id", b"l" * 16), ("parameter_set", 1024), ("encapsulation_key", b"other")]


@pytest.mark.parametrize(("field", "value"), CHANGES)
def test_the_transcript_binds_every_field_of_the_offer(field: str, value: object) -> None:
    def transcript(message: pb.KemOffer, ciphertext: bytes, signature: bytes) -> bytes:
        statement = kem.answer_statement(message, ciphertext, (b"tokyo", b"osaka"))
        return kem.transcript_of(statement, pb.KemAnswer(signature=signature))

    offer = pb.KemOffer(stream="s", kem_id=b"k" * 16, parameter_set=768, encapsulation_key=b"key")
    changed = pb.KemOffer()
    changed.CopyFrom(offer)
    setattr(changed, field, value)
    same = transcript(offer, b"ciphertext", b"signature")
    assert transcript(changed, b"ciphertext", b"signature") != same
    assert transcript(offer, b"ciphertexT", b"signature") != same
    assert transcript(offer, b"ciphertext", b"signaturE") != same


@pytest.mark.parametrize(("field", "value"), [*CHANGES, ("signature", b""), ("signature", bytes(3309))])
def test_an_offer_that_was_altered_on_the_way_is_refused(field: str, value: object) -> None:
    offer, _key = kem.offer("s", b"k" * 16, 768, NEAR)
    setattr(offer, field, value)
    with pytest.raises(SignatureError, match="tokyo on its ML-KEM offer"):
        kem.answer(offer, FAR, NOW)


@pytest.mark.parametrize("field", ["ciphertext", "signature"])
def test_an_answer_that_was_altered_on_the_way_is_refused(field: str) -> None:
    offer, key = kem.offer("s", b"k" * 16, 768, NEAR)
    answer, _far = kem.answer(offer, FAR, NOW)
    value: bytes = getattr(answer, field)
    setattr(answer, field, bytes([value[0] ^ 1]) + value[1:])
    with pytest.raises(SignatureError, match="osaka on its ML-KEM answer"):
        kem.finish(offer, key, answer, NEAR, NOW)


def test_an_answer_to_another_offer_is_refused() -> None:
    first, key = kem.offer("s", b"k" * 16, 768, NEAR)
    second, _ = kem.offer("s", b"k" * 16, 768, NEAR)
    answer, _far = kem.answer(second, FAR, NOW)
    with pytest.raises(SignatureError):
        kem.finish(first, key, answer, NEAR, NOW)


@pytest.mark.parametrize("signer", ["tokyo", "kyoto"])
def test_only_the_far_end_of_this_session_can_answer(signer: str) -> None:
    offer, key = kem.offer("s", b"k" * 16, 768, NEAR)
    impostor = replace(FAR, signer=enrolment(signer).signer)
    answer, _far = kem.answer(offer, impostor, NOW)
    with pytest.raises(SignatureError):
        kem.finish(offer, key, answer, NEAR, NOW)


@pytest.mark.parametrize(
    "before",
    [
        replace(NEAR, local_incarnation=b"before the crash"),
        replace(NEAR, peer_incarnation=b"before the crash"),
    ],
    ids=["from", "to"],
)
def test_an_offer_from_or_to_another_run_of_an_agent_is_refused(before: Proven) -> None:
    offer, _key = kem.offer("s", b"k" * 16, 768, before)
    with pytest.raises(SignatureError):
        kem.answer(offer, FAR, NOW)


def test_an_offer_does_not_pass_for_an_answer() -> None:
    offer, key = kem.offer("s", b"k" * 16, 768, NEAR)
    statement = kem.answer_statement(offer, b"ciphertext", kem._near_first(NEAR))
    said_as_offer = FAR.signer.sign(kem._OFFER, statement)
    answer = pb.KemAnswer(kem_id=offer.kem_id, ciphertext=b"ciphertext", signature=said_as_offer)
    with pytest.raises(SignatureError):
        kem.finish(offer, key, answer, NEAR, NOW)


@pytest.mark.parametrize(
    "offer",
    [
        signed(kem_id=b"short"),
        signed(parameter_set=512, encapsulation_key=bytes(800)),
        signed(encapsulation_key=bytes(1183)),
        # FIPS 203, 7.2: coefficients must be reduced modulo 3329; 0xfff is not.
        signed(encapsulation_key=b"\xff" * 1184),
    ],
    ids=["kem_id", "parameter_set", "length", "modulus"],
)
def test_a_malformed_offer_is_refused_though_its_end_signed_it(offer: pb.KemOffer) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  # the library's own words
        kem.answer(offer, FAR, NOW)


def test_no_policy_makes_an_exchange_last_longer_than_a_minute() -> None:
    ratchet, _ = exchange()
    assert ratchet.is_fresh(NOW + 59.9, refresh_seconds=3600, count=1)
    assert not ratchet.is_fresh(NOW + 60.0, refresh_seconds=3600, count=1)


def test_the_far_end_grants_a_few_seconds_and_no_key_more() -> None:
    ratchet, _ = exchange()
    end = NOW + 60 + kem.FAR_GRACE_SECONDS
    assert ratchet.is_fresh_at_far_end(end - 0.1, refresh_seconds=60, count=1)
    assert not ratchet.is_fresh_at_far_end(end, refresh_seconds=60, count=1)
    assert not ratchet.is_fresh_at_far_end(NOW, refresh_seconds=60, count=kem.MAX_KEYS_PER_EXCHANGE + 1)


def test_a_batch_that_would_pass_a_thousand_keys_needs_a_new_exchange() -> None:
    ratchet, _ = exchange()
    ratchet.keys_made = kem.MAX_KEYS_PER_EXCHANGE - 31
    assert ratchet.is_fresh(NOW, refresh_seconds=60, count=31)
    assert not ratchet.is_fresh(NOW, refresh_seconds=60, count=32)
