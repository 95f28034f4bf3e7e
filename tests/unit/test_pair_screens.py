"""What people are shown of entangled pairs: what is wrong first, figures with their intervals."""

from rich.console import Console

from keyweave.cli.board import Board
from keyweave.cli.troubles import Weight, health, summary, troubles
from keyweave.v1 import admin_pb2, pairs_pb2, types_pb2


def status(state: "admin_pb2.PairStreamState", **given: object) -> admin_pb2.GetStatusResponse:
    """A healthy node, a link of pairs that is well, a stream over it."""
    digest = types_pb2.Node(name="a"), b"d"
    node = admin_pb2.NodeStatus(node=digest[0], connected=True)
    node.desired_policy.digest = node.applied_policy.digest = digest[1]
    stream = admin_pb2.PairStreamStatus(
        pair_stream=pairs_pb2.PairStream(
            name="s", source_node="a", target_node="b", min_fidelity=0.85, rate_hz=5.0
        ),
        state=state,
        **given,  # type: ignore[arg-type]  # fields by name
    )
    link = admin_pb2.PairLinkState(
        name="ab",
        a_node="a",
        b_node="b",
        condition=types_pb2.LINK_CONDITION_OK,
        success_ratio=0.002,
        pair_rate_hz=26.7,
        fidelity=0.95,
        fidelity_low=0.93,
        fidelity_high=0.97,
    )
    return admin_pb2.GetStatusResponse(nodes=[node], pair_streams=[stream], pair_links=[link])


def screen(answer: admin_pb2.GetStatusResponse, width: int = 140, height: int | None = None) -> str:
    console = Console(width=width, record=True, file=None)
    with console.capture() as captured:
        console.print(Board(status=answer, away="").render(width, height))
    return captured.get()


def test_all_is_well_where_streams_are_met() -> None:
    answer = status(admin_pb2.PAIR_STREAM_STATE_MET, delivered_rate_hz=4.9, measured_fidelity=0.91)
    answer.pair_streams[0].measured_fidelity_high = 0.93
    assert health(troubles(answer)) == "ok"
    assert "1 of 1 pair streams met, 1 of 1 pair links ok" in summary(answer)
    shown = screen(answer)
    assert "0.910" in shown
    assert "±0.020" in shown


def test_a_stream_without_pairs_and_one_below_its_floor_are_told_with_the_reason() -> None:
    unmet = status(admin_pb2.PAIR_STREAM_STATE_UNMET, reason="no path")
    assert [(one.weight, str(one)) for one in troubles(unmet)] == [
        (Weight.BROKEN, "pair stream 's': gets no pairs: no path")
    ]
    low = status(admin_pb2.PAIR_STREAM_STATE_MET, measured_fidelity=0.7, measured_fidelity_high=0.75)
    (trouble,) = troubles(low)
    assert (trouble.weight, "below 0.85" in trouble.what) == (Weight.IMPAIRED, True)


def test_a_link_of_pairs_that_is_down_is_told() -> None:
    answer = status(admin_pb2.PAIR_STREAM_STATE_MET)
    answer.pair_links[0].condition = types_pb2.LINK_CONDITION_DOWN
    answer.pair_links[0].reason = "no signal at 'a'"
    (trouble,) = troubles(answer)
    assert str(trouble) == "pair link 'ab': down: no signal at 'a'"


def test_networks_without_pairs_show_nothing_of_them() -> None:
    answer = status(admin_pb2.PAIR_STREAM_STATE_MET)
    for name in ("pair_links", "pair_streams"):
        answer.ClearField(name)
    assert "pair" not in screen(answer).lower()
