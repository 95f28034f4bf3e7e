"""Where nodes are drawn: on a map where all have a location, and as a graph. Pure.

Equal networks are drawn alike: names are taken in order, nothing is left to chance, and a network that
changed is laid out from where its nodes were, so that people find again what they know.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import networkx as nx
import numpy as np

Place = tuple[float, float]

# Kamada-Kawai draws small networks best, but its work grows with the square of their nodes (1 s for 100).
_LARGEST_FOR_KAMADA_KAWAI = 120
_SPRING_ITERATIONS = 50
# Sites that are nearer than this share of the map's longer side are drawn apart, so that both can be seen.
_LEAST_DISTANCE = 0.07
_SEPARATING_PASSES = 60
# A map is no flatter than this, or labels would have no room.
_FLATTEST = 0.3


@dataclass(frozen=True, slots=True)
class Picture:
    """Places of nodes: x to the right, y down, the longer side of the whole is 1."""

    width: float
    height: float
    places: Mapping[str, Place]
    # Of a map: degrees at the left and upper edge, and per unit of x and y; None for a graph.
    west_degrees: float | None = None
    north_degrees: float | None = None
    degrees_per_x: float | None = None
    degrees_per_y: float | None = None


def on_map(locations: Mapping[str, tuple[float, float]]) -> Picture | None:
    """The nodes by (latitude, longitude), or None where one is not known: (0, 0) stands for that.

    Equirectangular projection with the middle latitude as standard parallel (Snyder, Map Projections: A
    Working Manual, USGS Professional Paper 1395, 1987, p. 90).
    """
    if not locations or any(place == (0.0, 0.0) for place in locations.values()):
        return None
    names = sorted(locations)
    latitudes = np.array([locations[name][0] for name in names])
    longitudes = _unwrapped(np.array([locations[name][1] for name in names]))
    parallel = math.cos(math.radians((latitudes.max() + latitudes.min()) / 2))
    points = np.column_stack((longitudes * max(parallel, 0.01), -latitudes))
    low, extent = points.min(axis=0), np.ptp(points, axis=0)
    scale = float(extent.max()) or 1.0
    places = _apart((points - low) / scale)
    # What moving sites apart has added lies around the map; the grid stays where it was.
    corner, size = places.min(axis=0), np.ptp(places, axis=0)
    margin = np.maximum(0.0, (_FLATTEST - size) / 2)
    corner, size = corner - margin, size + 2 * margin
    longer = float(size.max()) or 1.0
    degrees = scale * longer
    return Picture(
        *_rounded(size / longer),
        {name: _rounded(place) for name, place in zip(names, (places - corner) / longer, strict=True)},
        west_degrees=float((low[0] + corner[0] * scale) / max(parallel, 0.01)),
        north_degrees=float(-(low[1] + corner[1] * scale)),
        degrees_per_x=degrees / max(parallel, 0.01),
        degrees_per_y=-degrees,
    )


def as_graph(
    nodes: Iterable[str], links: Iterable[tuple[str, str]], before: Mapping[str, Place] | None = None
) -> Picture:
    """The nodes as a graph that shows who is linked with whom, starting from where they were `before`."""
    names = sorted(nodes)
    graph = nx.Graph()
    graph.add_nodes_from(names)
    graph.add_edges_from(sorted({(min(pair), max(pair)) for pair in links}))
    if len(names) < 2:
        return Picture(1.0, _FLATTEST, dict.fromkeys(names, (0.5, _FLATTEST / 2)))
    start = _start(graph, before or {})
    if len(names) <= _LARGEST_FOR_KAMADA_KAWAI:
        found = nx.kamada_kawai_layout(graph, dist=_distances(graph), pos=start)
    else:
        found = nx.spring_layout(graph, pos=start, iterations=_SPRING_ITERATIONS, seed=1)
    points = np.array([found[name] for name in names])
    if not before:
        points = _lying(points)
    corner, size = points.min(axis=0), np.ptp(points, axis=0)
    margin = np.maximum(0.0, (_FLATTEST * size.max() - size) / 2)
    corner, size = corner - margin, size + 2 * margin
    longer = float(size.max()) or 1.0
    places = (points - corner) / longer
    return Picture(
        *_rounded(size / longer), {name: _rounded(place) for name, place in zip(names, places, strict=True)}
    )


def _unwrapped(longitudes: np.ndarray) -> np.ndarray:
    """Longitudes of a network that lies across the date line, counted on beyond 180 degrees."""
    if np.ptp(longitudes) <= 180:
        return longitudes
    wrapped: np.ndarray = np.where(longitudes < 0, longitudes + 360, longitudes)
    return wrapped if np.ptp(wrapped) < np.ptp(longitudes) else longitudes


def _apart(points: np.ndarray) -> np.ndarray:
    """The same places, each pushed from those that it would be drawn over."""
    if len(points) < 2:
        return points
    # In a crowd there is less room to each.
    least = min(_LEAST_DISTANCE, 0.5 / math.sqrt(len(points)))
    # Of two at one place the one goes its own way, by its number.
    turns = np.arange(len(points)) * 2.399963  # the golden angle
    moved: np.ndarray = points + 1e-6 * np.column_stack((np.cos(turns), np.sin(turns)))
    for _ in range(_SEPARATING_PASSES):
        between = moved[:, None] - moved[None]
        distance = np.linalg.norm(between, axis=2)
        np.fill_diagonal(distance, np.inf)
        lacking = np.maximum(0.0, least - distance)
        if not lacking.any():
            break
        moved = moved + (between / distance[:, :, None] * lacking[:, :, None] / 2).sum(axis=1)
    return moved


def _start(graph: Any, before: Mapping[str, Place]) -> dict[str, np.ndarray]:
    """Nodes where they were, new ones beside those that they are linked with, else in a circle."""
    start = {name: np.array(place) for name, place in nx.circular_layout(graph).items()}
    known = {name: np.array(place) for name, place in before.items() if name in start}
    for name in start.keys() - known.keys():
        beside = [known[other] for other in graph[name] if other in known]
        if beside:
            # Not right on top: from there no force would move it.
            start[name] = np.mean(beside, axis=0) + 0.05 * start[name]
    return start | known


def _distances(graph: Any) -> dict[str, dict[str, float]]:
    """Hops between all nodes; parts that nothing joins are kept a little apart."""
    hops = dict(nx.all_pairs_shortest_path_length(graph))
    far = 1.5 + max(max(reached.values()) for reached in hops.values()) / 2
    return {a: {b: float(hops[a].get(b, far)) for b in graph} for a in graph}


def _lying(points: np.ndarray) -> np.ndarray:
    """Turned so that the longest extent lies level, with the first node in the upper left half."""
    centred = points - points.mean(axis=0)
    _, _, axes = np.linalg.svd(centred, full_matrices=False)
    turned: np.ndarray = centred @ axes.T
    return turned * np.where(turned[0] > 0, -1.0, 1.0)


def _rounded(place: np.ndarray) -> Place:
    return round(float(place[0]), 4), round(float(place[1]), 4)
