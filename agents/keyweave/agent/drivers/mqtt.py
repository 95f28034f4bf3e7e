"""The driver for devices that publish JSON over MQTT; docs/drivers.md says how to set it up.

Each iterator has a connection of its own, which ends with it: there is nothing to share, and nothing goes on.
"""

import secrets
import ssl
import time
from collections.abc import AsyncIterator, Collection, Iterable, Mapping
from contextlib import asynccontextmanager
from types import ModuleType
from typing import TYPE_CHECKING, Any

from keyweave.agent.drivers.base import (
    DeviceBlock,
    DeviceReport,
    DriverUnavailableError,
    LinkEndInfo,
    library_missing,
    parsed_settings,
    secret_of,
)
from keyweave.agent.drivers.mapping import Refusals
from keyweave.agent.drivers.mqtt_rows import Arrived, KeyBlocks, LinkRows
from keyweave.agent.drivers.mqtt_settings import LinkSettings, MqttSettings
from keyweave.common import log
from keyweave.common.errors import InvalidInputError
from keyweave.common.mqtt_connection import connected
from keyweave.common.names import LinkName, NodeName

if TYPE_CHECKING:
    import aiomqtt

NAME = "mqtt"
ANSWER_SECONDS = 5.0
# After this silence the broker is asked whether it is there, and given up after as much again.
KEEPALIVE_SECONDS = 10
MAX_QUEUED_MESSAGES = 1024
# From here on a SUBACK's code means refusal (MQTT 3.1.1, 3.9.3).
_REFUSED = 0x80


class MqttDriver:
    """A Driver over the broker of one node's devices."""

    def __init__(self, settings: Mapping[str, Any], node: NodeName) -> None:
        self._library = _library()
        self._settings = parsed_settings(settings, MqttSettings)
        self._node = node
        self._host, _, port = self._settings.broker.rpartition(":")
        self._host, self._port = self._host.strip("[]"), int(port)
        self._who = f"the MQTT broker at {self._settings.broker}"
        self._refusals = {LinkName(name): Refusals(NAME, LinkName(name)) for name in self._settings.links}
        # Read now so that a wrong file shows at once, and with every connection, as files are replaced.
        self._tls()
        self._password()
        if self._settings.tls is None:
            log.get().warning("mqtt_without_tls", broker=self._settings.broker)

    async def link_ends(self) -> tuple[LinkEndInfo, ...]:
        """See Driver. They are what the settings say, whether or not the broker is there."""
        return tuple(
            LinkEndInfo(
                link=LinkName(name),
                peer_node=NodeName(link.peer_node),
                model=link.model,
                emulated=link.emulated,
                block_bytes=link.key.block_bytes if link.key else 0,
                measures=link.measures,
            )
            for name, link in self._settings.links.items()
        )

    async def watch(self, link: LinkName) -> AsyncIterator[DeviceReport]:
        """See Driver."""
        settings = self._link(link)
        rows = LinkRows(
            link, settings, self._refusals[link], lambda topic: self._topic(topic, link, settings.peer_node)
        )
        async for message in self._messages(rows.filters, qos=0):
            for report in rows.take(message):
                yield report

    async def take_blocks(self, link: LinkName, first_block: int) -> AsyncIterator[tuple[DeviceBlock, ...]]:
        """See Driver. The copies that the MQTT library and JSON made of a key are beyond our reach."""
        settings = self._link(link)
        if settings.key is None:
            raise DriverUnavailableError(f"the settings of link '{link}' name no topic for key")
        blocks = KeyBlocks(settings.key, first_block, self._refusals[link])
        topic = self._topic(settings.key.topic, link, settings.peer_node)
        async for message in self._messages((topic,), qos=1):
            block = blocks.take(message)
            if block is not None:
                yield (block,)

    async def close(self) -> None:
        """See Driver. Connections end with their iterators."""

    def _link(self, link: LinkName) -> LinkSettings:
        if link not in self._settings.links:
            raise DriverUnavailableError(f"there is no link '{link}' in the settings of this driver")
        return self._settings.links[link]

    def _topic(self, pattern: str, link: LinkName, peer_node: str) -> str:
        """A filter with the names of node, link and peer filled in."""
        for placeholder, name in (("{node}", self._node), ("{link}", link), ("{peer}", peer_node)):
            pattern = pattern.replace(placeholder, name)
        return pattern

    async def _messages(self, filters: Collection[str], *, qos: int) -> AsyncIterator[Arrived]:
        """What is published from now on; DriverUnavailableError once the broker cannot be reached."""
        why = "ended the connection"
        try:
            async with self._connected() as client:
                granted = await client.subscribe([(name, qos) for name in sorted(filters)])
                codes: Iterable[Any] = granted  # numbers, or in later protocols objects around them
                refused = [
                    name
                    for name, code in zip(sorted(filters), codes, strict=True)
                    if getattr(code, "value", code) >= _REFUSED
                ]
                if refused:
                    raise DriverUnavailableError(f"{self._who} refuses the topic {refused[0]}")
                async for message in client.messages:
                    payload = message.payload
                    yield Arrived(
                        [name for name in filters if message.topic.matches(name)],
                        payload if isinstance(payload, bytes) else str(payload).encode(),
                        retained=bool(message.retain),
                        at=time.time(),
                    )
        except self._library.MqttError as error:
            why = f"cannot be used: {error.__cause__ or error}"
        # Out here the library's error is gone, and with it the socket that its traceback would keep open.
        raise DriverUnavailableError(f"{self._who} {why}")

    @asynccontextmanager
    async def _connected(self) -> "AsyncIterator[aiomqtt.Client]":
        """A connection of its own, for as long as it is used."""
        try:
            tls, password = self._tls(), self._password()
        except InvalidInputError as error:
            raise DriverUnavailableError(str(error)) from None
        client: aiomqtt.Client = self._library.Client(
            self._host,
            self._port,
            username=self._settings.username,
            password=password,
            identifier=f"{self._settings.client_id or f'keyweave-{self._node}'}-{secrets.token_hex(8)}",
            timeout=ANSWER_SECONDS,
            keepalive=KEEPALIVE_SECONDS,
            max_queued_incoming_messages=MAX_QUEUED_MESSAGES,
            tls_context=tls,
        )
        async with connected(client, self._library.MqttError):
            yield client

    def _tls(self) -> ssl.SSLContext | None:
        tls = self._settings.tls
        if tls is None:
            return None
        try:
            context = ssl.create_default_context(cafile=tls.trust_anchor)
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            if tls.certificate is not None:
                context.load_cert_chain(tls.certificate, tls.private_key)
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
            named = getattr(error, "filename", None)
            raise InvalidInputError.of(
                "settings.tls", f"{named or tls.trust_anchor} cannot be read: {error}"
            ) from None
        return context

    def _password(self) -> str | None:
        return secret_of(self._settings.password_file, "settings.password_file")


def _library() -> ModuleType:
    try:
        import aiomqtt  # noqa: PLC0415  # an extra: agents without such devices need not have it
    except ModuleNotFoundError:
        raise library_missing(NAME) from None
    return aiomqtt
