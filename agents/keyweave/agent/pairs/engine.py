"""The node's pairs, sans-IO: what the device, peers, policy and the clock say in; commands and messages out.

State changes here and in the parts this is made of, in one turn at a time. `take` has what the turn led to.
"""

from collections.abc import Iterable

from keyweave.agent.drivers.memories import (
    Attempt,
    Coherence,
    Correct,
    Event,
    Heralded,
    LinkCounts,
    Measured,
    MemoryBankInfo,
    MemoryId,
    Refused,
    Release,
    Swapped,
    Works,
)
from keyweave.agent.pairs.counts import Counts
from keyweave.agent.pairs.deliver import BeginKeyRun, Shelf
from keyweave.agent.pairs.hardware import Hardware
from keyweave.agent.pairs.hearing import Hearing
from keyweave.agent.pairs.memories import Register, Side, State, in_order
from keyweave.agent.pairs.outbox import Instructions, Outbox, gone
from keyweave.agent.pairs.pair import Doing, Moment, Pair, link_pair_id
from keyweave.agent.pairs.purifying import Rounds
from keyweave.agent.pairs.steps import Deliver, PathRule, Purify, Step, SwapWith, path_tag
from keyweave.agent.pairs.stock import Ending, Stock
from keyweave.agent.pairs.swapping import Swaps
from keyweave.agent.pairs.using import Uses
from keyweave.common.names import NodeName, StreamName
from keyweave.v1 import agent_pb2
from keyweave.v1 import pairs_pb2 as pb


