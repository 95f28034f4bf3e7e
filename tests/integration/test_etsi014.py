"""ETSI GS QKD 014 v1.1.1 over real mutual TLS, as an independent client sees it."""

import asyncio
import base64
import json
import shutil
import uuid
from typing import Any

import httpx
import pytest
import structlog

from keyweave.agent.etsi014 import messages
from keyweave.agent.etsi014.supply import (
    Refusal,
    SupplyError,
)
from keyweave.common.names import SaeId
from tests.integration.etsi014_face import (
    KEYS_OF_ONE_REQUEST,
    MASTER,
    SLAVE,
    STRANGER,
    FakeSupply,
    Pki,
    client,
    error_of,
    key_ids,
    serving,
)

# ---- what the standard promises ---------------------------------------------------------------------


async def test_status_describes_the_supply_from_caller_to_peer(master: httpx.AsyncClient) -> None:
    response = await master.get(f"/{SLAVE}/status")
    assert response.status_code == 200
    assert response.json() == {
        "source_KME_ID": "tokyo",
        "target_KME_ID": "koganei",
        "master_SAE_ID": MASTER,
        "slave_SAE_ID": SLAVE,
        "key_size": 256,
        "stored_key_count": 12,
        "max_key_count": 64,
        "max_key_per_request": KEYS_OF_ONE_REQUEST,
        "max_key_size": 256,
        "min_key_size": 256,
        "max_SAE_ID_count": 0,
    }


async def test_stored_key_count_never_exceeds_max_key_count(
    master: httpx.AsyncClient, supply: FakeSupply
) -> None:
    supply.stored_key_count = 99
    assert (await master.get(f"/{SLAVE}/status")).json()["stored_key_count"] == 64


async def test_what_the_master_draws_the_slave_collects_by_key_id(
    master: httpx.AsyncClient, slave: httpx.AsyncClient
) -> None:
    drawn = await master.post(f"/{SLAVE}/enc_keys", json={"number": 3, "size": 256})
    assert drawn.status_code == 200
    keys = drawn.json()["keys"]
    assert [len(base64.b64decode(key["key"])) for key in keys] == [32, 32, 32]
    assert all(key["key_extension"] == {"keyweave_protection": "hybrid"} for key in keys)

    collected = await slave.post(f"/{MASTER}/dec_keys", json=key_ids(*(key["key_ID"] for key in keys)))

    assert collected.status_code == 200
    assert collected.json() == drawn.json()


async def test_get_does_what_post_does(
    master: httpx.AsyncClient, slave: httpx.AsyncClient, supply: FakeSupply
) -> None:
    drawn = await master.get(f"/{SLAVE}/enc_keys", params={"number": 2, "size": 256})
    assert len(drawn.json()["keys"]) == 2
    for key in drawn.json()["keys"]:
        collected = await slave.get(f"/{MASTER}/dec_keys", params={"key_ID": key["key_ID"]})
        assert collected.json() == {"keys": [key]}
    assert supply.waiting == {}


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_bare_request_draws_one_key(master: httpx.AsyncClient, method: str) -> None:
    response = await master.request(method, f"/{SLAVE}/enc_keys")
    assert len(response.json()["keys"]) == 1


async def test_answers_may_not_be_stored_on_the_way(master: httpx.AsyncClient) -> None:
    for path in (f"/{SLAVE}/enc_keys", f"/{SLAVE}/status", f"/{STRANGER}/status", "/nothing"):
        assert (await master.get(path)).headers["cache-control"] == "no-store"


async def test_provenance_can_be_switched_off(pki: Pki, supply: FakeSupply) -> None:
    async with (
        serving(pki, supply, extensions_shown=False) as url,
        client(pki, url, pki.sae(MASTER)) as http,
    ):
        (key,) = (await http.get(f"/{SLAVE}/enc_keys")).json()["keys"]
    assert set(key) == {"key_ID", "key"}


async def test_an_sae_id_in_the_path_may_be_percent_encoded(
    master: httpx.AsyncClient, supply: FakeSupply
) -> None:
    response = await master.get("/bank%20b%2Fx/status")
    assert response.status_code == 401
    assert "bank b/x" in error_of(response)["message"]


