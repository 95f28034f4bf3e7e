"""Two pairs with this node between become one without it."""

import math
import secrets

from keyweave.agent.drivers.memories import Correct, Swap, Swapped
from keyweave.agent.pairs.outbox import gone
from keyweave.agent.pairs.pair import PAIR_ID_BYTES, Doing, Moment, Pair
from keyweave.agent.pairs.steps import PathRule
from keyweave.agent.pairs.stock import Ending, Stock
from keyweave.common.names import NodeName
from keyweave.v1 import pairs_pb2 as pb


class Swaps:
    """Those of one node, and what others tell it of theirs."""

    def __init__(self, stock: Stock) -> None:
        self._stock = stock
        self.total = 0
        self.succeeded_total = 0

    def begin(self, one: Pair, other: Pair) -> None:
        """Have the device measure both."""
        for pair, mate in ((one, other), (other, one)):
            self._stock.busy(pair, Doing.SWAPPING)
            pair.mate = mate
        self._stock.out.command(Swap(one.memory, other.memory))

    def done(self, event: Swapped, now: Moment) -> None:
        """The device has: tell both others."""
        one = self._stock.in_memory(event.first)
        if one is None or one.mate is None or one.doing is not Doing.SWAPPING:
            return
        other = one.mate
        self.total += 1
        self.succeeded_total += event.succeeded
        ending = Ending.SWAPPED if event.succeeded else Ending.SWAP_FAILED
        for pair in (one, other):
            self._stock.consumed(pair, ending)
        new_pair_id = secrets.token_bytes(PAIR_ID_BYTES)
        age = max(0.0, now.seconds - min(one.born, other.born))
        for pair, mate in ((one, other), (other, one)):
            told = pb.PairSwapped(
                pair_id=pair.pair_id,
                new_pair_id=new_pair_id,
                partner=mate.partner,
                x=event.x,
                z=event.z,
                oldest_unix_nanos=now.unix_nanos - int(age * 1e9),
                failed=not event.succeeded,
                age_seconds=age,
            )
            self._stock.out.post(pair.partner, pair.path, pb.PairMessage(swapped=told))

    def told(self, pair: Pair, swapped: pb.PairSwapped, now: Moment) -> None:
        """The node that holds the other half has swapped it."""
        partner = NodeName(swapped.partner)
        if not _lies_between(pair, partner) or not self._stock.is_new(swapped.new_pair_id):
            self._stock.give_up(pair, Ending.GONE, "swapped as it cannot have been", tell=False)
            return
        if swapped.failed:
            self._stock.give_up(pair, Ending.SWAP_FAILED, "the swap failed", tell=False)
            return
        if pair.doing is not Doing.WAITING:
            # Our half is under way to something else: nobody can use the new pair.
            self._stock.out.post(partner, pair.path, gone(swapped.new_pair_id, "in use for something else"))
            self._stock.never_was(swapped.new_pair_id)
            return
        if (swapped.x or swapped.z) and pair.path.nearer_to_target(partner):
            self._stock.out.command(Correct(pair.memory, swapped.x, swapped.z))
        age = swapped.age_seconds if math.isfinite(swapped.age_seconds) else 0.0
        pair.born = min(pair.born, now.seconds - max(0.0, age))
        self._stock.becomes(pair, swapped.new_pair_id, partner, 0)

    def too_late(self, path: PathRule, swapped: pb.PairSwapped) -> None:
        """Of a half that is not here any more: whoever shares the new pair with nobody is told."""
        if not swapped.failed and swapped.partner in path.nodes:
            self._stock.never_was(swapped.new_pair_id)
            self._stock.out.post(
                NodeName(swapped.partner), path, gone(swapped.new_pair_id, "given up before")
            )


def _lies_between(pair: Pair, partner: NodeName) -> bool:
    """Whether who held the other half lies between this node and the new partner."""
    nodes = pair.path.nodes
    if partner not in nodes:
        return False
    here, there, beyond = pair.path.position, nodes.index(pair.partner), nodes.index(partner)
    return here < there < beyond or here > there > beyond
