"""How intent changes: validated whole, committed, handled by the core, and only then answered."""

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

from keyweave.common.errors import (
    AlreadyExistsError,
    ConflictError,
    PreconditionError,
)
from keyweave.common.names import LinkName, NodeName, OrderId, StreamName
from keyweave.controller.admin.asked import Asked, Response
from keyweave.controller.admin.maintenance_preview import (
    Loss,
    check_losses,
    losses,
    resting,
    told,
    window_to_come,
)
from keyweave.controller.admin.masks import check_etag, copy_of, masked
from keyweave.controller.admin.messages import order_message, plan_message, unix_nanos
from keyweave.controller.admin.pair_offers import new_key_link, offered
from keyweave.controller.admin.preview import plan_under
from keyweave.controller.answers import KeptAnswer
from keyweave.controller.calendar import Phase, Window
from keyweave.controller.intent import (
    Intent,
    Spec,
    SpecType,
    check,
    check_feeds_nothing,
    check_unused,
    kind_name,
    kind_words,
    link_of,
    node_of,
    stream_of,
)
from keyweave.controller.optimiser import in_thread
from keyweave.controller.orders import Order, OrderKind
from keyweave.controller.pairs.streams import pair_stream_of
from keyweave.controller.pairs.supply import PairSupply
from keyweave.controller.planned_intent import schedule_of, window_of
from keyweave.controller.routing.warnings import warnings_for
from keyweave.controller.stimuli import (
    IntentStimulus,
    LinkDeleted,
    LinkPut,
    NodeDeleted,
    NodePut,
    OrderPut,
    PairStreamDeleted,
    PairStreamPut,
    PlanPinned,
    ScheduleDeleted,
    SchedulePut,
    StreamDeleted,
    StreamPut,
    WindowDeleted,
    WindowPut,
)
from keyweave.controller.store import Store
from keyweave.controller.topology import Pin, Plan, Snapshot
from keyweave.controller.views import OrderView
from keyweave.v1 import admin_pb2, pairs_pb2, types_pb2

# Orders that may wait at once; beyond that, something is badly wrong with the network or the operator.
MAX_ORDERS = 1000
# Maintenance windows that are kept, those that are over included.
MAX_MAINTENANCES = 1000


class Planner(Protocol):
    """What a change of intent needs of the controller's core."""

    @property
    def read_only(self) -> bool:
        """Agents have seen a higher epoch than the store's: nothing may change."""

    def snapshot(self) -> Snapshot:
        """The network now."""

    def plan(self) -> Plan:
        """The plan in force."""

    def orders(self) -> tuple[OrderView, ...]:
        """Orders that not all have carried out."""

    def pairs(self) -> PairSupply:
        """Links that make pairs, and streams of pairs; to be read."""

    async def submit(self, stimulus: IntentStimulus | OrderPut) -> None:
        """Have the core handle `stimulus`; returns once it has."""


