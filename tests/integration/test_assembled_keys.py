"""Keys of other sizes and for several slaves: made of confirmed keys, proved by every KME before the 200."""

import base64
import uuid
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from keyweave.agent.keyplane.failure import KeyPlaneError
from keyweave.agent.keyplane.streams import batch
from keyweave.agent.keyplane.streams.far import FarEnd
from keyweave.common.names import SaeId
from keyweave.v1 import agent_pb2, types_pb2
from keyweave.v1 import keyplane_pb2 as pb
from tests.integration import mesh
from tests.integration.mesh import Mesh, wait_until
from tests.integration.mesh_policy import MeshStream, sae

LINE = ("a-b", "b-c")
STAR = ("a-b", "b-c", "b-d")
TO_C = MeshStream(path_sets=((("a", "b", "c"),),), on_exhaustion=types_pb2.ON_EXHAUSTION_WAIT)
TO_D = replace(TO_C, path_sets=((("a", "b", "d"),),), name="t")

Keys = dict[str, bytes]


async def draw(running: Mesh, node: str, peer: str, **request: Any) -> httpx.Response:
    return await running._ask(node, f"{sae(peer)}/enc_keys", request)


def keys_of(response: httpx.Response) -> Keys:
    assert response.status_code == 200, response.text
    return {key["key_ID"]: base64.b64decode(key["key"]) for key in response.json()["keys"]}


def extension_of(response: httpx.Response) -> dict[str, Any]:
    extension: dict[str, Any] = response.json()["keys"][0]["key_extension"]
    return extension


def waiting(running: Mesh, node: str) -> int:
    """Keys that wait at a node for their slave."""
    return sum(len(copies) for copies in running.plane(node).store._slave.values())


async def full(running: Mesh, *streams: MeshStream) -> None:
    """All buffers at both ends are full, and nothing is on its way."""
    for stream in streams:
        source, target = stream.ends
        await wait_until(
            lambda source=source, target=target, stream=stream: (  # type: ignore[misc]
                running.ready_keys(source, stream.name) == stream.buffer_keys
                and running.ready_keys(target, stream.name) == stream.buffer_keys
            ),
            20,
            f"the buffers of {stream.name} are full",
        )


# ---- other sizes --------------------------------------------------------------------------------


@pytest.mark.parametrize(("master", "slave"), [("a", "c"), ("c", "a")])
async def test_both_ends_get_the_same_key_of_any_size_and_either_may_be_master(
    tmp_path: Path, master: str, slave: str
) -> None:
    async with mesh.running(tmp_path, LINE, TO_C) as running:
        await full(running, TO_C)
        for size, number in ((64, 3), (256, 1), (264, 2), (1024, 2), (256 * TO_C.buffer_keys, 1)):
            await full(running, TO_C)
            drawn = keys_of(await draw(running, master, slave, size=size, number=number))
            assert [len(key) * 8 for key in drawn.values()] == [size] * number
            assert len(set(drawn.values())) == number
            assert keys_of(await running.dec_keys(slave, master, drawn)) == drawn
            again = await running.dec_keys(slave, master, drawn)
            assert again.status_code == 400
            assert again.json()["message"] == "one or more keys specified are not found on KME"


async def test_a_key_holds_the_bits_of_as_many_whole_keys_as_it_takes_and_nobody_gets_those_otherwise(
    tmp_path: Path,
) -> None:
    async with mesh.running(tmp_path, LINE, TO_C) as running:
        await full(running, TO_C)
        store = running.plane("a").store
        parts = {str(key_id): bytes(key.key) for key_id, key in store._ready["s"].items()}
        (long,) = keys_of(await draw(running, "a", "c", size=1000)).values()
        used = list(parts)[:4]
        assert long == b"".join(parts[key_id] for key_id in used)[:125]
        assert not store._aside
        rest = keys_of(await draw(running, "a", "c", number=TO_C.buffer_keys - 4))
        assert not set(rest) & set(used)
        assert (await running.dec_keys("c", "a", used[:1])).status_code == 400


