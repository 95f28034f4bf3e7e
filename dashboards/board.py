"""What all dashboards share: variables, annotations from events and alerts, links to each other."""

from collections.abc import Sequence
from dataclasses import dataclass

from grafana_foundation_sdk.builders import dashboard as dashboards
from grafana_foundation_sdk.models.dashboard import (
    AnnotationQuery,
    DashboardCursorSync,
    DashboardLinkType,
    VariableOption,
    VariableRefresh,
    VariableSort,
)

from dashboards.look import ORANGE, PURPLE, VERMILION
from dashboards.panels import SOURCE, AnyPanel
from dashboards.queries import new_events
from dashboards.rule import RUNBOOKS

TAG = "keyweave"
# Grafana's number for this kind of query of a Prometheus variable.
LABEL_VALUES = 1


@dataclass(frozen=True, slots=True)
class Variable:
    """A choice at the top of a dashboard: a label, and the metric that has all its values."""

    name: str
    metric: str


LINKS = Variable("link", "keyweave_link_condition")
STREAMS = Variable("stream", "keyweave_stream_planned_rate_bps")
NODES = Variable("node", "keyweave_agent_connected")


@dataclass(frozen=True, slots=True)
class Row:
    """A heading with the panels below it."""

    title: str
    panels: Sequence[AnyPanel]


def board(
    uid: str,
    title: str,
    told: str,
    variables: Sequence[Variable],
    rows: Sequence[Row],
    *,
    since: str = "now-1h",
) -> dashboards.Dashboard:
    """A dashboard of Keyweave."""
    made = dashboards.Dashboard(f"Keyweave / {title}").uid(uid).description(told).tags([TAG])
    made = made.time(since, "now").refresh("10s").timezone("browser").editable()
    made = made.tooltip(DashboardCursorSync.CROSSHAIR)
    made.with_variable(dashboards.DatasourceVariable("datasource").label("Prometheus").type("prometheus"))
    for variable in variables:
        made.with_variable(_choice(variable))
    for name, expr, text, colour in _marks(variables):
        made.annotation(_annotation(name, expr, text, colour))
    made.link(
        dashboards.DashboardLink("Keyweave")
        .type(DashboardLinkType.DASHBOARDS)
        .tags([TAG])
        .as_dropdown(True)
        .include_vars(True)
        .keep_time(True)
    )
    made.link(
        dashboards.DashboardLink("Runbooks").type(DashboardLinkType.LINK).url(RUNBOOKS).target_blank(True)
    )
    for row in rows:
        made.with_row(dashboards.Row(row.title))
        for panel in row.panels:
            made.with_panel(panel)
    return made


def _choice(variable: Variable) -> dashboards.QueryVariable:
    asked = f"label_values({variable.metric}, {variable.name})"
    chosen = dashboards.QueryVariable(variable.name).label(variable.name.capitalize()).datasource(SOURCE)
    chosen = chosen.query({"qryType": LABEL_VALUES, "query": asked, "refId": "choices"}).refresh(
        VariableRefresh.ON_TIME_RANGE_CHANGED
    )
    chosen = chosen.sort(VariableSort.ALPHABETICAL_ASC).multi(True).include_all(True).all_value(".*")
    return chosen.current(VariableOption(selected=True, text="All", value="$__all"))


def _marks(variables: Sequence[Variable]) -> list[tuple[str, str, str, str]]:
    """Name, query, text and colour of each kind of annotation."""
    marks = [
        (
            "Alerts",
            'ALERTS{alertstate="firing",alertname=~"Keyweave.*"}',
            "{{alertname}} {{link}}{{stream}}{{node}}",
            VERMILION,
        ),
        ("Major events", new_events('severity="major"'), "{{kind}}", PURPLE),
    ]
    if LINKS in variables:
        now = 'keyweave_link_condition{link=~"$link"} == 1'
        became = f'({now}) unless (keyweave_link_condition{{link=~"$link"}} offset 1m == 1)'
        marks.append(("Conditions", became, "{{link}} is {{condition}}", ORANGE))
    if STREAMS in variables:
        moved = 'increase(keyweave_stream_failovers_total{stream=~"$stream"}[1m]) > 0'
        marks.append(("Failovers", moved, "{{stream}} moved", ORANGE))
    return marks


def _annotation(name: str, expr: str, text: str, colour: str) -> dashboards.AnnotationQuery:
    return _WordedBuilder(text).name(name).datasource(SOURCE).enable(True).icon_color(colour).expr(expr)


class _Worded(AnnotationQuery):
    """With what the Prometheus data source makes its text of, which the SDK's model does not know."""

    text = ""

    def to_json(self) -> dict[str, object]:
        return {**super().to_json(), "titleFormat": self.name, "textFormat": self.text, "step": "10s"}


class _WordedBuilder(dashboards.AnnotationQuery):
    def __init__(self, text: str) -> None:
        self._internal = _Worded()
        self._internal.text = text
