"""Links to satellites in a scenario: what is refused, what devices report, and the shipped one."""

import asyncio
import itertools
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from sgp4.io import fix_checksum

from keyweave.agent.drivers.base import DeviceReport
from keyweave.agent.drivers.conformance_rules import columns_wrong
from keyweave.common.errors import InvalidInputError
from keyweave.common.names import LinkName
from keyweave.emulator.links import EmulatedLink
from keyweave.emulator.physics.satellite import Passes
from keyweave.emulator.plane import OpticalPlane
from keyweave.emulator.scenario import Scenario, load_scenario
from keyweave.v1 import agent_pb2, emulator_pb2, types_pb2

SHIPPED = Path(__file__).resolve().parents[2] / "scenarios" / "satellite.yaml"
NANOS = 1_000_000_000
START = 1_800_000_000 * NANOS

ORBIT = (
    "orbit: {altitude_km: 500, inclination_degrees: 97.4, raan_degrees: 295, mean_anomaly_degrees: 40, "
    "epoch: 2017-07-01T00:00:00Z}"
)
TLE = (
    'orbit: {tle: ["1 00005U 58002B   00179.78495062  .00000023  00000-0  28098-4 0  4753", '
    '"2 00005  34.2682 348.7242 1859667 331.7664  19.3264 10.82419157413667"]}'
)
DETECTOR = "detector: {efficiency_ratio: 0.5, dark_count_rate_hz: 25, optics_loss_db: 8}"
SKY = "{starts_at: 2017-06-30T22:00:00Z, first_contact_after_seconds: 20}"


def text(
    *, satellite: str = ORBIT, protocol: str = "{kind: decoy-bb84}", more: str = "", sky: str = SKY
) -> str:
    return f"""\
name: pass
sky: {sky}
nodes:
  - {{name: satellite}}
  - {{name: station, latitude_degrees: 47.067, longitude_degrees: 15.493}}
  - {{name: nowhere}}
links:
  - name: down
    a: satellite
    b: station
    technology: DV-QKD
    satellite: {{{satellite}}}
    protocol: {protocol}
    {DETECTOR}
    {more}
"""


def load(tmp_path: Path, content: str) -> Scenario:
    path = tmp_path / "scenario.yaml"
    path.write_text(content)
    return load_scenario(path)


def plane(tmp_path: Path, *, speed: float = 1.0, content: str = "") -> OpticalPlane:
    return OpticalPlane(load(tmp_path, content or text()), warm_blocks_seconds=5.0, speed=speed)


