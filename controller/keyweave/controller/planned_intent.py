"""Maintenance windows and refresh schedules as operators write them: checked, and read for the core."""

from collections.abc import Collection, Iterable

from keyweave.common.errors import Violation
from keyweave.common.names import LinkName, NodeName
from keyweave.controller.calendar import Schedule, TimeOfDay, Window
from keyweave.v1 import types_pb2

DEFAULT_LEAD_SECONDS = 300
MAX_WINDOW_SECONDS = 366 * 86_400
_NANOS = 1_000_000_000


def window_of(spec: types_pb2.Maintenance) -> Window:
    """A maintenance window as the core sees it."""
    return Window(
        name=spec.name,
        links=frozenset(LinkName(name) for name in spec.links),
        nodes=frozenset(NodeName(name) for name in spec.nodes),
        start=spec.start_unix_nanos / _NANOS,
        end=spec.end_unix_nanos / _NANOS,
        lead_seconds=float(spec.lead_seconds if spec.HasField("lead_seconds") else DEFAULT_LEAD_SECONDS),
        reason=spec.reason,
    )


def schedule_of(spec: types_pb2.Schedule) -> Schedule:
    """A refresh schedule as the core sees it."""
    return Schedule(
        name=spec.name,
        tenant=spec.tenant,
        application_class=spec.application_class,
        refresh_seconds=spec.refresh_seconds,
        key_ttl_seconds=spec.key_ttl_seconds,
        times=tuple(_time_of_day(text) for text in spec.times),
    )


def window_violations(
    nodes: Collection[str], links: Collection[str], spec: types_pb2.Maintenance
) -> Iterable[Violation]:
    """What does not fit of a maintenance window."""
    for field, named, known in (("links", spec.links, links), ("nodes", spec.nodes, nodes)):
        for index, name in enumerate(named):
            if name not in known:
                yield Violation(f"{field}[{index}]", f"there is no {field[:-1]} '{name}'")
    if not spec.links and not spec.nodes:
        yield Violation("links", "name at least one link or node")
    length = (spec.end_unix_nanos - spec.start_unix_nanos) / _NANOS
    if length <= 0:
        yield Violation("end_unix_nanos", "must be after start_unix_nanos")
    elif length > MAX_WINDOW_SECONDS:
        days = MAX_WINDOW_SECONDS // 86_400
        yield Violation(
            "end_unix_nanos", f"is more than {days} days after start_unix_nanos; disable the link"
        )


def schedule_violations(
    others: Iterable[types_pb2.Schedule], spec: types_pb2.Schedule
) -> Iterable[Violation]:
    """What does not fit of a refresh schedule."""
    if not spec.refresh_seconds and not spec.key_ttl_seconds:
        yield Violation("refresh_seconds", "set it, or key_ttl_seconds, or both; as it is it changes nothing")
    for index, text in enumerate(spec.times):
        if text[:5] == text[6:]:
            yield Violation(f"times[{index}]", f"'{text}' ends as it begins; leave times out for all day")
    rivals = [
        one.name
        for one in others
        if one.name != spec.name
        and schedule_of(one).rivals(schedule_of(spec))
        and ((one.refresh_seconds and spec.refresh_seconds) or (one.key_ttl_seconds and spec.key_ttl_seconds))
    ]
    if rivals:
        yield Violation(
            "times" if spec.times else "tenant",
            f"schedule '{min(rivals)}' says the same of the same streams at the same time; "
            "change that one, or name a tenant, class or times that differ",
        )


def _time_of_day(text: str) -> TimeOfDay:
    start, _, end = text.partition("-")
    return TimeOfDay(_seconds(start), _seconds(end))


def _seconds(text: str) -> int:
    hours, _, minutes = text.partition(":")
    return int(hours) * 3600 + int(minutes) * 60
