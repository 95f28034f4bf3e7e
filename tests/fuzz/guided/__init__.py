"""Parsers of bytes from outside, fuzzed with coverage as the guide: `make fuzz`."""
