"""Everything that the page shows, gathered at one moment."""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

from keyweave.common.errors import NotFoundError
from keyweave.common.names import LinkName, StreamName
from keyweave.controller.admin.event_hub import EventHub
from keyweave.controller.events import Event
from keyweave.controller.intent import Intent
from keyweave.controller.optimiser import in_thread
from keyweave.controller.page import documents, pair_documents, positions
from keyweave.controller.page.documents import Document
from keyweave.controller.pairs import words
from keyweave.controller.pairs.supply import PairSupply
from keyweave.controller.routing.explain import explain
from keyweave.controller.topology import Plan, Snapshot
from keyweave.controller.views import LinkStateView, NodeView, OrderView, StreamView
from keyweave.v1 import types_pb2

# Events that a page gets to begin with.
PAST_EVENTS = 200
# Where there is a map, a graph of larger networks is not worth its seconds of work.
_LARGEST_WITH_BOTH = 150


class Views(Protocol):
    """All nodes, links and streams as the controller sees them."""

    def nodes(self) -> tuple[NodeView, ...]:
        """All nodes."""

    def links(self) -> tuple[LinkStateView, ...]:
        """All links."""

    def streams(self) -> tuple[StreamView, ...]:
        """All streams."""


class Watched(Protocol):
    """What the page sees of the controller."""

    @property
    def epoch(self) -> int:
        """The epoch under which the controller leads."""

    @property
    def read_only(self) -> bool:
        """Nothing may change."""

    @property
    def warming_up(self) -> bool:
        """The stored plan stands until links have reported."""

    @property
    def planned_at(self) -> float:
        """When the plan in force was made, unix seconds."""

    @property
    def events(self) -> EventHub:
        """Where events are published."""

    @property
    def overview(self) -> Views:
        """What is known now."""

    def snapshot(self) -> Snapshot:
        """The network now."""

    def plan(self) -> Plan:
        """The plan in force."""

    def orders(self) -> tuple[OrderView, ...]:
        """Orders that not all have carried out."""

    def vendor_domains(self) -> Mapping[LinkName, str]:
        """Links whose keys come through a vendor's domain, and which."""

    def pairs(self) -> PairSupply:
        """Links that make pairs, and streams of pairs; to be read."""


# What is shown one by one, by name.
KINDS = ("nodes", "links", "streams", "pair_links", "pair_streams")


@dataclass(slots=True)
class Scene:
    """The network as documents, by kind and name."""

    status: Document = field(default_factory=dict)
    pictures: Document = field(default_factory=dict)
    things: dict[str, dict[str, Document]] = field(default_factory=lambda: {kind: {} for kind in KINDS})
    events: list[Document] = field(default_factory=list)


class Observer:
    """Looks at the controller for the page; changes nothing."""

    def __init__(self, watched: Watched, intent: Callable[[], Intent], past: Sequence[Event] = ()) -> None:
        self._watched = watched
        self._intent = intent
        # Of the run before, while this one has few of its own.
        self._past = deque(past, maxlen=PAST_EVENTS)
        self._pictures: Document = {}
        self._graph: positions.Picture | None = None
        self._drawn: object = None
        self._graph_due = False
        # Explaining a pair stream is some work: one at a time, however many pages ask.
        self._explaining = asyncio.Lock()

    @property
    def stamp(self) -> tuple[int, int]:
        """Changes whenever something happened that people would want to see at once."""
        return self._watched.events.last_id, self._watched.plan().version

    def look(self) -> Scene:
        """Everything, now."""
        watched, intent, views = self._watched, self._intent(), self._watched.overview
        unknown_node, unknown_stream = types_pb2.Node(), types_pb2.Stream()
        nodes = {
            view.node.name: documents.node_document(intent.nodes.get(view.node.name, unknown_node), view)
            for view in views.nodes()
        }
        pairs = watched.pairs()
        planned = pairs.planned_memories()
        for node, bank, state in pairs.book.banks():
            if node.name in nodes:
                shown = nodes[node.name]
                shown["memories"] = pair_documents.memories_document(node, bank)
                shown["figures"]["memories"] = pair_documents.memories_figures(
                    node, state, planned.get(node.name, 0)
                )
        links = {view.view.link.name: documents.link_document(view) for view in views.links()}
        streams = {
            view.stream.name: documents.stream_document(
                intent.streams.get(view.stream.name, unknown_stream), view
            )
            for view in views.streams()
        }
        return Scene(
            status={
                "epoch": watched.epoch,
                "read_only": watched.read_only,
                "warming_up": watched.warming_up,
                "plan_version": watched.plan().version,
                "planned_at": round(watched.planned_at, 1),
                "orders": [documents.order_document(view) for view in watched.orders()],
            },
            pictures=self._pictures,
            things={
                "nodes": {str(name): one for name, one in nodes.items()},
                "links": {str(name): one for name, one in links.items()},
                "streams": {str(name): one for name, one in streams.items()},
                "pair_links": {
                    str(link.name): pair_documents.pair_link_document(link, over)
                    for link, over in pairs.links()
                },
                "pair_streams": {
                    str(view.stream.name): pair_documents.pair_stream_document(view) for view in pairs.views()
                },
            },
            events=self._recent(),
        )

    def explain(self, stream: StreamName) -> Document:
        """Why a stream is routed as it is, and who can see its keys; NotFoundError where there is none."""
        plan = self._watched.plan()
        lines = explain(self._watched.snapshot(), plan, stream, self._watched.vendor_domains())
        return {"stream": stream, "plan_version": plan.version, "lines": list(lines)}

    async def explain_pairs(self, stream: StreamName) -> Document:
        """Why a pair stream is served as it is; NotFoundError where there is none."""
        async with self._explaining:
            pairs = self._watched.pairs()
            if stream not in pairs.streams:
                raise NotFoundError(
                    f"pair stream {stream!r} does not exist; `keyweave pair-stream list` shows those that do"
                )
            links = {link.name: link for link, _ in pairs.links()}
            explain = partial(words.explain, pairs.view(stream), links, pairs.book.network())
            return {"stream": stream, "lines": await in_thread(explain, "explain-pairs")}

    async def draw(self) -> None:
        """Lay the network out anew where nodes or links have come, gone or moved: a while, in a thread.

        A map is quickly made, so it is there after the first call and the graph after the next.
        """
        intent = self._intent()
        locations = {
            str(name): (node.latitude_degrees, node.longitude_degrees) for name, node in intent.nodes.items()
        }
        links = [
            *((link.a_node, link.b_node) for link in intent.links.values()),
            *((link.a, link.b) for link, _ in self._watched.pairs().links()),
        ]
        if (locations, links) != self._drawn:
            self._drawn = locations, links
            chart = await asyncio.to_thread(positions.on_map, locations)
            self._graph_due = chart is None or len(locations) <= _LARGEST_WITH_BOTH
            if chart is not None:
                self._pictures = {"map": documents.picture_document(chart)}
                return
            self._pictures = {name: one for name, one in self._pictures.items() if name != "map"}
        if self._graph_due:
            self._graph_due = False
            before = self._graph.places if self._graph else None
            self._graph = await asyncio.to_thread(positions.as_graph, locations, links, before)
            self._pictures = {**self._pictures, "graph": documents.picture_document(self._graph)}

    def _recent(self) -> list[Document]:
        recent = list(self._watched.events.recent)[-PAST_EVENTS:]
        missing = PAST_EVENTS - len(recent)
        first = recent[0].id if recent else self._watched.events.last_id + 1
        earlier = [event for event in self._past if event.id < first][-missing:] if missing else []
        return [documents.event_document(event) for event in (*earlier, *recent)]
