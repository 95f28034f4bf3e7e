"""`keyweave plan what-if|capacity`: the routing of all streams, and what would become of it."""

from enum import StrEnum
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from keyweave.cli import forecasts, plan_history, supposed
from keyweave.cli.connection import CALL_TIMEOUT_SECONDS, Network, connected
from keyweave.cli.objects import KINDS, list_all
from keyweave.cli.output import Output, OutputOption, as_json, console, show, show_json
from keyweave.common.errors import InvalidInputError
from keyweave.v1 import admin_pb2

# Also written as options of `plan` itself: keyweave plan --what-if "cut LINK".
_AS_OPTIONS = ("--what-if", "--capacity")
_Seconds = Annotated[float, typer.Option("--timeout", help="Seconds to work at most.", min=1, max=600)]
_Planned = Annotated[
    int, typer.Option(help="Plan for at most so many, the most likely first; 0: as time allows.", min=0)
]


class Goal(StrEnum):
    """What counts first where capacity is looked for."""

    WORST_STREAM = "worst-stream"
    PROTECTED = "protected"
    TOTAL = "total"


_GOALS = {
    Goal.WORST_STREAM: admin_pb2.CAPACITY_GOAL_WORST_STREAM,
    Goal.PROTECTED: admin_pb2.CAPACITY_GOAL_PROTECTED,
    Goal.TOTAL: admin_pb2.CAPACITY_GOAL_TOTAL,
}


class PlanGroup(TyperGroup):
    """`plan --what-if X` is `plan what-if X`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read a leading option as the command of its name."""
        word, equals, value = args[0].partition("=") if args else ("", "", "")
        if word in _AS_OPTIONS:
            args = [word.removeprefix("--"), *([value] if equals else []), *args[1:]]
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=PlanGroup,
    no_args_is_help=True,
    help="The routing of all streams.\n\n"
    "`plan --what-if CHANGES` and `plan --capacity` do what the commands of these names do.",
)


async def what_if(
    network: Network,
    changes: Annotated[str | None, typer.Argument(help=f"Write {supposed.FORM}.")] = None,
    all_single: Annotated[
        bool, typer.Option("--all-single", help="Every link, risk group and node in turn.")
    ] = False,
    all_double: Annotated[bool, typer.Option("--all-double", help="Every pair of links in turn.")] = False,
    planned: _Planned = 0,
    count: Annotated[int, typer.Option(help="Show so many, the worst first.", min=1, max=10_000)] = 20,
    timeout: _Seconds = 300.0,  # noqa: ASYNC109  # an option
    output: OutputOption = Output.TABLE,
) -> None:
    """What failures or new links would do to the streams; nothing moves by asking."""
    if (changes is not None) + all_single + all_double != 1:
        raise InvalidInputError.of("what-if", f"takes one of: {supposed.FORM}; --all-single; --all-double")
    async with network.admin() as admin:
        if changes is None:
            failures = 2 if all_double else 1
            sweep = admin_pb2.FailureSweep(failures=failures, planned_at_most=planned, count=count)
            asked = admin_pb2.AnalysePlanRequest(sweep=sweep)
        else:
            nodes = {one.node.name for one in await list_all(admin, KINDS[0])}
            what = admin_pb2.WhatIf(changes=supposed.changes(changes, nodes))
            asked = admin_pb2.AnalysePlanRequest(what_if=what)
        answer = await admin.AnalysePlan(asked, timeout=timeout + CALL_TIMEOUT_SECONDS)
    if output is Output.JSON:
        show_json(as_json(answer))
    elif changes is None:
        show(forecasts.sweep_table(answer.outcomes))
        typer.echo(forecasts.coverage(answer, "pairs of links" if all_double else "failures"))
    else:
        for line in forecasts.outcome_lines(answer.outcomes[0]):
            # Whole, however narrow the terminal: this is what people copy from.
            console().print(line, soft_wrap=True)


async def capacity(
    network: Network,
    goal: Annotated[Goal, typer.Option(help="What counts first.")] = Goal.WORST_STREAM,
    rate: Annotated[
        str | None, typer.Option(help="What a link would carry more, like 20k; else as links of its length.")
    ] = None,
    max_km: Annotated[
        float,
        typer.Option(help="Leave out longer new links; 0: than any there is.", min=0, max=100_000),
    ] = 0.0,
    planned: Annotated[int, typer.Option(help="Plan for so many, the most promising.", min=1)] = 100,
    count: Annotated[int, typer.Option(help="Show so many, the best first.", min=1, max=10_000)] = 10,
    timeout: _Seconds = 300.0,  # noqa: ASYNC109  # an option
    output: OutputOption = Output.TABLE,
) -> None:
    """Where the next fibre helps most: new links between nodes, or more rate on present ones."""
    search = admin_pb2.CapacitySearch(
        goal=_GOALS[goal],
        rate_bps=supposed.rate_bps("--rate", rate) if rate else 0.0,
        max_length_km=max_km,
        planned_at_most=planned,
        count=count,
    )
    async with network.admin() as admin:
        asked = admin_pb2.AnalysePlanRequest(capacity=search)
        answer = await admin.AnalysePlan(asked, timeout=timeout + CALL_TIMEOUT_SECONDS)
    if output is Output.JSON:
        show_json(as_json(answer))
    else:
        show(forecasts.capacity_table(answer))
        if not answer.gains:
            typer.echo("nothing that was planned in full would help any stream")
        typer.echo(forecasts.coverage(answer, "links that could be built or widened"))


for _verb, _command in plan_history.COMMANDS.items():
    app.command(_verb)(connected(_command))
app.command("what-if")(connected(what_if))
app.command("capacity")(connected(capacity))
