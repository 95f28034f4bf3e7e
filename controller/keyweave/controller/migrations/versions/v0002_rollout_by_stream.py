"""The rollout stream by stream, so that a write is as large as what changed.

Revision: 0002
"""

import json
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Take the one document apart: what paths are in use must survive the upgrade."""
    head = op.create_table(
        "rollout_head",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("snapshot_version", sa.BigInteger, nullable=False),
        sa.Column("epoch", sa.BigInteger, nullable=False),
    )
    streams = op.create_table(
        "stream_rollouts",
        sa.Column("stream", sa.String(63), primary_key=True),
        sa.Column("content", sa.Text, nullable=False),
    )
    content = op.get_bind().scalar(sa.text("SELECT content FROM rollout"))
    if content is not None:
        former = json.loads(content)
        plan = former["plan"]
        row = {"version": plan["version"], "snapshot_version": plan["snapshot_version"]}
        op.bulk_insert(head, [{"id": 1, "epoch": former.get("epoch", 0), **row}])
        op.bulk_insert(
            streams,
            [
                {"stream": one["stream"], "content": json.dumps(one)}
                for one in _by_stream(plan["streams"], former["retiring"], set(former["established"]))
            ],
        )
    op.drop_table("rollout")


def downgrade() -> None:
    """Forget the rollout: agents are asked what they run by."""
    op.drop_table("stream_rollouts")
    op.drop_table("rollout_head")
    op.create_table(
        "rollout",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("content", sa.Text, nullable=False),
    )


def _by_stream(
    plans: dict[str, Any], retiring: list[dict[str, Any]], established: set[str]
) -> list[dict[str, Any]]:
    leaving: dict[str, list[dict[str, Any]]] = {}
    for one in retiring:
        kept = {"path_set": one["path_set"], "may_be_held": one["may_be_held"]}
        leaving.setdefault(one["stream"], []).append(kept)
    found = []
    for name in sorted(plans.keys() | leaving.keys()):
        sets = [
            *(plans[name]["path_sets"] if name in plans else ()),
            *(r["path_set"] for r in leaving.get(name, ())),
        ]
        paths = {path["path_id"] for path_set in sets for path in path_set["paths"]}
        found.append(
            {
                "stream": name,
                "plan": plans.get(name),
                "retiring": leaving.get(name, []),
                "established": sorted(paths & established),
            }
        )
    return found
