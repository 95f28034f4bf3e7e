"""A real rsyslog that takes messages over TLS, with a certificate of the sender's or without."""

import asyncio
import re
import signal
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from keyweave.cli.up.ports import HOST, free
from keyweave.common.identity import Identity, Plane, Role
from keyweave.common.pki import Authority
from tests.waiting import eventually

START_SECONDS = 60.0
_ID = re.compile(r'\bid="(\d+)"')


@dataclass
class Rsyslog:
    """A server that writes every message as it came, one a line."""

    directory: Path
    port: int
    program: str
    process: asyncio.subprocess.Process | None = None

    @property
    def messages(self) -> list[str]:
        """What it has taken, in that order."""
        with suppress(FileNotFoundError):
            return (self.directory / "messages").read_text(encoding="utf-8").splitlines()
        return []

    @property
    def ids(self) -> list[int]:
        """The numbers of the events, each where it came first."""
        found = (_ID.search(message) for message in self.messages)
        return list(dict.fromkeys(int(match[1]) for match in found if match is not None))

    def settings(self, **changed: Any) -> dict[str, Any]:
        """Of a sink that sends there, with a certificate."""
        tls = {
            "trust_anchor": str(self.directory / "ca.pem"),
            "certificate": str(self.directory / "client.pem"),
            "private_key": str(self.directory / "client.key"),
        }
        return {"name": "siem", "address": f"{HOST}:{self.port}", "tls": tls, "hostname": "kms1", **changed}

    async def start(self) -> None:
        """Start it, on the same port and file as before."""
        with (self.directory / "rsyslogd.log").open("a", encoding="utf-8") as log:
            self.process = await asyncio.create_subprocess_exec(
                *(self.program, "-n", "-iNONE", "-f", str(self.directory / "rsyslog.conf")),
                stdout=log,
                stderr=subprocess.STDOUT,
            )

        async def listens() -> bool:
            assert self.process is not None
            if self.process.returncode is not None:
                raise AssertionError((self.directory / "rsyslogd.log").read_text(encoding="utf-8"))
            with suppress(OSError):
                _, writer = await asyncio.open_connection(HOST, self.port)
                writer.close()
                return True
            return False

        await eventually(listens, START_SECONDS, "rsyslogd listens")

    def pause(self) -> None:
        """Let it read nothing more; its kernel goes on taking."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    async def kill(self) -> None:
        """End it at once, with whatever it had not read yet."""
        if self.process is not None:
            with suppress(ProcessLookupError):
                self.process.kill()
            await self.process.wait()
            self.process = None


@asynccontextmanager
async def rsyslog(find: Callable[[str], str], directory: Path) -> AsyncIterator[Rsyslog]:
    """A server on a free port; ended with the context."""
    program = find("rsyslogd")
    directory.mkdir(parents=True, exist_ok=True)  # noqa: ASYNC240  # a test may wait
    authority = Authority.create(Plane.CONTROL)
    (directory / "ca.pem").write_bytes(authority.credential.certificate)
    server = Identity(Plane.CONTROL, Role.CONTROLLER, "syslog")
    authority.issue(server, hosts=(HOST,)).write(directory / "server.pem", directory / "server.key")
    client = authority.issue(Identity(Plane.CONTROL, Role.CONTROLLER, "controller"))
    client.write(directory / "client.pem", directory / "client.key")
    running = Rsyslog(directory, free(()), program)
    (directory / "rsyslog.conf").write_text(
        f"""
global(
  workDirectory="{directory}" maxMessageSize="64k"
  defaultNetstreamDriver="ossl"
  defaultNetstreamDriverCAFile="{directory}/ca.pem"
  defaultNetstreamDriverCertFile="{directory}/server.pem"
  defaultNetstreamDriverKeyFile="{directory}/server.key"
)
module(load="imtcp" streamDriver.name="ossl" streamDriver.mode="1" streamDriver.authMode="x509/certvalid")
template(name="raw" type="string" string="%rawmsg%\\n")
input(type="imtcp" address="{HOST}" port="{running.port}")
action(type="omfile" file="{directory}/messages" template="raw")
""",
        encoding="utf-8",
    )
    try:
        await running.start()
        yield running
    finally:
        await running.kill()
