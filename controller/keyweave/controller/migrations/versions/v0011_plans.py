"""Plans that were in force, and what is pinned to one of them.

Revision: 0011
"""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "plans",
        sa.Column("version", sa.BigInteger, primary_key=True),
        sa.Column("kept_at", sa.Float, nullable=False),
        sa.Column("streams", sa.Integer, nullable=False),
        sa.Column("moved_count", sa.Integer, nullable=False),
        sa.Column("moved", sa.Text, nullable=False),
        sa.Column("content", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "pins",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("content", sa.LargeBinary, nullable=False),
    )


def downgrade() -> None:
    """Drop them."""
    op.drop_table("pins")
    op.drop_table("plans")
