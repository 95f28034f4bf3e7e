"""`keyweave audit` on a live controller, on an exported file and on a database: the same verdict."""

import asyncio
import json
import shutil
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest

from keyweave.cli.main import main
from keyweave.common.identity import Role
from keyweave.v1 import admin_pb2 as pb
from keyweave.v1 import types_pb2
from tests.integration.admin_server import AdminServer, serving


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[AdminServer]:
    """A controller on which an operator has created three nodes and deleted one."""
    async with serving(tmp_path) as running:
        async with running.stub() as stub:
            for name in ("x", "y", "z"):
                await stub.CreateNode(pb.CreateNodeRequest(node=types_pb2.Node(name=name)))
            await stub.DeleteNode(pb.DeleteNodeRequest(name="y"))
        yield running


async def audit(server: AdminServer, *arguments: str, live: bool = True) -> int:
    """Run a command as a viewer; what it wrote is in `capsys`."""
    files = server.files(Role.VIEWER)
    where = (
        *("--address", server.address, "--certificate", str(files.certificate)),
        *("--key", str(files.private_key), "--trust-anchor", str(files.trust_anchor)),
    )
    return await asyncio.to_thread(main, ["audit", *arguments, *(where if live else ())])


async def test_list_shows_who_did_what_and_filters(
    server: AdminServer, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await audit(server, "list") == 0
    lines = capsys.readouterr().out.splitlines()
    assert "keyweave://control/operator/somebody  DeleteNode  node/y  ok" in lines[-1]
    assert await audit(server, "list", "--subject", "node/y", "--kind", "admin", "-o", "json") == 0
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [entry["action"] for entry in found] == ["CreateNode", "DeleteNode"]
    assert await audit(server, "list", "--count", "1", "--actor", "somebody", "-o", "json") == 0
    assert json.loads(capsys.readouterr().out)["action"] == "DeleteNode"


async def test_live_file_and_database_verify_alike_and_a_file_is_never_overwritten(
    server: AdminServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    exported, head = tmp_path / "audit.jsonl", server.store.audit.head
    assert await audit(server, "export", str(exported)) == 0
    assert f"{head.sequence} entries" in capsys.readouterr().out
    assert exported.stat().st_mode & 0o777 == 0o600
    database = ("--database", str(tmp_path / "controller.db"))
    for source in ((), ("--file", str(exported)), database):
        anchor = f"{head.sequence}:{head.digest}"
        assert await audit(server, "verify", *source, "--anchor", anchor, live=not source) == 0
        said = capsys.readouterr().out
        assert said.startswith(f"whole: {head.sequence} entries, 1 to {head.sequence}, 1 anchors met\n")
        assert f"head: {anchor}" in said
    assert await audit(server, "export", str(exported)) == 1
    assert "exists already" in capsys.readouterr().err


async def test_what_somebody_did_to_the_database_is_found_live_and_offline(
    server: AdminServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with closing(sqlite3.connect(tmp_path / "controller.db")) as connection, connection:
        connection.execute("UPDATE audit SET line = replace(line, 'somebody', 'nobody') WHERE sequence = 3")
        connection.execute("DELETE FROM audit WHERE sequence = 4")
    copy = tmp_path / "copy.db"
    with closing(sqlite3.connect(tmp_path / "controller.db")) as source, closing(sqlite3.connect(copy)) as to:
        source.backup(to)
    for source_option in ((), ("--database", str(copy))):
        assert await audit(server, "verify", *source_option, live=not source_option) == 1
        out = capsys.readouterr().out
        assert "BROKEN" in out
        assert "entry 3: was altered: its digest is not that of what it says" in out
        assert "entry 5: follows on entry 3: entry 4 is missing" in out


async def test_a_log_cut_off_at_its_end_is_found_by_the_anchors_in_a_log_file(
    server: AdminServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    exported, head = tmp_path / "audit.jsonl", server.store.audit.head
    assert await audit(server, "export", str(exported)) == 0
    whole = exported.read_text().splitlines(keepends=True)
    exported.write_text("".join(whole[:-1]))
    log, syslog = tmp_path / "controller.log", tmp_path / "syslog"
    told = {"event": "audit_anchored", "sequence": head.sequence, "digest": head.digest}
    log.write_text('{"event": "controller_ready"}\n' + json.dumps(told) + "\n")
    syslog.write_text(f'audit_anchored [keyweave@32473 sequence="{head.sequence}" digest="{head.digest}"]\n')
    capsys.readouterr()
    assert await audit(server, "verify", "--file", str(exported), live=False) == 0
    assert "no anchor was given: a cut at the end would not show" in capsys.readouterr().out
    for anchors in (log, syslog):
        options = ("--file", str(exported), "--anchors", str(anchors), "-o", "json")
        assert await audit(server, "verify", *options, live=False) == 1
        verdict = json.loads(capsys.readouterr().out)
        assert verdict["whole"] is False
        assert verdict["faults"][0]["sequence"] == head.sequence
        assert "the log ends at entry" in verdict["faults"][0]["what"]
    log.write_text('{"event": "controller_ready"}\n')
    assert await audit(server, "verify", "--file", str(exported), "--anchors", str(log), live=False) == 1
    assert f"--anchors: {log} has no `audit_anchored` event" in capsys.readouterr().err


async def test_archives_and_what_is_left_verify_together(
    server: AdminServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    exported = tmp_path / "audit.jsonl"
    assert await audit(server, "export", str(exported)) == 0
    lines = exported.read_text().splitlines(keepends=True)
    first, second = tmp_path / "1.jsonl", tmp_path / "2.jsonl"
    first.write_text("".join(lines[:2]))
    second.write_text("".join(lines[2:]))
    together = ("--file", str(first), "--file", str(second))
    capsys.readouterr()
    assert await audit(server, "verify", *together, live=False) == 0
    assert await audit(server, "verify", "--file", str(second), live=False) == 1
    assert "entries 1 to 2 are missing" in capsys.readouterr().out
    assert await audit(server, "verify", "--part", "--file", str(second), live=False) == 0


async def test_what_is_wrong_with_an_option_is_said(
    server: AdminServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    empty = tmp_path / "empty.db"
    shutil.copy(server.directory / "server.pem", empty)
    for options, said in (
        (("--anchor", "7"), "--anchor: '7' is no anchor; it is SEQUENCE:DIGEST"),
        (("--file", str(tmp_path / "none")), "--file: "),
        (("--database", str(tmp_path / "none")), "--database: there is no file"),
        (("--database", str(empty)), "is no controller's database"),
        (("--database", str(empty), "--file", str(empty)), "cannot be combined with --file"),
        (("--anchors", str(tmp_path / "none")), "--anchors: "),
    ):
        assert await audit(server, "verify", *options, live=False) == 1
        assert said in capsys.readouterr().err
