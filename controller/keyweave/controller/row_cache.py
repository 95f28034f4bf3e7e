"""Rows as they were decoded last: of a table that is read again only what has changed is fetched and decoded.

So a controller that stands by has everything at hand when it takes over. PostgreSQL tells with `xmin` which
transaction wrote a row; SQLite tells no such thing, and there everything is read each time, which is once.
"""

from collections.abc import Callable
from typing import Generic, TypeVar

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

Value = TypeVar("Value")
# Keys that one statement asks for.
_KEYS_AT_ONCE = 1000


class RowCache(Generic[Value]):
    """One table's rows by their key, each decoded from its content."""

    def __init__(self, key: sa.Column[str], content: sa.Column[str], decode: Callable[[str], Value]) -> None:
        self._key = key
        self._content = content
        self._decode = decode
        # What wrote the row, and what it holds.
        self._rows: dict[str, tuple[str, Value]] = {}

    async def load(self, connection: AsyncConnection) -> dict[str, Value]:
        """All rows as they are now, in the order of their keys."""
        if connection.dialect.name != "postgresql":
            rows = await connection.execute(sa.select(self._key, self._content).order_by(self._key))
            return {key: self._decode(content) for key, content in rows}
        # Keys and versions first: what changes before the rows are fetched is fetched again the next time.
        written = sa.cast(sa.literal_column(f"{self._key.table.name}.xmin"), sa.Text)
        found = await connection.execute(sa.select(self._key, written.label("written")))
        versions: dict[str, str] = {row[0]: row[1] for row in found}
        old = [key for key, version in versions.items() if self._rows.get(key, ("",))[0] != version]
        self._rows = {key: row for key, row in self._rows.items() if key in versions}
        for first in range(0, len(old), _KEYS_AT_ONCE):
            chosen = self._key.in_(old[first : first + _KEYS_AT_ONCE])
            for key, content in await connection.execute(sa.select(self._key, self._content).where(chosen)):
                self._rows[key] = versions[key], self._decode(content)
        return {key: self._rows[key][1] for key in sorted(self._rows)}
