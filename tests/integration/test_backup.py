"""Backups of a database in use, and what a restore refuses."""

import asyncio
import io
import json
import os
import sqlite3
import tarfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import yaml

from keyweave.cli.main import main
from keyweave.common.errors import (
    AlreadyExistsError,
    InvalidInputError,
    NotFoundError,
    PreconditionError,
)
from keyweave.controller import backup
from keyweave.controller.store import Store
from keyweave.v1 import types_pb2


def url(directory: Path) -> str:
    return f"sqlite+aiosqlite:///{directory}/controller.db"


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    """A controller's store that stays open, as in a running one."""
    (tmp_path / "running").mkdir()
    opened = await Store.open(url(tmp_path / "running"))
    await opened.claim_epoch("first")
    yield opened
    await opened.close()


@pytest.fixture
def configuration(tmp_path: Path) -> Path:
    file = tmp_path / "controller.yaml"
    tls = {"certificate": "c.pem", "private_key": "k.pem", "trust_anchor": "a.pem"}
    file.write_text(yaml.safe_dump({"state_dir": str(tmp_path / "running"), "tls": tls}))
    return file


async def nodes(directory: Path) -> set[str]:
    opened = await Store.open(url(directory))
    try:
        return set((await opened.load_intent()).nodes)
    finally:
        await opened.close()


async def test_a_backup_of_a_store_that_is_being_written_holds_whole_transactions_of_one_moment(
    store: Store, tmp_path: Path, configuration: Path
) -> None:
    """Nodes come in the order of their numbers, so a copy of one moment has no gap."""
    written = 0
    done = asyncio.Event()

    async def write() -> None:
        nonlocal written
        while not done.is_set():
            await store.put(types_pb2.Node(name=f"n{written:05}", owner="x" * 2000))
            written += 1

    writing = asyncio.create_task(write())
    try:
        before = [0]
        for number in range(4):
            before.append(written)
            await asyncio.to_thread(
                backup.back_up, url(tmp_path / "running"), configuration, tmp_path / f"{number}.tar"
            )
    finally:
        done.set()
        await writing
    for number in range(4):
        manifest, kept = backup.restore(
            tmp_path / f"{number}.tar", url(tmp_path / f"restored-{number}"), force=False
        )
        assert kept is None
        names = sorted(await nodes(tmp_path / f"restored-{number}"))
        assert names == [f"n{index:05}" for index in range(len(names))]
        assert len(names) == manifest.counts["nodes"] >= before[number + 1]
    assert written > 0


async def test_a_backup_is_its_owners_only_and_names_what_it_holds(
    store: Store, tmp_path: Path, configuration: Path
) -> None:
    await store.put(types_pb2.Node(name="a"))
    target = tmp_path / "backup.tar"
    made = backup.back_up(url(tmp_path / "running"), configuration, target)
    assert target.stat().st_mode & 0o777 == 0o600
    with tarfile.open(target) as tar:
        assert tar.getnames() == ["manifest.json", "controller.db", "controller.yaml"]
        assert {member.mode for member in tar.getmembers()} == {0o600}
    assert backup.read_manifest(target) == made
    assert (made.epoch, made.counts["nodes"]) == (1, 1)
    assert sorted(os.listdir(tmp_path)) == ["backup.tar", "controller.yaml", "running"]  # noqa: PTH208  # nothing half-made
    with pytest.raises(AlreadyExistsError, match="exists already"):
        backup.back_up(url(tmp_path / "running"), configuration, target)
    with pytest.raises(NotFoundError, match="has this controller ever run"):
        backup.back_up(url(tmp_path / "nowhere"), configuration, tmp_path / "other.tar")
    with pytest.raises(InvalidInputError, match="pg_dump"):
        backup.back_up("postgresql+asyncpg://x@y/z", configuration, tmp_path / "other.tar")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
async def test_what_root_restores_belongs_to_the_owner_of_the_state_directory(
    store: Store, tmp_path: Path, configuration: Path
) -> None:
    target, folder = tmp_path / "backup.tar", tmp_path / "restored"
    backup.back_up(url(tmp_path / "running"), configuration, target)
    folder.mkdir()
    os.chown(folder, 12345, 12346)
    backup.restore(target, url(folder), force=False)
    given = (folder / "controller.db").stat()
    assert (given.st_uid, given.st_gid, given.st_mode & 0o777) == (12345, 12346, 0o600)


async def test_a_restore_replaces_nothing_that_runs_and_nothing_that_holds_a_network_unless_forced(
    store: Store, tmp_path: Path, configuration: Path
) -> None:
    await store.put(types_pb2.Node(name="a"))
    target = tmp_path / "backup.tar"
    backup.back_up(url(tmp_path / "running"), configuration, target)
    await store.put(types_pb2.Node(name="b"))
    for force in (False, True):
        with pytest.raises(PreconditionError, match=r"is in use .*stop the controller first"):
            backup.restore(target, url(tmp_path / "running"), force=force)
    await store.put(types_pb2.Node(name="c"))
    await store.close()
    with pytest.raises(PreconditionError, match="holds a network already; say --force"):
        backup.restore(target, url(tmp_path / "running"), force=False)
    assert await nodes(tmp_path / "running") == {"a", "b", "c"}
    _, kept = backup.restore(target, url(tmp_path / "running"), force=True)
    assert await nodes(tmp_path / "running") == {"a"}
    assert kept is not None
    (tmp_path / "kept").mkdir()
    kept.rename(tmp_path / "kept" / "controller.db")
    assert await nodes(tmp_path / "kept") == {"a", "b", "c"}


