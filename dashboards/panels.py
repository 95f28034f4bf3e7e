"""The kinds of panel that the dashboards are made of. Nothing here knows what is measured."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from grafana_foundation_sdk.builders import (
    bargauge,
    geomap,
    heatmap,
    prometheus,
    stat,
    statetimeline,
    table,
    timeseries,
)
from grafana_foundation_sdk.builders import (
    common as common_builders,
)
from grafana_foundation_sdk.builders import (
    dashboard as dashboards,
)
from grafana_foundation_sdk.builders import text as text_builders
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models import common
from grafana_foundation_sdk.models.dashboard import (
    DataSourceRef,
    DataTransformerConfig,
    DynamicConfigValue,
    Panel,
    Threshold,
    ThresholdsMode,
    ValueMap,
)
from grafana_foundation_sdk.models.prometheus import PromQueryFormat
from grafana_foundation_sdk.models.text import TextMode

from dashboards.look import GREEN, Word, mapping

SOURCE = DataSourceRef(type_val="prometheus", uid="${datasource}")
BITS_PER_SECOND, BITS, SECONDS, RATIO, COUNT = "bps", "decbits", "s", "percentunit", "short"
DECIBEL, HERTZ, CELSIUS, VOLT, BYTES = "dB", "hertz", "celsius", "volt", "bytes"

AnyPanel = Builder[Panel]
# A threshold: from which value on, in which colour.
Step = tuple[float, str]


@dataclass(frozen=True, slots=True)
class Query:
    """One line of a panel: what is asked, and what its series are called."""

    expr: str
    legend: str = ""


@dataclass(frozen=True, slots=True)
class Place:
    """Of the 24 columns how many, and how high."""

    width: int = 12
    height: int = 8


def lines(
    title: str,
    told: str,
    unit: str,
    *queries: Query,
    place: Place = Place(),  # immutable
    steps: Sequence[Step] = (),
    least: float | None = None,
    most: float | None = None,
    dashed: str = "",
    logarithmic: bool = False,
    stacked: bool = False,
) -> AnyPanel:
    """Curves over time. Series whose name matches `dashed` are limits: thin and dashed."""
    panel = timeseries.Panel().unit(unit).line_width(2).fill_opacity(0)
    panel = panel.show_points(common.VisibilityMode.NEVER).span_nulls(False)
    panel = panel.legend(_legend()).tooltip(_tooltip())
    _dress(panel, title, told, place)
    for index, query in enumerate(queries):
        panel.with_target(_range(query, index))
    if least is not None:
        panel.min(least)
    if most is not None:
        panel.max(most)
    if steps:
        panel.thresholds(_thresholds(steps))
        panel.thresholds_style(
            common_builders.GraphThresholdsStyleConfig().mode(common.GraphThresholdsStyleMode.DASHED)
        )
    if logarithmic:
        panel.scale_distribution(
            common_builders.ScaleDistributionConfig().type(common.ScaleDistribution.LOG).log(10)
        )
    if stacked:
        panel.fill_opacity(60).stacking(common_builders.StackingConfig().mode(common.StackingMode.NORMAL))
    if dashed:
        style = [
            DynamicConfigValue("custom.lineStyle", {"fill": "dash", "dash": [6, 6]}),
            DynamicConfigValue("custom.lineWidth", 1),
        ]
        panel.override_by_regexp(f"/{dashed}/", style)
    return panel


def states(
    title: str,
    told: str,
    words: Sequence[Word],
    query: Query,
    *,
    place: Place = Place(24, 7),
) -> AnyPanel:
    """One bar a series over time, in the colour of the word that holds."""
    panel = statetimeline.Panel().mappings([mapping(words)]).show_value(common.VisibilityMode.AUTO)
    panel = panel.row_height(0.8).merge_values(True).legend(_legend()).tooltip(_tooltip())
    _dress(panel, title, told, place)
    return panel.with_target(_range(query, 0))


def figure(
    title: str,
    told: str,
    unit: str,
    query: Query,
    *,
    steps: Sequence[Step] = (),
    mappings: Sequence[ValueMap] = (),
    place: Place = Place(4, 4),
    decimals: int | None = None,
) -> AnyPanel:
    """One number, large."""
    panel = stat.Panel().unit(unit).color_mode(common.BigValueColorMode.VALUE)
    panel = panel.graph_mode(common.BigValueGraphMode.NONE).no_value("no data")
    panel = panel.reduce_options(common_builders.ReduceDataOptions().calcs(["lastNotNull"]))
    panel = panel.thresholds(_thresholds(steps or ((0, GREEN),))).mappings(list(mappings))
    if decimals is not None:
        panel.decimals(decimals)
    _dress(panel, title, told, place)
    return panel.with_target(_now(query, 0))


def bars(
    title: str,
    told: str,
    unit: str,
    query: Query,
    *,
    steps: Sequence[Step],
    least: float = 0,
    most: float | None = None,
    place: Place = Place(8, 8),
) -> AnyPanel:
    """One bar for each series, as it is now."""
    panel = bargauge.Panel().unit(unit).min(least).display_mode(common.BarGaugeDisplayMode.BASIC)
    panel = panel.orientation(common.VizOrientation.HORIZONTAL).thresholds(_thresholds(steps))
    panel = panel.reduce_options(common_builders.ReduceDataOptions().calcs(["lastNotNull"]))
    if most is not None:
        panel.max(most)
    _dress(panel, title, told, place)
    return panel.with_target(_now(query, 0))


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table: its head, what fills it, how it is shown, and where a click leads."""

    head: str
    expr: str
    unit: str = COUNT
    words: Sequence[Word] = ()
    steps: Sequence[Step] = ()


