"""Recording and alert rules as values, and as the YAML that Prometheus reads."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import yaml

# Where the pages of docs/runbooks are served is the operator's choice; see docs/dashboards.md.
RUNBOOKS = "https://keyweave.example/docs/runbooks"


class Urgency(StrEnum):
    """What is to be done about an alert."""

    # Somebody is woken.
    CRITICAL = "critical"
    # Somebody looks at it on the same day.
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Recording:
    """A series that Prometheus computes ahead."""

    record: str
    expr: str
    labels: Mapping[str, str] = field(default_factory=dict)

    def as_rule(self) -> dict[str, Any]:
        """As Prometheus reads it."""
        labels = {"labels": dict(self.labels)} if self.labels else {}
        return {"record": self.record, "expr": _Expr(self.expr), **labels}


@dataclass(frozen=True, slots=True)
class Alert:
    """A condition that people are told of; its runbook has its name."""

    name: str
    urgency: Urgency
    expr: str
    # How long it must hold; empty means at once.
    holds: str
    summary: str
    description: str
    labels: Mapping[str, str] = field(default_factory=dict)

    def as_rule(self) -> dict[str, Any]:
        """As Prometheus reads it."""
        holds = {"for": self.holds} if self.holds else {}
        return {
            "alert": self.name,
            "expr": _Expr(self.expr),
            **holds,
            "labels": {"severity": self.urgency.value, **self.labels},
            "annotations": {
                "summary": self.summary,
                "description": self.description,
                "runbook_url": f"{RUNBOOKS}/{self.name}.md",
            },
        }


Rule = Recording | Alert


@dataclass(frozen=True, slots=True)
class Group:
    """Rules that are evaluated together, in this order."""

    name: str
    rules: Sequence[Rule]


class _Expr(str):
    """PromQL: in a block of its own, as people write it."""

    __slots__ = ()


class _Dumper(yaml.SafeDumper):
    """Keeps the order of keys, and expressions of several lines as they are."""


def _present(dumper: yaml.SafeDumper, expr: _Expr) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", str(expr), style="|" if "\n" in expr else None)


_Dumper.add_representer(_Expr, _present)


def as_yaml(groups: Sequence[Group]) -> str:
    """A file of rules."""
    content = {"groups": [{"name": g.name, "rules": [r.as_rule() for r in g.rules]} for g in groups]}
    head = "# Written by `make dashboards` from the code in dashboards/; change it there.\n"
    return head + yaml.dump(content, Dumper=_Dumper, sort_keys=False, width=1000, allow_unicode=True)
