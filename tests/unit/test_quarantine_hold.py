"""What comes while a link is distrusted is held; it is used only after both ends were told to."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from keyweave.agent.drivers.base import DeviceBlock
from keyweave.agent.keyplane.links import hold as hold_module
from keyweave.agent.keyplane.links.hold import Hold
from keyweave.agent.keyplane.links.linkwatch import LinkHealth
from keyweave.v1 import agent_pb2
from tests.unit.link_pair import BLOCK, Pair, device_block

ENDS = st.sampled_from(["a", "b"])


def held_at(*numbers: int) -> tuple[Hold, dict[int, bytearray]]:
    hold, keys = Hold(), {number: device_block(number) for number in numbers}
    for number, key in keys.items():
        hold.add(DeviceBlock(number, key, 0), now=float(number))
    return hold, keys


# ---- the hold itself ------------------------------------------------------------------------------


def test_nothing_leaves_the_hold_that_was_not_released() -> None:
    hold, _ = held_at(1, 2)
    assert hold.released_run() is None
    assert hold.release() == 2
    hold.add(DeviceBlock(3, device_block(3), 0), now=3.0)
    assert hold.released_run() == (1, 3)
    assert hold.undecided(1, 4)
    assert not hold.undecided(1, 3)


def test_released_blocks_come_in_runs_without_gaps() -> None:
    hold, _ = held_at(1, 2, 4, 5, 9)
    hold.release()
    assert hold.released_run() == (1, 3)
    assert hold.released_run(2, 9) == (2, 3)
    assert hold.released_run(3) == (4, 6)
    assert hold.released_run(6, 9) is None
    assert [block.number for block in hold.take(4, 6)] == [4, 5]
    assert len(hold) == 3


def test_what_is_held_too_long_or_destroyed_is_overwritten() -> None:
    hold, keys = held_at(1, 2, 3)
    assert hold.expire(before=2.0) == 1
    assert [any(key) for key in keys.values()] == [False, True, True]
    assert hold.destroy() == 2
    assert not any(any(key) for key in keys.values())


def test_the_hold_is_bounded_and_the_oldest_goes_and_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hold_module, "MAX_HELD_BLOCKS", 2)
    hold, keys = held_at(1, 2, 3)
    assert [any(key) for key in keys.values()] == [False, True, True]
    assert hold.overflowed_blocks_total == 1
    hold.release()
    assert hold.released_run() == (2, 4)


# ---- both ends ------------------------------------------------------------------------------------


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    """A link whose pool is open and holds blocks 1..4, produced at 1..4 s."""
    pair = Pair(tmp_path)
    pair.settle()
    take(pair, 4)
    pair.settle()
    return pair


def take(pair: Pair, count: int) -> None:
    for end in pair.ends.values():
        for _ in range(count):
            end.take_block()


def suspect(pair: Pair, since: float | None) -> None:
    for end in pair.ends.values():
        end.bind(since)
    pair.settle()


def order_clear(pair: Pair, *nodes: str) -> None:
    for node in nodes:
        pair.ends[node].link.release_held()
    pair.settle()


def pools_of(pair: Pair, node: str) -> list[tuple[int, int]]:
    return [(pool.first_block, pool.next_block) for pool in pair.ends[node].link.pools]


def test_under_suspicion_blocks_since_the_onset_go_and_what_comes_is_held_at_both_ends(pair: Pair) -> None:
    suspect(pair, since=5.0)  # less a margin of 2 s
    assert pools_of(pair, "a") == pools_of(pair, "b") == [(1, 3)]
    take(pair, 3)
    for end in pair.ends.values():
        assert end.link.held_bytes == 3 * BLOCK
        assert end.verdicts[0].health is LinkHealth.SUSPECT
        assert end.verdicts[0].since == 3.0
    suspect(pair, since=None)
    take(pair, 1)
    pair.settle()
    assert pools_of(pair, "a") == pools_of(pair, "b") == [(8, 9)], "afresh, above all that was held"
    assert all(end.link.held_bytes == 3 * BLOCK for end in pair.ends.values())


def test_the_suspicion_of_one_ends_policy_is_enough_to_stop_both(pair: Pair) -> None:
    pair.ends["b"].bind(5.0)
    pair.settle()
    assert pair.ends["a"].link.aborted
    assert pools_of(pair, "a") == [(1, 3)]


def test_the_same_suspicion_in_a_newer_policy_is_no_second_alarm_an_earlier_one_is(pair: Pair) -> None:
    for since in (5.0, 5.0, 6.0):
        suspect(pair, since)
    assert pools_of(pair, "a") == [(1, 3)]
    alarms = [verdict for verdict in pair.ends["a"].verdicts if verdict.health is LinkHealth.SUSPECT]
    assert len(alarms) == 1
    suspect(pair, 4.0)
    assert pools_of(pair, "a") == [(1, 2)]


@pytest.mark.parametrize("first", ["a", "b"])
def test_held_blocks_are_used_only_after_both_ends_have_the_order(pair: Pair, first: str) -> None:
    suspect(pair, 5.0)
    take(pair, 3)
    suspect(pair, None)
    order_clear(pair, first)
    assert pools_of(pair, "a") == pools_of(pair, "b") == [(8, 8)]
    order_clear(pair, Pair.other(first))
    assert pools_of(pair, "a") == pools_of(pair, "b") == [(5, 8), (8, 8)]
    assert all(not end.link.hold for end in pair.ends.values())
    for node, lane in (("a", slice(None, BLOCK // 2)), ("b", slice(BLOCK // 2, None))):
        taken = pair.ends[node].send(3 * BLOCK // 2)
        assert taken is not None
        assert bytes(taken.data) == b"".join(bytes(device_block(number)[lane]) for number in (5, 6, 7))
    pair.settle()
    assert pools_of(pair, "a") == pools_of(pair, "b") == [(8, 8)], "what is used up is forgotten"


def test_what_only_one_end_held_is_not_used(pair: Pair) -> None:
    pair.ends["a"].bind(5.0)
    pair.ends["a"].take_block()  # held at a; at b, which does not know yet, it goes into the doomed pool
    pair.ends["b"].take_block()
    suspect(pair, 5.0)
    take(pair, 2)
    suspect(pair, None)
    order_clear(pair, "a", "b")
    assert pools_of(pair, "a")[0] == pools_of(pair, "b")[0] == (6, 8)
    assert not pair.ends["a"].link.hold


def test_an_answer_that_got_lost_is_given_again(pair: Pair) -> None:
    suspect(pair, 5.0)
    take(pair, 3)
    suspect(pair, None)
    for end in pair.ends.values():
        end.link.release_held()
    pair.ends["a"].open()
    pair.deliver("a")
    assert pools_of(pair, "b")[0] == (5, 8)
    pair.reconnect()
    pair.settle()
    assert pools_of(pair, "a") == pools_of(pair, "b") == [(5, 8), (8, 8)]


def test_a_new_alarm_takes_back_what_was_released_since_its_onset(pair: Pair) -> None:
    suspect(pair, 5.0)
    take(pair, 3)
    suspect(pair, None)
    order_clear(pair, "a", "b")
    suspect(pair, 8.5)
    assert pools_of(pair, "a")[0] == pools_of(pair, "b")[0] == (5, 7)


def test_a_new_alarm_takes_back_what_was_released_and_not_opened_yet(pair: Pair) -> None:
    suspect(pair, 5.0)
    take(pair, 3)
    suspect(pair, None)
    order_clear(pair, "a")  # b has no order yet
    suspect(pair, 8.5)
    suspect(pair, None)
    order_clear(pair, "b")
    assert pools_of(pair, "a")[0] == pools_of(pair, "b")[0] == (5, 7), (
        "block 7 came after the onset, less 2 s"
    )


def test_blocks_that_nobody_decided_on_in_time_are_destroyed_and_it_is_told(pair: Pair) -> None:
    suspect(pair, 5.0)
    take(pair, 3)
    link = pair.ends["a"].link
    link.expire_held(before=float("inf"))
    assert link.held_bytes == 0
    (event,) = [e for e in pair.ends["a"].events if e.kind == agent_pb2.AGENT_EVENT_KIND_QUARANTINE_DESTROYED]
    assert (event.link, event.count) == ("a-b", 3)


def test_a_peer_that_restarts_has_lost_what_it_held_so_this_end_destroys_its_own(pair: Pair) -> None:
    suspect(pair, 5.0)
    take(pair, 3)
    pair.ends["a"].link.session_up(restarted=True)
    assert pair.ends["a"].link.held_bytes == 0
    assert pools_of(pair, "a") == []
    pair.deliver("a")
    assert pair.ends["b"].link.aborted, "a's distrust outlives the peer's memory"


# ---- whatever happens -----------------------------------------------------------------------------


class LossyLink(RuleBasedStateMachine):
    """Alarms, orders, blocks, relays and broken connections in any order."""

    def __init__(self) -> None:
        super().__init__()
        self._directory = tempfile.TemporaryDirectory()
        self.pair = Pair(Path(self._directory.name))
        self.sent: set[tuple[int, int]] = set()

    def teardown(self) -> None:
        """Forget the directory."""
        self._directory.cleanup()

    @rule(node=ENDS, count=st.integers(1, 4))
    def device(self, node: str, count: int) -> None:
        """One end's device is ahead of the other's by a little."""
        here, there = self.pair.ends[node], self.pair.ends[Pair.other(node)]
        for _ in range(min(count, there.taken + 6 - here.taken)):
            here.take_block()

    @rule(node=ENDS, seconds_ago=st.one_of(st.none(), st.integers(0, 6)))
    def suspicion(self, node: str, seconds_ago: int | None) -> None:
        """Policy reaches one end."""
        end = self.pair.ends[node]
        end.bind(None if seconds_ago is None else float(max(1, end.taken - seconds_ago)))

    @rule(node=ENDS)
    def order(self, node: str) -> None:
        """The order to release reaches one end."""
        self.pair.ends[node].link.release_held()

    @rule()
    def open(self) -> None:
        """The end that opens pools asks for one."""
        self.pair.ends["a"].open()

    @rule(node=ENDS, frames=st.integers(1, 5))
    def deliver(self, node: str, frames: int) -> None:
        """Some frames arrive."""
        for _ in range(frames):
            self.pair.deliver(node)

    @rule()
    def settle(self) -> None:
        """All frames arrive, and what can be opened is."""
        self.pair.settle()

    @rule()
    def reconnect(self) -> None:
        """All frames on their way are lost."""
        self.pair.reconnect()

    @rule(node=ENDS, size=st.integers(1, BLOCK))
    def send(self, node: str, size: int) -> None:
        """No bit of any device block is sent with twice, by either end, from whatever pool."""
        taken = self.pair.ends[node].send(size)
        if taken is None:
            return
        first = self.pair.ends[node].first_blocks[taken.pool_id]
        for offset in range(taken.offset, taken.offset + size):
            block, within = divmod(offset, BLOCK // 2)
            place = (first + block, within + (0 if taken.first_lane else BLOCK // 2))
            assert place not in self.sent, f"byte {place[1]} of block {place[0]} is used twice"
            self.sent.add(place)

    @invariant()
    def no_block_is_in_two_places(self) -> None:
        """Held, waiting, or in one pool."""
        for end in self.pair.ends.values():
            places = [n for pool in end.link.pools for n in range(pool.first_block, pool.next_block)]
            places += list(end.link.hold._held)
            places += [block.number for block in end.link._intake._pending]
            assert len(places) == len(set(places))


LossyLink.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestLossyLink = LossyLink.TestCase
