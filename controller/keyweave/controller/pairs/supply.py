"""The part of the core that is about entangled pairs: what is told in, rules and news out. Pure.

Pairs are planned beside keys, by a planner of their own and in the background (`PlanPairs`, answered by
`PairsPlanned`). What comes together is planned together; a link that fails is planned around within a moment.
After a start the stored paths stand until their links have told how they are, or the warm-up is over.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from keyweave.common.names import LinkName, NodeName, StreamName
from keyweave.controller.events import Event
from keyweave.controller.instructions import Emit, Instruction, PersistPairs, PlanPairs
from keyweave.controller.pairs import news
from keyweave.controller.pairs.book import LinkState, PairBook
from keyweave.controller.pairs.rules import LinkRules, WayRules, keep_seconds
from keyweave.controller.pairs.served import PairStreamView, ServedStream, State
from keyweave.controller.pairs.streams import PairRecord, PairStream, PairWay, path_id_of
from keyweave.controller.routing.entanglement.repeaters import PairDemand, RepeaterNetwork
from keyweave.controller.routing.entanglement.serve import PairPlan, Refused, Served
from keyweave.controller.stimuli import AgentHello, PairsReported, TelemetryLost
from keyweave.controller.topology import Condition, Node

# How often links are looked at, how long changes are gathered, and how seldom drifts are planned on.
ASSESS_SECONDS = 0.5
GATHER_SECONDS = 0.1
DRIFT_SECONDS = 5.0
# A path whose tests are surely so much worse than predicted casts doubt on its links.
DOUBT_FIDELITY = 0.03
LEAST_DOUBT = 0.05
# How long after its creation a stream may wait for links to be measured before that is news.
PATIENCE_SECONDS = 20.0

Rules = WayRules | LinkRules


class PairSupply:
    """Links that make pairs, streams of pairs, and who is served how."""

    def __init__(self, nodes: Mapping[NodeName, Node], warmup_seconds: float) -> None:
        self._nodes = nodes
        self._warmup_seconds = warmup_seconds
        self.book = PairBook()
        self.streams: dict[StreamName, ServedStream] = {}
        self._warm_at: float | None = None
        self._plan_at: float | None = None
        self._assess_at: float | None = None
        self._asked: PlanPairs | None = None
        self._number = 0
        self._rules: dict[str, Rules] = {}
        self._stale: set[str] = set()
        self._unwritten: set[StreamName] = set()
        self._news: list[Event] = []

    def resume(
        self, streams: Iterable[PairStream], records: Mapping[StreamName, PairRecord], now: float
    ) -> None:
        """Begin with what the store holds."""
        for stream in streams:
            served = self.streams[stream.name] = ServedStream(stream, now)
            record = records.get(stream.name)
            if record is None:
                continue
            served.delivered_total = record.delivered_total
            if record.ended:
                served.stand(State.ENDED, record.ended, now)
                served.told = State.ENDED
            elif record.ways:
                self._follow(served, record.ways)
                met = State.MET if record.met else State.PARTLY_MET
                served.stand(met, "as before the controller began", now)
                served.told = met
                self._warm_at = now + self._warmup_seconds
        self._plan_by(now)

    # ---- what operators want -----------------------------------------------------------------------

    def put(self, stream: PairStream, now: float) -> None:
        """A stream was created or changed."""
        served = self.streams.get(stream.name)
        if served is None:
            self.streams[stream.name] = ServedStream(stream, now)
        else:
            scale = stream.rate_hz / served.spec.rate_hz
            served.spec = stream
            if served.state is State.ENDED:
                served.stand(State.UNMET, "not planned yet", now)
            ways = tuple(replace(way, rate_hz=way.rate_hz * scale) for way in served.ways)
            self._follow(served, ways, anew=True)
        self._plan_by(now + GATHER_SECONDS)

    def delete(self, name: StreamName, now: float) -> None:
        """A stream is gone."""
        served = self.streams.pop(name, None)
        if served is not None:
            for way in served.ways:
                self._put_rules(_way_owner(name, way.path_id), None)
            self._unwritten.add(name)
            self._plan_by(now + GATHER_SECONDS)

    # ---- what agents tell --------------------------------------------------------------------------

    def take(self, item: AgentHello | TelemetryLost | PairsReported, now: float) -> None:
        """Something about memories, links or pairs at a node."""
        match item:
            case AgentHello(node, hello):
                bank = hello.memory_bank if hello.HasField("memory_bank") else None
                self.book.hello(node, bank, hello.pair_link_ends, now)
            case TelemetryLost(node):
                self.book.lost(node)
            case PairsReported():
                self._reported(item, now)
        if self._assess_at is None and any(True for _ in self.book.links()):
            self._assess_at = now

    def _reported(self, item: PairsReported, now: float) -> None:
        for counts in item.links:
            if self.book.counted(item.node, counts, now):
                self._assess_at = now
        if item.memories is not None:
            self.book.memories(item.node, item.memories)
        for told in item.streams:
            served = self.streams.get(StreamName(told.stream))
            if served is not None:
                served.counted(item.node, told, now)

    # ---- plans -------------------------------------------------------------------------------------

    def basis(self, without: StreamName | None = None) -> tuple[RepeaterNetwork, list[PairDemand], PairPlan]:
        """What is planned on: the network, what is asked of it, and how that is served now."""
        live = [one for one in self.streams.values() if one.state is not State.ENDED]
        demands = [one.spec.demand(served=bool(one.ways)) for one in live if one.spec.name != without]
        answers = {
            one.spec.name: Served(one.spec.demand(), tuple(way.path for way in one.ways), True, "")
            for one in live
            if one.ways
        }
        return self.book.network(), demands, PairPlan(answers, {})

    def planned(self, number: int, plan: PairPlan, now: float) -> None:
        """The planner's answer."""
        asked = self._asked
        if asked is None or asked.number != number:
            return
        self._asked = None
        for demand in asked.demands:
            served = self.streams.get(demand.name)
            # Whoever has changed meanwhile has another plan coming.
            if served is None or served.state is State.ENDED:
                continue
            if demand not in (served.spec.demand(), served.spec.demand(served=True)):
                continue
            self._adopt(served, plan.answers[demand.name], asked.network, now)

    def _adopt(
        self, served: ServedStream, answer: Served | Refused, network: RepeaterNetwork, now: float
    ) -> None:
        stream = served.spec
        served.answer = answer
        if isinstance(answer, Refused):
            self._follow(served, ())
            served.stand(State.UNMET, answer.reason, now)
            return
        total = answer.rate_hz
        ends = tuple(network.nodes[name].memory for name in (stream.source, stream.target))
        ways = tuple(
            PairWay(
                path_id_of(stream.name, path.lane, path.lanes),
                path,
                stream.rate_hz * path.predicted_rate_hz / total,
                keep_seconds(path.predicted_state, stream.min_fidelity, *ends),
            )
            for path in answer.paths
        )
        before = {way.path_id: way for way in served.ways}
        if before.keys() == {way.path_id for way in ways}:
            # The same paths: shares that moved a little are nothing to tell agents.
            served.ways = tuple(replace(before[way.path_id], path=way.path) for way in ways)
        else:
            self._follow(served, ways)
            self._news.append(news.way_changed(served.view(1.0), now))
        served.stand(State.MET if answer.met else State.PARTLY_MET, answer.reason, now)

    def _follow(self, served: ServedStream, ways: tuple[PairWay, ...], *, anew: bool = False) -> None:
        """Have these paths, and no others, in force."""
        name = served.spec.name
        before = {way.path_id for way in served.ways}
        for gone in before - {way.path_id for way in ways}:
            self._put_rules(_way_owner(name, gone), None)
        for way in ways:
            owner = _way_owner(name, way.path_id)
            if owner not in self._rules or anew:
                self._put_rules(owner, WayRules(served.spec, way))
        if before != {way.path_id for way in ways}:
            self._unwritten.add(name)
        served.put_ways(ways)

    def _put_rules(self, owner: str, rules: Rules | None) -> None:
        if rules is None:
            self._rules.pop(owner, None)
        elif self._rules.get(owner) == rules:
            return
        else:
            self._rules[owner] = rules
        self._stale.add(owner)

    def take_stale(self) -> dict[str, Rules | None]:
        """Rules that are other than when this was last asked, by whose they are."""
        stale, self._stale = sorted(self._stale), set()
        return {owner: self._rules.get(owner) for owner in stale}

    # ---- what follows ------------------------------------------------------------------------------

    def settle(self, now: float, *, may_plan: bool) -> list[Instruction]:
        """What is due."""
        if self.is_due(now):
            self._assess(now)
        self._end(now)
        out: list[Instruction] = []
        if may_plan and self._may_ask(now):
            self._plan_at = None
            self._number += 1
            network, demands, previous = self.basis()
            self._asked = PlanPairs(self._number, network, tuple(demands), previous)
            out.append(self._asked)
        self._tell(now)
        events, self._news = self._news, []
        if may_plan and self._unwritten:
            names, self._unwritten = sorted(self._unwritten), set()
            out.append(PersistPairs({name: self._record(name) for name in names}))
        return [*map(Emit, events), *out]

    def is_due(self, now: float) -> bool:
        """Whether links are to be looked at now."""
        return self._assess_at is not None and self._assess_at <= now

    @property
    def deadline(self) -> float | None:
        """When there is something to do though nothing happens."""
        ends = [one.spec.deadline for one in self.streams.values() if one.state is not State.ENDED]
        times = [self._assess_at, None if self._asked else self._plan_at, *ends]
        known = [time for time in times if time is not None and time != float("inf")]
        return min(known, default=None)

    def _plan_by(self, time: float) -> None:
        self._plan_at = time if self._plan_at is None else min(time, self._plan_at)

    def _may_ask(self, now: float) -> bool:
        if self._plan_at is None or self._plan_at > now or self._asked is not None:
            return False
        if self._warm_at is not None:
            known = self.book.network().links
            if now < self._warm_at and any(link not in known for link in self._links_in_use()):
                self._plan_at = min(self._warm_at, now + ASSESS_SECONDS)
                return False
            self._warm_at = None
        if not self.streams:
            # There is nothing to plan, and nothing to be woken for again and again.
            self._plan_at = None
        return bool(self.streams)

    def _links_in_use(self) -> set[LinkName]:
        return {link for one in self.streams.values() for way in one.ways for link in way.path.links}

    def _assess(self, now: float) -> None:
        in_use = self._links_in_use()
        for node in {bank.name for bank, _, _ in self.book.banks()} - self._nodes.keys():
            self.book.forget(node)
        changes = self.book.assess(self._nodes, now)
        for change in changes:
            self._news += news.link_changed(change, now)
        for served in self.streams.values():
            served.average(now)
            self._compare(served)
        if self.book.refresh(in_use):
            self._plan_by(now + (GATHER_SECONDS if changes else DRIFT_SECONDS))
        links = {f"pair-link/{link.name}": LinkRules(link.name, link.a, link.b) for link in self.book.links()}
        for gone in [o for o, r in self._rules.items() if isinstance(r, LinkRules) and o not in links]:
            self._put_rules(gone, None)
        for owner, rules in links.items():
            self._put_rules(owner, rules)
        self._assess_at = now + ASSESS_SECONDS if links else None

    def _compare(self, served: ServedStream) -> None:
        """Hold what a stream's tests say against what was predicted of its paths."""
        readout = self._readout(served.spec)
        for way in served.ways:
            tally = served.by_path.get(way.path_id)
            measured = tally.estimate(readout) if tally is not None else None
            predicted = way.path.predicted_fidelity
            if measured is None or measured.high >= predicted - DOUBT_FIDELITY:
                continue
            left = (4 * measured.fidelity - 1) / (4 * predicted - 1)
            self.book.doubt(way.path.links, min(1.0, max(LEAST_DOUBT, left)))
            served.by_path[way.path_id] = type(served.tally)()

    def _end(self, now: float) -> None:
        for served in self.streams.values():
            if served.state is State.ENDED:
                continue
            why = ""
            if now >= served.spec.deadline:
                why = "its deadline has passed"
            elif 0 < served.spec.pair_count <= served.delivered_total:
                why = f"all {served.spec.pair_count} pairs are delivered"
            if why:
                self._follow(served, ())
                served.stand(State.ENDED, why, now)
                self._unwritten.add(served.spec.name)
                self._plan_by(now + GATHER_SECONDS)

    def _tell(self, now: float) -> None:
        for served in self.streams.values():
            measuring = any(link.fidelity is None for link in self.book.links()) or served.answer is None
            if served.state is State.UNMET and measuring and now < served.since + PATIENCE_SECONDS:
                continue
            if (served.told is not served.state and served.answer is not None) or served.state is State.ENDED:
                self._news += news.state_changed(served.view(1.0), served.told, now)
                served.told = served.state
            measured = served.tally.estimate(self._readout(served.spec)) if served.ways else None
            if measured is not None:
                low = measured.high < served.spec.min_fidelity
                well = measured.fidelity >= served.spec.min_fidelity
                if (low and not served.fidelity_low) or (well and served.fidelity_low):
                    served.fidelity_low = low
                    self._news.append(news.fidelity_changed(served.spec, measured, low=low, now=now))

    def _record(self, name: StreamName) -> PairRecord | None:
        served = self.streams.get(name)
        if served is None:
            return None
        ended = served.reason if served.state is State.ENDED else ""
        return PairRecord(served.ways, served.state is State.MET, ended, served.delivered_total)

    # ---- for those who ask -------------------------------------------------------------------------

    def _readout(self, stream: PairStream) -> float:
        return self.book.readout(stream.source, stream.target)

    def view(self, name: StreamName) -> PairStreamView:
        """One stream."""
        served = self.streams[name]
        return served.view(self._readout(served.spec))

    def views(self) -> Iterator[PairStreamView]:
        """All streams, by name."""
        return map(self.view, sorted(self.streams))

    def links(self) -> Iterator[tuple[LinkState, list[StreamName]]]:
        """All links, and the streams that are planned over each."""
        for link in self.book.links():
            users = [
                name
                for name, one in sorted(self.streams.items())
                if any(link.name in way.path.links for way in one.ways)
            ]
            yield link, users

    def planned_memories(self) -> dict[NodeName, int]:
        """Memories that the plan has given to streams, by node."""
        used: dict[NodeName, int] = {}
        for one in self.streams.values():
            for way in one.ways:
                for node, count in way.path.memories().items():
                    used[node] = used.get(node, 0) + count
        return used

    def is_down(self, name: LinkName) -> bool:
        """Whether a link makes no pairs."""
        return self.book.condition(name) is Condition.DOWN


def _way_owner(stream: StreamName, path_id: str) -> str:
    return f"pair/{stream}/{path_id}"
