"""Requests of ETSI GS QKD 014 v1.1.1, section 6: what is accepted, and what a wrong one is told."""

import base64
import contextlib
import json
import uuid
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyweave.agent.etsi014 import messages
from keyweave.agent.etsi014.messages import BadRequestError, KeyRequest
from keyweave.agent.etsi014.supply import DeliveredKey, Demand, KeyOrder, SupplyStatus
from keyweave.common.errors import InvalidInputError
from keyweave.common.names import SaeId

KEY_ID = uuid.UUID("bc490419-7d60-487f-adc1-4ddcc177c139")
STATUS = SupplyStatus(
    source_kme_id="kme-a",
    target_kme_id="kme-b",
    master_sae_id=SaeId("bank-a"),
    slave_sae_id=SaeId("bank-b"),
    key_size=256,
    stored_key_count=12,
    max_key_count=64,
    max_key_per_request=16,
    max_key_size=8192,
    min_key_size=64,
    max_sae_id_count=2,
)


def body(value: Any) -> bytes:
    return json.dumps(value).encode()


# ---- enc_keys ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("data", [b"", b"{}", b" { } "])
def test_a_request_without_fields_asks_for_one_key_of_the_default_size(data: bytes) -> None:
    assert messages.key_request_from_body(data) == KeyRequest(number=1, size=None)
    assert messages.order_within(KeyRequest(), STATUS) == KeyOrder(1, STATUS.key_size)


def test_a_whole_request_is_read() -> None:
    request = {
        "number": 3,
        "size": 256,
        "additional_slave_SAE_IDs": [],
        "extension_mandatory": [],
        "extension_optional": [{"abc_route_type": "direct"}, {"abc_retry": {"times": 3}}],
    }
    read = messages.key_request_from_body(body(request))
    assert read == KeyRequest(number=3, size=256, unknown=("abc_route_type", "abc_retry"))


@pytest.mark.parametrize(
    ("parameter", "demand"),
    [
        ({"keyweave_require_protection": "qkd"}, Demand("keyweave_require_protection", with_qkd=True)),
        ({"keyweave_require_protection": "pqc"}, Demand("keyweave_require_protection", with_pqc=True)),
        (
            {"keyweave_require_protection": "hybrid"},
            Demand("keyweave_require_protection", with_qkd=True, with_pqc=True),
        ),
        ({"keyweave_min_shares": 2}, Demand("keyweave_min_shares", with_qkd=True, min_shares=2)),
        ({"keyweave_max_age_seconds": 0.5}, Demand("keyweave_max_age_seconds", max_age_seconds=0.5)),
    ],
)
@pytest.mark.parametrize("field", ["extension_mandatory", "extension_optional"])
def test_extensions_of_ours_are_read(field: str, parameter: Any, demand: Demand) -> None:
    read = messages.key_request_from_body(body({field: [parameter]}))
    assert (read.mandatory if field == "extension_mandatory" else read.optional) == (demand,)
    assert not read.unknown


@pytest.mark.parametrize(
    "parameter",
    [
        {"keyweave_require_protection": "none"},
        {"keyweave_require_protection": ["qkd"]},
        {"keyweave_min_shares": 0},
        {"keyweave_min_shares": 9},
        {"keyweave_min_shares": True},
        {"keyweave_min_shares": 2.5},
        {"keyweave_max_age_seconds": 0},
        {"keyweave_max_age_seconds": -1},
        {"keyweave_max_age_seconds": 1e300},
        {"keyweave_max_age_seconds": "1"},
        {"keyweave_max_age_seconds": True},
    ],
)
@pytest.mark.parametrize("field", ["extension_mandatory", "extension_optional"])
def test_a_wrong_value_of_an_extension_of_ours_is_named_with_what_is_allowed(
    field: str, parameter: dict[str, Any]
) -> None:
    with pytest.raises(InvalidInputError, match="must be") as refused:
        messages.key_request_from_body(body({field: [{"abc": 1}, parameter]}))
    (name,) = parameter
    assert [violation.field for violation in refused.value.violations] == [f"{field}[1].{name}"]


@pytest.mark.parametrize("constant", [b"NaN", b"Infinity", b"-Infinity"])
def test_what_python_takes_for_json_and_json_is_not_is_refused(constant: bytes) -> None:
    request = b'{"extension_optional": [{"keyweave_max_age_seconds": ' + constant + b"}]}"
    with pytest.raises(InvalidInputError, match="is not JSON"):
        messages.key_request_from_body(request)


