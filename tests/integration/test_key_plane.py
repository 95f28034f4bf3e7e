"""The key plane over real sockets and mutual TLS: what its ends may count on, and what nobody gets."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from keyweave.agent.keyplane.failure import KeyPlaneError
from keyweave.agent.keyplane.keys.keystore import KeyStore, StoredKey
from keyweave.agent.keyplane.sessions import session
from keyweave.agent.keyplane.sessions.session import Peer
from keyweave.agent.keyplane.streams import near
from keyweave.agent.keyplane.streams.relay import Relays
from keyweave.agent.keyplane.streams.route import Side
from keyweave.agent.observer import PadUse
from keyweave.v1 import agent_pb2, emulator_pb2, types_pb2
from keyweave.v1 import keyplane_pb2 as pb
from tests.integration import mesh
from tests.integration.mesh import Mesh, wait_until
from tests.integration.mesh_policy import MeshStream

LINE = ("a-b", "b-c")
SQUARE = ("a-b", "b-c", "a-d", "c-d")
VIA_B, VIA_D = ("a", "b", "c"), ("a", "d", "c")
OVER_B = MeshStream(path_sets=((VIA_B,),), on_exhaustion=types_pb2.ON_EXHAUSTION_WAIT)
OVER_B_THEN_D = MeshStream(path_sets=((VIA_B,), (VIA_D,)), on_exhaustion=types_pb2.ON_EXHAUSTION_WAIT)
SPLIT = MeshStream(
    path_sets=((VIA_B, VIA_D),), k=2, min_k=2, require_qkd=True, on_exhaustion=types_pb2.ON_EXHAUSTION_WAIT
)


@pytest.fixture
def without_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    """ML-KEM need not wait for quantum paths to come up."""
    monkeypatch.setattr(near, "STARTUP_GRACE_SECONDS", 0.0)


def keys_of(response: httpx.Response) -> list[tuple[str, str]]:
    """(ID, key) of a key container."""
    assert response.status_code == 200, response.text
    return [(key["key_ID"], key["key"]) for key in response.json()["keys"]]


def extensions_of(response: httpx.Response) -> list[dict[str, Any]]:
    assert response.status_code == 200, response.text
    return [key["key_extension"] for key in response.json()["keys"]]


async def draw_and_collect(
    running: Mesh, master: str = "a", slave: str = "c", number: int = 2
) -> list[dict[str, Any]]:
    """Keys fetched at both ends, which must be equal; how they came to be."""
    drawn = await running.enc_keys(master, slave, number)
    collected = await running.dec_keys(slave, master, [key_id for key_id, _ in keys_of(drawn)])
    assert keys_of(collected) == keys_of(drawn)
    return extensions_of(drawn)


# ---- keys ---------------------------------------------------------------------------------------


async def test_keys_are_equal_at_both_ends_over_two_hops_in_both_directions_and_each_is_given_once(
    tmp_path: Path,
) -> None:
    async with mesh.running(tmp_path, LINE, OVER_B) as running:
        await running.supplied()
        for master, slave in (("a", "c"), ("c", "a")):
            drawn = keys_of(await running.enc_keys(master, slave, 3))
            ids = [key_id for key_id, _ in drawn]
            assert len({key for _, key in drawn}) == 3
            assert keys_of(await running.dec_keys(slave, master, ids)) == drawn
            again = await running.dec_keys(slave, master, ids)
            assert again.status_code == 400
            assert again.json()["message"] == "one or more keys specified are not found on KME"
        (provenance, _) = await draw_and_collect(running)
        assert provenance["keyweave_protection"] == "hybrid"
        assert provenance["keyweave_paths"] == ["s:a-b-c"]
        assert provenance["keyweave_links"] == ["a-b", "b-c"]
        assert provenance["keyweave_trusted_nodes"] == ["b"]
        assert provenance["keyweave_emulated"] is True


async def test_no_byte_of_pad_is_used_twice_and_what_one_end_sends_with_the_other_receives_with(
    tmp_path: Path,
) -> None:
    async with mesh.running(tmp_path, LINE, OVER_B) as running:
        await running.supplied()
        for _ in range(3):
            await draw_and_collect(running, number=8)
            await draw_and_collect(running, "c", "a", number=8)
        used = list(running.recording.pads)
    sent = {use: set() for use in PadUse}  # type: dict[PadUse, set[tuple[str, bytes, bool, int]]]
    for pad in used:
        places = {(pad.link, pad.pool_id, pad.first_lane, offset) for offset in range(pad.start, pad.end)}
        assert not places & sent[pad.use], f"{pad} was used before"
        sent[pad.use] |= places
    assert sent[PadUse.SEND]
    assert sent[PadUse.RECEIVE] <= sent[PadUse.SEND]


async def test_what_a_crash_must_not_forget_is_on_disk_before_it_is_done(tmp_path: Path) -> None:
    async with mesh.running(tmp_path, LINE, OVER_B) as running:
        await running.supplied()
        await draw_and_collect(running, number=8)
        await running.stop("c")
        await running.start("c")
        await running.supplied()
        await draw_and_collect(running, number=8)
        assert running.recording.blocks
        assert running.recording.pads
        assert running.recording.not_durable == []


async def test_a_key_of_two_shares_took_two_disjoint_paths_and_without_one_of_them_there_is_no_key(
    tmp_path: Path,
) -> None:
    async with mesh.running(tmp_path, SQUARE, SPLIT) as running:
        await running.supplied()
        (provenance,) = await draw_and_collect(running, number=1)
        assert provenance["keyweave_shares"] == 2
        assert sorted(provenance["keyweave_paths"]) == ["s:a-b-c", "s:a-d-c"]
        assert sorted(provenance["keyweave_trusted_nodes"]) == ["b", "d"]

        await running.stop("d")
        await wait_until(lambda: not running.plane("a").peers["d"].connected, 5, "a has lost d")
        while (response := await running.enc_keys("a", "c")).status_code == 200:
            assert extensions_of(response)[0]["keyweave_shares"] == 2, "buffered keys had both shares too"
        assert response.status_code == 503
        assert running.ready_keys("a") == 0

        await running.start("d")
        await running.supplied()
        (provenance,) = await draw_and_collect(running, number=1)
        assert provenance["keyweave_shares"] == 2


# ---- transit nodes that cheat, forget, or run out -----------------------------------------------


def flip_a_bit_at(node: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on this transit node alters every share that it passes on."""
    honest = Relays.forward

    async def forward(self: Relays, relay: pb.Relay, secret: bytearray, onward: Side) -> pb.Frame:
        if self._node == node:
            secret[0] ^= 1
        return await honest(self, relay, secret, onward)

    monkeypatch.setattr(Relays, "forward", forward)


