"""Tables: figures people can read, and lines that fit."""

import itertools

import pytest
from rich.console import Console

from keyweave.cli import tables
from keyweave.cli.board import Board
from keyweave.v1 import admin_pb2, types_pb2


def status(links: int = 6, streams: int = 4) -> admin_pb2.GetStatusResponse:
    answer = admin_pb2.GetStatusResponse(epoch=3, plan_version=17)
    for number in range(links):
        link = types_pb2.Link(name=f"id-quantique-{number}", a_node="otemachi-1", b_node="koganei-2")
        answer.links.add(
            link=link,
            condition=types_pb2.LINK_CONDITION_DOWN if number else types_pb2.LINK_CONDITION_OK,
            qber_ratio=0.0271,
            skr_bps=304_000,
            usable_rate_bps=299_500,
            planned_bps=1024,
            pool_bits=1_610_000,
        )
    names = ["hongo", "otemachi-2", "koganei-2", "koganei-3"]
    hops = [types_pb2.Hop(link="l", from_node=a, to_node=b) for a, b in itertools.pairwise(names)]
    for number in range(streams):
        entry = answer.streams.add(
            stream=types_pb2.Stream(name=f"hospital-records-{number}"),
            protection=types_pb2.PROTECTION_HYBRID,
            delivered_bps=2760,
            buffered_keys=64,
        )
        entry.plan.rate_bps = 65_500
        entry.plan.path_sets.add(paths=[types_pb2.Path(path_id="p", hops=hops)])
    return answer


@pytest.mark.parametrize(
    ("bps", "text"),
    [
        (0, "0 bit/s"),
        (9.994, "9.99 bit/s"),
        (394, "394 bit/s"),
        (1990, "1.99 kbit/s"),
        (81_700, "81.7 kbit/s"),
        (304_000, "304 kbit/s"),
        (2.5e9, "2.50 Gbit/s"),
        (float("nan"), "- bit/s"),
    ],
)
def test_rates_have_three_figures(bps: float, text: str) -> None:
    assert tables.rate(bps) == text


def test_an_error_ratio_is_shown_in_percent_and_an_unknown_one_is_not() -> None:
    assert tables.percent(0.0271) == "2.71 %"
    assert tables.percent(float("nan")) == "-"


@pytest.mark.parametrize("width", [80, 100, 120])
def test_the_live_table_fits_and_shows_what_matters(width: int) -> None:
    board = Board()
    board.status = status()
    board.away = ""
    for number in range(50):
        board.events.append(
            admin_pb2.Event(id=number, kind="stream_failover", stream="s", message="moved " * 40)
        )
    console = Console(width=width, height=40, force_terminal=True, color_system=None)
    with console.capture() as capture:
        console.print(board.render(width, 40))
    lines = capture.get().splitlines()
    assert len(lines) <= 40
    assert all(len(line) <= width for line in lines)
    text = "\n".join(lines)
    for shown in ("id-quantique-5", "down", "2.71 %", "304 kbit/s", "1.61 Mbit", "hospital-records-3"):
        assert shown in text
    for shown in ("2.76 kbit/s", "hybrid", "64", "hongo → ", "stream_failover s", "epoch 3"):
        assert shown in text
    assert ("65.5 kbit/s" in text) == (width >= 112)


def test_a_low_terminal_shows_fewer_events_and_still_the_newest() -> None:
    board = Board()
    board.status = status()
    board.events.extend(admin_pb2.Event(id=number, kind=f"kind-{number}") for number in range(1, 9))
    console = Console(width=120, height=22, force_terminal=True, color_system=None)
    with console.capture() as capture:
        console.print(board.render(120, 22))
    text = capture.get()
    assert len(text.splitlines()) <= 22
    assert "kind-8" in text
    assert "kind-1" not in text


def test_a_policy_is_shown_as_applied_only_where_the_agent_has_what_is_desired() -> None:
    node = admin_pb2.NodeStatus(node=types_pb2.Node(name="a"), connected=True)
    node.desired_policy.digest = b"n" * 32
    for applied, shown in ((b"o" * 32, "pending"), (b"n" * 32, "applied")):
        node.applied_policy.digest = applied
        console = Console(width=100, color_system=None)
        with console.capture() as capture:
            console.print(tables.nodes_table([node], 100))
        assert shown in capture.get()


def test_a_key_and_a_link_that_go_through_a_vendors_domain_say_so() -> None:
    entry = types_pb2.LedgerEntry(path_ids=["s:1"], vendor_domains=["acme-metro"])
    assert "via s:1 and vendor domain acme-metro (hops unknown)" in tables.ledger_line(entry)
    entry.ClearField("vendor_domains")
    assert "vendor" not in tables.ledger_line(entry)
    answer = status(links=2)
    answer.links[1].vendor_domain = "acme-metro"
    console = Console(width=120, record=True)
    console.print(tables.links_table(answer.links, 120))
    assert [line.count("through acme-metro") for line in console.export_text().splitlines()].count(1) == 1
