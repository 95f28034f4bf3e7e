"""The admin API over real mutual TLS: who may call, what is refused and how, what lasts."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message_factory import GetMessageClass
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from keyweave.cli.connection import CONTROLLER
from keyweave.common.identity import Plane, Role
from keyweave.common.names import StreamName
from keyweave.common.pki import Authority
from keyweave.common.tls import secure_channel
from keyweave.controller import security
from keyweave.controller.events import Event, Severity
from keyweave.controller.stimuli import LinkPut, NodeDeleted, StreamDeleted, StreamPut
from keyweave.controller.store import Store
from keyweave.v1 import admin_pb2 as pb
from keyweave.v1 import admin_pb2_grpc, types_pb2
from tests.integration.admin_server import AdminServer, serving

NOW = time.time_ns()
READS: dict[str, Any] = {
    "GetNode": pb.GetNodeRequest(name="a"),
    "ListNodes": pb.ListNodesRequest(),
    "GetLink": pb.GetLinkRequest(name="ab"),
    "ListLinks": pb.ListLinksRequest(),
    "GetStream": pb.GetStreamRequest(name="s"),
    "ListStreams": pb.ListStreamsRequest(),
    "ExplainStream": pb.ExplainStreamRequest(name="s"),
    "GetPlan": pb.GetPlanRequest(),
    "GetPolicy": pb.GetPolicyRequest(node="a"),
    "GetStatus": pb.GetStatusRequest(),
    "ListMaintenances": pb.ListMaintenancesRequest(),
    "ListSchedules": pb.ListSchedulesRequest(),
    "AnalysePlan": pb.AnalysePlanRequest(sweep=pb.FailureSweep(failures=1)),
    "ListAuditEntries": pb.ListAuditEntriesRequest(),
}
WRITES: dict[str, Any] = {
    "CreateNode": pb.CreateNodeRequest(node=types_pb2.Node(name="z")),
    "UpdateNode": pb.UpdateNodeRequest(
        node=types_pb2.Node(name="a", owner="x"), update_mask=FieldMask(paths=["owner"])
    ),
    "DeleteNode": pb.DeleteNodeRequest(name="a"),
    "CreateLink": pb.CreateLinkRequest(
        link=types_pb2.Link(name="ac", a_node="a", b_node="c", technology=types_pb2.LINK_TECHNOLOGY_CV_QKD)
    ),
    "UpdateLink": pb.UpdateLinkRequest(
        link=types_pb2.Link(name="ab", maintenance=True), update_mask=FieldMask(paths=["maintenance"])
    ),
    "DeleteLink": pb.DeleteLinkRequest(name="ab"),
    "CreateStream": pb.CreateStreamRequest(stream=types_pb2.Stream(name="new")),
    "UpdateStream": pb.UpdateStreamRequest(
        stream=types_pb2.Stream(name="s", priority=2), update_mask=FieldMask(paths=["priority"])
    ),
    "DeleteStream": pb.DeleteStreamRequest(name="s"),
    "ClearLink": pb.ClearLinkRequest(name="ab"),
    "DestroyLink": pb.DestroyLinkRequest(name="ab"),
    "CalibrateLink": pb.CalibrateLinkRequest(name="ab"),
    "ZeroizeNode": pb.ZeroizeNodeRequest(name="a"),
    "CreateMaintenance": pb.CreateMaintenanceRequest(
        maintenance=types_pb2.Maintenance(
            name="w", links=["ab"], start_unix_nanos=NOW, end_unix_nanos=NOW + 3600 * 10**9
        ),
        force=True,
    ),
    "CreateSchedule": pb.CreateScheduleRequest(
        schedule=types_pb2.Schedule(name="x", tenant="bank", refresh_seconds=30)
    ),
}


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[AdminServer]:
    async with serving(tmp_path) as running:
        yield running


def new_stream(name: str = "new", **fields: Any) -> types_pb2.Stream:
    base: dict[str, Any] = {
        "source_node": "a",
        "target_node": "b",
        "source_sae": f"{name}-alice",
        "target_sae": f"{name}-bob",
        "require_qkd": True,
    }
    return types_pb2.Stream(name=name, **{**base, **fields})


async def refusal(call: Awaitable[object]) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value


def violations(error: grpc.aio.AioRpcError) -> dict[str, str]:
    """The wrong fields that an answer names."""
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    status = rpc_status.from_call(error)  # type: ignore[arg-type]  # has all that a call has
    bad_request = error_details_pb2.BadRequest()
    assert status.details[0].Unpack(bad_request)
    return {v.field: v.description for v in bad_request.field_violations}


# ---- who may call ----------------------------------------------------------------------------------


RPCS = {method.name: method for method in pb.DESCRIPTOR.services_by_name["AdminService"].methods}
# Begins the name of what changes nothing. Another word is taken for a write, and for operators only.
READING = ("Get", "List", "Watch", "Explain", "Analyse")
# Reads that tell more than a viewer should know.
GUARDED = {"ShowLedger"}


def test_every_rpc_has_its_roles_and_only_operators_write() -> None:
    assert RPCS.keys() | {"Telemetry", "Policy", "Inspect"} == set(security.ROLES)
    for rpc in RPCS:
        expected = security.READERS if rpc.startswith(READING) else security.WRITERS
        assert security.ROLES[rpc] == expected, f"{rpc}: is it a read, or a write?"
    assert all(security.ROLES[rpc] == security.WRITERS for rpc in {*WRITES, *GUARDED})
    assert all(security.ROLES[rpc] == security.READERS for rpc in READS)


async def called(stub: Any, rpc: str) -> grpc.StatusCode:
    """What somebody is told who calls with an empty request."""
    method = RPCS[rpc]
    call = getattr(stub, rpc)(GetMessageClass(method.input_type)(), timeout=30)
    try:
        await (call.read() if method.server_streaming else call)
    except grpc.aio.AioRpcError as error:
        return error.code()
    finally:
        call.cancel()
    return grpc.StatusCode.OK


@pytest.mark.parametrize("role", [Role.VIEWER, Role.AGENT, Role.EMULATOR, Role.CONTROLLER])
async def test_no_rpc_is_open_to_a_role_that_it_is_not_for(server: AdminServer, role: Role) -> None:
    happened(server, "so that a watch has something to tell")
    async with server.stub(role) as stub:
        for rpc in RPCS:
            if rpc == "WatchEvents" and role is Role.VIEWER:
                continue  # it would wait for events
            refused = await called(stub, rpc) is grpc.StatusCode.PERMISSION_DENIED
            assert refused == (role not in security.ROLES[rpc]), rpc
    assert server.controller.submitted == []


async def test_a_viewer_reads_everything_and_writes_nothing(server: AdminServer) -> None:
    async with server.stub(Role.VIEWER) as stub:
        for rpc, request in READS.items():
            await getattr(stub, rpc)(request)
        assert [e async for e in stub.WatchEvents(pb.WatchEventsRequest(past_only=True))] == []
        for rpc, request in WRITES.items():
            error = await refusal(getattr(stub, rpc)(request))
            assert error.code() is grpc.StatusCode.PERMISSION_DENIED, rpc
    assert server.controller.submitted == []


@pytest.mark.parametrize("role", [Role.AGENT, Role.EMULATOR, Role.CONTROLLER])
async def test_another_role_of_the_same_plane_gets_nothing(server: AdminServer, role: Role) -> None:
    async with server.stub(role) as stub:
        for rpc, request in {**READS, **WRITES}.items():
            error = await refusal(getattr(stub, rpc)(request))
            assert error.code() is grpc.StatusCode.PERMISSION_DENIED, rpc
            assert role in str(error.details())
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            async for _ in stub.WatchEvents(pb.WatchEventsRequest()):
                pass
        assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED


async def test_a_certificate_of_another_anchor_does_not_even_connect(server: AdminServer) -> None:
    stranger = server.files(Role.OPERATOR, issuer=Authority.create(Plane.CONTROL))
    async with secure_channel(server.address, stranger, CONTROLLER) as channel:
        stub = admin_pb2_grpc.AdminServiceStub(channel)
        error = await refusal(stub.GetStatus(pb.GetStatusRequest()))
    assert error.code() is grpc.StatusCode.UNAVAILABLE


async def test_who_may_not_call_is_not_told_what_would_be_valid(server: AdminServer) -> None:
    async with server.stub(Role.VIEWER) as stub:
        error = await refusal(stub.CreateStream(pb.CreateStreamRequest()))
    assert error.code() is grpc.StatusCode.PERMISSION_DENIED


# ---- creating --------------------------------------------------------------------------------------


async def test_what_was_created_is_on_disk_and_with_the_core_when_the_answer_comes(
    server: AdminServer,
) -> None:
    async with server.stub() as stub:
        answer = await stub.CreateStream(pb.CreateStreamRequest(stream=new_stream(k=2, min_rate_bps=100)))
        etag = answer.stream.etag
        assert answer.stream == new_stream(k=2, min_rate_bps=100, revision=1, etag=etag)
        assert not answer.HasField("plan")
        (stimulus,) = server.controller.submitted
        assert isinstance(stimulus, StreamPut)
        assert (stimulus.stream.name, stimulus.stream.min_k, stimulus.stream.key_size_bits) == ("new", 2, 256)
        got = await stub.GetStream(pb.GetStreamRequest(name="new"))
        assert got.stream.stream == answer.stream
    async with asyncio.timeout(5):
        again = await Store.open(f"sqlite+aiosqlite:///{server.directory}/controller.db")
        assert (await again.load_intent()).streams[StreamName("new")] == answer.stream
        await again.close()


async def test_a_caller_that_hangs_up_does_not_part_the_store_from_the_core(server: AdminServer) -> None:
    server.controller.idle.clear()
    async with server.stub() as stub:
        call = stub.CreateStream(pb.CreateStreamRequest(stream=new_stream()))
        await server.controller.asked.wait()
        call.cancel()
        server.controller.idle.set()
        # The next change waits its turn behind the one that nobody waits for any more.
        await stub.CreateStream(pb.CreateStreamRequest(stream=new_stream("after")))
    names = [s.stream.name for s in server.controller.submitted if isinstance(s, StreamPut)]
    assert names == ["new", "after"]


async def test_everything_that_is_wrong_is_named_at_once_and_changes_nothing(server: AdminServer) -> None:
    wrong = new_stream(source_node="x", target_sae="new-alice", min_k=2, accept_strongest_available=True)
    async with server.stub() as stub:
        found = violations(await refusal(stub.CreateStream(pb.CreateStreamRequest(stream=wrong))))
        assert set(found) == {
            "stream.source_node",
            "stream.target_sae",
            "stream.min_k",
            "stream.accept_strongest_available",
        }
        assert found["stream.source_node"] == "there is no node 'x'; there are a, b, c"
        listed = await stub.ListStreams(pb.ListStreamsRequest())
        assert [status.stream.name for status in listed.streams] == ["s"]
    assert server.controller.submitted == []
    assert set((await server.store.load_intent()).streams) == {"s"}


async def test_rules_of_the_proto_are_kept(server: AdminServer) -> None:
    async with server.stub() as stub:
        wrong = pb.CreateStreamRequest(stream=new_stream("Not-A-Name", refresh_seconds=61))
        assert set(violations(await refusal(stub.CreateStream(wrong)))) == {
            "stream.name",
            "stream.refresh_seconds",
        }
        assert set(violations(await refusal(stub.CreateNode(pb.CreateNodeRequest())))) == {"node"}


async def test_a_taken_name_is_refused(server: AdminServer) -> None:
    async with server.stub() as stub:
        for validate_only in (False, True):
            request = pb.CreateNodeRequest(node=types_pb2.Node(name="a"), validate_only=validate_only)
            error = await refusal(stub.CreateNode(request))
            assert error.code() is grpc.StatusCode.ALREADY_EXISTS


async def test_a_read_only_controller_reads_and_previews_but_changes_nothing(server: AdminServer) -> None:
    server.controller.read_only = True
    async with server.stub() as stub:
        for call in (
            stub.CreateStream(pb.CreateStreamRequest(stream=new_stream())),
            stub.DeleteStream(pb.DeleteStreamRequest(name="s")),
            stub.UpdateNode(WRITES["UpdateNode"]),
        ):
            error = await refusal(call)
            assert error.code() is grpc.StatusCode.FAILED_PRECONDITION
            assert "raise-epoch" in str(error.details())
        await stub.CreateStream(pb.CreateStreamRequest(stream=new_stream(), validate_only=True))
        assert (await stub.GetStatus(pb.GetStatusRequest())).read_only
    assert server.controller.submitted == []


async def test_a_controller_that_was_succeeded_acknowledges_nothing(server: AdminServer) -> None:
    successor = await Store.open(f"sqlite+aiosqlite:///{server.directory}/controller.db")
    await successor.claim_epoch("successor")
    async with server.stub() as stub:
        error = await refusal(stub.CreateStream(pb.CreateStreamRequest(stream=new_stream())))
    assert error.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert "'successor' leads with epoch 2" in str(error.details())
    assert server.controller.submitted == []
    assert set((await successor.load_intent()).streams) == {"s"}
    await successor.close()


# ---- validate_only ---------------------------------------------------------------------------------


async def test_validate_only_shows_the_plan_that_would_result_and_stores_nothing(server: AdminServer) -> None:
    async with server.stub() as stub:
        answer = await stub.CreateStream(
            pb.CreateStreamRequest(stream=new_stream(max_rate_bps=512), validate_only=True)
        )
        assert {plan.stream: plan.rate_bps > 0 for plan in answer.plan.streams} == {"s": True, "new": True}
        (hop,) = answer.plan.streams[0].path_sets[0].paths[0].hops
        assert (hop.link, hop.from_node, hop.to_node) == ("ab", "a", "b")
        error = await refusal(stub.GetStream(pb.GetStreamRequest(name="new")))
        assert error.code() is grpc.StatusCode.NOT_FOUND
    assert server.controller.submitted == []
    assert set((await server.store.load_intent()).streams) == {"s"}


async def test_a_preview_takes_a_link_in_maintenance_or_without_telemetry_out_of_the_plan(
    server: AdminServer,
) -> None:
    async with server.stub() as stub:
        request = pb.UpdateLinkRequest()
        request.CopyFrom(WRITES["UpdateLink"])
        request.validate_only = True
        assert list((await stub.UpdateLink(request)).plan.streams[0].path_sets) == []
        direct = pb.CreateLinkRequest()
        direct.CopyFrom(WRITES["CreateLink"])
        direct.validate_only = True
        (plan,) = (await stub.CreateLink(direct)).plan.streams
        assert {hop.link for group in plan.path_sets for path in group.paths for hop in path.hops} == {
            "ab",
            "bc",
        }


async def test_a_requirement_that_cannot_be_met_is_accepted_and_said(server: AdminServer) -> None:
    async with server.stub() as stub:
        request = pb.CreateStreamRequest(stream=new_stream(k=2), validate_only=True)
        plans = {plan.stream: plan for plan in (await stub.CreateStream(request)).plan.streams}
    assert "k=2" in plans["new"].unmet


# ---- updating --------------------------------------------------------------------------------------


async def test_only_the_fields_in_the_mask_change(server: AdminServer) -> None:
    # The rest of the message is not even valid: an update need not repeat what it leaves alone.
    sparse = types_pb2.Link(name="ab", length_km=20, risk_groups=["duct"], a_node="NOT A NODE")
    mask = FieldMask(paths=["length_km", "risk_groups"])
    async with server.stub() as stub:
        changed = (await stub.UpdateLink(pb.UpdateLinkRequest(link=sparse, update_mask=mask))).link
        assert (changed.a_node, changed.length_km, list(changed.risk_groups)) == ("a", 20, ["duct"])
        assert changed.revision == 2
        cleared = pb.UpdateLinkRequest(link=types_pb2.Link(name="ab"), update_mask=mask)
        changed = (await stub.UpdateLink(cleared)).link
        assert (changed.length_km, list(changed.risk_groups), changed.revision) == (0, [], 3)
    stimulus = server.controller.submitted[0]
    assert isinstance(stimulus, LinkPut)
    assert stimulus.link.risk_groups == {"duct"}


async def test_a_field_that_is_set_to_zero_differs_from_one_that_is_not_set(server: AdminServer) -> None:
    mask = FieldMask(paths=["max_trusted_nodes"])
    async with server.stub() as stub:
        for given in (0, None):
            given_stream = types_pb2.Stream(name="s", max_trusted_nodes=given)
            request = pb.UpdateStreamRequest(stream=given_stream, update_mask=mask)
            changed = (await stub.UpdateStream(request)).stream
            assert changed.HasField("max_trusted_nodes") == (given is not None)


@pytest.mark.parametrize(
    ("paths", "words"),
    [
        (["name"], "a new name is a new stream"),
        (["revision"], "no field of a stream that can be updated"),
        (["min_rate"], "min_rate_bps, max_rate_bps"),
        (["stream.priority"], "'stream.priority' is no field"),
        (["*"], "'*' is no field"),
        ([], "names no field"),
    ],
)
async def test_a_mask_that_names_no_field_is_told_which_there_are(
    server: AdminServer, paths: list[str], words: str
) -> None:
    request = pb.UpdateStreamRequest(stream=types_pb2.Stream(name="s"), update_mask=FieldMask(paths=paths))
    async with server.stub() as stub:
        assert words in violations(await refusal(stub.UpdateStream(request)))["update_mask"]


async def test_a_field_in_the_mask_keeps_the_rules_of_the_proto(server: AdminServer) -> None:
    request = pb.UpdateStreamRequest(
        stream=types_pb2.Stream(name="s", refresh_seconds=61),
        update_mask=FieldMask(paths=["refresh_seconds"]),
    )
    async with server.stub() as stub:
        assert set(violations(await refusal(stub.UpdateStream(request)))) == {"stream.refresh_seconds"}


async def test_what_results_from_an_update_must_fit_as_a_whole(server: AdminServer) -> None:
    request = pb.UpdateStreamRequest(
        stream=types_pb2.Stream(name="s", require_qkd=True), update_mask=FieldMask(paths=["require_qkd"])
    )
    async with server.stub() as stub:
        found = violations(await refusal(stub.UpdateStream(request)))
    assert set(found) == {"stream.accept_strongest_available"}


async def test_a_stale_revision_is_refused_and_the_present_one_or_none_is_not(server: AdminServer) -> None:
    async with server.stub() as stub:
        for revision, accepted in ((0, True), (1, False), (2, True), (7, False)):
            request = pb.UpdateNodeRequest(
                node=types_pb2.Node(name="a", owner=f"owner {revision}", revision=revision),
                update_mask=FieldMask(paths=["owner"]),
            )
            if accepted:
                await stub.UpdateNode(request)
            else:
                error = await refusal(stub.UpdateNode(request))
                assert error.code() is grpc.StatusCode.ABORTED
                assert f"is at revision {2 if revision == 1 else 3}, not {revision}" in str(error.details())


async def test_what_does_not_exist_cannot_be_updated(server: AdminServer) -> None:
    request = pb.UpdateNodeRequest(
        node=types_pb2.Node(name="x", owner="y"), update_mask=FieldMask(paths=["owner"])
    )
    async with server.stub() as stub:
        error = await refusal(stub.UpdateNode(request))
    assert error.code() is grpc.StatusCode.NOT_FOUND
    assert "there are a, b, c" in str(error.details())


# ---- deleting --------------------------------------------------------------------------------------


async def test_what_is_in_use_stays_and_its_users_are_named(server: AdminServer) -> None:
    async with server.stub() as stub:
        node = await refusal(stub.DeleteNode(pb.DeleteNodeRequest(name="a")))
        link = await refusal(stub.DeleteLink(pb.DeleteLinkRequest(name="ab")))
    assert node.code() is link.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert "used by link 'ab', stream 's'" in str(node.details())
    assert "planned for stream 's'" in str(link.details())
    assert server.controller.submitted == []


async def test_a_link_in_maintenance_and_then_its_node_can_be_deleted(server: AdminServer) -> None:
    async with server.stub() as stub:
        await stub.DeleteStream(pb.DeleteStreamRequest(name="s"))
        await stub.UpdateLink(WRITES["UpdateLink"])
        await stub.DeleteLink(pb.DeleteLinkRequest(name="ab"))
        await stub.DeleteNode(pb.DeleteNodeRequest(name="a"))
        assert [n.node.name for n in (await stub.ListNodes(pb.ListNodesRequest())).nodes] == ["b", "c"]
    assert isinstance(server.controller.submitted[0], StreamDeleted)
    assert isinstance(server.controller.submitted[-1], NodeDeleted)
    assert set((await server.store.load_intent()).nodes) == {"b", "c"}


# ---- reading ---------------------------------------------------------------------------------------


async def test_pages_hold_everything_once_and_in_order(server: AdminServer) -> None:
    found, token = [], ""
    async with server.stub() as stub:
        while True:
            page = await stub.ListNodes(pb.ListNodesRequest(page_size=2, page_token=token))
            found.append([status.node.name for status in page.nodes])
            token = page.next_page_token
            if not token:
                break
        error = await refusal(stub.ListNodes(pb.ListNodesRequest(page_token="NO TOKEN")))
    assert found == [["a", "b"], ["c"]]
    assert set(violations(error)) == {"page_token"}


async def test_status_holds_intent_and_what_is_known(server: AdminServer) -> None:
    async with server.stub() as stub:
        status = await stub.GetStatus(pb.GetStatusRequest())
    assert (status.epoch, status.plan_version, len(status.nodes)) == (1, 1, 3)
    assert status.nodes[0].connected
    assert status.nodes[0].applied_policy.digest == b"d" * 32
    assert status.links[0].condition == types_pb2.LINK_CONDITION_OK
    assert (status.links[0].loss_db, status.links[0].emulated) == (14.5, True)
    assert status.links[0].condition_since_unix_nanos == 3_000_000_000
    assert status.streams[0].protection == types_pb2.PROTECTION_HYBRID
    assert len(status.streams[0].plan.path_sets[0].paths[0].hops) == 2


async def test_explain_names_the_trusted_nodes(server: AdminServer) -> None:
    async with server.stub() as stub:
        answer = await stub.ExplainStream(pb.ExplainStreamRequest(name="s"))
    assert list(answer.trusted_nodes) == ["b"]
    assert any("bc" in line for line in answer.lines)


# ---- events ----------------------------------------------------------------------------------------


def happened(server: AdminServer, message: str) -> Event:
    event = Event("epoch_behind", Severity.MAJOR, message, 2.0, fields={"epoch": "7"})
    numbered = server.controller.events.number(event)
    server.controller.events.publish(numbered)
    return numbered


async def test_past_events_come_from_the_store_and_this_process_and_live_ones_follow_without_a_gap(
    server: AdminServer,
) -> None:
    older = Event("controller_started", Severity.INFO, "older", 1.0, id=1)
    await server.store.append_events([older])
    server.controller.events._last_id = 1
    # In the store and in this process: shown once.
    await server.store.append_events([happened(server, "2")])
    happened(server, "3")
    async with server.stub() as stub:
        call: Any = stub.WatchEvents(pb.WatchEventsRequest(past=10))
        seen = [(await call.read()).event for _ in range(3)]
        assert [event.id for event in seen] == [1, 2, 3]
        assert (seen[0].kind, seen[0].severity) == ("controller_started", pb.EVENT_SEVERITY_INFO)
        happened(server, "4")
        live = (await call.read()).event
        assert (live.id, live.severity, dict(live.fields)) == (4, pb.EVENT_SEVERITY_MAJOR, {"epoch": "7"})
        call.cancel()


async def test_past_only_ends_after_the_newest(server: AdminServer) -> None:
    for number in range(5):
        happened(server, str(number))
    async with server.stub() as stub:
        request = pb.WatchEventsRequest(past=2, past_only=True)
        assert [answer.event.id async for answer in stub.WatchEvents(request)] == [4, 5]
        error = await refusal(stub.WatchEvents(pb.WatchEventsRequest(past=1001)).read())
    assert set(violations(error)) == {"past"}


async def test_a_policy_is_shown_rule_by_rule_with_what_is_applied(server: AdminServer) -> None:
    async with server.stub(Role.VIEWER) as stub:
        answer = await stub.GetPolicy(pb.GetPolicyRequest(node="a"))
        assert [rule.rule_id for rule in answer.rules] == ["link/ab"]
        assert answer.desired == answer.applied
        error = await refusal(stub.GetPolicy(pb.GetPolicyRequest(node="nowhere")))
        assert error.code() is grpc.StatusCode.NOT_FOUND