# ---- refusals ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"size": 255}, "size shall be a multiple of 8"),
        ({"extension_mandatory": [{"a": 1}]}, "not all extension_mandatory parameters are supported"),
    ],
)
async def test_the_standards_messages_are_word_for_word(
    master: httpx.AsyncClient, supply: FakeSupply, body: dict[str, Any], message: str
) -> None:
    response = await master.post(f"/{SLAVE}/enc_keys", json=body)
    assert response.status_code == 400
    assert error_of(response)["message"] == message
    assert supply.drawn == []


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"{", "body"),
        (b"[]", "body"),
        (b'{"nubmer": 1}', "nubmer"),
        (b'{"number": 0}', "number"),
        (b'{"number": 17}', "number"),
        (b'{"size": "256"}', "size"),
        (b'{"size": 512}', "size"),
        (b'{"additional_slave_SAE_IDs": ["bank-c"]}', "additional_slave_SAE_IDs"),
        (b'{"extension_optional": 1}', "extension_optional"),
    ],
)
async def test_a_bad_request_for_keys_names_the_field_and_draws_nothing(
    master: httpx.AsyncClient, supply: FakeSupply, body: bytes, field: str
) -> None:
    response = await master.post(f"/{SLAVE}/enc_keys", content=body)
    assert response.status_code == 400
    assert error_of(response)["message"].startswith(f"{field}: ")
    assert supply.drawn == []


async def test_optional_extensions_are_ignored(master: httpx.AsyncClient) -> None:
    response = await master.post(f"/{SLAVE}/enc_keys", json={"extension_optional": [{"abc_x": {"y": 1}}]})
    assert response.status_code == 200


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", f"/{SLAVE}/enc_keys?number=1&number=2"),
        ("GET", f"/{SLAVE}/enc_keys?nubmer=1"),
        ("POST", f"/{SLAVE}/enc_keys?number=1"),
        ("GET", f"/{SLAVE}/status?verbose=1"),
        ("GET", f"/{SLAVE}/dec_keys"),
        ("POST", f"/{SLAVE}/dec_keys"),
        ("GET", f"/{SLAVE}/dec_keys?key_ID=7"),
    ],
)
async def test_bad_parameters_are_refused(
    master: httpx.AsyncClient, supply: FakeSupply, method: str, path: str
) -> None:
    response = await master.request(method, path)
    assert response.status_code == 400
    (detail,) = error_of(response)["details"]
    assert set(detail) == {"field", "description"}
    assert not {"draw", "collect"} & set(supply.calls)


async def test_unknown_or_spent_keys_get_the_standards_message_and_consume_nothing(
    master: httpx.AsyncClient, slave: httpx.AsyncClient
) -> None:
    first, second = (
        key["key_ID"] for key in (await master.get(f"/{SLAVE}/enc_keys?number=2")).json()["keys"]
    )
    unknown = uuid.UUID(int=999)

    mixed = await slave.post(f"/{MASTER}/dec_keys", json=key_ids(first, unknown))
    assert mixed.status_code == 400
    assert error_of(mixed) == {
        "message": "one or more keys specified are not found on KME",
        "details": [{"detail": str(unknown)}],
    }
    assert (await slave.post(f"/{MASTER}/dec_keys", json=key_ids(first, second))).status_code == 200

    again = await slave.get(f"/{MASTER}/dec_keys?key_ID={first}")
    assert again.status_code == 400
    assert error_of(again)["message"] == "one or more keys specified are not found on KME"


async def test_no_key_now_is_503_with_a_hint_to_come_back(
    master: httpx.AsyncClient, supply: FakeSupply
) -> None:
    supply.failure = SupplyError(Refusal.UNAVAILABLE, "all paths are down", ("link l1: cut",))
    response = await master.get(f"/{SLAVE}/enc_keys")
    assert response.status_code == 503
    assert error_of(response) == {"message": "all paths are down", "details": [{"detail": "link l1: cut"}]}
    assert int(response.headers["retry-after"]) > 0


