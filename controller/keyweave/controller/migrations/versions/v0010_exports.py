"""How far each receiver of events has come.

Revision: 0010
"""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "export_cursors",
        sa.Column("sink", sa.String(63), primary_key=True),
        sa.Column("event_id", sa.BigInteger, nullable=False),
    )


def downgrade() -> None:
    """Drop it."""
    op.drop_table("export_cursors")