def grid(
    title: str,
    told: str,
    by: str,
    columns: Sequence[Column],
    *,
    leads_to: str = "",
    place: Place = Place(24, 8),
) -> AnyPanel:
    """A table with a row for each value of the label `by`, which leads to another dashboard."""
    panel = table.Panel()
    _dress(panel, title, told, place)
    for index, column in enumerate(columns):
        query = _now(Query(column.expr), index).format(PromQueryFormat.TABLE)
        panel.with_target(query)
    panel.with_transformation(DataTransformerConfig("joinByField", options={"byField": by, "mode": "outer"}))
    times = {f"Time {index}": True for index in range(1, len(columns) + 1)} | {"Time": True}
    values = {f"Value #{_ref(index)}": column.head for index, column in enumerate(columns)}
    panel.with_transformation(
        DataTransformerConfig("organize", options={"excludeByName": times, "renameByName": values})
    )
    for column in columns:
        look = [DynamicConfigValue("unit", column.unit)]
        if column.words:
            look.append(DynamicConfigValue("mappings", [mapping(column.words)]))
            look.append(DynamicConfigValue("custom.cellOptions", {"type": "color-text"}))
        if column.steps:
            look.append(DynamicConfigValue("thresholds", _thresholds(column.steps).build()))
            look.append(DynamicConfigValue("custom.cellOptions", {"type": "color-text"}))
        panel.override_by_name(column.head, look)
    if leads_to:
        link = {
            "title": "Look at it",
            "url": f"/d/{leads_to}?var-{by}=${{__value.raw}}&${{__url_time_range}}",
        }
        panel.override_by_name(by, [DynamicConfigValue("links", [link])])
    return panel


def buckets(title: str, told: str, expr: str, *, place: Place = Place()) -> AnyPanel:
    """How a histogram's buckets fill over time; `expr` keeps the label `le`."""
    panel = heatmap.Panel().calculate(False)
    panel = panel.y_axis(heatmap.YAxisConfig().unit(SECONDS))
    _dress(panel, title, told, place)
    return panel.with_target(_range(Query(expr, "{{le}}"), 0).format(PromQueryFormat.HEATMAP))