def test_a_whole_number_may_be_written_with_a_point() -> None:
    request = b'{"number": 2.0, "size": 5.12e2, "extension_mandatory": [{"keyweave_min_shares": 2.0}]}'
    read = messages.key_request_from_body(request)
    assert (read.number, read.size, read.mandatory[0].min_shares) == (2, 512, 2)


def test_query_and_body_ask_for_the_same() -> None:
    assert messages.key_request_from_query([("number", "3"), ("size", "256")]) == KeyRequest(3, 256)


@given(st.integers(1, 10**6).filter(lambda size: size % 8))
def test_a_size_that_is_no_multiple_of_8_gets_the_standards_message(size: int) -> None:
    for read in (
        partial(messages.key_request_from_body, body({"size": size})),
        partial(messages.key_request_from_query, [("size", str(size))]),
    ):
        with pytest.raises(BadRequestError) as refused:
            read()
        assert refused.value.message == "size shall be a multiple of 8"


def test_mandatory_extensions_get_the_standards_message_and_are_named() -> None:
    with pytest.raises(BadRequestError) as refused:
        messages.key_request_from_body(
            body({"extension_mandatory": [{"abc_route": 1, "abc_b": 2}, {"c": {}}]})
        )
    assert refused.value.message == "not all extension_mandatory parameters are supported"
    assert refused.value.details == (
        {"extension_mandatory_unsupported": "abc_route is not supported"},
        {"extension_mandatory_unsupported": "abc_b is not supported"},
        {"extension_mandatory_unsupported": "c is not supported"},
    )


def test_further_slaves_beyond_the_count_that_status_states_are_refused_with_it() -> None:
    slaves = ["bank-c", "bank-d", "bank-e"]
    request = messages.key_request_from_body(body({"additional_slave_SAE_IDs": slaves}))
    with pytest.raises(BadRequestError, match=r"^additional_slave_SAE_IDs: ") as refused:
        messages.order_within(request, STATUS)
    stated = json.loads(messages.status_body(STATUS))["max_SAE_ID_count"]
    assert refused.value.details == ({"additional_slave_SAE_IDs": 3, "max_SAE_ID_count": stated},)


@pytest.mark.parametrize("slave", ["bank-a", "bank-b"])
def test_neither_master_nor_the_slave_in_the_path_is_a_further_slave(slave: str) -> None:
    request = messages.key_request_from_body(body({"additional_slave_SAE_IDs": ["bank-c", slave]}))
    with pytest.raises(InvalidInputError, match=f"names {slave}"):
        messages.order_within(request, STATUS)


def test_further_slaves_are_ordered_as_named() -> None:
    request = messages.key_request_from_body(body({"additional_slave_SAE_IDs": ["bank-d", "bank-c"]}))
    assert messages.order_within(request, STATUS) == KeyOrder(1, 256, (SaeId("bank-d"), SaeId("bank-c")))


@pytest.mark.parametrize(
    ("request_body", "field"),
    [
        ({"number": 0}, "number"),
        ({"number": -1}, "number"),
        ({"number": "1"}, "number"),
        ({"number": 1.5}, "number"),
        ({"number": True}, "number"),
        ({"number": None}, "number"),
        ({"number": 10**30}, "number"),
        ({"number": 1e300}, "number"),
        ({"size": 0}, "size"),
        ({"size": -8}, "size"),
        ({"size": "256"}, "size"),
        ({"size": [256]}, "size"),
        ({"additional_slave_SAE_IDs": "bank-c"}, "additional_slave_SAE_IDs"),
        ({"additional_slave_SAE_IDs": [1]}, "additional_slave_SAE_IDs"),
        ({"additional_slave_SAE_IDs": [""]}, "additional_slave_SAE_IDs"),
        ({"additional_slave_SAE_IDs": ["x" * 129]}, "additional_slave_SAE_IDs"),
        ({"additional_slave_SAE_IDs": ["bank-c", "bank-c"]}, "additional_slave_SAE_IDs"),
        ({"extension_mandatory": {}}, "extension_mandatory"),
        ({"extension_mandatory": ["abc"]}, "extension_mandatory"),
        ({"extension_optional": [None]}, "extension_optional"),
        ({"nubmer": 1}, "nubmer"),
        ([], "body"),
        (None, "body"),
        ("number", "body"),
    ],
)
def test_a_wrong_field_is_named(request_body: Any, field: str) -> None:
    with pytest.raises(InvalidInputError) as refused:
        messages.key_request_from_body(body(request_body))
    assert [v.field for v in refused.value.violations] == [field]


