"""What was agreed to call a pilot a success: a YAML file, checked, and held against a report's figures."""

import hashlib
import operator
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from keyweave.cli.report import document as doc
from keyweave.common import settings
from keyweave.common.errors import InvalidInputError

Kind = Literal["link", "stream", "node", "network"]
_REQUIREMENT = re.compile(
    r"\s*(?P<kind>\w+)\.(?P<figure>\w+)\s*(?P<relation>>=|<=)\s*(?P<bound>[-+]?[0-9]*\.?[0-9]+(?:[eE][-+]?[0-9]+)?)\s*"
)
_RELATIONS: Mapping[str, Callable[[float, float], bool]] = {">=": operator.ge, "<=": operator.le}


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure that may be required: its unit, and where it is in a report."""

    unit: str
    meaning: str
    of: Callable[[Any], float | None]


def _condition(word: str) -> Callable[[doc.Link], float | None]:
    return lambda link: link.condition_seconds.get(word, 0.0) if link.known_seconds else None


def allan(link: doc.Link, tau_seconds: int = 3600) -> float | None:
    """The Allan deviation of a link's QBER over one averaging time, if there was time enough for it."""
    return next((each.deviation for each in link.qber_allan if each.tau_seconds == tau_seconds), None)


def _absolute(value: float | None) -> float | None:
    return None if value is None else abs(value)


# Every figure that a criterion may name.
FIGURES: Mapping[Kind, Mapping[str, Figure]] = {
    "network": {
        "known_ratio": Figure(
            "", "share of the period that the controller watched", lambda r: r.period.known_ratio
        ),
        "faults": Figure("", "major faults", lambda r: float(sum(f.severity == "major" for f in r.faults))),
    },
    "link": {
        "uptime_ratio": Figure("", "share of OK and DEGRADED outside maintenance", lambda x: x.uptime_ratio),
        "down_seconds": Figure("s", "time DOWN", _condition("down")),
        "suspect_seconds": Figure("s", "time SUSPECT", _condition("suspect")),
        "maintenance_seconds": Figure(
            "s", "time in maintenance", lambda x: x.maintenance_seconds if x.known_seconds else None
        ),
        "qber_mean": Figure("", "mean QBER in service", lambda x: x.qber and x.qber.mean),
        "qber_max": Figure("", "highest QBER in service", lambda x: x.qber and x.qber.most),
        "qber_deviation": Figure(
            "", "standard deviation of QBER over time", lambda x: x.qber and x.qber.deviation
        ),
        "qber_drift_per_day": Figure(
            "1/d", "slope of QBER over time, either way", lambda x: _absolute(x.qber_drift_per_day)
        ),
        "qber_allan_hour": Figure("", "Allan deviation of QBER over an hour", allan),
        "key_rate_mean_bps": Figure(
            "bit/s", "mean secret key rate in service", lambda x: x.skr_bps and x.skr_bps.mean
        ),
        "key_rate_min_bps": Figure(
            "bit/s", "lowest secret key rate in service", lambda x: x.skr_bps and x.skr_bps.least
        ),
        "loss_mean_db": Figure("dB", "mean attenuation", lambda x: x.loss_db and x.loss_db.mean),
    },
    "stream": {
        "availability_ratio": Figure(
            "", "share of time in which keys could be had", lambda x: x.availability_ratio
        ),
        "quantum_ratio": Figure("", "share of time with QKD in the keys made", lambda x: x.quantum_ratio),
        "delivered_bps": Figure("bit/s", "key delivered, over the known time", lambda x: x.delivered_bps),
        "failovers": Figure(
            "", "failovers", lambda x: float(x.failovers.count) if x.service_seconds else None
        ),
        "failover_p99_seconds": Figure(
            "s", "duration that 99 % of the failovers did not exceed", lambda x: x.failovers.p99_seconds
        ),
        "failover_max_seconds": Figure("s", "longest failover", lambda x: x.failovers.longest_seconds),
        "keys_served": Figure(
            "", "keys handed out", lambda x: float(sum(x.keys.values())) if x.service_seconds else None
        ),
    },
    "node": {
        "uptime_ratio": Figure("", "share of time with its agent connected", lambda x: x.uptime_ratio),
    },
}


