"""The live page in Debian's Chromium: what people see, press and hear, of a network that tests make up."""

import json
import sys
from itertools import pairwise
from pathlib import Path

import networkx as nx
import pytest

from keyweave.controller.config import PageConfig
from keyweave.controller.events import Severity
from keyweave.controller.topology import Condition
from tests.desk import Desk, serious_violations
from tests.shown_network import ShownNetwork, control_plane, shown
from tests.unit.networks import random_streams, stream

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.slow, pytest.mark.timeout(240)]
LINKS = (
    ("north", "alkmaar", "breda", 9000.0),
    ("east", "breda", "coevorden", 9000.0),
    ("south", "coevorden", "alkmaar", 5000.0),
    ("spare", "coevorden", "alkmaar", 1000.0),
    ("far", "coevorden", "deventer", 2000.0),
)
LOCATIONS = {
    "alkmaar": (52.63, 4.75),
    "breda": (51.59, 4.78),
    "coevorden": (52.66, 6.74),
    "deventer": (52.26, 6.16),
}
EVIL = '<img src=x onerror="window.hacked=1"><script>window.hacked=1</script>'
# Where the focus is, in words that a test can compare.
FOCUS = """(() => {
  const at = document.activeElement;
  const { name, opens, entry } = at.dataset;
  return at.id || name || opens || entry || at.textContent.trim() || at.tagName;
})()"""

# Names of nodes that are drawn, and pairs of them that lie over each other.
NAMES_OVER_NAMES = """(() => {
  const names = [...document.querySelectorAll('.name:not([data-crowded])')];
  const boxes = names.map((one) => one.getBoundingClientRect());
  const beside = (a, b) => a.right < b.left + 2 || b.right < a.left + 2;
  const above = (a, b) => a.bottom < b.top + 3 || b.bottom < a.top + 3;
  const pairs = boxes.flatMap((a, i) => boxes.slice(i + 1).map((b) => [a, b]));
  return [boxes.length, pairs.filter(([a, b]) => !beside(a, b) && !above(a, b)).length];
})()"""
# How wide the window is, how wide the page, and what of it sticks out.
WIDER_THAN_THE_WINDOW = """(() => {
  const limit = document.documentElement.clientWidth;
  const shown = [...document.querySelectorAll('body *')].filter((one) => one.getClientRects().length);
  const out = shown.filter((one) => one.getBoundingClientRect().right > limit + 1);
  const seen = out.filter((one) => !one.closest('.hidden, .canvas'));
  return [limit, document.documentElement.scrollWidth, ...seen.map((one) => one.outerHTML.slice(0, 80))];
})()"""
# Where a node is drawn.
BREDA = """(() => {
  const box = document.querySelector('[data-node="breda"]').getBoundingClientRect();
  return JSON.stringify([Math.round(box.x), Math.round(box.y)]);
})()"""


def small() -> ShownNetwork:
    streams = (
        stream("payments", "alkmaar", "breda", min_rate_bps=100.0, max_rate_bps=1000.0),
        stream("archive", "alkmaar", "deventer", max_rate_bps=500.0),
    )
    return ShownNetwork(LINKS, streams, LOCATIONS)


def hundred() -> ShownNetwork:
    """A hundred towns, each linked with those near it."""
    graph = nx.random_geometric_graph(100, 0.15, seed=4)
    places = nx.get_node_attributes(graph, "pos")
    parts = [sorted(part) for part in nx.connected_components(graph)]
    graph.add_edges_from((one[0], other[0]) for one, other in pairwise(parts))
    rows = [(f"l{index}", f"n{a}", f"n{b}", 20000.0) for index, (a, b) in enumerate(graph.edges)]
    locations = {f"n{node}": (48 + 4 * y, 6 + 8 * x) for node, (x, y) in places.items()}
    return ShownNetwork(tuple(rows), tuple(random_streams(1, 100, 60, max_rate_bps=2000.0)), locations)


