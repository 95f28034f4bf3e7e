"""Maintenance windows and refresh schedules.

Revision: 0009
"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_KINDS = ("maintenances", "schedules")


def upgrade() -> None:
    """Create the tables."""
    for kind in _KINDS:
        op.create_table(
            kind,
            sa.Column("name", sa.String(63), primary_key=True),
            sa.Column("spec", sa.Text, nullable=False),
            sa.Column("revision", sa.BigInteger, nullable=False),
        )


def downgrade() -> None:
    """Drop them."""
    for kind in _KINDS:
        op.drop_table(kind)
