"""The pilot report: its figures, its verdicts, and a page that a board can read offline."""

import json
import re
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from subprocess import run

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyweave.cli.report import criteria, html, pdf
from keyweave.cli.report.document import Report
from keyweave.cli.report.faults import faults
from keyweave.cli.report.figures import report as report_of
from keyweave.cli.report.recorded import PairLinkAbout, PairStreamAbout
from keyweave.cli.report.stability import Average, allan_deviation, drift_per_day
from keyweave.common.errors import InvalidInputError
from keyweave.controller.history.cells import PairLinkCell, PairStreamCell, Spread
from keyweave.controller.history.rows import Happening
from tests.unit import recorded_pilot
from tests.unit.recorded_pilot import AWAY, CUT, HOUR, START, pilot

ANEW = "`python -m tests.unit.recorded_pilot` writes it anew"


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    return recorded_pilot.made(tmp_path_factory.mktemp("criteria"))


@pytest.fixture(scope="module")
def page(report: Report) -> str:
    return html.page(report)


# ---- the whole --------------------------------------------------------------------------------------


def test_a_recorded_history_gives_the_report_that_was_agreed_on(report: Report) -> None:
    assert recorded_pilot.written(report) == recorded_pilot.GOLDEN.read_text(), ANEW


def test_the_published_schema_is_that_of_the_report() -> None:
    assert recorded_pilot.schema() == recorded_pilot.SCHEMA.read_text(), ANEW


def test_the_json_says_all_that_the_report_knows(report: Report) -> None:
    assert Report.model_validate_json(report.model_dump_json()) == report


# ---- figures ----------------------------------------------------------------------------------------


def test_what_was_down_suspect_or_in_maintenance_is_told_as_it_was(report: Report) -> None:
    links = {link.name: link for link in report.links}
    hours = 71  # of 72, one is not known
    assert links["harbour-mint"].uptime_ratio == pytest.approx(1 - 900 / (hours * HOUR))
    assert links["mint-tower"].uptime_ratio == pytest.approx(1 - 300 / (hours * HOUR))
    resting = links["harbour-tower"]
    assert (resting.uptime_ratio, resting.maintenance_seconds) == (1.0, HOUR)


def test_a_gap_is_told_and_counts_for_nothing(report: Report) -> None:
    (gap,) = report.period.gaps
    assert (gap.start, gap.end) == (START + AWAY * HOUR, START + (AWAY + 1) * HOUR)
    assert report.period.known_ratio == pytest.approx(71 / 72)
    assert all(link.known_seconds == 71 * HOUR for link in report.links)


def test_a_period_that_began_before_anything_was_known_says_so() -> None:
    early = replace(pilot(), start=float(START - 72 * HOUR))
    made = report_of(early, title="", made_at=0.0, software="")
    assert made.period.gaps[0].end == START
    assert made.period.known_ratio == pytest.approx(71 / 144)
    assert made.links[0].known_seconds == 71 * HOUR


def test_a_stream_is_held_beside_its_shadow(report: Report) -> None:
    (pair,) = report.comparisons
    assert (pair.stream, pair.shadow) == ("payments", "payments-shadow")
    streams = {stream.name: stream for stream in report.streams}
    assert streams["payments"].keys == {"hybrid": 354_900, "qkd": 0, "pqc": 100}
    assert streams["payments-shadow"].quantum_ratio == 0.0


def test_of_nothing_there_is_no_figure() -> None:
    empty = replace(pilot(), rows=())
    made = report_of(empty, title="", made_at=0.0, software="")
    assert made.period.known_ratio == 0.0
    assert {link.uptime_ratio for link in made.links} == {None}
    assert {stream.availability_ratio for stream in made.streams} == {None}


# ---- stability --------------------------------------------------------------------------------------


def averages(values: list[float], length: int = 600) -> list[Average]:
    return [Average(i * length, length, length, value) for i, value in enumerate(values)]


@given(st.floats(-1, 1), st.floats(-1, 1))
def test_the_drift_of_a_line_is_its_slope(slope: float, start: float) -> None:
    line = [start + slope * (i + 0.5) * 600 / 86_400 for i in range(20)]
    assert drift_per_day(averages(line)) == pytest.approx(slope, abs=1e-9)


