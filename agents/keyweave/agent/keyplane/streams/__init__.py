"""Making keys end to end: relayed shares, ML-KEM, the combiner, confirmation."""
