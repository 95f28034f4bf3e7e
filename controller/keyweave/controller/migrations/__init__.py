"""Alembic's home: every change of the store's schema, in order, run by the controller as it starts."""
