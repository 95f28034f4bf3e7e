"""Certificates that are replaced, expire or are revoked while keys flow, over real TLS."""

import asyncio
import datetime as dt
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from keyweave.agent.keyplane.sessions.enrolment import agent_identity
from keyweave.common.identity import Identity, Plane, Role
from keyweave.common.names import NodeName
from keyweave.common.pki import Authority
from keyweave.v1 import agent_pb2, types_pb2
from tests.integration import mesh
from tests.integration.mesh import SIGNING, Mesh, wait_until
from tests.integration.mesh_policy import MeshStream, sae
from tests.waiting import eventually

PAIR = ("a-b",)
LINE = ("a-b", "b-c")
DIRECT = MeshStream(path_sets=((("a", "b"),),), on_exhaustion=types_pb2.ON_EXHAUSTION_WAIT)
REVOKED = agent_pb2.AGENT_EVENT_KIND_PEER_REVOKED
SIGNATURE_FAILED = agent_pb2.AGENT_EVENT_KIND_SIGNATURE_FAILED
SESSION_EVENTS = (REVOKED, SIGNATURE_FAILED, agent_pb2.AGENT_EVENT_KIND_POOL_DESTROYED)
DRAW_SECONDS = 0.05


@dataclass
class Draws:
    """What two SAEs got that draw keys all the time, one as master, the other as slave."""

    good: int = 0
    failures: list[str] = field(default_factory=list)

    async def more(self, count: int, what: str) -> None:
        """Wait for further keys that both got."""
        wanted = self.good + count
        await wait_until(lambda: self.good >= wanted or self.failures, 20, what)
        assert not self.failures


@asynccontextmanager
async def drawing(running: Mesh) -> AsyncIterator[Draws]:
    """Draw keys at a and fetch them at b until the end of the block."""
    draws = Draws()

    async def draw() -> None:
        while True:
            drawn = await running.enc_keys("a", "b")
            if drawn.status_code != 200:
                draws.failures.append(f"enc_keys: {drawn.status_code} {drawn.text}")
                return
            key = drawn.json()["keys"][0]
            fetched = await running.dec_keys("b", "a", [key["key_ID"]])
            if fetched.status_code != 200 or fetched.json()["keys"][0]["key"] != key["key"]:
                draws.failures.append(f"dec_keys: {fetched.status_code} {fetched.text}")
                return
            draws.good += 1
            await asyncio.sleep(DRAW_SECONDS)

    task = asyncio.create_task(draw())
    try:
        yield draws
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert not draws.failures


def key_tls(running: Mesh, node: str) -> None:
    running.files(agent_identity(NodeName(node)))


def signing(running: Mesh, node: str) -> None:
    running.signing_files(node)


def control(running: Mesh, node: str) -> None:
    running.files(Identity(Plane.CONTROL, Role.AGENT, node))


def kme(running: Mesh, node: str) -> None:
    running.files(Identity(Plane.SAE, Role.KME, node))


def proven(running: Mesh, node: str, peer: str) -> object:
    """What `node` holds of its present session with a peer."""
    return running.plane(node).peers[peer].last_proven


@pytest.mark.parametrize("rotate", [key_tls, signing], ids=["TLS", "signing"])
async def test_an_agent_shows_its_new_certificate_of_the_key_plane_while_keys_flow(
    tmp_path: Path, rotate: Callable[[Mesh, str], None]
) -> None:
    async with mesh.running(tmp_path, PAIR, DIRECT) as running, drawing_once(running) as draws:
        pool = running.plane("a").links["a-b"].pool.pool_id
        before = proven(running, "b", "a")
        rotate(running, "a")
        await wait_until(
            lambda: proven(running, "b", "a") not in (before, None), 10, "b has a's new certificate"
        )
        await draws.more(20, "keys flow on")
        assert running.plane("a").links["a-b"].pool.pool_id == pool, "the pool has survived"
        assert not running.events_of(REVOKED)
        assert not running.events_of(SIGNATURE_FAILED)


@asynccontextmanager
async def drawing_once(running: Mesh) -> AsyncIterator[Draws]:
    """Like `drawing`, once keys flow."""
    await running.supplied()
    async with drawing(running) as draws:
        await draws.more(3, "keys flow")
        yield draws