@pytest.mark.parametrize(
    "data",
    [
        b"{",
        b"number=1",
        b'{"number":1}x',
        b'{"number":1,"number":2}',
        b'{"number":' + b"9" * 5000 + b"}",
        b'{"extension_optional":' + b"[" * 60_000,
        b'\xff\xfe{"number":1}',
        b'{"number":"\xff"}',
    ],
    ids=["open", "form", "trailing", "repeated", "digits", "nested", "utf-16", "not utf-8"],
)
def test_what_is_not_json_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidInputError, match=r"^body: must be a JSON object: "):
        messages.key_request_from_body(data)


@given(st.binary(max_size=200))
def test_no_body_raises_anything_but_invalid_input(data: bytes) -> None:
    for read in (messages.key_request_from_body, messages.key_ids_from_body):
        with contextlib.suppress(InvalidInputError):
            assert read(data)


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ([("number", "")], "number"),
        ([("number", "+1")], "number"),
        ([("number", "1_0")], "number"),
        ([("number", "٣")], "number"),
        ([("number", "0")], "number"),
        ([("number", "9" * 5000)], "number"),
        ([("number", "1"), ("number", "2")], "number"),
        ([("size", "1.5")], "size"),
        ([("key_ID", "1")], "key_ID"),
    ],
)
def test_a_wrong_query_parameter_is_named(query: list[tuple[str, str]], field: str) -> None:
    with pytest.raises(InvalidInputError) as refused:
        messages.key_request_from_query(query)
    assert [v.field for v in refused.value.violations] == [field]


def test_more_keys_than_one_request_may_have_are_refused_with_the_limit() -> None:
    assert messages.order_within(KeyRequest(number=16), STATUS).number == 16
    with pytest.raises(BadRequestError, match=r"^number: 17 is more than the 16 ") as refused:
        messages.order_within(KeyRequest(number=17), STATUS)
    assert refused.value.details == ({"number": 17, "max_key_per_request": 16},)


@pytest.mark.parametrize("size", [64, 72, 256, 8192])
def test_any_size_that_the_status_states_can_be_ordered(size: int) -> None:
    assert messages.order_within(KeyRequest(size=size), STATUS) == KeyOrder(1, size)


@pytest.mark.parametrize("size", [8, 56, 8200])
def test_another_size_is_refused_with_the_sizes_that_are_right(size: int) -> None:
    with pytest.raises(BadRequestError, match=rf"^size: {size} bits ") as refused:
        messages.order_within(KeyRequest(size=size), STATUS)
    assert refused.value.details == (
        {"size": size, "key_size": 256, "min_key_size": 64, "max_key_size": 8192},
    )


def test_what_is_sent_back_of_a_request_is_short() -> None:
    with pytest.raises(InvalidInputError) as refused:
        messages.key_request_from_body(body({"number": "x" * 100_000}))
    assert len(str(refused.value)) < 200


# ---- dec_keys ---------------------------------------------------------------------------------------


def test_key_ids_keep_their_order() -> None:
    key_ids = [uuid.UUID(int=n) for n in (3, 1, 2)]
    request = {"key_IDs": [{"key_ID": str(key_id)} for key_id in key_ids]}
    assert messages.key_ids_from_body(body(request)) == tuple(key_ids)


def test_reserved_extensions_of_key_ids_are_ignored() -> None:
    request = {
        "key_IDs": [{"key_ID": str(KEY_ID), "key_ID_extension": {"x": 1}}],
        "key_IDs_extension": {"y": 2},
    }
    assert messages.key_ids_from_body(body(request)) == (KEY_ID,)


def test_one_key_can_be_named_in_the_query() -> None:
    assert messages.key_ids_from_query([("key_ID", str(KEY_ID).upper())]) == (KEY_ID,)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        KEY_ID.hex,
        f"{KEY_ID.hex}----",
        f"{{{KEY_ID}}}",
        f"urn:uuid:{KEY_ID}",
        f" {KEY_ID}",
        f"{KEY_ID}"[:-1] + "g",
        "-" * 36,
    ],
)
def test_a_key_id_is_an_rfc_4122_text(text: str) -> None:
    with pytest.raises(InvalidInputError, match=r"^key_ID: must be a UUID"):
        messages.key_ids_from_query([("key_ID", text)])
    with pytest.raises(InvalidInputError, match=r"^key_IDs\[0\].key_ID: must be a UUID"):
        messages.key_ids_from_body(body({"key_IDs": [{"key_ID": text}]}))


