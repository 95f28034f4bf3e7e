"""One-time tokens: who may enrol once, as whom, until when.

A token is made of where the enrolment service is, the fingerprint of its public key, whom the token is for,
and a secret of 256 random bits. Only a hash of the secret is kept, so whoever reads the directory of the
authorities' tokens cannot enrol with them; the secret needs no salt, as nobody can guess it.
"""

import base64
import binascii
import datetime as dt
import json
import secrets
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from keyweave.common.errors import InvalidInputError
from keyweave.common.process import write_atomically
from keyweave.pki.holders import Holder

MAX_DAYS = 7
_PREFIX = "keyweave-enrol-1."
_SECRET_BYTES = 32


class Token(BaseModel):
    """What a holder gets, once; whoever has it first is enrolled."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    service: str = Field(pattern=r"^\[?[^\s\]/]+\]?:\d{1,5}$")
    # SHA-256 of the service's public key (SubjectPublicKeyInfo, DER), in hex.
    key_sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    role: str
    name: str
    secret: str = Field(pattern=r"^[0-9a-f]{64}$", repr=False)

    @property
    def holder(self) -> Holder:
        """Whom it is for."""
        return Holder.of(self.role, self.name)

    @classmethod
    def to(cls, service: str, key_sha256: str, holder: Holder) -> "Token":
        """A new token, with a secret that nobody can guess."""
        secret = secrets.token_hex(_SECRET_BYTES)
        try:
            return cls(
                service=service, key_sha256=key_sha256, role=holder.role, name=holder.name, secret=secret
            )
        except ValidationError:
            raise InvalidInputError.of("--server", f"'{service}' is not host:port") from None

    def text(self) -> str:
        """As it is handed over: one word."""
        return _PREFIX + base64.urlsafe_b64encode(self.model_dump_json().encode()).decode().rstrip("=")

    @classmethod
    def parse(cls, text: str) -> "Token":
        """The token in a word; InvalidInputError, which never repeats it."""
        word = text.strip()
        if not word.startswith(_PREFIX):
            raise InvalidInputError.of("token", f"does not start with {_PREFIX}; give it as it was printed")
        encoded = word.removeprefix(_PREFIX)
        try:
            content = base64.b64decode(encoded + "=" * (-len(encoded) % 4), altchars=b"-_", validate=True)
            token = cls.model_validate_json(content)
        except (binascii.Error, ValidationError, ValueError):
            raise InvalidInputError.of("token", "is damaged; give it as it was printed") from None
        Holder.of(token.role, token.name)
        return token


@dataclass(frozen=True, slots=True)
class TokenRecord:
    """What the authorities keep of a token; times are unix seconds."""

    role: str
    name: str
    hosts: tuple[str, ...]
    valid_days: int
    made: float
    expires: float
    # When and from where it was used, or spoilt; 0 while it was not.
    used: float = 0.0
    used_from: str = ""
    serials: dict[str, str] = field(default_factory=dict)

    @property
    def holder(self) -> Holder:
        """Whom it is for."""
        return Holder.of(self.role, self.name)


class Tokens:
    """The tokens of a directory, by the hash of their secret; called under the directory's lock."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def put(self, secret: str, record: TokenRecord) -> None:
        """Keep what has become of a token."""
        write_atomically(self._file(secret), json.dumps(asdict(record)) + "\n", mode=0o600)

    def find(self, secret: str) -> TokenRecord | None:
        """What is kept of a token."""
        try:
            return _record(json.loads(self._file(secret).read_text(encoding="utf-8")))
        except FileNotFoundError:
            return None

    def open(self, now: float) -> tuple[TokenRecord, ...]:
        """Tokens that can still be used, the next to expire first."""
        records = [
            _record(json.loads(file.read_text(encoding="utf-8"))) for file in self._directory.glob("*.json")
        ]
        usable = [record for record in records if not record.used and now < record.expires]
        return tuple(sorted(usable, key=lambda record: record.expires))

    def withdraw(self, holder: Holder, now: float) -> int:
        """Spoil every open token of a holder; returns how many there were."""
        count = 0
        for file in self._directory.glob("*.json"):
            record = _record(json.loads(file.read_text(encoding="utf-8")))
            if record.holder == holder and not record.used and now < record.expires:
                file.unlink()
                count += 1
        return count

    def _file(self, secret: str) -> Path:
        return self._directory / f"{sha256(secret.encode()).hexdigest()}.json"


def expiry(now: float, ttl: dt.timedelta) -> float:
    """When a token made now expires; InvalidInputError."""
    if not dt.timedelta(0) < ttl <= dt.timedelta(days=MAX_DAYS):
        raise InvalidInputError.of("--ttl", f"must be above 0 and at most {MAX_DAYS} days")
    return now + ttl.total_seconds()


def public_key_sha256(key: PublicKeyTypes) -> str:
    """The fingerprint of a public key: SHA-256 of its SubjectPublicKeyInfo (as RFC 7469 pins are), in hex."""
    return sha256(
        key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    ).hexdigest()


def _record(content: dict[str, Any]) -> TokenRecord:
    return TokenRecord(**{**content, "hosts": tuple(content["hosts"])})