async def test_an_assembled_key_tells_how_its_parts_came_to_be(tmp_path: Path) -> None:
    async with mesh.running(tmp_path, LINE, TO_C) as running:
        await full(running, TO_C)
        drawn = await draw(running, "a", "c", size=512)
        collected = await running.dec_keys("c", "a", keys_of(drawn))
        assert extension_of(drawn) == extension_of(collected)
        assert extension_of(drawn) == {
            "keyweave_protection": "hybrid",
            "keyweave_stream": "s",
            "keyweave_paths": ["s:a-b-c"],
            "keyweave_shares": 1,
            "keyweave_links": ["a-b", "b-c"],
            "keyweave_trusted_nodes": ["b"],
            "keyweave_emulated": True,
            "keyweave_vendor_domains": [],
        }


async def test_a_size_or_number_that_no_buffer_can_ever_hold_is_refused_and_consumes_nothing(
    tmp_path: Path,
) -> None:
    async with mesh.running(tmp_path, LINE, TO_C) as running:
        await full(running, TO_C)
        before = set(running.plane("a").store._ready["s"])
        for request in ({"size": 8192}, {"size": 2048, "number": 3}, {"size": 56}, {"size": 100}):
            assert (await draw(running, "a", "c", **request)).status_code == 400
        assert set(running.plane("a").store._ready["s"]) == before


async def test_a_lost_confirmation_is_asked_for_again_and_the_key_is_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch, "OFFER_TIMEOUT_SECONDS", 0.3)
    honest = FarEnd.assemble
    asked: list[bytes] = []

    def deaf_once(self: FarEnd, request: pb.Assemble) -> pb.Frame:
        answer = honest(self, request)
        asked.append(request.key_id)
        if len(asked) == 1:  # it did its work, and the answer gets lost
            raise KeyPlaneError(pb.FAILURE_CODE_UNREACHABLE, "lost")
        return answer

    async with mesh.running(tmp_path, LINE, TO_C) as running:
        await full(running, TO_C)
        monkeypatch.setattr(FarEnd, "assemble", deaf_once)
        drawn = keys_of(await draw(running, "a", "c", size=512))
        assert len(asked) == 2
        assert len(set(asked)) == 1
        assert keys_of(await running.dec_keys("c", "a", drawn)) == drawn


# ---- several slaves -----------------------------------------------------------------------------


async def test_every_slave_collects_the_one_key_by_its_id_and_the_masters_name_each_once(
    tmp_path: Path,
) -> None:
    async with mesh.running(tmp_path, STAR, TO_C, TO_D) as running:
        await full(running, TO_C, TO_D)
        drawn_response = await draw(
            running, "a", "c", number=2, size=384, additional_slave_SAE_IDs=[sae("d")]
        )
        drawn = keys_of(drawn_response)
        assert len(set(drawn.values())) == 2
        for slave in ("c", "d"):
            collected = await running.dec_keys(slave, "a", drawn)
            assert keys_of(collected) == drawn
            extension = extension_of(collected)
            assert extension["keyweave_stream"] == {"c": "s", "d": "t"}[slave]
            assert extension["keyweave_links"] == ["a-b", "b-c", "b-d"]
            assert extension["keyweave_paths"] == ["s:a-b-c", "t:a-b-d"]
            assert extension["keyweave_trusted_nodes"] == ["b"]
            assert (await running.dec_keys(slave, "a", drawn)).status_code == 400
        assert extension_of(drawn_response) == extension | {"keyweave_stream": "s"}


async def test_who_was_not_named_cannot_collect_a_key_of_several_slaves(tmp_path: Path) -> None:
    between = replace(TO_C, path_sets=((("c", "b", "d"),),), name="u")
    async with mesh.running(tmp_path, STAR, TO_C, TO_D, between) as running:
        await full(running, TO_C, TO_D)
        drawn = keys_of(await draw(running, "a", "c", size=512))
        assert (await running.dec_keys("d", "a", drawn)).status_code == 400
        assert (await running.dec_keys("c", "d", drawn)).status_code == 401, "another master's name"
        assert keys_of(await running.dec_keys("c", "a", drawn)) == drawn


async def test_a_slave_without_a_stream_to_the_master_is_401_and_consumes_nothing(tmp_path: Path) -> None:
    async with mesh.running(tmp_path, STAR, TO_C) as running:
        await full(running, TO_C)
        response = await draw(running, "a", "c", additional_slave_SAE_IDs=[sae("d")])
        assert response.status_code == 401
        assert sae("d") in response.json()["message"]
        assert running.ready_keys("a") == TO_C.buffer_keys


