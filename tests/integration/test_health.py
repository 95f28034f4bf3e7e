"""Health: what probes without a certificate are told, by whom, and what the service manager is."""

import asyncio
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from keyweave.cli.exits import ExitCode
from keyweave.cli.main import main
from keyweave.common import process, service_manager
from keyweave.common.errors import InvalidInputError
from keyweave.common.health import READY, Health
from keyweave.common.identity import Plane
from keyweave.common.pki import Authority
from keyweave.controller import app
from keyweave.controller.config import ControllerConfig
from tests.integration.test_controller import CONTROLLER, Site
from tests.waiting import eventually

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def told(address: str, service: str) -> int | None:
    """What the probe hears; None where nobody answers."""
    async with grpc.aio.insecure_channel(address) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        try:
            answer = await stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=5)
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.UNAVAILABLE:
                return None
            raise
        return int(answer.status)


async def asked(*arguments: str) -> int:
    return await asyncio.to_thread(main, ["health", *arguments])


async def test_a_process_is_alive_before_it_is_ready_and_its_command_says_which() -> None:
    address = f"127.0.0.1:{free_port()}"
    async with Health.served(address) as health:
        assert (await told(address, ""), await told(address, READY)) == (SERVING, NOT_SERVING)
        assert (await asked(address), await asked(address, "--alive")) == (ExitCode.DEGRADED, ExitCode.OK)
        await health.ready(True)
        assert await told(address, READY) == SERVING
        assert await asked(address) == ExitCode.OK
        await health.ready(False)
        assert await asked(address) == ExitCode.DEGRADED
    assert await asked(address, "--timeout", "1") == ExitCode.UNREACHABLE


async def test_nothing_else_is_served_without_a_certificate() -> None:
    address = f"127.0.0.1:{free_port()}"
    async with Health.served(address), grpc.aio.insecure_channel(address) as channel:
        for method in ("/keyweave.v1.AdminService/ListNodes", "/grpc.reflection.v1alpha.ServerReflection/X"):
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await channel.unary_unary(method, None, None)(b"")
            assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_a_port_that_is_taken_is_told_by_its_field() -> None:
    address = f"127.0.0.1:{free_port()}"
    async with Health.served(address):
        with pytest.raises(InvalidInputError, match="health_listen"):
            async with Health.served(address):
                pass


async def test_the_controller_is_ready_while_it_serves_and_not_longer(tmp_path: Path) -> None:
    site = Site(tmp_path, Authority.create(Plane.CONTROL))
    (tmp_path / "ca.pem").write_bytes(site.authority.credential.certificate)
    site.revoke()
    address = f"127.0.0.1:{free_port()}"
    config = ControllerConfig(
        state_dir=site.directory / "state",
        tls=site.files(CONTROLLER),
        health_listen=address,
    )
    stop = asyncio.Event()
    running = asyncio.create_task(app.serve(config, stop))

    async def ready() -> bool:
        status = await told(address, READY)
        return status == int(SERVING)

    await eventually(ready, 60, "the controller is ready")
    stop.set()
    await running
    assert await told(address, "") is None


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """The service manager's end of the socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.bind(str(tmp_path / "notify"))
        channel.settimeout(30)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        yield channel


async def test_the_service_manager_hears_that_a_process_is_ready_and_lives(
    manager: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    process.announce_ready(None, {})
    assert manager.recv(64) == b"READY=1"
    monkeypatch.setenv("WATCHDOG_USEC", "20000")
    telling = asyncio.create_task(service_manager.keep_telling())
    try:
        for _ in range(3):
            assert await asyncio.to_thread(manager.recv, 64) == b"WATCHDOG=1"
    finally:
        telling.cancel()


@pytest.mark.parametrize(
    ("asked_of", "microseconds", "expected"),
    [
        ("", "10000000", 5.0),
        ("this process", "10000000", 5.0),
        ("1", "10000000", None),
        ("", "", None),
        ("", "0", None),
        ("", "soon", None),
    ],
)
def test_the_watchdog_is_fed_only_where_this_process_is_asked_to(
    asked_of: str, microseconds: str, expected: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A process ID in the parameters would give every worker tests of other names.
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()) if asked_of == "this process" else asked_of)
    monkeypatch.setenv("WATCHDOG_USEC", microseconds)
    assert service_manager.watchdog_interval_seconds() == expected


def test_a_service_manager_that_does_not_listen_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "nobody"))
    process.announce_ready(tmp_path / "ready.json", {"admin": "here"})
    assert (tmp_path / "ready.json").exists()
