"""What a maintenance window would take from streams, links being as they are now. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from keyweave.common.errors import InvalidInputError, PreconditionError
from keyweave.common.names import LinkName, NodeName, StreamName
from keyweave.controller.admin.preview import plan_under
from keyweave.controller.calendar import Phase, Window, combinations
from keyweave.controller.intent import Intent
from keyweave.controller.planned_intent import window_of
from keyweave.controller.topology import Plan, Snapshot, Stream, StreamPlan
from keyweave.v1 import admin_pb2, types_pb2

_LOSSES_SHOWN = 8


@dataclass(frozen=True, slots=True)
class Loss:
    """What a stream would lose, and whether it requires it."""

    stream: StreamName
    loss: str
    required: bool

    def __str__(self) -> str:
        return f"stream '{self.stream}': {self.loss}"


def window_to_come(spec: types_pb2.Maintenance, now: float) -> Window:
    """The window that is asked for, or InvalidInputError if it is over."""
    window = window_of(spec)
    if window.phase(now) is Phase.OVER:
        raise InvalidInputError.of("maintenance.end_unix_nanos", "is in the past")
    return window


def check_losses(lost: Sequence[Loss], *, force: bool) -> None:
    """PreconditionError where streams would lose what they require, unless that is wanted."""
    required = [str(loss) for loss in lost if loss.required]
    if required and not force:
        who = "a stream" if len(required) == 1 else f"{len(required)} streams"
        raise PreconditionError(
            f"{who} would lose what is required: {'; '.join(required[:_LOSSES_SHOWN])}"
            f"{'; ...' if len(required) > _LOSSES_SHOWN else ''}; choose another time, or set force"
        )


def told(lost: Iterable[Loss]) -> list[admin_pb2.StreamLoss]:
    """Losses as the admin API tells them."""
    return [admin_pb2.StreamLoss(stream=one.stream, loss=one.loss, required=one.required) for one in lost]


def resting(intent: Intent, windows: Iterable[Window]) -> Intent:
    """`intent` with what the windows name taken out of use."""
    windows = tuple(windows)
    out_links = {name for window in windows for name in window.links} & intent.links.keys()
    out_nodes = {name for window in windows for name in window.nodes} & intent.nodes.keys()
    links: dict[LinkName, types_pb2.Link] = dict(intent.links)
    nodes: dict[NodeName, types_pb2.Node] = dict(intent.nodes)
    for link in out_links:
        links[link] = types_pb2.Link()
        links[link].CopyFrom(intent.links[link])
        links[link].maintenance = True
    for node in out_nodes:
        nodes[node] = types_pb2.Node()
        nodes[node].CopyFrom(intent.nodes[node])
        nodes[node].maintenance = True
    return replace(intent, links=links, nodes=nodes)


def losses(intent: Intent, window: Window, snapshot: Snapshot, plan: Plan) -> tuple[Loss, ...]:
    """What streams would lose by `window` at any moment of it, beyond what other windows take from them."""
    others = [window_of(spec) for spec in intent.maintenances.values() if spec.name != window.name]
    found: dict[StreamName, Loss] = {}
    for together in combinations(window, others):
        before = plan_under(resting(intent, together), snapshot, plan)
        after = plan_under(resting(intent, (*together, window)), snapshot, before)
        for name, planned in after.streams.items():
            loss = _loss(snapshot.streams.get(name), before.streams[name], planned)
            if loss is not None and (name not in found or loss.required > found[name].required):
                found[name] = loss
    return tuple(found[name] for name in sorted(found))


def _loss(stream: Stream | None, before: StreamPlan, after: StreamPlan) -> Loss | None:
    if stream is None:
        return None
    if after.unmet and not before.unmet:
        # Fewer shares than wished for, and no fewer than it allows, are no broken requirement.
        still_met = after.rate_bps > 0 and after.rate_bps >= stream.min_rate_bps
        return Loss(after.stream, after.unmet, required=not still_met)
    if before.rate_bps > 0 and after.rate_bps <= 0:
        return Loss(after.stream, "no quantum path is left; it goes on with ML-KEM alone", required=False)
    return None
