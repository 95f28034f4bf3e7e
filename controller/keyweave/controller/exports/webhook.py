"""Events to an HTTPS endpoint: CloudEvents 1.0 in structured mode, one a request, in order.

What an answer means (CloudEvents "HTTP 1.1 Web Hooks", section 2.2, and Standard Webhooks):

| answer | what follows |
|---|---|
| 2xx | taken |
| 410 | the receiver wants no more: nothing is sent until the controller restarts |
| 400, 413, 415, 422 | this event is refused for good: counted, and on with the next |
| anything else, or none | tried again later, `Retry-After` respected; nothing overtakes it |
"""

import time
from importlib.metadata import version
from pathlib import Path

import aiohttp

from keyweave.common import log
from keyweave.common.errors import InvalidInputError
from keyweave.controller.events import Event
from keyweave.controller.exports.config import WebhookConfig
from keyweave.controller.exports.messages import cloud_event, compact, signature
from keyweave.controller.exports.sinks import LONGEST_PAUSE_SECONDS, SinkFailedError, SinkGoneError
from keyweave.controller.exports.spool import Outbox
from keyweave.controller.exports.tls import trusting

CONTENT_TYPE = "application/cloudevents+json; charset=utf-8"
_GONE = 410
_REFUSED = frozenset({400, 413, 415, 422})
# Of an answer that goes to the log.
_ANSWER_CHARACTERS = 200
MIN_SECRET_BYTES = 16


class WebhookSink:
    """One endpoint."""

    def __init__(self, settings: WebhookConfig, network: str) -> None:
        self._settings = settings
        self._network = network
        trusting(settings.trust_anchor, settings.name)
        self._secret()

    async def run(self, outbox: Outbox) -> None:
        """See Sink."""
        secret = self._secret()
        connector = aiohttp.TCPConnector(ssl=trusting(self._settings.trust_anchor, self._settings.name))
        timeout = aiohttp.ClientTimeout(total=self._settings.timeout_seconds)
        async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
            while True:
                event = await outbox.next()
                refused = await self._post(session, event, secret)
                outbox.counters.is_up = True
                if refused:
                    log.get().warning(
                        "export_refused", sink=self._settings.name, event_id=event.id, reason=refused
                    )
                outbox.confirm(event.id, refused=bool(refused))

    async def _post(self, session: aiohttp.ClientSession, event: Event, secret: bytes | None) -> str:
        """Send one event; why it was refused for good, if it was."""
        members = cloud_event(event, self._network)
        body, now = compact(members), int(time.time())
        headers = {
            "Content-Type": CONTENT_TYPE,
            "User-Agent": f"keyweave/{version('keyweave')}",
            "webhook-id": members["id"],
            "webhook-timestamp": str(now),
        }
        if secret is not None:
            headers["webhook-signature"] = signature(secret, members["id"], now, body)
        try:
            async with session.post(
                self._settings.url, data=body, headers=headers, allow_redirects=False
            ) as answer:
                if 200 <= answer.status < 300:
                    return ""
                said = f"{answer.status} {(await _beginning(answer))!r}"
                if answer.status in _REFUSED:
                    return said
                if answer.status == _GONE:
                    raise SinkGoneError(f"answered {said}: it wants no more events")
                raise SinkFailedError(f"answered {said}", retry_after_seconds=_retry_after(answer))
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise SinkFailedError(f"cannot be reached: {error or 'no answer in time'}") from None

    def _secret(self) -> bytes | None:
        path = self._settings.secret_file
        return None if path is None else secret_in(path, self._settings.name)


def secret_in(path: Path, sink: str) -> bytes:
    """What a file has without the line feed at its end; InvalidInputError where that is too little."""
    try:
        secret = path.read_bytes().rstrip(b"\r\n")
    except OSError as error:
        raise InvalidInputError.of(f"exports.{sink}", f"{path} cannot be read: {error.strerror}") from None
    if len(secret) < MIN_SECRET_BYTES:
        raise InvalidInputError.of(
            f"exports.{sink}", f"{path} holds {len(secret)} bytes; a secret has {MIN_SECRET_BYTES} at least"
        )
    return secret


async def _beginning(answer: aiohttp.ClientResponse) -> str:
    return (await answer.content.read(_ANSWER_CHARACTERS)).decode(errors="replace")


def _retry_after(answer: aiohttp.ClientResponse) -> float:
    """Seconds to wait as the receiver says; 0 where it does not, or gives a date."""
    told = answer.headers.get("Retry-After", "")
    # Five digits are more than a day already.
    return (
        min(float(told), LONGEST_PAUSE_SECONDS)
        if told.isascii() and told.isdigit() and len(told) < 6
        else 0.0
    )