async def test_where_one_kme_does_not_confirm_nobody_gets_the_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch, "OFFER_TIMEOUT_SECONDS", 0.3)
    honest = FarEnd.assemble

    def refusing(self: FarEnd, request: pb.Assemble) -> pb.Frame:
        if request.stream == "t":
            raise KeyPlaneError(pb.FAILURE_CODE_NOT_ALLOWED, "no")
        return honest(self, request)

    async with mesh.running(tmp_path, STAR, TO_C, TO_D) as running:
        await full(running, TO_C, TO_D)
        monkeypatch.setattr(FarEnd, "assemble", refusing)
        before = waiting(running, "c"), waiting(running, "d")
        response = await draw(running, "a", "c", additional_slave_SAE_IDs=[sae("d")])
        assert response.status_code == 503
        await full(running, TO_C, TO_D)
        # The copy that had been made is withdrawn; what it was made of is burnt, and made anew.
        await wait_until(
            lambda: (waiting(running, "c"), waiting(running, "d")) == before, 5, "no copy is left"
        )
        assert not running.plane("a").store._aside


async def test_a_wrong_tag_of_a_kme_is_an_alarm_and_no_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = FarEnd.assemble

    def lying(self: FarEnd, request: pb.Assemble) -> pb.Frame:
        answer = honest(self, request)
        answer.assembled.far_tag = bytes(32)
        return answer

    async with mesh.running(tmp_path, LINE, TO_C) as running:
        await full(running, TO_C)
        monkeypatch.setattr(FarEnd, "assemble", lying)
        response = await draw(running, "a", "c", size=512)
        assert response.status_code == 503
        assert len(running.events_of(agent_pb2.AGENT_EVENT_KIND_CONFIRMATION_FAILED, "a")) == 1


# ---- requirements hold over every way ------------------------------------------------------------


async def test_one_slaves_stream_that_lacks_what_anothers_requires_makes_no_common_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("keyweave.agent.keyplane.streams.near.STARTUP_GRACE_SECONDS", 0.0)
    strict = replace(TO_C, require_qkd=True)
    # Its path has no link that exists, so all its keys are made by ML-KEM alone.
    weak = replace(
        TO_D, path_sets=((("a", "x", "d"),),), on_exhaustion=types_pb2.ON_EXHAUSTION_PQC, require_qkd=False
    )
    async with mesh.running(tmp_path, STAR, strict, weak) as running:
        await full(running, strict, weak)
        alone = await draw(running, "a", "d")
        assert extension_of(alone)["keyweave_protection"] == "pqc"
        response = await draw(running, "a", "d", additional_slave_SAE_IDs=[sae("c")])
        assert response.status_code == 503
        response = await draw(running, "a", "c", additional_slave_SAE_IDs=[sae("d")])
        assert response.status_code == 503
        # By itself it does: only what all ways have in common counts.
        assert extension_of(await draw(running, "a", "c", size=512))["keyweave_protection"] == "hybrid"


async def test_a_stream_that_restricts_its_relays_shares_no_key_that_crosses_a_node_off_its_paths(
    tmp_path: Path,
) -> None:
    links = ("a-b", "b-c", "a-e", "d-e", "b-d")
    choosy = replace(TO_C, restricts_relays=True)
    elsewhere = replace(TO_D, path_sets=((("a", "e", "d"),),))
    same_way = replace(TO_D, name="u", path_sets=((("a", "b", "d"),),))
    for other, status in ((elsewhere, 503), (same_way, 200)):
        directory = tmp_path / other.name
        directory.mkdir()
        async with mesh.running(directory, links, choosy, other) as running:
            await full(running, choosy, other)
            for first, second in (("c", "d"), ("d", "c")):
                response = await draw(running, "a", first, additional_slave_SAE_IDs=[sae(second)])
                assert response.status_code == status, response.text


# ---- links that go bad, agents that restart -------------------------------------------------------


async def test_a_link_that_goes_bad_takes_every_slaves_copy_with_it_also_where_it_does_not_lead(
    tmp_path: Path,
) -> None:
    async with mesh.running(tmp_path, STAR, TO_C, TO_D) as running:
        await full(running, TO_C, TO_D)
        drawn = keys_of(await draw(running, "a", "c", additional_slave_SAE_IDs=[sae("d")]))
        # Not on the way to d: only the master's node knows that d's key crossed it too.
        running.plane("b").aftermath._quarantine("b-c", 0.0, "somebody listens")
        for slave in ("c", "d"):
            key_id = next(iter(drawn))
            await wait_until(
                lambda slave=slave, key_id=key_id: (  # type: ignore[misc]
                    uuid.UUID(key_id) not in running.plane(slave).store._slave
                ),
                5,
                f"{slave} has no copy",
            )
            assert (await running.dec_keys(slave, "a", drawn)).status_code == 400