@pytest.fixture
def stored(monkeypatch: pytest.MonkeyPatch) -> list[StoredKey]:
    """Every key that any agent ever stored, at either face."""
    kept: list[StoredKey] = []
    for name in ("add_master", "add_slave"):
        honest: Callable[[KeyStore, tuple[StoredKey, ...]], None] = getattr(KeyStore, name)

        def add(self: KeyStore, keys: Any, honest: Any = honest) -> None:
            added = tuple(keys)
            kept.extend(added)
            honest(self, added)

        monkeypatch.setattr(KeyStore, name, add)
    return kept


async def test_a_share_that_a_transit_node_altered_makes_no_key_and_the_stream_takes_the_other_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stored: list[StoredKey]
) -> None:
    flip_a_bit_at("b", monkeypatch)
    async with mesh.running(tmp_path, SQUARE, OVER_B_THEN_D) as running:
        await running.supplied()
        failed = running.events_of(agent_pb2.AGENT_EVENT_KIND_CONFIRMATION_FAILED)
        assert {event.stream for event in failed} == {"s"}
        assert all("different keys" in event.reason for event in failed)
        for provenance in await draw_and_collect(running):
            assert provenance["keyweave_paths"] == ["s:a-d-c"]
        assert {key.provenance.paths for key in stored} == {("s:a-d-c",)}, "nothing that crossed b was stored"


@pytest.mark.usefixtures("without_grace")
async def test_where_the_only_path_alters_shares_ml_kem_alone_takes_over_if_the_stream_allows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stored: list[StoredKey]
) -> None:
    flip_a_bit_at("b", monkeypatch)
    stream = replace(OVER_B, on_exhaustion=types_pb2.ON_EXHAUSTION_PQC)
    async with mesh.running(tmp_path, LINE, stream) as running:
        await running.supplied()
        await wait_until(
            lambda: running.events_of(agent_pb2.AGENT_EVENT_KIND_CONFIRMATION_FAILED), 5, "an alarm"
        )
        for provenance in await draw_and_collect(running):
            assert provenance["keyweave_protection"] == "pqc"
        assert {key.provenance.paths for key in stored} == {()}


