"""Enrolment by one-time token and renewal, over real TLS, by the service that `keyweave pki serve` runs."""

import base64
import datetime as dt
import socket
import ssl
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from keyweave.agent.keyplane.sessions.enrolment import Enrolment as AgentEnrolment
from keyweave.common.errors import (
    AlreadyExistsError,
    InvalidInputError,
    KeyweaveError,
    NotAllowedError,
    UnavailableError,
)
from keyweave.common.identity import Role
from keyweave.common.names import NodeName
from keyweave.common.pki import hosts_of, identity_of
from keyweave.common.revocation import Trust
from keyweave.common.tls import Material, SigningFiles
from keyweave.pki import enrolling, messages
from keyweave.pki.authorities import Authorities
from keyweave.pki.enrolling import enrol, new_keys, renew
from keyweave.pki.holder_dir import HolderDir
from keyweave.pki.holders import Holder
from keyweave.pki.requests import make_request, sign_renewal
from tests.authorities import alarms, authorities_in, new_token, serving

NORTH = Holder(Role.AGENT, "north")
SOUTH = Holder(Role.AGENT, "south")
AGENT_KINDS = ("control", "key", "kme", "signing")
EVERYTHING = dt.timedelta.max


@dataclass
class Site:
    """The authorities, their service, and where machines put what they get."""

    authorities: Authorities
    service: str
    root: Path

    def enrolled(self, name: str, holder: Holder, **token: object) -> HolderDir:
        made = new_token(self.authorities, self.service, holder, **token)  # type: ignore[arg-type]
        return enrol(made, self.root / name)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    root = tmp_path_factory.mktemp("pki")
    authorities = authorities_in(root / "authorities", b"twelve characters")
    # One address makes all the requests here; the limit has a test of its own.
    with serving(authorities, root, burst=10_000) as service:
        yield Site(authorities, service, root)


def certificates(held: HolderDir) -> dict[str, x509.Certificate]:
    return {wanted.kind: held.held(wanted.kind).certificate for wanted in held.holder.wanted}


def test_an_agent_gets_what_it_starts_with_for_a_token_and_its_keys_stay_where_they_are(site: Site) -> None:
    held = site.enrolled("first", NORTH, hosts=("192.0.2.7", "kme.north.example"), days=30)
    got = certificates(held)
    assert tuple(got) == AGENT_KINDS
    assert [identity_of(each).uri for each in got.values()] == [
        "keyweave://control/agent/north",
        "keyweave://key/agent/north",
        "keyweave://sae/kme/north",
        "keyweave://key/agent/north",
    ]
    assert hosts_of(got["kme"]) == ("kme.north.example", "192.0.2.7")
    assert hosts_of(got["control"]) == hosts_of(got["key"]) == ()
    for kind in AGENT_KINDS:
        files = held.files(kind)
        Material.read(files)
        assert files.private_key.stat().st_mode & 0o777 == 0o600
        trust = Trust(kind, files)
        assert trust.refusal(trust.standing(got[kind]), time.time()) == ""
        assert trust.current(time.time())
    signing = SigningFiles(**held.files("signing").model_dump())
    AgentEnrolment(NodeName("north"), held.files("key"), signing)
    theirs = {
        file: file.read_bytes() for file in site.authorities.register.directory.rglob("*") if file.is_file()
    }
    for kind in AGENT_KINDS:
        secret = held.files(kind).private_key.read_text().splitlines()[1].encode()
        assert [file for file, content in theirs.items() if secret in content] == []


def test_a_token_enrols_once_and_whoever_comes_second_is_an_alarm(site: Site) -> None:
    token = new_token(site.authorities, site.service, NORTH)
    first = enrol(token, site.root / "once")
    before = len(alarms(site.authorities))
    with pytest.raises(NotAllowedError, match=r"was used already.*have agent 'north' revoked"):
        enrol(token, site.root / "twice")
    assert not (site.root / "twice" / "current").exists()
    (alarm,) = alarms(site.authorities)[before:]
    assert (alarm["kind"], alarm["name"]) == ("token_used_twice", "north")
    assert alarm["first_source"] == alarm["source"] == "127.0.0.1"
    numbers = {kind: f"{each.serial_number:x}" for kind, each in certificates(first).items()}
    assert alarm["serials"] == numbers, "both uses are named, and what the first one got"