class Engine:
    """Everything that one node does with pairs."""

    def __init__(self, node: NodeName, begin_keys: BeginKeyRun | None = None) -> None:
        self.node = node
        self.shelf = Shelf()
        self.counts = Counts()
        self.hardware = Hardware()
        self._out = Outbox()
        self.stock = Stock(self._out)
        self.stock.on_end = self._ended
        self.swaps = Swaps(self.stock)
        self.rounds = Rounds(self.stock)
        self.uses = Uses(self.stock, self.counts, self.shelf, begin_keys)
        self.uses.on_over = self._over
        self._hearing = Hearing(self._out, self.stock, self.swaps, self.rounds, self.uses)
        self.paths: dict[str, PathRule] = {}
        self._sides: dict[str, list[Side]] = {}
        self._order: list[Side] = []
        self._up: set[NodeName] = set()

    # ---- policy -------------------------------------------------------------------------------

    def apply(self, wanted: Iterable[PathRule], now: Moment) -> None:
        """Bring paths to what policy says; one that is as it was goes on."""
        by_tag = {path.tag: path for path in wanted}
        for tag, path in tuple(self.paths.items()):
            if by_tag.get(tag) != path:
                self._drop(path, now)
        streams = {path.stream for path in by_tag.values()}
        for pair in tuple(self.stock.pairs.values()):
            if pair.doing is Doing.KEPT and pair.path.stream not in streams:
                self.stock.give_up(pair, Ending.WITHDRAWN, "the stream is gone")
        self.shelf.forget(self.counts.streams.keys() - streams)
        self.counts.keep_only(streams, {path.links[0] for path in by_tag.values() if path.is_link_test})
        for tag, path in by_tag.items():
            if tag not in self.paths:
                self._take_up(path, now)
        self._order = in_order(side for sides in self._sides.values() for side in sides)
        self._settle(now)

    def _take_up(self, path: PathRule, now: Moment) -> None:
        self.paths[path.tag] = path
        here, sides = path.position, []
        for wanted, link, peer in (
            (path.left_memories, here - 1, here - 1),
            (path.right_memories, here, here + 1),
        ):
            if wanted and 0 <= link < len(path.links):
                side = Side(path.tag, path.links[link], path.nodes[peer], wanted)
                side.gives_way = path.is_link_test
                side.goes_first = path.kind == pb.PAIR_KIND_NETWORK_LAYER
                sides.append(side)
        self._sides[path.tag] = sides
        if path.is_end:
            self.uses.begin(path, now)

    def _drop(self, path: PathRule, now: Moment) -> None:
        """What is delivered stays for who takes it; all else of the path is given up."""
        del self.paths[path.tag]
        for pair in tuple(self.stock.pairs.values()):
            if pair.path.tag == path.tag and pair.doing is not Doing.KEPT:
                self.stock.give_up(pair, Ending.WITHDRAWN, "another path is in force")
        for side in self._sides.pop(path.tag):
            self._stop_attempts(side, now)
        self.stock.forget(path.tag)
        if path.is_end:
            self.uses.end(path)

    def _stop_attempts(self, side: Side, now: Moment) -> None:
        register = self.stock.register
        if register is None:
            return
        for memory in register.attempting(side):
            self._out.command(Release(memory))
            register.settle(memory, now.seconds)

    # ---- the device ---------------------------------------------------------------------------

    def device_began(self, bank: MemoryBankInfo, now: Moment) -> None:
        """A session with the memories has begun; all are free."""
        self.stock.register = Register(bank)
        self.hardware.began(bank)
        self._settle(now)

    def device_lost(self, reason: str, now: Moment) -> None:
        """The session is over, and with it whatever the memories held."""
        for pair in tuple(self.stock.pairs.values()):
            self.stock.vanished(pair, reason)
        self.stock.register = None
        for side in self._order:
            side.used.clear()
        self.hardware.lost()
        self._settle(now)

    def device_told(self, events: Iterable[Event], now: Moment) -> None:
        """What happened at the memories."""
        for event in events:
            self._on_event(event, now)
        self._settle(now)

    def _on_event(self, event: Event, now: Moment) -> None:
        match event:
            case Heralded():
                self._heralded(event, now)
            case Swapped():
                self.swaps.done(event, now)
            case Measured():
                self._measured(event, now)
            case Refused():
                self._memory_lost(event.memory, f"the device refused: {event.reason}", now)
            case Works():
                self._works(event, now)
            case LinkCounts():
                self.hardware.counted(event)
            case Coherence():
                self.hardware.coherence(event)

    def _heralded(self, event: Heralded, now: Moment) -> None:
        register = self.stock.register
        if register is None:
            return
        side, pair_id = register.side(event.memory), link_pair_id(event.link, event.number)
        path = self.paths.get(event.tag)
        if (
            side is None
            or path is None
            or (side.tag, side.link) != (event.tag, event.link)
            or register.state(event.memory) is not State.ATTEMPTING
        ):
            self._out_of_place(event, pair_id)
            return
        if not self.stock.is_new(pair_id):
            # A number used twice: nobody could tell the two pairs apart.
            self._out.command(Release(event.memory))
            register.settle(event.memory, now.seconds)
            return
        register.hold(event.memory)
        if (event.x or event.z) and path.nearer_to_target(side.peer):
            self._out.command(Correct(event.memory, event.x, event.z))
        pair = Pair(pair_id, path, side, event.memory, side.peer, 0, now.seconds)
        self.stock.add(pair)

    def _out_of_place(self, event: Heralded, pair_id: bytes) -> None:
        """Heralded as its memory was taken back: the other end waits for nothing."""
        stream, _, path_id = event.tag.partition("/")
        link = self.stock.register.links.get(event.link) if self.stock.register else None
        self.stock.never_was(pair_id)
        if link is not None:
            self._out.post_about(link.peer_node, stream, path_id, gone(pair_id, "taken back"))

    def _measured(self, event: Measured, now: Moment) -> None:
        pair = self.stock.in_memory(event.memory)
        if pair is None:
            return
        if pair.doing is Doing.SPENT:
            self.rounds.done_half(pair, event.outcome)
        elif pair.doing is Doing.MEASURING:
            self.uses.measured(pair, event.outcome, now)

    def _works(self, event: Works, now: Moment) -> None:
        register = self.stock.register
        if register is None or event.works == (register.state(event.memory) is not State.BROKEN):
            return
        if event.works:
            register.mended(event.memory)
            kind = agent_pb2.AGENT_EVENT_KIND_MEMORY_RESTORED
        else:
            self._memory_lost(event.memory, "the memory failed", now)
            register.broke(event.memory)
            kind = agent_pb2.AGENT_EVENT_KIND_MEMORY_FAILED
        self._out.tell(
            agent_pb2.AgentEvent(kind=kind, count=register.working, reason=f"memory {event.memory}")
        )

    def _memory_lost(self, memory: MemoryId, reason: str, now: Moment) -> None:
        pair = self.stock.in_memory(memory)
        if pair is None:
            if self.stock.register is not None:
                self.stock.register.settle(memory, now.seconds)
            return
        self.stock.vanished(pair, reason)
        self._lose_mate(pair, reason)

    def _lose(self, pair: Pair, reason: str, *, tell: bool) -> None:
        self.stock.give_up(pair, Ending.LOST, reason, tell=tell)
        self._lose_mate(pair, reason)

    def _lose_mate(self, pair: Pair, reason: str) -> None:
        """Of a swap, the other half; of a round, the half that was to be kept."""
        mate = pair.mate
        if (
            mate is not None
            and mate.mate is pair
            and self.stock.holds(mate)
            and mate.doing is not Doing.SPENT
        ):
            self.stock.give_up(mate, Ending.LOST, reason)

    # ---- peers --------------------------------------------------------------------------------

    def peer_up(self, node: NodeName, now: Moment, *, restarted: bool = False) -> None:
        """A session with a peer has begun."""
        if restarted:
            for path in self.paths.values():
                if path.is_end and path.far_end == node:
                    self.uses.begin_anew(path)
        self._up.add(node)
        self._settle(now)

    def peer_lost(self, node: NodeName, now: Moment) -> None:
        """It is over: what was said last may not have arrived, so what is shared with the peer goes."""
        self._up.discard(node)
        for pair in tuple(self.stock.pairs.values()):
            if pair.partner == node and self.stock.holds(pair):
                self._lose(pair, "the session broke", tell=False)
        for side in self._order:
            if side.peer == node:
                self._stop_attempts(side, now)
        self._settle(now)

    def peer_told(self, sender: NodeName, told: pb.PairMessages, now: Moment) -> None:
        """Messages of a peer, in order."""
        self._hearing.told(sender, self.paths.get(path_tag(told.stream, told.path_id)), told, now)
        self._settle(now)

    def sides(self) -> tuple[Side, ...]:
        """Memories of paths towards neighbours, in the order in which they get some."""
        return tuple(self._order)

    def ends_here(self, stream: StreamName) -> bool:
        """Whether policy has this node at an end of such a stream."""
        return any(path.stream == stream and path.is_end for path in self.paths.values())

    # ---- each turn ----------------------------------------------------------------------------

    def tick(self, now: Moment) -> None:
        """Do what is due."""
        self.stock.run_due(now.seconds)
        if self.stock.register is not None:
            self.stock.register.settled(now.seconds)
        self._settle(now)

    def due(self, now: Moment) -> float | None:
        """When `tick` has something to do next, by our clock."""
        register = self.stock.register
        times = [self.stock.due, register.settles_at if register else None]
        times += [self.uses.wanted_at(path, now) for path in self.paths.values() if path.is_source]
        return min((at for at in times if at is not None), default=None)

    def take(self) -> Instructions:
        """What is to be sent."""
        return self._out.take()

    def _settle(self, now: Moment) -> None:
        """Go on with all that can go on, until nothing is left."""
        while self.stock.arrived or self.stock.ready:
            while self.stock.arrived:
                self._hearing.arrived(self.stock.arrived.pop(), now)
            if self.stock.ready:
                (tag, partner, rounds), _ = self.stock.ready.popitem(last=False)
                self._advance(tag, partner, rounds, now)
        self._fill(now)

    def _advance(self, tag: str, partner: NodeName, rounds: int, now: Moment) -> None:
        path = self.paths.get(tag)
        if path is None:
            return
        for step in path.steps.get((partner, rounds), ()):
            while self._carry_out(step, path, self.stock.waiting(tag, partner, rounds), now):
                pass

    def _carry_out(self, step: Step, path: PathRule, waiting: tuple[Pair, ...], now: Moment) -> bool:
        """One action, if its condition holds."""
        match step:
            case Purify() if len(waiting) > 1 and not path.nearer_to_target(waiting[0].partner):
                self.rounds.begin(waiting[1], waiting[0])
            case SwapWith(other=(partner, rounds)) if waiting:
                others = self.stock.waiting(path.tag, partner, rounds)
                if not others:
                    return False
                self.swaps.begin(waiting[0], others[0])
            case Deliver() if waiting and path.is_source:
                self.uses.choose(waiting[0], now)
            case _:
                return False
        return True

    def _fill(self, now: Moment) -> None:
        """Have free memories attempt."""
        register = self.stock.register
        if register is None:
            return
        for side in self._order:
            path = self.paths[side.tag]
            while len(side.used) < side.wanted and self._may_attempt(side, path, now):
                memory = register.take(side)
                if memory is None:
                    self._make_way(side, now)
                    break
                self._out.command(Attempt(memory, side.link, side.tag))

    def _may_attempt(self, side: Side, path: PathRule, now: Moment) -> bool:
        register = self.stock.register
        if side.peer not in self._up or register is None or side.link not in register.links:
            return False
        return not path.is_source or (path.far_end in self._up and self.uses.wanted(path, now))

    def _make_way(self, side: Side, now: Moment) -> None:
        """Tests of links take no memory from a stream."""
        if not side.gives_way:
            for other in self._order:
                if other.gives_way:
                    self._stop_attempts(other, now)

    # ---- said by the parts --------------------------------------------------------------------

    def _ended(self, pair: Pair, ending: Ending) -> None:
        self.shelf.gone(pair.pair_id)
        self.counts.ended(pair.path, ending)

    def _over(self, path: PathRule, reason: str) -> None:
        kind = agent_pb2.AGENT_EVENT_KIND_PAIR_STREAM_ENDED
        self._out.tell(
            agent_pb2.AgentEvent(
                kind=kind,
                stream=path.stream,
                peer_node=path.far_end,
                reason=reason,
                count=self.counts.delivered_total(path.stream),
            )
        )
