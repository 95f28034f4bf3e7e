"""What is said of a pair may cross, overtake or outlive the pair: each such race is settled in one way."""

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keyweave.agent.drivers.memories import (
    Event,
    Heralded,
    Measured,
    MemoryBankInfo,
    MemoryId,
    PairLinkInfo,
    Purify,
    Refused,
    Release,
    Swap,
    Swapped,
    Works,
)
from keyweave.agent.pairs.engine import Engine
from keyweave.agent.pairs.memories import State
from keyweave.agent.pairs.outbox import Instructions
from keyweave.agent.pairs.pair import Doing, Moment, link_pair_id
from keyweave.agent.pairs.steps import PathRule
from keyweave.agent.pairs.stock import EARLY_SECONDS, Ending
from keyweave.common.names import LinkName, NodeName
from keyweave.v1 import agent_pb2, pairs_pb2
from tests.unit.pair_lab import NAMES, path_rules

A, B, C, *_ = NAMES
AB, BC = LinkName(f"{A}-{B}"), LinkName(f"{B}-{C}")
NEW = bytes(range(16))


class Node:
    """One engine of the chain A-B-C; the test is its device, its peers and its clock."""

    def __init__(self, node: NodeName, **settings: object) -> None:
        self.now = 10.0
        self.engine = Engine(node)
        links = tuple(
            PairLinkInfo(LinkName(f"{a}-{b}"), b if a == node else a, "", 100.0, 0, 0.0)
            for a, b in ((A, B), (B, C))
            if node in (a, b)
        )
        self.engine.device_began(MemoryBankInfo("", 6, 1.0, 1.0, 1.0, 1.0, 1.0, True, links), self.moment)
        for other in (A, B, C):
            if other != node:
                self.engine.peer_up(other, self.moment)
        rules = path_rules((A, B, C), width=2, **settings)  # type: ignore[arg-type]
        self.path = PathRule.of(rules[node])
        self.engine.apply([self.path], self.moment)
        self.said: list[tuple[NodeName, pairs_pb2.PairMessage]] = []
        self.commands: list[object] = []
        self.events: list[agent_pb2.AgentEvent] = []
        self._number = 0
        self.gather()

    @property
    def moment(self) -> Moment:
        """Now."""
        return Moment(self.now, int(self.now * 1e9))

    def gather(self) -> None:
        """Keep what the engine wants."""
        did: Instructions = self.engine.take()
        self.said += [(to, each) for to, messages in did.messages for each in messages.messages]
        self.commands += did.commands
        self.events += did.events

    def device(self, *events: Event) -> None:
        """The device says so."""
        self.engine.device_told(events, self.moment)
        self.gather()

    def can_herald(self, link: LinkName) -> bool:
        """Whether a memory attempts over a link."""
        register = self.engine.stock.register
        assert register is not None
        return any(register.attempting(side) for side in self.engine.sides() if side.link == link)

    def herald(self, link: LinkName, number: int | None = None) -> bytes:
        """A pair over a link, with a memory that attempts there; its ID."""
        self._number += 1
        number = self._number if number is None else number
        side = next(side for side in self.engine.sides() if side.link == link)
        register = self.engine.stock.register
        assert register is not None
        memory = register.attempting(side)[0]
        self.device(Heralded(memory, link, self.path.tag, number, False, False, 0))
        return link_pair_id(link, number)

    def memory(self, pair_id: bytes) -> MemoryId:
        """Where a half is."""
        return self.engine.stock.pairs[pair_id].memory

    def told(self, sender: NodeName, **body: object) -> None:
        """A peer says so."""
        message = pairs_pb2.PairMessage(**body)  # type: ignore[arg-type]
        about = pairs_pb2.PairMessages(stream=self.path.stream, path_id=self.path.path_id, messages=[message])
        self.engine.peer_told(sender, about, self.moment)
        self.gather()

    def passes(self, seconds: float) -> None:
        """Time."""
        self.now += seconds
        self.engine.tick(self.moment)
        self.gather()

    def gone_to(self, peer: NodeName) -> list[bytes]:
        """Halves that a peer was told are given up."""
        return [each.gone.pair_id for to, each in self.said if to == peer and each.HasField("gone")]


def swapped(pair_id: bytes, partner: NodeName, *, failed: bool = False) -> pairs_pb2.PairSwapped:
    """As the node says that swapped."""
    return pairs_pb2.PairSwapped(
        pair_id=pair_id, new_pair_id=NEW, partner=partner, failed=failed, age_seconds=0.1
    )


def test_a_swap_told_before_its_pair_is_heralded_here_counts_once_it_is() -> None:
    node = Node(A, kind="ck")
    node.told(B, swapped=swapped(link_pair_id(AB, 1), C))
    assert not node.said
    node.herald(AB, 1)
    pair = node.engine.stock.pairs[NEW]
    assert (pair.partner, pair.doing) == (C, Doing.OFFERED)
    assert [each.use.pair_id for to, each in node.said if to == C] == [NEW]


