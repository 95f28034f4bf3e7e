"""Guards for tests that are about something else."""

from collections.abc import Iterable
from pathlib import Path

import yaml

from keyweave.agent.guard.model import Guard, TransitGuard


def open_guard(node: str, nodes: Iterable[str]) -> Guard:
    """A guard that lets a controller do what it likes with these nodes."""
    others = tuple(sorted(set(nodes)))
    return Guard(
        node=node,
        peers=others,
        qber_ceiling_ratio=0.5,
        other_saes="allow",
        transit=TransitGuard(for_nodes=others, max_bps=10**12),
        accept_emulated=True,
        may_clear_quarantine=True,
    )


def write(guard: Guard, path: Path) -> Path:
    """Put a guard into a file, as its owner would."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(guard.model_dump(mode="json")), encoding="utf-8")
    return path
