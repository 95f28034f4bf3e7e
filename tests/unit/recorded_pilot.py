"""A recorded history: three days of a small network, with a cut, an eavesdropper, a maintenance and a gap.

`python -m tests.unit.recorded_pilot` writes what is checked in of it: report, schema, picture.
"""

import json
import subprocess
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

from keyweave.cli.report import html, pdf
from keyweave.cli.report.criteria import judge, load
from keyweave.cli.report.document import Report
from keyweave.cli.report.figures import report as report_of
from keyweave.cli.report.recorded import LinkAbout, NodeAbout, Recorded, StreamAbout
from keyweave.controller.history.cells import LinkCell, NodeCell, StreamCell
from keyweave.controller.history.rows import DAY_SECONDS, Happening, Row

START = 1_790_000_000 // DAY_SECONDS * DAY_SECONDS
HOUR = 3600
LINKS = ("harbour-mint", "mint-tower", "harbour-tower")
NODES = ("harbour", "mint", "tower")
# Hours since the start.
CUT, EAVESDROPPER, MAINTENANCE, AWAY = 20, 41, 55, 62


def _link(name: str, hour: int, random: Random) -> LinkCell:
    cell = LinkCell(condition={"ok": HOUR}, status={"active": HOUR})
    base = 0.021 + 0.004 * LINKS.index(name)
    if name == "harbour-mint" and hour == CUT:
        cell = LinkCell({"ok": HOUR - 900.0, "down": 900.0}, {"active": HOUR - 900.0, "off": 900.0})
    if name == "mint-tower" and hour == EAVESDROPPER:
        cell = LinkCell({"ok": HOUR - 300.0, "suspect": 300.0}, {"active": HOUR})
    if name == "harbour-tower" and hour == MAINTENANCE:
        return LinkCell({"maintenance": HOUR}, {"passive": HOUR})
    serving = cell.condition["ok"]
    for _ in range(12):
        # A slow drift, a daily swing would be in reality; and noise.
        cell.qber_ratio.add(base + 0.00004 * hour + random.gauss(0, 0.0006), serving / 12)
        cell.skr_bps.add(9000 - 1500 * LINKS.index(name) + random.gauss(0, 120), serving / 12)
        cell.loss_db.add(6.5 + random.gauss(0, 0.05), serving / 12)
    if suspect := cell.condition.get("suspect"):
        cell.qber_ratio.add(0.14, suspect)
        cell.skr_bps.add(0.0, suspect)
    return cell


def _stream(name: str, hour: int) -> StreamCell:
    cell = StreamCell({"serving": HOUR}, {"hybrid": HOUR}, 2048.0 * HOUR, 2000 * HOUR, {"hybrid": 5000})
    if name == "payments-shadow":
        return StreamCell({"serving": HOUR}, {"pqc": HOUR}, 2048.0 * HOUR, 2040 * HOUR, {"pqc": 5000})
    if hour == CUT:
        cell.failovers.add(0.031)
        cell.failovers.add(0.044)
    if hour == EAVESDROPPER:
        cell.service, cell.protection = (
            {"serving": HOUR - 60, "degraded": 60},
            {"hybrid": HOUR - 60, "pqc": 60},
        )
        cell.served = {"hybrid": 4900, "pqc": 100}
        cell.failovers.add(0.180)
    return cell


def _happenings(hour: int) -> list[Happening]:
    at = float(START + hour * HOUR)

    def link(
        name: str, second: float, old: str, new: str, severity: str, message: str, **more: str
    ) -> Happening:
        fields = {"old": old, "new": new, **more}
        return Happening(at + second, "link_condition_changed", severity, message, link=name, fields=fields)

    if hour == CUT:
        why = "link 'harbour-mint' went from ok to down: no signal at 'mint'"
        back = "link 'harbour-mint' went from down to ok: QBER 2.2% is below 8.8%"
        return [
            link("harbour-mint", 600, "ok", "down", "major", why, diagnosis="signal"),
            link("harbour-mint", 1500, "down", "ok", "info", back),
        ]
    if hour == EAVESDROPPER:
        why = "link 'mint-tower' went from ok to suspect: QBER rose to 14% while loss and detectors stayed"
        back = "link 'mint-tower' went from suspect to ok: cleared by an operator"
        return [
            link("mint-tower", 120, "ok", "suspect", "major", why, diagnosis="interception"),
            link("mint-tower", 420, "suspect", "ok", "info", back),
            Happening(
                at + 150, "keys_recalled", "major", "3 keys that sae-a has fetched: interception", node="mint"
            ),
        ]
    return []


