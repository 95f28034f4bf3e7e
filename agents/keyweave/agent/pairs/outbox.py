"""What a turn of the engine leads to: commands to the device, messages to peers, news for the controller."""

from dataclasses import dataclass, field

from keyweave.agent.drivers.memories import Command
from keyweave.agent.pairs.steps import PathRule
from keyweave.common.names import NodeName
from keyweave.v1 import agent_pb2
from keyweave.v1 import pairs_pb2 as pb


@dataclass(frozen=True, slots=True)
class Instructions:
    """To be carried out in order."""

    commands: tuple[Command, ...] = ()
    messages: tuple[tuple[NodeName, pb.PairMessages], ...] = ()
    events: tuple[agent_pb2.AgentEvent, ...] = ()


@dataclass(slots=True)
class Outbox:
    """Gathers them; one message a peer and path for a whole turn."""

    _commands: list[Command] = field(default_factory=list)
    _messages: dict[tuple[NodeName, str, str], pb.PairMessages] = field(default_factory=dict)
    _events: list[agent_pb2.AgentEvent] = field(default_factory=list)

    def command(self, command: Command) -> None:
        """For the device."""
        self._commands.append(command)

    def post(self, to: NodeName, path: PathRule, message: pb.PairMessage) -> None:
        """For a peer on the path."""
        self.post_about(to, path.stream, path.path_id, message)

    def post_about(self, to: NodeName, stream: str, path_id: str, message: pb.PairMessage) -> None:
        """For a peer; about a path that this node may not have."""
        key = to, stream, path_id
        if key not in self._messages:
            self._messages[key] = pb.PairMessages(stream=stream, path_id=path_id)
        self._messages[key].messages.append(message)

    def tell(self, event: agent_pb2.AgentEvent) -> None:
        """For the controller."""
        self._events.append(event)

    def take(self) -> Instructions:
        """All that was gathered."""
        taken = Instructions(
            tuple(self._commands),
            tuple((to, messages) for (to, _, _), messages in self._messages.items()),
            tuple(self._events),
        )
        self._commands, self._messages, self._events = [], {}, []
        return taken


def gone(pair_id: bytes, reason: str) -> pb.PairMessage:
    """The sender has given up its half, or never had it."""
    return pb.PairMessage(gone=pb.PairGone(pair_id=pair_id, reason=reason))
