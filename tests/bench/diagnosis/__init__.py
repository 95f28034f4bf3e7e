"""How well and how soon the estimator tells why a link got worse: seeded runs over the emulator's physics."""

from tests.bench.diagnosis.report import run

__all__ = ["run"]
