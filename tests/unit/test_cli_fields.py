"""Options made of protobuf fields: nothing is lost on the way from the command line to the message."""

from typing import Any, get_args

import pytest

from keyweave.cli import fields
from keyweave.cli.main import main
from keyweave.v1 import emulator_pb2, types_pb2

KINDS = (types_pb2.Node, types_pb2.Link, types_pb2.Stream)


@pytest.mark.parametrize("kind", KINDS)
def test_every_field_that_an_operator_sets_is_an_option(kind: Any) -> None:
    names = {parameter.name for parameter in fields.options(kind)}
    assert names == {field.name for field in kind.DESCRIPTOR.fields} - {"name", "revision", "etag"}


@pytest.mark.parametrize("kind", KINDS)
def test_a_value_given_for_any_option_arrives_in_its_field(kind: Any) -> None:
    for parameter in fields.options(kind):
        python_type = get_args(get_args(parameter.annotation)[0])[0]
        value = {bool: True, int: 3, float: 0.25, str: "x", list[str]: ["x", "y"]}.get(python_type)
        expected = value
        if value is None:
            value = list(python_type)[-1]
            expected = kind.DESCRIPTOR.fields_by_name[parameter.name].enum_type.values[-1].number
        built = fields.message(kind, "it", {parameter.name: value})
        assert getattr(built, parameter.name) == expected
        assert {field.name for field, _ in built.ListFields()} == {"name", parameter.name}


def test_what_was_not_given_is_not_in_the_mask() -> None:
    given = {"priority": 0, "require_qkd": False, "tenant": None, "avoid_nodes": None}
    assert fields.named(given) == ["priority", "require_qkd"]


@pytest.mark.parametrize(
    ("descriptor", "number", "word"),
    [
        (types_pb2.LinkTechnology.DESCRIPTOR, types_pb2.LINK_TECHNOLOGY_DV_QKD_2WS, "dv-qkd-2ws"),
        (types_pb2.OnExhaustion.DESCRIPTOR, types_pb2.ON_EXHAUSTION_WAIT, "wait"),
        (types_pb2.LinkCondition.DESCRIPTOR, types_pb2.LINK_CONDITION_SUSPECT, "suspect"),
        (emulator_pb2.FaultKind.DESCRIPTOR, emulator_pb2.FAULT_KIND_CUT, "cut"),
        (emulator_pb2.FaultKind.DESCRIPTOR, 99, "99"),
    ],
)
def test_enum_values_are_written_as_words(descriptor: Any, number: int, word: str) -> None:
    assert fields.enum_word(descriptor, number) == word


@pytest.mark.parametrize("word", ["node", "link", "stream"])
def test_the_help_names_every_option_in_full_on_a_narrow_terminal(
    word: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert main([word, "create", "--help"]) == 0
    shown = capsys.readouterr().out
    kind = {"node": types_pb2.Node, "link": types_pb2.Link, "stream": types_pb2.Stream}[word]
    for parameter in fields.options(kind):
        assert f"--{parameter.name.replace('_', '-')} " in shown


def test_a_word_that_an_option_does_not_know_is_refused_with_those_it_knows(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["stream", "list", "-o", "xml"]) == 2
    assert (
        capsys.readouterr().err
        == "error: Invalid value for '-o' / '--output': 'xml' is not one of 'table', 'json'.\n"
    )
