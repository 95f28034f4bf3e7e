"""The way between the drivers of a link's two ends: their messages in frames of the agents' session."""

import asyncio
from collections import deque
from collections.abc import Callable

from keyweave.agent.drivers.base import MAX_TWIN_MESSAGE_BYTES
from keyweave.agent.keyplane.failure import KeyPlaneError
from keyweave.common.names import LinkName
from keyweave.v1 import keyplane_pb2 as pb

# A driver that does not keep up loses the oldest.
MAX_WAITING = 32


class LinkTwin:
    """A Twin (see the drivers' contract) over the session with the link's peer."""

    def __init__(self, link: LinkName, post: Callable[[pb.Frame], bool]) -> None:
        self._link = link
        self._post = post
        self._waiting: deque[bytes] = deque(maxlen=MAX_WAITING)
        self._arrived = asyncio.Event()
        self._met = False

    def met(self) -> None:
        """The driver here takes messages; before that they are of no use to anybody."""
        self._met = True

    def send(self, message: bytes) -> bool:
        """See Twin."""
        if len(message) > MAX_TWIN_MESSAGE_BYTES:
            raise ValueError(f"{len(message)} bytes; a twin takes {MAX_TWIN_MESSAGE_BYTES}")
        return self._post(pb.Frame(driver_message=pb.DriverMessage(link=self._link, body=message)))

    async def receive(self) -> bytes:
        """See Twin."""
        while not self._waiting:
            self._arrived.clear()
            await self._arrived.wait()
        return self._waiting.popleft()

    def deliver(self, message: bytes) -> None:
        """Something came from the other end; KeyPlaneError where nobody here can take it."""
        if not self._met:
            raise KeyPlaneError(pb.FAILURE_CODE_NOT_ALLOWED, "the driver here has no twin", link=self._link)
        if len(message) > MAX_TWIN_MESSAGE_BYTES:
            reason = f"a driver's message of {len(message)} bytes; allowed are {MAX_TWIN_MESSAGE_BYTES}"
            raise KeyPlaneError(pb.FAILURE_CODE_MALFORMED, reason, link=self._link)
        self._waiting.append(message)
        self._arrived.set()
