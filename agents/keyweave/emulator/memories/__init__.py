"""Quantum memories of emulated nodes, the pairs they share, and the links over which those come about."""