def test_a_swap_of_a_pair_that_is_never_heralded_here_is_answered_to_its_other_end() -> None:
    node = Node(A)
    node.told(B, swapped=swapped(link_pair_id(AB, 1), C))
    node.passes(EARLY_SECONDS + 0.1)
    assert node.gone_to(C) == [NEW]
    node.told(C, use=pairs_pb2.PairUse(pair_id=NEW, use=pairs_pb2.PAIR_USE_KIND_KEEP, number=1))
    assert node.gone_to(C) == [NEW, NEW], "what was given up is not waited for again"


def test_a_pair_given_up_as_it_was_swapped_is_given_up_at_the_far_end_too() -> None:
    node = Node(A)
    pair_id = node.herald(AB)
    node.passes(node.path.cutoff_seconds((B, 0)) + 0.1)
    assert node.gone_to(B) == [pair_id]
    node.told(B, swapped=swapped(pair_id, C))
    assert node.gone_to(C) == [NEW]


def test_a_pair_that_was_given_up_before_the_swap_is_told_of_is_given_up_here() -> None:
    node = Node(A)
    node.told(C, gone=pairs_pb2.PairGone(pair_id=NEW))
    pair_id = node.herald(AB)
    memory = node.memory(pair_id)
    node.told(B, swapped=swapped(pair_id, C))
    assert not node.engine.stock.pairs
    assert Release(memory) in node.commands


def test_nobody_but_the_other_end_can_have_a_pair_given_up() -> None:
    node = Node(A)
    pair_id = node.herald(AB)
    node.told(C, gone=pairs_pb2.PairGone(pair_id=pair_id))
    node.told(C, swapped=swapped(pair_id, B))
    assert pair_id in node.engine.stock.pairs


def test_a_swap_with_a_node_that_is_not_beyond_is_not_believed() -> None:
    node = Node(B)
    pair_id = node.herald(AB)
    node.told(A, swapped=swapped(pair_id, C))
    assert not node.engine.stock.pairs


@pytest.mark.parametrize("new", [b"", b"x" * 17, link_pair_id(AB, 2)], ids=["empty", "long", "held"])
def test_a_swapped_pair_has_an_id_of_its_own(new: bytes) -> None:
    node = Node(A)
    first, second = node.herald(AB, 1), node.herald(AB, 2)
    told = swapped(first, C)
    told.new_pair_id = new
    node.told(B, swapped=told)
    assert list(node.engine.stock.pairs) == [second]


def test_a_pair_that_a_device_numbers_twice_is_not_taken() -> None:
    node = Node(A)
    pair_id = node.herald(AB, 1)
    node.herald(AB, 1)
    assert list(node.engine.stock.pairs) == [pair_id]
    assert not node.gone_to(B)
    assert [each for each in node.commands if isinstance(each, Release)]


def test_both_pairs_of_a_swap_go_with_the_session_of_one() -> None:
    node = Node(B)
    left, right = node.herald(AB), node.herald(BC)
    (swap,) = [each for each in node.commands if isinstance(each, Swap)]
    node.engine.peer_lost(A, node.moment)
    node.gather()
    assert not node.engine.stock.pairs
    assert node.gone_to(C) == [right]
    before = len(node.said)
    node.device(Swapped(swap.first, swap.second, True, False, False))
    assert node.engine.swaps.total == 0, "an answer about halves that are gone is of nobody's swap"
    assert len(node.said) == before
    assert left not in node.gone_to(C)


def test_a_failed_swap_frees_both_halves_and_says_so_to_both_ends() -> None:
    node = Node(B)
    left, right = node.herald(AB), node.herald(BC)
    (swap,) = [each for each in node.commands if isinstance(each, Swap)]
    node.device(Swapped(swap.first, swap.second, False, False, False))
    told = {to: each.swapped for to, each in node.said if each.HasField("swapped")}
    assert (told[A].pair_id, told[C].pair_id) == (left, right)
    assert told[A].failed
    assert told[C].failed
    assert not node.engine.stock.pairs


def test_the_age_of_a_pair_is_that_of_its_oldest_part_whatever_clocks_say() -> None:
    node = Node(A, kind="ck", cutoff_seconds=2.0)
    pair_id = node.herald(AB)
    told = swapped(pair_id, C)
    told.age_seconds, told.oldest_unix_nanos = 1.5, -(10**18)
    node.told(B, swapped=told)
    node.passes(0.4)
    assert NEW in node.engine.stock.pairs
    node.passes(0.2)
    assert NEW not in node.engine.stock.pairs


# ---- purification ----------------------------------------------------------------------------------------


