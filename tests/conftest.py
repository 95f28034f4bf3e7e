"""What all tests share."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

# How busy the machine is says nothing about the code: the timeouts of pytest find what hangs.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")

ROOT = Path(__file__).parents[1]


@pytest.fixture
def outside_program() -> Callable[[str], str]:
    """Where a program that is not Python is; skips without it, except where nothing may be skipped."""

    def find(name: str) -> str:
        found = shutil.which(name, path=f"{ROOT / '.tools' / 'bin'}{os.pathsep}{os.environ.get('PATH', '')}")
        if found is None:
            if os.environ.get("KEYWEAVE_NO_SKIP"):
                pytest.fail(f"{name} is not installed and may not be skipped here; `make tools` installs it")
            pytest.skip(f"{name} is not installed; `make tools` installs it")
        return found

    return find
