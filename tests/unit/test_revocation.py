"""Who is no longer believed, and what becomes of revocation lists that are no good."""

import asyncio
import datetime as dt
import time
from pathlib import Path

import pytest
from cryptography import x509

from keyweave.common.errors import InvalidInputError
from keyweave.common.identity import Identity, Plane, Role
from keyweave.common.pki import Authority
from keyweave.common.revocation import Standing, Trust
from keyweave.common.tls import TlsFiles

AGENT = Identity(Plane.KEY, Role.AGENT, "tokyo")
HOUR = dt.timedelta(hours=1)


class Case:
    """An anchor, its revocation list, and certificates that it issued."""

    def __init__(self, directory: Path, *, signing: bool = False) -> None:
        self.authority = Authority.create(Plane.KEY, signing=signing)
        self.anchors, self.list = directory / "ca.pem", directory / "crl.pem"
        self.anchors.write_bytes(self.authority.credential.certificate)
        self.good, self.bad = self.issue(), self.issue()
        self.revoke(self.bad)

    def issue(self, valid_for: dt.timedelta = HOUR) -> x509.Certificate:
        return x509.load_pem_x509_certificate(self.authority.issue(AGENT, valid_for=valid_for).certificate)

    def revoke(self, *certificates: x509.Certificate, valid_for: dt.timedelta = HOUR) -> None:
        serials = [certificate.serial_number for certificate in certificates]
        self.list.write_bytes(self.authority.revoke(serials, number=1, valid_for=valid_for))

    def trust(self) -> Trust:
        files = TlsFiles(
            certificate=Path("c"),
            private_key=Path("k"),
            trust_anchor=self.anchors,
            revocation_list=self.list,
        )
        return Trust("key", files)


@pytest.fixture(params=[False, True], ids=["EC", "ML-DSA"])
def case(tmp_path: Path, request: pytest.FixtureRequest) -> Case:
    return Case(tmp_path, signing=request.param)


def refusal(trust: Trust, certificate: x509.Certificate) -> str:
    return trust.refusal(trust.standing(certificate), time.time())


def test_who_is_on_the_list_is_refused_and_nobody_else(case: Case) -> None:
    trust = case.trust()
    assert refusal(trust, case.good) == ""
    assert refusal(trust, case.bad).startswith("revoked: certificate ")
    assert trust.current(time.time())


def test_a_certificate_that_is_revoked_later_is_refused_from_the_reload_on(case: Case) -> None:
    trust = case.trust()
    standing = trust.standing(case.good)
    case.revoke(case.good, case.bad)
    assert trust.refusal(standing, time.time()) == ""
    trust.reload()
    assert "revoked" in trust.refusal(standing, time.time())


def test_a_certificate_ends_by_the_clock_though_nothing_is_reloaded(case: Case) -> None:
    trust = case.trust()
    standing = trust.standing(case.good)
    assert trust.refusal(standing, standing.not_after - 1) == ""
    assert "expired" in trust.refusal(standing, standing.not_after + 1)


def test_a_list_that_is_no_good_leaves_the_last_good_one_in_force(case: Case) -> None:
    trust = case.trust()
    stranger = Authority.create(Plane.KEY)
    later = case.authority.revoke([], number=2)
    for content in (
        b"",
        b"-----BEGIN X509 CRL-----\nnonsense\n-----END X509 CRL-----\n",
        stranger.revoke([], number=9),
        later[:60] + later[60:].replace(b"A", b"B", 1),
    ):
        case.list.write_bytes(content)
        trust.reload()
        assert "revoked" in refusal(trust, case.bad)
        assert trust.problem
        assert not trust.current(time.time()), "and it shows"
    case.list.unlink()
    trust.reload()
    assert "revoked" in refusal(trust, case.bad)
    case.list.write_bytes(later)
    trust.reload()
    assert refusal(trust, case.bad) == ""
    assert trust.current(time.time())


def test_a_list_beyond_its_time_still_counts_and_it_shows(case: Case) -> None:
    case.revoke(case.bad, valid_for=-HOUR)
    trust = case.trust()
    assert "revoked" in refusal(trust, case.bad)
    assert not trust.current(time.time())


def test_an_older_list_does_not_take_back_what_was_revoked(case: Case) -> None:
    trust = case.trust()
    case.revoke(valid_for=-HOUR)
    trust.reload()
    assert "older than the one in force" in trust.problem
    assert "revoked" in refusal(trust, case.bad)


def test_a_process_does_not_start_with_a_list_that_it_cannot_read(case: Case) -> None:
    case.list.write_bytes(b"nonsense")
    with pytest.raises(InvalidInputError, match="holds no revocation list"):
        case.trust()


def test_a_partial_list_is_not_taken_for_a_whole_one(case: Case) -> None:
    trust = case.trust()
    key = case.authority._key
    now = dt.datetime.now(dt.UTC)
    whole = x509.load_pem_x509_crl(case.list.read_bytes())
    delta = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(whole.issuer)
        .last_update(now)
        .next_update(now + HOUR)
        .add_extension(x509.DeltaCRLIndicator(1), critical=True)
        .sign(key, whole.signature_hash_algorithm)  # type: ignore[arg-type]
    )
    from cryptography.hazmat.primitives.serialization import Encoding  # noqa: PLC0415

    case.list.write_bytes(delta.public_bytes(Encoding.PEM))
    trust.reload()
    assert "partial" in trust.problem
    assert "revoked" in refusal(trust, case.bad)


def test_two_anchors_overlap_each_with_its_own_list(case: Case, tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    new = Case(tmp_path / "new")
    case.anchors.write_bytes(case.anchors.read_bytes() + new.anchors.read_bytes())
    case.list.write_bytes(case.list.read_bytes() + new.list.read_bytes())
    trust = case.trust()
    assert [bool(refusal(trust, each)) for each in (case.good, case.bad, new.good, new.bad)] == [
        False,
        True,
        False,
        True,
    ]
    standing = trust.standing(case.good)
    case.anchors.write_bytes(new.anchors.read_bytes())
    case.list.write_bytes(new.list.read_bytes())
    trust.reload()
    assert trust.refusal(standing, time.time()) == "its trust anchor was withdrawn"
    assert refusal(trust, new.good) == ""


def test_an_anchor_without_a_list_shows(case: Case) -> None:
    new = Authority.create(Plane.KEY)
    case.anchors.write_bytes(case.anchors.read_bytes() + new.credential.certificate)
    trust = case.trust()
    assert "holds no list of one of the anchors" in trust.problem
    assert "revoked" in refusal(trust, case.bad)


def test_where_lists_are_kept_a_certificate_that_no_anchor_issued_is_refused(case: Case) -> None:
    trust = case.trust()
    assert "revocation unknown" in trust.refusal(Standing(b"", 1, time.time() + 60), time.time())


async def test_who_waits_for_a_refusal_hears_of_it_at_once(case: Case) -> None:
    trust = case.trust()
    waiting = asyncio.create_task(trust.until_refused(trust.standing(case.good)))
    await asyncio.sleep(0)
    trust.reload()
    await asyncio.sleep(0)
    assert not waiting.done()
    case.revoke(case.good)
    trust.reload()
    async with asyncio.timeout(1):
        assert "revoked" in await waiting


async def test_who_waits_for_a_refusal_hears_of_the_end_of_the_certificate(case: Case) -> None:
    trust = case.trust()
    standing = Standing(trust.standing(case.good).anchor, 1, time.time() + 0.05)
    async with asyncio.timeout(5):
        assert "expired" in await trust.until_refused(standing)
