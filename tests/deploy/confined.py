"""Runs a command as confined as its unit or its pod asks for; what systemd and a kubelet would do.

    python confined.py SPECIFICATION COMMAND...

The specification is JSON. Everything is done by the kernel's own means, so what works here works there:
a mount namespace whose root is read-only, no capability, no new privileges, limits, and where a unit asks for
it a system call filter and no memory that is both writable and executable. What it does not do: another user
(the tests' own interpreter may lie where only its owner reads), user namespaces, hidden processes.
"""

import ctypes
import json
import os
import resource
import sys
from typing import Any

_LIBC = ctypes.CDLL(None, use_errno=True)
_CLONE_NEWNS = 0x00020000
_MS_BIND, _MS_REC, _MS_PRIVATE = 4096, 16384, 1 << 18
_SYS_MOUNT_SETATTR, _AT_FDCWD, _AT_RECURSIVE, _MOUNT_ATTR_RDONLY = 442, -100, 0x8000, 1
_PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS, _PR_SET_MDWE = 24, 38, 65
_CAPABILITIES = 41
_ALLOW, _ERRNO_EPERM, _EAFNOSUPPORT, _EQUAL = 0x7FFF0000, 0x00050000 | 1, 0x00050000 | 97, 4


class _MountAttributes(ctypes.Structure):
    _fields_ = tuple((name, ctypes.c_uint64) for name in ("set", "clear", "propagation", "namespace"))


class _Comparison(ctypes.Structure):
    _fields_ = (
        ("argument", ctypes.c_uint),
        ("operator", ctypes.c_int),
        ("a", ctypes.c_uint64),
        ("b", ctypes.c_uint64),
    )


def main() -> None:
    """Confine this process, then become the command."""
    specification: dict[str, Any] = json.loads(sys.argv[1])
    _mounts(specification)
    for name, value in specification.get("limits", {}).items():
        _limit(getattr(resource, f"RLIMIT_{name}"), value)
    os.umask(specification.get("umask", 0o022))
    for number in range(_CAPABILITIES):
        _LIBC.prctl(_PR_CAPBSET_DROP, number, 0, 0, 0)
    _no_capabilities()
    _done(_LIBC.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no new privileges")
    # The filter is the last: it forbids what came before it.
    prepared = _filter(specification)
    if specification.get("no_writable_code"):
        _done(_LIBC.prctl(_PR_SET_MDWE, 1, 0, 0, 0), "no memory both writable and executable")
    if prepared is not None:
        library, context = prepared
        _done(library.seccomp_load(context), "system call filter")
    os.execv(sys.argv[2], sys.argv[2:])


def _limit(which: int, value: int) -> None:
    """What is asked for, or this machine's own limit if that is lower: systemd may raise it, we may not."""
    _, most = resource.getrlimit(which)
    if most != resource.RLIM_INFINITY and (value == resource.RLIM_INFINITY or value > most):
        value = most
    resource.setrlimit(which, (value, value))


def _mounts(specification: dict[str, Any]) -> None:
    _done(_LIBC.unshare(_CLONE_NEWNS), "mount namespace")
    _mount("none", "/", None, _MS_REC | _MS_PRIVATE)
    for target, files in specification["overlays"].items():
        _mount("overlay", target, "overlay", 0, f"lowerdir={files}:{target}")
    for target, source in specification.get("bound", {}).items():
        _mount(source, target, None, _MS_BIND)
    _set_read_only("/", _AT_RECURSIVE, read_only=True)
    for target, source in specification["writable"].items():
        _mount(source, target, None, _MS_BIND)
        _set_read_only(target, 0, read_only=False)


def _mount(source: str, target: str, kind: str | None, flags: int, data: str | None = None) -> None:
    encoded = [each.encode() if each is not None else None for each in (source, target, kind)]
    _done(_LIBC.mount(*encoded, flags, data.encode() if data else None), f"mount on {target}")


def _set_read_only(target: str, flags: int, *, read_only: bool) -> None:
    wanted = _MountAttributes(
        _MOUNT_ATTR_RDONLY if read_only else 0, 0 if read_only else _MOUNT_ATTR_RDONLY, 0, 0
    )
    called = _LIBC.syscall(
        _SYS_MOUNT_SETATTR,
        _AT_FDCWD,
        target.encode(),
        flags,
        ctypes.byref(wanted),
        ctypes.sizeof(wanted),
    )
    _done(called, f"read-only {target}")


def _no_capabilities() -> None:
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)  # _LINUX_CAPABILITY_VERSION_3, this process
    nothing = (ctypes.c_uint32 * 6)()
    _done(_LIBC.capset(header, nothing), "no capabilities")


def _filter(specification: dict[str, Any]) -> tuple[Any, Any] | None:
    """A filter by libseccomp, as systemd makes one: what is not listed fails with EPERM."""
    calls = specification.get("system_calls")
    if calls is None:
        return None
    library = ctypes.CDLL("libseccomp.so.2")
    library.seccomp_init.restype = ctypes.c_void_p
    context = ctypes.c_void_p(library.seccomp_init(ctypes.c_uint32(_ERRNO_EPERM)))
    families = specification.get("families")
    for name in calls:
        number = library.seccomp_syscall_resolve_name(name.encode())
        if number < 0 or (name == "socket" and families is not None):
            continue  # not one of this architecture
        _done(library.seccomp_rule_add(context, ctypes.c_uint32(_ALLOW), number, 0), name)
    for family in families or ():
        only = (_Comparison * 1)(_Comparison(0, _EQUAL, family, 0))
        number = library.seccomp_syscall_resolve_name(b"socket")
        _done(
            library.seccomp_rule_add_array(context, ctypes.c_uint32(_ALLOW), number, 1, only),
            f"sockets of family {family}",
        )
    return library, context


def _done(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno() or -result
        raise OSError(number, f"{what}: {os.strerror(number)}")


if __name__ == "__main__":
    main()
