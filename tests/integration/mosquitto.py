"""A real Mosquitto, and devices that publish to it."""

import asyncio
import getpass
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from keyweave.cli.up.ports import HOST, free
from keyweave.common.identity import Identity, Plane, Role
from keyweave.common.pki import Authority
from tests.waiting import eventually

USER, PASSWORD = "keyweave", "the password of the broker"
START_SECONDS = 15.0


@dataclass
class Broker:
    """A broker that runs, with TLS and a password unless it is told otherwise."""

    port: int
    directory: Path
    process: asyncio.subprocess.Process
    tls: bool = True

    @property
    def address(self) -> str:
        """Where it listens."""
        return f"{HOST}:{self.port}"

    @property
    def trust_anchor(self) -> Path:
        """Whose certificate it shows."""
        return self.directory / "broker-ca.pem"

    def access(self) -> dict[str, Any]:
        """The driver's settings that reach it."""
        if not self.tls:
            return {"broker": self.address}
        password = self.directory / "password"
        password.write_text(PASSWORD + "\n", encoding="utf-8")
        return {
            "broker": self.address,
            "tls": {"trust_anchor": str(self.trust_anchor)},
            "username": USER,
            "password_file": str(password),
        }

    async def stop(self) -> None:
        """End it at once; its port stays free for the next one."""
        with suppress(ProcessLookupError):
            self.process.kill()
        await self.process.wait()


@asynccontextmanager
async def broker(
    find: Callable[[str], str], directory: Path, *, tls: bool = True, port: int | None = None
) -> AsyncIterator[Broker]:
    """A broker on a free port, or on one where another was."""
    port = port or free(())
    running = Broker(port, directory, await _started(find, directory, port, tls=tls), tls)
    try:

        async def answers() -> bool:
            if running.process.returncode is not None:
                raise AssertionError((directory / "mosquitto.log").read_text(encoding="utf-8"))
            with suppress(OSError):
                _, writer = await asyncio.open_connection(HOST, port)
                writer.close()
                return True
            return False

        await eventually(answers, START_SECONDS, "mosquitto listens")
        yield running
    finally:
        await running.stop()


async def _started(
    find: Callable[[str], str], directory: Path, port: int, *, tls: bool
) -> asyncio.subprocess.Process:
    # As root it would else become a user who cannot read the test's files.
    lines = [f"listener {port} {HOST}", "persistence false", f"user {getpass.getuser()}"]
    lines += [f"allow_anonymous {'false' if tls else 'true'}"]
    if tls:
        certificate, key, passwords = (directory / name for name in ("broker.pem", "broker.key", "passwords"))
        authority = Authority.create(Plane.CONTROL)
        (directory / "broker-ca.pem").write_bytes(authority.credential.certificate)
        issued = authority.issue(Identity(Plane.CONTROL, Role.CONTROLLER, "controller"), hosts=(HOST,))
        issued.write(certificate, key)
        making = await asyncio.create_subprocess_exec(
            find("mosquitto_passwd"), "-c", "-b", str(passwords), USER, PASSWORD
        )
        assert await making.wait() == 0
        lines += [f"cafile {directory / 'broker-ca.pem'}", f"certfile {certificate}", f"keyfile {key}"]
        lines += [f"password_file {passwords}"]
    config = directory / "mosquitto.conf"
    config.write_text("\n".join(lines) + "\n", encoding="utf-8")
    with (directory / "mosquitto.log").open("w", encoding="utf-8") as log:
        return await asyncio.create_subprocess_exec(
            find("mosquitto"), "-c", str(config), stdout=log, stderr=subprocess.STDOUT
        )


@asynccontextmanager
async def device(to: Broker, **how: Any) -> AsyncIterator[asyncio.subprocess.Process]:
    """A device in a process of its own, as `fake_mqtt_device.py` has it."""
    settings = {"access": to.access(), **how}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.integration.fake_mqtt_device", json.dumps(settings), env=os.environ
    )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            process.terminate()
        await process.wait()
