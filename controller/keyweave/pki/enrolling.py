"""The holder's side: makes its keys, has them certified by the enrolment service, and renews in time."""

import base64
import datetime as dt
import hmac
import http.client
import socket
import ssl
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

from cryptography import x509
from pydantic import BaseModel, ValidationError

from keyweave.common.errors import (
    AlreadyExistsError,
    InvalidInputError,
    NotAllowedError,
    UnavailableError,
)
from keyweave.common.pki import PrivateKey, PublicKey, new_key
from keyweave.pki.holder_dir import Held, HolderDir
from keyweave.pki.holders import SIGNING, Holder
from keyweave.pki.messages import (
    ENROL_PATH,
    RENEW_PATH,
    SERVICE,
    TRUST_PATH,
    Certificates,
    Enrol,
    Problem,
    Renew,
    Renewal,
)
from keyweave.pki.requests import make_request, sign_renewal
from keyweave.pki.tokens import Token, public_key_sha256

TIMEOUT_SECONDS = 30.0
MAX_ANSWER_BYTES = 1024 * 1024


def new_keys(holder: Holder) -> dict[str, PrivateKey]:
    """A key for each certificate of a holder."""
    return {wanted.kind: new_key(signing=wanted.authority == SIGNING) for wanted in holder.wanted}


def public_keys(keys: Mapping[str, PrivateKey]) -> dict[str, PublicKey]:
    """Their public halves."""
    return {kind: key.public_key() for kind, key in keys.items()}


def enrol(token: Token, directory: Path) -> HolderDir:
    """Make keys in `directory` and have them certified for a token.

    The service gets the token's secret only after it has shown the key whose fingerprint the token has.
    """
    holder = token.holder
    held = HolderDir(directory, holder, token.service)
    # First of all: a token that was spent on a directory that cannot be written would be lost.
    with held.changing():
        if (directory / "current").exists():
            raise AlreadyExistsError(f"{directory} holds certificates already; name another one, or renew")
        _enrol(token, held)
    return held


def _enrol(token: Token, held: HolderDir) -> None:
    holder = token.holder
    keys = new_keys(holder)
    requests = {kind: make_request(key).decode() for kind, key in keys.items()}
    asked = Enrol(secret=token.secret, role=holder.role, name=holder.name, requests=requests)
    with _pinned(token) as connection:
        answer = _ask(connection, ENROL_PATH, asked)
    held.put(keys, answer.certificates, answer.trust)


def renew(held: HolderDir, *, within: dt.timedelta | None) -> tuple[str, ...]:
    """Fetch lists and anchors; renew what ends within a time (None: with a third of its time left).

    Returns the kinds that were renewed.
    """
    if not held.service:
        raise InvalidInputError.of(
            "--dir", f"{held.root} was not enrolled with a service; renew it where its authorities are"
        )
    with held.changing():
        return _renew(held, within, time.time())


def _renew(held: HolderDir, within: dt.timedelta | None, moment: float) -> tuple[str, ...]:
    due = due_for_renewal(held, within, dt.datetime.fromtimestamp(moment, dt.UTC))
    with _verified(held) as connection:
        if not due:
            held.put_trust(_ask(connection, TRUST_PATH, None).trust)
            return ()
        keys = {each.wanted.kind: new_key(signing=each.wanted.authority == SIGNING) for each in due}
        renewals = {}
        for each in due:
            kind = each.wanted.kind
            request = make_request(keys[kind])
            signature = sign_renewal(each.key, kind, request, int(moment))
            renewals[kind] = Renewal(
                certificate=each.pem, request=request.decode(), signature=base64.b64encode(signature).decode()
            )
        answer = _ask(connection, RENEW_PATH, Renew(at=int(moment), renewals=renewals))
    held.put(keys, answer.certificates, answer.trust)
    return tuple(sorted(answer.certificates))


def due_for_renewal(held: HolderDir, within: dt.timedelta | None, now: dt.datetime) -> Sequence[Held]:
    """The certificates whose time has come."""
    all_held = [held.held(wanted.kind) for wanted in held.holder.wanted]
    return [each for each in all_held if _left(each, now) < (within or _a_third(each))]


def _left(held: Held, now: dt.datetime) -> dt.timedelta:
    return held.certificate.not_valid_after_utc - now


def _a_third(held: Held) -> dt.timedelta:
    return (held.certificate.not_valid_after_utc - held.certificate.not_valid_before_utc) / 3


class _Connection(http.client.HTTPConnection):
    """HTTP over a TLS socket that was checked before."""

    def __init__(self, address: str, context: ssl.SSLContext, server_name: str | None) -> None:
        host, _, port = address.rpartition(":")
        super().__init__(host.strip("[]"), int(port), timeout=TIMEOUT_SECONDS)
        try:
            plain = socket.create_connection((self.host, self.port), TIMEOUT_SECONDS)
            self.tls = context.wrap_socket(plain, server_hostname=server_name)
        except ssl.SSLCertVerificationError as error:
            raise NotAllowedError(
                f"{address} is not this network's enrolment service: {error.verify_message}"
            ) from None
        except OSError as error:
            raise UnavailableError(f"the enrolment service at {address} cannot be reached: {error}") from None
        self.sock = self.tls

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _pinned(token: Token) -> _Connection:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    # Nobody vouches for it yet but the token.
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    connection = _Connection(token.service, context, None)
    shown = x509.load_der_x509_certificate(connection.tls.getpeercert(binary_form=True) or b"").public_key()
    if not hmac.compare_digest(public_key_sha256(shown), token.key_sha256):
        connection.close()
        raise NotAllowedError(
            f"{token.service} is not the enrolment service that this token is for: its key is another one; "
            "the token was not shown to it"
        )
    return connection


def _verified(held: HolderDir) -> _Connection:
    shown = held.files(held.holder.wanted[0].kind)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_verify_locations(cafile=held.root / "trust" / "control-ca.pem")
    context.load_cert_chain(shown.certificate, shown.private_key)
    return _Connection(held.service, context, SERVICE.dns_name)


def _ask(connection: _Connection, path: str, asked: BaseModel | None) -> Certificates:
    try:
        if asked is None:
            connection.request("GET", path)
        else:
            headers = {"Content-Type": "application/json"}
            connection.request("POST", path, asked.model_dump_json().encode(), headers)
        answer = connection.getresponse()
        body = answer.read(MAX_ANSWER_BYTES)
    except (OSError, http.client.HTTPException) as error:
        raise UnavailableError(f"the enrolment service did not answer: {error!r}") from None
    try:
        if answer.status == 200:
            return Certificates.model_validate_json(body)
        problem = Problem.model_validate_json(body).problem
    except ValidationError:
        raise UnavailableError(f"the enrolment service answered {answer.status}, not in our words") from None
    if answer.status == 403:
        raise NotAllowedError(problem)
    if answer.status in (400, 413):
        raise InvalidInputError.of("enrolment", problem)
    raise UnavailableError(problem)
