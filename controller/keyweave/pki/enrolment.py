"""Who gets a certificate from the enrolment service: whoever has an unused token, or the certificate before.

A token is spoilt on disk before anything is issued for it. Whatever looks like a stolen token is an alarm: a
second use (which of the two was the thief, nobody can tell: both are in the journal), and a token that comes
with another name than it was made for, which spoils it. A request that is merely wrong spoils nothing.
"""

import base64
import binascii
import datetime as dt
from collections.abc import Mapping
from dataclasses import replace

from cryptography import x509

from keyweave.common import log
from keyweave.common.errors import InvalidInputError, NotAllowedError
from keyweave.common.identity import Identity, Plane
from keyweave.common.pki import LEAF_DAYS, PublicKey, hosts_of
from keyweave.pki.authorities import Authorities
from keyweave.pki.holders import Holder, Wanted
from keyweave.pki.messages import Certificates, Enrol, Renew, Renewal
from keyweave.pki.requests import renewal_is_signed, requested_key
from keyweave.pki.tokens import TokenRecord, Tokens

# A renewal that was signed longer ago than this, or as far ahead, is not taken.
FRESH_SECONDS = 300


class Enrolment:
    """Enrols and renews with the authorities of a directory."""

    def __init__(self, authorities: Authorities) -> None:
        self._authorities = authorities
        self._register = authorities.register
        self._tokens = Tokens(self._register.directory / "tokens")

    def trust(self) -> Certificates:
        """Anchors and lists; nobody's certificate."""
        return Certificates(certificates={}, trust=self._register.trust_files())

    def enrol(self, asked: Enrol, source: str, now: float) -> Certificates:
        """Certificates for a token, once; NotAllowedError, InvalidInputError."""
        with self._register.changing():
            record = self._admitted(asked, source, now)
            holder = record.holder
            keys = self._keys(holder, asked.requests)
            spoilt = replace(record, used=now, used_from=source)
            self._tokens.put(asked.secret, spoilt)
            certificates = self._authorities.certify_all(
                holder, keys, hosts=record.hosts, valid_for=dt.timedelta(days=record.valid_days)
            )
            serials = {kind: f"{_parsed(pem).serial_number:x}" for kind, pem in certificates.items()}
            self._tokens.put(asked.secret, replace(spoilt, serials=serials))
            self._register.journal.note(
                "enrolled", role=holder.role, name=holder.name, source=source, serials=serials
            )
        log.get().info("enrolled", role=holder.role, name=holder.name, source=source)
        return Certificates(certificates=certificates, trust=self._register.trust_files())

    def renew(self, asked: Renew, caller: x509.Certificate, source: str, now: float) -> Certificates:
        """New certificates in place of present ones, for whoever has their keys."""
        if abs(asked.at - now) > FRESH_SECONDS:
            raise InvalidInputError.of(
                "at",
                f"is {asked.at - now:+.0f} s from the time here; at most {FRESH_SECONDS} s is allowed",
            )
        moment = dt.datetime.fromtimestamp(now, dt.UTC)
        with self._register.changing():
            holder = self._caller(caller, moment)
            wanted = {each.kind: each for each in holder.wanted}
            strange = sorted(asked.renewals.keys() - wanted.keys())
            if strange:
                raise InvalidInputError.of(f"renewals.{strange[0]}", f"{holder} has only {', '.join(wanted)}")
            checked = {
                kind: self._checked(wanted[kind], renewal, asked.at, moment)
                for kind, renewal in asked.renewals.items()
            }
            certificates = {
                kind: self._authorities.certify(
                    wanted[kind].authority,
                    key,
                    wanted[kind].identity,
                    hosts=hosts_of(before),
                    valid_for=min(_validity(before), dt.timedelta(days=LEAF_DAYS)),
                ).decode()
                for kind, (key, before) in checked.items()
            }
            self._register.journal.note(
                "renewed", role=holder.role, name=holder.name, source=source, kinds=sorted(certificates)
            )
        log.get().info(
            "renewed", role=holder.role, name=holder.name, source=source, kinds=sorted(certificates)
        )
        return Certificates(certificates=certificates, trust=self._register.trust_files())

    # ---- tokens ------------------------------------------------------------------------------------

    def _admitted(self, asked: Enrol, source: str, now: float) -> TokenRecord:
        """The record of a token that may be used now, by whom it was made for; NotAllowedError."""
        record = self._tokens.find(asked.secret)
        if record is None:
            self._refused("unknown", asked, source)
            raise NotAllowedError("this token is not known here; it may have been withdrawn")
        if record.used:
            first = dt.datetime.fromtimestamp(record.used, dt.UTC).isoformat(timespec="seconds")
            self._alarm(
                "token_used_twice",
                record,
                source,
                first_use=first,
                first_source=record.used_from,
                serials=record.serials,
            )
            raise NotAllowedError(
                f"this token was used already, {first} from {record.used_from}; if that was not you, have "
                f"{record.holder} revoked"
            )
        if now >= record.expires:
            self._refused("expired", asked, source)
            raise NotAllowedError("this token has expired; ask for a new one")
        if (asked.role, asked.name) != (record.role, record.name):
            self._tokens.put(asked.secret, replace(record, used=now, used_from=source))
            self._alarm("token_for_another", record, source, asked_for=f"{asked.role}/{asked.name}")
            raise NotAllowedError("this token is for somebody else; it can be used no more")
        return record

    def _keys(self, holder: Holder, requests: Mapping[str, str]) -> dict[str, PublicKey]:
        kinds = [wanted.kind for wanted in holder.wanted]
        if sorted(requests) != sorted(kinds):
            raise InvalidInputError.of("requests", f"must be those of {holder}: {', '.join(kinds)}")
        return {
            wanted.kind: requested_key(
                f"requests.{wanted.kind}",
                requests[wanted.kind],
                signing=self._authorities.signs(wanted.authority),
            )
            for wanted in holder.wanted
        }

    # ---- renewal -----------------------------------------------------------------------------------

    def _caller(self, certificate: x509.Certificate, now: dt.datetime) -> Holder:
        """Whose certificate the caller has shown: of the control plane, or an application's."""
        refusals = []
        for plane in (Plane.CONTROL, Plane.SAE):
            try:
                identity = self._register.vouched(plane, certificate, now)
            except InvalidInputError as error:
                refusals.append(str(error))
                continue
            holder = _holder(identity)
            if holder is not None:
                return holder
        raise NotAllowedError("; ".join(refusals) or "this certificate is nobody's who renews here")

    def _checked(
        self, wanted: Wanted, renewal: Renewal, at: int, now: dt.datetime
    ) -> tuple[PublicKey, x509.Certificate]:
        """The new key and the present certificate of a renewal that may be granted."""
        field = f"renewals.{wanted.kind}"
        before = _parsed(renewal.certificate, f"{field}.certificate")
        identity = self._register.vouched(wanted.authority, before, now)
        if identity != wanted.identity:
            raise NotAllowedError(f"{field}.certificate: names {identity.uri}, not {wanted.identity.uri}")
        key = requested_key(
            f"{field}.request", renewal.request, signing=self._authorities.signs(wanted.authority)
        )
        try:
            signature = base64.b64decode(renewal.signature, validate=True)
        except (binascii.Error, ValueError):
            raise InvalidInputError.of(f"{field}.signature", "is not base64") from None
        if not renewal_is_signed(before.public_key(), signature, wanted.kind, renewal.request.encode(), at):
            raise NotAllowedError(f"{field}.signature: is not by the key of the present certificate")
        return key, before

    # ---- what people are told ----------------------------------------------------------------------

    def _refused(self, why: str, asked: Enrol, source: str) -> None:
        self._register.journal.note(
            "enrolment_refused", reason=why, role=asked.role, name=asked.name, source=source
        )
        log.get().warning("enrolment_refused", reason=why, role=asked.role, name=asked.name, source=source)

    def _alarm(self, kind: str, record: TokenRecord, source: str, **fields: object) -> None:
        told = {"kind": kind, "role": record.role, "name": record.name, "source": source, **fields}
        self._register.journal.note("alarm", **told)
        log.get().error("enrolment_alarm", **told)


def _holder(identity: Identity) -> Holder | None:
    try:
        holder = Holder.of(identity.role, identity.name)
    except InvalidInputError:
        return None
    return holder if any(wanted.identity == identity for wanted in holder.wanted) else None


def _parsed(pem: str, field: str = "certificate") -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(pem.encode())
    except ValueError:
        raise InvalidInputError.of(field, "is no certificate that can be read") from None


def _validity(certificate: x509.Certificate) -> dt.timedelta:
    return certificate.not_valid_after_utc - certificate.not_valid_before_utc
