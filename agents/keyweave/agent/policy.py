"""Policy at the agent: checked whole (`policy_checks`), applied whole, kept on disk, never of an older epoch.

Sans-IO but for `PolicyStore`, which reads and writes one file.
"""

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from google.rpc import code_pb2, status_pb2

from keyweave.agent.guard.checks import refusals
from keyweave.agent.guard.model import Guard
from keyweave.agent.policy_checks import check_rules
from keyweave.common.names import NodeName
from keyweave.common.one_writer import OneWriter
from keyweave.common.policy_digest import policy_digest
from keyweave.v1 import agent_pb2

# A controller whose database was restored claims an epoch above every agent's; a jump beyond this is no
# such claim but an attempt to lock the real controller out.
MAX_EPOCH_JUMP = 1000
# Of all rules together. A snapshot is one message of 4 MiB at most; deltas must not add up to ever more.
MAX_POLICY_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Policy:
    """One node's desired state as it runs by it."""

    epoch: int = 0
    version: int = 0
    digest: bytes = b""
    rules: Mapping[str, agent_pb2.Rule] = field(default_factory=dict)

    @property
    def orders(self) -> dict[str, agent_pb2.OrderRule]:
        """What is to be done once, by order ID."""
        orders = [rule.order for rule in self.rules.values() if rule.WhichOneof("kind") == "order"]
        return {order.order_id: order for order in orders}

    def as_version(self) -> agent_pb2.PolicyVersion:
        """For the wire."""
        return agent_pb2.PolicyVersion(epoch=self.epoch, version=self.version, digest=self.digest)


class PolicyRefusedError(Exception):
    """The policy cannot be applied; what was there stays, whole."""

    def __init__(self, rules: tuple[agent_pb2.RuleStatus, ...]) -> None:
        super().__init__(rules)
        self.rules = rules

    def __str__(self) -> str:
        return "; ".join(f"{rule.rule_id or 'policy'}: {rule.status.message}" for rule in self.rules)


def next_policy(
    node: NodeName, current: Policy, highest_epoch: int, push: agent_pb2.PolicyResponse, guard: Guard
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
    if sum(rule.ByteSize() for rule in rules.values()) > MAX_POLICY_BYTES:
        raise _refuse(code_pb2.RESOURCE_EXHAUSTED, f"the rules have more than {MAX_POLICY_BYTES} bytes")
    if policy_digest(rules.values()) != wanted.digest:
        raise _refuse(code_pb2.DATA_LOSS, "the rules do not have the digest that the controller states")
    if (wanted.epoch, wanted.version) == (current.epoch, current.version) and wanted.digest != current.digest:
        raise _refuse(
            code_pb2.FAILED_PRECONDITION,
            f"version {wanted.version} of epoch {wanted.epoch} is in force here with another digest",
        )
    problems = check_rules(node, rules)
    if not problems:
        # What is in force and forbidden since is not run by (`checks.lawful`): it need not hold back
        # the rest, orders least of all.
        before = current.rules
        problems = refusals(guard, {name: rule for name, rule in rules.items() if before.get(name) != rule})
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


def _refuse(code: int, message: str) -> PolicyRefusedError:
    return PolicyRefusedError((agent_pb2.RuleStatus(status=status_pb2.Status(code=code, message=message)),))


class PolicyStore:
    """The policy in force and the highest epoch ever seen, durable in one file."""

    def __init__(self, path: Path) -> None:
        self._file = OneWriter(path)
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
        await self._file.write(json.dumps(state))
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
