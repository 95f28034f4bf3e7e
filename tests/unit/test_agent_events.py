"""What agents report, in the controller's words, and what operators can alarm on."""

import pytest
from prometheus_client import generate_latest

from keyweave.common.names import NodeName
from keyweave.controller.agent_events import event_of
from keyweave.controller.events import Event, Severity
from keyweave.controller.metrics import ControllerMetrics
from keyweave.v1 import agent_pb2

NODE = NodeName("a")
IDS = [f"8d9a6f0e-0000-4000-8000-{number:012d}" for number in range(256)]


def told(kind: str, **fields: object) -> Event:
    number = agent_pb2.AgentEventKind.Value(f"AGENT_EVENT_KIND_{kind}")
    report = agent_pb2.AgentEvent(kind=number, **fields)  # type: ignore[arg-type]  # fields of the message
    event = event_of(NODE, report, 10.0)
    assert event is not None
    return event


@pytest.mark.parametrize("number", sorted(set(agent_pb2.AgentEventKind.values()) - {0}))
def test_every_kind_that_an_agent_may_report_has_a_word(number: agent_pb2.AgentEventKind) -> None:
    event = event_of(NODE, agent_pb2.AgentEvent(kind=number), 10.0)
    assert event is not None
    assert event.kind.replace("_", "").isalpha()


def test_a_message_does_not_repeat_what_its_fields_say() -> None:
    event = told("LINK_RESTORED", link="ab", reason="QBER 0.02")
    assert (event.message, event.node, event.link) == ("QBER 0.02", "a", "ab")
    assert told("POOL_DESTROYED", link="ab").message == "pool destroyed"


def test_a_recall_names_every_key_who_has_it_and_the_link() -> None:
    event = told("KEYS_RECALLED", key_ids=IDS, sae="erp", link="ab", stream="s", since_unix_nanos=10**9)
    assert event.severity is Severity.MAJOR
    assert (event.kind, event.link, event.stream) == ("keys_recalled", "ab", "s")
    assert event.fields["key_ids"].split(",") == IDS
    assert event.fields["sae"] == "erp"
    assert event.message == "256 keys that erp has fetched: keys recalled"
    assert event.fields["since_unix_seconds"] == "1.000"


def test_recalls_failed_signatures_and_refusals_are_counted_by_node() -> None:
    metrics = ControllerMetrics()
    metrics.observe(told("KEYS_RECALLED", key_ids=IDS, link="ab"))
    metrics.observe(told("KEYS_RECALLED", key_ids=IDS[:3], count=3, link="ab"))
    metrics.observe(told("SIGNATURE_FAILED", peer_node="b", occurrences=4))
    metrics.observe(told("GUARD_REFUSED"))
    page = generate_latest(metrics.registry).decode()
    for line in (
        'keyweave_keys_recalled_total{node="a"} 259.0',
        'keyweave_signature_failures_total{node="a"} 4.0',
        'keyweave_guard_refusals_total{node="a"} 1.0',
    ):
        assert line in page
