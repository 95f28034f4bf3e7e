"""The command line as a shell runs it, and a state directory by which it finds an admin API."""

import asyncio
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from keyweave.cli.state_dir import Endpoints, StateDir
from keyweave.common.identity import Role
from tests.integration.admin_server import AdminServer


@dataclass(frozen=True)
class Result:
    """What a command left behind."""

    code: int
    out: str
    errors: list[str]

    @property
    def json(self) -> Any:
        return json.loads(self.out)


async def keyweave(*arguments: str) -> Result:
    """Run one command as a process of its own, as a shell does."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "keyweave.cli", *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    assert process.returncode is not None
    assert "Traceback" not in err.decode()
    return Result(process.returncode, out.decode(), err.decode().splitlines())


def operator_state(server: AdminServer, root: Path) -> StateDir:
    """A state directory as `keyweave up` leaves it."""
    state = StateDir(root)
    state.pki.mkdir(parents=True)
    files, target = server.files(Role.OPERATOR), state.operator_tls()
    for source, path in (
        (files.certificate, target.certificate),
        (files.private_key, target.private_key),
        (files.trust_anchor, target.trust_anchor),
    ):
        path.write_bytes(source.read_bytes())
    state.write_endpoints(Endpoints(server.address, "http://unused"))
    return state
