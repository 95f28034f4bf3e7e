"""How the audit log is kept: `audit` in the controller's configuration."""

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field


class AuditConfig(BaseModel):
    """How the audit log is kept."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    # Its head is told outside after so many new entries, and so often while there are any.
    anchor_entries: Annotated[int, Field(ge=1, le=1_000_000)] = 100
    anchor_seconds: Annotated[float, Field(gt=0, le=86400)] = 60.0
    # Entries in the database; older ones go to files in `archive`.
    keep_entries: Annotated[int, Field(ge=10, le=100_000_000)] = 1_000_000
    # Empty takes <state_dir>/audit.
    archive: Path | None = None
