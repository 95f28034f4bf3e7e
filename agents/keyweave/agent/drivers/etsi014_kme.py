"""A client of a vendor's KME: ETSI GS QKD 014 v1.1.1, the SAE's side of it.

What a KME answers is checked as far as it goes: a key that is not what was asked for is never used, and all
that came with it is overwritten. The copies that TLS and JSON made of a key are beyond our reach.
"""

import base64
import json
import re
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any
from urllib.parse import quote

import aiohttp
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from yarl import URL

from keyweave.agent import memory
from keyweave.agent.drivers.base import DriverUnavailableError
from keyweave.agent.drivers.etsi014_settings import Etsi014Settings, KmeTls, LinkSettings
from keyweave.common.errors import InvalidInputError
from keyweave.common.file_watch import stamp

# More than 128 keys of 8 KiB in Base64.
MAX_BODY_BYTES = 2 * 1024 * 1024
MAX_WORDS = 200
# RFC 9562 section 4; the standard (table 10) has key IDs in this form.
_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


class NoKeysError(Exception):
    """The KME has no keys to give now (503)."""


class UnknownKeysError(Exception):
    """The KME does not have one of the keys, or no longer (400)."""


class KmeStatus(BaseModel):
    """What is used of the data format `Status` (6.1)."""

    model_config = ConfigDict(extra="ignore", frozen=True, strict=True)

    key_size: Annotated[int, Field(ge=8)]
    stored_key_count: Annotated[int, Field(ge=0)]
    max_key_per_request: Annotated[int, Field(ge=1)]
    max_key_size: Annotated[int, Field(ge=8)]
    min_key_size: Annotated[int, Field(ge=1)]


@dataclass(frozen=True, slots=True)
class VendorKey:
    """One key as a KME delivered it."""

    key_id: str
    key: bytearray = field(repr=False)


def wipe_keys(keys: Sequence[VendorKey]) -> None:
    """Overwrite keys that nobody may use any more."""
    for key in keys:
        memory.wipe(key.key)


class KmeClient:
    """Asks the KMEs of one node's links. The connection is made anew when files of its TLS are replaced."""

    def __init__(self, settings: Etsi014Settings) -> None:
        self._tls = settings.tls
        self._timeout = aiohttp.ClientTimeout(total=settings.answer_seconds)
        self._http: aiohttp.ClientSession | None = None
        self._stamp = stamp(self._tls.paths)
        # Now, so that wrong files show at once.
        self._context = _context(self._tls)

    async def status(self, link: LinkSettings) -> KmeStatus:
        """Get status (5.1)."""
        code, answer = await self._ask(link, "GET", "status")
        if code != 200:
            raise DriverUnavailableError(_refusal(link, code, answer))
        try:
            return KmeStatus.model_validate(answer)
        except ValidationError as error:
            wrong = ", ".join(".".join(map(str, e["loc"])) for e in error.errors(include_input=False))
            raise DriverUnavailableError(f"the status of KME {link.kme} lacks or garbles: {wrong}") from None

    async def enc_keys(self, link: LinkSettings, number: int, size_bits: int) -> list[VendorKey]:
        """Get key (5.2): at most `number` keys of this size. NoKeysError where there are none now."""
        code, answer = await self._ask(link, "POST", "enc_keys", {"number": number, "size": size_bits})
        if code == 503:
            raise NoKeysError(_refusal(link, code, answer))
        if code != 200:
            raise DriverUnavailableError(_refusal(link, code, answer))
        keys = _keys_of(link, answer, size_bits)
        if not 1 <= len(keys) <= number:
            wipe_keys(keys)
            raise DriverUnavailableError(f"KME {link.kme} gave {len(keys)} keys; asked were {number}")
        return keys

    async def dec_keys(self, link: LinkSettings, key_ids: Sequence[str], size_bits: int) -> list[VendorKey]:
        """Get key with key IDs (5.3): all of them, in this order, or UnknownKeysError or NoKeysError."""
        body = {"key_IDs": [{"key_ID": key_id} for key_id in key_ids]}
        code, answer = await self._ask(link, "POST", "dec_keys", body)
        if code == 503:
            raise NoKeysError(_refusal(link, code, answer))
        if code == 400:
            raise UnknownKeysError(_refusal(link, code, answer))
        if code != 200:
            raise DriverUnavailableError(_refusal(link, code, answer))
        keys = _keys_of(link, answer, size_bits)
        by_id = {key.key_id.lower(): key for key in keys}
        if by_id.keys() != {key_id.lower() for key_id in key_ids}:
            wipe_keys(keys)
            raise DriverUnavailableError(f"KME {link.kme} gave other keys than it was asked for")
        return [by_id[key_id.lower()] for key_id in key_ids]

    async def close(self) -> None:
        """End all connections."""
        if self._http is not None:
            await self._http.close()

    async def _ask(
        self, link: LinkSettings, method: str, what: str, body: Mapping[str, Any] | None = None
    ) -> tuple[int, Any]:
        """Status code and JSON of an answer; DriverUnavailableError where it is none in time."""
        http = await self._session()
        url = URL(f"{link.kme.rstrip('/')}/api/v1/keys/{quote(link.peer_sae, safe='')}/{what}", encoded=True)
        try:
            async with http.request(method, url, json=body, allow_redirects=False) as response:
                content = await _content(response)
                if response.content_type != "application/json":
                    said = f"{response.status} and {response.content_type or 'nothing'}"
                    raise DriverUnavailableError(f"KME {link.kme} answers {said} where JSON is due")
                try:
                    return response.status, json.loads(content)
                except (ValueError, RecursionError):
                    raise DriverUnavailableError(f"KME {link.kme} answers what is no JSON") from None
                finally:
                    memory.wipe(content)
        except TimeoutError:
            raise DriverUnavailableError(
                f"KME {link.kme} did not answer in {self._timeout.total:g} s"
            ) from None
        except (aiohttp.ClientError, OSError) as error:
            raise DriverUnavailableError(f"KME {link.kme} cannot be reached: {error}") from None

    async def _session(self) -> aiohttp.ClientSession:
        now = stamp(self._tls.paths)
        if now != self._stamp:
            try:
                self._context = _context(self._tls)
            except InvalidInputError as error:
                raise DriverUnavailableError(str(error)) from None
            self._stamp = now
            before, self._http = self._http, None
            if before is not None:
                # Requests of others over it end, as where the KME breaks the connection.
                await before.close()
        if self._http is None:
            self._http = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(ssl=self._context), timeout=self._timeout, trust_env=False
            )
        return self._http