def pilot(hours: int = 72) -> Recorded:
    """The same at every call."""
    random = Random(7)
    rows = []
    for hour in range(hours):
        row = Row(START + hour * HOUR, HOUR, float(HOUR))
        row.links = {name: _link(name, hour, random) for name in LINKS}
        row.streams = {name: _stream(name, hour) for name in ("payments", "payments-shadow")}
        row.nodes = {name: NodeCell({"connected": HOUR}) for name in NODES}
        row.happenings = _happenings(hour)
        if hour != AWAY:  # the controller was upgraded
            rows.append(row)
    return Recorded(
        source="a recorded history",
        start=float(START),
        end=float(START + hours * HOUR),
        rows=tuple(rows),
        links={
            name: LinkAbout(ends[0], ends[1], "dv-qkd", 24.0 + 9 * i, 0.088, 0.11)
            for i, name in enumerate(LINKS)
            if (ends := name.split("-"))
        },
        streams={
            "payments": StreamAbout("harbour", "tower", "QKD", 2048.0),
            "payments-shadow": StreamAbout("harbour", "tower", "ML-KEM alone", 2048.0, pqc_only=True),
        },
        nodes={name: NodeAbout("Example Bank", name.title()) for name in NODES},
    )


CRITERIA = """
title: Pilot of the payments ring
parties: [Example Bank, Example Telecom]
criteria:
  - {require: network.known_ratio >= 0.95, because: "annex 2, 1.1"}
  - {require: link.uptime_ratio >= 0.99, because: "annex 2, 2.1"}
  - {require: link.qber_mean <= 0.05, because: "annex 2, 2.2"}
  - {require: link.qber_allan_hour <= 0.001, because: "annex 2, 2.3"}
  - {require: stream.availability_ratio >= 0.9999, of: [payments], because: "annex 2, 3.1"}
  - {require: stream.failover_p99_seconds <= 0.05, of: [payments], because: "annex 2, 3.2"}
  - {require: node.uptime_ratio >= 0.999}
"""
GOLDEN = Path(__file__).parent / "golden" / "pilot-report.json"
SCHEMA = Path(__file__).parents[2] / "docs" / "report-schema.json"
PICTURE = Path(__file__).parents[2] / "docs" / "images" / "report.png"


def made(directory: Path) -> Report:
    """The report of the pilot against what was agreed."""
    criteria = directory / "criteria.yaml"
    criteria.write_text(CRITERIA)
    plain = report_of(
        pilot(), title="Pilot of the payments ring", made_at=START + 4.0 * DAY_SECONDS, software="1"
    )
    return plain.model_copy(update={"acceptance": judge(plain, load(criteria))})


def written(report: Report) -> str:
    """As the golden file has it: nine digits, which every machine agrees on."""
    content = json.loads(report.model_dump_json(), parse_float=lambda text: float(f"{float(text):.9g}"))
    return json.dumps(content, indent=1) + "\n"


def schema() -> str:
    """The published schema of `keyweave report -o json`."""
    return json.dumps(Report.model_json_schema(), indent=2) + "\n"


def write() -> None:
    """Write the golden report, the schema and the picture for the docs anew."""
    with TemporaryDirectory() as name:
        report = made(Path(name))
        GOLDEN.parent.mkdir(exist_ok=True)
        GOLDEN.write_text(written(report))
        SCHEMA.write_text(schema())
        printed = Path(name) / "report.pdf"
        printed.write_bytes(pdf.pdf(html.page(report)))
        command = ("pdftoppm", "-r", "80", "-png", "-f", "1", "-singlefile")
        subprocess.run([*command, str(printed), str(PICTURE.with_suffix(""))], check=True)


if __name__ == "__main__":
    write()
