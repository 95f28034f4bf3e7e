"""Intent, the rollout, events and the lease.

Revision: 0001
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create everything."""
    for table in ("nodes", "links", "streams"):
        op.create_table(
            table,
            sa.Column("name", sa.String(63), primary_key=True),
            sa.Column("spec", sa.Text, nullable=False),
            sa.Column("revision", sa.BigInteger, nullable=False),
        )
    op.create_table(
        "rollout",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("content", sa.Text, nullable=False),
    )
    op.create_table(
        "events",
        # SQLite: only INTEGER PRIMARY KEY is the row's own key.
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer, "sqlite"),
            primary_key=True,
            autoincrement=False,
        ),
        sa.Column("content", sa.Text, nullable=False),
    )
    lease = op.create_table(
        "lease",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("epoch", sa.BigInteger, nullable=False),
        sa.Column("holder", sa.String(255), nullable=False),
        sa.Column("taken_at", sa.Float, nullable=False),
    )
    op.bulk_insert(lease, [{"id": 1, "epoch": 0, "holder": "", "taken_at": 0.0}])


def downgrade() -> None:
    """Drop everything."""
    for table in ("lease", "events", "rollout", "streams", "links", "nodes"):
        op.drop_table(table)
