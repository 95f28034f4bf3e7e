"""docs/physics.md shows what the models give now."""

from pathlib import Path

from docs import check_values

PHYSICS = Path(__file__).resolve().parents[2] / "docs" / "physics.md"


def test_the_table_of_check_values_is_the_one_that_the_models_give() -> None:
    assert check_values.table() in PHYSICS.read_text(), "python -m docs.check_values prints the new table"
