"""What the admin API sees of the controller."""

from collections.abc import Mapping
from typing import Protocol

from keyweave.common.names import LinkName, NodeName, StreamName
from keyweave.controller.admin.changes import Planner
from keyweave.controller.admin.event_hub import EventHub
from keyweave.controller.history.recorder import Recorder
from keyweave.controller.inspection import Inspection
from keyweave.controller.views import LinkStateView, NodeView, StreamView


class ControllerView(Planner, Protocol):
    """Implemented beside the core."""

    @property
    def epoch(self) -> int:
        """The epoch under which the controller leads."""

    @property
    def warming_up(self) -> bool:
        """The stored plan stands until links have reported."""

    @property
    def database_problem(self) -> str:
        """Why the database cannot be used; empty while it can."""

    @property
    def planned_at(self) -> float:
        """When the plan in force was made, unix seconds."""

    @property
    def events(self) -> EventHub:
        """Where events are published."""

    @property
    def history(self) -> Recorder:
        """What the network does, on its way to the store."""

    @property
    def inspection(self) -> Inspection:
        """Where agents are asked."""

    def node(self, name: NodeName) -> NodeView | None:
        """What is known of a node."""

    def desired_rules(self, name: NodeName) -> tuple[bytes, ...]:
        """A node's policy: its rules (serialized), by their IDs."""

    def link(self, name: LinkName) -> LinkStateView | None:
        """What is known of a link."""

    def vendor_domains(self) -> Mapping[LinkName, str]:
        """Links whose keys come through a vendor's domain, and which."""

    def stream(self, name: StreamName) -> StreamView | None:
        """What is known of a stream."""
