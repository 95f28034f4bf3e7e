"""Staying with a device that comes and goes, and taking it at its word only so far."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable

from keyweave.agent.drivers.base import DriverUnavailableError, LinkEndInfo
from keyweave.common.errors import InvalidInputError
from keyweave.common.names import NAME_RULE, is_name

DEVICE_RETRY_CAP_SECONDS = 2.0


async def follow(read: Callable[[], Awaitable[None]], on_lost: Callable[[str], None]) -> None:
    """Follow a device for ever; where it goes away, say why and come back with full jitter."""
    failures = 0
    while True:
        started = time.monotonic()
        try:
            await read()
        except DriverUnavailableError as error:
            on_lost(str(error))
        failures = 0 if time.monotonic() - started > DEVICE_RETRY_CAP_SECONDS else failures + 1
        await asyncio.sleep(random.uniform(0, min(DEVICE_RETRY_CAP_SECONDS, 0.05 * 2**failures)))  # noqa: S311


def check_link_end(info: LinkEndInfo) -> None:
    """InvalidInputError where a device describes a link end that cannot be."""
    if not is_name(info.link):
        raise InvalidInputError.of("link", f"'{info.link[:80]}' of a device is no name: {NAME_RULE}")
    if info.block_bytes < 0 or info.block_bytes % 2:
        raise InvalidInputError.of(
            "block_bytes",
            f"is {info.block_bytes} for link '{info.link}'; it must be even, 0 where there is no key",
        )
    if not info.gives_key and not info.measures:
        raise InvalidInputError.of(
            "block_bytes", f"is 0 for link '{info.link}', which is not measured either"
        )