def test_an_enrolment_that_was_recorded_and_is_sent_again_gets_nothing(site: Site) -> None:
    token = new_token(site.authorities, site.service, NORTH)
    asked = asked_with(token.secret)
    with httpx.Client(verify=unverified(), base_url=f"https://{site.service}") as client:
        assert client.post(messages.ENROL_PATH, content=asked).status_code == 200
        again = client.post(messages.ENROL_PATH, content=asked)
    assert again.status_code == 403
    assert "certificates" not in again.json()


def test_two_that_come_at_once_with_one_token_are_not_both_enrolled(site: Site) -> None:
    token = new_token(site.authorities, site.service, NORTH)

    def attempt(number: int) -> bool:
        try:
            enrol(token, site.root / f"race-{number}")
        except NotAllowedError:
            return False
        return True

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(attempt, range(4))) == 1


def test_a_token_that_comes_with_another_name_is_spoilt_and_an_alarm(site: Site) -> None:
    token = new_token(site.authorities, site.service, NORTH)
    before = len(alarms(site.authorities))
    with pytest.raises(NotAllowedError, match="for somebody else"):
        enrol(token.model_copy(update={"name": "south"}), site.root / "wrong-name")
    assert [alarm["kind"] for alarm in alarms(site.authorities)[before:]] == ["token_for_another"]
    with pytest.raises(NotAllowedError, match="was used already"):
        enrol(token, site.root / "right-name")


def test_a_token_that_has_expired_or_nobody_made_gets_nothing(site: Site) -> None:
    expired = new_token(site.authorities, site.service, NORTH, lasts_seconds=-1)
    with pytest.raises(NotAllowedError, match="has expired"):
        enrol(expired, site.root / "expired")
    made_up = expired.model_copy(update={"secret": "0" * 64})
    with pytest.raises(NotAllowedError, match="not known"):
        enrol(made_up, site.root / "made-up")
    assert not (site.root / "expired" / "current").exists()


def test_requests_that_are_wrong_are_named_and_leave_the_token_good(site: Site) -> None:
    token = new_token(site.authorities, site.service, NORTH)
    keys = new_keys(NORTH)
    good = {kind: make_request(key).decode() for kind, key in keys.items()}
    swapped = {**good, "signing": good["control"]}
    forged = {
        **good,
        "key": good["key"][:200] + ("B" if good["key"][200] == "A" else "A") + good["key"][201:],
    }
    with httpx.Client(verify=unverified(), base_url=f"https://{site.service}") as client:
        for requests, told in (
            (swapped, "requests.signing: must be for an ML-DSA-65 key"),
            ({**good, "key": good["signing"]}, "requests.key: must be for an EC P-256 key"),
            (forged, "requests.key: is"),
            ({kind: good[kind] for kind in ("control", "key")}, "requests: must be those of agent 'north'"),
            ({**good, "key": "no PEM"}, "requests.key: is no certificate request"),
        ):
            answer = client.post(messages.ENROL_PATH, content=asked_with(token.secret, requests))
            assert answer.status_code == 400, answer.text
            assert told in answer.json()["problem"]
    enrol(token, site.root / "after-all")


def test_what_a_request_asks_for_beyond_its_key_counts_for_nothing(site: Site) -> None:
    token = new_token(site.authorities, site.service, NORTH)
    keys = new_keys(NORTH)
    requests = {kind: make_request(key).decode() for kind, key in keys.items()}
    names = x509.SubjectAlternativeName(
        [
            x509.UniformResourceIdentifier("keyweave://control/controller/controller"),
            x509.DNSName("controller.controller.control.keyweave.internal"),
        ]
    )
    greedy = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "controller")]))
        .add_extension(names, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(keys["control"], hashes.SHA256())
    )
    requests["control"] = greedy.public_bytes(serialization.Encoding.PEM).decode()
    with httpx.Client(verify=unverified(), base_url=f"https://{site.service}") as client:
        answer = client.post(messages.ENROL_PATH, content=asked_with(token.secret, requests))
    got = x509.load_pem_x509_certificate(answer.json()["certificates"]["control"].encode())
    assert identity_of(got).uri == "keyweave://control/agent/north"
    assert hosts_of(got) == ()
    assert not got.extensions.get_extension_for_class(x509.BasicConstraints).value.ca