class Changes:
    """The intent in force and the one way to change it, one change at a time."""

    def __init__(self, store: Store, intent: Intent, planner: Planner) -> None:
        self.intent = intent
        self._store = store
        self._planner = planner
        self._turn = asyncio.Lock()
        self._running: set[asyncio.Task[Any]] = set()

    async def close(self) -> None:
        """Wait until every change that has begun is stored and handled."""
        await asyncio.gather(*self._running, return_exceptions=True)

    async def create(
        self, spec: SpecType, asked: Asked[Response], *, validate_only: bool, force: bool = False
    ) -> Response:
        """Put something new; with `validate_only` only say which plan would result."""
        new = copy_of(spec)
        new.revision, new.etag = 0, ""

        async def turn() -> Response:
            if spec.name in self.intent.of(type(spec)):
                what = f"{kind_words(type(spec))} '{spec.name}'"
                raise AlreadyExistsError(f"{what} exists already; update it, or choose another name")
            return await self._put(new, asked, validate_only=validate_only, force=force)

        return await self._in_turn(turn, asked)

    async def update(
        self,
        given: SpecType,
        mask: Sequence[str],
        asked: Asked[Response],
        *,
        validate_only: bool,
        force: bool = False,
    ) -> Response:
        """Change the fields that `mask` names to what `given` has."""

        async def turn() -> Response:
            present = self.intent.get(type(given), given.name)
            changed = masked(present, given, mask)
            if given.revision not in (0, present.revision):
                raise ConflictError(
                    f"{kind_words(type(given))} '{given.name}' is at revision {present.revision}, not "
                    f"{given.revision}; read it again, then change it"
                )
            check_etag(present, given.etag)
            return await self._put(changed, asked, validate_only=validate_only, force=force)

        return await self._in_turn(turn, asked)

    async def delete(
        self, kind: type[SpecType], name: str, etag: str, asked: Asked[Response], *, validate_only: bool
    ) -> Response:
        """Remove what nothing uses any more."""

        async def turn() -> Response:
            check_etag(self.intent.get(kind, name), etag)
            self._check_deletable(kind, name)
            candidate = self.intent.without(kind, name)
            if validate_only:
                return asked.answer(plan=await self._preview(candidate))
            self._check_writable()
            answer = asked.answer()
            key_link = self._key_link(kind, name)
            await self._store.delete(kind, name, asked.kept(answer), with_link=key_link)
            self.intent = candidate.without(types_pb2.Link, key_link) if key_link else candidate
            deleted = PairStreamDeleted(StreamName(name), key_link) if key_link else _deleted(kind, name)
            await self._planner.submit(deleted)
            return answer

        return await self._in_turn(turn, asked)

    async def end_maintenance(self, name: str, etag: str, asked: Asked[Response]) -> Response:
        """Have a maintenance window that is under way be over now."""

        async def turn() -> Response:
            present = self.intent.get(types_pb2.Maintenance, name)
            check_etag(present, etag)
            now = time.time()
            phase = window_of(present).phase(now)
            if phase is not Phase.UNDER_WAY:
                raise PreconditionError(
                    f"maintenance '{name}' is {phase}, not under way; delete it if it is not wanted"
                )
            ended = copy_of(present)
            ended.end_unix_nanos = unix_nanos(now)
            return await self._store_and_follow(ended, asked, ())

        return await self._in_turn(turn, asked)

    async def _make_room(self, name: str) -> None:
        """Forget the window that has been over for longest once there are too many for a new one."""
        known = self.intent.maintenances
        if name in known or len(known) < MAX_MAINTENANCES:
            return
        oldest = min(known.values(), key=lambda spec: spec.end_unix_nanos)
        if window_of(oldest).phase(time.time()) is not Phase.OVER:
            raise PreconditionError(f"{MAX_MAINTENANCES} maintenance windows are planned; delete some first")
        await self._store.delete(types_pb2.Maintenance, oldest.name)
        self.intent = self.intent.without(types_pb2.Maintenance, oldest.name)
        await self._planner.submit(WindowDeleted(oldest.name))

    async def pin(
        self, choose: Callable[[], Awaitable[tuple[Pin, Response]]], asked: Asked[Response]
    ) -> Response:
        """Have streams keep to what `choose` picks when it is this change's turn."""

        async def turn() -> Response:
            pin, answer = await choose()
            self._check_writable()
            await self._store.put_pin(pin, asked.kept(answer))
            await self._planner.submit(PlanPinned(pin))
            return answer

        return await self._in_turn(turn, asked)

    async def order(self, kind: OrderKind, name: str, asked: Asked[Response]) -> Response:
        """Have something done once at a node, or at both ends of a link."""

        async def turn() -> Response:
            nodes, link = self._addressees(kind, name)
            self._check_writable()
            self._check_orderable(kind, link)
            order = Order(OrderId(secrets.token_hex(16)), kind, nodes, link, time.time(), asked.caller.name)
            answer = asked.answer(order=order_message(order, nodes))
            await self._store.put_order(order, asked.kept(answer))
            await self._planner.submit(OrderPut(order))
            return answer

        return await self._in_turn(turn, asked)

    def _addressees(self, kind: OrderKind, name: str) -> tuple[tuple[NodeName, ...], LinkName]:
        if kind is OrderKind.NODE_ZEROIZE:
            return (NodeName(self.intent.get(types_pb2.Node, name).name),), LinkName("")
        link = self.intent.get(types_pb2.Link, name)
        return (NodeName(link.a_node), NodeName(link.b_node)), LinkName(name)

    def _check_orderable(self, kind: OrderKind, link: LinkName) -> None:
        waiting = self._planner.orders()
        if len(waiting) >= MAX_ORDERS:
            raise PreconditionError(f"{MAX_ORDERS} orders wait already; `keyweave status` says for whom")
        if kind is OrderKind.LINK_CLEAR and any(
            view.order.kind is OrderKind.LINK_DESTROY and view.order.link == link for view in waiting
        ):
            raise PreconditionError(
                f"an order to destroy what link '{link}' gave still waits for an end of it; it cannot be "
                "cleared until that is done"
            )

    async def _in_turn(self, change: Callable[[], Awaitable[Response]], asked: Asked[Response]) -> Response:
        """Run one change to its end even if its caller hangs up: stored and handled go together.

        One that has been made already is answered as it was.
        """

        async def run() -> Response:
            async with self._turn:
                if asked.request_id:
                    kept = await self._store.answer_to(asked.caller.uri, asked.request_id)
                    if kept is not None:
                        return asked.answered(kept)
                return await change()

        task = asyncio.create_task(run(), name="intent-change")
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return await asyncio.shield(task)

    async def _put(
        self, spec: SpecType, asked: Asked[Response], *, validate_only: bool, force: bool
    ) -> Response:
        check(self.intent, spec)
        if isinstance(spec, pairs_pb2.PairStream):
            return await self._put_pairs(spec, asked, validate_only=validate_only, force=force)
        kind = kind_name(type(spec))
        warnings: tuple[str, ...] = ()
        if isinstance(spec, types_pb2.Stream):
            # In a thread: in a large network the search for disjoint paths takes long.
            snapshot = self._planner.snapshot()
            warnings = await asyncio.to_thread(warnings_for, snapshot, stream_of(spec))
        lost: tuple[Loss, ...] = ()
        at_work: list[Window] = []
        if isinstance(spec, types_pb2.Maintenance):
            at_work.append(window_to_come(spec, time.time()))
            intent, plan = self.intent, self._planner.plan()
            snapshot = self._planner.snapshot()
            lost = await in_thread(lambda: losses(intent, at_work[0], snapshot, plan), "losses")
        if validate_only:
            preview = await self._preview(self.intent.put(spec), at_work)
            return asked.answer(**{kind: spec}, plan=preview, warnings=warnings, losses=told(lost))
        self._check_writable()
        check_losses(lost, force=force)
        if isinstance(spec, types_pb2.Maintenance):
            await self._make_room(spec.name)
        return await self._store_and_follow(spec, asked, lost, warnings)

    async def _put_pairs(
        self, spec: pairs_pb2.PairStream, asked: Asked[Response], *, validate_only: bool, force: bool
    ) -> Response:
        offer = await offered(self._planner.pairs(), spec, time.time())
        if not offer.accepted and not force:
            raise PreconditionError(offer.words)
        if validate_only:
            return asked.answer(pair_stream=spec, **offer.content)
        self._check_writable()
        link = None if spec.key_link in self.intent.links else new_key_link(spec)
        answer = asked.response()

        def kept(stored: pairs_pb2.PairStream) -> KeptAnswer | None:
            answer.MergeFrom(asked.answer(pair_stream=stored, **offer.content))
            return asked.kept(answer)

        stored = await self._store.put(spec, kept, link)
        self.intent = self.intent.put(stored)
        if link is not None:
            self.intent = self.intent.put(link)
        await self._planner.submit(PairStreamPut(pair_stream_of(stored), link_of(link) if link else None))
        return answer

    async def _store_and_follow(
        self,
        spec: SpecType,
        asked: Asked[Response],
        lost: Sequence[Loss],
        warnings: tuple[str, ...] = (),
    ) -> Response:
        answer = asked.response()

        def kept(stored: SpecType) -> KeptAnswer | None:
            content: dict[str, Any] = {kind_name(type(spec)): stored}
            answer.MergeFrom(asked.answer(**content, warnings=warnings, losses=told(lost)))
            return asked.kept(answer)

        stored = await self._store.put(spec, kept)
        self.intent = self.intent.put(stored)
        await self._planner.submit(_put(stored, warnings))
        return answer

    async def _preview(self, candidate: Intent, windows: Sequence[Window] = ()) -> admin_pb2.Plan:
        snapshot, present, now = self._planner.snapshot(), self._planner.plan(), time.time()
        known = [window_of(spec) for spec in candidate.maintenances.values()]
        at_work = [*windows, *(window for window in known if window.rests(now))]
        plan = await in_thread(lambda: plan_under(resting(candidate, at_work), snapshot, present), "preview")
        return plan_message(plan, 0.0)

    def _check_writable(self) -> None:
        if self._planner.read_only:
            raise PreconditionError(
                "the controller is read-only: agents have seen a higher epoch than its database, which must "
                "be an old copy; run `keyweave controller raise-epoch --to EPOCH --confirm`, then restart it"
            )

    def _check_deletable(self, kind: type[Spec], name: str) -> None:
        if kind is types_pb2.Node:
            check_unused(self.intent, NodeName(name))
            return
        if kind is types_pb2.Link:
            check_feeds_nothing(self.intent, LinkName(name))
        link = LinkName(name) if kind is types_pb2.Link else self._key_link(kind, name)
        if link and not self.intent.links[link].maintenance:
            streams = _streams_over(self._planner.plan(), link)
            if streams:
                raise PreconditionError(
                    f"link '{link}' is planned for {', '.join(streams)}; move them off first "
                    f"(keyweave link update {link} --maintenance), then delete it"
                )

    def _key_link(self, kind: type[Spec], name: str) -> LinkName:
        """The link that goes with what is deleted, if any."""
        if kind is not pairs_pb2.PairStream:
            return LinkName("")
        return LinkName(self.intent.pair_streams[StreamName(name)].key_link)


