"""Who an SAE is, by each source of its ID, from its certificate to the keys of its stream at both ends."""

import datetime as dt
import json
import ssl
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from keyweave.agent.config import AgentConfig
from keyweave.common.identity import Plane
from keyweave.common.pki import Authority
from tests.integration import mesh, mesh_policy
from tests.integration.mesh import Mesh, wait_until
from tests.integration.mesh_policy import MeshStream

STREAM = MeshStream(path_sets=((("a", "b"),),))
# As different applications may be called: nothing of it must be taken apart on the way.
NAMES = {
    "uri": {"a": "bank-a", "b": "bank-b"},
    "dns": {"a": "vault.north.example", "b": "vault.south.example"},
    "cn": {"a": "Tresor Zürich/7 100 %", "b": "金庫 東京 ?a=b&c#d;e+f"},
}


def certificate(authority: Authority, source: str, name: str) -> tuple[bytes, bytes]:
    """A client certificate (PEM) that names an SAE in one way only, and its key: a PKI unlike ours."""
    key = ec.generate_private_key(ec.SECP256R1())
    now = dt.datetime.now(dt.UTC)
    anchor = x509.load_pem_x509_certificate(authority.credential.certificate)
    signer = serialization.load_pem_private_key(authority.credential.private_key, None)
    assert isinstance(signer, ec.EllipticCurvePrivateKey)
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name if source == "cn" else "x")]))
        .issuer_name(anchor.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(minutes=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False
        )
    )
    if source == "uri":
        uri = x509.UniformResourceIdentifier(f"keyweave://sae/sae/{name}")
        builder = builder.add_extension(x509.SubjectAlternativeName([uri]), critical=False)
    elif source == "dns":
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
    pem = builder.sign(signer, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return pem, secret


class Saes:
    """The SAEs at both nodes, with their certificates, as one source names them."""

    def __init__(self, directory: Path, source: str) -> None:
        self.source = source
        self.authority = Authority.create(Plane.SAE)
        self.ids: dict[str, str] = {}
        self._files: dict[str, tuple[Path, Path]] = {}
        for node in ("a", "b"):
            name = NAMES.get(source, {}).get(node, f"whatever-{node}")
            pem, secret = certificate(self.authority, source, name)
            self._files[node] = directory / f"{node}-sae.pem", directory / f"{node}-sae.key"
            for path, data in zip(self._files[node], (pem, secret), strict=True):
                path.write_bytes(data)
            parsed = x509.load_pem_x509_certificate(pem)
            self.ids[node] = parsed.fingerprint(hashes.SHA256()).hex() if source == "fingerprint" else name

    async def ask(
        self, running: Mesh, node: str, peer: str, method: str, body: dict[str, Any]
    ) -> httpx.Response:
        """What the SAE at `node` is answered about the one at `peer`."""
        context = ssl.create_default_context(cafile=str(running.trust_anchor(Plane.SAE)))
        context.load_cert_chain(*self._files[node])
        path = f"/api/v1/keys/{quote(self.ids[peer], safe='')}/{method}"
        async with httpx.AsyncClient(verify=context, trust_env=False, timeout=10) as http:
            return await http.post(f"{running.agents[node].kme}{path}", json=body)


@pytest.mark.parametrize("source", ["uri", "dns", "cn", "fingerprint"])
async def test_both_saes_get_their_streams_keys_by_the_id_in_their_certificates(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str
) -> None:
    (tmp_path / "saes").mkdir()
    saes = Saes(tmp_path / "saes", source)
    created, configured = Authority.create, Mesh._config

    def create(plane: Plane, **options: Any) -> Authority:
        return saes.authority if plane is Plane.SAE else created(plane, **options)

    def config(self: Mesh, node: str, ready: Path) -> AgentConfig:
        made = configured(self, node, ready)
        return made.model_copy(update={"kme": made.kme.model_copy(update={"sae_id_from": source})})

    monkeypatch.setattr(Authority, "create", create)
    monkeypatch.setattr(Mesh, "_config", config)
    for module in (mesh_policy, mesh):
        monkeypatch.setattr(module, "sae", saes.ids.__getitem__)
    async with mesh.running(tmp_path, ("a-b",), STREAM) as running:
        await running.supplied()
        for master, slave in (("a", "b"), ("b", "a")):
            await wait_until(lambda node=master: running.ready_keys(node) >= 6, 10, "keys")  # type: ignore[misc]
            for request in ({"number": 2}, {"number": 2, "size": 512}):
                drawn = await saes.ask(running, master, slave, "enc_keys", request)
                assert drawn.status_code == 200, drawn.text
                ids = [{"key_ID": key["key_ID"]} for key in drawn.json()["keys"]]
                # Each side names the other; the master itself has no claim to the slave's copy.
                assert (
                    await saes.ask(running, master, slave, "dec_keys", {"key_IDs": ids})
                ).status_code == 400
                collected = await saes.ask(running, slave, master, "dec_keys", {"key_IDs": ids})
                assert collected.status_code == 200, collected.text
                assert json.dumps(collected.json()["keys"]) == json.dumps(drawn.json()["keys"])
        assert (await saes.ask(running, "a", "a", "enc_keys", {})).status_code == 401
