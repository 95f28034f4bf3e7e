"""Entanglement routing beside the published algorithms, on the same topologies, pairs and draws."""
