"""Faults with their diagnosis, from what happened: what began is joined with what ended it. Pure."""

from collections.abc import Iterable, Iterator, Mapping

from keyweave.cli.report.document import Fault
from keyweave.controller.event_kinds import KINDS, EventKind
from keyweave.controller.history.rows import Happening

# By any word: a history may hold kinds of another version.
_KINDS: Mapping[str, EventKind] = {str(kind): declared for kind, declared in KINDS.items()}
_FINE = frozenset({"ok", "maintenance"})
# Told by what they lead to: both ends of a link report what the link's condition says once.
_SAID_OTHERWISE = frozenset({"link_end"})
_NEVER_A_FAULT = frozenset({"stream_failover", "order_given", "order_withdrawn", "stream_warning"})


def faults(happenings: Iterable[Happening], end: float) -> tuple[Fault, ...]:
    """All faults, in order of their beginnings; those that are not over by `end` have none."""
    return tuple(sorted(_faults(happenings, end), key=lambda fault: (fault.start, fault.link, fault.what)))


def _faults(happenings: Iterable[Happening], end: float) -> Iterator[Fault]:
    lasting: dict[tuple[str, str, str, str], Happening] = {}
    for each in sorted(happenings, key=lambda happening: happening.time_unix_seconds):
        alarm = _alarm(each)
        if each.time_unix_seconds >= end or alarm in _SAID_OTHERWISE or each.kind in _NEVER_A_FAULT:
            continue
        if not alarm:
            if each.severity != "info":
                yield _fault(each, each.time_unix_seconds)
            continue
        subject = (alarm, each.node, each.link, each.stream)
        before = lasting.pop(subject, None)
        if before is not None:
            yield _fault(before, each.time_unix_seconds)
        # What is diagnosed otherwise goes on as another fault; where nothing is wrong it is none.
        if not _ends_it(each) and (before is not None or each.kind != "link_diagnosed"):
            lasting[subject] = each
    for begun in lasting.values():
        yield _fault(begun, None)


def _alarm(each: Happening) -> str:
    """The lasting state that it begins, changes or ends; empty where there is none."""
    if each.kind == "link_diagnosed":
        return "link_condition"
    declared = _KINDS.get(each.kind)
    return declared.alarm if declared is not None else ""


def _ends_it(each: Happening) -> bool:
    if each.kind == "link_diagnosed":
        return False
    return each.fields["new"] in _FINE if "new" in each.fields else each.severity == "info"


def _fault(begun: Happening, end: float | None) -> Fault:
    condition = begun.fields.get("new", "")
    return Fault(
        start=begun.time_unix_seconds,
        end=end,
        node=begun.node,
        link=begun.link,
        stream=begun.stream,
        what=f"link {condition}" if condition else begun.kind.replace("_", " "),
        severity=begun.severity,
        diagnosis=begun.fields.get("diagnosis", ""),
        reason=begun.message,
    )