async def test_an_unforeseen_error_is_503_and_neither_answer_nor_log_holds_its_text(
    master: httpx.AsyncClient, supply: FakeSupply
) -> None:
    secret = "c2VjcmV0IGtleQ"
    supply.failure = RuntimeError(f"cannot pack {secret}")
    with structlog.testing.capture_logs() as logged:
        response = await master.get(f"/{SLAVE}/enc_keys")
    assert response.status_code == 503
    (event,) = logged
    assert (event["event"], event["error"]) == ("etsi014_request_failed", "RuntimeError")
    assert any("in draw" in place or place.endswith(" draw") for place in event["at"])
    assert secret not in response.text
    assert secret not in repr(logged)


async def test_a_body_over_the_limit_is_refused(master: httpx.AsyncClient, supply: FakeSupply) -> None:
    body = json.dumps({"extension_optional": [{"x": "y" * messages.MAX_BODY_BYTES}]})
    response = await master.post(f"/{SLAVE}/enc_keys", content=body)
    assert response.status_code == 413
    assert str(messages.MAX_BODY_BYTES) in error_of(response)["message"]
    assert supply.drawn == []


@pytest.mark.parametrize(
    "path",
    [
        f"/{SLAVE}",
        f"/{SLAVE}/status/",
        f"/{SLAVE}/enc_keys/",
        f"/{SLAVE}/keys",
        "//enc_keys",
        "/a/b/enc_keys",
    ],
)
async def test_there_is_nothing_at_other_paths(
    master: httpx.AsyncClient, supply: FakeSupply, path: str
) -> None:
    response = await master.get(path)
    assert response.status_code == 404
    error_of(response)
    assert supply.calls == []


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("POST", "status", "GET"),
        ("PUT", "enc_keys", "GET, POST"),
        ("DELETE", "dec_keys", "GET, POST"),
        ("HEAD", "enc_keys", "GET, POST"),
        ("OPTIONS", "enc_keys", "GET, POST"),
    ],
)
async def test_other_methods_are_not_allowed_and_draw_nothing(
    master: httpx.AsyncClient, supply: FakeSupply, method: str, path: str, allowed: str
) -> None:
    response = await master.request(method, f"/{SLAVE}/{path}")
    assert response.status_code == 405
    assert response.headers["allow"] == allowed
    assert supply.calls == []


async def test_a_key_whose_reader_went_away_is_burned(pki: Pki, url: str, supply: FakeSupply) -> None:
    supply.may_finish.clear()
    async with client(pki, url, pki.sae(MASTER)) as http:
        request = asyncio.create_task(http.get(f"/{SLAVE}/enc_keys"))
        await supply.began.wait()
        request.cancel()
        with pytest.raises(asyncio.CancelledError):
            await request
    async with client(pki, url, pki.sae(MASTER)) as http:
        # By the time this is answered the server knows that the first connection is gone.
        await http.get(f"/{SLAVE}/status")
        supply.may_finish.set()
        (key,) = (await http.get(f"/{SLAVE}/enc_keys")).json()["keys"]
    assert key["key_ID"] == str(supply.drawn[1].key_id)


# ---- as an operator tries it ------------------------------------------------------------------------


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
async def test_curl_draws_and_collects_a_key(pki: Pki, url: str) -> None:
    async def curl(sae: SaeId, *arguments: str) -> Any:
        files = pki.sae(sae)
        process = await asyncio.create_subprocess_exec(
            "curl",
            *("--silent", "--fail-with-body", "--noproxy", "*", "--max-time", "10"),
            *("--cacert", str(pki.ca)),
            *("--cert", str(files.certificate), "--key", str(files.private_key)),
            *arguments,
            stdout=asyncio.subprocess.PIPE,
        )
        output, _ = await process.communicate()
        assert process.returncode == 0, output
        return json.loads(output)

    drawn = await curl(MASTER, "-d", '{"number": 1}', f"{url}/api/v1/keys/{SLAVE}/enc_keys")
    key_id = drawn["keys"][0]["key_ID"]
    collected = await curl(SLAVE, f"{url}/api/v1/keys/{MASTER}/dec_keys?key_ID={key_id}")
    assert collected == drawn
