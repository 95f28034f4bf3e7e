"""The first word of every command, and the modules that know the rest.

A command imports what it needs when it is called: a process of a network, or a shell that completes a word,
does not wait for maps, reports and certificates.
"""
# ruff: noqa: PLC0415

from collections.abc import Awaitable, Callable, Collection, Mapping

import typer


def _up(app: typer.Typer) -> None:
    from keyweave.cli.up import command

    app.command("up")(command.command)


def _status(app: typer.Typer) -> None:
    from keyweave.cli.connection import connected
    from keyweave.cli.status import status

    app.command("status")(connected(status))


def _top(app: typer.Typer) -> None:
    from keyweave.cli import top
    from keyweave.cli.connection import connected

    app.command("top")(connected(top.top))


def _controller(app: typer.Typer) -> None:
    from keyweave.cli import processes

    app.add_typer(processes.controller_app, name="controller")


def _agent(app: typer.Typer) -> None:
    from keyweave.cli import processes

    app.add_typer(processes.agent_app, name="agent")


def _emulator(app: typer.Typer) -> None:
    from keyweave.cli import processes

    app.command("emulator")(processes.emulator)


def _health(app: typer.Typer) -> None:
    from keyweave.cli.health import health

    app.command("health")(health)


def _check_config(app: typer.Typer) -> None:
    from keyweave.cli.check_config import check_config

    app.command("check-config")(check_config)


def _report(app: typer.Typer) -> None:
    from keyweave.cli.connection import connected
    from keyweave.cli.report import command

    app.command("report")(connected(command.report))


def _driver(app: typer.Typer) -> None:
    from keyweave.cli import drivers

    app.add_typer(drivers.driver_app, name="driver")


def _guard(app: typer.Typer) -> None:
    from keyweave.cli import guards

    app.add_typer(guards.guard_app, name="guard")


def _pki(app: typer.Typer) -> None:
    from keyweave.cli import pki

    app.add_typer(pki.app, name="pki")


def _node(app: typer.Typer) -> None:
    from keyweave.cli import orders

    _of_kind(app, "node", {"drain": orders.drain, "undrain": orders.undrain, "zeroize": orders.zeroize})


def _link(app: typer.Typer) -> None:
    from keyweave.cli import orders

    more: Mapping[str, Callable[..., Awaitable[None]]] = {
        "disable": orders.disable,
        "enable": orders.enable,
        "clear": orders.clear,
        "destroy": orders.destroy,
        "calibrate": orders.calibrate,
    }
    _of_kind(app, "link", more)


def _stream(app: typer.Typer) -> None:
    from keyweave.cli import network, provenance

    _of_kind(app, "stream", {"explain": network.explain, "provenance": provenance.provenance})


def _pair_stream(app: typer.Typer) -> None:
    from keyweave.cli import pairs

    app.add_typer(pairs.app, name="pair-stream")


def _pair_link(app: typer.Typer) -> None:
    from keyweave.cli import pairs

    app.add_typer(pairs.links_app, name="pair-link")


def _ledger(app: typer.Typer) -> None:
    from keyweave.cli import ledger
    from keyweave.cli.connection import connected

    _group(app, "ledger", "What became of keys.").command("show")(connected(ledger.show))


def _plan(app: typer.Typer) -> None:
    from keyweave.cli import plans

    app.add_typer(plans.app, name="plan")


def _policy(app: typer.Typer) -> None:
    from keyweave.cli import policies

    app.add_typer(policies.app, name="policy")


def _maintenance(app: typer.Typer) -> None:
    from keyweave.cli import maintenance

    app.add_typer(maintenance.app, name="maintenance")


def _schedule(app: typer.Typer) -> None:
    from keyweave.cli import schedules

    app.add_typer(schedules.app, name="schedule")


def _audit(app: typer.Typer) -> None:
    from keyweave.cli import audit
    from keyweave.cli.connection import connected

    summary = "Who changed what, which policies went out, what protected keys: a chained log."
    group = _group(app, "audit", summary)
    group.command("list")(connected(audit.show))
    group.command("verify")(connected(audit.verify))
    group.command("export")(connected(audit.export))


def _event(app: typer.Typer) -> None:
    from keyweave.cli import network
    from keyweave.cli.connection import connected

    group = _group(app, "event", "What happened.")
    group.command("list")(connected(network.event_list))
    group.command("watch")(connected(network.event_watch))


def _fault(app: typer.Typer) -> None:
    from keyweave.cli import faults

    app.add_typer(faults.app, name="fault")


def _scenario(app: typer.Typer) -> None:
    from keyweave.cli import scenario

    app.add_typer(scenario.app, name="scenario")


def _man(app: typer.Typer) -> None:
    from keyweave.cli.manual import command

    app.command("man")(command.man(command_line))


def _completion(app: typer.Typer) -> None:
    from keyweave.cli.manual import command

    app.command("completion")(command.completion)


# In the order of help.
WORDS: Mapping[str, Callable[[typer.Typer], None]] = {
    "up": _up,
    "status": _status,
    "top": _top,
    "controller": _controller,
    "agent": _agent,
    "emulator": _emulator,
    "health": _health,
    "check-config": _check_config,
    "report": _report,
    "driver": _driver,
    "guard": _guard,
    "pki": _pki,
    "node": _node,
    "link": _link,
    "stream": _stream,
    "pair-stream": _pair_stream,
    "pair-link": _pair_link,
    "ledger": _ledger,
    "plan": _plan,
    "policy": _policy,
    "maintenance": _maintenance,
    "schedule": _schedule,
    "audit": _audit,
    "event": _event,
    "fault": _fault,
    "scenario": _scenario,
    "man": _man,
    "completion": _completion,
}


def command_line(words: Collection[str] = tuple(WORDS)) -> typer.Typer:
    """The command line, as far as it begins with one of `words`."""
    app = typer.Typer(
        name="keyweave",
        help="A software-defined network of quantum links: start it, see it, break it, watch it heal.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        # Its boxes cut off the names of options on a terminal of 80 columns.
        rich_markup_mode=None,
    )
    # Without one, typer takes an only command to be the program itself.
    app.callback()(lambda: None)
    for word in words:
        WORDS[word](app)
    from keyweave.cli.manual.command import add_examples

    add_examples(app)
    return app


def _group(app: typer.Typer, name: str, summary: str) -> typer.Typer:
    group = typer.Typer(no_args_is_help=True, help=summary)
    app.add_typer(group, name=name)
    return group


def _of_kind(app: typer.Typer, word: str, more: Mapping[str, Callable[..., Awaitable[None]]]) -> None:
    from keyweave.cli import objects
    from keyweave.cli.connection import connected

    kind = next(kind for kind in objects.KINDS if kind.word == word)
    commands = objects.commands(kind)
    app.add_typer(commands, name=word)
    for verb, command in more.items():
        commands.command(verb)(connected(command))
