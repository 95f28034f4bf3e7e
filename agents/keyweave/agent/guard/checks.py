"""Policy held against the guard: what is refused, and how what is in force is tightened. Pure.

A push that asks for less than the guard is refused whole, though it could be tightened: the controller would
go on planning by something that is not so, and nobody would see that it tried. Terms are tightened before
use all the same, so that a rule which slipped past the check, or was in force before the guard changed,
weakens nothing.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from google.rpc import code_pb2

from keyweave.agent.guard.model import Guard, Sharing
from keyweave.agent.keyplane.terms import LinkPolicy, RelayLimits, RelayPath, StreamTerms
from keyweave.agent.policy_checks import check_rules
from keyweave.common.errors import InvalidInputError, Violation, to_status
from keyweave.common.names import LinkName, NodeName
from keyweave.v1 import agent_pb2, types_pb2

Rules = Mapping[str, agent_pb2.Rule]


def refusals(guard: Guard, rules: Rules) -> tuple[agent_pb2.RuleStatus, ...]:
    """What the guard forbids of rules that are well formed, rule by rule; empty if nothing."""
    found = ((rule_id, tuple(_violations(guard, rule))) for rule_id, rule in rules.items())
    return tuple(_refused(rule_id, violations) for rule_id, violations in found if violations)


def lawful(guard: Guard, rules: Rules) -> tuple[dict[str, agent_pb2.Rule], tuple[agent_pb2.RuleStatus, ...]]:
    """The part of a policy in force that the guard still allows, and why the rest is not run by.

    A link with a threshold above the ceiling is kept: `tightened_link` has the lower one used.
    """
    # On disk there may be rules of an older release, which nothing below could read.
    malformed = check_rules(NodeName(guard.node), rules)
    bad = {status.rule_id for status in malformed}
    rules = {name: rule for name, rule in rules.items() if name not in bad}
    withheld = (*malformed, *refusals(guard, rules))
    names = {status.rule_id for status in withheld}
    kept = {
        name: rule
        for name, rule in rules.items()
        if name not in names or (rule.WhichOneof("kind") == "link" and rule.link.peer_node in guard.peers)
    }
    # Without a peer's rule, those about it say nothing.
    orphans = check_rules(NodeName(guard.node), kept)
    lost = {status.rule_id for status in orphans}
    return {name: rule for name, rule in kept.items() if name not in lost}, (
        *withheld,
        *(status for status in orphans if status.rule_id not in names),
    )


def _refused(rule_id: str, violations: Iterable[Violation]) -> agent_pb2.RuleStatus:
    status = to_status(InvalidInputError(violations))
    status.code = code_pb2.PERMISSION_DENIED
    return agent_pb2.RuleStatus(rule_id=rule_id, status=status)


def _violations(guard: Guard, rule: agent_pb2.Rule) -> Iterable[Violation]:
    match rule.WhichOneof("kind"):
        case "peer":
            if rule.peer.node not in guard.peers:
                yield Violation(
                    "peer.node", f"is '{rule.peer.node}'; this node's guard allows {_list(guard.peers)}"
                )
        case "link":
            yield from _link_violations(guard, rule.link)
        case "stream":
            yield from _stream_violations(guard, rule.stream)
        case "relay":
            yield from _relay_violations(guard, rule.relay)
        case "order":
            if rule.order.kind == types_pb2.ORDER_KIND_LINK_CLEAR and not guard.may_clear_quarantine:
                yield Violation(
                    "order.kind",
                    "is LINK_CLEAR; this node's guard does not allow it",
                )


def _link_violations(guard: Guard, link: agent_pb2.LinkRule) -> Iterable[Violation]:
    if link.peer_node not in guard.peers:
        yield Violation(
            "link.peer_node", f"is '{link.peer_node}'; this node's guard allows {_list(guard.peers)}"
        )
    ceiling = guard.qber_ceiling(link.link)
    if link.abort_qber_ratio > ceiling:
        yield Violation(
            "link.abort_qber_ratio",
            f"is {link.abort_qber_ratio:g}; this node's guard allows at most {ceiling:g}",
        )


def _relay_violations(guard: Guard, relay: agent_pb2.RelayRule) -> Iterable[Violation]:
    if guard.transit is None:
        yield Violation("relay", "this node's guard has no `transit`: it relays nothing")
        return
    for end in (relay.hops[0].from_node, relay.hops[-1].to_node):
        if end not in guard.transit.for_nodes:
            yield Violation(
                "relay.hops",
                f"lead to '{end}'; this node's guard relays between {_list(guard.transit.for_nodes)}",
            )


# ---- streams ------------------------------------------------------------------------------------


def sharings_of(guard: Guard, stream: agent_pb2.StreamRule | StreamTerms) -> tuple[Sharing, ...]:
    """What the guard says of such a stream; where several entries match, each of them counts."""
    return tuple(
        sharing
        for sharing in guard.saes.get(stream.local_sae, ())
        if (sharing.peer_sae, sharing.peer_node) == (stream.peer_sae, stream.peer_node)
        and (sharing.streams is None or stream.stream in sharing.streams)
    )


def _stream_violations(guard: Guard, rule: agent_pb2.StreamRule) -> Iterable[Violation]:
    if rule.peer_node not in guard.peers:
        yield Violation(
            "stream.peer_node", f"is '{rule.peer_node}'; this node's guard allows {_list(guard.peers)}"
        )
    sharings = sharings_of(guard, rule)
    if not sharings:
        yield from _stranger_violations(guard, rule)
    for sharing in sharings:
        yield from _requirement_violations(sharing, rule)
        yield from _way_violations(guard, sharing, rule)


def _stranger_violations(guard: Guard, rule: agent_pb2.StreamRule) -> Iterable[Violation]:
    known = guard.saes.get(rule.local_sae)
    if known is None:
        if guard.other_saes == "refuse":
            yield Violation(
                "stream.local_sae", f"is '{rule.local_sae}'; this node's guard allows {_list(guard.saes)}"
            )
        return
    allowed = (
        f"'{s.peer_sae}' at {s.peer_node}" + (f" by {_list(s.streams)}" if s.streams is not None else "")
        for s in known
    )
    yield Violation(
        "stream.peer_sae",
        f"is '{rule.peer_sae}' at {rule.peer_node} by '{rule.stream}'; this node's guard allows "
        f"'{rule.local_sae}' to share keys with {_list(allowed)}",
    )


def _requirement_violations(sharing: Sharing, rule: agent_pb2.StreamRule) -> Iterable[Violation]:
    if sharing.require_qkd and not rule.require_qkd:
        yield Violation("stream.require_qkd", "is false; this node's guard allows true only")
    if sharing.require_pqc and not rule.require_pqc:
        yield Violation("stream.require_pqc", "is false; this node's guard allows true only")
    for field, value, least in (
        ("k", rule.k, sharing.min_k),
        ("min_k", rule.min_k, sharing.min_k),
        ("key_size_bits", rule.key_size_bits, sharing.min_key_size_bits),
    ):
        if value < least:
            yield Violation(f"stream.{field}", f"is {value}; this node's guard allows no less than {least}")


def _way_violations(guard: Guard, sharing: Sharing, rule: agent_pb2.StreamRule) -> Iterable[Violation]:
    # Paths in use are among the accepted ones: `policy_checks` holds them to it.
    for index, path in enumerate(rule.accepted_paths):
        problem = _way_problem(guard, sharing, [hop.to_node for hop in path.hops[:-1]])
        if problem:
            yield Violation(f"stream.accepted_paths[{index}]", f"'{path.path_id}' {problem}")


def _way_problem(guard: Guard, sharing: Sharing, trusted_nodes: Iterable[str]) -> str:
    """Why keys may not be relayed by these nodes; empty if they may."""
    nodes = tuple(trusted_nodes)
    if sharing.max_trusted_nodes is not None and len(nodes) > sharing.max_trusted_nodes:
        most = sharing.max_trusted_nodes
        return f"crosses {len(nodes)} trusted nodes; this node's guard allows at most {most}"
    if sharing.allowed_trust_domains is None:
        return ""
    allowed = guard.nodes_of(sharing.allowed_trust_domains)
    strangers = [node for node in nodes if node not in allowed]
    if strangers:
        domains = _list(sharing.allowed_trust_domains)
        allows = f"nodes of {domains}: {_list(sorted(allowed))}"
        return f"crosses {_list(strangers)}; this node's guard allows {allows}"
    return ""


def _list(names: Iterable[str]) -> str:
    return ", ".join(names) or "none"


# ---- before use ---------------------------------------------------------------------------------


def tightened(guard: Guard, terms: StreamTerms) -> StreamTerms:
    """A stream's terms, none of them weaker than the guard's."""
    sharings = sharings_of(guard, terms)

    def may_pass(path: RelayPath) -> bool:
        return not any(_way_problem(guard, sharing, path.trusted_nodes) for sharing in sharings)

    require_qkd = terms.require_qkd or any(sharing.require_qkd for sharing in sharings)
    min_k = max([terms.min_k, *(sharing.min_k for sharing in sharings)])
    return replace(
        terms,
        require_qkd=require_qkd,
        require_pqc=terms.require_pqc or any(sharing.require_pqc for sharing in sharings),
        k=max(terms.k, min_k),
        min_k=min_k,
        pqc_when_exhausted=terms.pqc_when_exhausted and not require_qkd,
        accept_emulated=guard.accept_emulated,
        restricts_relays=terms.restricts_relays
        or any(
            sharing.max_trusted_nodes is not None or sharing.allowed_trust_domains is not None
            for sharing in sharings
        ),
        path_sets=tuple(
            path_set
            for path_set in terms.path_sets
            if len(path_set.paths) >= min_k and all(map(may_pass, path_set.paths))
        ),
        accepted={path_id: path for path_id, path in terms.accepted.items() if may_pass(path)},
        relay_limits=_relay_limits(guard, sharings, terms.peer_node),
        min_key_size_bits=max((sharing.min_key_size_bits for sharing in sharings), default=0),
    )


def _relay_limits(guard: Guard, sharings: Iterable[Sharing], peer: NodeName) -> RelayLimits | None:
    """For keys that are there already: a path that may no longer be used has made some of them."""
    sharings = tuple(sharings)
    domains = [s.allowed_trust_domains for s in sharings if s.allowed_trust_domains is not None]
    limits = [s.max_trusted_nodes for s in sharings if s.max_trusted_nodes is not None]
    if not domains and not limits:
        return None
    allowed = [frozenset(map(NodeName, guard.nodes_of(each))) for each in domains]
    return RelayLimits(
        ends=frozenset({NodeName(guard.node), peer}),
        nodes=frozenset.intersection(*allowed) if allowed else None,
        most=min(limits, default=None),
    )


def tightened_link(guard: Guard, link: LinkName, policy: LinkPolicy) -> LinkPolicy:
    """A link's terms with the threshold at the guard's ceiling at most."""
    return replace(policy, abort_qber_ratio=min(policy.abort_qber_ratio, guard.qber_ceiling(link)))
