"""Confirmed keys: waiting for their SAEs, made into other sizes, handed over once."""