def test_a_few_minutes_have_no_drift_per_day() -> None:
    assert drift_per_day(averages([1.0, 2.0, 3.0], length=60)) is None


def test_the_allan_deviation_of_what_alternates_is_half_its_step_times_root_two() -> None:
    found = allan_deviation(averages([0.0, 1.0] * 10), 600)
    assert found is not None
    deviation, pairs = found
    assert deviation == pytest.approx(0.5**0.5)
    assert pairs == 19


def test_the_allan_deviation_skips_gaps_and_what_was_hardly_measured() -> None:
    known = averages([1.0] * 8)
    with_hole = [*known[:4], known[4]._replace(seconds=100.0, mean=50.0), *known[5:]]
    assert allan_deviation(with_hole, 600) == (0.0, 5)
    assert allan_deviation(known[:3], 600) is None
    assert allan_deviation(averages([1.0] * 8, length=3600), 600) is None


# ---- faults -----------------------------------------------------------------------------------------


def changed(second: float, new: str, severity: str = "major", link: str = "ab", **fields: str) -> Happening:
    said = {"new": new, **fields}
    return Happening(second, "link_condition_changed", severity, f"became {new}", link=link, fields=said)


def test_a_fault_lasts_until_it_is_over_and_reads_as_diagnosed() -> None:
    told = [
        changed(10, "down", diagnosis="signal"),
        Happening(10.1, "link_loss_of_signal", "major", "no light", node="a", link="ab"),
        changed(40, "degraded", "minor"),
        Happening(50, "link_diagnosed", "info", "loss", link="ab", fields={"diagnosis": "loss"}),
        changed(60, "ok", "info"),
        changed(70, "suspect", link="bc"),
    ]
    found = [(f.start, f.end, f.what, f.diagnosis) for f in faults(told, 100)]
    assert found == [
        (10, 40, "link down", "signal"),
        (40, 50, "link degraded", ""),
        (50, 60, "link diagnosed", "loss"),
        (70, None, "link suspect", ""),
    ]


def test_what_is_diagnosed_while_all_is_well_is_no_fault() -> None:
    assert faults([Happening(5, "link_diagnosed", "info", "m", link="ab")], 100) == ()


def test_maintenance_and_planned_moves_are_no_faults_and_lost_agents_are() -> None:
    told = [
        changed(10, "maintenance", "info"),
        Happening(20, "stream_failover", "minor", "moved", node="a", stream="s"),
        Happening(30, "agent_lost", "major", "gone", node="a"),
        Happening(35, "agent_connected", "info", "back", node="a"),
        Happening(40, "keys_recalled", "major", "3 keys", node="a", link="ab"),
        Happening(41, "word_of_a_later_version", "major", "m", node="a"),
    ]
    found = [(f.start, f.end, f.what) for f in faults(told, 100)]
    assert found == [(30, 35, "agent lost"), (40, 40, "keys recalled"), (41, 41, "word of a later version")]


# ---- criteria ---------------------------------------------------------------------------------------


def judged(report: Report, directory: Path, *requirements: str) -> list[tuple[str, str]]:
    file = directory / "agreed.yaml"
    file.write_text(json.dumps({"criteria": [{"require": each} for each in requirements]}))
    found = criteria.judge(report, criteria.load(file))
    return [(result.name, result.verdict) for result in found.results]


def test_every_object_is_judged_by_itself(report: Report, tmp_path: Path) -> None:
    found = judged(report, tmp_path, "link.uptime_ratio >= 0.999")
    assert found == [("harbour-mint", "fail"), ("harbour-tower", "pass"), ("mint-tower", "fail")]


@pytest.mark.parametrize("kind", criteria.FIGURES)
def test_every_figure_that_may_be_required_is_found_in_a_report(
    kind: criteria.Kind, report: Report, tmp_path: Path
) -> None:
    requirements = [f"{kind}.{name} >= -1e9" for name in criteria.FIGURES[kind]]
    assert {verdict for _, verdict in judged(report, tmp_path, *requirements)} == {"pass"}


