"""What came of writes that carried a request ID, so that one that is sent again is answered and not repeated.

An answer is kept in the transaction of the write itself: after a crash there are both or neither.
"""

from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from keyweave.controller.store_schema import metadata

ANSWERS_KEPT_SECONDS = 24 * 3600.0
# Beyond that the oldest are forgotten before their time.
ANSWERS_KEPT = 20_000

_answers = sa.Table(
    "answers",
    metadata,
    # Of each caller its own: nobody can ask for what another one was answered.
    sa.Column("caller", sa.String(255), primary_key=True),
    sa.Column("request_id", sa.String(36), primary_key=True),
    sa.Column("digest", sa.LargeBinary, nullable=False),
    sa.Column("answer", sa.LargeBinary, nullable=False),
    sa.Column("answered_at", sa.Float, nullable=False, index=True),
)


@dataclass(frozen=True, slots=True)
class KeptAnswer:
    """The answer to one request; the digest is that of what was asked."""

    caller: str
    request_id: str
    digest: bytes
    answer: bytes


async def keep_answer(connection: AsyncConnection, kept: KeptAnswer, now: float) -> None:
    """Keep an answer and forget those whose time is over; `now` in Unix seconds."""
    await connection.execute(sa.delete(_answers).where(_answers.c.answered_at < now - ANSWERS_KEPT_SECONDS))
    # In turn with every other write: nobody has added one in between.
    row = {"digest": kept.digest, "answer": kept.answer, "answered_at": now}
    await connection.execute(
        sa.insert(_answers).values(caller=kept.caller, request_id=kept.request_id, **row)
    )
    newest = sa.select(_answers.c.answered_at).order_by(_answers.c.answered_at.desc())
    oldest_kept = await connection.scalar(newest.offset(ANSWERS_KEPT - 1).limit(1))
    if oldest_kept is not None:
        await connection.execute(sa.delete(_answers).where(_answers.c.answered_at < oldest_kept))


async def kept_answer(
    connection: AsyncConnection, caller: str, request_id: str, now: float
) -> KeptAnswer | None:
    """What this request was answered, if it was made and its time is not over."""
    found = await connection.execute(
        sa.select(_answers.c.digest, _answers.c.answer).where(
            _answers.c.caller == caller,
            _answers.c.request_id == request_id,
            _answers.c.answered_at >= now - ANSWERS_KEPT_SECONDS,
        )
    )
    row = found.one_or_none()
    return None if row is None else KeptAnswer(caller, request_id, row.digest, row.answer)
