"""Every event is as its kind is declared, or a test fails."""

from dataclasses import replace
from typing import Any, get_args

import pytest
from pydantic import TypeAdapter

from docs.events_page import PAGE, page
from keyweave.common.names import NodeName
from keyweave.controller.agent_events import event_of
from keyweave.controller.event_kinds import KINDS, KindName
from keyweave.controller.events import Event, Severity
from keyweave.v1 import agent_pb2

STARTED = Event("controller_started", Severity.INFO, "it leads", 1.0, fields={"epoch": "4"})


def test_the_type_has_every_kind_that_is_declared_and_no_other() -> None:
    assert sorted(get_args(KindName)) == sorted(KINDS)
    assert list(get_args(KindName)) == sorted(get_args(KindName))


@pytest.mark.parametrize(
    ("changed", "complaint"),
    [
        ({"kind": "controller_restarted"}, "kind 'controller_restarted' is not declared"),
        ({"fields": {"epoch": "4", "pid": "7"}}, "controller_started declares no field 'pid'"),
        ({"severity": Severity.MAJOR}, "controller_started is never major"),
        ({"link": "ab"}, "controller_started is not about a link"),
    ],
)
def test_an_event_that_is_not_as_declared_warns_which_fails_a_test(
    changed: dict[str, Any], complaint: str
) -> None:
    with pytest.warns(UserWarning, match=complaint):
        replace(STARTED, **changed)
    with pytest.raises(UserWarning, match="event not as declared"):
        replace(STARTED, **changed)


def test_an_event_of_another_versions_kind_is_still_read_from_the_store() -> None:
    stored = TypeAdapter(Event).dump_json(STARTED).replace(b"controller_started", b"controller_sang")
    with pytest.warns(UserWarning, match="not declared"):
        event: Event = TypeAdapter(Event).validate_json(stored)
    assert (event.kind, event.alarm, event.clears) == ("controller_sang", "", False)


@pytest.mark.parametrize("number", sorted(set(agent_pb2.AgentEventKind.values()) - {0}))
def test_whatever_an_agent_may_report_is_as_declared(number: agent_pb2.AgentEventKind) -> None:
    report = agent_pb2.AgentEvent(
        kind=number,
        reason="because",
        peer_node="b",
        sae="erp",
        key_ids=["8d9a6f0e-0000-4000-8000-000000000001"],
        count=3,
        occurrences=2,
        since_unix_nanos=10**9,
    )
    subjects = KINDS[_kind(report)].about
    for subject in set(subjects) - {"node"}:
        setattr(report, subject, "x")
    event = event_of(NodeName("a"), report, 10.0)
    assert event is not None
    assert event.fields["reason"] == "because"


def _kind(report: agent_pb2.AgentEvent) -> KindName:
    event = event_of(NodeName("a"), report, 10.0)
    assert event is not None
    return event.kind


def test_every_alarm_can_end_and_begin() -> None:
    ways: dict[str, set[Severity]] = {}
    for name, kind in KINDS.items():
        if kind.alarm:
            ways.setdefault(kind.alarm, set()).update(kind.severities)
            assert kind.about or name == "database_outage", "the controllers have one database"
    assert ways
    for severities in ways.values():
        assert Severity.INFO in severities
        assert len(severities) > 1


def test_the_page_of_events_is_what_the_table_says() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run `make docs`, or `python -m docs.events_page`"


def test_what_a_report_names_beside_what_its_kind_is_about_is_left_out() -> None:
    restored = agent_pb2.AGENT_EVENT_KIND_LINK_RESTORED
    event = event_of(NodeName("a"), agent_pb2.AgentEvent(kind=restored, link="ab", stream="s"), 10.0)
    assert event is not None
    assert (event.link, event.stream) == ("ab", "")
