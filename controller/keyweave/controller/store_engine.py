"""The database behind the store: opened with the settings that make its writes last, its schema current."""

import sqlite3
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from keyweave.common.errors import InvalidInputError

# How long a write waits for another process's transaction (SQLite only; PostgreSQL queues them).
BUSY_TIMEOUT_SECONDS = 5.0


def create_engine(url: str) -> AsyncEngine:
    """The engine of a SQLAlchemy URL."""
    try:
        parsed = make_url(url)
        engine = create_async_engine(parsed)
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
    return engine


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


def _begin_sqlite(connection: sa.Connection) -> None:
    connection.exec_driver_sql("BEGIN")


def migrate(connection: sa.Connection) -> None:
    """Bring the schema up to date."""
    config = Config()
    config.set_main_option("script_location", "keyweave.controller:migrations")
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
