"""Unit files as systemd reads them, as far as our tests need, and the confinement that they ask for."""

import resource
import shlex
import socket
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from subprocess import run
from typing import Any

from tests.deploy.chart import ROOT

UNITS = ROOT / "deploy" / "systemd"
_LIMITS = {"LimitNOFILE": "NOFILE", "LimitCORE": "CORE", "LimitMEMLOCK": "MEMLOCK"}


@dataclass(frozen=True)
class Unit:
    """One unit file, for one instance where it is a template."""

    path: Path
    instance: str = ""

    @property
    def settings(self) -> dict[str, list[str]]:
        """Every setting with its values in order; specifiers of the instance filled in."""
        found: dict[str, list[str]] = {}
        for line in self.path.read_text().replace("\\\n", " ").splitlines():
            if line and not line.startswith(("#", "[")):
                name, _, value = line.partition("=")
                found.setdefault(name, []).append(value.replace("%i", self.instance))
        return found

    def one(self, name: str) -> str:
        (value,) = self.settings[name]
        return value

    @property
    def command(self) -> list[str]:
        return shlex.split(self.one("ExecStart"))

    @property
    def state(self) -> str:
        return f"/var/lib/{self.one('StateDirectory')}"

    def confinement(self, programs: dict[str, str]) -> dict[str, Any]:
        """What `confined.py` is told, but for mounts; `programs` are systemd's own, by name."""
        allowed: set[str] = set(_groups(programs["systemd-analyze"])["@default"])
        for value in self.settings["SystemCallFilter"]:
            names = {
                call
                for word in value.removeprefix("~").split()
                for call in _expanded(word, programs["systemd-analyze"])
            }
            allowed = allowed - names if value.startswith("~") else allowed | names
        limits = {
            ours: resource.RLIM_INFINITY if self.one(theirs) == "infinity" else int(self.one(theirs))
            for theirs, ours in _LIMITS.items()
            if theirs in self.settings
        }
        return {
            "system_calls": sorted(allowed),
            "families": [int(getattr(socket, name)) for name in self.one("RestrictAddressFamilies").split()],
            "no_writable_code": self.one("MemoryDenyWriteExecute") == "yes",
            "limits": limits,
            "umask": int(self.one("UMask"), 8),
        }


def units() -> list[Path]:
    """All unit files."""
    return sorted(path for path in UNITS.iterdir() if path.suffix in {".service", ".timer"})


@cache
def _groups(analyze: str) -> dict[str, list[str]]:
    """Groups of system calls as this systemd has them; members may be groups."""
    groups: dict[str, list[str]] = {}
    done = run([analyze, "--no-pager", "syscall-filter"], capture_output=True, text=True, check=True)
    for line in done.stdout.splitlines():
        if line.startswith("@"):
            groups[line.strip()] = current = []
        elif line.startswith("#") and not line.startswith("# "):
            break
        elif line.startswith(" ") and not line.strip().startswith("#"):
            current.append(line.strip())
    return groups


def _expanded(word: str, analyze: str) -> set[str]:
    if not word.startswith("@"):
        return {word}
    return {call for member in _groups(analyze)[word] for call in _expanded(member, analyze)}
