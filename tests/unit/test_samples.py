"""Columns from the wire: whatever cannot be true is refused with the name of its field."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyweave.common.errors import InvalidInputError
from keyweave.common.names import NodeName
from keyweave.common.quantities import LINK_RANGES
from keyweave.controller.samples import decode
from keyweave.controller.topology import Status
from keyweave.v1 import agent_pb2, types_pb2

NODE = NodeName("a")
NAN = float("nan")


def packed(*values: float) -> bytes:
    return np.array(values, dtype="<f4").tobytes()


def message(rows: int = 4, **fields: object) -> agent_pb2.LinkSamples:
    given_fields = {
        "link": "a-b",
        "start_unix_nanos": 1_700_000_000_500_000_000,
        "interval_micros": 100_000,
        "rows": rows,
        "status": types_pb2.LINK_STATUS_ACTIVE,
        **fields,
    }
    return agent_pb2.LinkSamples(**given_fields)  # type: ignore[arg-type]


def refusal(bad: agent_pb2.LinkSamples) -> str:
    with pytest.raises(InvalidInputError) as caught:
        decode(bad, NODE, "links[2]")
    return str(caught.value)


def test_a_batch_arrives_as_it_was_sent() -> None:
    decoded = decode(message(qber_ratio=packed(0.01, 0.02, 0.5, 0), skr_bps=packed(1, 2, 3, 4)), NODE)

    assert (decoded.link, decoded.node, decoded.rows) == ("a-b", "a", 4)
    assert (decoded.start, decoded.interval_seconds) == (1_700_000_000.5, 0.1)
    assert decoded.end == pytest.approx(1_700_000_000.9)
    assert decoded.qber_ratio.tolist() == pytest.approx([0.01, 0.02, 0.5, 0])
    assert decoded.skr_bps.tolist() == [1, 2, 3, 4]
    assert decoded.status is Status.ACTIVE


def test_what_a_device_does_not_measure_is_empty_and_what_it_missed_is_nan() -> None:
    decoded = decode(message(qber_ratio=packed(0.01, NAN, NAN, 0.02)), NODE)

    assert decoded.skr_bps.size == 0
    assert np.isnan(decoded.qber_ratio).tolist() == [False, True, True, False]


def test_columns_cannot_be_written_to() -> None:
    decoded = decode(message(qber_ratio=packed(0, 0, 0, 0)), NODE)

    with pytest.raises(ValueError, match="read-only"):
        decoded.qber_ratio[0] = 1.0


@pytest.mark.parametrize(
    ("bad", "expected"),
    [
        (message(qber_ratio=packed(0, 0, 0, 0.7)), "links[2].qber_ratio: 0.7 at row 3 is outside 0..0.5"),
        (message(qber_ratio=packed(0, -0.01, 0, 0)), "links[2].qber_ratio: -0.01 at row 1 is outside 0..0.5"),
        (message(skr_bps=packed(0, 0, float("inf"), 0)), "links[2].skr_bps: inf at row 2 is not a finite"),
        (
            message(skr_bps=packed(-1, 0, 0, 0)),
            "links[2].skr_bps: -1 at row 0 is not a finite number of at least 0",
        ),
        (message(loss_db=packed(0, 0, 0, 201)), "links[2].loss_db: 201 at row 3 is outside 0..200"),
        (message(visibility_ratio=packed(0, 0, 0, 1.5)), "links[2].visibility_ratio: 1.5 at row 3"),
        (message(skr_bps=packed(1, 2, 3)), "links[2].skr_bps: has 12 bytes; 4 rows of binary32 are 16"),
        (message(skr_bps=b"12345"), "links[2].skr_bps: has 5 bytes"),
        (message(rows=0), "links[2].rows: 0 is outside 1..4096"),
        (message(rows=4097), "links[2].rows: 4097 is outside 1..4096"),
        (message(interval_micros=0), "links[2].interval_micros: is 0"),
        (message(link="A_B"), "links[2].link: 'A_B' is not a name"),
        (message(status=types_pb2.LINK_STATUS_UNSPECIFIED), "links[2].status: 0 is not one of active"),
        (message(status=17), "links[2].status: 17 is not one of active"),
    ],
)
def test_what_cannot_be_true_is_refused_by_name(bad: agent_pb2.LinkSamples, expected: str) -> None:
    assert refusal(bad).startswith(expected)


@pytest.mark.parametrize(
    ("column", "value", "expected"),
    [
        ("efficiency_ratio", 1.2, "1.2 at row 1 is outside"),
        ("temperature_celsius", -300, "-300 at row 1"),
        ("bias_volts", float("-inf"), "-inf at row 1 is not a finite number"),
        ("dark_count_rate_hz", -5, "-5 at row 1"),
    ],
)
def test_a_wrong_detector_value_names_detector_and_row(column: str, value: float, expected: str) -> None:
    good = agent_pb2.DetectorSamples(detector="d1", bias_volts=packed(-3, 0, 60, NAN))
    bad = agent_pb2.DetectorSamples(detector="d2", **{column: packed(0, value, 0, 0)})

    assert refusal(message(detectors=[good, bad])).startswith(f"links[2].detectors[1].{column}: {expected}")


def test_detectors_need_names_and_are_few() -> None:
    assert "detectors[0].detector" in refusal(message(detectors=[agent_pb2.DetectorSamples()]))
    many = [agent_pb2.DetectorSamples(detector=f"d{i}") for i in range(17)]
    assert refusal(message(detectors=many)) == "links[2].detectors: 17 detectors; at most 16 are taken"


@given(
    name=st.sampled_from(sorted(LINK_RANGES)),
    values=st.lists(st.floats(width=32, allow_nan=True, allow_infinity=True), min_size=1, max_size=20),
)
def test_a_column_is_taken_exactly_if_every_value_is_in_range_or_missing(
    name: str, values: list[float]
) -> None:
    low, high = LINK_RANGES[name]
    honest = all(value != value or low <= value <= high for value in values)  # NaN
    sent = message(rows=len(values), **{name: packed(*values)})

    if honest:
        assert getattr(decode(sent, NODE), name).tobytes() == packed(*values)
    else:
        refusal(sent)


@given(st.binary(max_size=200))
def test_no_bytes_crash_the_decoder(data: bytes) -> None:
    try:
        decoded = decode(message(rows=10, qber_ratio=data), NODE)
    except InvalidInputError:
        return
    assert decoded.qber_ratio.size in {0, 10}
