"""The command line as a shell runs it, and a state directory by which it finds an admin API."""

import asyncio
import atexit
import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from keyweave.cli.state_dir import Endpoints, StateDir
from keyweave.common.identity import Role
from tests.integration.admin_server import AdminServer
from tests.waiting import eventually


@dataclass(frozen=True)
class Result:
    """What a command left behind."""

    code: int
    out: str
    errors: list[str]

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@cache
def _ready_shell() -> Path:
    """Where the process listens that commands are forked from; it ends with this one."""
    directory = Path(tempfile.mkdtemp(prefix="keyweave-shell-"))
    running = subprocess.Popen([sys.executable, "-m", "tests.integration.ready_shell", str(directory / "s")])

    def end() -> None:
        running.kill()
        running.wait()
        shutil.rmtree(directory)

    atexit.register(end)
    return directory / "s"


async def _connected(path: Path) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
    try:
        return await asyncio.open_unix_connection(path)
    except (FileNotFoundError, ConnectionRefusedError):
        return None  # it still imports


async def keyweave(*arguments: str) -> Result:
    """Run one command in a process of its own, as a shell does, but for the imports, which are shared."""
    path = _ready_shell()
    connection = await eventually(lambda: _connected(path), 60, "commands can be run")
    assert connection is not None
    reader, writer = connection
    call = {"arguments": arguments, "environment": dict(os.environ), "directory": str(Path.cwd())}
    writer.write(json.dumps(call).encode())
    writer.write_eof()
    told = json.loads(await reader.read())
    writer.close()
    assert "Traceback" not in told["err"]
    return Result(told["code"], told["out"], told["err"].splitlines())


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