class Criterion(BaseModel):
    """One thing that was agreed."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    require: Annotated[str, Field(description="FIGURE >= NUMBER or FIGURE <= NUMBER, as in link.qber_mean")]
    # The objects it is about; none means all there are.
    of: tuple[str, ...] = ()
    because: Annotated[str, Field(max_length=300)] = ""

    @field_validator("require")
    @classmethod
    def _is_known(cls, require: str) -> str:
        _parsed(require)
        return " ".join(require.split())


class Criteria(BaseModel):
    """A criteria file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    title: Annotated[str, Field(max_length=200)] = ""
    # Who signs; each gets a line at the end of the report.
    parties: Annotated[tuple[str, ...], Field(max_length=8)] = ()
    criteria: Annotated[tuple[Criterion, ...], Field(min_length=1, max_length=1000)]


@dataclass(frozen=True, slots=True)
class Agreed:
    """A criteria file that has been read, and which file that was."""

    criteria: Criteria
    sha256: str


def load(path: Path) -> Agreed:
    """Read a criteria file; InvalidInputError names every field that is wrong."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InvalidInputError.of("--criteria", f"{path} cannot be read: {error.strerror}") from None
    criteria = settings.from_bytes(content, Criteria, source=str(path))
    return Agreed(criteria, hashlib.sha256(content).hexdigest())


def judge(report: doc.Report, agreed: Agreed) -> doc.Acceptance:
    """Hold a report against what was agreed. Only what is known to hold passes."""
    results = tuple(result for each in agreed.criteria.criteria for result in _results(report, each))
    verdicts = {result.verdict for result in results}
    verdict: doc.Verdict = "fail" if "fail" in verdicts else "no data" if "no data" in verdicts else "pass"
    return doc.Acceptance(
        title=agreed.criteria.title,
        parties=agreed.criteria.parties,
        criteria_sha256=agreed.sha256,
        verdict=verdict,
        results=results,
    )


def _results(report: doc.Report, criterion: Criterion) -> Iterator[doc.Result]:
    kind, name, relation, bound = _parsed(criterion.require)
    figure = FIGURES[kind][name]
    for one, found in _objects(report, kind, criterion.of):
        value = None if found is None else figure.of(found)
        verdict: doc.Verdict = "no data"
        if value is not None:
            verdict = "pass" if _RELATIONS[relation](value, bound) else "fail"
        elif _no_failover(found, name):
            verdict = "pass"
        yield doc.Result(
            requirement=criterion.require,
            name=one,
            value=value,
            unit=figure.unit,
            verdict=verdict,
            because=criterion.because,
        )


def _no_failover(found: object, figure: str) -> bool:
    """Whether a stream was watched and never failed over: then none took too long."""
    return (
        isinstance(found, doc.Stream)
        and figure.startswith("failover_")
        and bool(found.service_seconds)
        and not found.failovers.count
    )


def _objects(report: doc.Report, kind: Kind, names: tuple[str, ...]) -> Iterable[tuple[str, Any]]:
    """The objects of a kind: those named, whether anything is known of them or not, or all."""
    if kind == "network":
        return [("", report)]
    every: Mapping[Kind, Iterable[Any]] = {
        "link": report.links,
        "stream": report.streams,
        "node": report.nodes,
    }
    listed = {each.name: each for each in every[kind]}
    if names:
        return [(name, listed.get(name)) for name in names]
    return list(listed.items()) or [("", None)]


def _parsed(require: str) -> tuple[Kind, str, str, float]:
    match = _REQUIREMENT.fullmatch(require)
    if match is None:
        raise ValueError(
            f"'{require}' is not FIGURE >= NUMBER or FIGURE <= NUMBER, as in 'link.qber_mean <= 0.05'"
        )
    kind = next((each for each in FIGURES if each == match["kind"]), None)
    if kind is None:
        raise ValueError(f"'{require}' is about no {', '.join(FIGURES)}")
    known = FIGURES[kind]
    if match["figure"] not in known:
        raise ValueError(
            f"there is no {kind}.{match['figure']}; there are {', '.join(f'{kind}.{n}' for n in known)}"
        )
    return kind, match["figure"], match["relation"], float(match["bound"])
