"""Policy at the agent: checked whole, applied whole, kept on disk, never of an older epoch.

Sans-IO but for `PolicyStore`, which reads and writes one file.
"""

import asyncio
import base64
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from google.rpc import code_pb2, status_pb2

from keyweave.common import validation
from keyweave.common.errors import InvalidInputError, Violation, to_status
from keyweave.common.names import NodeName
from keyweave.common.policy_digest import policy_digest
from keyweave.common.process import write_atomically
from keyweave.v1 import agent_pb2, types_pb2

# A controller whose database was restored claims an epoch above every agent's; a jump beyond this is no
# such claim but an attempt to lock the real controller out.
MAX_EPOCH_JUMP = 1000
# As in RelayRule: it stands in the header of every relayed share.
MAX_PATH_ID_CHARACTERS = 200


@dataclass(frozen=True, slots=True)
class Policy:
    """One node's desired state as it runs by it."""

    epoch: int = 0
    version: int = 0
    digest: bytes = b""
    rules: Mapping[str, agent_pb2.Rule] = field(default_factory=dict)

    def as_version(self) -> agent_pb2.PolicyVersion:
        """For the wire."""
        return agent_pb2.PolicyVersion(epoch=self.epoch, version=self.version, digest=self.digest)


@dataclass(frozen=True, slots=True)
class PolicyRefusedError(Exception):
    """The policy cannot be applied; what was there stays, whole."""

    rules: tuple[agent_pb2.RuleStatus, ...]

    def __str__(self) -> str:
        return "; ".join(f"{rule.rule_id or 'policy'}: {rule.status.message}" for rule in self.rules)


def next_policy(
    node: NodeName, current: Policy, highest_epoch: int, push: agent_pb2.PolicyResponse
) -> Policy:
    """What the agent would run by after `push`; PolicyRefusedError where it must not."""
    wanted = push.version
    if wanted.epoch < highest_epoch:
        raise _refuse(
            code_pb2.FAILED_PRECONDITION,
            f"epoch {wanted.epoch} is older than {highest_epoch}, which this agent has seen: "
            "another controller leads, or a backup was restored (keyweave controller raise-epoch)",
        )
    if highest_epoch and wanted.epoch > highest_epoch + MAX_EPOCH_JUMP:
        raise _refuse(
            code_pb2.OUT_OF_RANGE,
            f"epoch {wanted.epoch} jumps more than {MAX_EPOCH_JUMP} above {highest_epoch}; "
            "reset this agent's policy by hand if that is meant",
        )
    if (wanted.epoch, wanted.version) < (current.epoch, current.version):
        raise _refuse(
            code_pb2.FAILED_PRECONDITION,
            f"version {wanted.version} is older than {current.version} of the same epoch",
        )
    rules = _rules_after(current, push)
    if policy_digest(rules.values()) != wanted.digest:
        raise _refuse(code_pb2.DATA_LOSS, "the rules do not have the digest that the controller states")
    if (wanted.epoch, wanted.version) == (current.epoch, current.version) and wanted.digest != current.digest:
        raise _refuse(
            code_pb2.FAILED_PRECONDITION,
            f"version {wanted.version} of epoch {wanted.epoch} is in force here with another digest",
        )
    problems = check_rules(node, rules)
    if problems:
        raise PolicyRefusedError(problems)
    return Policy(wanted.epoch, wanted.version, wanted.digest, rules)


def _rules_after(current: Policy, push: agent_pb2.PolicyResponse) -> dict[str, agent_pb2.Rule]:
    match push.WhichOneof("kind"):
        case "snapshot":
            rules = {rule.rule_id: rule for rule in push.snapshot.rules}
            if len(rules) != len(push.snapshot.rules):
                raise _refuse(code_pb2.INVALID_ARGUMENT, "two rules have the same rule_id")
            return rules
        case "delta":
            if push.delta.base_digest != current.digest:
                raise _refuse(
                    code_pb2.FAILED_PRECONDITION, "the delta's base is not the policy in force here"
                )
            removed = set(push.delta.removed_rule_ids)
            rules = {name: rule for name, rule in current.rules.items() if name not in removed}
            return rules | {rule.rule_id: rule for rule in push.delta.upserts}
        case "heartbeat":
            return dict(current.rules)
        case _:
            raise _refuse(code_pb2.INVALID_ARGUMENT, "neither snapshot nor delta nor heartbeat")


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
        case _:
            return
    if rule_id != expected:
        yield Violation("rule_id", f"is '{rule_id}'; expected '{expected}'")


