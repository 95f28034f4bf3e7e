"""Writes docs/events.md from the table of kinds: `python -m docs.events_page`."""

from collections.abc import Iterator
from pathlib import Path

from keyweave.controller.event_kinds import KINDS, REPORTED_FIELDS, EventKind, KindName

PAGE = Path(__file__).with_name("events.md")
_INTRODUCTION = """\
# Events

What happened, for people and programs: `keyweave event list|watch`, `WatchEvents` of the admin API, the
[exports](audit.md#exports), and the controller's log. This page is written from
`controller/keyweave/controller/event_kinds.py`, where every kind is declared once.

Every event has an `id` that rises by one, a time, a severity (`info`, `minor`, `major`; the latter two as
in ETSI GS QKD 015), a kind, a message for people, and fields for programs. Which of `node`, `link` and
`stream` it may name stands under *about*. No event holds key material.

**Alarms.** Kinds with an alarm tell of a state that lasts. Severity `info` ends it for the node, link or
stream that the event names, any other begins it.

**Audited** kinds tell that what protects keys has changed; each event has an entry in the
[audit log](audit.md).

| kind | severity | about | alarm | audited | meaning |
|---|---|---|---|---|---|
"""
_FIELDS = """
## Fields

Fields without a value are left out.

| kind | field | meaning |
|---|---|---|
"""


def page() -> str:
    """The whole page."""
    return (
        _INTRODUCTION
        + "".join(_row(name, kind) for name, kind in KINDS.items())
        + _FIELDS
        + "".join(_field_rows())
    )


def _row(name: str, kind: EventKind) -> str:
    severities = ", ".join(kind.severities)
    about = ", ".join(kind.about) or "network"
    audited = "yes" if kind.protects else ""
    return f"| `{name}` | {severities} | {about} | {kind.alarm} | {audited} | {kind.meaning} |\n"


def _field_rows() -> Iterator[str]:
    """Fields that several kinds share stand once; those of agents' reports once for all of them."""
    kinds_of: dict[tuple[str, str], list[KindName]] = {}
    for name, kind in KINDS.items():
        for told in kind.fields.items():
            kinds_of.setdefault(told, []).append(name)
    reports: list[KindName] = []
    for (name_of_field, meaning), kinds in kinds_of.items():
        if set(REPORTED_FIELDS) <= set(KINDS[kinds[0]].fields) and name_of_field in REPORTED_FIELDS:
            reports, who = kinds, "what agents report[^1]"
        else:
            who = ", ".join(f"`{kind}`" for kind in kinds)
        yield f"| {who} | `{name_of_field}` | {meaning} |\n"
    yield f"\n[^1]: {', '.join(f'`{kind}`' for kind in sorted(reports))}\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
