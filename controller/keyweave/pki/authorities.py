"""The trust anchors of a network with their keys: what issues and revokes."""

import datetime as dt
import hashlib
import secrets
from collections.abc import Iterable, Mapping
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from keyweave.common.errors import AlreadyExistsError, InvalidInputError, NotFoundError
from keyweave.common.identity import Identity
from keyweave.common.pki import Authority, Credential, PublicKey
from keyweave.common.process import write_atomically
from keyweave.pki.holders import CONTROL, SIGNING, Holder
from keyweave.pki.register import ANCHORS, Register

# The list of an authority is signed anew when it has less than half of this left.
LIST_DAYS = 365
MIN_PASSPHRASE = 12
# scrypt (RFC 7914) with 128 MiB, as OWASP's Password Storage Cheat Sheet asks for. PKCS #8 as our library
# writes it stretches a passphrase by 2,048 rounds of PBKDF2 only, so it gets what scrypt makes of it.
_SCRYPT_N, _SCRYPT_R, _SCRYPT_P = 2**17, 8, 1
_SALT_BYTES = 16
PRIVATE = 0o600
_SALT = "private/salt"


class Authorities:
    """The anchors of a directory with their keys; whatever changes something is called under `changing`."""

    def __init__(self, register: Register, authorities: Mapping[str, Authority]) -> None:
        self.register = register
        self._authorities = authorities

    @classmethod
    def create(cls, directory: Path, passphrase: bytes | None) -> "Authorities":
        """New anchors in a directory that has none."""
        if (directory / "private").exists():
            raise AlreadyExistsError(
                f"{directory} has trust anchors already; they are never replaced in place"
            )
        if passphrase is not None and len(passphrase) < MIN_PASSPHRASE:
            raise InvalidInputError.of("passphrase", f"must have at least {MIN_PASSPHRASE} characters")
        for part in (
            "",
            "private",
            "trust",
            "issued",
            "tokens",
            "service",
            *(f"issued/{n}" for n in ANCHORS),
        ):
            (directory / part).mkdir(mode=0o700, parents=True, exist_ok=True)
            (directory / part).chmod(0o700)
        made = {name: Authority.create(plane, signing=name == SIGNING) for name, plane in ANCHORS.items()}
        salt = secrets.token_bytes(_SALT_BYTES)
        write_atomically(directory / _SALT, salt.hex() + "\n", mode=PRIVATE)
        stretched = _stretched(passphrase, salt)
        for name, authority in made.items():
            key = _protected(authority.credential.private_key, stretched)
            write_atomically(_key_file(directory, name), key.decode(), mode=PRIVATE)
            anchor = authority.credential.certificate.decode()
            write_atomically(directory / "trust" / f"{name}-ca.pem", anchor)
        authorities = cls(Register(directory), made)
        with authorities.register.changing():
            for name in ANCHORS:
                authorities._sign_list(name, (), number=1)
            authorities.register.journal.note("authorities_created", protected=passphrase is not None)
        return authorities

    @classmethod
    def open(cls, directory: Path, passphrase: bytes | None) -> "Authorities":
        """The anchors of a directory; InvalidInputError where it has none or the passphrase is wrong."""
        register = Register(directory)
        stretched = None if passphrase is None else _stretched(passphrase, _salt(directory))
        return cls(register, {name: _opened(register, name, stretched) for name in ANCHORS})

    def certify(
        self,
        authority: str,
        key: PublicKey,
        identity: Identity,
        *,
        hosts: tuple[str, ...],
        valid_for: dt.timedelta,
    ) -> bytes:
        """A certificate (PEM), registered before it is handed out."""
        pem = self._authorities[authority].certify(key, identity, hosts=hosts, valid_for=valid_for)
        certificate = x509.load_pem_x509_certificate(pem)
        write_atomically(self.register.issued_file(authority, certificate.serial_number), pem.decode())
        self.register.journal.note(
            "certificate_issued",
            authority=authority,
            identity=identity.uri,
            hosts=list(hosts),
            serial=f"{certificate.serial_number:x}",
            ends=certificate.not_valid_after_utc.isoformat(),
        )
        return pem

    def certify_all(
        self,
        holder: Holder,
        keys: Mapping[str, PublicKey],
        *,
        hosts: tuple[str, ...],
        valid_for: dt.timedelta,
    ) -> dict[str, str]:
        """A holder's certificates (PEM) of these keys, both by kind."""
        return {
            wanted.kind: self.certify(
                wanted.authority,
                keys[wanted.kind],
                wanted.identity,
                hosts=hosts if wanted.with_hosts else (),
                valid_for=valid_for,
            ).decode()
            for wanted in holder.wanted
        }

    def signs(self, authority: str) -> bool:
        """Whether an authority certifies ML-DSA-65 keys instead of TLS keys."""
        return self._authorities[authority].signing

    def revoke(self, authority: str, serials: Iterable[int]) -> None:
        """Put certificates on an authority's list."""
        wanted = set(serials)
        for serial in sorted(wanted):
            if not self.register.has(authority, serial):
                raise NotFoundError(f"authority '{authority}' has issued no certificate {serial:x}")
        before = self.register.revoked(authority)
        self._sign_list(authority, before | wanted, number=self._list_number(authority) + 1)
        for serial in sorted(wanted - before):
            self.register.journal.note("certificate_revoked", authority=authority, serial=f"{serial:x}")

    def refresh_lists(self, now: dt.datetime) -> None:
        """Sign every list anew that has less than half of its time left."""
        for name in ANCHORS:
            if self.register.list_ends(name) - now < dt.timedelta(days=LIST_DAYS / 2):
                self._sign_list(name, self.register.revoked(name), number=self._list_number(name) + 1)

    def _sign_list(self, authority: str, serials: Iterable[int], *, number: int) -> None:
        valid = dt.timedelta(days=LIST_DAYS)
        pem = self._authorities[authority].revoke(sorted(serials), number=number, valid_for=valid)
        write_atomically(self.register.list_file(authority), pem.decode())

    def _list_number(self, authority: str) -> int:
        crl = self.register.revocation_list(authority)
        return crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number


