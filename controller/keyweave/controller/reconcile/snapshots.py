"""The network as it is now, as a value, rebuilt only where it changed. Pure; owned by the core."""

from collections.abc import Mapping
from dataclasses import replace

from keyweave.common.names import LinkName, NodeName, StreamName
from keyweave.controller.estimate.link_book import LinkBook
from keyweave.controller.orders import OrderBook
from keyweave.controller.reconcile.plan_book import PlanBook
from keyweave.controller.topology import LinkView, Node, Snapshot, Stream


class Snapshots:
    """Makes snapshots; each has a version of its own."""

    def __init__(
        self,
        nodes: Mapping[NodeName, Node],
        links: LinkBook,
        streams: Mapping[StreamName, Stream],
        orders: OrderBook,
        plans: PlanBook,
    ) -> None:
        self._nodes = nodes
        self._links = links
        self._streams = streams
        self._orders = orders
        self._plans = plans
        self._version = 0
        self._latest: Snapshot | None = None
        self._current = False
        self._touched: set[LinkName] = set()

    def intent_changed(self) -> None:
        """Begin anew: nodes, links or streams came, went or changed."""
        self._latest, self._current = None, False

    def orders_changed(self) -> None:
        """Orders came or went."""
        self._current = False

    def pin_changed(self) -> None:
        """Other streams are pinned, or none."""
        self._current = False

    def link_changed(self, name: LinkName) -> None:
        """What is made of a link has changed."""
        self._touched.add(name)
        self._current = False

    def now(self) -> Snapshot:
        """The network now; the same object until something changes."""
        latest = self._latest
        if latest is not None and self._current:
            return latest
        self._version += 1
        if latest is None:
            self._latest = Snapshot(
                version=self._version,
                nodes=dict(sorted(self._nodes.items())),
                links=self._links.views(),
                streams=dict(sorted(self._streams.items())),
                orders=self._orders.rules(),
                pin=self._plans.pin,
            )
        else:
            touched = {name: self._links[name].view for name in self._touched}
            self._latest = replace(
                latest,
                version=self._version,
                links={**latest.links, **touched},
                orders=self._orders.rules(),
                pin=self._plans.pin,
            )
        self._touched.clear()
        self._current = True
        return self._latest

    def over(self, links: Mapping[LinkName, LinkView]) -> Snapshot:
        """The network now, with links as somebody else takes them to be."""
        now = self.now()
        self._version += 1
        return replace(now, version=self._version, links=dict(links))