async def test_a_ciphertext_altered_between_two_nodes_is_found_out_by_its_tag_at_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = Peer.request

    async def request(self: Peer, frame: pb.Frame, timeout_seconds: float) -> pb.Frame:
        if frame.WhichOneof("body") == "relay" and frame.relay.link == "b-c":
            altered = bytearray(frame.relay.ciphertext)
            altered[-1] ^= 0x80
            frame.relay.ciphertext = bytes(altered)
        return await honest(self, frame, timeout_seconds)

    monkeypatch.setattr(Peer, "request", request)
    tag_failed = agent_pb2.AGENT_EVENT_KIND_RELAY_TAG_FAILED
    async with mesh.running(tmp_path, LINE, OVER_B) as running:
        # What a sends crosses b-c as its second hop, what c sends as its first.
        await wait_until(lambda: running.events_of(tag_failed, "c"), 15, "c finds a wrong tag")
        await wait_until(lambda: running.events_of(tag_failed, "b"), 15, "b finds a wrong tag")
        assert {(event.link, event.stream) for event in running.events_of(tag_failed)} == {("b-c", "s")}
        assert not running.events_of(tag_failed, "a")
        assert running.ready_keys("a") == running.ready_keys("c") == 0
        assert not running.events_of(agent_pb2.AGENT_EVENT_KIND_CONFIRMATION_FAILED)


async def test_a_transit_node_whose_policy_does_not_name_the_stream_spends_no_byte_on_it(
    tmp_path: Path, refusals: list[pb.Failure]
) -> None:
    stream = replace(OVER_B_THEN_D, forgotten_by=frozenset({"b"}))
    async with mesh.running(tmp_path, SQUARE, stream) as running:
        await running.supplied()
        assert {(each.node, each.code) for each in refusals} == {("b", pb.FAILURE_CODE_NOT_ALLOWED)}
        assert all("no rule for stream 's'" in each.reason for each in refusals)
        assert not [pad for pad in running.recording.pads if pad.node == "b"]
        for provenance in await draw_and_collect(running):
            assert provenance["keyweave_paths"] == ["s:a-d-c"]


async def test_a_stream_that_has_used_its_budget_at_a_transit_node_spends_no_more_bytes_there(
    tmp_path: Path, refusals: list[pb.Failure]
) -> None:
    # One key in two seconds, four saved up: a buffer of 16 keys takes more than that at once.
    stream = replace(OVER_B_THEN_D, budget_bps=1024)
    async with mesh.running(tmp_path, SQUARE, stream) as running:
        begun = time.monotonic()
        await wait_until(lambda: refusals, 10, "the transit node refuses")
        await wait_until(lambda: running.ready_keys("a") >= 1, 10, "what the budget allows is made")
        over = [each for each in refusals if each.code == pb.FAILURE_CODE_OVER_BUDGET]
        assert {each.node for each in over} <= {"b", "d"}
        assert over
        assert {each.code for each in refusals} <= {
            pb.FAILURE_CODE_OVER_BUDGET,
            pb.FAILURE_CODE_POOL_EXHAUSTED,
        }
        relayed = sum(
            (pad.end - pad.start - 32) * 8
            for pad in running.recording.pads
            if pad.node == "b" and pad.use is PadUse.RECEIVE
        )
        # Both directions share the rule's bucket.
        assert relayed <= 1024 + 1024 * (time.monotonic() - begun + 5)


@pytest.fixture
def refusals(monkeypatch: pytest.MonkeyPatch) -> list[pb.Failure]:
    """Every failure with which a transit node answers a relay."""
    seen: list[pb.Failure] = []
    honest = Relays.admit

    def admit(self: Relays, peer: Peer, relay: pb.Relay) -> Side:
        try:
            return honest(self, peer, relay)
        except KeyPlaneError as error:
            seen.append(error.to_message())
            raise

    monkeypatch.setattr(Relays, "admit", admit)
    return seen


# ---- agents and links that come and go ----------------------------------------------------------


async def test_a_restarted_agent_begins_new_pools_above_all_blocks_ever_taken_and_old_keys_are_gone(
    tmp_path: Path,
) -> None:
    async with mesh.running(tmp_path, LINE, OVER_B) as running:
        await running.supplied()
        drawn = keys_of(await running.enc_keys("a", "c"))
        old_pools = {pad.pool_id for pad in running.recording.pads}
        taken_before = {(link, number) for _, link, number in running.recording.blocks}
        old_keys = set(running.plane("a").store._ready["s"])
        pads_before = len(running.recording.pads)

        await running.stop("c")
        await running.start("c")
        await wait_until(
            lambda: running.events_of(agent_pb2.AGENT_EVENT_KIND_KEYS_DESTROYED, "a"), 10, "a destroys keys"
        )
        await running.supplied()

        assert not old_keys & set(running.plane("a").store._ready["s"])
        lost = await running.dec_keys("c", "a", [drawn[0][0]])
        assert lost.status_code == 400, "a key that was issued and not fetched died with its agent"
        new_pads = running.recording.pads[pads_before:]
        on_bc = [pad for pad in new_pads if pad.link == "b-c" and pad.pool_id not in old_pools]
        assert on_bc, "keys flow over a new pool"
        highest = max(number for link, number in taken_before if link == "b-c")
        assert min(block for pad in on_bc for block in pad.blocks()) > highest
        per_end = [(node, link, number) for node, link, number in running.recording.blocks]
        assert len(set(per_end)) == len(per_end), "no end takes a device block twice"
        await draw_and_collect(running)
        await draw_and_collect(running, "c", "a")


