"""Where the page draws nodes: true to the map, apart from each other, and the same every time."""

import math

from hypothesis import given
from hypothesis import strategies as st

from keyweave.controller.page.positions import Picture, as_graph, on_map
from tests.unit.networks import random_network

LOCATIONS = st.dictionaries(
    st.from_regex(r"[a-z]{1,4}", fullmatch=True),
    st.tuples(st.floats(-89, 89), st.floats(-180, 180)).filter(lambda place: place != (0.0, 0.0)),
    min_size=1,
    max_size=25,
)
VIENNA = {"erd": (48.19, 16.40), "sie": (48.17, 16.34), "gud": (48.18, 16.33), "st-poelten": (48.2, 15.63)}


def _distances(picture: Picture) -> list[float]:
    places = list(picture.places.values())
    return [math.dist(a, b) for index, a in enumerate(places) for b in places[:index]]


@given(LOCATIONS)
def test_every_node_is_within_the_picture_and_none_hides_another(
    locations: dict[str, tuple[float, float]],
) -> None:
    picture = on_map(locations)
    assert picture is not None
    assert picture.places.keys() == locations.keys()
    assert max(picture.width, picture.height) == 1.0
    for x, y in picture.places.values():
        assert -0.001 <= x <= picture.width + 0.001
        assert -0.001 <= y <= picture.height + 0.001
    assert min(_distances(picture), default=1.0) > 0.02


def test_north_is_up_and_east_is_right() -> None:
    picture = on_map({"south-west": (48.0, 8.0), "north-east": (53.0, 13.0)})
    assert picture is not None
    (x1, y1), (x2, y2) = picture.places["south-west"], picture.places["north-east"]
    assert x1 < x2
    assert y1 > y2
    # At 50.5 degrees a degree of longitude is cos 50.5 = 0.636 of one of latitude.
    assert abs((x2 - x1) / (y1 - y2) - 0.636) < 0.001


def test_the_grid_says_where_nodes_are() -> None:
    far = {"a": (48.0, 8.0), "b": (53.0, 13.0), "c": (50.0, 12.0)}
    picture = on_map(far)
    assert picture is not None
    assert picture.west_degrees is not None
    assert picture.north_degrees is not None
    assert picture.degrees_per_x is not None
    assert picture.degrees_per_y is not None
    for name, (latitude, longitude) in far.items():
        x, y = picture.places[name]
        assert abs(picture.west_degrees + x * picture.degrees_per_x - longitude) < 0.01
        assert abs(picture.north_degrees + y * picture.degrees_per_y - latitude) < 0.01


def test_a_network_across_the_date_line_is_not_drawn_around_the_world() -> None:
    picture = on_map({"suva": (-18.1, 178.4), "apia": (-13.8, -171.8), "auckland": (-36.8, 174.8)})
    assert picture is not None
    assert picture.places["suva"][0] < picture.places["apia"][0]


def test_there_is_no_map_unless_every_node_has_a_location() -> None:
    assert on_map({}) is None
    assert on_map({**VIENNA, "somewhere": (0.0, 0.0)}) is None


def test_equal_networks_are_drawn_alike_whatever_the_order() -> None:
    rows = random_network(5, 30, 45)
    nodes = [f"n{index}" for index in range(30)]
    links = [(a, b) for _, a, b, _ in rows]
    assert as_graph(nodes, links) == as_graph(reversed(nodes), [(b, a) for a, b in reversed(links)])


def test_a_new_node_leaves_the_others_about_where_they_were() -> None:
    links = [(f"n{index}", f"n{(index + 1) % 12}") for index in range(12)]
    nodes = [f"n{index}" for index in range(12)]
    before = as_graph(nodes, links)
    after = as_graph([*nodes, "extra"], [*links, ("extra", "n3")], before.places)

    def from_middle(picture: Picture) -> dict[str, tuple[float, float]]:
        x, y = (sum(picture.places[name][axis] for name in nodes) / len(nodes) for axis in (0, 1))
        return {name: (picture.places[name][0] - x, picture.places[name][1] - y) for name in nodes}

    old, new = from_middle(before), from_middle(after)
    assert max(math.dist(old[name], new[name]) for name in nodes) < 0.2


def test_parts_that_nothing_joins_and_lonely_nodes_are_drawn_too() -> None:
    picture = as_graph(["a", "b", "c", "d", "lonely"], [("a", "b"), ("c", "d")])
    assert min(_distances(picture)) > 0.05
    assert as_graph(["only"], []).places.keys() == {"only"}
    assert as_graph([], []).places == {}