@pytest.mark.parametrize(
    ("request_body", "field"),
    [
        ({}, "key_IDs"),
        ({"key_IDs": []}, "key_IDs"),
        ({"key_IDs": {}}, "key_IDs"),
        ({"key_IDs": [{"key_ID": str(uuid.UUID(int=n))} for n in range(1025)]}, "key_IDs"),
        ({"key_IDs": [str(KEY_ID)]}, "key_IDs[0]"),
        ({"key_IDs": [{}]}, "key_IDs[0].key_ID"),
        ({"key_IDs": [{"key_ID": 1}]}, "key_IDs[0].key_ID"),
        ({"key_IDs": [{"key_ID": str(KEY_ID)}, {"key_ID": str(KEY_ID).upper()}]}, "key_IDs[1].key_ID"),
        ({"key_IDs": [{"key_ID": str(KEY_ID), "key_ID_extension": 1}]}, "key_IDs[0].key_ID_extension"),
        ({"key_IDs": [{"key_ID": str(KEY_ID), "key": "x"}]}, "key_IDs[0].key"),
        ({"key_IDs": [{"key_ID": str(KEY_ID)}], "key_IDs_extension": []}, "key_IDs_extension"),
        ({"key_IDs": [{"key_ID": str(KEY_ID)}], "number": 1}, "number"),
    ],
)
def test_a_wrong_field_of_key_ids_is_named(request_body: Any, field: str) -> None:
    with pytest.raises(InvalidInputError) as refused:
        messages.key_ids_from_body(body(request_body))
    assert [v.field for v in refused.value.violations] == [field]


def test_the_largest_allowed_request_fits_the_body_limit() -> None:
    ids = [{"key_ID": str(uuid.UUID(int=n)), "key_ID_extension": {}} for n in range(messages.MAX_KEY_IDS)]
    data = json.dumps({"key_IDs": ids}, indent=2).encode()
    assert len(data) <= messages.MAX_BODY_BYTES
    assert len(messages.key_ids_from_body(data)) == messages.MAX_KEY_IDS


def test_a_query_without_a_key_id_is_refused() -> None:
    with pytest.raises(InvalidInputError, match=r"^key_ID: is missing"):
        messages.key_ids_from_query([])


# ---- answers ----------------------------------------------------------------------------------------


def test_status_has_the_standards_fields() -> None:
    assert json.loads(messages.status_body(STATUS)) == {
        "source_KME_ID": "kme-a",
        "target_KME_ID": "kme-b",
        "master_SAE_ID": "bank-a",
        "slave_SAE_ID": "bank-b",
        "key_size": 256,
        "stored_key_count": 12,
        "max_key_count": 64,
        "max_key_per_request": 16,
        "max_key_size": 8192,
        "min_key_size": 64,
        "max_SAE_ID_count": 2,
    }


@given(st.binary(min_size=8, max_size=64))
def test_a_container_holds_key_id_and_base64_of_the_key(key: bytes) -> None:
    delivered = DeliveredKey(KEY_ID, key, {"keyweave_protection": "hybrid"})
    (entry,) = json.loads(messages.container_body((delivered,), extensions_shown=True))["keys"]
    assert entry["key_ID"] == str(KEY_ID)
    assert base64.b64decode(entry["key"], validate=True) == key
    assert entry["key_extension"] == {"keyweave_protection": "hybrid"}


@pytest.mark.parametrize(("extension", "shown"), [({"keyweave_k": 1}, False), ({}, True)])
def test_provenance_can_be_withheld(extension: dict[str, Any], shown: bool) -> None:
    delivered = DeliveredKey(KEY_ID, bytes(32), extension)
    (entry,) = json.loads(messages.container_body((delivered,), extensions_shown=shown))["keys"]
    assert set(entry) == {"key_ID", "key"}


def test_a_delivered_key_shows_no_key_in_its_repr() -> None:
    secret = bytes(range(65, 97))
    text = repr(DeliveredKey(KEY_ID, secret, {}))
    assert secret.decode() not in text
    assert "key=" not in text