def test_what_nobody_knows_never_passes(tmp_path: Path) -> None:
    empty = report_of(replace(pilot(), rows=()), title="", made_at=0.0, software="")
    requirements = [f"link.{name} >= -1e9" for name in criteria.FIGURES["link"]]
    requirements += [f"stream.{name} <= 1e9" for name in criteria.FIGURES["stream"]]
    assert {verdict for _, verdict in judged(empty, tmp_path, *requirements)} == {"no data"}


def test_an_object_that_is_not_there_has_no_data_and_decides(report: Report, tmp_path: Path) -> None:
    file = tmp_path / "agreed.yaml"
    file.write_text("criteria: [{require: link.qber_mean <= 0.05, of: [harbour-mint, not-built]}]")
    found = criteria.judge(report, criteria.load(file))
    assert [result.verdict for result in found.results] == ["pass", "no data"]
    assert found.verdict == "no data"


def test_a_limit_on_failovers_passes_where_there_were_none(report: Report, tmp_path: Path) -> None:
    found = dict(judged(report, tmp_path, "stream.failover_max_seconds <= 0.1"))
    assert found == {"payments": "fail", "payments-shadow": "pass"}


@pytest.mark.parametrize(
    ("content", "field", "words"),
    [
        ("criteria: []", "criteria", "at least 1"),
        ("criteria: [{require: link.qber_mean < 0.05}]", "criteria[0].require", "FIGURE >= NUMBER"),
        ("criteria: [{require: link.speed >= 1}]", "criteria[0].require", "there are link.uptime_ratio"),
        ("criteria: [{require: road.qber_mean >= 1}]", "criteria[0].require", "network, link, stream, node"),
        ("criteria: [{demand: x}]", "criteria[0].demand", "is unknown; expected require, of, because"),
        ("[1, 2]", "(whole file)", "dictionary"),
    ],
)
def test_a_criteria_file_that_is_wrong_is_refused_by_field(
    content: str, field: str, words: str, tmp_path: Path
) -> None:
    file = tmp_path / "agreed.yaml"
    file.write_text(content)
    with pytest.raises(InvalidInputError) as caught:
        criteria.load(file)
    found = {violation.field: violation.description for violation in caught.value.violations}
    assert words in found[f"{file}:1: {field}"]
    too_short = [text for text in found.values() if "at least 1 item" in text]
    assert bool(too_short) == (content == "criteria: []"), "said of empty lists only"


def test_a_criteria_file_that_is_not_there_or_no_yaml_is_refused(tmp_path: Path) -> None:
    (tmp_path / "broken.yaml").write_text("criteria: [")
    for name, words in (("missing.yaml", "--criteria.*cannot be read"), ("broken.yaml", "is not YAML")):
        with pytest.raises(InvalidInputError, match=words):
            criteria.load(tmp_path / name)


# ---- the page ---------------------------------------------------------------------------------------

_FETCHING = {"src", "srcset", "href", "xlink:href", "data", "poster", "action", "background"}