def begun(node: Node) -> tuple[bytes, bytes, Purify]:
    """A round at the end nearer to the source: kept, measured, and the command."""
    node.herald(AB)
    node.herald(AB)
    (command,) = [each for each in node.commands if isinstance(each, Purify)]
    stock = node.engine.stock
    kept, measured = stock.in_memory(command.kept), stock.in_memory(command.measured)
    assert kept is not None
    assert measured is not None
    return kept.pair_id, measured.pair_id, command


def test_a_round_whose_other_end_has_lost_a_half_is_over() -> None:
    node = Node(A, rounds=1)
    kept, _, command = begun(node)
    node.device(Measured(command.measured, True))
    node.told(B, gone=pairs_pb2.PairGone(pair_id=kept))
    assert not node.engine.stock.pairs


def test_a_half_that_went_while_the_other_one_was_measured_takes_the_round_with_it() -> None:
    node = Node(A, rounds=1)
    kept, measured, command = begun(node)
    node.told(B, gone=pairs_pb2.PairGone(pair_id=kept))
    node.device(Measured(command.measured, True))
    assert node.gone_to(B) == [measured]
    assert not node.engine.stock.pairs


@pytest.mark.parametrize(("answer", "survives"), [(True, True), (False, False)])
def test_the_kept_pair_survives_where_outcomes_agree(answer: bool, survives: bool) -> None:
    node = Node(A, rounds=1)
    kept, _, command = begun(node)
    node.device(Measured(command.measured, True))
    node.told(B, purified=pairs_pb2.PairPurified(kept_pair_id=kept, outcome=answer))
    assert (kept in node.engine.stock.pairs) == survives
    if survives:
        assert node.engine.stock.pairs[kept].rounds == 1


def test_a_round_on_pairs_that_have_expired_here_is_answered() -> None:
    node = Node(C, rounds=1)
    kept, measured = node.herald(BC), node.herald(BC)
    node.passes(node.path.cutoff_seconds((B, 0)) + 0.1)
    node.said.clear()
    node.told(
        B,
        purifying=pairs_pb2.PairPurifying(
            kept_pair_id=kept, measured_pair_id=measured, round=1, outcome=True
        ),
    )
    assert node.gone_to(B) == [kept]


def test_a_round_of_a_pair_with_itself_ends_that_pair_once() -> None:
    node = Node(C, rounds=1)
    kept = node.herald(BC)
    node.told(B, purifying=pairs_pb2.PairPurifying(kept_pair_id=kept, measured_pair_id=kept, round=1))
    stock = node.engine.stock
    assert not stock.pairs
    assert stock.endings == {Ending.PURIFICATION_FAILED: 1}
    assert node.gone_to(B) == [kept]


def test_a_round_told_before_its_second_pair_is_heralded_waits_for_it() -> None:
    node = Node(C, rounds=1)
    kept = node.herald(BC, 1)
    node.told(
        B,
        purifying=pairs_pb2.PairPurifying(
            kept_pair_id=kept, measured_pair_id=link_pair_id(BC, 2), round=1, outcome=True
        ),
    )
    assert not [each for each in node.commands if isinstance(each, Purify)]
    node.herald(BC, 2)
    (command,) = [each for each in node.commands if isinstance(each, Purify)]
    node.device(Measured(command.measured, True))
    assert node.engine.stock.pairs[kept].rounds == 1
    assert [each.purified.outcome for _, each in node.said if each.HasField("purified")] == [True]


# ---- policy, devices -------------------------------------------------------------------------------------


def test_a_path_that_is_replaced_gives_its_memories_back_and_says_so() -> None:
    node = Node(B)
    left = node.herald(AB)
    node.engine.apply([], node.moment)
    node.gather()
    assert node.gone_to(A) == [left]
    register = node.engine.stock.register
    assert register is not None
    assert register.count(State.ATTEMPTING, State.HOLDING) == 0
    node.told(A, swapped=swapped(left, C))
    assert node.gone_to(A) == [left, left], "what names a path that is not in force is answered"


def test_what_was_heralded_as_its_memory_was_taken_back_is_given_up_at_the_other_end() -> None:
    node = Node(B)
    side = next(side for side in node.engine.sides() if side.link == AB)
    register = node.engine.stock.register
    assert register is not None
    memory = register.attempting(side)[0]
    node.engine.apply([], node.moment)
    node.device(Heralded(memory, AB, node.path.tag, 7, False, False, 0))
    assert node.gone_to(A) == [link_pair_id(AB, 7)]
    assert not node.engine.stock.pairs


@pytest.mark.parametrize(
    "lost",
    [
        lambda memory: Works(memory, False),
        lambda memory: Refused(memory, "it held no pair"),
    ],
    ids=["broken", "refused"],
)
def test_a_half_that_the_device_has_lost_is_given_up_at_the_other_end(
    lost: Callable[[MemoryId], Event],
) -> None:
    node = Node(A)
    pair_id = node.herald(AB)
    node.device(lost(node.memory(pair_id)))
    assert node.gone_to(B) == [pair_id]
    assert not node.engine.stock.pairs


