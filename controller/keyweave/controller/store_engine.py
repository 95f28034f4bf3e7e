"""The database behind the store: opened with the settings that make its writes last, its schema current."""

import sqlite3
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from keyweave.common.errors import InvalidInputError, PreconditionError

# How long a write waits for another process's transaction (SQLite only; PostgreSQL queues them).
BUSY_TIMEOUT_SECONDS = 5.0
# PostgreSQL: to connect, and for one statement; a server that is gone without a word must not hold us up.
CONNECT_SECONDS, STATEMENT_SECONDS = 3.0, 5.0
# Of those who bring a schema up to date one at a time does; any number that nothing else locks.
_MIGRATION_LOCK = 0x6B657977


def create_engine(url: str) -> AsyncEngine:
    """The engine of a SQLAlchemy URL."""
    try:
        parsed = make_url(url)
        engine = create_async_engine(parsed, **_OPTIONS.get(parsed.drivername, {}))
    except (ArgumentError, ImportError) as error:
        # The URL itself may hold a password.
        raise InvalidInputError.of(
            "database_url",
            f"is not a usable URL ({error}); expected sqlite+aiosqlite:///FILE or "
            "postgresql+asyncpg://USER@HOST/DATABASE (install keyweave[postgresql])",
        ) from None
    if engine.dialect.name == "sqlite":
        sa.event.listen(engine.sync_engine, "connect", _prepare_sqlite)
        sa.event.listen(engine.sync_engine, "begin", _begin_sqlite)
    elif engine.dialect.name == "postgresql":
        sa.event.listen(engine.sync_engine, "connect", _prepare_postgresql)
    return engine


_OPTIONS: dict[str, dict[str, Any]] = {
    "postgresql+asyncpg": {
        "connect_args": {"timeout": CONNECT_SECONDS, "command_timeout": STATEMENT_SECONDS},
        # A connection that the server has closed meanwhile is replaced, not handed out.
        "pool_pre_ping": True,
        "pool_timeout": STATEMENT_SECONDS,
    }
}


def check_sqlite_file(database: str | None) -> None:
    """Create and open the file once by hand.

    Where opening fails, aiosqlite leaves a thread behind that reports to an event loop which may be gone.
    """
    if database and database != ":memory:":
        Path(database).parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(database)
        try:
            connection.execute("PRAGMA schema_version")
        finally:
            connection.close()


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    # The driver must not begin transactions by itself: it would leave schema changes outside of them.
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.execute(f"PRAGMA busy_timeout={int(BUSY_TIMEOUT_SECONDS * 1000)}")
    cursor.close()


def _prepare_postgresql(connection: Any, _record: Any) -> None:
    # What is acknowledged is on disk; whoever has asked for more, such as a standby's disk, keeps that.
    cursor = connection.cursor()
    cursor.execute(
        "SELECT set_config('synchronous_commit', 'on', false) "
        "WHERE current_setting('synchronous_commit') IN ('off', 'local')"
    )
    cursor.close()
    connection.commit()


def _begin_sqlite(connection: sa.Connection) -> None:
    connection.exec_driver_sql("BEGIN")


def migrate(connection: sa.Connection) -> None:
    """Bring the schema up to date; PreconditionError where it is newer than what this version knows."""
    config = _migrations(connection)
    found, newest = schema_revision(connection), known_revisions()[0]
    if found is not None and found not in known_revisions():
        raise PreconditionError(
            f"the database has schema {found}, and this version knows {newest} at most: start a newer "
            f"Keyweave, or have that one take it back with `keyweave controller migrate --to {newest}`"
        )
    command.upgrade(config, "head")


def migrate_back(connection: sa.Connection, to: str) -> None:
    """Take the schema back to an older revision, and with it what only newer ones have room for."""
    known = known_revisions()
    if to not in known:
        raise InvalidInputError.of("--to", f"there is no revision '{to}'; there are {', '.join(known)}")
    found = schema_revision(connection)
    if found is None or found < to:
        raise PreconditionError(f"the database has schema {found or 'none'}: there is nothing to take back")
    command.downgrade(_migrations(connection), to)


def schema_revision(connection: sa.Connection) -> str | None:
    """The revision of a database's schema; None where it has none."""
    return MigrationContext.configure(connection).get_current_revision()


def known_revisions() -> tuple[str, ...]:
    """The revisions that this version knows, newest first."""
    return tuple(script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions())


def _migrations(connection: sa.Connection) -> Config:
    if connection.dialect.name == "postgresql":
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_MIGRATION_LOCK)))
    config = _config()
    config.attributes["connection"] = connection
    return config


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", "keyweave.controller:migrations")
    return config