async def test_a_link_that_goes_bad_while_a_key_is_assembled_leaves_no_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = FarEnd.assemble

    async with mesh.running(tmp_path, LINE, TO_C) as running:

        def overheard(self: FarEnd, request: pb.Assemble) -> pb.Frame:
            answer = honest(self, request)
            # The news reaches the master's node before the answer does.
            running.plane("a").aftermath._quarantine("a-b", 0.0, "somebody listens")
            return answer

        await full(running, TO_C)
        monkeypatch.setattr(FarEnd, "assemble", overheard)
        response = await draw(running, "a", "c", size=512)
        assert response.status_code == 503
        assert not running.plane("a").store._aside


async def test_a_restarted_slaves_agent_has_no_key_that_was_assembled_before(tmp_path: Path) -> None:
    async with mesh.running(tmp_path, LINE, TO_C) as running:
        await full(running, TO_C)
        drawn = keys_of(await draw(running, "a", "c", size=512))
        await running.stop("c")
        await running.start("c")
        await full(running, TO_C)
        assert (await running.dec_keys("c", "a", drawn)).status_code == 400
        again = keys_of(await draw(running, "a", "c", size=512))
        assert keys_of(await running.dec_keys("c", "a", again)) == again


# ---- extension parameters --------------------------------------------------------------------------


async def test_mandatory_extensions_choose_among_ready_keys_and_are_refused_where_none_is_so(
    tmp_path: Path,
) -> None:
    async with mesh.running(tmp_path, LINE, TO_C) as running:
        await full(running, TO_C)
        for demand in ({"keyweave_require_protection": "hybrid"}, {"keyweave_min_shares": 1}):
            for size in (256, 512):
                response = await draw(running, "a", "c", size=size, extension_mandatory=[demand])
                assert extension_of(response)["keyweave_protection"] == "hybrid"
        await full(running, TO_C)
        impossible: list[dict[str, float]] = [{"keyweave_min_shares": 2}, {"keyweave_max_age_seconds": 1e-6}]
        for wish in impossible:
            for size in (256, 512):
                response = await draw(running, "a", "c", size=size, extension_mandatory=[wish])
                assert response.status_code == 400
                assert response.json() == {
                    "message": "not all extension_mandatory request options could be met",
                    "details": [{"detail": name} for name in wish],
                }
        assert running.ready_keys("a") == TO_C.buffer_keys


async def test_optional_extensions_that_no_ready_key_meets_are_named_beside_the_keys(tmp_path: Path) -> None:
    async with mesh.running(tmp_path, LINE, TO_C) as running:
        await full(running, TO_C)
        wishes = [{"keyweave_min_shares": 2}, {"abc_route": 1}, {"keyweave_require_protection": "qkd"}]
        response = await draw(running, "a", "c", extension_optional=wishes)
        assert response.json()["key_container_extension"] == {
            "keyweave_message": "not all extension_optional request options handled",
            "keyweave_extension_optional_unhandled": ["abc_route", "keyweave_min_shares"],
        }
        met = await draw(running, "a", "c", extension_optional=wishes[2:])
        assert "key_container_extension" not in met.json()


async def test_status_states_what_can_be_asked_for(tmp_path: Path) -> None:
    async with mesh.running(tmp_path, LINE, TO_C) as running:
        await full(running, TO_C)
        status = (await running._ask("a", f"{sae('c')}/status", {})).status_code
        assert status == 405, "status is for GET"
        supply = running.agents["a"].agent.supply.status(SaeId(sae("a")), SaeId(sae("c")))
        assert (supply.min_key_size, supply.key_size, supply.max_key_size) == (64, 256, 16 * 256)
        assert supply.max_sae_id_count == 16
        assert supply.extension == {
            "keyweave_extensions": (
                "keyweave_require_protection",
                "keyweave_min_shares",
                "keyweave_max_age_seconds",
            ),
            "keyweave_stream": "s",
            "keyweave_protection": "hybrid",
            "keyweave_paths": ("s:a-b-c",),
        }
