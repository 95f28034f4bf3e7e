"""Who leads, until when and where it is reached; how many writes there were.

Only adds, with defaults: a controller of the version before goes on writing meanwhile.

Revision: 0013
"""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns."""
    op.add_column("lease", sa.Column("address", sa.String(255), nullable=False, server_default=""))
    op.add_column("lease", sa.Column("expires_at", sa.Float, nullable=False, server_default="0"))
    op.add_column("lease", sa.Column("changes", sa.BigInteger, nullable=False, server_default="0"))


def downgrade() -> None:
    """Drop them."""
    with op.batch_alter_table("lease") as lease:
        for column in ("changes", "expires_at", "address"):
            lease.drop_column(column)
