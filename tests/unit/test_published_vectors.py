"""Our cryptographic building blocks reproduce the published test vectors; each file names its source."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from keyweave.agent import crypto

VECTORS = Path(__file__).resolve().parents[1] / "vectors"

Case = dict[str, Any]


def _cases(file: str, key: str, label: str) -> list[Any]:
    """The cases under key of a vector file, each with a readable id made from the case's own fields."""
    loaded: list[Case] = json.loads((VECTORS / file).read_text(encoding="utf-8"))[key]
    return [pytest.param(case, id=label.format(**case).replace(" ", "-")) for case in loaded]


def _hex(case: Case, *fields: str) -> bytes:
    return bytes.fromhex("".join(case[field] for field in fields))


def _fixed_info(case: Case, *, with_t: bool) -> bytes:
    """Join FixedInfo as ACVP's concatenation encoding does: party U, party V, perhaps t, then l."""
    parties = _hex(case, "party_u_id", "party_u_ephemeral_data", "party_v_id", "party_v_ephemeral_data")
    return parties + (_hex(case, "t") if with_t else b"") + int(case["l"]).to_bytes(4, "big")


@pytest.mark.parametrize("case", _cases("rfc8439_poly1305.json", "vectors", "{name}"))
def test_poly1305_gives_the_tags_of_rfc_8439(case: Case) -> None:
    assert crypto.poly1305_tag(_hex(case, "key"), _hex(case, "message")) == _hex(case, "tag")


@pytest.mark.parametrize("case", _cases("rfc5869_hkdf.json", "vectors", "{name}"))
def test_hkdf_extract_gives_the_pseudorandom_keys_of_rfc_5869(case: Case) -> None:
    assert crypto.hkdf_extract(_hex(case, "salt"), _hex(case, "ikm")) == _hex(case, "prk")


@pytest.mark.parametrize("case", _cases("rfc5869_hkdf.json", "vectors", "{name}"))
def test_hkdf_expand_gives_the_output_of_rfc_5869(case: Case) -> None:
    assert crypto.hkdf_expand(_hex(case, "prk"), _hex(case, "info"), case["length"]) == _hex(case, "okm")


@pytest.mark.parametrize("case", _cases("kda_hkdf_hybrid_acvp.json", "vectors", "tc{tc_id}"))
def test_two_step_kdf_joins_both_secrets_as_nist_acvp_does(case: Case) -> None:
    derived = crypto.TwoStepKdf(_hex(case, "salt")).derive(
        _hex(case, "z"), _hex(case, "t"), _fixed_info(case, with_t=False), case["l"] // 8
    )
    assert derived == _hex(case, "dkm")


@pytest.mark.parametrize("case", _cases("kda_hkdf_acvp.json", "vectors", "tc{tc_id}"))
def test_two_step_kdf_without_a_second_secret_is_nist_acvp_hkdf(case: Case) -> None:
    derived = crypto.TwoStepKdf(_hex(case, "salt")).derive(
        _hex(case, "z"), b"", _fixed_info(case, with_t=True), case["l"] // 8
    )
    assert derived == _hex(case, "dkm")


@pytest.mark.parametrize("case", _cases("ts103744_catkdf.json", "vectors", "{cid} {name}"))
def test_two_step_kdf_gives_the_catkdf_key_material_of_etsi_ts_103_744(case: Case) -> None:
    parts = (case["info"].encode(), _hex(case, "ma"), _hex(case, "mb"))
    context = hashlib.sha256(b"".join(len(part).to_bytes(4, "big") + part for part in parts)).digest()
    expected = _hex(case, "key_material")
    derived = crypto.TwoStepKdf(_hex(case, "label")).derive(
        _hex(case, "k1"), _hex(case, "k2"), context, len(expected)
    )
    assert derived == expected


@pytest.mark.parametrize("case", _cases("mlkem_acvp.json", "keygen", "{parameter_set} tc{tc_id}"))
def test_mlkem_derives_the_encapsulation_key_of_nist_acvp_from_the_seed(case: Case) -> None:
    key = crypto.mlkem_private_key(case["parameter_set"], _hex(case, "d", "z"))
    assert key.public_bytes() == _hex(case, "ek")


@pytest.mark.parametrize("case", _cases("mlkem_acvp.json", "keygen", "{parameter_set} tc{tc_id}"))
def test_mlkem_encapsulates_to_a_published_key_so_that_its_owner_agrees(case: Case) -> None:
    secret, ciphertext = crypto.mlkem_encapsulate(case["parameter_set"], _hex(case, "ek"))
    key = crypto.mlkem_private_key(case["parameter_set"], _hex(case, "d", "z"))
    assert key.decapsulate(ciphertext) == secret


@pytest.mark.parametrize("case", _cases("mlkem_kat.json", "decapsulation", "{parameter_set} count{count}"))
def test_mlkem_decapsulates_the_known_answers(case: Case) -> None:
    key = crypto.mlkem_private_key(case["parameter_set"], _hex(case, "d", "z"))
    assert key.decapsulate(_hex(case, "ct")) == _hex(case, "ss")


@pytest.mark.parametrize("case", _cases("mlkem_kat.json", "decapsulation", "{parameter_set} count{count}"))
def test_mlkem_rejects_a_foreign_ciphertext_implicitly_with_the_known_answer(case: Case) -> None:
    key = crypto.mlkem_private_key(case["parameter_set"], _hex(case, "d", "z"))
    assert key.decapsulate(_hex(case, "ct_n")) == _hex(case, "ss_n")


@pytest.mark.parametrize(
    "case", _cases("mlkem_wycheproof.json", "decapsulation", "{parameter_set} tc{tc_id} {kind}")
)
def test_mlkem_decapsulates_and_implicitly_rejects_as_wycheproof_expects(case: Case) -> None:
    key = crypto.mlkem_private_key(case["parameter_set"], _hex(case, "seed"))
    assert key.decapsulate(_hex(case, "c")) == _hex(case, "k")


@pytest.mark.parametrize(
    "case", _cases("mlkem_wycheproof.json", "invalid_ciphertext", "{parameter_set} tc{tc_id} {comment}")
)
def test_mlkem_refuses_a_ciphertext_of_the_wrong_length(case: Case) -> None:
    key = crypto.mlkem_private_key(case["parameter_set"], _hex(case, "seed"))
    with pytest.raises(ValueError, match="ciphertext"):
        key.decapsulate(_hex(case, "c"))


@pytest.mark.parametrize("case", _cases("mldsa65_kat.json", "verification", "count{count}"))
def test_mldsa_derives_the_key_of_the_known_answers_from_its_seed(case: Case) -> None:
    key = crypto.SigningKey.from_seed_bytes(_hex(case, "xi"))
    assert key.public_key().public_bytes_raw() == _hex(case, "pk")


@pytest.mark.parametrize("case", _cases("mldsa65_kat.json", "verification", "count{count}"))
def test_mldsa_verifies_the_known_answers_and_nothing_that_was_altered(case: Case) -> None:
    key = crypto.VerifyingKey.from_public_bytes(_hex(case, "pk"))
    signature, message, context = (_hex(case, field) for field in ("signature", "msg", "ctx"))
    assert crypto.mldsa_verify(key, signature, message, context)
    altered = bytes([signature[0] ^ 1]) + signature[1:]
    assert not crypto.mldsa_verify(key, altered, message, context)
    assert not crypto.mldsa_verify(key, signature[:-1], message, context)
    assert not crypto.mldsa_verify(key, signature, message + b"x", context)
    assert not crypto.mldsa_verify(key, signature, message, context + b"x")
