"""What a holder has on its machine: its keys and certificates, and whom it trusts.

    DIR/current/  -> generation-<n>/ : control.pem, control-key.pem, ... ; all of them replaced at once
    DIR/trust/    control-ca.pem, control-crl.pem, ...
    DIR/holder.json : who this is, and where the enrolment service is

A new generation is written and synced whole, then the link is swapped: whatever stops in between leaves
the old certificates with their keys, or the new ones with theirs. Processes look at the files every second.
"""

import fcntl
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization

from keyweave.common.errors import InvalidInputError
from keyweave.common.pki import PrivateKey, identity_of, key_pem
from keyweave.common.process import sync_directory, write_atomically
from keyweave.common.tls import TlsFiles
from keyweave.pki.holders import CONTROL, KEY, SAE, SIGNING, Holder, Wanted

_PRIVATE = 0o600
_TRUST_FILES = frozenset(
    f"{name}-{what}.pem" for name in (CONTROL, KEY, SAE, SIGNING) for what in ("ca", "crl")
)


@dataclass(frozen=True, slots=True)
class Held:
    """A certificate with its key, as they lie there."""

    wanted: Wanted
    pem: str
    certificate: x509.Certificate
    key: PrivateKey


class HolderDir:
    """The directory of one holder."""

    def __init__(self, root: Path, holder: Holder, service: str = "") -> None:
        self.root = root
        self.holder = holder
        # host:port of the enrolment service; empty where certificates were brought by hand.
        self.service = service

    @classmethod
    def open(cls, root: Path) -> "HolderDir":
        """What is there; InvalidInputError."""
        file = root / "holder.json"
        try:
            content = json.loads(file.read_text(encoding="utf-8"))
            return cls(root, Holder.of(content["role"], content["name"]), content["service"])
        except FileNotFoundError:
            raise InvalidInputError.of("--dir", f"{root} holds no certificates; enrol first") from None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InvalidInputError.of(str(file), f"cannot be read: {error}") from None

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Nobody else changes the directory meanwhile; OSError where nothing can be written there."""
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        with (self.root / ".lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def files(self, kind: str) -> TlsFiles:
        """Where a certificate, its key, its anchor and its anchor's list are."""
        (wanted,) = (each for each in self.holder.wanted if each.kind == kind)
        current = self.root / "current"
        return TlsFiles(
            certificate=current / f"{kind}.pem",
            private_key=current / f"{kind}-key.pem",
            trust_anchor=self.root / "trust" / f"{wanted.authority}-ca.pem",
            revocation_list=self.root / "trust" / f"{wanted.authority}-crl.pem",
        )

    def held(self, kind: str) -> Held:
        """A certificate and its key; InvalidInputError where they cannot be read."""
        (wanted,) = (each for each in self.holder.wanted if each.kind == kind)
        files = self.files(kind)
        try:
            pem = files.certificate.read_text(encoding="ascii")
            key = serialization.load_pem_private_key(files.private_key.read_bytes(), None)
            certificate = x509.load_pem_x509_certificate(pem.encode())
        except OSError as error:
            raise InvalidInputError.of(str(error.filename), f"cannot be read: {error.strerror}") from None
        except (ValueError, TypeError) as error:
            raise InvalidInputError.of(str(files.certificate), f"with its key: {error}") from None
        assert isinstance(key, PrivateKey)
        return Held(wanted, pem, certificate, key)

    def put(
        self, keys: Mapping[str, PrivateKey], certificates: Mapping[str, str], trust: Mapping[str, str]
    ) -> None:
        """Take new certificates with their keys, and trust; what is not among them stays as it is.

        Under `changing`. InvalidInputError, and nothing changed, where one of them is not what was asked for.
        """
        anchors = {wanted.kind: f"{wanted.authority}-ca.pem" for wanted in self.holder.wanted}
        _check_trust_names(trust)
        for wanted in self.holder.wanted:
            if wanted.kind in certificates:
                anchor = trust.get(anchors[wanted.kind], "")
                _check(wanted, certificates[wanted.kind], keys.get(wanted.kind), anchor)
        self.put_trust(trust)
        if certificates:
            self._put_generation(keys, certificates)
        content = {"role": self.holder.role, "name": self.holder.name, "service": self.service}
        write_atomically(self.root / "holder.json", json.dumps(content) + "\n")

    def put_trust(self, trust: Mapping[str, str]) -> bool:
        """Take anchors and lists, those that differ; whether any did."""
        _check_trust_names(trust)
        changed = False
        # Anchors before the lists that they sign.
        for name in sorted(trust, key=lambda name: (name.endswith("-crl.pem"), name)):
            file = self.root / "trust" / name
            if not file.exists() or file.read_text(encoding="ascii") != trust[name]:
                write_atomically(file, trust[name])
                changed = True
        return changed

    def _put_generation(self, keys: Mapping[str, PrivateKey], certificates: Mapping[str, str]) -> None:
        link = self.root / "current"
        before = link.resolve() if link.is_symlink() else None
        number = 1 + max((_number(each) for each in self.root.glob("generation-*")), default=0)
        new = self.root / f"generation-{number}"
        new.mkdir(mode=0o700)
        if before is not None:
            for file in before.iterdir():
                shutil.copy2(file, new / file.name)
        for kind, pem in certificates.items():
            write_atomically(new / f"{kind}.pem", pem)
            if kind in keys:
                write_atomically(new / f"{kind}-key.pem", key_pem(keys[kind]).decode(), mode=_PRIVATE)
        swapped = self.root / f".current.{os.getpid()}"
        swapped.unlink(missing_ok=True)
        swapped.symlink_to(new.name)
        swapped.replace(link)
        sync_directory(self.root)
        for old in self.root.glob("generation-*"):
            if old != new:
                shutil.rmtree(old)


def _number(generation: Path) -> int:
    number = generation.name.removeprefix("generation-")
    return int(number) if number.isdecimal() else 0


def _check_trust_names(trust: Mapping[str, str]) -> None:
    for name in trust:
        if name not in _TRUST_FILES:
            raise InvalidInputError.of("trust", f"{name!r} is no name of a trust anchor or list")


def _check(wanted: Wanted, pem: str, key: PrivateKey | None, anchor: str) -> None:
    """InvalidInputError unless this is the certificate that was wanted, from its anchor, of our key."""
    try:
        certificate = x509.load_pem_x509_certificate(pem.encode())
        identity = identity_of(certificate)
        certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(anchor.encode()))
    except (ValueError, TypeError, InvalidSignature):
        raise InvalidInputError.of(wanted.kind, "what came is no certificate of its anchor") from None
    if identity != wanted.identity:
        raise InvalidInputError.of(wanted.kind, f"what came is for {identity.uri}, not {wanted.identity.uri}")
    if key is not None and certificate.public_key() != key.public_key():
        raise InvalidInputError.of(wanted.kind, "what came is for another key")
