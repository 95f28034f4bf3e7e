"""Runs migrations on the connection that the store hands over (`config.attributes`)."""

from alembic import context

context.configure(
    connection=context.config.attributes["connection"],
    # SQLite can roll a schema change back, so a crash halfway leaves the old schema whole.
    transactional_ddl=True,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
