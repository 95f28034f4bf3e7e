"""Hostile input for every way into the three processes; `python -m tests.fuzz` for long runs."""
