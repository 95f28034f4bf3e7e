"""What a policy's rules must be on their own and among one another, whoever sends them. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

from keyweave.agent.pairs.rule_checks import pair_violations
from keyweave.common import validation
from keyweave.common.errors import InvalidInputError, Violation, to_status
from keyweave.common.names import NodeName, is_name
from keyweave.v1 import agent_pb2, types_pb2

# As in RelayRule: it stands in the header of every relayed share.
MAX_PATH_ID_CHARACTERS = 200
MAX_HOPS = 65


def check_rules(node: NodeName, rules: Mapping[str, agent_pb2.Rule]) -> tuple[agent_pb2.RuleStatus, ...]:
    """What is wrong, rule by rule; empty if nothing is."""
    peers = {rule.peer.node for rule in rules.values() if rule.WhichOneof("kind") == "peer"}
    problems = []
    for rule_id, rule in rules.items():
        found = [
            *validation.violations(rule),
            *_id_violations(rule_id, rule),
            *_cross_violations(node, rule, peers),
        ]
        if found:
            problems.append(agent_pb2.RuleStatus(rule_id=rule_id, status=to_status(InvalidInputError(found))))
    return tuple(problems)


def _id_violations(rule_id: str, rule: agent_pb2.Rule) -> Iterable[Violation]:
    """A rule's ID says what it is about: so no two rules can be about one thing."""
    match rule.WhichOneof("kind"):
        case "peer":
            expected = f"peer/{rule.peer.node}"
        case "link":
            expected = f"link/{rule.link.link}"
        case "stream":
            expected = f"stream/{rule.stream.stream}"
        case "relay":
            expected = f"relay/{rule.relay.stream}/{rule.relay.path_id}"
        case "order":
            expected = f"order/{rule.order.order_id}"
        case "pair":
            expected = f"pair/{rule.pair.stream}/{rule.pair.path_id}"
        case "pair_link":
            expected = f"pair-link/{rule.pair_link.link}"
        case _:
            return
    if rule_id != expected:
        yield Violation("rule_id", f"is '{rule_id}'; expected '{expected}'")


def _cross_violations(node: NodeName, rule: agent_pb2.Rule, peers: set[str]) -> Iterable[Violation]:
    match rule.WhichOneof("kind"):
        case "link":
            yield from _known_peer("link.peer_node", rule.link.peer_node, peers)
        case "relay":
            yield from _relay_violations(node, rule.relay, peers)
        case "stream":
            yield from _stream_violations(node, rule.stream, peers)
        case "order":
            about_link = rule.order.kind != types_pb2.ORDER_KIND_NODE_ZEROIZE
            if about_link != is_name(rule.order.link):
                yield Violation("order.link", f"is '{rule.order.link}'; LINK orders name a link, others none")
        case "pair":
            yield from pair_violations(node, rule.pair, peers)
        case "pair_link":
            yield from _known_peer("pair_link.peer_node", rule.pair_link.peer_node, peers)


def _relay_violations(node: NodeName, relay: agent_pb2.RelayRule, peers: set[str]) -> Iterable[Violation]:
    problem = hops_problem(relay.hops)
    if problem:
        yield Violation("relay.hops", problem)
        return
    around = [(a.from_node, b.to_node) for a, b in pairwise(relay.hops) if a.to_node == node]
    if not around:
        yield Violation("relay.hops", f"do not lead through {node}")
    for neighbours in around:
        for neighbour in neighbours:
            yield from _known_peer("relay.hops", neighbour, peers)


def _stream_violations(node: NodeName, stream: agent_pb2.StreamRule, peers: set[str]) -> Iterable[Violation]:
    yield from _known_peer("stream.peer_node", stream.peer_node, peers)
    if stream.min_k > stream.k:
        yield Violation("stream.min_k", f"is {stream.min_k}, above k = {stream.k}")
    if stream.key_size_bits % 8:
        yield Violation("stream.key_size_bits", f"is {stream.key_size_bits}; it must be a multiple of 8")
    if stream.require_qkd and stream.on_exhaustion == types_pb2.ON_EXHAUSTION_PQC:
        yield Violation("stream.on_exhaustion", "is PQC, against require_qkd; allowed: WAIT, REFUSE")
    ends = (node, stream.peer_node) if stream.is_source else (stream.peer_node, node)
    accepted: dict[str, types_pb2.Path] = {}
    for index, path in enumerate(stream.accepted_paths):
        place = f"stream.accepted_paths[{index}]"
        yield from _path_violations(place, path, ends)
        if path.path_id in accepted:
            yield Violation(place, f"'{path.path_id}' is there twice")
        accepted[path.path_id] = path
    for index, path_set in enumerate(stream.path_sets):
        place = f"stream.path_sets[{index}].paths"
        if len(path_set.paths) < stream.min_k:
            yield Violation(place, f"holds {len(path_set.paths)} paths; min_k is {stream.min_k}")
        yield from _disjointness_violations(place, path_set)
        for path in path_set.paths:
            yield from _path_violations(place, path, ends)
            yield from _acceptance_violations(place, path, accepted)


def _acceptance_violations(
    place: str, path: types_pb2.Path, accepted: Mapping[str, types_pb2.Path]
) -> Iterable[Violation]:
    if path.path_id not in accepted:
        yield Violation(place, f"'{path.path_id}' is not among the accepted paths")
    elif path != accepted[path.path_id]:
        yield Violation(place, f"'{path.path_id}' has other hops than among the accepted paths")


def _disjointness_violations(place: str, path_set: types_pb2.PathSet) -> Iterable[Violation]:
    crossed = [hop.to_node for path in path_set.paths for hop in path.hops[:-1]]
    if len(set(crossed)) != len(crossed):
        yield Violation(place, "share a trusted node: its owner would see more than one share")
    links = [hop.link for path in path_set.paths for hop in path.hops]
    if len(set(links)) != len(links):
        yield Violation(place, "share a link: whoever taps it would see more than one share")


def _path_violations(place: str, path: types_pb2.Path, ends: tuple[str, str]) -> Iterable[Violation]:
    if not 1 <= len(path.path_id) <= MAX_PATH_ID_CHARACTERS:
        yield Violation(place, f"has a path_id of {len(path.path_id)} characters, not 1..200")
    hops = path.hops
    problem = hops_problem(hops)
    if not hops or (hops[0].from_node, hops[-1].to_node) != ends:
        yield Violation(place, f"'{path.path_id}' does not lead from {ends[0]} to {ends[1]}")
    elif problem:
        yield Violation(place, f"'{path.path_id}' has hops that {problem}")


def hops_problem(hops: Sequence[types_pb2.Hop]) -> str:
    """Why hops are no path from one node to another; empty where they are."""
    if len(hops) > MAX_HOPS:
        return f"are {len(hops)}; allowed at most {MAX_HOPS}"
    if not all(is_name(name) for hop in hops for name in (hop.link, hop.from_node, hop.to_node)):
        return "have names that are none"
    if any(a.to_node != b.from_node for a, b in pairwise(hops)):
        return "do not meet"
    nodes = [hop.from_node for hop in hops[:1]] + [hop.to_node for hop in hops]
    if len(set(nodes)) != len(nodes):
        return "come to one node twice"
    if len({hop.link for hop in hops}) != len(hops):
        return "cross one link twice"
    return ""


def _known_peer(field_name: str, name: str, peers: set[str]) -> Iterable[Violation]:
    if name not in peers:
        yield Violation(field_name, f"is '{name}', for which there is no peer rule")
