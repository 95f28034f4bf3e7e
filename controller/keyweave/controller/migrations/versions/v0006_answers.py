"""Answers to writes that carried a request ID; at which event each epoch began.

Revision: 0006
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables. Events so far may be of any epoch until now."""
    op.create_table(
        "answers",
        sa.Column("caller", sa.String(255), primary_key=True),
        sa.Column("request_id", sa.String(36), primary_key=True),
        sa.Column("digest", sa.LargeBinary, nullable=False),
        sa.Column("answer", sa.LargeBinary, nullable=False),
        sa.Column("answered_at", sa.Float, nullable=False),
    )
    op.create_index("ix_answers_answered_at", "answers", ["answered_at"])
    op.create_table(
        "epoch_starts",
        sa.Column("epoch", sa.BigInteger, primary_key=True),
        sa.Column("first_event_id", sa.BigInteger, nullable=False),
    )


def downgrade() -> None:
    """Drop them."""
    op.drop_table("epoch_starts")
    op.drop_table("answers")
