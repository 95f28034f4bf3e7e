"""The audit log behind the real admin API and store: no write without its entry, no refusal without one."""

import asyncio
import json
import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import grpc
import pytest
import sqlalchemy as sa
from google.protobuf.field_mask_pb2 import FieldMask
from sqlalchemy.exc import OperationalError

from keyweave.common.errors import FencedError, UnavailableError
from keyweave.common.identity import Role
from keyweave.controller import security
from keyweave.controller.audit import log as audit_log
from keyweave.controller.audit.calls import is_audited
from keyweave.controller.audit.chain import Entry, EntryKind, Verifier, digest_of
from keyweave.controller.audit.config import AuditConfig
from keyweave.controller.audit.keeper import AuditKeeper
from keyweave.controller.events import Event
from keyweave.controller.store import Store
from keyweave.v1 import admin_pb2 as pb
from keyweave.v1 import types_pb2
from tests.integration.admin_server import AdminServer, serving
from tests.waiting import eventually

NODE = types_pb2.Node(name="z", key_plane_address="z:7000")
OLGA = "keyweave://control/operator/somebody"


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[AdminServer]:
    async with serving(tmp_path) as running:
        yield running


async def entries(store: Store, kind: EntryKind = EntryKind.ADMIN) -> list[dict[str, Any]]:
    """The entries of one kind, after the whole chain was checked."""
    await store.audit.flush()
    verifier, found = Verifier(), []
    for entry in await store.audit.entries(0, 100_000):
        verifier.take(entry.line.encode())
        found.append(json.loads(entry.line))
    assert verifier.verdict().is_whole, verifier.verdict().faults
    return [entry for entry in found if entry["kind"] == kind]


def rows(directory: Path, query: str) -> list[Any]:
    with closing(sqlite3.connect(directory / "controller.db")) as connection, connection:
        return connection.execute(query).fetchall()


async def refused(call: Any) -> grpc.StatusCode:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    code: grpc.StatusCode = caught.value.code()
    return code


# ---- operators' calls ---------------------------------------------------------------------------------


async def test_a_write_has_its_entry_who_what_before_after_and_when(server: AdminServer) -> None:
    began = time.time()
    async with server.stub() as stub:
        await stub.CreateNode(pb.CreateNodeRequest(node=NODE))
        changed = types_pb2.Node(name="z", owner="ACME")
        mask = FieldMask(paths=["owner"])
        await stub.UpdateNode(pb.UpdateNodeRequest(node=changed, update_mask=mask))
        await stub.DeleteNode(pb.DeleteNodeRequest(name="z"))
    created, updated, deleted = await entries(server.store)
    for entry, action in ((created, "CreateNode"), (updated, "UpdateNode"), (deleted, "DeleteNode")):
        assert (entry["actor"], entry["action"], entry["subject"]) == (OLGA, action, "node/z")
        assert entry["outcome"] == "ok"
        assert entry["details"]["from"] == "127.0.0.1"
        assert len(entry["details"]["request_digest"]) == 64
    assert created["before_digest"] == ""
    stored = {"name": "z", "key_plane_address": "z:7000", "revision": "1"}
    assert created["after_digest"] == digest_of(stored) == updated["before_digest"]
    assert updated["after_digest"] == digest_of(stored | {"owner": "ACME", "revision": "2"})
    assert updated["details"]["changed"] == "owner"
    assert (deleted["before_digest"], deleted["after_digest"]) == (updated["after_digest"], "")
    assert time.strftime("%Y-%m-%dT", time.gmtime(began)) <= created["time"] <= updated["time"]


async def test_an_order_has_its_entry(server: AdminServer) -> None:
    async with server.stub() as stub:
        await stub.ZeroizeNode(pb.ZeroizeNodeRequest(name="a"))
    (entry,) = await entries(server.store)
    assert (entry["action"], entry["subject"], entry["outcome"]) == ("ZeroizeNode", "node/a", "ok")


async def test_refused_writes_have_entries_permission_conflict_and_nonsense_alike(
    server: AdminServer,
) -> None:
    async with server.stub(Role.VIEWER) as viewer:
        assert (
            await refused(viewer.DeleteNode(pb.DeleteNodeRequest(name="a")))
            is grpc.StatusCode.PERMISSION_DENIED
        )
    async with server.stub() as stub:
        stale = types_pb2.Node(name="a", owner="x", revision=7)
        await refused(
            stub.UpdateNode(pb.UpdateNodeRequest(node=stale, update_mask=FieldMask(paths=["owner"])))
        )
        await refused(stub.CreateNode(pb.CreateNodeRequest(node=types_pb2.Node(name="a"))))
        await refused(stub.CreateNode(pb.CreateNodeRequest(node=types_pb2.Node(name="Not A Name"))))
        await refused(stub.DeleteNode(pb.DeleteNodeRequest(name="nowhere")))
    found = [(e["action"], e["subject"], e["outcome"]) for e in await entries(server.store)]
    assert found == [
        ("DeleteNode", "node/a", "permission_denied"),
        ("UpdateNode", "node/a", "aborted"),
        ("CreateNode", "node/a", "already_exists"),
        ("CreateNode", "node/Not A Name", "invalid_argument"),
        ("DeleteNode", "node/nowhere", "not_found"),
    ]
    denied, conflict, *_ = await entries(server.store)
    assert denied["actor"] == "keyweave://control/viewer/somebody"
    assert "revision 1, not 7" in conflict["details"]["reason"]
    assert (conflict["before_digest"], conflict["after_digest"]) == ("", "")


