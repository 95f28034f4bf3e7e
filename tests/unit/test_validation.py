"""What operators are told of fields that break the rules of the .proto files."""

import pytest

from keyweave.common.validation import violations
from keyweave.v1 import types_pb2


def said(**given: object) -> dict[str, str]:
    fields = {"name": "l", "a_node": "a", "b_node": "b"} | given
    link = types_pb2.Link(technology=types_pb2.LINK_TECHNOLOGY_DV_QKD, **fields)  # type: ignore[arg-type]
    return {violation.field: violation.description for violation in violations(link)}


def test_a_link_that_keeps_the_rules_has_nothing_said_of_it() -> None:
    assert said() == {}


@pytest.mark.parametrize("field", ["name", "a_node", "b_node"])
def test_a_name_that_was_left_out_is_missing(field: str) -> None:
    assert said(**{field: ""}) == {field: "is missing"}


def test_a_bad_name_is_told_what_names_are_made_of() -> None:
    rule = "lower-case letters, digits and hyphens, at most 63, not starting with a hyphen"
    assert said(name="Link_1") == {"name": f"'Link_1' is no name: {rule}"}


def test_other_rules_are_told_in_their_own_words() -> None:
    (text,) = said(abort_qber_ratio=2.0).values()
    assert "less than or equal to 0.5" in text
