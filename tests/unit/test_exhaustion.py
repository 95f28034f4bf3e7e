"""A stream that loses its last path: its ends are told at once, in the step that takes in the alarm."""

from keyweave.common.names import NodeName
from keyweave.controller.instructions import Push
from keyweave.controller.stimuli import AgentReported, Batch
from keyweave.controller.topology import OnExhaustion
from keyweave.v1 import agent_pb2
from tests.unit.core_run import LINKS, Run
from tests.unit.networks import snapshot, stream


def paths_told(push: Push) -> int:
    """How many path sets the policy has for the stream."""
    rule = agent_pb2.Rule.FromString(push.target.policy.rules["stream/s"])
    return len(rule.stream.path_sets)


def test_the_ends_of_a_stream_that_refuses_without_a_path_are_told_so_at_once() -> None:
    run = Run(network=snapshot(LINKS, [stream("s", "a", "b", on_exhaustion=OnExhaustion.REFUSE)]))
    run.connect()
    run.measure(3, {})
    ends = {NodeName("a"), NodeName("b")}
    told = [i for i in run.done if isinstance(i, Push) and i.node in ends]
    assert paths_told(told[-1]) > 0
    for link, node in (("a-p", "a"), ("b-q", "b")):
        report = agent_pb2.AgentEvent(kind=agent_pb2.AGENT_EVENT_KIND_LINK_LOSS_OF_SIGNAL, link=link)
        out = run.handle(Batch(NodeName(node), b"", 1, (AgentReported(NodeName(node), report),)))
    last = {i.node: paths_told(i) for i in out if isinstance(i, Push) and i.node in ends}
    assert last == {NodeName("a"): 0, NodeName("b"): 0}
