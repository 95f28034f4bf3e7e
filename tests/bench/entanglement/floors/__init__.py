"""Routing with a fidelity floor: Q-PATH, Q-LEAP and ours on the same networks and draws."""
