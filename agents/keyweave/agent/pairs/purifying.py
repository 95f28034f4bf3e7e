"""Two pairs with one partner become one of the next round, or none.

The end nearer to the source begins: it does its half, measures one pair, and says so; the other end does its
own and says so too. Where outcomes agree the pair that is kept has one more round behind it.
"""

from keyweave.agent.drivers.memories import Purify
from keyweave.agent.pairs.outbox import gone
from keyweave.agent.pairs.pair import Doing, Pair
from keyweave.agent.pairs.steps import PathRule
from keyweave.agent.pairs.stock import Ending, Stock
from keyweave.common.names import NodeName
from keyweave.v1 import pairs_pb2 as pb


class Rounds:
    """Those of one node."""

    def __init__(self, stock: Stock) -> None:
        self._stock = stock

    def begin(self, kept: Pair, measured: Pair) -> None:
        """As the end nearer to the source."""
        self._do_half(kept, measured, begins=True)

    def _do_half(self, kept: Pair, measured: Pair, *, begins: bool) -> None:
        self._stock.busy(kept, Doing.PURIFYING)
        self._stock.busy(measured, Doing.SPENT)
        kept.mate, measured.mate = measured, kept
        kept.begins = begins
        self._stock.out.command(Purify(kept.memory, measured.memory))

    def done_half(self, measured: Pair, outcome: bool) -> None:
        """The device has measured the one that is spent."""
        kept = measured.mate
        self._stock.consumed(measured, Ending.SPENT)
        if kept is None or self._stock.pairs.get(kept.pair_id) is not kept or kept.mate is not measured:
            # The one to be kept went meanwhile: for the other end this one is as good as gone too.
            self._stock.out.post(measured.partner, measured.path, gone(measured.pair_id, "of a broken round"))
            return
        if kept.begins:
            kept.outcome, kept.mate = outcome, None
            told = pb.PairPurifying(
                kept_pair_id=kept.pair_id,
                measured_pair_id=measured.pair_id,
                round=kept.rounds + 1,
                outcome=outcome,
            )
            self._stock.out.post(kept.partner, kept.path, pb.PairMessage(purifying=told))
            return
        assert kept.outcome is not None  # what the other end told
        answer = pb.PairPurified(kept_pair_id=kept.pair_id, outcome=outcome)
        self._stock.out.post(kept.partner, kept.path, pb.PairMessage(purified=answer))
        self._conclude(kept, kept.outcome == outcome)

    def told_begun(self, kept: Pair, told: pb.PairPurifying) -> None:
        """The other end has done its half: do ours, if we still can."""
        measured = self._stock.pairs.get(told.measured_pair_id)
        if (
            measured is None
            or measured is kept
            or measured.partner != kept.partner
            or measured.path is not kept.path
            or not kept.path.nearer_to_target(kept.partner)
            or {kept.doing, measured.doing} != {Doing.WAITING}
            or not kept.rounds == measured.rounds == told.round - 1
        ):
            self.too_late(kept.partner, kept.path, told)
            return
        kept.outcome = told.outcome
        self._do_half(kept, measured, begins=False)

    def told_done(self, kept: Pair, told: pb.PairPurified) -> None:
        """The other end has done its half too."""
        if kept.doing is not Doing.PURIFYING or not kept.begins or kept.outcome is None:
            return
        self._conclude(kept, kept.outcome == told.outcome)

    def _conclude(self, kept: Pair, succeeded: bool) -> None:
        if succeeded:
            self._stock.becomes(kept, kept.pair_id, kept.partner, kept.rounds + 1)
        else:
            self._stock.give_up(kept, Ending.PURIFICATION_FAILED, "outcomes differ", tell=False)

    def too_late(self, sender: NodeName, path: PathRule, told: pb.PairPurifying) -> None:
        """One of the two is not here any more, so the other one is of no use."""
        for pair_id in (told.kept_pair_id, told.measured_pair_id):
            pair = self._stock.pairs.get(pair_id)
            if pair is not None and pair.partner == sender and pair.doing is Doing.WAITING:
                self._stock.give_up(pair, Ending.PURIFICATION_FAILED, "a broken round", tell=False)
        self._stock.out.post(sender, path, gone(told.kept_pair_id, "the round cannot be done"))
