"""A gRPC server whose callers are revoked, and whose own certificate is replaced, while calls are open."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography import x509

from keyweave.common.file_watch import FileWatch
from keyweave.common.grpc_errors import ErrorInterceptor
from keyweave.common.grpc_standing import StandingInterceptor
from keyweave.common.identity import Identity, Plane, Role
from keyweave.common.pki import Authority, serial_of
from keyweave.common.revocation import Trust
from keyweave.common.tls import SERVER_OPTIONS, TlsFiles, secure_channel, server_credentials
from tests.waiting import eventually

SERVER = Identity(Plane.CONTROL, Role.CONTROLLER, "controller")
DEADLINE_SECONDS = 30.0


@dataclass
class Site:
    """A server, its authority, and who may call it."""

    directory: Path
    authority: Authority
    watch: FileWatch
    port: int = 0
    # Responses that `pour` has been asked for.
    poured: int = 0

    async def pour(self, _request: bytes, _context: Any) -> AsyncIterator[bytes]:
        """Answer without end."""
        while True:
            self.poured += 1
            yield bytes(100_000)

    def files(self, identity: Identity) -> TlsFiles:
        stem = self.directory / identity.name
        return TlsFiles(
            certificate=stem.with_suffix(".pem"),
            private_key=stem.with_suffix(".key"),
            trust_anchor=self.directory / "ca.pem",
            revocation_list=self.directory / "crl.pem",
        )

    def issue(self, identity: Identity) -> TlsFiles:
        files = self.files(identity)
        self.authority.issue(identity).write(files.certificate, files.private_key)
        return files

    def revoke(self, *identities: Identity) -> None:
        serials = [serial_of(self.files(each).certificate.read_bytes()) for each in identities]
        (self.directory / "crl.pem").write_bytes(self.authority.revoke(serials, number=1))
        self.watch.look()

    @asynccontextmanager
    async def calling(self, name: str) -> AsyncIterator[Any]:
        files = self.issue(Identity(Plane.CONTROL, Role.AGENT, name))
        async with secure_channel(f"127.0.0.1:{self.port}", files, SERVER) as channel:
            yield channel

    async def shown(self) -> int:
        """The serial number of the certificate that the server shows to who connects now."""
        files = self.issue(Identity(Plane.CONTROL, Role.VIEWER, "looking"))
        context = ssl.create_default_context(cafile=str(files.trust_anchor))
        context.load_cert_chain(files.certificate, files.private_key)
        context.set_alpn_protocols(["h2"])
        name = SERVER.dns_name
        _, writer = await asyncio.open_connection("127.0.0.1", self.port, ssl=context, server_hostname=name)
        der = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        writer.close()
        return x509.load_der_x509_certificate(der).serial_number


async def once(_request: bytes, _context: Any) -> bytes:
    return b"done"


async def follow(_request: bytes, _context: Any) -> AsyncIterator[bytes]:
    yield b"first"
    await asyncio.Event().wait()


async def talk(requests: AsyncIterator[bytes], context: Any) -> None:
    async for request in requests:
        await context.write(request)


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    made = Site(tmp_path, Authority.create(Plane.CONTROL), FileWatch())
    (tmp_path / "ca.pem").write_bytes(made.authority.credential.certificate)
    made.revoke()
    files = made.issue(SERVER)
    trust = Trust("control", files)
    made.watch.on_change(trust.paths, trust.reload)
    server = grpc.aio.server(
        interceptors=[ErrorInterceptor(), StandingInterceptor(trust)], options=SERVER_OPTIONS
    )
    handlers = {
        "Once": grpc.unary_unary_rpc_method_handler(once),
        "Follow": grpc.unary_stream_rpc_method_handler(follow),
        "Pour": grpc.unary_stream_rpc_method_handler(made.pour),
        "Talk": grpc.stream_stream_rpc_method_handler(talk),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test", handlers),))
    made.port = server.add_secure_port("127.0.0.1:0", server_credentials(files))
    await server.start()
    yield made
    await server.stop(None)


async def test_calls_of_a_revoked_caller_end_and_others_go_on(site: Site) -> None:
    async with site.calling("bad") as bad, site.calling("good") as good:
        bad_follows, good_follows = (each.unary_stream("/test/Follow")(b"") for each in (bad, good))
        bad_talks, good_talks = (each.stream_stream("/test/Talk")() for each in (bad, good))
        for call in (bad_talks, good_talks):
            await call.write(b"hello")
        for call in (bad_follows, good_follows, bad_talks, good_talks):
            await call.read()
        site.revoke(Identity(Plane.CONTROL, Role.AGENT, "bad"))
        async with asyncio.timeout(DEADLINE_SECONDS):
            for call in (bad_follows, bad_talks):
                assert await call.code() is not grpc.StatusCode.OK
        await good_talks.write(b"still here")
        assert await good_talks.read() == b"still here"
        assert not good_follows.done()
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await bad.unary_unary("/test/Once")(b"")
        assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED
        assert "revoked" in str(refused.value.details())
        assert await good.unary_unary("/test/Once")(b"") == b"done"


async def test_a_caller_of_a_live_stream_is_told_why_it_ended(site: Site) -> None:
    async with site.calling("bad") as bad:
        call = bad.stream_stream("/test/Talk")()
        await call.write(b"hello")
        await call.read()
        site.revoke(Identity(Plane.CONTROL, Role.AGENT, "bad"))
        async with asyncio.timeout(DEADLINE_SECONDS):
            assert await call.code() is grpc.StatusCode.PERMISSION_DENIED
        assert "revoked" in str(await call.details())


async def _read_all(responses: AsyncIterator[bytes]) -> None:
    async for _ in responses:
        pass


async def test_a_caller_that_is_revoked_while_it_is_sent_to_is_told_why_as_well(site: Site) -> None:
    async with site.calling("bad") as bad:
        responses = aiter(bad.unary_stream("/test/Pour")(b""))
        await anext(responses)
        seen = 0

        async def waits_for_room() -> bool:
            nonlocal seen
            before, seen = seen, site.poured
            return seen == before

        # Nothing is read meanwhile.
        await eventually(waits_for_room, DEADLINE_SECONDS, "the server is sending what nobody reads")
        site.revoke(Identity(Plane.CONTROL, Role.AGENT, "bad"))
        async with asyncio.timeout(DEADLINE_SECONDS):
            with pytest.raises(grpc.aio.AioRpcError) as ended:
                await _read_all(responses)
        assert ended.value.code() is grpc.StatusCode.PERMISSION_DENIED


async def test_a_new_server_certificate_is_shown_to_new_connections_and_breaks_none(site: Site) -> None:
    async with site.calling("a") as channel:
        call = channel.stream_stream("/test/Talk")()
        await call.write(b"before")
        assert await call.read() == b"before"
        before = await site.shown()
        site.issue(SERVER)
        assert await site.shown() != before
        await call.write(b"after")
        assert await call.read() == b"after"
    async with site.calling("b") as channel:
        assert await channel.unary_unary("/test/Once")(b"") == b"done"


async def test_a_certificate_without_its_key_is_not_shown(site: Site) -> None:
    before = await site.shown()
    site.files(SERVER).certificate.write_bytes(site.authority.issue(SERVER).certificate)
    assert await site.shown() == before


async def test_callers_of_a_new_anchor_come_in_and_those_of_one_that_is_gone_go(site: Site) -> None:
    async with site.calling("old") as channel:
        talks = channel.stream_stream("/test/Talk")()
        await talks.write(b"hello")
        await talks.read()
        old, new = site.authority, Authority.create(Plane.CONTROL)
        anchors, lists = site.directory / "ca.pem", site.directory / "crl.pem"
        anchors.write_bytes(old.credential.certificate + new.credential.certificate)
        lists.write_bytes(old.revoke((), number=1) + new.revoke((), number=1))
        site.watch.look()
        site.authority = new
        site.issue(SERVER)
        async with site.calling("new") as other:
            assert await other.unary_unary("/test/Once")(b"") == b"done"
        await talks.write(b"still here")
        assert await talks.read() == b"still here"
        anchors.write_bytes(new.credential.certificate)
        lists.write_bytes(new.revoke((), number=1))
        site.watch.look()
        async with asyncio.timeout(DEADLINE_SECONDS):
            assert await talks.code() is grpc.StatusCode.PERMISSION_DENIED
