"""What is suggested instead of a name that there is not."""

import pytest

from keyweave.common.near import instead_of


@pytest.mark.parametrize(
    ("name", "known", "words"),
    [
        ("amsterdm", ["amsterdam", "rotterdam"], "did you mean amsterdam?"),
        ("mars", ["amsterdam", "utrecht"], "there are amsterdam, utrecht"),
        ("x", ["a"], "there is a"),
        ("aa", ["a"], "there is a"),
        ("x", [], "there are none yet"),
    ],
)
def test_near_names_else_those_that_there_are(name: str, known: list[str], words: str) -> None:
    assert instead_of(name, known) == words


def test_of_many_names_some_are_told() -> None:
    told = instead_of("x", [f"node-{number:03}" for number in range(25)])
    assert told.startswith("there are node-000, ")
    assert told.endswith("node-019 and 5 more")
