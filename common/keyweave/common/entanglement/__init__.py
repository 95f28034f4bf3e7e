"""Entangled pairs as both the planner and the emulated hardware reckon with them; no I/O."""
