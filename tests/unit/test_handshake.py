"""How a session begins: nobody passes for another, whatever TLS said."""

import asyncio
import datetime as dt
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from keyweave.agent.keyplane.failure import KeyPlaneError, RevokedError, SignatureError
from keyweave.agent.keyplane.sessions import handshake
from keyweave.agent.keyplane.sessions.enrolment import Enrolment, Signer, agent_identity
from keyweave.agent.keyplane.sessions.handshake import Channel, Proven
from keyweave.common.errors import InvalidInputError
from keyweave.common.identity import Identity, Plane, Role
from keyweave.common.names import NodeName
from keyweave.common.pki import Authority, Credential, serial_of
from keyweave.common.tls import SigningFiles, TlsFiles
from keyweave.v1 import keyplane_pb2 as pb
from tests.unit.enrolled import authorities, enrolled, enrolment

TOKYO, OSAKA = NodeName("tokyo"), NodeName("osaka")
DIALLING = Channel(dialled_by_us=True, dialler_certificate=b"tls certificate of osaka")
DIALLED = Channel(dialled_by_us=False, dialler_certificate=b"tls certificate of osaka")

Alter = Callable[[pb.Frame], pb.Frame]


def unaltered(frame: pb.Frame) -> pb.Frame:
    return frame


@dataclass
class Wire:
    """What one side receives."""

    alter: Alter = unaltered
    frames: asyncio.Queue[pb.Frame | None] = field(default_factory=asyncio.Queue)

    async def write(self, frames: Sequence[pb.Frame]) -> None:
        for frame in frames:
            copy = pb.Frame()
            copy.CopyFrom(frame)
            self.frames.put_nowait(self.alter(copy))

    async def read(self) -> AsyncIterator[pb.Frame]:
        while (frame := await self.frames.get()) is not None:
            yield frame


async def meet(
    tokyo: Enrolment,
    osaka: Enrolment,
    *,
    to_tokyo: Alter = unaltered,
    dialled: Channel = DIALLED,
) -> Proven | None:
    """What Tokyo, dialled by Osaka, makes of it."""
    at_tokyo, at_osaka = Wire(to_tokyo), Wire()
    dialling = asyncio.create_task(
        handshake.greet(OSAKA, b"o" * 16, TOKYO, osaka, DIALLING, at_osaka.read(), at_tokyo.write)
    )
    try:
        async with asyncio.timeout(5):
            return await handshake.greet(
                TOKYO, b"t" * 16, OSAKA, tokyo, dialled, at_tokyo.read(), at_osaka.write
            )
    finally:
        dialling.cancel()
        await asyncio.gather(dialling, return_exceptions=True)


async def test_two_enrolled_agents_prove_themselves_to_each_other() -> None:
    at_tokyo, at_osaka = Wire(), Wire()
    tokyo, osaka = await asyncio.gather(
        handshake.greet(
            TOKYO, b"t" * 16, OSAKA, enrolment("tokyo"), DIALLED, at_tokyo.read(), at_osaka.write
        ),
        handshake.greet(
            OSAKA, b"o" * 16, TOKYO, enrolment("osaka"), DIALLING, at_osaka.read(), at_tokyo.write
        ),
    )
    assert tokyo is not None
    assert osaka is not None
    assert (tokyo.peer, tokyo.peer_incarnation) == (OSAKA, b"o" * 16)
    assert (osaka.peer, osaka.peer_incarnation) == (TOKYO, b"t" * 16)


def changed(**fields: object) -> Alter:
    def alter(frame: pb.Frame) -> pb.Frame:
        if frame.WhichOneof("body") == "hello":
            for name, value in fields.items():
                setattr(frame.hello, name, value)
        return frame

    return alter


def without_proof(signature: bytes) -> Alter:
    def alter(frame: pb.Frame) -> pb.Frame:
        if frame.WhichOneof("body") == "proof":
            frame.proof.signature = signature
        return frame

    return alter


def offer_instead_of_proof(frame: pb.Frame) -> pb.Frame:
    return pb.Frame(offer=pb.Offer()) if frame.WhichOneof("body") == "proof" else frame


@pytest.mark.parametrize(
    "alter",
    [
        changed(incarnation=b"x" * 16),
        changed(challenge=b"x" * 32),
        changed(signing_certificate=b""),
        changed(signing_certificate=b"nonsense"),
        changed(signing_certificate=enrolment("kyoto").signer.certificate),
        changed(signing_certificate=enrolment("tokyo").signer.certificate),
        without_proof(b""),
        without_proof(bytes(3309)),
        offer_instead_of_proof,
    ],
    ids=[
        "incarnation",
        "challenge",
        "no certificate",
        "nonsense",
        "another's",
        "our own",
        "no signature",
        "zeros",
        "another frame",
    ],
)
async def test_what_is_altered_on_the_way_is_not_believed(alter: Alter) -> None:
    with pytest.raises(SignatureError):
        await meet(enrolment("tokyo"), enrolment("osaka"), to_tokyo=alter)


@pytest.mark.parametrize(
    "alter",
    [changed(node="kyoto"), changed(incarnation=b""), changed(challenge=b"short")],
    ids=["node", "incarnation", "challenge"],
)
async def test_what_is_no_hello_is_refused(alter: Alter) -> None:
    with pytest.raises(KeyPlaneError, match="does not begin with its hello"):
        await meet(enrolment("tokyo"), enrolment("osaka"), to_tokyo=alter)


