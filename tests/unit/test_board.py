"""One screen: what is wrong stands first, everything fits, and nothing is left out without a word."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from keyweave.cli.board import Board, LinkOrder, StreamOrder, View, Wanted, rows
from keyweave.cli.troubles import Weight, health, summary, troubles
from keyweave.v1 import admin_pb2, agent_pb2, types_pb2

POLICY = agent_pb2.PolicyVersion(epoch=1, version=1, digest=b"d" * 32)
CONDITIONS = (
    types_pb2.LINK_CONDITION_OK,
    types_pb2.LINK_CONDITION_DOWN,
    types_pb2.LINK_CONDITION_SUSPECT,
    types_pb2.LINK_CONDITION_DEGRADED,
)


def network(nodes: int = 3, links: int = 4, streams: int = 2) -> admin_pb2.GetStatusResponse:
    """Everything as it should be."""
    status = admin_pb2.GetStatusResponse(epoch=1, plan_version=9)
    for number in range(nodes):
        node = types_pb2.Node(name=f"node-{number}")
        status.nodes.add(node=node, connected=True, desired_policy=POLICY, applied_policy=POLICY)
    for number in range(links):
        link = types_pb2.Link(name=f"link-{number}", a_node="node-0", b_node=f"node-{number % 3}")
        status.links.add(
            link=link, condition=types_pb2.LINK_CONDITION_OK, qber_ratio=0.01 * number, skr_bps=1e3 * number
        )
    for number in range(streams):
        stream = types_pb2.Stream(name=f"stream-{number}", source_node="node-1", target_node="node-2")
        status.streams.add(stream=stream, protection=types_pb2.PROTECTION_HYBRID, buffered_keys=9)
    return status


def screen(board: Board, width: int = 80, height: int | None = 24) -> list[str]:
    console = Console(width=width, height=height or 500, force_terminal=True, color_system=None)
    with console.capture() as capture:
        console.print(board.render(width, height))
    return capture.get().splitlines()


def test_where_all_is_well_nothing_is_said_to_be_wrong() -> None:
    assert troubles(network()) == []
    assert health([]) == "ok"
    assert screen(Board(status=network(), away=""))[0].startswith("OK")


def test_a_network_that_was_never_reached_is_not_called_ok() -> None:
    assert screen(Board())[0] == "waiting for the controller"


def test_what_is_broken_stands_before_what_is_impaired_and_that_before_an_operators_doing() -> None:
    status = network()
    status.links[0].link.disabled = True
    status.links[1].condition = types_pb2.LINK_CONDITION_DOWN
    status.links[1].reason = "no signal"
    status.links[2].condition = types_pb2.LINK_CONDITION_SUSPECT
    status.streams[0].protection = types_pb2.PROTECTION_PQC
    status.streams[0].plan.unmet = "no usable links connect node-1 and node-2"
    status.nodes[2].connected = False
    found = troubles(status)
    assert [(one.weight, one.subject) for one in found] == [
        (Weight.BROKEN, "node 'node-2'"),
        (Weight.IMPAIRED, "stream 'stream-0'"),
        (Weight.IMPAIRED, "link 'link-2'"),
        (Weight.IMPAIRED, "link 'link-1'"),
        (Weight.NOTED, "link 'link-0'"),
    ]
    assert health(found) == "broken"
    assert health(found[1:]) == "degraded"
    assert health(found[4:]) == "ok"
    lines = screen(Board(status=status, away=""))
    assert lines[0].startswith("BROKEN")
    assert lines[3] == "node 'node-2': its agent is not connected"
    assert "link 'link-1': down: no signal" in lines


def test_a_satellites_link_between_contacts_and_a_stream_that_wants_ml_kem_alone_are_no_trouble() -> None:
    status = network()
    status.links[0].condition = types_pb2.LINK_CONDITION_STALE
    status.links[0].next_contact.start_unix_nanos = 1
    status.streams[0].protection = types_pb2.PROTECTION_PQC
    status.streams[0].stream.pqc_only = True
    assert health(troubles(status)) == "ok"


def test_a_stream_that_makes_no_keys_lives_on_what_is_ready_and_then_is_broken() -> None:
    status = network()
    status.streams[0].protection = types_pb2.PROTECTION_NONE
    assert [one.weight for one in troubles(status)] == [Weight.IMPAIRED]
    status.streams[0].buffered_keys = 0
    assert [one.weight for one in troubles(status)] == [Weight.BROKEN]


def test_the_worst_links_and_streams_are_those_that_are_left_on_a_small_screen() -> None:
    status = network(nodes=50, links=68, streams=40)
    status.links[60].condition = types_pb2.LINK_CONDITION_DOWN
    status.streams[33].protection = types_pb2.PROTECTION_PQC
    lines = screen(Board(status=status, away=""))
    text = "\n".join(lines)
    assert len(lines) <= 24
    assert "68 links: 67 ok, 1 down; 40 streams: 39 hybrid, 1 pqc" in text.replace("\n", " ")
    assert text.index("stream-33") < text.index("link-60")
    streams = [line.split()[0] for line in lines if line.startswith("stream-")]
    links = [line.split()[0] for line in lines if line.startswith("link-")]
    assert (streams[0], links[:2]) == ("stream-33", ["link-60", "link-67"])
    left_out = [line for line in lines if line.endswith("more, better off")]
    assert left_out == [
        f"... {40 - len(streams)} more, better off",
        f"... {68 - len(links)} more, better off",
    ]


@given(
    height=st.integers(24, 90),
    width=st.sampled_from([80, 112, 200]),
    sizes=st.tuples(st.integers(1, 60), st.integers(0, 70), st.integers(0, 40)),
    events=st.integers(0, 12),
    wrong=st.lists(st.tuples(st.integers(0, 69), st.sampled_from(CONDITIONS)), max_size=40),
)
def test_whatever_the_network_it_fits(
    height: int, width: int, sizes: tuple[int, int, int], events: int, wrong: list[tuple[int, int]]
) -> None:
    status = network(*sizes)
    for number, condition in wrong:
        if number < len(status.links):
            status.links[number].condition = condition  # type: ignore[assignment]  # a number is one too
    board = Board(status=status, away="")
    board.events.extend(admin_pb2.Event(id=number, kind="kind") for number in range(events))
    lines = screen(board, width, height)
    assert len(lines) <= height
    assert all(len(line) <= width for line in lines)
    if sizes[1]:
        assert any(line.startswith("link-") for line in lines)


@given(
    height=st.integers(0, 60),
    wanted=st.lists(
        st.builds(Wanted, rows=st.integers(0, 50), least=st.integers(1, 4), besides=st.integers(0, 3)),
        max_size=5,
    ),
)
def test_sections_never_take_more_lines_than_there_are(height: int, wanted: list[Wanted]) -> None:
    given_rows = rows(height, wanted)
    used = sum(
        shown + one.besides + (shown < one.rows)
        for shown, one in zip(given_rows, wanted, strict=True)
        if shown
    )
    assert used <= height
    assert all(shown <= one.rows for shown, one in zip(given_rows, wanted, strict=True))


def test_room_that_is_left_is_used() -> None:
    assert rows(100, [Wanted(50, 2, 3), Wanted(40, 2, 3)]) == [50, 40]
    first, second = rows(50, [Wanted(50, 2, 3), Wanted(40, 2, 3)])
    assert first + second + 2 * 3 + 2 == 50
    assert rows(9, [Wanted(6, 2, 3)]) == [6]


@pytest.mark.parametrize(
    ("order", "first"),
    [
        (LinkOrder.NAME, "link-0"),
        (LinkOrder.QBER, "link-3"),
        (LinkOrder.RATE, "link-0"),
        (LinkOrder.BADNESS, "link-1"),
    ],
)
def test_links_are_sorted_as_asked(order: LinkOrder, first: str) -> None:
    status = network()
    status.links[1].condition = types_pb2.LINK_CONDITION_DOWN
    assert View(links=order).of(status).links[0].link.name == first


def test_streams_are_sorted_by_what_they_lack() -> None:
    status = network(streams=5)
    status.streams[4].protection = types_pb2.PROTECTION_NONE
    status.streams[4].buffered_keys = 0
    status.streams[3].protection = types_pb2.PROTECTION_PQC
    status.streams[2].stream.min_rate_bps = 100
    status.streams[2].plan.rate_bps = 10
    status.streams[1].buffered_keys = 1
    found = [one.stream.name for one in View().of(status).streams]
    assert found == ["stream-4", "stream-3", "stream-2", "stream-1", "stream-0"]
    assert View(streams=StreamOrder.NAME).of(status).streams[0].stream.name == "stream-0"


def test_a_filter_keeps_what_has_it_in_its_name_or_at_its_ends() -> None:
    seen = View(match="node-2").of(network())
    assert [one.node.name for one in seen.nodes] == ["node-2"]
    assert [one.link.name for one in seen.links] == ["link-2"]
    assert len(seen.streams) == 2
    assert View(match="link-3").of(network()).links[0].link.name == "link-3"


def test_the_counts_name_every_condition_and_protection_there_is() -> None:
    assert summary(network()) == "3 of 3 agents; 4 links: 4 ok; 2 streams: 2 hybrid"
    assert summary(admin_pb2.GetStatusResponse()) == "0 of 0 agents; 0 links: none; 0 streams: none"
