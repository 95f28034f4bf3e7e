"""Stands in for the optical plane: telemetry, key blocks and faults of every link of a scenario."""