def _cross_violations(node: NodeName, rule: agent_pb2.Rule, peers: set[str]) -> Iterable[Violation]:
    match rule.WhichOneof("kind"):
        case "link":
            yield from _known_peer("link.peer_node", rule.link.peer_node, peers)
        case "relay":
            relay = rule.relay
            yield from _known_peer("relay.source_side_node", relay.source_side_node, peers)
            yield from _known_peer("relay.target_side_node", relay.target_side_node, peers)
            if relay.source_side_link == relay.target_side_link:
                yield Violation(
                    "relay.target_side_link", f"is '{relay.target_side_link}', as on the source side"
                )
        case "stream":
            yield from _stream_violations(node, rule.stream, peers)


def _stream_violations(node: NodeName, stream: agent_pb2.StreamRule, peers: set[str]) -> Iterable[Violation]:
    yield from _known_peer("stream.peer_node", stream.peer_node, peers)
    if stream.min_k > stream.k:
        yield Violation("stream.min_k", f"is {stream.min_k}, above k = {stream.k}")
    if stream.key_size_bits % 8:
        yield Violation("stream.key_size_bits", f"is {stream.key_size_bits}; it must be a multiple of 8")
    if stream.require_qkd and stream.on_exhaustion == types_pb2.ON_EXHAUSTION_PQC:
        yield Violation("stream.on_exhaustion", "is PQC, against require_qkd; allowed: WAIT, REFUSE")
    ends = (node, stream.peer_node) if stream.is_source else (stream.peer_node, node)
    accepted = {path.path_id for path in stream.accepted_paths}
    for index, path in enumerate(stream.accepted_paths):
        yield from _path_violations(f"stream.accepted_paths[{index}]", path, ends)
    for index, path_set in enumerate(stream.path_sets):
        place = f"stream.path_sets[{index}].paths"
        if len(path_set.paths) < stream.min_k:
            yield Violation(place, f"holds {len(path_set.paths)} paths; min_k is {stream.min_k}")
        crossed = [hop.to_node for path in path_set.paths for hop in path.hops[:-1]]
        if len(set(crossed)) != len(crossed):
            yield Violation(place, "share a trusted node: its owner would see more than one share")
        for path in path_set.paths:
            yield from _path_violations(place, path, ends)
            if path.path_id not in accepted:
                yield Violation(place, f"'{path.path_id}' is not among the accepted paths")


def _path_violations(place: str, path: types_pb2.Path, ends: tuple[str, str]) -> Iterable[Violation]:
    hops = path.hops
    if not 1 <= len(path.path_id) <= MAX_PATH_ID_CHARACTERS:
        yield Violation(place, f"has a path_id of {len(path.path_id)} characters, not 1..200")
    if not hops or (hops[0].from_node, hops[-1].to_node) != ends:
        yield Violation(place, f"'{path.path_id}' does not lead from {ends[0]} to {ends[1]}")
    elif any(a.to_node != b.from_node for a, b in pairwise(hops)):
        yield Violation(place, f"'{path.path_id}' has hops that do not meet")


def _known_peer(field_name: str, name: str, peers: set[str]) -> Iterable[Violation]:
    if name not in peers:
        yield Violation(field_name, f"is '{name}', for which there is no peer rule")


def _refuse(code: int, message: str) -> PolicyRefusedError:
    return PolicyRefusedError((agent_pb2.RuleStatus(status=status_pb2.Status(code=code, message=message)),))


class PolicyStore:
    """The policy in force and the highest epoch ever seen, durable in one file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.policy = Policy()
        self.highest_epoch = 0
        if path.exists():
            self._load(json.loads(path.read_text(encoding="utf-8")))

    async def save(self, policy: Policy) -> None:
        """Make `policy` and its epoch durable, both or neither; in force only after this returns."""
        await self._save(policy, max(self.highest_epoch, policy.epoch))

    async def note_epoch(self, epoch: int) -> None:
        """A controller of this epoch spoke, though its policy was refused: older ones are fenced off."""
        if self.highest_epoch < epoch and (
            not self.highest_epoch or epoch <= self.highest_epoch + MAX_EPOCH_JUMP
        ):
            await self._save(self.policy, epoch)

    async def _save(self, policy: Policy, highest_epoch: int) -> None:
        state = {
            "highest_epoch": highest_epoch,
            "epoch": policy.epoch,
            "version": policy.version,
            "digest": policy.digest.hex(),
            "rules": [
                base64.b64encode(rule.SerializeToString(deterministic=True)).decode()
                for rule in policy.rules.values()
            ],
        }
        await asyncio.to_thread(write_atomically, self._path, json.dumps(state))
        self.policy = policy
        self.highest_epoch = highest_epoch

    def _load(self, state: dict[str, object]) -> None:
        encoded = state["rules"]
        assert isinstance(encoded, list)
        rules = [agent_pb2.Rule.FromString(base64.b64decode(text)) for text in encoded]
        self.highest_epoch = int(str(state["highest_epoch"]))
        self.policy = Policy(
            epoch=int(str(state["epoch"])),
            version=int(str(state["version"])),
            digest=bytes.fromhex(str(state["digest"])),
            rules={rule.rule_id: rule for rule in rules},
        )
