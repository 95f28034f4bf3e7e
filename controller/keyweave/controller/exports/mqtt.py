"""Events to an MQTT broker, each acknowledged by it (QoS 1), and the present state of links and streams.

| topic | retained | payload (JSON) |
|---|---|---|
| `<prefix>/<network>/events/<kind>` | no | the event |
| `<prefix>/<network>/links/<link>/state` | yes | the link as it is now; empty once it is deleted |
| `<prefix>/<network>/streams/<stream>/state` | yes | the stream as it is now |
| `<prefix>/<network>/nodes/<node>/state` | yes | the node's agent as it is now |
| `<prefix>/<network>/controller/state` | yes | `{"online":true}`; once we are gone, false: our will |
"""

import asyncio
import secrets
from collections.abc import Callable, Mapping
from contextlib import suppress
from types import ModuleType
from typing import TYPE_CHECKING, Any

from keyweave.common.errors import InvalidInputError
from keyweave.common.mqtt_connection import connected
from keyweave.controller.exports.config import MqttConfig
from keyweave.controller.exports.messages import compact, event_members
from keyweave.controller.exports.sinks import SinkFailedError
from keyweave.controller.exports.spool import Outbox
from keyweave.controller.exports.tls import client_context

if TYPE_CHECKING:
    import aiomqtt

ANSWER_SECONDS = 10.0
KEEPALIVE_SECONDS = 10
# How often states are compared with what was last published.
STATE_SECONDS = 0.5
States = Callable[[], Mapping[str, Mapping[str, Any]]]


class MqttSink:
    """One broker."""

    def __init__(self, settings: MqttConfig, network: str, states: States) -> None:
        self._settings = settings
        self._library = _library(settings.name)
        self._root = f"{settings.topic_prefix}/{network}"
        self._states = states
        # What the broker keeps of ours, as far as this process knows.
        self._published: dict[str, bytes] = {}
        self._arguments()

    async def run(self, outbox: Outbox) -> None:
        """See Sink."""
        client: aiomqtt.Client = self._library.Client(**self._arguments())
        # Out here the library's error is gone, and with it the socket that its traceback would keep open.
        raise SinkFailedError(await self._converse(client, outbox))

    async def _converse(self, client: "aiomqtt.Client", outbox: Outbox) -> str:
        """Publish until the broker is lost; why."""
        try:
            async with connected(client, self._library.MqttError):
                outbox.counters.is_up = True
                await self._publish(client, "controller/state", {"online": True})
                # A broker that restarted may have forgotten what it kept.
                known, self._published = self._published, {}
                await self._put_states(client, forgotten=known.keys())
                tasks = [
                    asyncio.create_task(self._events(client, outbox), name="mqtt-events"),
                    asyncio.create_task(self._follow_states(client), name="mqtt-states"),
                ]
                try:
                    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    for task in tasks:
                        task.cancel()
                    ended = await asyncio.gather(*tasks, return_exceptions=True)
                    if all(isinstance(e, asyncio.CancelledError) for e in ended):
                        # We leave in order: then the broker does not execute our will.
                        with suppress(self._library.MqttError):
                            await self._publish(client, "controller/state", {"online": False})
            failures = [e for e in ended if isinstance(e, Exception)]
        except self._library.MqttError as error:
            return f"cannot be used: {error.__cause__ or error}"
        others = [e for e in failures if not isinstance(e, self._library.MqttError)]
        if others:
            raise others[0]
        return f"ended the connection: {'; '.join(map(str, failures))}"

    async def _events(self, client: "aiomqtt.Client", outbox: Outbox) -> None:
        while True:
            event = await outbox.next()
            await self._publish(client, f"events/{event.kind}", event_members(event), retain=False)
            outbox.confirm(event.id)

    async def _follow_states(self, client: "aiomqtt.Client") -> None:
        while True:
            await asyncio.sleep(STATE_SECONDS)
            await self._put_states(client, forgotten=())

    async def _put_states(self, client: "aiomqtt.Client", forgotten: Any) -> None:
        """Publish what has changed; what is gone is taken from the broker."""
        now = {topic: compact(state) for topic, state in self._states().items()}
        for topic in sorted((self._published.keys() | set(forgotten)) - now.keys()):
            await client.publish(f"{self._root}/{topic}", b"", qos=1, retain=True)
            self._published.pop(topic, None)
        for topic, payload in now.items():
            if self._published.get(topic) != payload:
                await client.publish(f"{self._root}/{topic}", payload, qos=1, retain=True)
                self._published[topic] = payload

    async def _publish(
        self, client: "aiomqtt.Client", topic: str, members: Mapping[str, Any], *, retain: bool = True
    ) -> None:
        await client.publish(f"{self._root}/{topic}", compact(members), qos=1, retain=retain)

    def _arguments(self) -> dict[str, Any]:
        """Of a client; files are read anew for each, as they are replaced."""
        settings = self._settings
        host, _, port = settings.broker.rpartition(":")
        tls = client_context(settings.tls, settings.name) if settings.tls is not None else None
        return {
            "hostname": host.strip("[]"),
            "port": int(port),
            "username": settings.username,
            "password": _password(settings),
            "identifier": f"keyweave-controller-{secrets.token_hex(8)}",
            "timeout": ANSWER_SECONDS,
            "keepalive": KEEPALIVE_SECONDS,
            "tls_context": tls,
            "will": self._library.Will(
                f"{self._root}/controller/state", compact({"online": False}), qos=1, retain=True
            ),
        }


def _password(settings: MqttConfig) -> str | None:
    if settings.password_file is None:
        return None
    try:
        return settings.password_file.read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInputError.of(
            f"exports.{settings.name}", f"{settings.password_file} cannot be read: {error}"
        ) from None


def _library(sink: str) -> ModuleType:
    try:
        import aiomqtt  # noqa: PLC0415  # an extra: a controller without a broker need not have it
    except ModuleNotFoundError:
        raise InvalidInputError.of(
            f"exports.{sink}", "needs the library aiomqtt; install keyweave[mqtt]"
        ) from None
    return aiomqtt