async def test_a_proof_for_another_tls_certificate_is_not_believed() -> None:
    elsewhere = replace(DIALLED, dialler_certificate=b"tls certificate of a thief")
    with pytest.raises(SignatureError, match="proof of osaka"):
        await meet(enrolment("tokyo"), enrolment("osaka"), dialled=elsewhere)


async def test_a_proof_sent_back_to_its_maker_is_not_believed() -> None:
    sent: list[pb.Frame] = []
    at_tokyo = Wire()

    async def reflect(frames: Sequence[pb.Frame]) -> None:
        sent.extend(frames)
        await at_tokyo.write(frames)

    with pytest.raises(KeyPlaneError):
        await handshake.greet(TOKYO, b"t" * 16, TOKYO, enrolment("tokyo"), DIALLED, at_tokyo.read(), reflect)
    assert [frame.WhichOneof("body") for frame in sent] == ["hello", "proof"]


async def test_a_tls_certificate_alone_opens_no_session(tmp_path: Path) -> None:
    thief = Authority.create(Plane.KEY, signing=True)
    with pytest.raises(SignatureError, match="no authority that is trusted here"):
        await meet(enrolment("tokyo"), enrolled("osaka", tmp_path, signing=thief))


async def test_an_enrolment_of_another_node_opens_no_session(tmp_path: Path) -> None:
    with pytest.raises(SignatureError, match="names somebody else"):
        await meet(enrolment("tokyo"), enrolled("osaka", tmp_path, named="kyoto"))


def shown(credential: Credential) -> bytes:
    from cryptography import x509  # noqa: PLC0415
    from cryptography.hazmat.primitives.serialization import Encoding  # noqa: PLC0415

    return x509.load_pem_x509_certificate(credential.certificate).public_bytes(Encoding.DER)


def test_a_signing_certificate_that_has_expired_is_refused() -> None:
    past = authorities()[1].issue(agent_identity(OSAKA), valid_for=dt.timedelta(hours=-1))
    with pytest.raises(RevokedError, match="expired"):
        enrolment("tokyo").vet(OSAKA, shown(past))


def test_a_tls_certificate_is_no_signing_certificate() -> None:
    tls = authorities()[0].issue(agent_identity(OSAKA))
    with pytest.raises(SignatureError, match="not for ML-DSA-65"):
        enrolment("tokyo").vet(OSAKA, shown(tls))


def test_the_signing_authority_itself_is_no_agent() -> None:
    with pytest.raises(SignatureError):
        enrolment("tokyo").vet(OSAKA, shown(authorities()[1].credential))


@pytest.mark.parametrize(
    "identity",
    [Identity(Plane.CONTROL, Role.AGENT, "osaka"), Identity(Plane.KEY, Role.CONTROLLER, "osaka")],
    ids=str,
)
def test_only_an_agent_of_the_key_plane_is_enrolled(identity: Identity) -> None:
    with pytest.raises(SignatureError, match="names somebody else"):
        enrolment("tokyo").vet(OSAKA, shown(authorities()[1].issue(identity)))


def test_a_revoked_enrolment_is_refused(tmp_path: Path) -> None:
    authority = authorities()[1]
    issued = authority.issue(agent_identity(OSAKA))
    base = enrolled("tokyo", tmp_path)
    crl = tmp_path / "crl.pem"
    crl.write_bytes(authority.revoke([serial_of(issued.certificate)], number=1))
    files = base._files.model_copy(update={"revocation_list": crl})
    with pytest.raises(RevokedError, match="revoked"):
        Enrolment(TOKYO, base.tls, files).vet(OSAKA, shown(issued))


def test_an_agent_does_not_start_with_a_key_that_is_not_its_certificates(tmp_path: Path) -> None:
    authority = authorities()[1]
    one, other = (authority.issue(agent_identity(TOKYO)) for _ in range(2))
    files = _files(tmp_path, Credential(one.certificate, other.private_key))
    with pytest.raises(InvalidInputError, match="is not the key of"):
        Signer.read(files, TOKYO)


def test_an_agent_does_not_start_with_a_signing_key_of_another_kind(tmp_path: Path) -> None:
    files = _files(tmp_path, authorities()[0].issue(agent_identity(TOKYO)))
    with pytest.raises(InvalidInputError, match="is not an ML-DSA-65 key"):
        Signer.read(files, TOKYO)


def test_a_signing_key_that_was_replaced_is_taken_whole_or_not_at_all(tmp_path: Path) -> None:
    mine = enrolled("tokyo", tmp_path)
    before = mine.signer
    new = authorities()[1].issue(agent_identity(TOKYO))
    mine._files.certificate.write_bytes(new.certificate)
    mine.reload_signer()
    assert mine.signer is before, "the key has not been replaced yet"
    mine._files.private_key.write_bytes(new.private_key)
    mine.reload_signer()
    assert mine.signer.certificate == shown(new)


def test_keys_do_not_show_in_what_is_printed() -> None:
    assert "MLDSA" not in repr(enrolment("tokyo").signer)


def _files(directory: Path, credential: Credential) -> SigningFiles:
    files = TlsFiles(certificate=directory / "c", private_key=directory / "k", trust_anchor=directory / "a")
    credential.write(files.certificate, files.private_key)
    files.trust_anchor.write_bytes(authorities()[1].credential.certificate)
    return SigningFiles(**files.model_dump())