async def test_a_transit_node_that_restarts_delays_keys_and_loses_none(tmp_path: Path) -> None:
    async with mesh.running(tmp_path, LINE, OVER_B) as running:
        await running.supplied()
        drawn = keys_of(await running.enc_keys("a", "c", 2))
        await running.stop("b")
        assert keys_of(await running.dec_keys("c", "a", [key_id for key_id, _ in drawn])) == drawn
        await draw_and_collect(running)
        await running.start("b")
        first = running.plane("a").near["s"].counters.confirmed_bits
        await wait_until(
            lambda: running.plane("a").near["s"].counters.confirmed_bits > first, 25, "keys flow again"
        )
        await draw_and_collect(running)


async def test_while_the_far_agent_is_silent_no_key_is_drawn_that_its_sae_could_not_fetch(
    tmp_path: Path,
) -> None:
    async with mesh.running(tmp_path, LINE, OVER_B, wired=(("a", "c"),)) as running:
        await running.supplied()
        wire, far = running.wires[("a", "c")], running.plane("a").peers["c"]
        wire.freeze()
        await wait_until(lambda: far.silent_seconds() > session.SILENT_SECONDS, 5, "c is silent")
        assert running.ready_keys("a") >= 4
        asked = time.monotonic()
        response = await running.enc_keys("a", "c")
        assert response.status_code == 503
        assert "silent" in response.text
        assert time.monotonic() - asked < 2.5
        assert running.ready_keys("a") >= 4, "nothing was consumed"
        wire.thaw()
        await wait_until(lambda: far.silent_seconds() < 1, 15, "c is heard again")
        await draw_and_collect(running)


async def test_an_eavesdropped_link_is_left_its_keys_are_destroyed_and_it_comes_back_once_it_is_clear(
    tmp_path: Path,
) -> None:
    async with mesh.running(tmp_path, SQUARE, OVER_B_THEN_D) as running:
        await running.supplied()
        await running.fault("a-b", emulator_pb2.FAULT_KIND_EAVESDROP)
        await wait_until(
            lambda: all(
                running.events_of(agent_pb2.AGENT_EVENT_KIND_QUARANTINED, node) for node in ("a", "b")
            ),
            5,
            "both ends abort the link",
        )
        old_pool = running.plane("a").links["a-b"].pool
        since = min(
            event.since_unix_nanos for event in running.events_of(agent_pb2.AGENT_EVENT_KIND_QUARANTINED)
        )
        await wait_until(lambda: not suspects(running, since / 1e9), 3, "keys built on it since are gone")

        await running.restore("a-b")
        await wait_until(
            lambda: not any(running.plane(node).links["a-b"].aborted for node in ("a", "b")), 15, "clear"
        )
        await wait_until(
            lambda: usable_bytes(running, "a-b", besides=old_pool) > 1024, 15, "a new pool fills"
        )
        await draw_and_collect(running)


def suspects(running: Mesh, since: float) -> list[StoredKey]:
    """Undelivered keys, at any face of either end, that were built on link a-b since a moment."""
    stores = [running.plane(node).store for node in ("a", "c")]
    drawable = [key for store in stores for key in store._ready.get("s", {}).values()]
    collectable = [key for store in stores for each in store._slave.values() for key in each.values()]
    keys = [*drawable, *collectable]
    return [key for key in keys if "a-b" in key.provenance.links and key.created >= since]


def usable_bytes(running: Mesh, link: str, besides: object) -> int:
    """What node a may send with over a link, from a pool that is not `besides`."""
    pool = running.plane("a").links[link].pool
    return 0 if pool is None or pool is besides else pool.send_bytes()


async def test_while_the_controller_is_away_keys_flow_and_every_agent_goes_on_calling_it(
    tmp_path: Path,
) -> None:
    calls: list[object] = []

    def called(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        calls.append(writer)
        writer.close()

    async with mesh.running(tmp_path, LINE, OVER_B) as running:
        await running.supplied()
        async with await asyncio.start_server(called, mesh.HOST, running.ports[mesh.CONTROLLER]):
            await wait_until(lambda: len(calls) >= 4, 20, "the agents call, and call again")
        await draw_and_collect(running)