async def test_every_condition_differs_in_colour_in_dash_and_in_words(desk: Desk) -> None:
    network = small()
    await desk.look_at(network)
    seen = {}
    for condition in Condition:
        network.put("north", condition)
        await desk.tab.until(
            f"""document.querySelector('[data-link="north"]').dataset.condition == '{condition}'"""
        )
        seen[condition] = await desk.tab.run("""(() => {
          const style = getComputedStyle(document.querySelector('[data-link="north"]'));
          const mark = [...document.querySelectorAll('.mark')].find((one) => one.dataset.condition !== 'ok');
          const drawn = mark ? [mark.textContent, mark.querySelector('.shape').getAttribute('d')] : ['', ''];
          return [style.stroke, style.strokeDasharray, ...drawn];
        })()""")
    for index in range(4):
        assert len({one[index] for one in seen.values()}) == len(Condition), index
    assert {one[2] for one in seen.values()} == {"", *(c.value for c in Condition if c is not Condition.OK)}
    assert desk.tab.complaints == []


async def test_a_cut_shows_as_a_link_that_is_down_and_a_path_that_moved(desk: Desk) -> None:
    network = small()
    await desk.look_at(network, "#stream/payments")
    used = "document.querySelector('.way.used').dataset.links"
    row = """document.querySelector('tr[data-name="payments"]').dataset.links"""
    assert await desk.tab.run(f"[{used}, {row}]") == ["north", "north"]
    network.put("north", Condition.DOWN)
    await desk.tab.until(f"{used} === 'south east' && {row} === 'south east'")
    await desk.tab.until(
        "document.getElementById('detail').innerText.includes('alkmaar \u203a coevorden \u203a breda')"
    )
    assert "1 down" in await desk.tab.run("document.getElementById('summary').innerText")
    assert await desk.tab.run("document.title") == "1 down \u2013 Keyweave"
    assert "north is down" in await desk.tab.run(
        "document.querySelector('.canvas svg').getAttribute('aria-label')"
    )
    assert "went from ok to down" in await desk.tab.run("document.getElementById('event-list').innerText")
    assert "went from ok to down" in await desk.tab.run("document.getElementById('announcer').textContent")


async def test_without_a_quantum_path_the_page_says_so(desk: Desk) -> None:
    network = small()
    await desk.look_at(network, "#stream/archive")
    network.put("far", Condition.DOWN)
    await desk.tab.until("document.querySelector('.way.classical') !== null")
    assert "ML-KEM only" in await desk.tab.run("document.getElementById('detail').innerText")
    assert await desk.tab.run("document.querySelector('.way.used')") is None


async def test_a_suspect_link_shows_its_diagnosis_and_evidence(desk: Desk) -> None:
    network = small()
    network.put("south", Condition.SUSPECT)
    await desk.look_at(network, "#link/south")
    said = await desk.tab.run("document.getElementById('detail').innerText")
    for words in (
        "suspect",
        "interception",
        "QBER +4.0 points",
        "loss unchanged",
        "abort at 11",
        "9.5\xa0dB",
    ):
        assert words in said


async def test_everything_can_be_reached_opened_and_left_by_keyboard(desk: Desk) -> None:
    tab = desk.tab
    await desk.look_at(small())
    stops: list[str] = []
    while "event-list" not in stops and len(stops) < 60:
        await tab.press("Tab")
        stops.append(await tab.run(FOCUS))
        outline = await tab.run("getComputedStyle(document.activeElement).outlineStyle")
        assert outline == "solid", f"no visible focus on {stops[-1]}"
    assert stops[0] == "Skip to streams, links and nodes"
    assert {
        "theme",
        "zoom-in",
        "zoom-out",
        "zoom-all",
        "tab-stream",
        "filter",
        "archive",
        "all-events",
    } <= set(stops)
    opened = []
    for kind, count in (("stream", 2), ("link", 5), ("node", 4)):
        await tab.run("document.getElementById('tab-stream').focus()")
        for _ in range(["stream", "link", "node"].index(kind)):
            await tab.press("ArrowRight")
        await tab.press("Tab")
        await tab.press("Tab")
        await tab.press("Home")
        for _ in range(count):
            name = await tab.run(FOCUS)
            await tab.press("Enter")
            await tab.until(
                f"document.activeElement.id === 'detail-title' && location.hash === '#{kind}/{name}'"
            )
            assert name in await tab.run("document.getElementById('detail-title').textContent")
            opened.append(name)
            await tab.press("Escape")
            await tab.until("document.getElementById('detail').hidden")
            assert await tab.run(FOCUS) == name, "focus does not go back to where it was"
            await tab.press("ArrowDown")
        await tab.press("Home")
        await tab.run("document.getElementById('tab-stream').click()")
    assert sorted(opened) == sorted([*LOCATIONS, *(row[0] for row in LINKS), "payments", "archive"])


