"""The guard in force at a running agent: read at the start, and again when the owner says so."""

from collections.abc import Callable, Mapping
from pathlib import Path

from keyweave.agent.guard.checks import lawful
from keyweave.agent.guard.model import Guard, load
from keyweave.common import log
from keyweave.common.errors import InvalidInputError, describe_status
from keyweave.common.names import NodeName
from keyweave.v1 import agent_pb2


class Guardian:
    """Reads the guard and says what of a policy in force may be run by."""

    def __init__(self, path: Path, node: NodeName, on_event: Callable[[agent_pb2.AgentEvent], None]) -> None:
        """InvalidInputError where the file is not a guard of `node`: without one, no agent starts."""
        self.guard: Guard = load(path, node)
        # Why rules of the policy in force are not run by, by rule.
        self.withheld: Mapping[str, str] = {}
        self.withheld_rules: tuple[agent_pb2.RuleStatus, ...] = ()
        self._path = path
        self._node = node
        self._on_event = on_event

    def reload(self) -> bool:
        """Read the file again; a file that is no guard changes nothing. Whether the guard has changed."""
        before = self.guard
        try:
            self.guard = load(self._path, self._node)
        except InvalidInputError as error:
            log.get().error("guard_not_read", reason=str(error))
            self._tell("", f"the guard file is not valid, the one read before stays in force: {error}")
            return False
        log.get().info("guard_read", digest=self.guard.digest.hex(), changed=self.guard != before)
        return self.guard != before

    def permitted(self, rules: Mapping[str, agent_pb2.Rule]) -> Mapping[str, agent_pb2.Rule]:
        """What may be run by of a policy in force; the rest stops, and is told once."""
        allowed, statuses = lawful(self.guard, rules)
        withheld = {status.rule_id: describe_status(status.status) for status in statuses}
        for rule_id, reason in withheld.items():
            if self.withheld.get(rule_id) != reason:
                log.get().warning("guard_withholds", rule=rule_id, reason=reason)
                rule = rules[rule_id]
                self._tell(rule.stream.stream or rule.relay.stream, f"{rule_id}: {reason}")
        self.withheld, self.withheld_rules = withheld, statuses
        return allowed

    def _tell(self, stream: str, reason: str) -> None:
        kind = agent_pb2.AGENT_EVENT_KIND_GUARD_REFUSED
        self._on_event(agent_pb2.AgentEvent(kind=kind, stream=stream, reason=reason[:1000]))
