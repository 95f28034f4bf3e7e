"""A whole network of real processes, broken while clients fetch keys at both ends."""
