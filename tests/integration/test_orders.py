"""Orders by the admin API: on disk, with who gave them, before they are answered; warnings about streams."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from keyweave.common.names import LinkName, NodeName
from keyweave.controller.orders import OrderKind
from keyweave.controller.stimuli import OrderPut, StreamPut
from keyweave.controller.store import Store
from keyweave.v1 import admin_pb2 as pb
from keyweave.v1 import types_pb2
from tests.integration.admin_server import AdminServer, serving
from tests.integration.test_admin import new_stream, refusal

AB, A, B = LinkName("ab"), NodeName("a"), NodeName("b")
ORDERS: dict[str, tuple[Any, OrderKind, "types_pb2.OrderKind"]] = {
    "ClearLink": (
        pb.ClearLinkRequest(name="ab"),
        OrderKind.LINK_CLEAR,
        types_pb2.ORDER_KIND_LINK_CLEAR,
    ),
    "DestroyLink": (
        pb.DestroyLinkRequest(name="ab"),
        OrderKind.LINK_DESTROY,
        types_pb2.ORDER_KIND_LINK_DESTROY,
    ),
    "CalibrateLink": (
        pb.CalibrateLinkRequest(name="ab"),
        OrderKind.LINK_CALIBRATE,
        types_pb2.ORDER_KIND_LINK_CALIBRATE,
    ),
    "ZeroizeNode": (
        pb.ZeroizeNodeRequest(name="a"),
        OrderKind.NODE_ZEROIZE,
        types_pb2.ORDER_KIND_NODE_ZEROIZE,
    ),
}


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[AdminServer]:
    async with serving(tmp_path) as running:
        yield running


@pytest.mark.parametrize("rpc", ORDERS)
async def test_an_order_is_on_disk_with_the_name_of_who_gave_it_when_the_answer_comes(
    server: AdminServer, rpc: str
) -> None:
    request, kind, wire_kind = ORDERS[rpc]
    async with server.stub() as stub:
        answer = (await getattr(stub, rpc)(request)).order
    (stimulus,) = server.controller.submitted
    assert isinstance(stimulus, OrderPut)
    to_node = kind is OrderKind.NODE_ZEROIZE
    assert (stimulus.order.kind, stimulus.order.ordered_by) == (kind, "somebody")
    assert stimulus.order.nodes == ((A,) if to_node else (A, B))
    assert (answer.kind, answer.ordered_by, answer.order_id) == (
        wire_kind,
        "somebody",
        stimulus.order.order_id,
    )
    assert (answer.node, answer.link) == (("a", "") if to_node else ("", "ab"))
    assert list(answer.waiting_for_nodes) == list(stimulus.order.nodes)
    async with asyncio.timeout(5):
        again = await Store.open(f"sqlite+aiosqlite:///{server.directory}/controller.db")
        assert await again.load_orders() == (stimulus.order,)
        await again.close()


async def test_orders_that_wait_are_part_of_the_status(server: AdminServer) -> None:
    async with server.stub() as stub:
        order = (await stub.DestroyLink(pb.DestroyLinkRequest(name="ab"))).order
        assert list((await stub.GetStatus(pb.GetStatusRequest())).orders) == [order]


async def test_every_order_is_a_new_one_however_many_wait(server: AdminServer) -> None:
    async with server.stub() as stub:
        ids = {(await stub.DestroyLink(pb.DestroyLinkRequest(name="ab"))).order.order_id for _ in range(3)}
    assert len(ids) == 3


async def test_an_order_about_what_is_not_there_changes_nothing(server: AdminServer) -> None:
    async with server.stub() as stub:
        error = await refusal(stub.DestroyLink(pb.DestroyLinkRequest(name="nowhere")))
        assert error.code() is grpc.StatusCode.NOT_FOUND
        assert "there are ab, bc" in str(error.details())
        error = await refusal(stub.ZeroizeNode(pb.ZeroizeNodeRequest(name="nobody")))
        assert error.code() is grpc.StatusCode.NOT_FOUND
    assert server.controller.submitted == []
    assert await server.store.load_orders() == ()


async def test_nothing_is_released_while_its_destruction_is_on_its_way(server: AdminServer) -> None:
    async with server.stub() as stub:
        await stub.DestroyLink(pb.DestroyLinkRequest(name="ab"))
        error = await refusal(stub.ClearLink(pb.ClearLinkRequest(name="ab")))
        assert error.code() is grpc.StatusCode.FAILED_PRECONDITION
        await stub.ClearLink(pb.ClearLinkRequest(name="bc"))


async def test_a_read_only_controller_takes_no_orders(server: AdminServer) -> None:
    server.controller.read_only = True
    async with server.stub() as stub:
        error = await refusal(stub.ZeroizeNode(pb.ZeroizeNodeRequest(name="a")))
    assert error.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert await server.store.load_orders() == ()


# ---- warnings --------------------------------------------------------------------------------------


async def test_who_creates_a_stream_is_told_what_the_network_cannot_give_it_and_which_bridge_is_to_blame(
    server: AdminServer,
) -> None:
    wanted = new_stream(source_node="a", target_node="c", k=2)
    async with server.stub() as stub:
        preview = await stub.CreateStream(pb.CreateStreamRequest(stream=wanted, validate_only=True))
        assert server.controller.submitted == []
        answer = await stub.CreateStream(pb.CreateStreamRequest(stream=wanted))
    (warning,) = answer.warnings
    assert list(preview.warnings) == [warning]
    assert "link ab is a bridge" in warning
    (stimulus,) = server.controller.submitted
    assert isinstance(stimulus, StreamPut)
    assert stimulus.warnings == (warning,)


async def test_a_stream_that_can_have_what_it_asks_is_created_without_a_warning(server: AdminServer) -> None:
    async with server.stub() as stub:
        answer = await stub.CreateStream(pb.CreateStreamRequest(stream=new_stream()))
    assert list(answer.warnings) == []
