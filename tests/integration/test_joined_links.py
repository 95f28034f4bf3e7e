"""Links whose key and measurements come through different drivers, in real agents and a real controller."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from keyweave.common.identity import Identity, Plane, Role
from keyweave.common.tls import secure_channel
from keyweave.controller.app import serve
from keyweave.controller.config import ControllerConfig
from keyweave.v1 import admin_pb2, admin_pb2_grpc, agent_pb2, types_pb2
from tests.integration.mesh import CONTROLLER, HOST, Mesh, running, wait_until
from tests.integration.mesh_policy import MeshStream
from tests.integration.mosquitto import Broker, broker, device
from tests.integration.snmpd import Snmpd, oid, snmpd
from tests.waiting import eventually

Find = Callable[[str], str]
pytestmark = pytest.mark.timeout(120)

PUBLISHED, POLLED, SIFTED = 2.0, 2.5, 3
STREAM = MeshStream(((("a", "b"),),))


def mqtt(to: Broker) -> dict[str, Any]:
    """Measurements of node a's end of a-b. Its device tells no loss."""
    quantities = {
        "qber_ratio": {"pointer": "/qber", "unit": "percent"},
        "skr_bps": {"pointer": "/rates/secret", "unit": "kbit/s"},
        "sifted_rate_bps": {"pointer": "/rates/sifted", "unit": "kbit/s"},
    }
    link = {"peer_node": "b", "model": "published", "topic": "qkd/{link}", "interval_seconds": 0.2}
    link |= {"time": {"pointer": "/ts"}, "quantities": quantities}
    return {"driver": "mqtt", "settings": {**to.access(), "links": {"a-b": link}}}


def snmp(at: Snmpd) -> dict[str, Any]:
    """Measurements of node b's end of a-b."""
    quantities = {
        "qber_ratio": {"oid": oid(1), "unit": "percent"},
        "skr_bps": {"oid": oid(2), "unit": "kbit/s"},
        "sifted_rate_bps": {"oid": oid(SIFTED), "unit": "bit/s"},
    }
    link = {"peer_node": "a", "model": "polled", "interval_seconds": 0.2, "quantities": quantities}
    return {"driver": "snmp", "settings": {**at.v3(), "links": {"a-b": link}}}


def objects(qber_percent: float) -> dict[int, list[Any]]:
    return {1: ["string", str(qber_percent)], 2: ["gauge", 20], SIFTED: ["counter64", 0, 200_000]}


@asynccontextmanager
async def measured(find: Find, directory: Path) -> AsyncIterator[tuple[Mesh, Snmpd]]:
    """Two agents whose link a-b an emulator gives key for, while its ends are measured over MQTT and SNMP."""
    for name in ("mqtt", "snmp", "mesh"):
        (directory / name).mkdir()
    async with AsyncExitStack() as stack:
        publisher = await stack.enter_async_context(broker(find, directory / "mqtt"))
        how = {"topic": "qkd/a-b", "interval_seconds": 0.2, "qber_percent": PUBLISHED}
        await stack.enter_async_context(device(publisher, **how))
        polled = await stack.enter_async_context(snmpd(find, directory / "snmp"))
        polled.say(objects(POLLED))
        meters = {"a": mqtt(publisher), "b": snmp(polled)}
        mesh = await stack.enter_async_context(running(directory / "mesh", ("a-b",), STREAM, meters=meters))
        yield mesh, polled


async def test_key_of_one_driver_flows_on_the_measurements_of_another_and_stops_on_them(
    outside_program: Find, tmp_path: Path
) -> None:
    async with measured(outside_program, tmp_path) as (mesh, polled):
        await mesh.supplied()
        ends = {node: mesh.plane(node).links["a-b"] for node in "ab"}
        await wait_until(
            lambda: all(end.watch.verdict.health == "ok" for end in ends.values()), 15.0, "both ends measure"
        )
        assert "QBER 0.0200" in ends["a"].watch.verdict.reason
        # Whoever made the key says whether it counts as quantum.
        assert all(end.info.emulated and end.info.gives_key for end in ends.values())
        polled.say(objects(25.0))
        await wait_until(lambda: all(end.aborted for end in ends.values()), 15.0, "both ends have stopped")
        abort = agent_pb2.AGENT_EVENT_KIND_LINK_QBER_ABORT
        (event,) = mesh.events_of(abort, "b")
        assert "at or above the threshold" in event.reason


async def test_what_a_device_publishes_and_another_answers_reaches_the_controller_s_estimate(
    outside_program: Find, tmp_path: Path
) -> None:
    async with measured(outside_program, tmp_path) as (mesh, _), controller(mesh) as admin:

        async def estimated() -> bool:
            (link,) = (await admin.GetStatus(admin_pb2.GetStatusRequest())).links
            # The worse QBER of both ends and the rate that both tell; nobody measures loss.
            worse = link.qber_ratio == pytest.approx(POLLED / 100, abs=1e-4)
            rate = link.skr_bps == pytest.approx(20_000)
            well = link.condition == types_pb2.LINK_CONDITION_OK
            return well and worse and rate and link.loss_db == 0 and link.emulated

        await eventually(estimated, 60.0, "the controller's estimate is what both devices tell")


@asynccontextmanager
async def controller(mesh: Mesh) -> AsyncIterator["admin_pb2_grpc.AdminServiceAsyncStub"]:
    """The controller that the mesh's agents look for, told of their network."""
    ready = mesh.directory / "controller.json"
    config = ControllerConfig(
        state_dir=mesh.directory / "controller",
        listen=f"{HOST}:{mesh.ports[CONTROLLER]}",
        tls=mesh.files(Identity(Plane.CONTROL, Role.CONTROLLER, "controller")),
        ready_file=ready,
        log_level="error",
    )
    stop = asyncio.Event()
    task = asyncio.create_task(serve(config, stop), name="controller")
    await wait_until(lambda: ready.exists() or task.done(), 15.0, "the controller is ready")
    try:
        operator = mesh.files(Identity(Plane.CONTROL, Role.OPERATOR, "olga"))
        identity = Identity(Plane.CONTROL, Role.CONTROLLER, "controller")
        async with secure_channel(json.loads(ready.read_text())["admin"], operator, identity) as channel:
            admin: admin_pb2_grpc.AdminServiceAsyncStub = admin_pb2_grpc.AdminServiceStub(channel)
            for name in mesh.nodes:
                node = types_pb2.Node(name=name, key_plane_address=f"{HOST}:{mesh.ports[name]}")
                await admin.CreateNode(admin_pb2.CreateNodeRequest(node=node))
            link = types_pb2.Link(
                name="a-b", a_node="a", b_node="b", technology=types_pb2.LINK_TECHNOLOGY_DV_QKD, length_km=10
            )
            await admin.CreateLink(admin_pb2.CreateLinkRequest(link=link))
            yield admin
    finally:
        stop.set()
        await task
