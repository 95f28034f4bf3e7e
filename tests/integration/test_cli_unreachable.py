"""Why nobody could be reached is told in words: who listens, whose certificate, how long it was tried."""

import asyncio
import datetime as dt
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from keyweave.cli import connection
from keyweave.cli.connection import Network
from keyweave.cli.exits import UnreachableError
from keyweave.cli.state_dir import StateDir
from keyweave.cli.unreachable import wrong_certificate
from keyweave.common.identity import Plane, Role
from keyweave.common.pki import Authority
from keyweave.common.tls import TlsFiles
from keyweave.v1 import admin_pb2
from tests.integration.admin_server import AdminServer, serving


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[AdminServer]:
    async with serving(tmp_path) as running:
        yield running


def network(address: str, files: TlsFiles, seconds: float) -> Network:
    return Network(StateDir(Path("unused")), address, files, seconds)


async def reach(network: Network) -> int:
    async with network.admin() as admin:
        return len((await admin.GetStatus(admin_pb2.GetStatusRequest())).nodes)


async def test_a_certificate_of_another_authority_is_named_and_not_waited_for(server: AdminServer) -> None:
    files = server.files(Role.OPERATOR, issuer=Authority.create(Plane.CONTROL))
    with pytest.raises(UnreachableError, match="is of none of the authorities in"):
        await reach(network(server.address, files, 3600))


async def test_where_nobody_listens_that_is_said(server: AdminServer) -> None:
    with pytest.raises(UnreachableError, match="nobody listens there"):
        await reach(network("127.0.0.1:1", server.files(Role.OPERATOR), 0.1))


async def test_a_server_that_is_slow_to_shake_hands_is_waited_for(
    server: AdminServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A listener that accepts, and holds everything back until it was looked whether somebody listens."""
    monkeypatch.setattr(connection, "_LISTEN_SECONDS", 0.1)
    go_on = asyncio.Event()
    accepted = 0
    host, port = server.address.split(":")

    async def hold(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal accepted
        accepted += 1
        if accepted > 1:
            go_on.set()
        await go_on.wait()
        there_reader, there_writer = await asyncio.open_connection(host, int(port))
        await asyncio.gather(pump(reader, there_writer), pump(there_reader, writer))

    async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        try:
            while data := await source.read(4096):
                sink.write(data)
                await sink.drain()
        except OSError:
            pass
        finally:
            sink.close()

    between = await asyncio.start_server(hold, "127.0.0.1", 0)
    address = f"127.0.0.1:{between.sockets[0].getsockname()[1]}"
    try:
        assert await reach(network(address, server.files(Role.OPERATOR), 60)) == 3
        assert accepted > 1
    finally:
        between.close()


def test_a_certificate_that_is_over_or_not_yet_valid_says_when(server: AdminServer) -> None:
    files = server.files(Role.OPERATOR)
    now = dt.datetime.now(dt.UTC)
    assert wrong_certificate(files.certificate, files.trust_anchor, now) == ""
    over = wrong_certificate(files.certificate, files.trust_anchor, now + dt.timedelta(days=36500))
    assert "expired on" in over
    early = wrong_certificate(files.certificate, files.trust_anchor, now - dt.timedelta(days=36500))
    assert "is valid from" in early
