"""Keys of measured pairs: the same at both ends, no longer than secrecy allows, and never of bad pairs."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keyweave.agent.pairs.deliver import Basis
from keyweave.agent.pairs.keys.bits import order, packed, unpacked
from keyweave.agent.pairs.keys.cascade import Corrector, Reference, Stretch, block_sizes
from keyweave.agent.pairs.keys.discussion import Terms
from keyweave.agent.pairs.keys.follower import Follower
from keyweave.agent.pairs.keys.hashing import hashed, seed_bits
from keyweave.agent.pairs.keys.leader import Leader
from keyweave.agent.pairs.keys.secrecy import Promise, binary_entropy, sampling_margin, secret_bits
from keyweave.agent.pairs.keys.sifting import MAX_SPAN, MAX_WAITING, Outcomes, Sifted
from keyweave.common.entanglement.bell import werner
from keyweave.v1 import pairkeys_pb2 as pb

TERMS = Terms(block_bits=1024)
KEY_BASIS_RATIO = 0.7


# ---- steps -----------------------------------------------------------------------------------------


@given(st.lists(st.integers(0, 1), max_size=100))
def test_bits_packed_and_unpacked_are_the_same(bits: list[int]) -> None:
    assert unpacked(packed(np.array(bits, np.uint8)), len(bits)).tolist() == bits


def test_bytes_that_are_not_as_many_as_the_bits_are_refused() -> None:
    with pytest.raises(ValueError, match="do not hold 9 bits"):
        unpacked(b"\0", 9)


def test_an_order_is_the_same_for_all_who_have_the_seed_and_another_with_another() -> None:
    assert order(b"seed", 1, 8).tolist() == [4, 7, 0, 5, 2, 1, 3, 6]
    assert sorted(order(b"seed", 2, 100).tolist()) == list(range(100))
    assert order(b"seed", 1, 100).tolist() != order(b"seed", 2, 100).tolist()


@pytest.mark.parametrize("error_ratio", [0.0, 0.005, 0.02, 0.05, 0.11, 0.2])
def test_cascade_brings_both_ends_to_the_same_bits(error_ratio: float) -> None:
    random = np.random.default_rng(7)
    for count in (1, 2, 37, 1024):
        theirs = random.integers(0, 2, count, dtype=np.uint8)
        mine = theirs ^ (random.random(count) < error_ratio).astype(np.uint8)
        reference, corrector = Reference(theirs, b"s" * 16), Corrector(mine, b"s" * 16, error_ratio or 0.03)
        while asked := corrector.questions():
            corrector.learn(asked, reference.answer(asked))
        assert mine.tolist() == theirs.tolist()
        assert corrector.leaked_bits == reference.leaked_bits


def test_cascade_tells_as_little_as_is_published() -> None:
    """Martinez-Mateo et al. 2015, figure 3: about 1.05 of the Shannon limit for blocks of 10^4 bits."""
    random, told, needed = np.random.default_rng(1), 0, 0.0
    for _ in range(10):
        theirs = random.integers(0, 2, 10_000, dtype=np.uint8)
        wrong = random.random(10_000) < 0.03
        reference, corrector = Reference(theirs, b""), Corrector(theirs ^ wrong, b"", 0.03)
        while asked := corrector.questions():
            corrector.learn(asked, reference.answer(asked))
        told += corrector.leaked_bits
        needed += 10_000 * binary_entropy(float(wrong.mean()))
    assert 1.0 < told / needed < 1.08


def test_stretches_begin_as_published() -> None:
    sizes = list(block_sizes(10_000, 0.03))
    assert sizes[:3] == [64, 256, 5000]
    assert len(sizes) == 14


@pytest.mark.parametrize(("start", "end"), [(0, 0), (3, 2), (0, 11), (-1, 2)])
def test_a_stretch_that_is_none_gets_no_answer(start: int, end: int) -> None:
    with pytest.raises(ValueError, match="is no stretch of 10 bits"):
        Reference(np.zeros(10, np.uint8), b"").answer([Stretch(0, start, end)])


@given(st.integers(1, 60), st.integers(0, 60), st.randoms(use_true_random=False))
def test_hashing_is_multiplication_by_a_toeplitz_matrix(count: int, length: int, random: object) -> None:
    draw: Callable[[int, int], int] = random.randint  # type: ignore[attr-defined]
    source = np.array([draw(0, 1) for _ in range(count)], np.uint8)
    seed = np.array([draw(0, 1) for _ in range(max(0, seed_bits(count, length)))], np.uint8)
    matrix = np.array([[seed[i + count - 1 - j] for j in range(count)] for i in range(length)], np.int64)
    expected = (matrix @ source % 2).tolist() if length else []
    assert hashed(source, seed, length).tolist() == expected


def test_a_seed_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="3 seed bits"):
        hashed(np.zeros(4, np.uint8), np.zeros(3, np.uint8), 2)


# ---- how much is secret ----------------------------------------------------------------------------


def test_long_blocks_come_near_what_theory_allows_for_endless_ones() -> None:
    """Shor and Preskill 2000: 1 - 2 h(e) for perfect correction."""
    count, error = 10**9, 0.02
    leaked = round(count * binary_entropy(error))
    ratio = secret_bits(count, count, round(error * count), leaked, Promise()) / count
    assert ratio == pytest.approx(1.0 - 2.0 * binary_entropy(error), abs=2e-3)


def test_the_margin_is_that_of_the_paper() -> None:
    """Lim et al. 2014, eq. (5), worked out by hand for b = 0.02, c = 1000, d = 4000, a^2 -> smoothing^2."""
    both = 5000 / 4_000_000
    spread = both * 0.98 * 0.02 / math.log(2)
    expected = math.sqrt(spread * math.log2(both / (0.98 * 0.02) * 1e20))
    assert sampling_margin(0.02, 1000, 4000, 1e-10) == pytest.approx(expected)
    assert expected == pytest.approx(0.0471, abs=2e-4)


@given(st.integers(1, 10**6), st.integers(1, 10**6), st.floats(0, 0.5), st.integers(0, 10**5))
def test_more_errors_or_more_told_never_leave_more_secret(
    key: int, checks: int, error: float, leaked: int
) -> None:
    errors = round(error * checks)
    length = secret_bits(key, checks, errors, leaked, Promise())
    assert 0 <= length <= key
    assert secret_bits(key, checks, min(checks, errors + 1), leaked, Promise()) <= length
    assert secret_bits(key, checks, errors, leaked + 1, Promise()) <= length


@pytest.mark.parametrize(
    ("key", "checks", "errors"), [(0, 10, 0), (10, 0, 0), (4096, 1000, 110), (4096, 9, 9)]
)
def test_nothing_is_secret_without_bits_or_with_too_many_errors(key: int, checks: int, errors: int) -> None:
    assert secret_bits(key, checks, errors, round(key * binary_entropy(0.11)), Promise()) == 0


# ---- sifting ---------------------------------------------------------------------------------------


def test_only_pairs_that_both_ends_measured_alike_are_kept() -> None:
    mine, theirs = Outcomes(), Outcomes()
    for number, basis, bit in ((3, Basis.Z, 1), (4, Basis.X, 0), (6, Basis.Z, 0), (7, Basis.X, 1)):
        mine.add(number, basis, bit)
    for number, basis, bit in ((3, Basis.Z, 1), (4, Basis.Z, 0), (5, Basis.Z, 0), (7, Basis.X, 0)):
        theirs.add(number, basis, bit)
    first, measured, in_x = mine.span()
    kept = theirs.alike(first, measured, in_x)
    assert (first, kept.tolist()) == (3, [1, 0, 0, 0, 1])
    assert [each.tolist() for each in mine.take(first, kept)] == [[1], [1]]
    assert [each.tolist() for each in theirs.take(first, kept)] == [[1], [0]]
    assert len(mine) == len(theirs) == 0


def test_outcomes_that_nobody_compares_do_not_pile_up() -> None:
    outcomes = Outcomes()
    for number in range(MAX_WAITING + 5):
        outcomes.add(number, Basis.Z, 0)
    assert (len(outcomes), outcomes.dropped_total) == (MAX_WAITING, 5)
    first, measured, _ = outcomes.span()
    assert (first, len(measured)) == (5, MAX_SPAN)


def test_sifted_bits_are_overwritten_where_they_lay() -> None:
    sifted, part = Sifted(), np.ones(8, np.uint8)
    sifted.add(part)
    assert sifted.take().tolist() == [1] * 8
    assert part.tolist() == [0] * 8


# ---- the discussion --------------------------------------------------------------------------------


class Between:
    """Two ends, pairs of a fidelity, and a connection that may lose what is said."""

    def __init__(
        self,
        fidelity: float,
        *,
        loses: float = 0.0,
        seed: int = 1,
        terms: Terms = TERMS,
        paths: tuple[str, ...] = ("p",),
    ) -> None:
        self.leader, self.follower = Leader(terms, 1), Follower(terms, 1)
        self.said: list[bytes] = []
        self.key: tuple[dict[int, bytes], dict[int, bytes]] = {}, {}
        self._state = werner(fidelity)
        self._random = np.random.default_rng(seed)
        self._loses = loses
        self.numbers = dict.fromkeys(paths, 0)
        self.now = 0.0
        for path in paths:
            self.leader.new_run(path)
        # Rules reach the two ends in no particular order.
        for path in reversed(paths):
            self.follower.new_run(path)

    def measure(self, count: int) -> None:
        """Both ends measure, path by path; each misses one in a hundred."""
        for turn in range(count):
            self.now += 0.005
            path = list(self.numbers)[turn % len(self.numbers)]
            self.numbers[path] += 1
            number = self.numbers[path]
            mine, theirs = (Basis(int(self._random.random() > KEY_BASIS_RATIO)) for _ in range(2))
            bit = int(self._random.integers(2))
            error = self._state.qber_z if mine is Basis.Z else self._state.qber_x
            other = (
                bit ^ int(self._random.random() < error) if mine is theirs else int(self._random.integers(2))
            )
            if self._random.random() < 0.99:
                self.leader.measured(path, number, mine, bit, self.now)
            if self._random.random() < 0.99:
                self.follower.measured(path, number, theirs, other, self.now)
            if (turn + 1) % 100 == 0:
                self.talk()

    def talk(self) -> None:
        """As long as one has something to say to the other."""
        message = self.leader.poll(self.now)
        while message is not None:
            heard = self._carried(message)
            answer = self.follower.receive(heard, self.now) if heard else None
            heard = self._carried(answer) if answer else None
            message = self.leader.receive(heard, self.now) if heard else None
        for end, key in zip((self.leader, self.follower), self.key, strict=True):
            for number, block in end.blocks():
                assert number not in key
                key[number] = bytes(block)

    def _carried(self, message: pb.PairKeyMessage) -> pb.PairKeyMessage | None:
        data = message.SerializeToString()
        assert len(data) <= 16_384
        self.said.append(data)
        return pb.PairKeyMessage.FromString(data) if self._random.random() >= self._loses else None


@pytest.mark.parametrize(("fidelity", "qber"), [(0.98, 0.0133), (0.95, 0.0333)])
def test_both_ends_get_the_same_keys_and_see_the_error_of_the_pairs(fidelity: float, qber: float) -> None:
    between = Between(fidelity, terms=Terms(block_bits=4096))
    between.measure(12_000)
    leader, follower = between.key
    assert leader == follower
    assert between.leader.tally.secret_bits_total == between.follower.tally.secret_bits_total > 0
    assert between.leader.tally.qber_ratio == pytest.approx(qber, abs=0.015)
    assert between.leader.tally.corrected_bits_total / between.leader.tally.key_bits_total == pytest.approx(
        qber, abs=0.01
    )


def test_where_pairs_are_few_what_there_is_makes_a_block_after_a_while() -> None:
    between = Between(0.99, terms=Terms(block_bits=100_000, block_seconds=12.0))
    between.measure(2_300)
    assert between.leader.tally.blocks_total == 0
    between.measure(1_700)
    assert between.leader.tally.blocks_total == 1
    assert between.leader.tally.secret_bits_total > 0


def test_pairs_that_anybody_may_have_listened_to_give_no_key() -> None:
    between = Between(0.83)
    between.measure(6_000)
    assert between.key == ({}, {})
    assert between.leader.tally.blocks_total == between.leader.tally.blocks_without_key_total > 0


def test_no_key_is_told() -> None:
    between = Between(0.99)
    between.measure(8_000)
    keys = list(between.key[0].values())
    assert keys
    assert not any(key[i : i + 8] in data for key in keys for i in range(0, 56, 8) for data in between.said)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from([0.001, 0.01, 0.1]))
def test_whatever_is_lost_on_the_way_no_number_ever_names_two_keys(seed: int, loses: float) -> None:
    between = Between(0.99, loses=loses, seed=seed)
    for _ in range(4):
        between.measure(1_500)
        between.now += TERMS.patience_seconds
        between.talk()
    leader, follower = between.key
    assert all(leader[number] == follower[number] for number in leader.keys() & follower.keys())


def test_a_run_that_began_at_one_end_alone_gives_no_key() -> None:
    between = Between(0.99)
    between.measure(500)
    between.leader.new_run("p")
    # The leader's numbers begin anew; the follower measures on by the old ones.
    for number in range(1, 5_000):
        between.now += 0.005
        between.leader.measured("p", number, Basis(number % 2), number % 3 % 2, between.now)
        between.follower.measured("p", number, Basis(number % 2), number % 5 % 2, between.now)
        if number % 100 == 0:
            between.talk()
    assert between.key == ({}, {})


def test_pairs_that_come_over_several_paths_at_once_all_make_key() -> None:
    between = Between(0.99, paths=("over-one", "over-another", "over-a-third"))
    between.measure(6_000)
    one = Between(0.99)
    one.measure(6_000)
    assert between.key[0] == between.key[1]
    assert between.leader.tally.key_bits_total == pytest.approx(one.leader.tally.key_bits_total, rel=0.1)
    assert between.leader.tally.blocks_total == one.leader.tally.blocks_total > 0


def test_a_path_that_comes_or_goes_costs_nothing_of_what_was_compared() -> None:
    between = Between(0.99, terms=Terms(block_bits=4096))
    between.measure(4_000)
    compared = between.leader.sifted.key_bits
    assert compared > 1_000
    for end in (between.leader, between.follower):
        end.new_run("another")
    between.numbers = {"another": 0}
    for end in (between.follower, between.leader):
        end.end_run("p")
    between.measure(400)
    assert between.leader.sifted.key_bits == between.follower.sifted.key_bits > compared
    assert between.leader.tally.disagreements == 0


def test_a_path_that_ends_while_the_other_end_compares_it_disturbs_nothing() -> None:
    between = Between(0.99)
    between.measure(100)
    between.leader.measured("p", 101, Basis.Z, 1, between.now)
    between.follower.measured("p", 101, Basis.Z, 1, between.now)
    between.now += TERMS.lag_seconds
    asked = between.leader.poll(between.now)
    assert asked is not None
    answer = between.follower.receive(asked, between.now)
    between.leader.end_run("p")
    assert answer is not None
    assert between.leader.receive(answer, between.now) is not None
    assert between.leader.sifted.key_bits == between.follower.sifted.key_bits
    assert between.leader.tally.disagreements == 0


def test_an_end_that_has_used_higher_numbers_is_never_given_lower_ones() -> None:
    between = Between(0.99)
    between.measure(200)
    between.follower.begin_from(1_000)
    between.measure(10_000)
    assert min(between.key[1]) >= 1_000
    assert between.key[0] == between.key[1]


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_a_message_that_cannot_be_ends_the_discussion_and_nothing_else(data: st.DataObject) -> None:
    between = Between(0.99)
    between.measure(300)
    end = data.draw(st.sampled_from([between.leader, between.follower]))
    hostile = pb.PairKeyMessage(session=end._session)
    kind = data.draw(st.sampled_from([field.name for field in pb.PairKeyMessage.DESCRIPTOR.fields[1:]]))
    body = getattr(hostile, kind)
    body.SetInParent()
    for field in body.DESCRIPTOR.fields:
        if field.is_repeated:
            getattr(body, field.name).extend(data.draw(st.lists(st.integers(0, 2**32 - 1), max_size=3)))
        elif field.type == field.TYPE_BYTES:
            setattr(body, field.name, data.draw(st.binary(max_size=40)))
        elif field.type == field.TYPE_STRING:
            setattr(body, field.name, data.draw(st.sampled_from(["p", "another", ""])))
        elif field.type == field.TYPE_DOUBLE:
            setattr(body, field.name, data.draw(st.floats()))
        elif field.type == field.TYPE_BOOL:
            setattr(body, field.name, data.draw(st.booleans()))
        else:
            setattr(body, field.name, data.draw(st.integers(0, 2**32 - 1)))
    end.receive(hostile, between.now)
    between.now += 2 * TERMS.patience_seconds
    between.talk()
    between.measure(200)
    assert between.key[0] == between.key[1] == {}