async def test_the_focus_in_a_detail_outlasts_the_figures_that_change_around_it(desk: Desk) -> None:
    network = small()
    await desk.look_at(network, "#link/north")
    await desk.tab.run("document.querySelector('#detail [data-opens^=\"node/breda\"]').focus()")
    network.qber_ratio = 0.043
    network.now += 10
    await desk.tab.until("document.getElementById('detail').innerText.includes('4.3')")
    assert (await desk.tab.run(FOCUS)).startswith("node/breda")


@pytest.mark.parametrize("view", ["", "#stream/payments", "#link/south", "#node/breda"])
async def test_axe_finds_nothing_serious(desk: Desk, view: str) -> None:
    network = small()
    network.put("south", Condition.SUSPECT)
    await desk.look_at(network, view)
    for scheme, width in (("dark", 1440), ("light", 360), ("light", 1440)):
        await desk.tab.size(width, 740, phone=width < 600)
        await desk.tab.prefer(prefers_color_scheme=scheme, prefers_reduced_motion="reduce")
        assert await serious_violations(desk.tab) == []
    # It looks at colours too: a word in a colour that is hard to read is found.
    await desk.tab.run(
        "document.getElementById('connection').style.color = 'color-mix(in srgb, gray 30%, white)'"
    )
    assert [found for found in await serious_violations(desk.tab) if "connection" in found] != []


async def test_a_hundred_nodes_are_drawn_and_kept_current(desk: Desk) -> None:
    network = hundred()
    await desk.look_at(network)
    drawn = await desk.tab.run(
        "[document.querySelectorAll('[data-node]').length, document.querySelectorAll('[data-link]').length]"
    )
    assert drawn == [100, len(network.rows)]
    first = await desk.tab.run("performance.getEntriesByName('first-drawing')[0].duration")
    await desk.tab.run("performance.clearMeasures('drawing')")
    for row in network.rows[:3]:
        network.put(row[0], Condition.DOWN)
        await desk.tab.until(
            f"""document.querySelector('[data-link="{row[0]}"]').dataset.condition === 'down'"""
        )
    again = await desk.tab.run("performance.getEntriesByName('drawing').map((one) => one.duration)")
    sys.stdout.write(f"{drawn} nodes and links: drawn in {first:.0f} ms, again in {max(again):.0f} ms\n")
    # Names do not lie over each other.
    overlapping = await desk.tab.run(NAMES_OVER_NAMES)
    assert overlapping[0] > 60
    assert overlapping[1] <= 3
    await desk.tab.run("document.getElementById('tab-link').click()")
    await desk.tab.run("""(() => {
      const filter = document.getElementById('filter');
      filter.value = 'down';
      filter.dispatchEvent(new Event('input'));
    })()""")
    assert await desk.tab.run("document.querySelectorAll('.table-link tbody tr:not([hidden])').length") == 3


@pytest.mark.parametrize("view", ["", "#stream/archive", "#link/spare", "#node/coevorden"])
async def test_a_phone_shows_all_of_it_without_scrolling_sideways(desk: Desk, view: str) -> None:
    network = small()
    network.owner = "an-owner-with-a-very-long-name-that-nobody-has-put-a-blank-in" * 3
    network.say("plan_changed", "a-message-without-any-blank-" * 20)
    await desk.look_at(network, view)
    await desk.tab.size(360, 740, phone=True)
    await desk.tab.run("document.getElementById('all-events').click()")
    for tab in ("stream", "link", "node"):
        await desk.tab.run(f"document.getElementById('tab-{tab}').click()")
        wide = await desk.tab.run(WIDER_THAN_THE_WINDOW)
        assert wide == [360, 360]


async def test_markup_in_names_and_messages_is_only_text(desk: Desk) -> None:
    network = small()
    network.owner = EVIL
    network.put("north", Condition.SUSPECT)
    network.say("link_condition_changed", EVIL, Severity.MAJOR, link="north")
    await desk.look_at(network, "#node/breda")
    await desk.tab.until("document.getElementById('event-list').innerText.includes('<script>')")
    assert EVIL in await desk.tab.run("document.getElementById('detail').innerText")
    network.say("link_condition_changed", f"{EVIL} again", Severity.MAJOR, link="north")
    await desk.tab.until("document.getElementById('announcer').textContent.includes('again')")
    assert await desk.tab.run(
        "window.hacked === undefined && document.querySelector('main img, main script') === null"
    )
    assert desk.tab.complaints == []


