"""What a service manager is told over its socket: ready, stopping, still alive (sd_notify(3) of systemd).

Without `NOTIFY_SOCKET` in the environment nobody is told anything.
"""

import asyncio
import os
import socket

from keyweave.common import log


def notify(state: str) -> None:
    """Tell the service manager, if there is one; that it does not listen is no reason to stop."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    # A leading @ stands for the zero byte of Linux's abstract names.
    name = "\0" + address[1:] if address.startswith("@") else address
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
            channel.sendto(state.encode(), name)
    except OSError as error:
        log.get().warning("service_manager_not_told", state=state, reason=str(error))


def watchdog_interval_seconds() -> float | None:
    """How often this process has to say that it lives: half of what it is given; None where nobody asks."""
    asked_of = os.environ.get("WATCHDOG_PID", "")
    microseconds = os.environ.get("WATCHDOG_USEC", "")
    if not microseconds.isdecimal() or int(microseconds) == 0 or asked_of not in ("", str(os.getpid())):
        return None
    return int(microseconds) / 2_000_000


async def keep_telling() -> None:
    """Say so for as long as the event loop runs; a loop that hangs falls silent and is restarted."""
    interval = watchdog_interval_seconds()
    while interval is not None:
        notify("WATCHDOG=1")
        await asyncio.sleep(interval)
