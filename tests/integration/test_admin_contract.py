"""What tools rely on: etags, request IDs, page tokens and resume tokens, over restarts as well."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from sqlalchemy.exc import OperationalError

from keyweave.controller import answers
from keyweave.controller import store as stores
from keyweave.controller.admin import watch
from keyweave.controller.security import ROLES, WRITERS
from keyweave.v1 import admin_pb2 as pb
from keyweave.v1 import types_pb2
from tests.integration.admin_server import AdminServer, serving
from tests.integration.test_admin import WRITES, happened, new_stream, refusal, violations


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[AdminServer]:
    async with serving(tmp_path) as running:
        yield running


# ---- etags -----------------------------------------------------------------------------------------


async def test_an_etag_changes_with_every_write_and_is_the_same_wherever_it_is_read(
    server: AdminServer,
) -> None:
    async with server.stub() as stub:
        got = (await stub.GetLink(pb.GetLinkRequest(name="ab"))).link.link.etag
        listed = (await stub.ListLinks(pb.ListLinksRequest())).links[0].link.etag
        seen = {(await stub.GetStatus(pb.GetStatusRequest())).links[0].link.etag, listed, got}
        assert len(seen) == 1
        for length in (11, 10):
            link = types_pb2.Link(name="ab", length_km=length)
            request = pb.UpdateLinkRequest(link=link, update_mask=FieldMask(paths=["length_km"]))
            seen.add((await stub.UpdateLink(request)).link.etag)
    assert len(seen) == 3


async def test_a_write_that_names_an_older_etag_is_aborted_and_the_present_one_is_not(
    server: AdminServer,
) -> None:
    mask = FieldMask(paths=["owner"])
    async with server.stub() as stub:
        first = (await stub.GetNode(pb.GetNodeRequest(name="a"))).node.node.etag
        mine = types_pb2.Node(name="a", owner="me", etag=first)
        second = (await stub.UpdateNode(pb.UpdateNodeRequest(node=mine, update_mask=mask))).node.etag
        for call in (
            stub.UpdateNode(pb.UpdateNodeRequest(node=mine, update_mask=mask)),
            stub.DeleteStream(pb.DeleteStreamRequest(name="s", etag=first)),
        ):
            error = await refusal(call)
            assert error.code() is grpc.StatusCode.ABORTED
            assert "read it again" in str(error.details())
        mine.etag = second
        await stub.UpdateNode(pb.UpdateNodeRequest(node=mine, update_mask=mask))
        stream = (await stub.GetStream(pb.GetStreamRequest(name="s"))).stream.stream
        await stub.DeleteStream(pb.DeleteStreamRequest(name="s", etag=stream.etag))


async def test_an_etag_cannot_be_chosen_by_the_caller(server: AdminServer) -> None:
    async with server.stub() as stub:
        spec = types_pb2.Node(name="d", etag="mine")
        assert (await stub.CreateNode(pb.CreateNodeRequest(node=spec))).node.etag != "mine"
        spec = types_pb2.Node(name="a")
        error = await refusal(
            stub.UpdateNode(pb.UpdateNodeRequest(node=spec, update_mask=FieldMask(paths=["etag"])))
        )
    assert set(violations(error)) == {"update_mask"}


# ---- request IDs -----------------------------------------------------------------------------------


def test_every_write_takes_a_request_id_and_every_delete_an_etag() -> None:
    for method in pb.DESCRIPTOR.services_by_name["AdminService"].methods:
        # A Bell test uses up pairs and changes nothing: sent again, it is another one.
        if ROLES[method.name] == WRITERS and not method.server_streaming and method.name != "RunBellTest":
            fields = method.input_type.fields_by_name
            assert "request_id" in fields, f"{method.name} cannot be sent again safely"
            assert not method.name.startswith("Delete") or "etag" in fields, method.name


@pytest.mark.parametrize("rpc", sorted(set(WRITES) - {"DeleteNode", "DeleteLink", "CreateStream"}))
async def test_a_write_that_is_sent_again_is_answered_as_before_and_made_once(
    server: AdminServer, rpc: str
) -> None:
    request = type(WRITES[rpc])()
    request.CopyFrom(WRITES[rpc])
    request.request_id = str(uuid.uuid4())
    async with server.stub() as stub:
        first = await getattr(stub, rpc)(request)
        request.request_id = request.request_id.upper()
        again = await asyncio.gather(*(getattr(stub, rpc)(request) for _ in range(3)))
    assert again == [first] * 3
    assert len(server.controller.submitted) + len(server.controller.given) in (1, 2)
    assert len({id(one) for one in server.controller.submitted}) == 1


async def test_a_repeated_write_is_known_after_a_restart(tmp_path: Path) -> None:
    request = pb.CreateStreamRequest(stream=new_stream(k=2), request_id=str(uuid.uuid4()))
    async with serving(tmp_path) as server, server.stub() as stub:
        first = await stub.CreateStream(request)
        assert first.warnings
    async with serving(tmp_path) as server, server.stub() as stub:
        assert await stub.CreateStream(request) == first
        assert server.controller.submitted == []
        request.stream.priority = 7
        error = await refusal(stub.CreateStream(request))
    assert "used for another request" in violations(error)["request_id"]


async def test_a_write_is_kept_with_its_answer_or_not_at_all(
    server: AdminServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def full(*_: object) -> None:
        raise OperationalError("insert", {}, OSError("disk full"))

    request = pb.CreateStreamRequest(stream=new_stream(), request_id=str(uuid.uuid4()))
    monkeypatch.setattr(stores, "keep_answer", full)
    async with server.stub() as stub:
        error = await refusal(stub.CreateStream(request))
        assert error.code() is grpc.StatusCode.UNAVAILABLE
        assert "new" not in (await server.store.load_intent()).streams
        monkeypatch.undo()
        assert (await stub.CreateStream(request)).stream.name == "new"


async def test_what_was_refused_or_only_tried_out_may_be_sent_again_under_the_same_id(
    server: AdminServer,
) -> None:
    request_id = str(uuid.uuid4())
    async with server.stub() as stub:
        wrong = pb.DeleteNodeRequest(name="a", request_id=request_id)
        assert (await refusal(stub.DeleteNode(wrong))).code() is grpc.StatusCode.FAILED_PRECONDITION
        tried = pb.DeleteStreamRequest(name="s", request_id=request_id, validate_only=True)
        await stub.DeleteStream(tried)
        await stub.DeleteStream(pb.DeleteStreamRequest(name="s", request_id=request_id))
        error = await refusal(stub.DeleteStream(tried))
    assert set(violations(error)) == {"request_id"}


async def test_a_request_id_is_of_one_caller_and_a_uuid(server: AdminServer) -> None:
    request = pb.ClearLinkRequest(name="ab", request_id=str(uuid.uuid4()))
    async with server.stub() as stub:
        mine = await stub.ClearLink(request)
        error = await refusal(stub.ClearLink(pb.ClearLinkRequest(name="ab", request_id="again")))
        assert set(violations(error)) == {"request_id"}
    async with server.stub(name="another") as stub:
        assert (await stub.ClearLink(request)).order.order_id != mine.order.order_id


async def test_answers_are_forgotten_by_age_and_beyond_a_number(
    server: AdminServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answers, "ANSWERS_KEPT", 3)
    ids = [str(uuid.uuid4()) for _ in range(5)]
    async with server.stub() as stub:
        orders = [(await stub.ClearLink(pb.ClearLinkRequest(name="ab", request_id=one))).order for one in ids]
        last = pb.ClearLinkRequest(name="ab", request_id=ids[-1])
        assert (await stub.ClearLink(last)).order == orders[-1]
        first = pb.ClearLinkRequest(name="ab", request_id=ids[0])
        assert (await stub.ClearLink(first)).order != orders[0]
        monkeypatch.setattr(answers, "ANSWERS_KEPT_SECONDS", -1.0)
        assert (await stub.ClearLink(last)).order != orders[-1]


# ---- pages -----------------------------------------------------------------------------------------


async def test_pages_neither_skip_nor_repeat_what_was_there_all_along(server: AdminServer) -> None:
    found: list[str] = []
    token, created = "", 0
    async with server.stub() as stub:
        while True:
            page = await stub.ListNodes(pb.ListNodesRequest(page_size=1, page_token=token))
            found += [status.node.name for status in page.nodes]
            token = page.next_page_token
            if not token:
                break
            for name in (f"a{created}", f"b{created}") if created < 4 else ():
                await stub.CreateNode(pb.CreateNodeRequest(node=types_pb2.Node(name=name)))
            created += 1
    assert len(set(found)) == len(found)
    assert found == sorted(found)
    assert {"a", "b", "c"} <= set(found)


async def test_a_token_that_is_not_of_this_listing_is_refused(server: AdminServer) -> None:
    async with server.stub() as stub:
        token = (await stub.ListNodes(pb.ListNodesRequest(page_size=1))).next_page_token
        wrong = [token[:-1], "A" + token, "b", "=", "ä", token + "A", token.swapcase(), "x" * 200]
        calls: list[Any] = [stub.ListNodes(pb.ListNodesRequest(page_token=one)) for one in wrong]
        calls.append(stub.ListLinks(pb.ListLinksRequest(page_token=token)))
        for call in calls:
            assert "begin without one" in violations(await refusal(call))["page_token"]


# ---- watching --------------------------------------------------------------------------------------


async def record(server: AdminServer, *messages: str) -> None:
    """Have these happen, as the controller does it: shown, then stored."""
    await server.store.append_events([happened(server, message) for message in messages])


async def read(call: Any, count: int) -> list[pb.WatchEventsResponse]:
    return [await call.read() for _ in range(count)]


async def test_a_watch_goes_on_where_it_was_over_a_restart_without_gap_or_repetition(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "PAGE_EVENTS", 2)
    async with serving(tmp_path) as server, server.stub() as stub:
        await record(server, "1", "2")
        call: Any = stub.WatchEvents(pb.WatchEventsRequest(past=1))
        token = (await read(call, 1))[0].resume_token
        await record(server, "3", "4", "5", "6", "7")
    async with serving(tmp_path) as server, server.stub() as stub:
        await record(server, "8")
        call = stub.WatchEvents(pb.WatchEventsRequest(resume_token=token))
        seen = await read(call, 6)
        await record(server, "9")
        seen += await read(call, 1)
        assert [answer.event.message for answer in seen] == ["3", "4", "5", "6", "7", "8", "9"]
        call.cancel()
        request = pb.WatchEventsRequest(resume_token=seen[3].resume_token, past_only=True)
        rest = [answer.event.message async for answer in stub.WatchEvents(request)]
        assert rest == ["7", "8", "9"]


async def test_events_that_a_killed_controller_showed_but_did_not_store_hide_none_of_the_next_one(
    tmp_path: Path,
) -> None:
    async with serving(tmp_path) as server, server.stub() as stub:
        await record(server, "stored")
        happened(server, "shown only")
        happened(server, "shown only too")
        request = pb.WatchEventsRequest(past=1, past_only=True)
        (last,) = [answer async for answer in stub.WatchEvents(request)]
        assert last.event.id == 3
    async with serving(tmp_path) as server, server.stub() as stub:
        await record(server, "after the crash")
        request = pb.WatchEventsRequest(resume_token=last.resume_token, past_only=True)
        seen = [answer.event async for answer in stub.WatchEvents(request)]
    assert [(event.id, event.message) for event in seen] == [(2, "after the crash")]


async def test_a_token_that_is_too_old_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(tmp_path) as server, server.stub() as stub:
        await record(server, "1", "2")
        request = pb.WatchEventsRequest(past=2, past_only=True)
        first, second = [answer.resume_token async for answer in stub.WatchEvents(request)]
    monkeypatch.setattr(stores, "EVENTS_KEPT", 2)
    async with serving(tmp_path) as server, server.stub() as stub:
        server.controller.events.recent.clear()
        await record(server, "3", "4")
        # What this process remembers is of no help to either: it begins with the third.
        request = pb.WatchEventsRequest(resume_token=second, past_only=True)
        assert [answer.event.message async for answer in stub.WatchEvents(request)] == ["3", "4"]
        error = await refusal(stub.WatchEvents(pb.WatchEventsRequest(resume_token=first)).read())
        assert error.code() is grpc.StatusCode.OUT_OF_RANGE
        assert "no longer kept" in str(error.details())


async def test_a_resume_token_that_is_none_is_refused(server: AdminServer) -> None:
    await record(server, "1")
    async with server.stub() as stub:
        request = pb.WatchEventsRequest(past=1, past_only=True)
        (answer,) = [answer async for answer in stub.WatchEvents(request)]
        both = pb.WatchEventsRequest(past=1, resume_token=answer.resume_token)
        assert set(violations(await refusal(stub.WatchEvents(both).read()))) == {"past"}
        server.controller.epoch = 0
        for token in ("nonsense", answer.resume_token[:-2], answer.resume_token):
            call = stub.WatchEvents(pb.WatchEventsRequest(resume_token=token))
            assert set(violations(await refusal(call.read()))) == {"resume_token"}
