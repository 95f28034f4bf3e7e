"""The agent: one per node, beside its quantum devices; holds the keys, serves the applications."""
