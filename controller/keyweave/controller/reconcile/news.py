"""What those who watch are told of links, plans and streams. Pure; owned by the core."""

from collections.abc import Iterable, Iterator, Sequence

from keyweave.common.names import LinkName, NodeName, StreamName
from keyweave.controller.estimate.estimate import LinkEstimate
from keyweave.controller.estimate.link_book import LinkChange
from keyweave.controller.events import Event, Severity
from keyweave.controller.topology import Condition, Plan

_NAMES_SHOWN = 8
# Agents and links whose reports were refused: each is told of once.
_REFUSALS_REMEMBERED = 1000

_CONDITION_SEVERITY = {
    Condition.DOWN: Severity.MAJOR,
    Condition.SUSPECT: Severity.MAJOR,
    Condition.DEGRADED: Severity.MINOR,
    Condition.STALE: Severity.MINOR,
}


def link_news(change: LinkChange, now: float) -> Iterator[Event]:
    """What is new about a link."""
    name, before, after = change.link.name, change.before, change.after
    if before.condition is not after.condition:
        message = f"link '{name}' went from {before.condition} to {after.condition}: {after.reason}"
        fields = {"old": before.condition, "new": after.condition, **_why(after)}
        severity = _CONDITION_SEVERITY.get(after.condition, Severity.INFO)
        yield Event("link_condition_changed", severity, message, now, link=name, fields=fields)
    elif after.cause is not before.cause and after.cause is not None:
        message = f"link '{name}' is {after.condition} and reads otherwise: {after.reason}"
        yield Event("link_diagnosed", Severity.INFO, message, now, link=name, fields=_why(after))
    # People work on a link in maintenance: its ends may well disagree.
    in_use = after.condition is not Condition.MAINTENANCE
    if after.ends_disagree and not before.ends_disagree and in_use:
        message = f"link '{name}': {after.ends_disagree}"
        yield Event("ends_disagree", Severity.MAJOR, message, now, link=name)


def _why(estimate: LinkEstimate) -> dict[str, str]:
    """Reason, reading and evidence, for an event."""
    why = {"reason": estimate.reason}
    if estimate.cause is not None:
        why["diagnosis"] = estimate.cause
    if estimate.evidence:
        why["evidence"] = "; ".join(estimate.evidence)
    return why


def plan_news(plan: Plan, moved: Sequence[StreamName], now: float) -> Event:
    """A plan moves streams."""
    shown = ", ".join(moved[:_NAMES_SHOWN]) + (", ..." if len(moved) > _NAMES_SHOWN else "")
    message = f"plan {plan.version} changes {len(moved)} of {len(plan.streams)} streams: {shown}"
    fields = {"version": str(plan.version), "streams": ",".join(moved[:_NAMES_SHOWN])}
    return Event("plan_changed", Severity.INFO, message, now, fields=fields)


class Unmet:
    """Streams that cannot have what they require; each is told of once, and once when it is over."""

    def __init__(self) -> None:
        self._unmet: dict[StreamName, str] = {}
        self._told: set[StreamName] = set()
        self._over: set[StreamName] = set()

    def planned(self, plan: Plan, names: Iterable[StreamName]) -> None:
        """These streams have another plan, or none any more."""
        for name in names:
            planned = plan.streams.get(name)
            if planned is not None and planned.unmet:
                self._unmet[name] = planned.unmet
                self._over.discard(name)
            else:
                self._unmet.pop(name, None)
                if name in self._told and planned is not None:
                    self._over.add(name)
                else:
                    self._told.discard(name)
                    self._over.discard(name)

    def news(self, now: float) -> Iterator[Event]:
        """What has not been told yet."""
        for name in sorted(self._over):
            message = f"stream '{name}' is planned what it requires again"
            yield Event("stream_met", Severity.INFO, message, now, stream=name)
        self._told -= self._over
        self._over.clear()
        for name in sorted(self._unmet.keys() - self._told):
            self._told.add(name)
            message = f"stream '{name}' cannot have what it requires: {self._unmet[name]}"
            yield Event("stream_unmet", Severity.MAJOR, message, now, stream=name)


class Refusals:
    """Agents that report on links that are not theirs; each is told of once: a link may have been deleted."""

    def __init__(self) -> None:
        self._refused: set[tuple[NodeName, LinkName]] = set()

    def forget(self, link: LinkName) -> None:
        """The link is described anew."""
        self._refused = {refused for refused in self._refused if refused[1] != link}

    def news(self, node: NodeName, link: LinkName, now: float) -> Iterator[Event]:
        """`node` reports on a link that does not end there."""
        if (node, link) in self._refused:
            return
        if len(self._refused) >= _REFUSALS_REMEMBERED:
            self._refused.clear()
        self._refused.add((node, link))
        message = f"'{node}' reports on link '{link}', which does not end there (or does not exist)"
        yield Event("report_refused", Severity.MINOR, message, now, node=node, link=link)
