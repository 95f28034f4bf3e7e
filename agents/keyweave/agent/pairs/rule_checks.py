"""What a node's part in a path of pairs must be on its own, whoever sends it. Pure."""

from collections.abc import Iterable

from keyweave.common.errors import Violation
from keyweave.common.names import NodeName, is_name
from keyweave.v1 import pairs_pb2 as pb


def pair_violations(node: NodeName, rule: pb.PairRule, peers: set[str]) -> Iterable[Violation]:
    """What is wrong with it; `peers` are the nodes for which there are rules."""
    nodes, links = list(rule.nodes), list(rule.links)
    problem = _path_problem(nodes, links)
    if problem:
        yield Violation("pair.nodes", problem)
        return
    if rule.position >= len(nodes) or nodes[rule.position] != node:
        yield Violation("pair.position", f"is {rule.position}, where the path does not have {node}")
        return
    for other in nodes:
        if other != node and other not in peers:
            yield Violation("pair.nodes", f"has '{other}', for which there is no peer rule")
    for field, memories, wanted in (
        ("left_memories", rule.left_memories, rule.position > 0),
        ("right_memories", rule.right_memories, rule.position < len(links)),
    ):
        if memories and not wanted:
            yield Violation(f"pair.{field}", f"is {memories}, but the path has no link on that side")
    if rule.key_link and rule.kind != pb.PAIR_KIND_MEASURE_DIRECTLY:
        yield Violation("pair.key_link", "is set, but only pairs that are measured directly make keys")
    for index, step in enumerate(rule.steps):
        yield from _step_violations(f"pair.steps[{index}]", rule, step)


def _path_problem(nodes: list[str], links: list[str]) -> str:
    if len(links) != len(nodes) - 1:
        return f"are {len(nodes)}, which needs {len(nodes) - 1} links; there are {len(links)}"
    if not all(map(is_name, [*nodes, *links])):
        return "or links have names that are none"
    if len(set(nodes)) != len(nodes):
        return "come to one node twice"
    return ""


def _step_violations(place: str, rule: pb.PairRule, step: pb.PairStep) -> Iterable[Violation]:
    nodes, here = list(rule.nodes), rule.position
    if step.partner not in nodes or step.partner == nodes[here]:
        yield Violation(f"{place}.partner", f"is '{step.partner}', which is no other node of the path")
        return
    match step.WhichOneof("action"):
        case "swap":
            other = step.swap.with_partner
            if other not in nodes or not _around(here, nodes.index(step.partner), nodes.index(other)):
                yield Violation(
                    f"{place}.swap.with_partner",
                    f"is '{other}'; this node must lie between it and '{step.partner}'",
                )
        case "deliver":
            if here not in (0, len(nodes) - 1) or step.partner != nodes[len(nodes) - 1 - here]:
                yield Violation(f"{place}.deliver", "is not for a pair from one end of the path to the other")


def _around(here: int, one: int, other: int) -> bool:
    return min(one, other) < here < max(one, other)