def is_protected(directory: Path) -> bool:
    """Whether the anchors' keys in a directory are under a passphrase."""
    return b"ENCRYPTED" in _read_key(directory, CONTROL)


def _stretched(passphrase: bytes | None, salt: bytes) -> bytes | None:
    """What the keys are encrypted under: costly to work out, for each guess anew."""
    if passphrase is None:
        return None
    costs = {"n": _SCRYPT_N, "r": _SCRYPT_R, "p": _SCRYPT_P}
    memory = 2 * 128 * _SCRYPT_N * _SCRYPT_R
    return hashlib.scrypt(passphrase, salt=salt, maxmem=memory, dklen=32, **costs).hex().encode()


def _salt(directory: Path) -> bytes:
    try:
        return bytes.fromhex((directory / _SALT).read_text(encoding="ascii"))
    except (OSError, ValueError):
        raise InvalidInputError.of("--dir", f"{directory / _SALT} cannot be read") from None


def _key_file(directory: Path, name: str) -> Path:
    return directory / "private" / f"{name}-ca-key.pem"


def _protected(key: bytes, passphrase: bytes | None) -> bytes:
    if passphrase is None:
        return key
    return serialization.load_pem_private_key(key, password=None).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(passphrase),
    )


def _read_key(directory: Path, name: str) -> bytes:
    try:
        return _key_file(directory, name).read_bytes()
    except OSError as error:
        raise InvalidInputError.of("--dir", f"{error.filename} cannot be read: {error.strerror}") from None


def _opened(register: Register, name: str, passphrase: bytes | None) -> Authority:
    try:
        key = serialization.load_pem_private_key(_read_key(register.directory, name), passphrase)
    except TypeError:
        wrong = "is needed" if passphrase is None else "was given, but the keys have none"
        raise InvalidInputError.of("passphrase", wrong) from None
    except ValueError:
        raise InvalidInputError.of("passphrase", "is not that of the keys") from None
    plain = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return Authority(ANCHORS[name], Credential(register.anchor_file(name).read_bytes(), plain))