async def test_the_policy_stops_what_text_handling_would_let_through(desk: Desk) -> None:
    await desk.look_at(small())
    for attempt in (
        "document.body.insertAdjacentHTML('beforeend', '<b>x</b>')",
        "document.body.setAttribute('onclick', 'window.hacked = 1')",
        "document.body.append(Object.assign(document.createElement('script'), {text: 'window.hacked = 1'}))",
    ):
        refused = f"(() => {{ try {{ {attempt}; }} catch (error) {{ return error.name; }} }})()"
        assert await desk.tab.run(refused) == "TypeError", attempt
    assert await desk.tab.run("window.hacked === undefined")


async def test_the_page_asks_nobody_but_its_controller(desk: Desk) -> None:
    page = await desk.look_at(small(), "#stream/payments")
    await desk.tab.until("document.querySelector('.explain li') !== null")
    assert desk.tab.requests
    assert [url for url in desk.tab.requests if not url.startswith(page.url)] == []
    assert desk.tab.complaints == []
    assert await desk.tab.run("document.cookie") == ""


async def test_a_page_says_that_the_controller_is_away_and_goes_on_when_it_is_back(
    desk: Desk, tmp_path: Path
) -> None:
    network = small()
    tls, _ = control_plane(tmp_path)
    async with shown(network, tls) as page:
        await desk.tab.open(page.url)
        await desk.tab.until("document.querySelector('[data-link]') !== null")
        port = page.url.rstrip("/").rpartition(":")[2]
    await desk.tab.until("document.getElementById('connection').textContent.startsWith('controller away')")
    assert await desk.tab.run("document.querySelectorAll('[data-link]').length") == len(LINKS), (
        "what was known stays"
    )
    network.put("north", Condition.DOWN)
    async with shown(network, tls, PageConfig(listen=f"127.0.0.1:{port}")):
        await desk.tab.until("document.body.dataset.feed === 'live'")
        await desk.tab.until("""document.querySelector('[data-link="north"]').dataset.condition === 'down'""")


async def test_dark_and_light_follow_the_system_unless_chosen(desk: Desk) -> None:
    await desk.look_at(small())
    colour = "getComputedStyle(document.body).backgroundColor"
    dark = await desk.tab.run(colour)
    await desk.tab.prefer(prefers_color_scheme="light")
    light = await desk.tab.run(colour)
    assert dark != light
    button = "document.getElementById('theme')"
    await desk.tab.run(f"{button}.click(); {button}.click()")
    assert await desk.tab.run(f"{button}.textContent") == "Theme: dark"
    assert await desk.tab.run(colour) == dark
    await desk.tab.call("Page.reload")
    await desk.tab.until(
        "document.readyState === 'complete' && document.documentElement.dataset.theme === 'dark'"
    )
    assert await desk.tab.run(colour) == dark
    await desk.tab.run("localStorage.clear()")


async def test_map_and_graph_can_be_chosen_zoomed_and_clicked(desk: Desk) -> None:
    tab = desk.tab
    await desk.look_at(small())
    on_map = await tab.run(BREDA)
    assert await tab.run("document.querySelectorAll('.grid path').length") > 2
    await tab.until("!document.querySelector('#map-kind button:nth-child(2)').disabled")
    await tab.run("document.querySelector('#map-kind button:nth-child(2)').click()")
    assert await tab.run(BREDA) != on_map
    assert await tab.run("document.querySelectorAll('.grid path').length") == 0
    before = await tab.run(BREDA)
    await tab.run("document.getElementById('zoom-in').click()")
    assert await tab.run(BREDA) != before
    await tab.run("document.getElementById('zoom-all').click()")
    assert await tab.run(BREDA) == before
    x, y = json.loads(before)
    for kind in ("mousePressed", "mouseReleased"):
        await tab.call("Input.dispatchMouseEvent", type=kind, x=x + 8, y=y + 8, button="left", clickCount=1)
    await tab.until("location.hash === '#node/breda'")