async def test_who_is_refused_over_and_over_has_one_entry_that_counts(server: AdminServer) -> None:
    async with server.stub(Role.VIEWER) as viewer:
        for number in range(20):
            await refused(viewer.DeleteNode(pb.DeleteNodeRequest(name=f"n{number}")))
    (entry,) = await entries(server.store)
    assert entry["details"]["occurrences"] == "20"


async def test_what_only_tries_has_no_entry_unless_it_is_refused(server: AdminServer) -> None:
    async with server.stub() as stub:
        await stub.CreateNode(pb.CreateNodeRequest(node=NODE, validate_only=True))
        await stub.GetStatus(pb.GetStatusRequest())
        again = types_pb2.Node(name="a")
        await refused(stub.CreateNode(pb.CreateNodeRequest(node=again, validate_only=True)))
    (entry,) = await entries(server.store)
    assert (entry["outcome"], entry["details"]["validate_only"]) == ("already_exists", "true")


async def test_looking_into_the_ledger_has_an_entry(server: AdminServer) -> None:
    async with server.stub() as stub:
        async for _ in stub.ShowLedger(pb.ShowLedgerRequest(stream="s")):
            pass
    (entry,) = await entries(server.store)
    assert (entry["action"], entry["subject"], entry["outcome"]) == ("ShowLedger", "stream/s", "ok")


def test_every_call_that_a_viewer_may_not_make_is_audited_and_no_other() -> None:
    methods = {method.name for method in pb.DESCRIPTOR.services_by_name["AdminService"].methods}
    assert {rpc for rpc in methods if is_audited(rpc)} == {
        rpc for rpc in methods if Role.VIEWER not in security.ROLES[rpc]
    }
    assert is_audited("CreateStream")
    assert not is_audited("GetStatus")


# ---- in the transaction of the write ----------------------------------------------------------------------


