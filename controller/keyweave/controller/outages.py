"""A database that is out of reach or out of order is not our caller's fault, and may pass."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy import exc
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from keyweave.common.errors import UnavailableError

# What may be an outage; `is_outage` tells.
Outage = (exc.DBAPIError, exc.TimeoutError, OSError)
# Faults of what was asked, which asking again does not mend.
_OF_THE_STATEMENT = (exc.IntegrityError, exc.ProgrammingError, exc.DataError, exc.NotSupportedError)


def is_outage(error: BaseException) -> bool:
    """Whether the database, and not what was asked of it, is the cause."""
    return isinstance(error, Outage) and not isinstance(error, _OF_THE_STATEMENT)


@asynccontextmanager
async def answering_outages() -> AsyncIterator[None]:
    """An outage becomes UnavailableError."""
    try:
        yield
    except Outage as error:
        if not is_outage(error):
            raise
        cause = error.orig if isinstance(error, exc.DBAPIError) else error
        told = str(cause) or type(cause).__name__
        raise UnavailableError(f"the controller's database cannot be used now: {told}") from error


@asynccontextmanager
async def reading(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """A connection to read with."""
    async with answering_outages(), engine.connect() as connection:
        yield connection
