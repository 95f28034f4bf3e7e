"""A scenario as a map: nodes at their coordinates, links by technology, shared risks. Needs matplotlib."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from keyweave.cli.map_labels import POINTS_PER_INCH, Room, Spot
from keyweave.cli.tables import rate

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from keyweave.emulator.scenario import Scenario

FORMATS = (".svg", ".png")
EARTH_KM = 6371.0
# Okabe and Ito's palette: told apart by people who do not see all colours.
_TECHNOLOGIES: Mapping[str, tuple[str, str]] = {
    "DV-QKD": ("#0072B2", "discrete variables (DV-QKD)"),
    "DV-QKD-COW": ("#009E73", "coherent one-way (DV-QKD-COW)"),
    "DV-QKD-2Ws": ("#CC79A7", "two-way (DV-QKD-2Ws)"),
    "CV-QKD": ("#D55E00", "continuous variables (CV-QKD)"),
}
_RISKS = ("#F0E442", "#56B4E9", "#E69F00", "#999999", "#B39DDB", "#A5D6A7", "#EF9A9A", "#80CBC4")
_PAIRS, _PAIRS_DASHES = "#882255", (0, (5, 1, 1, 1))
_INK, _PAPER = "#222222", "#ffffff"
_WIDTH_INCHES = 10.0
# Of the picture, what the nodes' span takes.
_MAP_SHARE = 0.7
_LINK_FONT = 7.5
# A legend of more risk groups than these tells nobody anything.
_RISKS_NAMED = 8
# Links of small networks say what they are.
_LINKS_LABELLED = 16
# Nodes nearer to each other than this share of the map, over the root of their number, are drawn apart.
_LEAST_GAP = 0.25
_Points = Mapping[str, np.ndarray]


def draw(scenario: "Scenario", path: Path) -> None:
    """Write the map to `path`; ModuleNotFoundError where matplotlib is missing."""
    import matplotlib as mpl  # noqa: PLC0415  # an optional extra
    from matplotlib.figure import Figure  # noqa: PLC0415

    points, moved = _positions(scenario)
    spans = np.ptp(np.array(list(points.values())), axis=0)
    height = _WIDTH_INCHES * min(1.3, max(0.3, spans[1] / max(spans[0], 1e-9)))
    # The same scenario gives the same bytes: no date, no random identifiers.
    with mpl.rc_context({"svg.hashsalt": scenario.name, "svg.fonttype": "none", "font.size": 9}):
        figure = Figure(figsize=(_WIDTH_INCHES, height + 1.2), facecolor=_PAPER, layout="constrained")
        axes = figure.add_subplot()
        axes.set_aspect("equal", adjustable="datalim")
        axes.axis("off")
        size = float(max(spans.max(), 1e-9))
        curves = [*_draw_links(axes, scenario, points), *_draw_pair_links(axes, scenario, points)]
        scale = float((spans / (_WIDTH_INCHES, height)).max()) / (_MAP_SHARE * POINTS_PER_INCH)
        room = Room(scale, [*curves, *(place[None] for place in points.values())])
        _draw_nodes(axes, scenario, points, room)
        if len(curves) <= _LINKS_LABELLED:
            _label_links(axes, scenario, curves, room)
        axes.margins(0.09)
        axes.set_title(scenario.name, loc="left", fontsize=15, fontweight="bold", color=_INK, pad=18)
        axes.text(0, 1.005, scenario.description, transform=axes.transAxes, va="bottom", color="#555555")
        _draw_scale(axes, size, moved=moved)
        _draw_legend(figure, scenario)
        figure.savefig(path, dpi=150, metadata={"Date": None} if path.suffix == ".svg" else None)


def _positions(scenario: "Scenario") -> tuple[_Points, str]:
    """Where each node is drawn, in kilometres, and what is not true to scale."""
    names = [node.name for node in scenario.nodes]
    degrees = np.array([(node.longitude_degrees, node.latitude_degrees) for node in scenario.nodes])
    radians = np.radians(degrees - degrees.mean(axis=0))
    places = EARTH_KM * radians * (math.cos(math.radians(degrees[:, 1].mean())), 1.0)
    if not np.ptp(places, axis=0).any():
        turns = 2 * math.pi * np.arange(len(names)) / len(names)
        circle = np.stack((np.sin(turns), np.cos(turns)), axis=1)
        return dict(zip(names, circle, strict=True)), "no coordinates are given: nodes on a circle"
    apart = _apart(places)
    moved = "" if np.allclose(apart, places) else "neighbouring sites drawn apart"
    return dict(zip(names, apart, strict=True)), moved


def _apart(places: np.ndarray) -> np.ndarray:
    """The same places, but none so near to another that they cannot be told apart."""
    gap = _LEAST_GAP * np.ptp(places, axis=0).max() / math.sqrt(len(places))
    moved = places.copy()
    for _ in range(100):
        between = moved[:, None] - moved[None, :]
        distances = np.linalg.norm(between, axis=2)
        np.fill_diagonal(distances, np.inf)
        if distances.min() >= gap * 0.999:
            break
        for one, other in zip(*np.where(np.triu(distances < gap)), strict=True):
            distance = distances[one, other]
            # Two at one spot part in a direction of their own.
            way = between[one, other] / distance if distance else np.array((math.cos(one), math.sin(one)))
            moved[one] += way * (gap - distance) / 2
            moved[other] -= way * (gap - distance) / 2
    return moved


def _draw_links(axes: "Axes", scenario: "Scenario", points: _Points) -> list[np.ndarray]:
    risks = _risk_colours(scenario)
    joined: dict[frozenset[str], int] = {}
    curves = []
    for link in scenario.links:
        pair = frozenset((link.a, link.b))
        curve = _curve(points[link.a], points[link.b], joined.get(pair, 0))
        curves.append(curve)
        joined[pair] = joined.get(pair, 0) + 1
        for depth, group in enumerate(group for group in link.risk_groups if group in risks):
            halo: dict[str, Any] = {"linewidth": 9 + 5 * depth, "zorder": 1 - depth * 0.1}
            axes.plot(*curve.T, color=risks[group], alpha=0.55, solid_capstyle="round", **halo)
        colour, _ = _TECHNOLOGIES[link.technology]
        style = (0, (2, 2)) if link.is_free_space else "-"
        axes.plot(*curve.T, color=colour, linewidth=1.8, linestyle=style, zorder=2)
    return curves


def _draw_pair_links(axes: "Axes", scenario: "Scenario", points: _Points) -> list[np.ndarray]:
    """Links of entangled pairs bow out beside the links that join the same two nodes."""
    joined = Counter(frozenset((link.a, link.b)) for link in scenario.links)
    curves = []
    for link in scenario.pair_links:
        pair = frozenset((link.a, link.b))
        curves.append(_curve(points[link.a], points[link.b], joined[pair]))
        joined[pair] += 1
        axes.plot(*curves[-1].T, color=_PAIRS, linewidth=1.8, linestyle=_PAIRS_DASHES, zorder=2)
    return curves


def _curve(a: np.ndarray, b: np.ndarray, before: int) -> np.ndarray:
    """From a to b: straight, or bowed where so many links join the same two nodes already."""
    along = np.linspace(0, 1, 40)[:, None]
    across = np.array((a[1] - b[1], b[0] - a[0]))
    bow = 0.16 * ((before + 1) // 2) * (-1 if before % 2 else 1)
    line: np.ndarray = a + (b - a) * along + across * bow * 4 * along * (1 - along)
    return line


def _label_links(axes: "Axes", scenario: "Scenario", curves: Sequence[np.ndarray], room: Room) -> None:
    box = {"boxstyle": "square,pad=0.1", "facecolor": _PAPER, "edgecolor": "none", "alpha": 0.85}
    texts = [
        *(
            f"{each.name}  {each.least_km:.4g} km  {rate(each.undisturbed_skr_bps)}"
            for each in scenario.links
        ),
        *(
            f"{each.name}  {each.length_km:.4g} km  {each.undisturbed_hz:.3g} pairs/s"
            for each in scenario.pair_links
        ),
    ]
    for text, curve in zip(texts, curves, strict=True):
        spot = room.name_line(text, _LINK_FONT, curve)
        _write(axes, text, spot, fontsize=_LINK_FONT, color="#444444", zorder=4, bbox=box)


def _draw_nodes(axes: "Axes", scenario: "Scenario", points: _Points, room: Room) -> None:
    ends = {node for stream in scenario.streams for node in (stream.source_node, stream.target_node)}
    ends |= {node for pairs in scenario.pair_streams for node in (pairs.source_node, pairs.target_node)}
    having = {node.name for node in scenario.nodes if node.memories}
    few = len(points) <= _LINKS_LABELLED
    font = 9.0 if few else 7.5
    for name, place in points.items():
        face = _INK if name in ends else _PAPER
        axes.plot(*place, "o", markersize=8, markerfacecolor=face, markeredgecolor=_INK, zorder=5)
        if name in having:
            axes.plot(*place, "o", markersize=13, markerfacecolor="none", markeredgecolor=_PAIRS, zorder=5)
        spot = room.name_node(name, font, place)
        _write(axes, name, spot, fontsize=font, fontweight="bold" if few else "normal", color=_INK, zorder=6)


def _write(axes: "Axes", text: str, spot: Spot, **how: Any) -> None:
    x, y = (float(value) for value in spot.middle)
    turned: dict[str, Any] = {
        "rotation": spot.degrees,
        "rotation_mode": "anchor",
        "transform_rotates_text": True,
    }
    axes.text(x, y, text, ha="center", va="center", **turned, **how)


def _draw_scale(axes: "Axes", size: float, *, moved: str) -> None:
    """A bar of round length under the map, unless the map has no scale."""
    note = moved
    if "circle" not in moved:
        length = 10 ** math.floor(math.log10(size / 3))
        length *= max(step for step in (1, 2, 5) if step * length <= size / 3)
        left, bottom = axes.get_xlim()[0], axes.get_ylim()[0] - 0.07 * size
        axes.plot([left, left + length], [bottom, bottom], color=_INK, linewidth=2, solid_capstyle="butt")
        note = f"{length:g} km" + (f" ({moved})" if moved else "")
        axes.annotate(note, (left, bottom), xytext=(0, 4), textcoords="offset points", fontsize=8, color=_INK)
    else:
        axes.text(0, 0, note, transform=axes.transAxes, fontsize=8, color=_INK)


def _draw_legend(figure: "Figure", scenario: "Scenario") -> None:
    from matplotlib.lines import Line2D  # noqa: PLC0415  # an optional extra

    def line(label: str, **how: Any) -> Line2D:
        return Line2D([], [], label=label, **how)

    used = {link.technology for link in scenario.links}
    entries = [line(label, color=colour, linewidth=1.8) for word, (colour, label) in _TECHNOLOGIES.items()
               if word in used]  # fmt: skip
    if any(link.is_free_space for link in scenario.links):
        entries.append(line("free space", color=_INK, linewidth=1.8, linestyle=(0, (2, 2))))
    if scenario.pair_links:
        pairs = "entangled pairs; rates of one pair of memories"
        entries.append(line(pairs, color=_PAIRS, linewidth=1.8, linestyle=_PAIRS_DASHES))
    node = {"color": "none", "marker": "o", "markersize": 8, "markeredgecolor": _INK}
    if scenario.streams or scenario.pair_streams:
        entries.append(line("node where a stream ends", markerfacecolor=_INK, **node))
    entries.append(line("node", markerfacecolor=_PAPER, **node))
    if any(each.memories for each in scenario.nodes):
        ring = node | {"markersize": 13, "markeredgecolor": _PAIRS}
        entries.append(line("quantum memories", markerfacecolor="none", **ring))
    risks = _risk_colours(scenario)
    groups: Iterable[str] = risks if len(risks) <= _RISKS_NAMED else ()
    entries += [
        line(f"shared risk: {group}", color=risks[group], linewidth=9, alpha=0.55) for group in groups
    ]
    if len(risks) > _RISKS_NAMED:
        entries.append(line(f"shared risk ({len(risks)} groups)", color=_RISKS[0], linewidth=9, alpha=0.55))
    figure.legend(handles=entries, loc="outside lower left", ncols=3, frameon=False, fontsize=8)


def _risk_colours(scenario: "Scenario") -> dict[str, str]:
    """A colour for every group that more than one link belongs to."""
    groups: Sequence[str] = [group for link in scenario.links for group in link.risk_groups]
    shared = sorted({group for group in groups if groups.count(group) > 1})
    return {group: _RISKS[index % len(_RISKS)] for index, group in enumerate(shared)}
