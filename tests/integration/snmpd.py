"""A real snmpd whose objects a test says."""

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from keyweave.cli.up.ports import HOST, free
from tests.waiting import eventually

ROOT_OID = "1.3.6.1.4.1.8072.9999.9999"  # netSnmpPlaypen: for whoever tries something out
USER, AUTH, PRIVACY, COMMUNITY = "keyweave", "authenticates it", "keeps it private", "community of the lab"
START_SECONDS = 15.0


@dataclass
class Snmpd:
    """An snmpd that runs."""

    port: int
    directory: Path
    process: asyncio.subprocess.Process

    @property
    def address(self) -> str:
        """Where it answers."""
        return f"{HOST}:{self.port}"

    def v3(self, **changes: Any) -> dict[str, Any]:
        """The driver's settings that reach it, with authentication and privacy."""
        v3 = {
            "user": USER,
            "auth_password_file": self.secret("auth", AUTH),
            "privacy_password_file": self.secret("privacy", PRIVACY),
        }
        return {"address": self.address, "timeout_seconds": 0.5, "retries": 3, "v3": {**v3, **changes}}

    def v2c(self, community: str = COMMUNITY) -> dict[str, Any]:
        """The driver's settings that reach it without."""
        file = self.secret("community", community)
        return {
            "address": self.address,
            "timeout_seconds": 0.5,
            "retries": 3,
            "v2c": {"community_file": file},
        }

    def secret(self, name: str, text: str) -> str:
        """A file with a secret."""
        path = self.directory / f"{name}-secret"
        path.write_text(text + "\n", encoding="utf-8")
        return str(path)

    def say(self, objects: Mapping[int, list[Any]]) -> None:
        """What the device has from now on, by the last number of its OID."""
        content = json.dumps({f"{ROOT_OID}.{leaf}.0": value for leaf, value in objects.items()})
        new = self.directory / "objects.new"
        new.write_text(content, encoding="utf-8")
        new.replace(self.directory / "objects.json")

    async def stop(self) -> None:
        """End it at once."""
        with suppress(ProcessLookupError):
            self.process.kill()
        await self.process.wait()


def oid(leaf: int) -> str:
    """The OID of an object that `say` names."""
    return f"{ROOT_OID}.{leaf}.0"


@asynccontextmanager
async def snmpd(find: Callable[[str], str], directory: Path) -> AsyncIterator[Snmpd]:
    """An snmpd on a free port."""
    port = free(())
    passes = (
        f"{sys.executable} {Path(__file__).with_name('fake_snmp_objects.py')} {directory / 'objects.json'}"
    )
    config = directory / "snmpd.conf"
    config.write_text(
        f"agentaddress udp:{HOST}:{port}\n"
        f'createUser {USER} SHA-256 "{AUTH}" AES "{PRIVACY}"\n'
        f"rouser {USER} authpriv\n"
        f'rocommunity "{COMMUNITY}" {HOST}\n'
        f"pass_persist .{ROOT_OID} {passes}\n",
        encoding="utf-8",
    )
    (directory / "objects.json").write_text("{}", encoding="utf-8")
    environment = {"SNMP_PERSISTENT_DIR": str(directory / "state"), "MIBS": "", "PATH": "/usr/bin:/bin"}
    command = [find("snmpd"), "-f", "-Lo", "-C", "-c", str(config), "-I", "-smux"]
    with (directory / "snmpd.log").open("w", encoding="utf-8") as log:
        process = await asyncio.create_subprocess_exec(
            *command, env=environment, stdout=log, stderr=subprocess.STDOUT
        )
    running = Snmpd(port, directory, process)
    try:

        async def answers() -> bool:
            told = (directory / "snmpd.log").read_text(encoding="utf-8")
            assert process.returncode is None, told
            return "NET-SNMP version" in told

        await eventually(answers, START_SECONDS, "snmpd answers")
        yield running
    finally:
        await running.stop()
