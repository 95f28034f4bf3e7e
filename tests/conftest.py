"""What all tests share."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

import pytest
import structlog
from hypothesis import settings

from tests.postgresql import PostgresServer, programs

# How busy the machine is says nothing about the code: the timeouts of pytest find what hangs.
# Where changes are let in or not, one tree gets one answer; everywhere else each run looks anew.
settings.register_profile("patient", deadline=None, derandomize=bool(os.environ.get("CI")))
settings.load_profile("patient")

ROOT = Path(__file__).parents[1]
# Packages that are not named as their programs.
_DEBIAN = {
    "mosquitto_passwd": "mosquitto",
    "pdftotext": "poppler-utils",
    "systemd-analyze": "systemd",
    "systemd-sysusers": "systemd",
    "systemd-tmpfiles": "systemd",
    "node": "nodejs",
    "promtool": "prometheus",
    "rsyslogd": "rsyslog, and rsyslog-openssl",
    "amtool": "prometheus-alertmanager",
}


@pytest.fixture(scope="session")
def outside_program() -> Callable[[str], str]:
    """Where a program that is not Python is; skips without it, except where nothing may be skipped."""

    def find(name: str) -> str:
        # Debian has daemons where only root looks.
        places = (str(ROOT / ".tools" / "bin"), os.environ.get("PATH", ""), "/usr/sbin")
        found = shutil.which(name, path=os.pathsep.join(places))
        if found is None:
            whence = (
                "`make tools` installs it"
                if name in {"grpcurl", "helm"}
                else f"Debian has it: {_DEBIAN.get(name, name)}"
            )
            skip_for_want_of(name, whence)
        return found

    return find


def skip_for_want_of(name: str, whence: str) -> NoReturn:
    """End a test that lacks a tool: skipped, except where nothing may be skipped."""
    if os.environ.get("KEYWEAVE_NO_SKIP"):
        pytest.fail(f"{name} is not installed and may not be skipped here; {whence}")
    pytest.skip(f"{name} is not installed; {whence}")


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgresServer]:
    """A PostgreSQL server for the whole session; each test takes a database of its own."""
    binaries = programs()
    if binaries is None:
        skip_for_want_of("PostgreSQL", "Debian has it: postgresql")
    server = PostgresServer(binaries)
    yield server
    server.remove()


@pytest.fixture(autouse=True)
def _own_logging() -> Iterator[None]:
    """What a process would set up once, a test that runs one in here must not leave to the next."""
    yield
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()