async def test_the_kme_shows_its_new_certificate_to_the_next_application(tmp_path: Path) -> None:
    async with mesh.running(tmp_path, PAIR, DIRECT) as running, drawing_once(running) as draws:
        before = await shown_by_kme(running, "a")
        kme(running, "a")
        await eventually_shown(running, "a", before)
        await draws.more(10, "keys flow on")


async def test_an_agent_reads_its_device_on_with_a_new_certificate(tmp_path: Path) -> None:
    async with mesh.running(tmp_path, PAIR, DIRECT) as running, drawing_once(running) as draws:
        link = running.plane("a").links["a-b"]
        pool = link.pool.pool_id
        before = running.agents["a"].agent.config.control_tls.certificate.read_bytes()
        control(running, "a")
        running.revoke(Plane.CONTROL, before)
        # Several seconds' worth: the emulator has read the list by then.
        wanted = link.intake_bytes_total + 40_000
        await wait_until(lambda: link.intake_bytes_total > wanted, 20, "blocks come")
        await draws.more(10, "keys flow on")
        assert link.pool.pool_id == pool
        assert not running.events_of(agent_pb2.AGENT_EVENT_KIND_LINK_DEVICE_FAULT)


async def test_a_key_that_is_not_the_certificates_is_not_taken(tmp_path: Path) -> None:
    async with mesh.running(tmp_path, PAIR, DIRECT) as running, drawing_once(running) as draws:
        before = await shown_by_kme(running, "a")
        config = running.agents["a"].agent.config
        for files in (config.key_plane.tls, config.kme.tls, config.control_tls):
            other = running.authorities[Plane.KEY].issue(agent_identity(NodeName("a")))
            files.certificate.write_bytes(other.certificate)
        running.agents["a"].agent.files.look()
        running.agents["b"].agent.files.look()
        await draws.more(20, "keys flow on")
        assert await shown_by_kme(running, "a") == before


async def test_trust_anchors_overlap_while_an_authority_is_replaced(tmp_path: Path) -> None:
    async with mesh.running(tmp_path, PAIR, DIRECT) as running, drawing_once(running) as draws:
        old, new = running.signing, Authority.create(Plane.KEY, signing=True)
        anchors, lists = running.trust_anchor(SIGNING), running.revocation_list(SIGNING)
        anchors.write_bytes(old.credential.certificate + new.credential.certificate)
        lists.write_bytes(old.revoke((), number=1) + new.revoke((), number=1))
        look(running)
        running.signing = new
        for node in ("a", "b"):
            before = proven(running, {"a": "b", "b": "a"}[node], node)
            running.signing_files(node)
            look(running)
            if node == "a":
                await wait_until(lambda: proven(running, "b", "a") != before, 10, "a shows its new key")  # noqa: B023
        # b is dialled: it shows its new key when a dials next.
        running.plane("a").peers["b"].hang_up()
        await wait_until(
            lambda: running.plane("a").peers["b"].connected and proven(running, "a", "b") != before,
            10,
            "a has dialled again, and b shown its new key",
        )
        anchors.write_bytes(new.credential.certificate)
        lists.write_bytes(new.revoke((), number=1))
        look(running)
        await draws.more(10, "keys flow on")
        assert not running.events_of(REVOKED)


@pytest.mark.parametrize(("plane", "teller"), [(SIGNING, "b"), (Plane.KEY, "b")])
async def test_a_revoked_agents_sessions_end_and_what_it_shared_goes_while_others_go_on(
    tmp_path: Path, plane: str, teller: str
) -> None:
    ends = MeshStream(name="t", path_sets=((("b", "c"),),), on_exhaustion=types_pb2.ON_EXHAUSTION_WAIT)
    async with mesh.running(tmp_path, LINE, DIRECT, ends) as running:
        await running.supplied("s")
        await running.supplied("t")
        config = running.agents["a"].agent.config.key_plane
        revoked = config.signing if plane == SIGNING else config.tls
        others = proven(running, "b", "c")
        running.revoke(plane, revoked.certificate.read_bytes())
        peer = running.plane(teller).peers["a"]
        await wait_until(lambda: not peer.connected, 4, "b has ended the session")
        assert running.ready_keys("b", "s") == 0
        assert running.plane("b").links["a-b"].pool is None
        (event,) = running.events_of(REVOKED, "b")
        assert event.peer_node == "a"
        assert "revoked" in event.reason
        assert (await running.enc_keys("b", "a")).status_code == 503
        drawn = await running.enc_keys("b", "c")
        assert drawn.status_code == 200, "others go on"
        assert proven(running, "b", "c") is others
        # It comes again and again, and never gets in.
        refused = running.plane("b").peers["a"]
        for _ in range(3):
            with pytest.raises(AssertionError, match="it is back"):
                await wait_until(lambda: refused.connected, 0.5, "it is back")
        running.signing_files("a")
        running.files(agent_identity(NodeName("a")))
        await running.supplied("s", 20)
        assert len(running.events_of(REVOKED, "b")) == 1, "told once"


