"""What `make bench` writes and prints; nothing here is timed."""

import asyncio
import json
from math import inf

import pytest

from tests.bench import __main__ as bench
from tests.bench import network, relay, start
from tests.bench.measure import alternate, median_pairs, quantile
from tests.bench.report import Result, table, to_json

RESULTS = [
    Result("etsi014_requests_per_second", 12345.6, "1/s", 24000.0, 0.5144, "python -m tests.bench etsi014"),
    Result("relay_batch_p99_seconds", 0.0035123, "s", 0.0005, 7.0246, "python -m tests.bench relay"),
]


def test_bench_json_is_a_list_of_results_with_exactly_the_agreed_fields() -> None:
    written = json.loads(to_json(RESULTS))
    assert [set(row) for row in written] == [{"name", "value", "unit", "baseline", "ratio", "command"}] * 2
    assert written[0] == {
        "name": "etsi014_requests_per_second",
        "value": 12345.6,
        "unit": "1/s",
        "baseline": 24000.0,
        "ratio": 0.5144,
        "command": "python -m tests.bench etsi014",
    }


def test_the_table_lines_numbers_up_under_their_headings() -> None:
    assert table(RESULTS).splitlines() == [
        "name                            value  baseline  unit  ratio",
        "etsi014_requests_per_second    12,346    24,000  1/s   0.514",
        "relay_batch_p99_seconds      0.003512    0.0005  s     7.025",
    ]


def test_a_ratio_is_the_median_over_pairs_so_that_one_disturbed_pair_does_not_count() -> None:
    rounds = [
        ({"rate": 5.0}, {"rate": 10.0}),
        ({"rate": 6.0}, {"rate": 10.0}),
        ({"rate": 9.0}, {"rate": 1.0}),
    ]
    (result,) = median_pairs(rounds, {"rate": "1/s"}, "part")
    assert result == Result("part_rate", 6.0, "1/s", 10.0, 0.6, "python -m tests.bench part")


def test_ours_and_the_baseline_take_turns_in_going_first_and_the_warm_up_is_not_reported() -> None:
    order: list[str] = []

    async def ours() -> dict[str, float]:
        order.append("A")
        return {"n": float(len(order))}

    async def bare() -> dict[str, float]:
        order.append("B")
        return {"n": float(len(order))}

    rounds = asyncio.run(alternate(ours, bare, 2))
    assert "".join(order) == "AB" + "AB" + "BA"
    assert rounds == [({"n": 3.0}, {"n": 4.0}), ({"n": 6.0}, {"n": 5.0})]


def test_a_quantile_is_one_of_the_values() -> None:
    values = [float(n) for n in range(100, 0, -1)]
    assert (quantile(values, 0.5), quantile(values, 0.99), quantile([7.0], 0.99)) == (50.0, 99.0, 7.0)


def test_an_unknown_part_is_refused_with_the_known_ones() -> None:
    with pytest.raises(
        SystemExit,
        match="no part speed; the parts are batch, diagnosis, etsi014, heal, ingest, planning, relay",
    ):
        bench.main(["speed"])


EXPOSITION = """\
# TYPE keyweave_agent_confirmed_bits counter
keyweave_agent_confirmed_bits_total{stream="far"} 8192.0
keyweave_agent_batch_seconds_bucket{le="0.01",stream="far"} 3.0
keyweave_agent_batch_seconds_bucket{le="0.02",stream="far"} 99.0
keyweave_agent_batch_seconds_bucket{le="+Inf",stream="far"} 100.0
"""


def test_what_an_agent_counts_is_read_by_name_and_labels() -> None:
    samples = network.parsed(EXPOSITION)
    assert network.of(samples, "keyweave_agent_confirmed_bits_total", stream="far") == 8192
    assert network.of(samples, "keyweave_agent_confirmed_bits_total", stream="near") == 0
    times = network.buckets(samples, "keyweave_agent_batch_seconds", stream="far")
    assert times == {0.01: 3, 0.02: 99, inf: 100}
    assert relay.quantile_bound(times, 0.5) == 0.02
    assert relay.quantile_bound(times, 0.99) == 0.02
    assert relay.quantile_bound(times, 0.995) == inf


def test_the_fifty_nodes_that_are_started_are_surfnet() -> None:
    scenario = start.surfnet_scenario()
    assert (len(scenario["nodes"]), len(scenario["links"])) == (50, 68)
    assert {s["source_node"] for s in scenario["streams"]} <= {n["name"] for n in scenario["nodes"]}
