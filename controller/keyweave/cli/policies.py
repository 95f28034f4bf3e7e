"""`keyweave policy list|show`: what nodes are told to do, and what their agents say to that."""

from typing import Annotated

import typer
from rich.table import Table

from keyweave.cli.completion import names
from keyweave.cli.connection import CALL_TIMEOUT_SECONDS, Network, connected
from keyweave.cli.fields import enum_word
from keyweave.cli.output import Output, OutputOption, as_json, show, show_json
from keyweave.cli.tables import rate
from keyweave.v1 import admin_pb2, agent_pb2, pairs_pb2, types_pb2

app = typer.Typer(no_args_is_help=True, help="What nodes are told to do, and what their agents say to that.")
_NONE = "-"


async def list_policies(network: Network, output: OutputOption = Output.TABLE) -> None:
    """Every node's policy: wanted, applied, refused."""
    async with network.admin() as admin:
        status = await admin.GetStatus(admin_pb2.GetStatusRequest(), timeout=CALL_TIMEOUT_SECONDS)
    if output is Output.JSON:
        fields = ("desired_policy", "applied_policy", "nacked_rules", "withheld_rules", "connected")
        described = [as_json(node) for node in status.nodes]
        show_json(
            {
                "policies": [
                    {"node": node["node"]["name"], **{name: node.get(name) for name in fields}}
                    for node in described
                ]
            }
        )
        return
    table = Table(box=None, title="Policies", title_justify="left")
    for column in ("node", "agent", "desired", "applied", "digest", "refused", "withheld"):
        table.add_column(column, justify="right" if column in ("refused", "withheld") else "left")
    for node in status.nodes:
        in_force = node.desired_policy.digest == node.applied_policy.digest
        table.add_row(
            node.node.name,
            "connected" if node.connected else "away",
            version(node.desired_policy),
            "the same" if in_force and node.applied_policy.digest else version(node.applied_policy),
            node.desired_policy.digest.hex()[:12] or _NONE,
            str(len(node.nacked_rules) or _NONE),
            str(len(node.withheld_rules) or _NONE),
        )
    show(table)


async def show_policy(
    network: Network,
    node: Annotated[str, typer.Argument(help="The node.", autocompletion=names)],
    output: OutputOption = Output.TABLE,
) -> None:
    """One node's policy, rule by rule."""
    async with network.admin() as admin:
        answer = await admin.GetPolicy(admin_pb2.GetPolicyRequest(node=node), timeout=CALL_TIMEOUT_SECONDS)
    if output is Output.JSON:
        show_json(as_json(answer))
        return
    typer.echo(f"desired: {version(answer.desired)} {answer.desired.digest.hex()}")
    typer.echo(f"applied: {version(answer.applied)} {answer.applied.digest.hex()}")
    typer.echo(f"agent: {'connected' if answer.connected else 'away'}")
    for word, rules in (("refused", answer.nacked_rules), ("withheld", answer.withheld_rules)):
        for told in rules:
            typer.echo(f"{word}: {told.rule_id or 'the whole policy'}: {told.status.message}")
    typer.echo("")
    for rule in answer.rules:
        typer.echo(f"{rule.rule_id}: {in_words(rule)}")


def version(policy: agent_pb2.PolicyVersion) -> str:
    """As in the logs: epoch and version."""
    return f"{policy.epoch}.{policy.version}" if policy.digest else _NONE


def in_words(rule: agent_pb2.Rule) -> str:
    """What a rule tells the agent."""
    match rule.WhichOneof("kind"):
        case "peer":
            return f"talks with {rule.peer.node} at {rule.peer.key_plane_address}"
        case "link":
            suspect = f"; suspected: {rule.link.suspect_reason}" if rule.link.suspect_since_unix_nanos else ""
            state = "; in maintenance" if rule.link.maintenance else ""
            return f"to {rule.link.peer_node}, stops at QBER {rule.link.abort_qber_ratio:.1%}{state}{suspect}"
        case "stream":
            return _stream(rule.stream)
        case "relay":
            way = "→".join((rule.relay.hops[0].from_node, *(hop.to_node for hop in rule.relay.hops)))
            return f"relays {way}, at most {rate(rule.relay.budget_bps)}"
        case "order":
            return enum_word(types_pb2.OrderKind.DESCRIPTOR, rule.order.kind)
    return _of_pairs(rule)


def _stream(rule: agent_pb2.StreamRule) -> str:
    needs = [word for word, needed in (("QKD", rule.require_qkd), ("ML-KEM", rule.require_pqc)) if needed]
    primary = sum(1 for one in rule.path_sets if one.rank == 0)
    parts = [
        f"{rule.local_sae} to {rule.peer_sae} at {rule.peer_node}",
        f"requires {' and '.join(needs) or 'whatever is strongest'}",
        f"{rule.key_size_bits} bit, {rule.buffer_keys} keys ready, {rate(rule.rate_bps)}",
        f"{primary} path sets in use and {len(rule.path_sets) - primary} backups",
    ]
    if rule.k > 1:
        parts.append(f"{rule.k} shares, never fewer than {rule.min_k}")
    return "; ".join(parts)


def _of_pairs(rule: agent_pb2.Rule) -> str:
    match rule.WhichOneof("kind"):
        case "pair":
            return _pair(rule.pair)
        case "pair_link":
            return f"tests {rule.pair_link.test_rate_hz:g} pairs/s with {rule.pair_link.peer_node}"
    return "of a kind that this command does not know"


def _pair(rule: pairs_pb2.PairRule) -> str:
    sides = [("left", rule.left_memories), ("right", rule.right_memories)]
    parts = [
        f"pairs over {'→'.join(rule.nodes)}, at most {rule.rate_hz:g}/s",
        " and ".join(f"{count} memories to the {side}" for side, count in sides if count),
        *(_step(step) for step in rule.steps),
    ]
    return "; ".join(part for part in parts if part)


def _step(step: pairs_pb2.PairStep) -> str:
    rounds = f" purified {step.rounds} times" if step.rounds else ""
    match step.WhichOneof("action"):
        case "cutoff":
            return f"gives up one with {step.partner}{rounds} after {step.cutoff.seconds:g} s"
        case "purify":
            return f"purifies two with {step.partner}{rounds}"
        case "swap":
            return f"swaps one with {step.partner}{rounds} and one with {step.swap.with_partner}"
        case "deliver":
            return f"hands on one with {step.partner}{rounds}"
    return "a step that this command does not know"


app.command("list")(connected(list_policies))
app.command("show")(connected(show_policy))