def test_a_token_is_not_shown_to_a_service_with_another_key(site: Site, tmp_path: Path) -> None:
    impostor = authorities_in(tmp_path / "impostor")
    with serving(impostor, tmp_path) as elsewhere:
        token = new_token(site.authorities, site.service, NORTH)
        with pytest.raises(NotAllowedError, match="the token was not shown to it"):
            enrol(token.model_copy(update={"service": elsewhere}), tmp_path / "held")
    assert not [line for line in impostor.register.journal.lines() if "enrol" in line["event"]]
    enrol(token, site.root / "not-spoilt")


def test_a_second_enrolment_does_not_write_over_the_first(site: Site) -> None:
    held = site.enrolled("kept", NORTH)
    token = new_token(site.authorities, site.service, NORTH)
    with pytest.raises(AlreadyExistsError, match="holds certificates already"):
        enrol(token, held.root)
    enrol(token, site.root / "elsewhere")


def test_a_token_is_spent_before_anything_is_issued_for_it(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever stops the service halfway, no token is good for two sets of certificates."""
    token = new_token(site.authorities, site.service, NORTH)

    def fail(*_args: object, **_kwargs: object) -> None:
        raise OSError("disk gone")

    with monkeypatch.context() as patch:
        patch.setattr(site.authorities, "certify_all", fail)
        with pytest.raises(UnavailableError, match="internal error"):
            enrol(token, site.root / "halfway")
    with pytest.raises(NotAllowedError, match="was used already"):
        enrol(token, site.root / "halfway")
    assert not (site.root / "halfway" / "current").exists()


def test_a_token_is_not_spent_where_nothing_can_be_written(site: Site, tmp_path: Path) -> None:
    token = new_token(site.authorities, site.service, NORTH)
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError, match="file"):
        enrol(token, tmp_path / "file" / "north")
    enrol(token, tmp_path / "north")


# ---- renewal ---------------------------------------------------------------------------------------


def test_renewal_brings_new_keys_and_the_same_names(site: Site) -> None:
    held = site.enrolled("renewing", NORTH, hosts=("192.0.2.7",), days=30)
    before, keys = certificates(held), {k: held.files(k).private_key.read_bytes() for k in AGENT_KINDS}
    assert renew(held, within=EVERYTHING) == AGENT_KINDS
    after = certificates(held)
    for kind in AGENT_KINDS:
        Material.read(held.files(kind))
        assert held.files(kind).private_key.read_bytes() != keys[kind]
        assert held.files(kind).private_key.stat().st_mode & 0o777 == 0o600
        assert after[kind].serial_number != before[kind].serial_number
        assert identity_of(after[kind]) == identity_of(before[kind])
        assert hosts_of(after[kind]) == hosts_of(before[kind])
        assert after[kind].not_valid_after_utc - after[kind].not_valid_before_utc <= dt.timedelta(days=30.1)
    assert len([*held.root.glob("generation-*")]) == 1, "old keys are gone"


def test_nothing_is_renewed_before_its_time_but_lists_are_fetched(site: Site) -> None:
    held = site.enrolled("early", NORTH, days=30)
    other = site.enrolled("to-be-revoked", SOUTH)
    files = held.files("key")
    number = certificates(other)["key"]
    assert Trust("key", files).refusal(Trust("key", files).standing(number), time.time()) == ""
    with site.authorities.register.changing():
        site.authorities.revoke("key", [number.serial_number])
    before = certificates(held)
    assert renew(held, within=None) == ()
    assert certificates(held) == before
    trust = Trust("key", files)
    assert "revoked" in trust.refusal(trust.standing(number), time.time())
    # With a third of its time left it is due.
    assert renew(held, within=dt.timedelta(days=31)) == AGENT_KINDS


def test_renewals_at_once_leave_certificates_with_their_keys(site: Site) -> None:
    held = site.enrolled("twice-at-once", NORTH)
    with ThreadPoolExecutor(3) as pool:
        for future in [pool.submit(renew, held, within=EVERYTHING) for _ in range(3)]:
            assert future.result() == AGENT_KINDS
    for kind in AGENT_KINDS:
        Material.read(held.files(kind))
    assert len([*held.root.glob("generation-*")]) == 1


def test_the_time_to_renew_is_when_a_third_is_left(site: Site) -> None:
    held = site.enrolled("third", NORTH, days=30)
    now = dt.datetime.now(dt.UTC)
    assert enrolling.due_for_renewal(held, None, now + dt.timedelta(days=19.9)) == []
    due = enrolling.due_for_renewal(held, None, now + dt.timedelta(days=20.1))
    assert [each.wanted.kind for each in due] == list(AGENT_KINDS)


def test_who_is_revoked_does_not_renew(site: Site) -> None:
    held = site.enrolled("thrown-out", SOUTH)
    with site.authorities.register.changing():
        site.authorities.revoke("control", [certificates(held)["control"].serial_number])
    with pytest.raises(NotAllowedError, match="is revoked"):
        renew(held, within=EVERYTHING)


def test_a_revoked_certificate_of_one_plane_is_not_renewed_by_a_good_one_of_another(site: Site) -> None:
    held = site.enrolled("half-out", SOUTH)
    with site.authorities.register.changing():
        site.authorities.revoke("key-signing", [certificates(held)["signing"].serial_number])
    before = certificates(held)
    with pytest.raises(InvalidInputError, match="the certificate is revoked"):
        renew(held, within=EVERYTHING)
    assert certificates(held) == before


def test_whoever_stole_one_planes_key_renews_on_no_other(site: Site) -> None:
    """The thief has the control plane's key, and everybody's certificates, which are public."""
    held = site.enrolled("robbed", NORTH)
    stolen, new = held.held("control"), new_keys(NORTH)
    now = int(time.time())
    for kind in ("key", "kme", "signing"):
        request = make_request(new[kind])
        signature = sign_renewal(stolen.key, kind, request, now)
        asked = renewal_of(held.held(kind).pem, kind, request, signature, now)
        answer = post_as(held, site.service, asked)
        assert answer.status_code == 403, answer.text
        assert "not by the key of the present certificate" in answer.json()["problem"]


def test_one_agent_does_not_renew_anothers_certificate(site: Site) -> None:
    north, south = site.enrolled("mine", NORTH), site.enrolled("yours", SOUTH)
    now, kind = int(time.time()), "key"
    request = make_request(new_keys(SOUTH)[kind])
    theirs = south.held(kind)
    asked = renewal_of(theirs.pem, kind, request, sign_renewal(theirs.key, kind, request, now), now)
    answer = post_as(north, site.service, asked)
    assert answer.status_code == 403
    assert "names keyweave://key/agent/south, not keyweave://key/agent/north" in answer.json()["problem"]


def test_a_renewal_that_is_old_or_for_another_kind_is_refused(site: Site) -> None:
    held = site.enrolled("stale", NORTH)
    present, request = held.held("control"), make_request(new_keys(NORTH)["control"])
    now = int(time.time())
    for at, signed_kind, told in (
        (now - 400, "control", "from the time here"),
        (now, "key", "not by the key"),
    ):
        signature = sign_renewal(present.key, signed_kind, request, at)
        answer = post_as(held, site.service, renewal_of(present.pem, "control", request, signature, at))
        assert answer.status_code in (400, 403)
        assert told in answer.json()["problem"]


def test_nobody_renews_without_a_certificate(site: Site) -> None:
    held = site.enrolled("naked", NORTH)
    present, request, now = held.held("control"), make_request(new_keys(NORTH)["control"]), int(time.time())
    signature = sign_renewal(present.key, "control", request, now)
    asked = renewal_of(present.pem, "control", request, signature, now)
    with httpx.Client(verify=unverified(), base_url=f"https://{site.service}") as client:
        answer = client.post(messages.RENEW_PATH, content=asked)
    assert answer.status_code == 403
    assert "takes a client certificate" in answer.json()["problem"]


def test_a_controllers_certificate_cannot_pose_as_the_service(site: Site, tmp_path: Path) -> None:
    """Whoever has taken over the controller has a good certificate of the control plane."""
    held = site.enrolled("trusting", NORTH)
    controller = site.enrolled("controller", Holder(Role.CONTROLLER, "controller"))
    impostor = authorities_in(tmp_path / "impostor")
    for name in ("enrolment.pem", "enrolment-key.pem"):
        kind = name.replace("enrolment", "control")
        (tmp_path / "impostor" / "service" / name).write_bytes(
            (controller.root / "current" / kind).read_bytes()
        )
    with serving(impostor, tmp_path) as elsewhere:
        held.service = elsewhere
        with pytest.raises(NotAllowedError, match="not this network's enrolment service"):
            renew(held, within=EVERYTHING)


# ---- what else comes in ----------------------------------------------------------------------------


def test_what_is_no_request_is_refused_without_being_repeated(site: Site) -> None:
    with httpx.Client(verify=unverified(), base_url=f"https://{site.service}") as client:
        for content, status in (
            (b"", 400),
            (b"{", 400),
            (b'{"secret": "hunter2hunter2"}', 400),
            (b"[" * 10_000, 400),
            (b"\xff\xfe", 400),
            (b"x" * (messages.MAX_BODY_BYTES + 1), 413),
        ):
            answer = client.post(messages.ENROL_PATH, content=content)
            assert answer.status_code == status, (content[:20], answer.text)
            assert "hunter2" not in answer.text
        assert client.get("/v1/enrol").status_code == 405
        assert client.get("/private/control-ca-key.pem").status_code == 404
    assert "hunter2" not in (site.authorities.register.directory / "journal.jsonl").read_text()


def test_the_service_speaks_tls_1_3_only(site: Site) -> None:
    context = unverified()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    host, port = site.service.split(":")
    with socket.create_connection((host, int(port))) as plain, pytest.raises(ssl.SSLError):
        context.wrap_socket(plain)


def test_whoever_guesses_is_soon_told_to_wait(tmp_path: Path) -> None:
    authorities = authorities_in(tmp_path / "authorities")
    with serving(authorities, tmp_path) as service:
        token = new_token(authorities, service, NORTH)
        told: list[str] = []
        for _ in range(12):
            try:
                enrol(token.model_copy(update={"secret": "1" * 64}), tmp_path / "held")
            except KeyweaveError as error:
                told.append(f"{type(error).__name__}: {error}")
        assert told[0].startswith("NotAllowedError: this token is not known")
        assert told[-1] == "UnavailableError: too many requests; wait a minute"
        # A machine with a certificate is counted by itself, whoever else is behind its address.
        renewing = enrolled_at_once(authorities, service, tmp_path)
        for _ in range(3):
            assert renew(renewing, within=None) == ()
    with pytest.raises(UnavailableError, match="cannot be reached"):
        enrol(token, tmp_path / "held")


def enrolled_at_once(authorities: Authorities, service: str, root: Path) -> HolderDir:
    """Certificates without asking the service, which does not listen to this address any more."""
    held, keys = HolderDir(root / "by-hand", NORTH, service), new_keys(NORTH)
    with authorities.register.changing():
        pems = authorities.certify_all(
            NORTH, enrolling.public_keys(keys), hosts=(), valid_for=dt.timedelta(days=30)
        )
    with held.changing():
        held.put(keys, pems, authorities.register.trust_files())
    return held


def unverified() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def asked_with(secret: str, requests: dict[str, str] | None = None) -> str:
    requests = requests or {kind: make_request(key).decode() for kind, key in new_keys(NORTH).items()}
    return messages.Enrol(secret=secret, role="agent", name="north", requests=requests).model_dump_json()


def renewal_of(certificate: str, kind: str, request: bytes, signature: bytes, at: int) -> str:
    one = messages.Renewal(
        certificate=certificate, request=request.decode(), signature=base64.b64encode(signature).decode()
    )
    return messages.Renew(at=at, renewals={kind: one}).model_dump_json()


def post_as(held: HolderDir, service: str, asked: str) -> httpx.Response:
    files = held.files("control")
    context = unverified()
    context.load_cert_chain(files.certificate, files.private_key)
    with httpx.Client(verify=context, base_url=f"https://{service}") as client:
        return client.post(messages.RENEW_PATH, content=asked)
