"""What tests of the chart need from outside."""

import os
from pathlib import Path

import pytest

from tests.conftest import ROOT


@pytest.fixture
def custom_schemas() -> Path:
    """Where npm has put the schemas of cert-manager and of the Prometheus operator."""
    folder = ROOT / ".tools" / "kubernetes-models"
    if not (folder / "node_modules").is_dir():
        told = f"the schemas of custom objects are not in {folder}; `make tools` installs them"
        if os.environ.get("KEYWEAVE_NO_SKIP"):
            pytest.fail(told)
        pytest.skip(told)
    return folder
