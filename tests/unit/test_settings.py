"""Configuration files: whatever is in one, it is read or refused by name."""

from pathlib import Path

import pytest

from keyweave.agent.guard.model import Guard
from keyweave.common import settings
from keyweave.common.errors import InvalidInputError


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"node: \xff", "is not UTF-8"),
        (b"node: " + b"[" * 5000, "nested too deeply"),
        (b"node: 2026-02-30", "cannot read"),
        (b"node: !!timestamp x", "cannot read"),
        (b"node: !!int ''", "cannot read"),
        (b"node: !!bool x", "cannot read"),
        (b"node: [", "is not YAML"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused_by_its_name(
    tmp_path: Path, content: bytes, reason: str
) -> None:
    path = tmp_path / "guard.yaml"
    path.write_bytes(content)
    with pytest.raises(InvalidInputError, match=reason) as refused:
        settings.load(path, Guard)
    assert refused.value.violations[0].field == str(path)
