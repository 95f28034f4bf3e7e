"""The wire, byte for byte: golden files that a change of the protocol must not break unnoticed."""
