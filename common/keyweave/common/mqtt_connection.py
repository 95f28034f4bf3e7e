"""A connection to an MQTT broker that can be given up at any moment without leaving a socket behind."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # an extra: who has no broker need not have the library
    import aiomqtt


@asynccontextmanager
async def connected(client: "aiomqtt.Client", refusal: type[Exception]) -> "AsyncIterator[aiomqtt.Client]":
    """Connect for as long as it is used. `refusal` is what the library raises."""
    await _enter(client, refusal)
    try:
        yield client
    finally:
        with suppress(refusal):
            await client.__aexit__(None, None, None)


async def _enter(client: "aiomqtt.Client", refusal: type[Exception]) -> None:
    """Connect. That is done in a thread, which cannot be cancelled: it is waited for, then undone."""
    entering = asyncio.ensure_future(client.__aenter__())
    try:
        await asyncio.shield(entering)
    except asyncio.CancelledError:
        with suppress(refusal):
            await entering
            await client.__aexit__(None, None, None)
        raise
    finally:
        # Its error's traceback has this frame and the socket's: a circle that would keep the socket open.
        del entering
