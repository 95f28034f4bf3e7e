"""The history: figures add up over any split of time, unknown time stays unknown, rows age without loss."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyweave.controller.event_kinds import KindName
from keyweave.controller.events import Event, Severity
from keyweave.controller.history.cells import FAILOVER_BOUNDS_SECONDS, Failovers, Spread
from keyweave.controller.history.rows import TIERS, Happening, Row, due_merges, merged
from keyweave.controller.history.seeing import NEWCOMER_SECONDS, Newcomers, happening, network_seen
from keyweave.controller.history.watch import (
    LONGEST_HOLD_SECONDS,
    LinkSeen,
    NodeSeen,
    PairLinkSeen,
    PairStreamSeen,
    Seen,
    Served,
    StreamSeen,
    Totals,
    Watch,
)
from keyweave.controller.history.wire import pack, row_message, row_of, totals_message, totals_of, unpack
from keyweave.controller.stimuli import AgentHello, Batch, PolicyDisconnected, StreamsReported, TelemetryLost
from keyweave.v1 import agent_pb2, history_pb2, types_pb2
from tests.unit.core_run import RATES, A, B, Run, reported
from tests.unit.pair_run import PairRun, wanted

START = 1_800_000_000.0  # the first second of a minute, an hour and a day of UTC
CONDITIONS = ["ok", "degraded", "suspect", "down", "stale", "maintenance"]

link_states = st.builds(
    LinkSeen,
    condition=st.sampled_from(CONDITIONS),
    status=st.sampled_from(["active", "passive", "pending", "off"]),
    qber_ratio=st.none() | st.floats(0.001, 0.2),
    skr_bps=st.none() | st.floats(0, 1e6),
    loss_db=st.none() | st.floats(1, 40),
)
stream_states = st.builds(
    StreamSeen,
    service=st.sampled_from(["serving", "degraded", "unserved", "silent"]),
    protection=st.sampled_from(["qkd", "hybrid", "pqc", "none", "unknown"]),
    planned_bps=st.floats(0, 1e6),
)
pair_link_states = st.builds(
    PairLinkSeen,
    condition=st.sampled_from(["ok", "down", "stale", "maintenance"]),
    pair_rate_hz=st.none() | st.floats(0.01, 1e4),
    fidelity=st.none() | st.floats(0.25, 1),
)
pair_stream_states = st.builds(
    PairStreamSeen,
    standing=st.sampled_from(["met", "partly_met", "unmet"]),
    planned_rate_hz=st.floats(0, 1e4),
    delivered_rate_hz=st.floats(0, 1e4),
    fidelity=st.none() | st.floats(0.25, 1),
)
networks = st.builds(
    lambda link, stream, presence, making, getting: Seen(
        {"ab": link},
        {"s": stream},
        {"a": NodeSeen(presence)},
        # Pairs may be called as keys are.
        pair_links={"ab": making},
        pair_streams={"s": getting},
    ),
    link_states,
    stream_states,
    st.sampled_from(["connected", "away", "maintenance"]),
    pair_link_states,
    pair_stream_states,
)
# How each state lasts, in pieces after each of which one looks again and sees the same.
lives = st.lists(
    st.tuples(networks, st.lists(st.floats(0.05, LONGEST_HOLD_SECONDS), min_size=1, max_size=5)),
    min_size=1,
    max_size=6,
)


def watched(looks: list[tuple[Seen, float]], row_seconds: int) -> list[Row]:
    watch = Watch(row_seconds=row_seconds)
    rows = [row for seen, time in looks for row in watch.look(seen, time)]
    return rows + watch.finish(looks[-1][1])


def figures(rows: list[Row]) -> dict[str, float]:
    """All figures of a network in one flat mapping."""
    whole = merged(0, 0, rows)
    found = {"watched": whole.watched_seconds}
    for link in whole.links.values():
        found |= {f"condition {word}": seconds for word, seconds in link.condition.items()}
        found |= {f"status {word}": seconds for word, seconds in link.status.items()}
        for name, spread in (("qber", link.qber_ratio), ("skr", link.skr_bps), ("loss", link.loss_db)):
            found |= spread_figures(name, spread)
    for making in whole.pair_links.values():
        found |= {f"pair condition {word}": seconds for word, seconds in making.condition.items()}
        found |= spread_figures("pair rate", making.pair_rate_hz)
        found |= spread_figures("pair fidelity", making.fidelity)
    for getting in whole.pair_streams.values():
        found |= {f"standing {word}": seconds for word, seconds in getting.standing.items()}
        found |= {"planned pairs": getting.planned_pairs}
        found |= spread_figures("delivered", getting.delivered_rate_hz)
        found |= spread_figures("delivered fidelity", getting.fidelity)
    for stream in whole.streams.values():
        found |= {f"service {word}": seconds for word, seconds in stream.service.items()}
        found |= {f"protection {word}": seconds for word, seconds in stream.protection.items()}
        found["planned"] = stream.planned_bits
    for node in whole.nodes.values():
        found |= {f"presence {word}": seconds for word, seconds in node.presence.items()}
    return found


def spread_figures(name: str, spread: Spread) -> dict[str, float]:
    """Of a quantity; nothing where it was never measured."""
    if not spread.seconds:
        return {}
    return {
        f"{name} seconds": spread.seconds,
        f"{name} mean": spread.mean,
        f"{name} least": spread.least,
        f"{name} most": spread.most,
        f"{name} deviation": round(spread.deviation, 6),
    }


@given(lives, st.sampled_from([7, 60, 3600]))
def test_any_split_of_time_gives_the_figures_of_the_whole(
    life: list[tuple[Seen, list[float]]], row_seconds: int
) -> None:
    now = START
    once, often = [], []
    for seen, pieces in life:
        # Together at most as long as may be held, so that one look a state is enough as well.
        scale = min(1.0, 0.99 * LONGEST_HOLD_SECONDS / sum(pieces))
        once.append((seen, now))
        for piece in pieces:
            often.append((seen, now))
            now += piece * scale
    end = (life[-1][0], now)
    whole, split = figures(watched([*once, end], 86_400)), figures(watched([*often, end], row_seconds))
    assert split.keys() == whole.keys()
    assert split == pytest.approx(whole, rel=1e-6, abs=1e-5)
    assert whole["watched"] == pytest.approx(now - START)


@given(lives)
def test_rows_never_overlap_and_follow_each_other(life: list[tuple[Seen, list[float]]]) -> None:
    now, looks = START, []
    for seen, pieces in life:
        for piece in pieces:
            looks.append((seen, now))
            now += piece
    rows = watched(looks, 7)
    assert all(before.end <= after.start for before, after in pairwise(rows))
    assert all(row.watched_seconds <= row.seconds + 1e-6 for row in rows)


OK = Seen({"ab": LinkSeen("ok", "active", 0.03, 9000.0, 6.0)})


def test_what_nobody_saw_is_neither_up_nor_down() -> None:
    watch = Watch()
    watch.look(OK, START)
    watch.look(OK, START + 5)
    rows = watch.look(OK, START + 5 + 200) + watch.look(OK, START + 209) + watch.finish(START + 209)
    assert sum(row.watched_seconds for row in rows) == 9
    assert sum(row.links["ab"].condition["ok"] for row in rows if row.links) == 9
    assert [row.start for row in rows] == [START, START + 180]


def test_a_look_may_be_as_late_as_is_held_and_no_later() -> None:
    for late, seen in ((LONGEST_HOLD_SECONDS, LONGEST_HOLD_SECONDS), (LONGEST_HOLD_SECONDS + 0.1, 0.0)):
        watch = Watch()
        watch.look(OK, START)
        watch.look(OK, START + late)
        assert sum(row.watched_seconds for row in watch.finish(START + late)) == seen


def test_a_link_that_changes_between_two_looks_is_counted_to_the_moment() -> None:
    watch = Watch()
    watch.look(OK, START)
    watch.link("ab", LinkSeen("down", "off"), START + 0.25)
    watch.look(Seen({"ab": LinkSeen("down", "off")}), START + 1)
    (row,) = watch.finish(START + 1)
    assert row.links["ab"].condition == {"ok": 0.25, "down": 0.75}
    assert row.links["ab"].qber_ratio.seconds == 0.25


def test_the_open_row_shows_what_is_so_far_and_stays_open() -> None:
    watch = Watch()
    watch.look(OK, START)
    shown = watch.open_row(START + 3)
    assert shown is not None
    assert shown.links["ab"].condition == {"ok": 3}
    watch.look(OK, START + 4)
    (row,) = watch.finish(START + 4)
    assert row.links["ab"].condition == {"ok": 4}


# ---- what agents count ------------------------------------------------------------------------------


def serving(keys: int, *, stream: str = "s") -> Seen:
    total = Served(confirmed_bits=keys * 256, hybrid=keys)
    return Seen(
        streams={stream: StreamSeen("serving", "hybrid")}, served={(stream, "a"): total}, existing=[stream]
    )


def counted(watch: Watch, now: float) -> tuple[int, int]:
    cells = [cell for row in watch.finish(now) for cell in row.streams.values()]
    return sum(cell.served.get("hybrid", 0) for cell in cells), sum(cell.delivered_bits for cell in cells)


def test_keys_are_counted_from_when_they_are_watched_and_across_an_agents_restart() -> None:
    watch = Watch()
    for second, keys in enumerate((100, 103, 110, 2, 3)):
        watch.look(serving(keys), START + second)
    # 100 were before anybody watched; then 10, a restart with 2, then 1.
    assert counted(watch, START + 5) == (13, 13 * 256)


def test_keys_served_while_the_controller_was_away_are_counted_when_it_is_back() -> None:
    before = Watch()
    before.look(serving(5), START)
    kept = totals_of(unpack(history_pb2.HistoryTotals, pack(totals_message(before.totals))))
    after = Watch(kept)
    after.look(serving(12), START + 100)
    assert counted(after, START + 100) == (7, 7 * 256)


def test_totals_of_what_is_gone_are_forgotten() -> None:
    watch = Watch(Totals({("old", "a"): Served(1, 1, 1, 1)}, {"gone": 3}))
    watch.look(serving(1), START)
    assert set(watch.totals.served) == {("s", "a")}
    assert watch.totals.dropped == {}


# ---- failovers --------------------------------------------------------------------------------------


@given(st.lists(st.floats(0.001, 100.0), min_size=1, max_size=50), st.floats(0.01, 1.0))
def test_a_quantile_of_failovers_is_never_less_than_the_true_one(
    durations: list[float], share: float
) -> None:
    failovers = Failovers()
    for duration in durations:
        failovers.add(duration)
    ordered = sorted(durations)
    true = next(d for i, d in enumerate(ordered, start=1) if i >= share * len(ordered) - 1e-9)
    assert failovers.at_most(share) >= min(true, failovers.longest_seconds) - 1e-12
    assert failovers.at_most(1.0) == failovers.longest_seconds == ordered[-1]
    assert failovers.total == len(durations)


def test_a_move_that_interrupts_nothing_is_no_failover() -> None:
    failovers = Failovers()
    failovers.add(0.0)
    failovers.add(FAILOVER_BOUNDS_SECONDS[-1] + 1)
    assert (failovers.planned, failovers.total, failovers.counts[-1]) == (1, 1, 1)


# ---- on the wire ------------------------------------------------------------------------------------


@given(lives)
def test_a_row_survives_the_store_to_single_precision(life: list[tuple[Seen, list[float]]]) -> None:
    now, looks = START, []
    for seen, pieces in life:
        looks.append((seen, now))
        now += pieces[0]
    rows = watched([*looks, (life[-1][0], now)], 86_400)
    back = [row_of(unpack(history_pb2.HistoryRow, pack(row_message(row)))) for row in rows]
    assert figures(back) == pytest.approx(figures(rows), rel=1e-5, abs=1e-5)
    assert [(row.start, row.seconds) for row in back] == [(row.start, row.seconds) for row in rows]


def test_failovers_and_happenings_survive_the_store() -> None:
    watch = Watch()
    watch.look(serving(1), START)
    for seconds in (0.03, 0.0, 45.0):
        watch.failover("s", seconds, START)
    said = Happening(START + 0.5, "link_condition_changed", "major", "m", link="ab", fields={"new": "down"})
    watch.happened(said, START)
    (row,) = watch.finish(START + 1)
    back = row_of(row_message(row))
    assert back.happenings == [said]
    assert back.streams["s"].failovers == row.streams["s"].failovers


def test_a_row_has_room_for_so_many_happenings_and_counts_the_rest() -> None:
    row = Row(0, 60)
    for second in range(5):
        row.keep(Happening(second, "k", "minor", "m"), most=3)
    assert [each.time_unix_seconds for each in row.happenings] == [0, 1, 2]
    assert row.lost_happenings == 2


# ---- ageing -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("tier", range(len(TIERS) - 1))
def test_a_block_is_merged_once_all_of_it_is_old_enough(tier: int) -> None:
    short, long = TIERS[tier], TIERS[tier + 1]
    starts = range(0, 2 * long.seconds, short.seconds)
    assert due_merges(tier, starts, long.seconds + short.kept_seconds - 1) == ()
    (merge,) = due_merges(tier, starts, long.seconds + short.kept_seconds)
    assert (merge.start, merge.seconds) == (0, long.seconds)
    assert merge.rows == tuple(range(0, long.seconds, short.seconds))


def test_every_tier_fills_the_next_evenly() -> None:
    assert all(long.seconds % short.seconds == 0 for short, long in pairwise(TIERS))
    assert all(short.kept_seconds < long.kept_seconds for short, long in pairwise(TIERS))
    assert TIERS[-1].kept_seconds >= 366 * 86_400


# ---- what is seen of a core -------------------------------------------------------------------------


def reports(node: str, protection: types_pb2.Protection, buffered: int) -> agent_pb2.StreamState:
    return agent_pb2.StreamState(
        stream="s",
        is_source=node == "a",
        protection=protection,
        buffered_keys=buffered,
        served_hybrid_total=4,
    )


def core_with(protection: types_pb2.Protection, buffered: int, *, lost: bool = False) -> Run:
    run = Run()
    run.connect()
    run.measure(3, RATES)
    for node in (A, B):
        hello = AgentHello(node, agent_pb2.TelemetryHello(node=node, incarnation=b"i" * 16))
        told = StreamsReported(node, (reports(node, protection, buffered),))
        run.handle(Batch(node, b"i" * 16, 1, (hello, told)))
    if lost:
        run.handle(Batch(B, b"i" * 16, 0, (TelemetryLost(B),)))
    return run


@pytest.mark.parametrize(
    ("protection", "buffered", "lost", "service"),
    [
        (types_pb2.PROTECTION_HYBRID, 9, False, "serving"),
        (types_pb2.PROTECTION_QKD, 9, False, "serving"),
        (types_pb2.PROTECTION_PQC, 9, False, "degraded"),
        (types_pb2.PROTECTION_NONE, 9, False, "degraded"),
        (types_pb2.PROTECTION_NONE, 0, False, "unserved"),
        (types_pb2.PROTECTION_UNSPECIFIED, 9, False, "silent"),
        (types_pb2.PROTECTION_HYBRID, 9, True, "silent"),
    ],
)
def test_how_a_stream_is_served(
    protection: types_pb2.Protection, buffered: int, lost: bool, service: str
) -> None:
    seen = network_seen(core_with(protection, buffered, lost=lost).core)
    assert seen.streams["s"].service == service
    assert seen.streams["s"].planned_bps == pytest.approx(1000.0, rel=1e-3)
    assert sum(total.hybrid for total in seen.served.values()) == 8


def test_a_link_is_measured_while_it_serves_and_only_then() -> None:
    run = core_with(types_pb2.PROTECTION_HYBRID, 9)
    fine = network_seen(run.core).links["a-p"]
    assert (fine.condition, fine.status) == ("ok", "active")
    assert fine.qber_ratio
    assert fine.skr_bps == pytest.approx(5000.0, rel=0.1)
    run.handle(reported(A, agent_pb2.AGENT_EVENT_KIND_LINK_LOSS_OF_SIGNAL, link="a-p"))
    down = network_seen(run.core).links["a-p"]
    assert (down.condition, down.qber_ratio, down.skr_bps) == ("down", None, None)


def test_nodes_are_connected_or_away() -> None:
    run = Run()
    assert network_seen(run.core).nodes["a"].presence == "away"
    run.connect()
    assert network_seen(run.core).nodes["a"].presence == "connected"


def test_who_has_never_been_heard_is_unknown_for_a_while_and_then_away() -> None:
    run, newcomers = Run(), Newcomers()
    fresh = newcomers.without(network_seen(run.core), START)
    assert (fresh.links, fresh.streams, fresh.nodes) == ({}, {}, {})
    late = newcomers.without(network_seen(run.core), START + NEWCOMER_SECONDS)
    assert late.nodes["a"].presence == "away"
    assert late.links["a-p"].condition == "stale"
    assert late.streams["s"].service == "silent"


def test_who_has_been_heard_and_goes_is_away_at_once() -> None:
    run, newcomers = Run(), Newcomers()
    run.connect()
    assert newcomers.without(network_seen(run.core), START).nodes["a"].presence == "connected"
    run.handle(PolicyDisconnected(A))
    assert newcomers.without(network_seen(run.core), START + 1).nodes["a"].presence == "away"


def event(kind: KindName, severity: Severity, message: str = "m", **fields: str) -> Event:
    return Event(kind, severity, message, START, fields=fields)


@pytest.mark.parametrize(
    ("seen", "kept"),
    [
        (event("link_condition_changed", Severity.INFO, new="ok"), True),
        (event("stream_supplied", Severity.INFO), True),
        (event("link_diagnosed", Severity.INFO), True),
        (event("stream_starved", Severity.MAJOR), True),
        (event("stream_failover", Severity.MINOR, duration_seconds="0.031"), True),
        (event("stream_failover", Severity.MINOR, duration_seconds="0.000"), False),
        (event("plan_changed", Severity.INFO), False),
    ],
    ids=lambda value: value.kind if isinstance(value, Event) else "",
)
def test_what_matters_later_is_kept(seen: Event, kept: bool) -> None:
    assert (happening(seen) is not None) == kept


def test_what_is_kept_of_an_event_is_short_and_names_no_key() -> None:
    long = event("keys_recalled", Severity.MAJOR, "x" * 1000, key_ids="a,b", count="2", reason="r")
    kept = happening(long)
    assert kept is not None
    assert (len(kept.message), kept.fields) == (300, {"count": "2"})


def test_pairs_are_counted_while_they_are_made_and_asked_for() -> None:
    run = PairRun()
    run.hello()
    run.run(5)
    run.want(wanted())
    run.run(2)
    seen = network_seen(run.core)
    assert (seen.pair_links["ab"].condition, seen.pair_streams["s"].standing) == ("ok", "met")
    assert seen.pair_links["ab"].pair_rate_hz == pytest.approx(100, rel=0.1)
    assert seen.pair_links["ab"].fidelity == pytest.approx(0.96, abs=0.02)
    assert seen.pair_streams["s"].planned_rate_hz == pytest.approx(5.0)
    run.links["bc"].status, run.links["bc"].rate_hz = types_pb2.LINK_STATUS_OFF, 0.0
    run.run(2)
    cut = network_seen(run.core)
    assert cut.pair_links["bc"] == PairLinkSeen("down")
    assert cut.pair_streams["s"].standing == "unmet"
    run.want(wanted(deadline=run.now))
    run.run(1)
    assert network_seen(run.core).pair_streams == {}