def _streams_over(plan: Plan, link: LinkName) -> tuple[str, ...]:
    return tuple(
        f"stream '{name}'"
        for name in sorted(plan.streams)
        if any(link in path.links for group in plan.streams[name].path_sets for path in group.paths)
    )


def _put(spec: Spec, warnings: tuple[str, ...]) -> IntentStimulus:
    if isinstance(spec, types_pb2.Node):
        return NodePut(node_of(spec))
    if isinstance(spec, types_pb2.Link):
        return LinkPut(link_of(spec))
    if isinstance(spec, types_pb2.Maintenance):
        return WindowPut(window_of(spec))
    if isinstance(spec, types_pb2.Schedule):
        return SchedulePut(schedule_of(spec))
    if isinstance(spec, pairs_pb2.PairStream):
        return PairStreamPut(pair_stream_of(spec))
    return StreamPut(stream_of(spec), warnings)


def _deleted(kind: type[Spec], name: str) -> IntentStimulus:
    if kind is types_pb2.Node:
        return NodeDeleted(NodeName(name))
    if kind is types_pb2.Link:
        return LinkDeleted(LinkName(name))
    if kind is types_pb2.Maintenance:
        return WindowDeleted(name)
    if kind is types_pb2.Schedule:
        return ScheduleDeleted(name)
    if kind is pairs_pb2.PairStream:
        return PairStreamDeleted(StreamName(name))
    return StreamDeleted(StreamName(name))