async def test_a_store_that_was_killed_is_set_aside_with_its_last_writes(
    tmp_path: Path, configuration: Path
) -> None:
    """What only the write-ahead log has is not lost with it."""
    (tmp_path / "running").mkdir()
    alive = await Store.open(url(tmp_path / "running"))
    await alive.claim_epoch("first")
    await alive.put(types_pb2.Node(name="a"))
    target = tmp_path / "backup.tar"
    backup.back_up(url(tmp_path / "running"), configuration, target)
    await alive.put(types_pb2.Node(name="b"))
    killed = tmp_path / "killed"
    killed.mkdir()
    for suffix in ("", "-wal"):
        name = f"controller.db{suffix}"
        (killed / name).write_bytes((tmp_path / "running" / name).read_bytes())
    await alive.close()
    _, kept = backup.restore(target, url(killed), force=True)
    assert kept is not None
    with sqlite3.connect(kept) as connection:
        assert [name for (name,) in connection.execute("SELECT name FROM nodes ORDER BY name")] == ["a", "b"]
    connection.close()
    assert await nodes(killed) == {"a"}


def _rewritten(source: Path, target: Path, change: Callable[[dict[str, bytes]], None]) -> Path:
    with tarfile.open(source) as tar:
        parts = {member.name: _content(tar, member) for member in tar.getmembers()}
    change(parts)
    with tarfile.open(target, "w") as tar:
        for name, content in parts.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return target


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = tar.extractfile(member)
    assert file is not None
    return file.read()


def _damage_database(parts: dict[str, bytes]) -> None:
    middle = len(parts["controller.db"]) // 2
    parts["controller.db"] = parts["controller.db"][:middle] + b"?" + parts["controller.db"][middle + 1 :]


def _truncate_database(parts: dict[str, bytes]) -> None:
    parts["controller.db"] = parts["controller.db"][:-4096]


def _stated(**fields: object) -> Callable[[dict[str, bytes]], None]:
    def change(parts: dict[str, bytes]) -> None:
        parts["manifest.json"] = json.dumps({**json.loads(parts["manifest.json"]), **fields}).encode()

    return change


def _without(name: str) -> Callable[[dict[str, bytes]], None]:
    def change(parts: dict[str, bytes]) -> None:
        del parts[name]

    return change


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (_damage_database, "is damaged"),
        (_truncate_database, "is damaged"),
        (_stated(format=2), "made by a newer Keyweave"),
        (_stated(schema_revision="9999"), "schema 9999, made by Keyweave"),
        (_stated(epoch=77), "is damaged"),
        (_stated(database_sha256="no digest"), "its manifest.json cannot be read"),
        (_without("controller.db"), "has no controller.db"),
        (_without("manifest.json"), "has no manifest.json"),
    ],
)
async def test_a_backup_that_is_not_whole_changes_nothing(
    store: Store, tmp_path: Path, configuration: Path, change: Callable[[dict[str, bytes]], None], told: str
) -> None:
    await store.put(types_pb2.Node(name="a"))
    good = tmp_path / "good.tar"
    backup.back_up(url(tmp_path / "running"), configuration, good)
    bad = _rewritten(good, tmp_path / "bad.tar", change)
    with pytest.raises(InvalidInputError, match=told):
        backup.restore(bad, url(tmp_path / "target"), force=True)
    assert [*(tmp_path / "target").iterdir()] == []


@pytest.mark.parametrize("content", [b"", b"no archive", b"\0" * 10_240])
def test_a_file_that_is_no_backup_is_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "backup.tar"
    file.write_bytes(content)
    with pytest.raises(InvalidInputError, match=r"FILE: .*backup\.tar"):
        backup.restore(file, url(tmp_path / "target"), force=False)
    with pytest.raises(InvalidInputError, match="No such file"):
        backup.restore(tmp_path / "missing.tar", url(tmp_path / "target"), force=False)


async def test_the_two_commands_say_what_they_did_and_what_comes_next(
    store: Store, tmp_path: Path, configuration: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    await store.put(types_pb2.Node(name="a"))
    target = str(tmp_path / "b.tar")
    await store.close()
    assert (
        await asyncio.to_thread(main, ["controller", "backup", target, "--config", str(configuration)]) == 0
    )
    assert "1 nodes, 0 links, 0 streams, epoch 1" in capsys.readouterr().out
    restoring = ["controller", "restore", target, "--config", str(configuration)]
    assert await asyncio.to_thread(main, restoring) == 1
    assert "say --force" in capsys.readouterr().err
    assert await asyncio.to_thread(main, [*restoring, "--force"]) == 0
    said = capsys.readouterr().out
    assert "restored: 1 nodes" in said
    assert f"raise-epoch --config {configuration} --to N --confirm" in said