async def test_a_certificate_that_expires_during_a_session_ends_it(tmp_path: Path) -> None:
    async with mesh.running(tmp_path, PAIR, DIRECT) as running:
        await running.supplied()
        files = running.agents["a"].agent.config.key_plane.signing
        short = running.signing.issue(agent_identity(NodeName("a")), valid_for=dt.timedelta(seconds=6))
        short.write(files.certificate, files.private_key)
        serial = x509.load_pem_x509_certificate(short.certificate).serial_number

        def shown() -> bool:
            now = running.plane("b").peers["a"].last_proven
            return now is not None and now.verifier.standing.serial == serial

        await wait_until(shown, 6, "a shows the certificate that expires")
        await wait_until(lambda: running.events_of(REVOKED, "b"), 8, "b has noticed")
        assert "expired" in running.events_of(REVOKED, "b")[0].reason
        await wait_until(lambda: not running.plane("b").peers["a"].connected, 2, "the session has ended")


async def test_whoever_has_only_an_agents_tls_key_gets_no_session(tmp_path: Path) -> None:
    async with mesh.running(tmp_path, PAIR, DIRECT) as running:
        await running.supplied()
        await running.stop("a")
        files = running.agents["b"].agent.config.key_plane.signing
        thief = Authority.create(Plane.KEY, signing=True)
        real, running.signing = running.signing, thief
        task = asyncio.create_task(running.start("a"))
        await wait_until(lambda: running.events_of(SIGNATURE_FAILED, "b"), 15, "b has noticed")
        await task
        assert not running.plane("b").peers["a"].connected
        assert running.plane("b").vouching.signature_failures["a"] >= 1
        running.signing = real
        assert files.trust_anchor.read_bytes() == real.credential.certificate
        await running.stop("a")
        await running.start("a")
        await running.supplied()


async def test_a_revoked_application_is_refused_on_the_connection_that_it_has(tmp_path: Path) -> None:
    async with mesh.running(tmp_path, PAIR, DIRECT) as running:
        await running.supplied()
        files = running.files(Identity(Plane.SAE, Role.SAE, sae("a")))
        context = ssl.create_default_context(cafile=str(files.trust_anchor))
        context.load_cert_chain(files.certificate, files.private_key)
        url = f"{running.agents['a'].kme}/api/v1/keys/{sae('b')}/status"
        async with httpx.AsyncClient(verify=context, trust_env=False) as http:
            assert (await http.get(url)).status_code == 200
            running.revoke(Plane.SAE, files.certificate.read_bytes())
            look(running)
            refused = await http.get(url)
        assert refused.status_code == 401
        assert "revoked" in refused.json()["message"]


def look(running: Mesh) -> None:
    """What SIGHUP does: look at the files at once."""
    for each in running.agents.values():
        each.agent.files.look()


async def shown_by_kme(running: Mesh, node: str) -> bytes:
    """The certificate that a KME shows to who connects now (PEM)."""
    host, port = running.agents[node].kme.removeprefix("https://").split(":")
    files = running.files(Identity(Plane.SAE, Role.SAE, sae(node)))
    context = ssl.create_default_context(cafile=str(files.trust_anchor))
    context.load_cert_chain(files.certificate, files.private_key)
    _, writer = await asyncio.open_connection(host, int(port), ssl=context)
    der = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    return x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM)


async def eventually_shown(running: Mesh, node: str, before: bytes) -> None:
    """Return once a KME shows another certificate."""

    async def renewed() -> bool:
        return await shown_by_kme(running, node) != before

    await eventually(renewed, 10, f"the KME at {node} shows a new certificate")
