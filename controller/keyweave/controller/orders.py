"""What an operator wants done once: carried to agents as a rule of their policies. Pure.

An order is on disk before the core knows of it. Its rule then stays in the policy of every node concerned
until all of them have acknowledged a policy that holds it, so it reaches them whatever restarts or breaks
in between; agents carry it out when the rule is new to them. The order leaves the disk before its rule
leaves any policy: a rule that vanished and came back would be carried out twice.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from keyweave.common.names import LinkName, NodeName, OrderId
from keyweave.controller.event_kinds import KindName
from keyweave.controller.events import Event, Severity

# An order that not all have acknowledged by then is given up: a destruction that comes weeks later would
# surprise whoever has brought the node back.
ORDER_LIFE_SECONDS = 24 * 3600.0
RULE_PREFIX = "order/"


class OrderKind(StrEnum):
    """What is ordered; see the proto's OrderKind."""

    LINK_CLEAR = "link_clear"
    LINK_DESTROY = "link_destroy"
    NODE_ZEROIZE = "node_zeroize"
    LINK_CALIBRATE = "link_calibrate"


_DONE = {
    OrderKind.LINK_CLEAR: "release what is held of link '{}'",
    OrderKind.LINK_DESTROY: "destroy what link '{}' gave",
    OrderKind.LINK_CALIBRATE: "calibrate link '{}'",
    OrderKind.NODE_ZEROIZE: "destroy all key material of node '{}'",
}


@dataclass(frozen=True, slots=True)
class Order:
    """One order: of whom, what, since when."""

    order_id: OrderId
    kind: OrderKind
    # Who carries it out: both ends of the link, or the node.
    nodes: tuple[NodeName, ...]
    # Empty for an order to a node.
    link: LinkName
    ordered_at: float
    # The name in the operator's certificate.
    ordered_by: str

    @property
    def rule_id(self) -> str:
        """The rule that stands for it in a policy."""
        return f"{RULE_PREFIX}{self.order_id}"

    @property
    def deadline(self) -> float:
        """When it is given up, unix seconds."""
        return self.ordered_at + ORDER_LIFE_SECONDS

    @property
    def words(self) -> str:
        """What is to be done."""
        return _DONE[self.kind].format(self.link or self.nodes[0])


@dataclass(frozen=True, slots=True)
class Ended:
    """An order that is over, and what those who watch are told."""

    order: Order
    event: Event


class OrderBook:
    """All orders that not everybody has carried out; owned by the core."""

    def __init__(self, orders: Mapping[OrderId, Order] | None = None) -> None:
        self._orders: dict[OrderId, Order] = dict(orders or {})
        # Who will not, and why. Not stored: after a restart they are asked, and refuse, again.
        self._refusals: dict[OrderId, dict[NodeName, str]] = {}

    def __len__(self) -> int:
        return len(self._orders)

    def __iter__(self) -> Iterator[Order]:
        return iter(sorted(self._orders.values(), key=lambda order: (order.ordered_at, order.order_id)))

    def put(self, order: Order) -> None:
        """A new order."""
        self._orders[order.order_id] = order

    def refuse(self, rule_id: str, node: NodeName, why: str) -> Order | None:
        """`node` will not carry out the order behind a rule; which that is, if the rule is one."""
        order = self._orders.get(OrderId(rule_id.removeprefix(RULE_PREFIX)))
        if order is None or order.rule_id != rule_id or node not in order.nodes:
            return None
        self._refusals.setdefault(order.order_id, {})[node] = why
        return order

    def rules(self) -> dict[OrderId, Order]:
        """The orders as policies are to hold them: for those nodes that have not refused."""
        return {
            order.order_id: replace(
                order, nodes=tuple(n for n in order.nodes if n not in self._refusals.get(order.order_id, ()))
            )
            for order in self
        }

    def waiting(self, order: Order, has_rule: Callable[[NodeName, str], bool]) -> tuple[NodeName, ...]:
        """Who has neither acknowledged nor refused it."""
        refused = self._refusals.get(order.order_id, {})
        return tuple(n for n in order.nodes if n not in refused and not has_rule(n, order.rule_id))

    def next_deadline(self) -> float | None:
        """When the next order is given up."""
        return min((order.deadline for order in self._orders.values()), default=None)

    def settle(
        self,
        now: float,
        concerns: Callable[[Order, NodeName], bool],
        has_rule: Callable[[NodeName, str], bool],
    ) -> list[Ended]:
        """End every order that is over.

        `concerns` says whether a node and what it is ordered about still exist, `has_rule` whether a node
        has acknowledged a policy with that rule.
        """
        ended = []
        for order in list(self):
            event = self._end(order, now, concerns, has_rule)
            if event is not None:
                del self._orders[order.order_id]
                self._refusals.pop(order.order_id, None)
                ended.append(Ended(order, event))
        return ended

    def _end(
        self,
        order: Order,
        now: float,
        concerns: Callable[[Order, NodeName], bool],
        has_rule: Callable[[NodeName, str], bool],
    ) -> Event | None:
        refusals = self._refusals.get(order.order_id, {})
        missing = [n for n in self.waiting(order, has_rule) if concerns(order, n)]
        # Clearing takes both ends; destroying is worth it at one.
        if refusals and (order.kind is OrderKind.LINK_CLEAR or not missing):
            why = "; ".join(f"'{node}': {refusals[node]}" for node in sorted(refusals))
            return order_event(order, "order_refused", Severity.MAJOR, f"refused by {why}", now)
        if not any(concerns(order, node) for node in order.nodes):
            said = "withdrawn: what it was about is gone"
            return order_event(order, "order_withdrawn", Severity.MINOR, said, now)
        if not missing:
            return order_event(order, "order_completed", Severity.INFO, "acknowledged by all", now)
        if now >= order.deadline:
            said = f"given up after {ORDER_LIFE_SECONDS / 3600:g} h; not acknowledged by {', '.join(missing)}"
            return order_event(order, "order_expired", Severity.MAJOR, said, now)
        return None


def order_event(order: Order, kind: KindName, severity: Severity, said: str, now: float) -> Event:
    """What those who watch are told of an order."""
    return Event(
        kind=kind,
        severity=severity,
        message=f"order of '{order.ordered_by}' to {order.words}: {said}",
        time_unix_seconds=now,
        node="" if order.link else order.nodes[0],
        link=order.link,
        fields={"order": order.order_id, "order_kind": order.kind, "ordered_by": order.ordered_by},
    )