def world(
    title: str,
    told: str,
    by: str,
    places: tuple[str, str],
    value: str,
    words: Sequence[Word],
    *,
    place: Place,
) -> AnyPanel:
    """Points on a map, one for each value of the label `by`, in the colour of the word that holds.

    `places` are the queries of latitude and longitude.
    """
    panel = geomap.Panel()
    _dress(panel, title, told, place)
    for index, expr in enumerate((*places, value)):
        panel.with_target(_now(Query(expr), index).format(PromQueryFormat.TABLE))
    panel.with_transformation(DataTransformerConfig("joinByField", options={"byField": by, "mode": "outer"}))
    names = {"Value #A": "latitude", "Value #B": "longitude", "Value #C": "condition"}
    panel.with_transformation(DataTransformerConfig("organize", options={"renameByName": names}))
    panel.view(geomap.MapViewConfig().id("fit").all_layers(True).zoom(12).max_zoom(14))
    panel.basemap(common_builders.MapLayerOptions().type("default").name("Map"))
    panel.layers([_markers(by)])
    panel.override_by_name("condition", [DynamicConfigValue("mappings", [mapping(words)])])
    return panel


def _markers(by: str) -> Builder[common.MapLayerOptions]:
    style = {
        "color": {"field": "condition"},
        "size": {"fixed": 9},
        "opacity": 0.9,
        "symbol": {"mode": "fixed", "fixed": "img/icons/marker/circle.svg"},
        "text": {"mode": "field", "field": by},
        "textConfig": {"fontSize": 11, "offsetY": 14},
    }
    where = common.FrameGeometrySource(
        mode=common.FrameGeometrySourceMode.COORDS, latitude="latitude", longitude="longitude"
    )
    layer = common_builders.MapLayerOptions().type("markers").name("Nodes and links")
    return layer.config({"style": style, "showLegend": True}).location(_Built(where)).tooltip(True)


class _Built(Builder[common.FrameGeometrySource]):
    """What is built already, for where a builder is asked for."""

    def __init__(self, built: common.FrameGeometrySource) -> None:
        self._built = built

    def build(self) -> common.FrameGeometrySource:
        return self._built


def words(text: str, *, place: Place) -> AnyPanel:
    """A few words."""
    panel = text_builders.Panel().mode(TextMode.MARKDOWN).content(text).transparent(True)
    return panel.span(place.width).height(place.height)


def _dress(panel: Any, title: str, told: str, place: Place) -> None:
    panel.title(title).description(told).datasource(SOURCE).span(place.width).height(place.height)


def _ref(index: int) -> str:
    return chr(ord("A") + index)


def _range(query: Query, index: int) -> prometheus.Dataquery:
    asked = prometheus.Dataquery().expr(query.expr).range().ref_id(_ref(index)).datasource(SOURCE)
    return asked.legend_format(query.legend or "__auto")


def _now(query: Query, index: int) -> prometheus.Dataquery:
    asked = prometheus.Dataquery().expr(query.expr).instant().ref_id(_ref(index)).datasource(SOURCE)
    return asked.legend_format(query.legend or "__auto")


def _thresholds(steps: Sequence[Step]) -> dashboards.ThresholdsConfig:
    # Grafana wants the lowest step without a value.
    made = [
        Threshold(value=None if index == 0 else value, color=colour)
        for index, (value, colour) in enumerate(steps)
    ]
    return dashboards.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(made)


def _legend() -> common_builders.VizLegendOptions:
    legend = common_builders.VizLegendOptions().display_mode(common.LegendDisplayMode.LIST)
    return legend.placement(common.LegendPlacement.BOTTOM).show_legend(True)


def _tooltip() -> common_builders.VizTooltipOptions:
    tooltip = common_builders.VizTooltipOptions().mode(common.TooltipDisplayMode.MULTI)
    return tooltip.sort(common.SortOrder.DESCENDING)
