"""What the core was told and what it decided, as entries of the audit log. Pure but for what was last sent.

Policies that are sent, with what agents answer, and events that tell of a change in what protects keys.
"""

from collections.abc import Iterable, Iterator, Sequence

from keyweave.common.errors import describe_status
from keyweave.common.identity import Identity, Plane, Role
from keyweave.common.names import NodeName
from keyweave.controller.audit.chain import Entry, EntryKind
from keyweave.controller.events import Event
from keyweave.controller.instructions import Emit, Instruction, Push
from keyweave.controller.stimuli import PolicyAcked, PolicyNacked, Stimulus

# Longest value that an entry repeats of an event, and of a refusal.
VALUE_CHARACTERS = 1000


class Records:
    """Entries for each step of the core; remembers which policy each agent was sent last."""

    def __init__(self, epoch: int) -> None:
        self._epoch = epoch
        self._sent: dict[NodeName, tuple[int, bytes]] = {}

    def of(
        self, stimulus: Stimulus | None, instructions: Sequence[Instruction], now: float
    ) -> Iterator[Entry]:
        """The entries of one step, in the order of what happened."""
        if isinstance(stimulus, PolicyAcked):
            yield self._answer(stimulus.node, stimulus.digest, "ack", "ok", now)
        elif isinstance(stimulus, PolicyNacked):
            rules = (f"{rule.rule_id or 'policy'}: {describe_status(rule.status)}" for rule in stimulus.rules)
            yield self._answer(stimulus.node, stimulus.digest, "nack", "refused", now, "; ".join(rules))
        for instruction in instructions:
            if isinstance(instruction, Emit) and instruction.event.changes_protection:
                yield _protection(instruction.event)
            elif isinstance(instruction, Push):
                yield self._pushed(instruction, now)

    def _pushed(self, push: Push, now: float) -> Entry:
        policy = push.target.policy
        self._sent[push.node] = (push.target.version, policy.digest)
        details = self._version(push.target.version, policy.digest) | {"rules": str(len(policy.rules))}
        before = push.base.digest.hex() if push.base is not None else ""
        return Entry(
            EntryKind.POLICY, now, "controller", "push", f"node/{push.node}", "sent",
            before_digest=before, after_digest=policy.digest.hex(), details=details,
        )  # fmt: skip

    def _answer(
        self, node: NodeName, digest: bytes, action: str, outcome: str, now: float, reason: str = ""
    ) -> Entry:
        version, sent = self._sent.get(node, (0, b""))
        details = self._version(version if sent == digest else 0, digest)
        if reason:
            details["reason"] = reason[:VALUE_CHARACTERS]
        actor = _agent(node)
        return Entry(EntryKind.POLICY, now, actor, action, f"node/{node}", outcome, details=details)

    def _version(self, version: int, digest: bytes) -> dict[str, str]:
        return {"epoch": str(self._epoch), "version": str(version), "digest": digest.hex()}


def _agent(node: str) -> str:
    return Identity(Plane.CONTROL, Role.AGENT, node).uri


def _protection(event: Event) -> Entry:
    subjects = (("stream", event.stream), ("link", event.link), ("node", event.node))
    subject = next((f"{kind}/{name}" for kind, name in subjects if name), "network")
    told = {"node": event.node, "link": event.link, "stream": event.stream, "message": event.message}
    return Entry(
        EntryKind.PROTECTION,
        event.time_unix_seconds,
        _agent(event.node) if event.node else "controller",
        event.kind,
        subject,
        "ok",
        details=_short({**told, **event.fields}.items()),
    )


def _short(values: Iterable[tuple[str, str]]) -> dict[str, str]:
    """What is there, cut where it is long: the event has the rest."""
    return {
        name: value if len(value) <= VALUE_CHARACTERS else f"{value[:VALUE_CHARACTERS]}..."
        for name, value in values
        if value
    }