async def test_an_entry_that_cannot_be_stored_undoes_the_write(
    server: AdminServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def full(*_: object) -> None:
        raise OperationalError("INSERT", {}, sqlite3.OperationalError("disk full"))

    async with server.stub() as stub:
        with monkeypatch.context() as patched:
            patched.setattr(audit_log, "_append", full)
            code = await refused(stub.CreateNode(pb.CreateNodeRequest(node=NODE)))
        assert code is grpc.StatusCode.UNAVAILABLE
        assert rows(tmp_path, "SELECT name FROM nodes WHERE name = 'z'") == []
        await stub.CreateNode(pb.CreateNodeRequest(node=NODE))
    outcomes = [entry["outcome"] for entry in await entries(server.store)]
    assert sorted(outcomes) == ["ok", "unavailable"]


async def test_a_caller_that_hangs_up_leaves_the_entry_of_what_was_done(server: AdminServer) -> None:
    server.controller.idle.clear()
    async with server.stub() as stub:
        call = stub.CreateNode(pb.CreateNodeRequest(node=NODE))
        await server.controller.asked.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
    server.controller.idle.set()
    (entry,) = await entries(server.store)
    assert (entry["action"], entry["outcome"]) == ("CreateNode", "ok")


async def test_a_controller_that_was_succeeded_adds_nothing_and_the_next_goes_on_with_the_chain(
    server: AdminServer, tmp_path: Path
) -> None:
    successor = await Store.open(f"sqlite+aiosqlite:///{tmp_path}/controller.db")
    try:
        await successor.claim_epoch("second")
        server.store.audit.note(Entry(EntryKind.POLICY, 1.0, "first", "push", "node/a", "sent"))
        with pytest.raises(FencedError):
            await server.store.audit.flush()
        assert server.store.audit.is_waiting
        led = await entries(successor, EntryKind.LOG)
    finally:
        await successor.close()
    assert [(e["actor"], e["action"], e["details"]["epoch"]) for e in led] == [
        ("test", "lead", "1"),
        ("second", "lead", "2"),
    ]


async def test_entries_wait_while_the_store_is_out_of_order_and_what_is_too_much_is_counted(
    server: AdminServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def full(*_: object) -> None:
        raise OperationalError("INSERT", {}, sqlite3.OperationalError("disk full"))

    with monkeypatch.context() as patched:
        patched.setattr(audit_log, "WAITING_ENTRIES", 3)
        patched.setattr(audit_log, "_append", full)
        for number in range(5):
            server.store.audit.note(Entry(EntryKind.POLICY, 1.0, "c", "push", f"node/{number}", "sent"))
        with pytest.raises(UnavailableError, match="disk full"):
            await server.store.audit.flush()
    pushed = await entries(server.store, EntryKind.POLICY)
    assert [entry["subject"] for entry in pushed] == ["node/0", "node/1", "node/2"]
    *_, lost = await entries(server.store, EntryKind.LOG)
    assert (lost["action"], lost["details"]["count"]) == ("entries_lost", "2")
    assert len(await entries(server.store, EntryKind.POLICY)) == 3


# ---- anchors and archives ---------------------------------------------------------------------------------


async def filled(store: Store, count: int) -> None:
    store.audit.note(*(Entry(EntryKind.POLICY, 1.0, "c", "push", f"node/{n}", "sent") for n in range(count)))
    await store.audit.flush()


async def test_the_head_is_told_after_so_many_entries_or_so_long(server: AdminServer, tmp_path: Path) -> None:
    told: list[Event] = []

    async def tell(event: Event) -> None:
        told.append(event)

    settings = AuditConfig(anchor_entries=10, anchor_seconds=3600)
    keeper = AuditKeeper(server.store, settings, tmp_path / "archive", tell)
    task = asyncio.create_task(keeper.run())
    try:

        async def anchored() -> bool:
            return len(told) == 1

        await eventually(anchored, 30, "the first anchor")  # an hour has passed since never
        await filled(server.store, 10)

        async def anchored_again() -> bool:
            return len(told) == 2

        await eventually(anchored_again, 30, "an anchor after ten entries")
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    head = server.store.audit.head
    assert told[-1].kind == "audit_anchored"
    assert told[-1].fields == {"sequence": str(head.sequence), "digest": head.digest}


async def test_old_entries_go_to_an_archive_and_the_chain_still_verifies_apart_and_together(
    server: AdminServer, tmp_path: Path
) -> None:
    told: list[Event] = []

    async def tell(event: Event) -> None:
        told.append(event)

    await filled(server.store, 2500)
    whole = [entry.line.encode() for entry in await server.store.audit.entries(0, 10_000)]
    keeper = AuditKeeper(server.store, AuditConfig(keep_entries=100), tmp_path / "archive", tell)
    await keeper._archive_if_due()
    kept = [entry.line.encode() for entry in await server.store.audit.entries(0, 10_000)]
    assert len(kept) == 101  # and the checkpoint
    (archive,) = (tmp_path / "archive").iterdir()
    archived = archive.read_bytes().splitlines()
    assert archived + kept[:-1] == whole
    checkpoint = json.loads(kept[-1])
    assert (checkpoint["action"], checkpoint["details"]["file"]) == ("checkpoint", archive.name)
    assert [event.kind for event in told] == ["audit_pruned"]
    for lines in (kept, archived, archived + kept):
        verifier = Verifier()
        for line in lines:
            verifier.take(line)
        assert verifier.verdict().is_whole
    verifier = Verifier()
    for line in kept[:-1]:
        verifier.take(line)
    assert not verifier.verdict().is_whole
    # Nothing more to do; and appending goes on.
    await keeper._archive_if_due()
    assert len(told) == 1
    await filled(server.store, 1)
    assert server.store.audit.head.sequence == len(whole) + 2


async def test_a_crash_between_archive_and_checkpoint_loses_nothing(
    server: AdminServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await filled(server.store, 200)

    async def tell(_event: Event) -> None:
        pass

    keeper = AuditKeeper(server.store, AuditConfig(keep_entries=100), tmp_path / "archive", tell)

    async def died(*_: object) -> None:
        raise UnavailableError("died")

    with monkeypatch.context() as patched:
        patched.setattr(server.store.audit, "prune", died)
        with pytest.raises(UnavailableError):
            await keeper._archive_if_due()
    assert await server.store.audit.range() == (1, server.store.audit.head.sequence)
    await keeper._archive_if_due()
    first, _ = await server.store.audit.range()
    assert first > 1
    assert len(list((tmp_path / "archive").glob("*.jsonl"))) == 1


async def test_pages_of_the_log_are_bounded_and_follow_on_each_other_across_gaps(
    server: AdminServer, tmp_path: Path
) -> None:
    await filled(server.store, 450)
    rows(tmp_path, "DELETE FROM audit WHERE sequence = 7")
    async with server.stub(Role.VIEWER) as viewer:
        after, seen = 0, []
        while True:
            page = await viewer.ListAuditEntries(pb.ListAuditEntriesRequest(after_sequence=after))
            assert len(page.lines) <= 200
            seen += [json.loads(line)["sequence"] for line in page.lines]
            after = page.next_after_sequence
            if not after:
                break
        assert seen == [n for n in range(1, page.last_sequence + 1) if n != 7]
        assert page.first_sequence == 1
        error = await refused(viewer.ListAuditEntries(pb.ListAuditEntriesRequest(page_size=301)))
    assert error is grpc.StatusCode.INVALID_ARGUMENT


async def test_the_table_is_what_the_migration_makes(server: AdminServer, tmp_path: Path) -> None:
    columns = [row[1] for row in rows(tmp_path, "PRAGMA table_info(audit)")]
    assert columns == [column.name for column in audit_log._audit.columns]
    assert isinstance(audit_log._audit, sa.Table)
