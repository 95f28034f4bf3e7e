"""Which SAE a client certificate names, by each of the four ways there are."""

import datetime as dt
import hashlib

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from keyweave.agent.etsi014.callers import SaeIdFrom, caller, sae_id
from keyweave.agent.etsi014.supply import Refusal, SupplyError
from keyweave.common.identity import Identity, Plane, Role
from keyweave.common.pki import Authority

NOT_AFTER = dt.datetime(2030, 1, 2, 3, 4, 5, tzinfo=dt.UTC)


def certificate(
    *, uris: tuple[str, ...] = (), dns: tuple[str, ...] = (), common_names: tuple[str, ...] = ("cn",)
) -> bytes:
    """A DER certificate, whoever signed it: the TLS layer has verified that before."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text) for text in common_names])
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(NOT_AFTER - dt.timedelta(days=1))
        .not_valid_after(NOT_AFTER)
    )
    alternatives = [
        *(x509.UniformResourceIdentifier(uri) for uri in uris),
        *(x509.DNSName(text) for text in dns),
    ]
    if alternatives:
        builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


def test_uri_takes_the_name_of_the_keyweave_uri() -> None:
    der = certificate(uris=("spiffe://bank.example/x", "keyweave://sae/sae/Bank_A.1"), dns=("a.example",))
    assert sae_id(der, SaeIdFrom.URI) == "Bank_A.1"


def test_dns_takes_the_one_dns_name() -> None:
    assert sae_id(certificate(dns=("sae.bank.example",)), SaeIdFrom.DNS) == "sae.bank.example"


def test_cn_takes_the_one_common_name() -> None:
    assert sae_id(certificate(common_names=("Bank A",)), SaeIdFrom.CN) == "Bank A"


def test_fingerprint_is_sha256_of_the_certificate() -> None:
    der = certificate()
    assert sae_id(der, SaeIdFrom.FINGERPRINT) == hashlib.sha256(der).hexdigest()


def test_the_caller_is_good_until_its_certificate_ends() -> None:
    assert caller(certificate(), SaeIdFrom.CN).standing.not_after == NOT_AFTER.timestamp()


@pytest.mark.parametrize(
    ("source", "der"),
    [
        (SaeIdFrom.URI, certificate()),
        (SaeIdFrom.URI, certificate(uris=("https://bank.example",))),
        (SaeIdFrom.URI, certificate(uris=("keyweave://sae/sae/a", "keyweave://sae/sae/b"))),
        (SaeIdFrom.URI, certificate(uris=("keyweave://sae/sae/",))),
        (SaeIdFrom.URI, certificate(uris=("keyweave://sae/emperor/a",))),
        (SaeIdFrom.URI, certificate(uris=("keyweave://sae/sae/" + "a" * 129,))),
        (SaeIdFrom.DNS, certificate()),
        (SaeIdFrom.DNS, certificate(dns=("a.example", "b.example"))),
        (SaeIdFrom.CN, certificate(common_names=())),
        (SaeIdFrom.CN, certificate(common_names=("a", "b"))),
    ],
)
def test_a_certificate_that_names_no_single_sae_is_refused(source: SaeIdFrom, der: bytes) -> None:
    with pytest.raises(SupplyError, match=f"SAE ID from {source}") as refused:
        sae_id(der, source)
    assert refused.value.refusal is Refusal.NOT_ALLOWED
    assert refused.value.http_status == 401


@pytest.mark.parametrize("source", SaeIdFrom)
@pytest.mark.parametrize(
    "identity",
    [
        Identity(Plane.SAE, Role.KME, "tokyo"),
        Identity(Plane.KEY, Role.SAE, "bank-a"),
        Identity(Plane.CONTROL, Role.OPERATOR, "operator"),
    ],
)
def test_no_other_role_or_plane_passes_for_an_sae_by_any_of_its_names(
    source: SaeIdFrom, identity: Identity
) -> None:
    with pytest.raises(SupplyError, match="is not an SAE of the sae plane"):
        sae_id(certificate(uris=(identity.uri,), dns=("bank-a",), common_names=("bank-a",)), source)


def test_the_certificates_that_keyweave_issues_name_their_sae() -> None:
    issued = Authority.create(Plane.SAE).issue(Identity(Plane.SAE, Role.SAE, "bank-a"))
    der = x509.load_pem_x509_certificate(issued.certificate).public_bytes(serialization.Encoding.DER)
    assert sae_id(der, SaeIdFrom.URI) == sae_id(der, SaeIdFrom.CN) == "bank-a"
