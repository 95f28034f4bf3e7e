"""The driver for devices that are polled over SNMP; docs/drivers.md says how to set it up.

It only reads (GetRequest). One SNMP engine serves all links of a device, until the driver is closed: to make
one takes a fifth of a second.
"""

import asyncio
import struct
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from keyweave.agent.drivers.base import (
    DeviceBlock,
    DeviceReport,
    DriverUnavailableError,
    LinkEndInfo,
    library_missing,
    nothing,
    parsed_settings,
    secret_of,
)
from keyweave.agent.drivers.mapping import Refusals
from keyweave.agent.drivers.snmp_rows import Answer, Counted, Polled, PolledRows
from keyweave.agent.drivers.snmp_settings import LinkSettings, SnmpSettings
from keyweave.common import log
from keyweave.common.errors import InvalidInputError
from keyweave.common.names import LinkName, NodeName

NAME = "snmp"
# So many objects fit into one answer over UDP, texts included.
OBJECTS_PER_REQUEST = 20
# RFC 3414, 11.2.
_LEAST_PASSWORD = 8
_AUTH = {
    "sha1": "USM_AUTH_HMAC96_SHA",
    "sha224": "USM_AUTH_HMAC128_SHA224",
    "sha256": "USM_AUTH_HMAC192_SHA256",
    "sha384": "USM_AUTH_HMAC256_SHA384",
    "sha512": "USM_AUTH_HMAC384_SHA512",
}
_PRIVACY = {
    "aes128": "USM_PRIV_CFB128_AES",
    "aes256": "USM_PRIV_CFB256_AES_BLUMENTHAL",
    "aes256-reeder": "USM_PRIV_CFB256_AES",
}
# Net-SNMP's way to send a float or double: an Opaque around these tags and lengths.
_OPAQUE_FLOAT, _OPAQUE_DOUBLE = b"\x9f\x78\x04", b"\x9f\x79\x08"


