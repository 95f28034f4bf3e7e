"""A PostgreSQL of the tests' own: an ordinary user's, in a temporary directory, for this machine only."""

import os
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from sqlalchemy.ext.asyncio import create_async_engine

from keyweave.cli.up.ports import HOST, free

# Debian keeps its programs out of the search path.
_PLACES = Path("/usr/lib/postgresql")
# As root the server refuses to run; the package makes this user.
_USER = "postgres"
_OWNER = "keyweave"


def programs() -> Path | None:
    """Where `initdb` and `pg_ctl` are; None where PostgreSQL is not installed."""
    found = [*sorted(_PLACES.glob("*/bin"), reverse=True), *map(Path, os.get_exec_path())]
    return next((place for place in found if (place / "initdb").exists()), None)


class PostgresServer:
    """One server with as many databases as tests ask for."""

    def __init__(self, binaries: Path) -> None:
        self._binaries = binaries
        # Short: the path of a socket may have 107 characters.
        self._root = Path(tempfile.mkdtemp(prefix="keyweave-pg-"))
        self._data = self._root / "data"
        self._user = _USER if os.geteuid() == 0 else None
        self.port = free(())
        if self._user:
            shutil.chown(self._root, self._user, self._user)
        self._run(
            "initdb",
            *("-D", str(self._data), "-U", _OWNER, "-A", "trust", "--no-sync", "-E", "UTF8", "--locale=C"),
        )
        settings = {
            "listen_addresses": f"'{HOST}'",
            "port": str(self.port),
            "unix_socket_directories": f"'{self._root}'",
            # Nothing here outlives the machine; what a killed server process had acknowledged it still has.
            "fsync": "off",
            "max_connections": "100",
            "shared_buffers": "16MB",
        }
        with (self._data / "postgresql.conf").open("a", encoding="utf-8") as file:
            file.writelines(f"{name} = {value}\n" for name, value in settings.items())
        self.start()

    def start(self) -> None:
        """Returns once it answers."""
        self._run("pg_ctl", "start", "-w", "-s", "-D", str(self._data), "-l", str(self._root / "log"))

    def stop(self, *, mode: str = "fast") -> None:
        """`immediate` is how a server ends that is killed: without a checkpoint."""
        self._run("pg_ctl", "stop", "-w", "-s", "-m", mode, "-D", str(self._data))

    def remove(self) -> None:
        """Stop it if it runs, and delete everything."""
        # A test may have stopped it.
        with suppress(subprocess.CalledProcessError):
            self.stop(mode="immediate")
        shutil.rmtree(self._root)

    @property
    def postmaster(self) -> int:
        """The process ID of the server."""
        return int((self._data / "postmaster.pid").read_text(encoding="utf-8").split("\n", 1)[0])

    async def new_database(self) -> str:
        """An empty database; returns its SQLAlchemy URL."""
        name = f"t{secrets.token_hex(6)}"
        engine = create_async_engine(self._url("postgres"), isolation_level="AUTOCOMMIT")
        async with engine.connect() as connection:
            await connection.exec_driver_sql(f"CREATE DATABASE {name}")
        await engine.dispose()
        return self._url(name)

    def _url(self, database: str) -> str:
        return f"postgresql+asyncpg://{_OWNER}@{HOST}:{self.port}/{database}"

    def _run(self, program: str, *arguments: str) -> None:
        command: Sequence[str] = (str(self._binaries / program), *arguments)
        identity = {"user": self._user, "group": self._user, "extra_groups": []} if self._user else {}
        # The server inherits what is not redirected, and would keep a pipe open.
        subprocess.run(  # type: ignore[call-overload]  # which of its overloads, the mapping does not tell
            command, check=True, cwd=self._root, stdout=subprocess.DEVNULL, **identity
        )
