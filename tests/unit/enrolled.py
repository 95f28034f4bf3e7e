"""Agents of one signing authority, for tests of what they say to each other."""

import tempfile
from functools import cache
from pathlib import Path

from keyweave.agent.keyplane.sessions.enrolment import Enrolment, agent_identity
from keyweave.agent.keyplane.sessions.handshake import Proven
from keyweave.common.identity import Plane
from keyweave.common.names import NodeName
from keyweave.common.pki import Authority, Credential
from keyweave.common.tls import SigningFiles, TlsFiles


@cache
def authorities() -> tuple[Authority, Authority]:
    """Of the key plane's TLS, and of its signing keys."""
    return Authority.create(Plane.KEY), Authority.create(Plane.KEY, signing=True)


@cache
def enrolment(node: str) -> Enrolment:
    """The enrolment of one node, by the authorities that all share."""
    return enrolled(node, Path(tempfile.mkdtemp(prefix="keyweave-enrolled-")))


def enrolled(
    node: str, directory: Path, *, signing: Authority | None = None, named: str | None = None
) -> Enrolment:
    """An enrolment on disk, `signing` its issuer and its own anchor unless told; it names `named`."""
    tls_authority, signing_authority = authorities()
    issuer = signing or signing_authority
    tls = _write(directory, "tls", tls_authority, tls_authority.issue(agent_identity(NodeName(node))))
    key = issuer.issue(agent_identity(NodeName(named or node)))
    return Enrolment(
        NodeName(named or node),
        TlsFiles(**tls),
        SigningFiles(**_write(directory, "signing", signing_authority, key)),
    )


def _write(directory: Path, name: str, anchor: Authority, credential: Credential) -> dict[str, Path]:
    paths = {
        "certificate": directory / f"{name}.pem",
        "private_key": directory / f"{name}-key.pem",
        "trust_anchor": directory / f"{name}-ca.pem",
    }
    credential.write(paths["certificate"], paths["private_key"])
    paths["trust_anchor"].write_bytes(anchor.credential.certificate)
    return paths


@cache
def ends(near: str, far: str) -> tuple[Proven, Proven]:
    """A session as each of its ends has it proved."""
    ours, theirs = enrolment(near), enrolment(far)
    at_near = theirs.signer.certificate
    at_far = ours.signer.certificate
    near_node, far_node = NodeName(near), NodeName(far)
    inc_near, inc_far = near.encode().ljust(16, b"n"), far.encode().ljust(16, b"f")
    return (
        Proven(near_node, inc_near, ours.signer, far_node, inc_far, ours.vet(far_node, at_near), None),
        Proven(far_node, inc_far, theirs.signer, near_node, inc_near, theirs.vet(near_node, at_far), None),
    )