class _Fetches(HTMLParser):
    """What a page would fetch: anything that an attribute or a style names and that is not within it."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in _FETCHING and not (value or "").startswith("#"):
                self.found.append(f"<{tag} {name}={value}>")
            if name == "style":
                self._style(value or "")
        if tag in {"script", "link", "iframe", "object", "embed", "base"}:
            self.found.append(f"<{tag}>")

    def handle_data(self, data: str) -> None:
        if "{" in data:
            self._style(data)

    def _style(self, text: str) -> None:
        self.found += [
            each for each in re.findall(r"url\(([^)]*)\)|(@import)", text) if not each[0].startswith("#")
        ]


def test_the_page_fetches_nothing(page: str) -> None:
    looking = _Fetches()
    looking.feed(page)
    assert looking.found == []


def test_what_a_page_would_fetch_is_found() -> None:
    looking = _Fetches()
    looking.feed('<img src="https://x/y.png"><style>a { background: url(http://x) }</style>')
    assert len(looking.found) == 2


def test_names_and_reasons_are_text_and_nothing_else(report: Report) -> None:
    evil = "<script>alert(1)</script>"
    fault = report.faults[0].model_copy(update={"reason": evil})
    stream = report.streams[0].model_copy(update={"requires": evil})
    changes = {"title": evil, "faults": (fault,), "streams": (stream,), "links": (), "comparisons": ()}
    attacked = report.model_copy(update=changes)
    shown = html.page(attacked)
    assert "<script" not in shown
    assert shown.count("&lt;script&gt;") >= 4


def test_the_page_says_the_verdict_what_failed_and_who_signs(page: str) -> None:
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page))
    assert "13 of 15 checks passed, 2 failed." in text
    assert "payments: stream.failover_p99_seconds &lt;= 0.05 s, found 0.18 s" in text
    for words in ("Example Telecom", "interception", "payments-shadow", "name, date, signature"):
        assert words in text


def test_emulated_links_and_missing_time_are_said_above_all_else(report: Report) -> None:
    link = report.links[0].model_copy(update={"emulated": True})
    period = report.period.model_copy(update={"known_ratio": 0.5})
    shown = html.page(report.model_copy(update={"links": (link, *report.links[1:]), "period": period}))
    head = shown[: shown.index("<main>")]
    assert f"the figures of {link.name} come from simulated devices" in " ".join(head.split())
    assert "Incomplete" in head


@pytest.mark.parametrize(
    ("value", "shown"),
    [(None, "—"), (1.0, "100"), (0.999_999_9, "99.999"), (0.9996, "99.960"), (0.5, "50.00"), (0.0, "0.00")],
)
def test_a_share_is_never_rounded_up_to_all(value: float | None, shown: str) -> None:
    assert html.ratio(value).removesuffix("\N{NO-BREAK SPACE}%") == shown


def test_the_pdf_says_what_the_page_says(
    report: Report, tmp_path: Path, outside_program: Callable[[str], str]
) -> None:
    fewer = {"links": report.links[:1], "streams": report.streams[:1], "comparisons": ()}
    small = report.model_copy(update=fewer)
    file = tmp_path / "report.pdf"
    file.write_bytes(pdf.pdf(html.page(small)))
    command = (outside_program("pdftotext"), "-layout", str(file), "-")
    text = run(command, capture_output=True, text=True, check=True).stdout
    for words in ("Pilot of the payments ring", "FAIL", "harbour-mint", "interception", "annex 2, 3.2"):
        assert words in text
    assert f"{CUT}:10:00" in text


def test_the_docs_name_every_figure_that_may_be_required_and_no_other() -> None:
    told = (recorded_pilot.SCHEMA.parent / "report.md").read_text()
    named = set(re.findall(r"`((?:network|link|stream|node)\.\w+)`", told))
    assert named == {f"{kind}.{name}" for kind, known in criteria.FIGURES.items() for name in known}


def test_pairs_are_told_with_what_was_asked_and_what_came() -> None:
    rate, fidelity = Spread(), Spread()
    for seconds, pairs, value in ((30.0, 4.0, 0.90), (30.0, 6.0, 0.94)):
        rate.add(pairs, seconds)
        fidelity.add(value, seconds)
    without = pilot(3)
    row = deepcopy(without.rows[0])
    row.pair_streams["ends"] = PairStreamCell({"met": 45.0, "unmet": 15.0}, 300.0, rate, fidelity)
    row.pair_links["ab"] = PairLinkCell({"ok": 40.0, "down": 10.0, "maintenance": 10.0}, rate, fidelity)
    recorded = replace(
        without,
        rows=(row, *without.rows[1:]),
        pair_links={"ab": PairLinkAbout("a", "b", 15.0)},
        pair_streams={
            "ends": PairStreamAbout("a", "c", 5.0, 0.85),
            "new": PairStreamAbout("a", "b", 1.0, 0.9),
        },
    )
    made = report_of(recorded, title="", made_at=0.0, software="")
    ends, new = made.pair_streams
    assert (ends.met_ratio, ends.planned_rate_hz) == (0.75, 5.0)
    assert ends.delivered_rate_hz is not None
    assert ends.delivered_rate_hz.mean == pytest.approx(5.0)
    assert ends.fidelity is not None
    assert (ends.fidelity.least, ends.fidelity.most) == (0.90, 0.94)
    assert (new.met_ratio, new.delivered_rate_hz) == (None, None)
    (link,) = made.pair_links
    assert link.uptime_ratio == pytest.approx(0.8)
    told = html.page(made)
    assert "Entangled pairs" in told
    assert "0.920" in told
    assert "Entangled pairs" not in html.page(report_of(without, title="", made_at=0.0, software=""))
