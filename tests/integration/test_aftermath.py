"""After an attack: what is held, released, destroyed and recalled, over real sockets at all nodes."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from keyweave.agent.keyplane.keys.keystore import KeyStore, StoredKey
from keyweave.agent.ledger import lines, segments
from keyweave.agent.observer import PadUse
from keyweave.agent.policy import Policy
from keyweave.common.policy_digest import policy_digest
from keyweave.v1 import agent_pb2, emulator_pb2, types_pb2
from tests.integration import mesh
from tests.integration.mesh import Mesh, wait_until
from tests.integration.mesh_policy import MeshStream

LINE = ("a-b", "b-c")
LINK = "a-b"
STREAM = MeshStream(
    path_sets=((("a", "b", "c"),),), require_qkd=True, on_exhaustion=types_pb2.ON_EXHAUSTION_WAIT
)
CLEAR, DESTROY = types_pb2.ORDER_KIND_LINK_CLEAR, types_pb2.ORDER_KIND_LINK_DESTROY
ZEROIZE = types_pb2.ORDER_KIND_NODE_ZEROIZE


Rules = dict[str, agent_pb2.Rule]


async def change_policy(running: Mesh, node: str, change: Callable[[Rules], None]) -> None:
    """As a push of the controller: persisted, then applied."""
    agent = running.agents[node].agent
    old = agent.policies.policy
    rules = {name: agent_pb2.Rule.FromString(rule.SerializeToString()) for name, rule in old.rules.items()}
    change(rules)
    await agent.policies.save(Policy(1, old.version + 1, policy_digest(rules.values()), rules))
    agent.apply_policy()


async def order(running: Mesh, node: str, kind: types_pb2.OrderKind, number: int = 1) -> None:
    rule = agent_pb2.OrderRule(
        order_id=f"{number:032x}",
        kind=kind,
        link="" if kind == ZEROIZE else LINK,
        ordered_unix_nanos=time.time_ns(),
        ordered_by="alice",
    )

    def add(rules: Rules) -> None:
        rules[f"order/{rule.order_id}"] = agent_pb2.Rule(rule_id=f"order/{rule.order_id}", order=rule)

    await change_policy(running, node, add)


async def suspect(running: Mesh, node: str, since_unix_nanos: int) -> None:
    def change(rules: Rules) -> None:
        rules[f"link/{LINK}"].link.suspect_since_unix_nanos = since_unix_nanos
        rules[f"link/{LINK}"].link.suspect_reason = "loss and detectors unchanged"

    await change_policy(running, node, change)


def link_ends(running: Mesh) -> list[Any]:
    return [running.plane(node).links[LINK] for node in ("a", "b")]


def kinds(running: Mesh, kind: agent_pb2.AgentEventKind, *nodes: str) -> bool:
    return all(running.events_of(kind, node) for node in nodes)


async def tapped_and_left_alone_again(running: Mesh) -> None:
    """An eavesdropper comes and goes; both ends have held blocks since."""
    await running.fault(LINK, emulator_pb2.FAULT_KIND_EAVESDROP)
    await wait_until(lambda: all(end.aborted for end in link_ends(running)), 10, "both ends abort")
    await running.restore(LINK)
    # While they wait to see whether it is over, their devices make key again.
    await wait_until(lambda: all(end.held_bytes for end in link_ends(running)), 10, "both ends hold blocks")
    await wait_until(lambda: not any(end.aborted for end in link_ends(running)), 20, "clear")


def ids_of(response: httpx.Response) -> list[str]:
    assert response.status_code == 200, response.text
    return [key["key_ID"] for key in response.json()["keys"]]


async def draw_and_collect(running: Mesh, number: int) -> list[str]:
    drawn = await running.enc_keys("a", "c", number)
    collected = await running.dec_keys("c", "a", ids_of(drawn))
    assert collected.json() == drawn.json()
    return ids_of(drawn)


def released(end: Any) -> list[tuple[bytes, int, int]]:
    pools = [pool for pool in end.pools if pool is not end.pool]
    return [(pool.pool_id, pool.first_block, pool.next_block) for pool in pools]


async def test_after_an_attack_held_blocks_are_used_once_both_ends_are_told_to_and_no_byte_twice(
    tmp_path: Path,
) -> None:
    async with mesh.running(tmp_path, LINE, STREAM) as running:
        await running.supplied()
        await tapped_and_left_alone_again(running)
        await order(running, "a", CLEAR)
        await asyncio.sleep(0)
        assert kinds(running, agent_pb2.AGENT_EVENT_KIND_QUARANTINE_CLEARED, "a")
        await running.supplied()
        assert not any(released(end) for end in link_ends(running)), "b has no order yet"

        await order(running, "b", CLEAR)
        await wait_until(lambda: all(released(end) for end in link_ends(running)), 10, "released")
        a, b = link_ends(running)
        assert released(a) == released(b)
        (pool_id, _, _) = released(a)[0]
        await draw_and_collect(running, 8)

        def used_at_both_ends() -> bool:
            return {pad.use for pad in running.recording.pads if pad.pool_id == pool_id} == set(PadUse)

        await wait_until(used_at_both_ends, 10, "keys are relayed with what was held")
        await draw_and_collect(running, 8)
        pads = list(running.recording.pads)
        assert running.recording.not_durable == []
    for use in PadUse:
        seen: set[tuple[str, bool, int]] = set()
        for pad in (pad for pad in pads if pad.use is use):
            base = pad.first_block * (pad.block_bytes // 2)
            # Where the bits come from, whatever pool they are in.
            bits = {(pad.link, pad.first_lane, base + offset) for offset in range(pad.start, pad.end)}
            assert not bits & seen
            seen |= bits


async def test_an_order_to_destroy_leaves_nothing_of_the_link_anywhere(tmp_path: Path) -> None:
    async with mesh.running(tmp_path, LINE, STREAM) as running:
        await running.supplied()
        await tapped_and_left_alone_again(running)
        await running.supplied()
        old = {key_id for node in ("a", "c") for key_id in undelivered(running, node)}
        pool = link_ends(running)[0].pool
        for node in ("a", "b"):
            await order(running, node, DESTROY)
        assert pool is not link_ends(running)[0].pool
        assert all(not end.held_bytes for end in link_ends(running))
        await wait_until(
            lambda: not any(old & undelivered(running, node) for node in ("a", "c")), 5, "keys are gone"
        )
        (event,) = running.events_of(agent_pb2.AGENT_EVENT_KIND_QUARANTINE_DESTROYED, "a")
        assert event.count > 0
        assert event.reason == "ordered by alice"
        await running.supplied(deadline_seconds=25)
        await draw_and_collect(running, 2)


def undelivered(running: Mesh, node: str) -> set[str]:
    store: KeyStore = running.plane(node).store
    mine = [key for ready in store._ready.values() for key in ready.values()]
    theirs = [key for waiting in store._slave.values() for key in waiting.values()]
    return {str(key.key_id) for key in (*mine, *theirs)}


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> dict[tuple[str, str], float]:
    """When every key was made, by side and ID."""
    times: dict[tuple[str, str], float] = {}
    for name in ("add_master", "add_slave"):
        honest = getattr(KeyStore, name)

        def add(self: KeyStore, keys: Any, honest: Any = honest, name: str = name) -> None:
            each: StoredKey
            for each in keys:
                times[name, str(each.key_id)] = each.created
            honest(self, keys)

        monkeypatch.setattr(KeyStore, name, add)
    return times


async def test_exactly_the_fetched_keys_built_on_the_link_since_the_onset_are_recalled_at_both_ends(
    tmp_path: Path, made: dict[tuple[str, str], float]
) -> None:
    async with mesh.running(tmp_path, LINE, STREAM) as running:
        await running.supplied()
        fetched = await draw_and_collect(running, 16)
        onset = time.time()
        await wait_until(lambda: running.ready_keys("a") >= 8, 10, "new keys")
        fetched += await draw_and_collect(running, 4)
        await wait_until(lambda: running.ready_keys("a") >= 16, 10, "new keys")
        fetched += await draw_and_collect(running, 12)
        drawn_only = ids_of(await running.enc_keys("a", "c", 1))
        # In the midst of what was fetched, after the margin that the agents take off.
        ages = sorted(made["add_master", key_id] for key_id in fetched)
        onset = (ages[15] + ages[16]) / 2 + 2.0
        for node in ("a", "b"):
            await suspect(running, node, int(onset * 1e9))
        since = onset - 2.0
        expected = {
            "a": {key_id for key_id in (*fetched, *drawn_only) if made["add_master", key_id] >= since},
            "c": {key_id for key_id in fetched if made["add_slave", key_id] >= since},
        }
        assert 0 < len(expected["a"]) < len(fetched)

        def recalled(node: str) -> list[str]:
            events = running.events_of(agent_pb2.AGENT_EVENT_KIND_KEYS_RECALLED, node)
            assert all((e.link, e.stream, e.sae) == (LINK, "s", f"sae-{node}") for e in events)
            return [key_id for event in events for key_id in event.key_ids]

        for node, ids in expected.items():
            await wait_until(lambda n=node: recalled(n), 10, f"recall at {node}")  # type: ignore[misc]
            assert sorted(recalled(node)) == sorted(ids)
        assert recalled("b") == []

        # Told again from an earlier moment: only what is new to it.
        for node in ("a", "b"):
            await suspect(running, node, 1)
        every = {"a": {*fetched, *drawn_only}, "c": set(fetched)}
        for node, ids in every.items():
            await wait_until(lambda n=node, i=ids: len(recalled(n)) >= len(i), 10, "the rest")  # type: ignore[misc]
            assert sorted(recalled(node)) == sorted(ids)
            marks = [
                members["key_id"]
                for path in segments.segments(tmp_path / node / "ledger")
                for members in segments.key_lines(path, b'"outcome":"recalled"')
            ]
            assert sorted(marks) == sorted(ids)


async def test_the_controllers_suspicion_stops_a_link_as_an_abort_does_and_ends_with_it(
    tmp_path: Path,
) -> None:
    async with mesh.running(tmp_path, LINE, STREAM) as running:
        await running.supplied()
        await suspect(running, "b", time.time_ns())
        await wait_until(lambda: all(end.aborted for end in link_ends(running)), 5, "both ends stop")
        await wait_until(lambda: all(end.held_bytes for end in link_ends(running)), 5, "both ends hold")
        assert kinds(running, agent_pb2.AGENT_EVENT_KIND_QUARANTINED, "a", "b")
        await suspect(running, "b", 0)
        await wait_until(lambda: not any(end.aborted for end in link_ends(running)), 5, "both go on")
        await running.supplied(deadline_seconds=25)
        await draw_and_collect(running, 2)


async def test_zeroizing_a_node_leaves_no_key_there_or_shared_with_it_and_then_it_works_on(
    tmp_path: Path,
) -> None:
    async with mesh.running(tmp_path, LINE, STREAM) as running:
        await running.supplied()
        old = undelivered(running, "a") | undelivered(running, "c")
        pools = {end.pool.pool_id for end in link_ends(running)}
        watched = [key.key for key in running.plane("a").store._ready["s"].values()]
        await order(running, "a", ZEROIZE)
        assert not any(any(key) for key in watched), "overwritten before anything else happens"
        assert undelivered(running, "a") == set()
        (event,) = running.events_of(agent_pb2.AGENT_EVENT_KIND_ZEROIZED, "a")
        assert event.count > 0
        await wait_until(lambda: not old & undelivered(running, "c"), 10, "c has destroyed its copies")
        await running.supplied(deadline_seconds=25)
        assert not pools & {end.pool.pool_id for end in link_ends(running)}
        await draw_and_collect(running, 2)

        await change_policy(running, "a", lambda _: None)
        await running.stop("a")
        await running.start("a")
        assert len(running.events_of(agent_pb2.AGENT_EVENT_KIND_ZEROIZED, "a")) == 1, "an order is done once"


async def test_where_a_delivery_cannot_be_recorded_the_sae_gets_503_and_no_key_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with mesh.running(tmp_path, LINE, STREAM) as running:
        await running.supplied()
        ledger = running.agents["a"].agent.ledger

        def refuse(_text: bytes) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(ledger, "_write", refuse)
        ready = running.ready_keys("a")
        response = await running.enc_keys("a", "c", 1)
        assert response.status_code == 503
        assert "recorded" in response.text
        assert running.ready_keys("a") >= ready
        monkeypatch.undo()
        await draw_and_collect(running, 1)
        written = [
            lines.entry_of(members, "a")
            for path in segments.segments(ledger.directory)
            for members in segments.key_lines(path, b"delivered")
        ]
        assert len(written) == 1
