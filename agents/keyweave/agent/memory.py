"""Key bytes in memory: locked where the system allows, overwritten when done. Best effort.

What Python copies on its way through protobuf, TLS and JSON cannot be overwritten; docs/security.md says
so.
"""

import ctypes
import functools
import resource
from pathlib import Path

from keyweave.common import log

# mlockall(2). On fault: pages as they come into use, or every thread's whole stack would be resident.
_MCL_CURRENT, _MCL_FUTURE, _MCL_ONFAULT = 1, 2, 4
_CAP_IPC_LOCK = 14  # capabilities(7)


@functools.cache
def lock_all() -> bool:
    """Keep this whole process out of swap, copies that others make of a key included; whether that is so.

    Only where the system sets no limit to it: under a limit every allocation beyond would fail.
    """
    limit, _ = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    try:
        unlimited = limit == resource.RLIM_INFINITY or _has_capability(_CAP_IPC_LOCK)
        return unlimited and _libc().mlockall(_MCL_CURRENT | _MCL_FUTURE | _MCL_ONFAULT) == 0
    except (OSError, AttributeError):
        return False


def lock(buffer: bytearray) -> None:
    """Keep `buffer` out of swap for as long as it lives, if the system lets us."""
    if buffer and not lock_all() and not _mlock(buffer):
        _warn_once()


def wipe(buffer: bytearray | memoryview) -> None:
    """Overwrite with zeros, in place."""
    buffer[:] = bytes(len(buffer))


def xor(left: bytes | bytearray, right: bytes | bytearray) -> bytearray:
    """Bytewise exclusive or of two strings of one length."""
    if len(left) != len(right):
        raise ValueError(f"lengths differ: {len(left)} and {len(right)} bytes")
    size = len(left)
    value = int.from_bytes(left, "little") ^ int.from_bytes(right, "little")
    return bytearray(value.to_bytes(size, "little"))


def _mlock(buffer: bytearray) -> bool:
    try:
        address = ctypes.addressof(ctypes.c_char.from_buffer(buffer))
        return bool(_libc().mlock(ctypes.c_void_p(address), len(buffer)) == 0)
    except (OSError, AttributeError):
        return False


def _has_capability(number: int) -> bool:
    status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    effective = next(line.split()[1] for line in status.splitlines() if line.startswith("CapEff:"))
    return bool(int(effective, 16) >> number & 1)


@functools.cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


@functools.cache
def _warn_once() -> None:
    log.get().warning("memory_not_locked", reason="mlock refused: raise RLIMIT_MEMLOCK or disable swap")