class SnmpDriver:
    """A Driver over the SNMP agent of one device. Make it inside a running event loop."""

    def __init__(self, settings: Mapping[str, Any], node: NodeName) -> None:
        self._library = _library()
        self._settings = parsed_settings(settings, SnmpSettings)
        self._node = node
        host, _, port = self._settings.address.rpartition(":")
        self._place = (host.strip("[]"), int(port))
        self._who = f"the SNMP device at {self._settings.address}"
        self._refusals = {LinkName(name): Refusals(NAME, LinkName(name)) for name in self._settings.links}
        self._credentials = self._shown()
        if self._settings.v3 is None:
            log.get().warning("snmp_without_v3", address=self._settings.address)
        self._engine = self._library.api.SnmpEngine()

    async def link_ends(self) -> tuple[LinkEndInfo, ...]:
        """See Driver. They are what the settings say, whether or not the device is there."""
        return tuple(
            LinkEndInfo(
                link=LinkName(name),
                peer_node=NodeName(link.peer_node),
                model=link.model,
                emulated=link.emulated,
                block_bytes=0,
            )
            for name, link in self._settings.links.items()
        )

    async def watch(self, link: LinkName) -> AsyncIterator[DeviceReport]:
        """See Driver."""
        settings = self._link(link)
        rows = PolledRows(link, settings, self._refusals[link])
        target = await self._target()
        due = time.monotonic()
        while True:
            report = rows.take(await self._answer(target, rows.oids))
            if report is not None:
                yield report
            # What took longer than its turn does not make the next ones follow each other at once.
            due = max(due + settings.interval_seconds, time.monotonic())
            await asyncio.sleep(due - time.monotonic())

    def take_blocks(self, link: LinkName, first_block: int) -> AsyncIterator[tuple[DeviceBlock, ...]]:
        """See Driver. Key does not come over SNMP."""
        return nothing(f"link '{link}' has no block {first_block} here: SNMP gives measurements only")

    async def close(self) -> None:
        """See Driver."""
        self._engine.close_dispatcher()

    def _link(self, link: LinkName) -> LinkSettings:
        if link not in self._settings.links:
            raise DriverUnavailableError(f"there is no link '{link}' in the settings of this driver")
        return self._settings.links[link]

    async def _target(self) -> Any:
        try:
            return await self._library.api.UdpTransportTarget.create(
                self._place, timeout=self._settings.timeout_seconds, retries=self._settings.retries
            )
        except (OSError, self._library.error) as error:
            raise DriverUnavailableError(f"{self._who} cannot be found: {error}") from None

    async def _answer(self, target: Any, oids: Sequence[str]) -> Answer:
        values: dict[str, Polled] = {}
        asked_at = time.time()
        for first in range(0, len(oids), OBJECTS_PER_REQUEST):
            values |= await self._get(target, oids[first : first + OBJECTS_PER_REQUEST])
        return Answer(values, asked_at, time.monotonic())

    async def _get(self, target: Any, oids: Sequence[str]) -> dict[str, Polled]:
        """What the device has there; DriverUnavailableError where it does not answer that."""
        snmp = self._library.api
        wanted = [snmp.ObjectType(snmp.ObjectIdentity(oid)) for oid in oids]
        try:
            failure, status, index, found = await snmp.get_cmd(
                self._engine, self._credentials, target, snmp.ContextData(), *wanted, lookupMib=False
            )
        except (OSError, self._library.error) as error:
            raise DriverUnavailableError(f"{self._who} cannot be asked: {error}") from None
        if failure:
            raise DriverUnavailableError(f"{self._who} does not answer: {failure}")
        if status:
            raise DriverUnavailableError(
                f"{self._who} refuses: {status.prettyPrint()} at object {int(index)}"
            )
        return {str(name): _plain(self._library.types, value) for name, value in found}

    def _shown(self) -> Any:
        """Who we are to the device. Passwords stay in the library's objects, which do not show them."""
        snmp, v2c, v3 = self._library.api, self._settings.v2c, self._settings.v3
        if v2c is not None:
            return snmp.CommunityData(secret_of(v2c.community_file, "settings.v2c.community_file"), mpModel=1)
        assert v3 is not None
        passwords = []
        for field, file in (("auth", v3.auth_password_file), ("privacy", v3.privacy_password_file)):
            name = f"settings.v3.{field}_password_file"
            password = secret_of(file, name) or ""
            if len(password) < _LEAST_PASSWORD:
                raise InvalidInputError.of(
                    name, f"{file} has a password of less than {_LEAST_PASSWORD} characters"
                )
            passwords.append(password)
        return snmp.UsmUserData(
            v3.user,
            *passwords,
            authProtocol=getattr(snmp, _AUTH[v3.auth]),
            privProtocol=getattr(snmp, _PRIVACY[v3.privacy]),
        )


def _plain(types: ModuleType, value: Any) -> Polled:
    """A value of an answer without the library's types; None where there is no number or text."""
    if isinstance(value, types.Counter32 | types.Counter64):
        return Counted(int(value), 64 if isinstance(value, types.Counter64) else 32)
    if isinstance(value, types.Opaque):
        return _opaque(bytes(value))
    if isinstance(value, types.OctetString):
        return bytes(value)
    try:
        return int(value)
    except (TypeError, ValueError):
        # NoSuchObject and NoSuchInstance are no numbers, nor are addresses and names of objects.
        return None


def _opaque(wrapped: bytes) -> Polled:
    if wrapped.startswith(_OPAQUE_FLOAT) and len(wrapped) == 7:
        return float(struct.unpack(">f", wrapped[3:])[0])
    if wrapped.startswith(_OPAQUE_DOUBLE) and len(wrapped) == 11:
        return float(struct.unpack(">d", wrapped[3:])[0])
    return wrapped


@dataclass(frozen=True, slots=True)
class _Library:
    """What is used of pysnmp."""

    api: ModuleType
    types: ModuleType
    error: type[Exception]


def _library() -> _Library:
    try:
        # An extra: agents without such devices need not have it.
        from pysnmp.error import PySnmpError  # noqa: PLC0415
        from pysnmp.hlapi.v3arch import asyncio as api  # noqa: PLC0415
        from pysnmp.proto import rfc1902  # noqa: PLC0415
    except ModuleNotFoundError:
        raise library_missing(NAME) from None
    return _Library(api, rfc1902, PySnmpError)
