"""The database that the first release of the schema wrote, opened by this one.

`tests/vectors/controller-0001.sql` is the dump of a real one: three nodes under `keyweave up`, one link in
maintenance, another cut, of the last commit whose newest migration was 0001 (the host has another name).
"""

import asyncio
import json
import sqlite3
from pathlib import Path

import pytest

from keyweave.common.identity import Identity, Plane, Role
from keyweave.common.names import LinkName, PathId, StreamName
from keyweave.common.pki import Authority
from keyweave.controller import backup
from keyweave.controller.app import serve
from keyweave.controller.config import ControllerConfig
from keyweave.controller.store import Store
from keyweave.v1 import types_pb2
from tests.waiting import eventually

DUMP = Path(__file__).parents[1] / "vectors" / "controller-0001.sql"
ANYHOW, QUANTUM = StreamName("anyhow"), StreamName("quantum")


def old_database(directory: Path) -> str:
    """A database as it was left, and its URL."""
    directory.mkdir()
    connection = sqlite3.connect(directory / "controller.db")
    connection.executescript(DUMP.read_text(encoding="utf-8"))
    connection.close()
    return f"sqlite+aiosqlite:///{directory}/controller.db"


def written(url: str) -> tuple[dict[str, int], dict[str, object]]:
    """How many rows each table of the old database has, and its rollout, read without our code."""
    connection = sqlite3.connect(url.removeprefix("sqlite+aiosqlite:///"))
    counts = {
        table: connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
        for table in ("nodes", "links", "streams", "events")
    }
    rollout = json.loads(connection.execute("SELECT content FROM rollout").fetchone()[0])
    connection.close()
    return counts, rollout


async def test_intent_plan_and_events_of_the_first_schema_survive_the_upgrade(tmp_path: Path) -> None:
    url = old_database(tmp_path / "old")
    counts, before = written(url)
    assert counts == {"nodes": 3, "links": 3, "streams": 2, "events": 24}
    store = await Store.open(url)
    try:
        intent = await store.load_intent()
        assert intent.nodes.keys() == {"a", "b", "c"}
        assert next(node.owner for node in intent.nodes.values() if node.name == "a") == "NICT"
        assert intent.links[LinkName("bc")].maintenance
        assert intent.links[LinkName("bc")].revision == 2
        assert intent.streams[QUANTUM].require_qkd
        assert len(await store.recent_events(1000)) == counts["events"]
        assert await store.last_event_id() == counts["events"]
        assert await store.load_orders() == ()
        assert await store.behind() == 0

        rollout = await store.load_rollout()
        assert rollout is not None
        assert (rollout.version, rollout.epoch) == (5, 1)
        assert before["established"] == ["anyhow:f45de51c"]
        kept = rollout.streams[ANYHOW]
        assert kept.established == {PathId("anyhow:f45de51c")}
        assert kept.plan is not None
        (path_set,) = kept.plan.path_sets
        (path,) = path_set.paths
        assert [(hop.link, hop.from_node, hop.to_node) for hop in path.hops] == [("ac", "a", "c")]
        assert rollout.streams[QUANTUM].established == frozenset()

        assert await store.claim_epoch("after the upgrade") == 2
        node = await store.put(types_pb2.Node(name="d"))
        assert (await store.load_intent()).nodes.keys() == {"a", "b", "c", node.name}
    finally:
        await store.close()


async def test_a_controller_starts_on_the_first_schema_and_keeps_the_plan_that_it_finds(
    tmp_path: Path,
) -> None:
    url = old_database(tmp_path / "old")
    authority = Authority.create(Plane.CONTROL)
    identity = Identity(Plane.CONTROL, Role.CONTROLLER, "controller")
    (tmp_path / "ca.pem").write_bytes(authority.credential.certificate)
    authority.issue(identity).write(tmp_path / "c.pem", tmp_path / "c-key.pem")
    config = ControllerConfig.model_validate(
        {
            "state_dir": tmp_path / "old",
            "tls": {
                "certificate": tmp_path / "c.pem",
                "private_key": tmp_path / "c-key.pem",
                "trust_anchor": tmp_path / "ca.pem",
            },
            "ready_file": tmp_path / "ready.json",
            "warmup_seconds": 3600,
        }
    )
    stop = asyncio.Event()
    running = asyncio.create_task(serve(config, stop))

    async def up() -> bool:
        if running.done():
            running.result()
        return (tmp_path / "ready.json").exists()

    await eventually(up, 60, "the controller listens")
    stop.set()
    await running
    store = await Store.open(url)
    try:
        rollout = await store.load_rollout()
        assert rollout is not None
        assert rollout.streams[ANYHOW].established == {PathId("anyhow:f45de51c")}, "nothing was withdrawn"
        assert await store.stored_epoch() == 2
    finally:
        await store.close()


async def test_an_upgrade_that_fails_leaves_the_old_database_for_the_old_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = old_database(tmp_path / "old")
    before = written(url)

    def fail(*_args: object, **_kwargs: object) -> None:
        raise OSError("disk gone")

    monkeypatch.setattr("alembic.op.drop_table", fail)
    with pytest.raises(Exception, match="disk gone"):
        await Store.open(url)
    monkeypatch.undo()
    assert written(url) == before
    store = await Store.open(url)
    assert await store.last_event_id() == before[0]["events"]
    await store.close()


async def test_a_backup_of_the_first_schema_is_restored_and_then_upgraded(tmp_path: Path) -> None:
    url = old_database(tmp_path / "old")
    configuration = tmp_path / "controller.yaml"
    configuration.write_text("{}")
    made = backup.back_up(url, configuration, tmp_path / "backup.tar")
    assert made.schema_revision == "0001"
    target = f"sqlite+aiosqlite:///{tmp_path}/new/controller.db"
    backup.restore(tmp_path / "backup.tar", target, force=False)
    store = await Store.open(target)
    assert (await store.load_intent()).streams.keys() == {ANYHOW, QUANTUM}
    await store.close()
