"""`keyweave check-config`: what a process would say of its configuration, without starting it.

The readers are those of the processes. Then comes what these would trip over next: files that are not there,
keys that are not their certificate's, a guard of another node, drivers' settings. Nothing is written or sent.
"""

import asyncio
import sys
from collections.abc import Callable, Iterator, Mapping
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
import yaml
from pydantic import BaseModel

from keyweave.cli.exits import ExitCode, one_line
from keyweave.cli.output import Output, OutputOption, show_json
from keyweave.common import log, settings
from keyweave.common.errors import InvalidInputError, KeyweaveError, Violation
from keyweave.common.tls import CredentialFiles, Material, SigningFiles

if TYPE_CHECKING:  # other commands start faster without these
    from keyweave.agent.config import AgentConfig


class Kind(StrEnum):
    """What a file configures."""

    CONTROLLER = "controller"
    AGENT = "agent"
    GUARD = "guard"
    EMULATOR = "emulator"
    SCENARIO = "scenario"
    CRITERIA = "criteria"


def check_config(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Configuration files (YAML).")],
    kind: Annotated[
        Kind | None, typer.Option(help="What the files are of; else it is seen from their fields.")
    ] = None,
    output: OutputOption = Output.TABLE,
) -> int:
    """Check configurations of controller, agents, guards, emulator, and scenarios, and criteria of reports.

    Changes nothing. Exits with 0 if all are good, 2 if not: one line on stderr for each thing that is
    wrong, with its file, line and field.
    """
    log.configure(process="check-config", level="error", json=False)
    told: list[dict[str, Any]] = []
    for file in files:
        seen, wrong = _check(file, kind)
        lines = [one_line(str(one)) for one in wrong]
        told.append({"file": str(file), "kind": seen, "good": not wrong, "wrong": lines})
        if output is Output.TABLE:
            for line in lines:
                sys.stderr.write(f"error: {line}\n")
            if not wrong:
                typer.echo(f"{file}: good: {seen}")
    if output is Output.JSON:
        show_json({"files": told})
    return ExitCode.OK if all(one["good"] for one in told) else ExitCode.USAGE


def _check(file: Path, kind: Kind | None) -> tuple[str, tuple[Violation, ...]]:
    try:
        found = kind or kind_of(file)
        config = settings.load(file, _model(found))
        wrong = tuple(_beyond(found, config, file))
    except InvalidInputError as error:
        return kind or "unknown", error.violations
    return found, wrong


def kind_of(file: Path) -> Kind:
    """Whose configuration a file is, by its fields; InvalidInputError where it could be anybody's."""
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise InvalidInputError.of(str(file), f"cannot be read: {error.strerror}") from None
    except (yaml.YAMLError, *settings.UNREADABLE, RecursionError):
        # Read again, for the words of it: what it is does not matter then.
        return Kind.CONTROLLER
    names = {str(name) for name in content} if isinstance(content, dict) else set()

    def fit(kind: Kind) -> int:
        fields = {field.alias or name: field for name, field in _model(kind).model_fields.items()}
        required = sum(field.is_required() and name in names for name, field in fields.items())
        return len(names & fields.keys()) + required - len(names - fields.keys())

    ordered = sorted(Kind, key=fit, reverse=True)
    if not names or fit(ordered[0]) <= 0 or fit(ordered[0]) == fit(ordered[1]):
        kinds = ", ".join(Kind)
        raise InvalidInputError.of(str(file), f"nothing says whose configuration it is; add --kind: {kinds}")
    return ordered[0]


def _model(kind: Kind) -> type[BaseModel]:
    from keyweave.agent.config import AgentConfig  # noqa: PLC0415  # other commands start faster without these
    from keyweave.agent.guard.model import Guard  # noqa: PLC0415
    from keyweave.cli.report.criteria import Criteria  # noqa: PLC0415
    from keyweave.controller.config import ControllerConfig  # noqa: PLC0415
    from keyweave.emulator.config import EmulatorConfig  # noqa: PLC0415
    from keyweave.emulator.scenario import Scenario  # noqa: PLC0415

    models: Mapping[Kind, type[BaseModel]] = {
        Kind.CONTROLLER: ControllerConfig,
        Kind.AGENT: AgentConfig,
        Kind.GUARD: Guard,
        Kind.EMULATOR: EmulatorConfig,
        Kind.SCENARIO: Scenario,
        Kind.CRITERIA: Criteria,
    }
    return models[kind]


def _beyond(kind: Kind, config: Any, file: Path) -> Iterator[Violation]:
    """What is wrong although every field is as it should be."""
    yield from _credentials(config, file, ())
    if kind is Kind.AGENT:
        yield from _guard(config, file)
        yield from asyncio.run(_drivers(config, file))
    if kind is Kind.EMULATOR:
        from keyweave.emulator.scenario import load_scenario  # noqa: PLC0415

        yield from _said(lambda: load_scenario(config.scenario), file, ("scenario",))


def _credentials(value: Any, file: Path, location: tuple[str, ...]) -> Iterator[Violation]:
    if isinstance(value, CredentialFiles):
        lacking = [
            (field, path)
            for field, path in zip(("certificate", "private_key", "trust_anchor"), value.paths, strict=True)
            if not path.is_file()
        ]
        for field, path in lacking:
            yield _at(file, (*location, field), f"there is no file {path}")
        # OpenSSL reads no signing keys of enrolment; whoever signs with them does.
        if not lacking and not isinstance(value, SigningFiles):
            yield from _said(lambda: Material.read(value), file, location)
    elif isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from _credentials(getattr(value, name), file, (*location, name))


def _guard(config: "AgentConfig", file: Path) -> Iterator[Violation]:
    from keyweave.agent.guard.model import Guard  # noqa: PLC0415  # as above

    try:
        guard = settings.load(config.guard, Guard)
    except InvalidInputError as error:
        yield from error.violations
        return
    if guard.node != config.node:
        yield _at(file, ("guard",), f"{config.guard} is of node '{guard.node}', not of '{config.node}'")


async def _drivers(config: "AgentConfig", file: Path) -> list[Violation]:
    """Drivers are made as the agent makes them, which reads their settings and files, and closed at once."""
    from keyweave.agent.drivers import base  # noqa: PLC0415  # as above
    from keyweave.common.names import NodeName  # noqa: PLC0415

    wrong: list[Violation] = []
    for index, section in enumerate(config.drivers):
        try:
            driver = base.load(section.driver)(section.settings, NodeName(config.node))
        except InvalidInputError as error:
            for one in error.violations:
                place: tuple[int | str, ...] = ("drivers", index, *one.field.split("."))
                wrong.append(_at(file, place, one.description))
        else:
            await driver.close()
    return wrong


def _said(read: Callable[[], object], file: Path, location: tuple[str, ...]) -> Iterator[Violation]:
    """What a reader of something that the file names complains of."""
    try:
        read()
    except InvalidInputError as error:
        for one in error.violations:
            yield _at(file, location, str(one))
    except (OSError, KeyweaveError) as error:
        yield _at(file, location, str(error))


def _at(file: Path, location: tuple[int | str, ...], description: str) -> Violation:
    return settings.located(file, location, description)