def test_memories_that_fail_and_work_again_are_told_of_with_how_many_work() -> None:
    node = Node(A)
    node.device(Works(MemoryId(5), False), Works(MemoryId(5), False), Works(MemoryId(5), True))
    assert [(each.kind, each.count) for each in node.events] == [
        (agent_pb2.AGENT_EVENT_KIND_MEMORY_FAILED, 5),
        (agent_pb2.AGENT_EVENT_KIND_MEMORY_RESTORED, 6),
    ]


def test_a_stream_that_has_delivered_all_is_over_and_says_so_once() -> None:
    node = Node(A, kind="ck", pair_count=1)
    pair_id = node.herald(AB)
    node.told(B, swapped=swapped(pair_id, C))
    node.told(C, used=pairs_pb2.PairUsed(pair_id=NEW))
    node.passes(1.0)
    assert [(each.kind, each.count) for each in node.events] == [
        (agent_pb2.AGENT_EVENT_KIND_PAIR_STREAM_ENDED, 1)
    ]


def test_a_message_that_names_no_pair_is_nobodys() -> None:
    node = Node(A)
    node.herald(AB)
    node.told(B, gone=pairs_pb2.PairGone(pair_id=b"short"))
    node.told(B, swapped=pairs_pb2.PairSwapped(pair_id=b"", new_pair_id=NEW, partner=C))
    node.told(B)
    assert len(node.engine.stock.pairs) == 1
    assert not node.said


# ---- whatever peers say ----------------------------------------------------------------------------------

IDS = st.sampled_from((NEW, bytes(16), b"", b"x" * 17, *(link_pair_id(AB, n) for n in (1, 2, 3))))
PEERS = st.sampled_from((B, C))
MESSAGES = st.one_of(
    st.builds(
        lambda **body: pairs_pb2.PairMessage(swapped=pairs_pb2.PairSwapped(**body)),
        pair_id=IDS,
        new_pair_id=IDS,
        partner=st.sampled_from((A, B, C, "nobody", "")),
        x=st.booleans(),
        z=st.booleans(),
        failed=st.booleans(),
        age_seconds=st.floats(),
    ),
    st.builds(lambda pair_id: pairs_pb2.PairMessage(gone=pairs_pb2.PairGone(pair_id=pair_id)), IDS),
    st.builds(
        lambda **body: pairs_pb2.PairMessage(purifying=pairs_pb2.PairPurifying(**body)),
        kept_pair_id=IDS,
        measured_pair_id=IDS,
        round=st.integers(0, 2**32 - 1),
        outcome=st.booleans(),
    ),
    st.builds(
        lambda **body: pairs_pb2.PairMessage(purified=pairs_pb2.PairPurified(**body)),
        kept_pair_id=IDS,
        outcome=st.booleans(),
    ),
    st.builds(
        lambda **body: pairs_pb2.PairMessage(use=pairs_pb2.PairUse(**body)),
        pair_id=IDS,
        use=st.integers(0, 7),
        number=st.integers(0, 2**64 - 1),
        axis=st.integers(0, 2**32 - 1),
    ),
    st.builds(
        lambda **body: pairs_pb2.PairMessage(used=pairs_pb2.PairUsed(**body)),
        pair_id=IDS,
        outcome=st.booleans(),
        setting=st.integers(0, 2**32 - 1),
    ),
)


@settings(max_examples=200, deadline=None)
@given(
    place=st.sampled_from((A, B, C)),
    rounds=st.integers(0, 1),
    kind=st.sampled_from(("ck", "md")),
    said=st.lists(st.one_of(st.tuples(PEERS, MESSAGES), st.sampled_from((AB, BC))), max_size=20),
)
def test_whatever_peers_say_halves_begin_and_end_once(
    place: NodeName,
    rounds: int,
    kind: str,
    said: list[tuple[NodeName, pairs_pb2.PairMessage] | LinkName],
) -> None:
    node = Node(place, rounds=rounds, kind=kind)
    links = {side.link for side in node.engine.sides()}
    for each in said:
        if isinstance(each, tuple):
            sender, message = each
            about = pairs_pb2.PairMessages(stream="s", path_id="s:1", messages=[message])
            node.engine.peer_told(sender, about, node.moment)
            node.gather()
        elif each in links and node.can_herald(each):
            node.herald(each)
        node.passes(0.01)
    stock = node.engine.stock
    assert stock.heralded_total == len(stock.pairs) + sum(stock.endings.values())
    for pair in stock.pairs.values():
        assert stock.in_memory(pair.memory) is pair
        assert len(pair.pair_id) == 16