def reports(of: OpticalPlane, seconds: float) -> Iterator[agent_pb2.LinkSamples]:
    """What the station's device reports for some seconds of the clock."""
    link = of.links[LinkName("down")]
    for step in range(round(seconds * 10)):
        of.advance(START + step * NANOS // 10)
        yield last_report(link).samples


def last_report(link: EmulatedLink) -> emulator_pb2.WatchLinkEndResponse:
    return link._reports[1][-1].response


@pytest.mark.parametrize(
    ("content", "named", "says"),
    [
        (text(more="length_km: 500"), "links[0]", "length_km follows from the satellite's orbit"),
        (text(more="loss_db: 30"), "links[0]", "loss_db follows from the satellite's orbit"),
        (text(more="medium: fibre"), "links[0]", "does not reach a satellite"),
        (text(protocol="{kind: bbm92}"), "links[0]", "set detector.at to both"),
        (
            text(protocol="{kind: bbm92}").replace("detector: {", "detector: {at: both, "),
            "links[0]",
            "stands midway",
        ),
        (
            text().replace("    protocol: {kind: decoy-bb84}\n", ""),
            "links[0]",
            "qber_ratio and skr_bps missing",
        ),
        (
            text()
            .replace("    protocol: {kind: decoy-bb84}", "    qber_ratio: 0.02\n    skr_bps: 1000")
            .replace(", optics_loss_db: 8", ""),
            "links[0]",
            "no one operating point",
        ),
        (
            text().replace("b: station", "b: nowhere"),
            "links[0].b",
            "needs latitude_degrees and longitude_degrees",
        ),
        (
            text(satellite="orbit: {altitude_km: 500}"),
            "links[0].satellite.orbit",
            "inclination_degrees and epoch",
        ),
        (
            text(satellite=ORBIT.replace("00:00:00Z", "00:00:00")),
            "links[0].satellite.orbit.epoch",
            "timezone",
        ),
        (
            text(satellite=TLE.replace("}", ", raan_degrees: 3}")),
            "links[0].satellite.orbit",
            "follows from tle",
        ),
        (text(satellite=TLE.replace("34.2682", "34.2683")), "links[0].satellite.orbit", "does not add up"),
        (
            text(satellite=TLE.replace("2 00005", "2 00006").replace("413667", "413668")),
            "links[0].satellite.orbit",
            "two satellites",
        ),
        (
            text(satellite=f"{ORBIT}, night_only: false, sun_below_degrees: -3"),
            "links[0].satellite",
            "without night_only",
        ),
        (text(satellite=f"{ORBIT}, aperture_m: 0.001"), "links[0]", "makes no secret key"),
        (
            text(satellite=f"{ORBIT}, min_elevation_degrees: 89.9"),
            "sky",
            "no contact begins within 30 days",
        ),
    ],
)
def test_what_cannot_be_is_refused_by_name(tmp_path: Path, content: str, named: str, says: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        load(tmp_path, content)
    (violation,) = caught.value.violations
    assert violation.field.endswith(f": {named}")
    assert says in violation.description


def test_a_sky_without_satellites_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="no effect without links to satellites"):
        load(tmp_path, f"name: a\nsky: {SKY}\nnodes: [{{name: a}}]\n")


def test_a_fibre_still_needs_length_and_loss(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="length_km and loss_db missing"):
        load(tmp_path, text(sky="{}").replace(f"    satellite: {{{ORBIT}}}\n", ""))


def test_a_satellite_that_has_come_down_is_refused(tmp_path: Path) -> None:
    # As Sputnik 1 might have been told of: so much drag that SGP4 has it down within days.
    lines = [
        fix_checksum("1 00005U 58002B   00179.78495062  .00000023  00000-0  99999-0 0  475"),
        fix_checksum("2 00005  34.2682 348.7242 0001000 331.7664  19.3264 16.2241915741366"),
    ]
    low = f'orbit: {{tle: ["{lines[0]}", "{lines[1]}"]}}'
    with pytest.raises(InvalidInputError, match="has come down"):
        load(tmp_path, text(satellite=low))


def test_two_line_elements_make_a_link(tmp_path: Path) -> None:
    sky = "{starts_at: 2000-06-28T00:00:00Z, first_contact_after_seconds: 20}"
    scenario = load(tmp_path, text(satellite=f"{TLE}, other_loss_db: 0", sky=sky))
    assert scenario.links[0].least_km == pytest.approx(654, abs=5)


def test_nothing_is_downloaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        pytest.fail("satellites need no network")

    for function in ("connect", "connect_ex", "sendto"):
        monkeypatch.setattr(socket.socket, function, refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    for satellite in (ORBIT, TLE):
        content = text(satellite=satellite, sky="{}")
        assert next(reports(plane(tmp_path, content=content), 1)).rows


def test_the_first_contact_begins_when_the_scenario_says(tmp_path: Path) -> None:
    pending: list[int] = []
    in_contact: list[int] = []
    for index, samples in enumerate(reports(plane(tmp_path), 25)):
        (in_contact if samples.status == types_pb2.LINK_STATUS_ACTIVE else pending).append(index)
    assert pending == list(range(len(pending)))
    assert 195 <= len(pending) <= 210


def test_no_key_is_there_before_the_first_contact(tmp_path: Path) -> None:
    of = plane(tmp_path)
    link = of.links[LinkName("down")]
    for _ in reports(of, 19):
        assert len(link._blocks.ends[0]) == 0
    for _ in reports(of, 60):
        pass
    assert len(link._blocks.ends[0]) > 0


def test_a_device_between_contacts_reports_that_it_waits_and_measures_nothing(tmp_path: Path) -> None:
    first = next(reports(plane(tmp_path), 1))
    assert first.status == types_pb2.LINK_STATUS_PENDING
    for column in (first.qber_ratio, first.loss_db, first.visibility_ratio):
        assert np.isnan(struct.unpack(f"<{first.rows}f", column)).all()


def test_contacts_are_told_at_first_and_every_ten_seconds(tmp_path: Path) -> None:
    told = [index for index, samples in enumerate(reports(plane(tmp_path), 21)) if samples.contacts]
    assert told == [0, 100, 200]


def test_contacts_are_told_anew_when_one_is_over(tmp_path: Path) -> None:
    of = plane(tmp_path, speed=60)
    counts = [len(samples.contacts) for samples in reports(of, 12) if samples.contacts]
    # The pass is over 7 to 9 seconds after the start, before they were due again.
    assert counts[1] == counts[0] - 1


@pytest.mark.parametrize("speed", [1.0, 30.0])
def test_contacts_are_told_by_the_clock(tmp_path: Path, speed: float) -> None:
    of = plane(tmp_path, speed=speed)
    scenario = load(tmp_path, text())
    begins = scenario.sky.begins(scenario.downlinks.values(), 0)
    coming = Passes(scenario.downlinks[LinkName("down")], begins).coming(0.1 * speed)
    samples = next(reports(of, 1))
    assert len(samples.contacts) == len(coming)
    for told, window in zip(samples.contacts, coming, strict=True):
        assert told.start_unix_nanos == pytest.approx(START + window.start / speed * NANOS, abs=2e7)
        assert told.end_unix_nanos == pytest.approx(START + window.end / speed * NANOS, abs=2e7)
        assert told.max_elevation_degrees == pytest.approx(window.max_elevation_degrees)
    for one, after in itertools.pairwise(samples.contacts):
        assert one.start_unix_nanos < one.end_unix_nanos < after.start_unix_nanos


def test_at_most_sixteen_contacts_are_told_and_a_controller_takes_them(tmp_path: Path) -> None:
    polar = text(satellite=f"{ORBIT}, night_only: false").replace("47.067", "85")
    samples = next(reports(plane(tmp_path, content=polar), 1))
    assert len(samples.contacts) == 16
    assert columns_wrong([DeviceReport(samples, "")], LinkName("down")) == []


def test_the_same_scenario_has_the_same_contacts_whenever_it_is_started(tmp_path: Path) -> None:
    one, other = (next(reports(plane(tmp_path), 1)).contacts for _ in range(2))
    assert list(one) == list(other)


def test_a_scenario_may_take_place_now(tmp_path: Path) -> None:
    """Whenever this runs, an orbit over the pole comes by within days; day or night."""
    content = text(satellite=f"{ORBIT}, night_only: false", sky="{}")
    assert next(reports(plane(tmp_path, content=content), 1)).contacts


def test_the_contacts_of_a_day_give_the_key_of_a_day(tmp_path: Path) -> None:
    """What is produced at some speed is the key of each moment, so much less of it."""
    totals = []
    for speed in (5.0, 50.0):
        of = plane(tmp_path, speed=speed)
        bits = 0.0
        for samples in reports(of, 460 / speed):
            bits += sum(struct.unpack(f"<{samples.rows}f", samples.skr_bps)) * samples.interval_micros / 1e6
        totals.append(bits * speed)
    assert totals[0] == pytest.approx(totals[1], rel=0.1)
    assert totals[0] > 100_000


def test_the_shipped_satellite_is_over_graz_soon_and_over_tenerife_an_orbit_later() -> None:
    scenario = load_scenario(SHIPPED)
    begins = scenario.sky.begins(scenario.downlinks.values(), 0)
    graz, tenerife = (Passes(each, begins).coming(0.0)[0] for each in scenario.downlinks.values())
    assert graz.start == pytest.approx(1800, abs=1)
    assert 80 * 60 < tenerife.start - graz.start < 100 * 60
    assert min(graz.max_elevation_degrees, tenerife.max_elevation_degrees) > 30


def test_a_cloud_hides_the_satellite_and_nothing_else_is_told_of_it(tmp_path: Path) -> None:
    content = text() + "timeline:\n  - {at_seconds: 30, fault: cloud, link: down, duration_seconds: 10}\n"
    statuses: dict[int, list[int]] = {}
    for index, samples in enumerate(reports(plane(tmp_path, content=content), 60)):
        statuses.setdefault(samples.status, []).append(index)
        assert samples.contacts or index % 100
    cloudy = [index for index in statuses[types_pb2.LINK_STATUS_PENDING] if index > 250]
    assert cloudy == list(range(300, 400))


async def test_an_agent_that_listens_is_told_the_contacts(tmp_path: Path) -> None:
    of = plane(tmp_path)
    watching = of.links[LinkName("down")].watch(0)
    first = asyncio.ensure_future(anext(watching))
    await asyncio.sleep(0)
    of.advance(START)
    assert (await first).samples.contacts
    await watching.aclose()