def _context(tls: KmeTls) -> ssl.SSLContext:
    """TLS 1.2 at least; nobody vouches for the KME but the trust anchor of the settings."""
    try:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_verify_locations(cafile=tls.trust_anchor)
        context.load_cert_chain(tls.certificate, tls.private_key)
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        raise InvalidInputError.of("settings.tls", f"cannot be used: {error}") from None
    return context


async def _content(response: aiohttp.ClientResponse) -> bytearray:
    content = bytearray()
    async for chunk in response.content.iter_chunked(64 * 1024):
        content += chunk
        if len(content) > MAX_BODY_BYTES:
            memory.wipe(content)
            raise DriverUnavailableError(f"a KME's answer has more than {MAX_BODY_BYTES} bytes")
    return content


def _refusal(link: LinkSettings, code: int, answer: Any) -> str:
    """A KME's error (6.5) in a line."""
    message = answer.get("message") if isinstance(answer, dict) else None
    return f"KME {link.kme} says {code}: {str(message or 'no message')[:MAX_WORDS]!r}"


def _keys_of(link: LinkSettings, answer: Any, size_bits: int) -> list[VendorKey]:
    """The keys of a key container (6.3), all as they should be; otherwise none."""
    keys: list[VendorKey] = []
    try:
        for entry in answer["keys"]:
            key = bytearray(base64.b64decode(entry["key"], validate=True))
            keys.append(VendorKey(str(entry["key_ID"]), key))
        wrong = _wrong_with(keys, size_bits)
    except (KeyError, TypeError, ValueError):
        # Not the decoder's own words, which may have some of the key.
        wrong = "what is no key container"
    if wrong:
        wipe_keys(keys)
        raise DriverUnavailableError(f"KME {link.kme} gave {wrong}: all that came with it is lost")
    return keys


def _wrong_with(keys: Sequence[VendorKey], size_bits: int) -> str:
    if not all(_UUID.fullmatch(key.key_id) for key in keys):
        return "a key ID that is no UUID"
    if len({key.key_id.lower() for key in keys}) != len(keys):
        return "one key ID twice"
    sizes = {len(key.key) * 8 for key in keys} - {size_bits}
    return f"a key of {min(sizes)} bits where {size_bits} were asked for" if sizes else ""
