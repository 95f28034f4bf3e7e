"""The key plane: everything in an agent that touches key material."""
