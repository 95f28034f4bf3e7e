"""Key bytes in memory: locked where the system allows, overwritten when done. Best effort.

What Python copies on its way through protobuf, TLS and JSON cannot be overwritten; docs/security.md says
so.
"""

import ctypes
import functools

from keyweave.common import log


def lock(buffer: bytearray) -> None:
    """Keep `buffer` out of swap for as long as it lives, if the system lets us."""
    if buffer and not _mlock(buffer):
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
        return bool(ctypes.CDLL(None, use_errno=True).mlock(ctypes.c_void_p(address), len(buffer)) == 0)
    except (OSError, AttributeError):
        return False


@functools.cache
def _warn_once() -> None:
    log.get().warning("memory_not_locked", reason="mlock refused: raise RLIMIT_MEMLOCK or disable swap")
