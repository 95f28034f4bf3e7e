"""Man pages (man(7) macros) and the reference of docs/cli.md, from the same values."""

import re
from collections.abc import Iterable, Iterator, Sequence

from keyweave.cli.manual.tree import PROGRAM, Command, Option

_DEGRADED = (
    "Degraded: `status` or `health` found something wrong, a guard forbids some of a policy, a criterion of "
    "a report is not met, a certificate ends soon, an answer (as of `ledger show`) is not whole."
)
_STATE_DIR = (
    "State directory of `keyweave up`, by which commands find its network; --state-dir goes before it, "
    "./.keyweave after."
)
EXIT_CODES = (
    ("0", "All went well; the network is well where that was asked."),
    ("1", "Refused or failed: one line on standard error for each thing that is wrong."),
    ("2", "Wrongly called, or `check-config` found something wrong."),
    ("3", _DEGRADED),
    ("4", "Timed out: `status --wait`, or a call that the controller did not answer in time."),
    ("5", "Unreachable: no network in the state directory, or nobody lets us in; the line says why."),
)
ENVIRONMENT = (
    ("KEYWEAVE_STATE_DIR", _STATE_DIR),
    ("KEYWEAVE_HEALTH_ADDRESS", "What `keyweave health` asks."),
    ("KEYWEAVE_COMPLETION_SECONDS", "How long a shell waits for names to complete; 1 if not given."),
    ("NO_COLOR", "Set to anything: no colours."),
)
BEGIN = "<!-- From here on written by `make docs`. -->"


def man(command: Command, finding: Sequence[Option], others: Iterable[Command]) -> str:
    """One man page. `others` are the commands of a group."""
    title = "-".join((PROGRAM, *command.path))
    lines = [
        f'.TH {_quoted(title.upper())} 1 "" "Keyweave" "Keyweave"',
        ".SH NAME",
        f"{_escaped(title)} \\- {_escaped(command.summary.rstrip('.'))}",
        ".SH SYNOPSIS",
        f".B {_escaped(command.name)}",
        _escaped(_synopsis(command)),
        ".SH DESCRIPTION",
        _escaped(command.summary),
    ]
    for paragraph in command.more:
        lines += [".PP", _escaped(paragraph)]
    inner = [one for one in others if one.path[:-1] == command.path and one.path]
    lines += _section("COMMANDS", [(" ".join(one.path), one.summary) for one in inner])
    lines += _section("ARGUMENTS", [(one.written, _told(one)) for one in command.arguments])
    lines += _section("OPTIONS", [(one.written, _told(one)) for one in command.options])
    if command.finds_network:
        lines += _section("WHICH NETWORK", [(one.written, _told(one)) for one in finding])
    lines += _section("EXIT STATUS", EXIT_CODES)
    lines += _section("ENVIRONMENT", ENVIRONMENT)
    if command.examples:
        lines.append(".SH EXAMPLES")
        for example in command.examples:
            call, note = _parted(example)
            lines += [".PP", *([_escaped(f"{note[0].upper()}{note[1:]}:")] if note else [])]
            lines += [".nf", ".RS", _escaped(call), ".RE", ".fi"]
    parents = ["-".join((PROGRAM, *command.path[:-1]))] if command.path else []
    related = [*parents, *("-".join((PROGRAM, *one.path)) for one in inner)]
    if related:
        lines += [".SH SEE ALSO", ", ".join(f"\\fB{_escaped(name)}\\fR(1)" for name in related)]
    return "\n".join(lines) + "\n"


def reference(commands: Sequence[Command], finding: Sequence[Option]) -> str:
    """The reference of every command in Markdown."""
    parts = [BEGIN, "", "## Exit codes", "", *_table("code", EXIT_CODES), "## Environment", ""]
    parts += _table("variable", [(f"`{name}`", text) for name, text in ENVIRONMENT])
    parts += ["## Options that say which network", "", "Every command that asks a network takes these."]
    parts += ["", *_options(finding), "## Commands", ""]
    for command in commands:
        if not command.path:
            continue
        parts += [f"{'###' if len(command.path) == 1 else '####'} {command.name}", "", command.summary]
        for paragraph in command.more:
            parts += ["", paragraph]
        if not command.commands:
            parts += ["", "```", f"{command.name} {_synopsis(command)}".strip(), "```"]
        given = [*command.arguments, *command.options]
        parts += ["", *_options(given)] if given else [""]
        if command.examples:
            parts += ["```sh", *command.examples, "```", ""]
    return "\n".join(parts).rstrip() + "\n"


def _synopsis(command: Command) -> str:
    optional = [] if not command.options and not command.finds_network else ["[OPTIONS]"]
    required = [one.written for one in command.options if one.required]
    arguments = [one.written if one.required else f"[{one.written}]" for one in command.arguments]
    # A group with options does something by itself.
    below = ["COMMAND ..."] if command.commands and not command.options else []
    return " ".join([*required, *optional, *arguments, *below])


def _told(option: Option) -> str:
    default = f"default {option.default}" if option.default else ""
    notes = ", ".join(filter(None, ["required" if option.required else "", default]))
    return " ".join(filter(None, [option.help, f"[{notes}]" if notes else ""]))


def _parted(example: str) -> tuple[str, str]:
    call, _, note = example.partition("  # ")
    return call, note


def _section(title: str, items: Iterable[tuple[str, str]]) -> Iterator[str]:
    for number, (term, text) in enumerate(items):
        if not number:
            yield f".SH {title}"
        yield from (".TP", f"\\fB{_escaped(term)}\\fR", _escaped(text.replace("`", "")))


def _escaped(text: str) -> str:
    """For roff: backslashes, hyphens that are to be copied, and what would be a request at a line's start."""
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return re.sub(r"^([.'])", r"\\&\1", text)


def _quoted(text: str) -> str:
    return f'"{text}"'


def _table(heading: str, rows: Iterable[tuple[str, str]]) -> list[str]:
    return [f"| {heading} | |", "|---|---|", *(f"| {one} | {text} |" for one, text in rows), ""]


def _options(options: Sequence[Option]) -> list[str]:
    rows = [(f"`{_cell(one.written)}`", _cell(_told(one))) for one in options]
    return ["| | |", "|---|---|", *(f"| {written} | {text} |" for written, text in rows), ""]


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
