"""Entangled pairs on the live page, in Debian's Chromium: drawn, listed, explained, for everybody to read."""

import pytest

from keyweave.controller.pairs.streams import PairStream
from keyweave.v1 import types_pb2
from tests.desk import Desk, serious_violations
from tests.shown_network import ShownNetwork
from tests.unit.networks import stream
from tests.unit.pair_run import Optics, PairRun, wanted

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.slow, pytest.mark.timeout(240)]
LOCATIONS = {"alkmaar": (52.63, 4.75), "breda": (51.59, 4.78), "coevorden": (52.66, 6.74)}
# Between alkmaar and breda there are both.
LINKS = (("north", "alkmaar", "breda", 9000.0), ("east", "breda", "coevorden", 9000.0))
KEYS = stream("keys", "alkmaar", "coevorden", max_rate_bps=900.0)
PAIR_LINKS = {"north": Optics("alkmaar", "breda"), "south": Optics("breda", "coevorden")}


def asked(name: str = "north", **given: object) -> PairStream:
    """A pair stream that is called as a link is."""
    return wanted(name, source="alkmaar", target="coevorden", **given)


def with_pairs() -> tuple[ShownNetwork, PairRun]:
    run = PairRun(
        links={name: Optics(one.a, one.b) for name, one in PAIR_LINKS.items()},
        memories=dict.fromkeys(LOCATIONS, 8),
    )
    run.hello()
    run.run(5)
    run.want(asked())
    run.want(asked("too-good", min_fidelity=0.999))
    run.run(2)
    network = ShownNetwork(LINKS, (KEYS,), LOCATIONS)
    network.pairs_known = run.core.pairs
    return network, run


async def test_links_of_pairs_are_drawn_beside_those_of_keys_and_otherwise(desk: Desk) -> None:
    network, _ = with_pairs()
    await desk.look_at(network)
    tab = desk.tab
    await tab.until("document.querySelectorAll('[data-pair-link]').length === 2")
    both = """['[data-link="north"]', '[data-pair-link="north"]'].map((one) => document.querySelector(one))"""
    assert await tab.run(f"new Set({both}.map((one) => one.getAttribute('d'))).size") == 2
    assert await tab.run(f"new Set({both}.map((one) => getComputedStyle(one).strokeWidth)).size") == 2
    assert await tab.run("document.getElementById('legend-pairs').hidden") is False
    assert await tab.run("document.getElementById('legend').innerText.includes('entangled pairs')")
    summary = await tab.run("document.getElementById('summary').innerText")
    assert "2 pair links" in summary
    assert "1 unmet" in summary
    assert tab.complaints == []


async def test_nothing_of_pairs_is_shown_where_there_are_none(desk: Desk) -> None:
    await desk.look_at(ShownNetwork(LINKS, (KEYS,), LOCATIONS))
    tab = desk.tab
    assert await tab.run("document.getElementById('legend-pairs').hidden")
    tabs = "[...document.querySelectorAll('[role=tab]:not([hidden])')].map((one) => one.innerText)"
    assert await tab.run(tabs) == ["Streams", "Links", "Nodes"]
    assert "pair" not in await tab.run("document.getElementById('summary').innerText")


async def test_a_pair_stream_shows_its_path_its_figures_and_why(desk: Desk) -> None:
    network, run = with_pairs()
    await desk.look_at(network, "#pair-stream/north")
    tab = desk.tab
    assert await tab.run("document.querySelector('.way.used.pairs').dataset.links") == "north south"
    said = await tab.run("document.getElementById('detail').innerText")
    for words in ("Pair stream north", "met since", "0.8", "alkmaar \u203a breda \u203a coevorden", "asked"):
        assert words in said
    await tab.until("document.querySelector('.explain li') !== null")
    assert "asks for 5 pairs/s" in await tab.run("document.querySelector('.explain').innerText")
    run.links["south"].status, run.links["south"].rate_hz = types_pb2.LINK_STATUS_OFF, 0.0
    run.run(2)
    network.now += 10
    await tab.until("document.querySelector('.way.used.pairs') === null")
    await tab.until("document.getElementById('detail').innerText.includes('unmet')")
    assert "south is down" in await tab.run(
        "document.querySelector('.canvas svg').getAttribute('aria-label')"
    )


async def test_a_pair_link_and_a_nodes_memories_say_what_the_command_line_says(desk: Desk) -> None:
    network, _ = with_pairs()
    await desk.look_at(network, "#pair-link/south")
    said = await desk.tab.run("document.getElementById('detail').innerText")
    for words in ("Pair link south", "0.959", "95\xa0% confidence", "pairs/s", "1\xa0%", "north"):
        assert words in said
    await desk.tab.run("location.hash = '#node/breda'")
    await desk.tab.until("document.getElementById('detail').innerText.includes('Quantum memories')")
    assert "8 of 8" in await desk.tab.run("document.getElementById('detail').innerText")


async def test_an_event_of_a_pair_link_opens_that_and_not_the_link_of_the_same_name(desk: Desk) -> None:
    network, _ = with_pairs()
    await desk.look_at(network)
    network.say("pair_link_condition_changed", "pair link 'north' went", link="north")
    await desk.tab.run("document.getElementById('all-events').click()")
    await desk.tab.until("document.querySelector('#event-list .link-button') !== null")
    await desk.tab.run("document.querySelector('#event-list .link-button').click()")
    await desk.tab.until("location.hash === '#pair-link/north'")


async def test_pairs_are_reached_by_keyboard(desk: Desk) -> None:
    network, _ = with_pairs()
    await desk.look_at(network)
    tab = desk.tab
    await tab.run("document.getElementById('tab-stream').focus()")
    await tab.press("ArrowLeft")
    assert await tab.run("document.activeElement.id") == "tab-pair-link"
    await tab.press("ArrowLeft")
    assert await tab.run("document.activeElement.id") == "tab-pair-stream"
    await tab.press("Tab")
    await tab.press("Tab")
    await tab.press("Enter")
    await tab.until("location.hash === '#pair-stream/north'")
    await tab.press("Escape")
    await tab.until("document.getElementById('detail').hidden")


@pytest.mark.parametrize("view", ["", "#pair-stream/north", "#pair-link/south"])
async def test_everybody_can_read_of_pairs(desk: Desk, view: str) -> None:
    network, _ = with_pairs()
    await desk.look_at(network, view)
    await desk.tab.run("document.getElementById('tab-pair-stream').click()")
    for scheme, width in (("dark", 1440), ("light", 360)):
        await desk.tab.size(width, 740, phone=width < 600)
        await desk.tab.prefer(prefers_color_scheme=scheme, prefers_reduced_motion="reduce")
        assert await serious_violations(desk.tab) == []
        wide = "[document.documentElement.scrollWidth, document.documentElement.clientWidth]"
        assert len(set(await desk.tab.run(wide))) == 1
