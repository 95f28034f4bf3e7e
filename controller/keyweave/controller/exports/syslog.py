"""Events to a syslog server: RFC 5424 over TLS, framed as in RFC 5425.

Syslog has no acknowledgement. A message counts as taken once the server's kernel has acknowledged its bytes
and the connection has stood for `settle_seconds` since; what a connection that breaks had not settled is sent
again. So a server that restarts may see some twice, which it can tell by their id, and misses none.
"""

import asyncio
import fcntl
import os
import socket
import struct
import termios
from collections import deque
from importlib.metadata import version

from keyweave.controller.exports.config import SyslogConfig
from keyweave.controller.exports.messages import framed, syslog_message
from keyweave.controller.exports.sinks import SinkFailedError
from keyweave.controller.exports.spool import Outbox
from keyweave.controller.exports.tls import client_context

CONNECT_SECONDS = 10.0
LOOK_SECONDS = 0.1
# A server that acknowledges nothing for so long is taken for dead by the kernel.
DEAD_AFTER_SECONDS = 30


class SyslogSink:
    """One syslog server."""

    def __init__(self, settings: SyslogConfig) -> None:
        self._settings = settings
        self._hostname = settings.hostname or socket.gethostname()
        self._version = version("keyweave")
        # Read now, so that a wrong file shows at the start; and at every connection, as files are replaced.
        client_context(settings.tls, settings.name)

    async def run(self, outbox: Outbox) -> None:
        """See Sink."""
        host, _, port = self._settings.address.rpartition(":")
        tls = self._settings.tls
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                reader, writer = await asyncio.open_connection(
                    host.strip("[]"),
                    int(port),
                    ssl=client_context(tls, self._settings.name),
                    server_hostname=tls.server_name or host.strip("[]"),
                )
        except (OSError, TimeoutError) as error:
            raise SinkFailedError(f"cannot be reached: {error or 'no answer'}") from None
        try:
            await self._converse(outbox, reader, writer)
        finally:
            writer.transport.abort()

    async def _converse(
        self, outbox: Outbox, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        outbox.counters.is_up = True
        connection = _Connection(writer)
        tasks = [
            asyncio.create_task(self._send(outbox, connection), name="syslog-send"),
            asyncio.create_task(_until_closed(reader), name="syslog-watch"),
            asyncio.create_task(
                _settle(outbox, connection, self._settings.settle_seconds), name="syslog-settle"
            ),
        ]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        for task in done:
            error = task.exception()
            if error is not None and not isinstance(error, OSError):
                raise error
        raise SinkFailedError("the connection broke")

    async def _send(self, outbox: Outbox, connection: "_Connection") -> None:
        settings = self._settings
        while True:
            event = await outbox.next()
            message = syslog_message(
                event,
                facility=settings.facility,
                hostname=self._hostname,
                process=os.getpid(),
                enterprise=settings.enterprise_number,
                version=self._version,
                max_bytes=settings.max_bytes,
            )
            await connection.send(event.id, framed(message))


class _Connection:
    """What was sent on one connection, and how much of it the other end's kernel has."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        self.sent = 0
        self._socket = writer.get_extra_info("socket")
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, DEAD_AFTER_SECONDS * 1000)

    async def send(self, event_id: int, data: bytes) -> None:
        """Write, and wait while the other end does not keep up."""
        self._writer.write(data)
        self.sent = event_id
        await self._writer.drain()

    def all_acknowledged(self) -> bool:
        """Whether every byte that was sent has arrived (SIOCOUTQ, which is TIOCOUTQ: tcp(7))."""
        if self._writer.transport.get_write_buffer_size():
            return False
        (unacknowledged,) = struct.unpack(
            "i", fcntl.ioctl(self._socket.fileno(), termios.TIOCOUTQ, b"\0" * 4)
        )
        return not unacknowledged


async def _until_closed(reader: asyncio.StreamReader) -> None:
    # Servers send nothing; should one, that is no reason to stop.
    while await reader.read(4096):
        pass


async def _settle(outbox: Outbox, connection: _Connection, seconds: float) -> None:
    """Confirm what has arrived and stood for so long."""
    arrived: deque[tuple[float, int]] = deque()
    newest = 0
    loop = asyncio.get_running_loop()
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        if connection.sent > newest and connection.all_acknowledged():
            newest = connection.sent
            arrived.append((loop.time(), newest))
        while arrived and arrived[0][0] + seconds <= loop.time():
            outbox.confirm(arrived.popleft()[1])
