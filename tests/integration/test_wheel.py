"""What is installed from a wheel is all that is needed."""

import sys
import zipfile
from pathlib import Path
from subprocess import run

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_the_wheel_holds_the_code_its_migrations_and_the_validation_rules(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(tmp_path), str(ROOT)]
    run(command, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    for wanted in (
        "keyweave/controller/app.py",
        "keyweave/controller/migrations/env.py",
        "keyweave/controller/page/static/index.html",
        "keyweave/controller/page/static/main.js",
        "keyweave/controller/page/static/page.css",
        "keyweave/cli/report/page.html.j2",
        "keyweave/agent/app.py",
        "keyweave/emulator/app.py",
        "keyweave/common/tls.py",
        "keyweave/v1/admin_pb2.py",
        "buf/validate/validate_pb2.py",
    ):
        assert wanted in names
    assert not [name for name in names if name.startswith(("tests/", "proto/", "third_party/"))]
