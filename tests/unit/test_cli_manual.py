"""Every command has help, examples that it would take, a man page and its place in docs/cli.md."""

import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from keyweave.cli.exits import ExitCode
from keyweave.cli.main import main
from keyweave.cli.manual import examples, pages, tree
from keyweave.cli.manual.__main__ import with_reference
from keyweave.cli.manual.command import VARIABLE, write_pages
from keyweave.cli.words import command_line

ROOT = Path(__file__).parents[2]
APP = command_line()
COMMANDS = list(tree.walk(APP))
PROGRAM = typer.main.get_command(APP)
EXAMPLES = [line for path, lines in examples.examples().items() if len(path) == 1 for line in lines]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_a_command_says_what_it_is_for_and_what_each_option_does(command: tree.Command) -> None:
    assert command.summary
    assert [one.written for one in (*command.arguments, *command.options) if not one.help] == []
    if not command.commands:
        assert command.examples, "add one to cli/manual/examples.py"


@pytest.mark.parametrize("line", EXAMPLES)
def test_an_example_is_taken_by_its_command(line: str) -> None:
    program, *words = shlex.split(line, comments=True)
    assert program == tree.PROGRAM
    command: Any = PROGRAM
    name, parent = program, None
    while True:
        context = command.make_context(name, list(words), parent=parent)
        left = [*getattr(context, "_protected_args", ()), *context.args]
        if not getattr(command, "commands", None) or not left:
            break
        name, command, words = command.resolve_command(context, left)
        parent = context
    assert not left


def test_no_example_is_of_a_command_that_is_not_there() -> None:
    there = {one.path for one in COMMANDS}
    assert {tuple(shlex.split(line, comments=True)[1:2]) for line in EXAMPLES} <= there


def test_every_listing_can_be_had_as_json() -> None:
    lists = [one for one in COMMANDS if one.path[-1:] in (("list",), ("show",), ("status",), ("top",))]
    assert len(lists) > 10
    for one in lists:
        assert [
            option.written for option in one.options if option.written.startswith("-o, --output table|json")
        ]


def test_the_reference_in_the_docs_is_that_of_now() -> None:
    page = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    assert with_reference(page) == page, "run `make docs`, or python -m keyweave.cli.manual docs/cli.md"


def test_a_page_without_the_mark_is_left_alone() -> None:
    with pytest.raises(SystemExit):
        with_reference("# Nothing\n")


def test_help_ends_with_examples_line_by_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "what-if", "--help"]) == 0
    told = capsys.readouterr().out
    assert '  keyweave plan what-if "cut toshiba"' in told.split("Examples:")[1]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_help_has_each_example_once(command: tree.Command) -> None:
    assert len(set(command.examples)) == len(command.examples)


def test_the_help_of_plans_names_the_options_that_stand_for_commands(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["plan", "--help"]) == 0
    told = capsys.readouterr().out
    assert "plan --what-if CHANGES" in told
    assert "plan --capacity" in told


def test_a_process_waits_for_none_of_what_only_operators_use() -> None:
    script = (
        "import sys; from keyweave.cli.main import main; main(['emulator', '--help']); "
        "print({'networkx', 'highspy', 'scipy', 'aiohttp'} & set(sys.modules), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stderr == "set()\n"


def test_a_word_that_is_no_command_is_told_which_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["strean"]) == ExitCode.USAGE
    assert "strean" in capsys.readouterr().err


def test_a_man_page_has_its_sections_and_escapes_what_roff_would_read() -> None:
    command = tree.Command(
        path=("x",),
        summary=r"Take a \ and -o.",
        more=(".never a request",),
        arguments=(),
        options=(tree.Option("--file PATH", "Which.", "a-b", required=True),),
        finds_network=False,
        examples=("keyweave x  # so",),
    )
    page = pages.man(command, (), ()).splitlines()
    assert r"keyweave\-x \- Take a \e and \-o" in page
    assert r"\&.never a request" in page
    assert page[page.index(r"\fB\-\-file PATH\fR") + 1] == r"Which. [required, default a\-b]"
    assert [line for line in page if line.startswith(".SH")] == [
        f".SH {name}"
        for name in (
            "NAME",
            "SYNOPSIS",
            "DESCRIPTION",
            "OPTIONS",
            "EXIT STATUS",
            "ENVIRONMENT",
            "EXAMPLES",
            "SEE ALSO",
        )
    ]


def test_groff_finds_nothing_wrong_with_any_page(
    tmp_path: Path, outside_program: Callable[[str], str], capsys: pytest.CaptureFixture[str]
) -> None:
    groff = outside_program("groff")
    write_pages(APP, tmp_path)
    assert capsys.readouterr().out == f"{tmp_path}: {len(COMMANDS)} pages\n"
    files = sorted(tmp_path.glob("*.1"))
    assert len(files) == len(COMMANDS)
    for part in _parts(files, 50):
        done = subprocess.run(
            [groff, "-man", "-ww", "-Tutf8", "-z", *map(str, part)],
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stderr == ""


def _parts(files: list[Path], size: int) -> Iterator[list[Path]]:
    for start in range(0, len(files), size):
        yield files[start : start + size]


def test_man_says_when_there_is_no_such_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["man", "plan", "what-iff"]) == 1
    assert "there is no command 'plan what-iff'; did you mean plan what-if" in capsys.readouterr().err
    assert main(["man", "plan", "--write", "/tmp/x"]) == 1
    assert "--write" in capsys.readouterr().err


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_gets_a_script_that_asks_this_program(
    shell: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert f"{VARIABLE}=complete_{shell}" in script
    assert "keyweave" in script


def test_bash_is_told_commands_and_options(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(VARIABLE, "complete_bash")
    for words, number, expected in (
        ("keyweave pla", 1, ["plan"]),
        ("keyweave plan what-if --all", 3, ["--all-single", "--all-double"]),
        ("keyweave link dis", 2, ["disable"]),
    ):
        monkeypatch.setenv("COMP_WORDS", words)
        monkeypatch.setenv("COMP_CWORD", str(number))
        with pytest.raises(SystemExit):
            main([])
        assert capsys.readouterr().out.split() == expected
