"""The files of rules, by name."""

from collections.abc import Mapping, Sequence

from dashboards.alerts import ALERTS
from dashboards.recordings import RECORDINGS
from dashboards.rule import Group, as_yaml
from dashboards.slo import SLO_ALERTS, SLO_RECORDINGS

__all__ = ["RULE_FILES", "as_yaml"]

RULE_FILES: Mapping[str, Sequence[Group]] = {
    "keyweave-recordings": (RECORDINGS, SLO_RECORDINGS),
    "keyweave-alerts": (ALERTS, SLO_ALERTS),
}
