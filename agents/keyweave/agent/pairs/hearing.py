"""What peers say of pairs: each message finds its half, waits for it, or is answered for it."""

from keyweave.agent.pairs.outbox import Outbox, gone
from keyweave.agent.pairs.pair import PAIR_ID_BYTES, Doing, Moment, Pair
from keyweave.agent.pairs.purifying import Rounds
from keyweave.agent.pairs.steps import PathRule
from keyweave.agent.pairs.stock import Ending, Stock
from keyweave.agent.pairs.swapping import Swaps
from keyweave.agent.pairs.using import Uses
from keyweave.common.names import NodeName
from keyweave.v1 import pairs_pb2 as pb


class Hearing:
    """Messages of all peers of one node."""

    def __init__(self, out: Outbox, stock: Stock, swaps: Swaps, rounds: Rounds, uses: Uses) -> None:
        self._out = out
        self._stock = stock
        self._swaps = swaps
        self._rounds = rounds
        self._uses = uses

    def told(self, sender: NodeName, path: PathRule | None, told: pb.PairMessages, now: Moment) -> None:
        """Messages about a path, in order; None where it is not in force here."""
        for message in told.messages:
            if path is None:
                self._answer_unknown(sender, told, message)
            elif sender in path.nodes:
                self._on_message(sender, path, message, now)

    def arrived(self, pair: Pair, now: Moment) -> None:
        """A half is here: what was told of it before counts now."""
        for sender, path, message in self._stock.early(pair.pair_id):
            self._on_message(sender, path, message, now)

    def _on_message(self, sender: NodeName, path: PathRule, message: pb.PairMessage, now: Moment) -> None:
        kind = message.WhichOneof("body")
        if kind is None:
            return
        if kind == "used":
            self._uses.told_used(sender, message.used, now)
            return
        if kind == "gone":
            self._gone(sender, message.gone.pair_id)
            return
        named = _named(message)
        if any(len(pair_id) != PAIR_ID_BYTES for pair_id in named):
            return
        self._on_named(sender, path, message, named, now)

    def _on_named(
        self,
        sender: NodeName,
        path: PathRule,
        message: pb.PairMessage,
        named: tuple[bytes, ...],
        now: Moment,
    ) -> None:
        for pair_id in named:
            pair = self._stock.pairs.get(pair_id)
            if pair is None or pair.partner != sender or pair.path.tag != path.tag:
                self._stock.keep_early(pair_id, (sender, path, message), now.seconds, self._too_late)
                return
        pair = self._stock.pairs[named[0]]
        match message.WhichOneof("body"):
            case "swapped":
                self._swaps.told(pair, message.swapped, now)
            case "purifying":
                self._rounds.told_begun(pair, message.purifying)
            case "purified":
                self._rounds.told_done(pair, message.purified)
            case "use":
                self._uses.told_use(pair, message.use, now)

    def _gone(self, sender: NodeName, pair_id: bytes) -> None:
        if len(pair_id) != PAIR_ID_BYTES:
            return
        self._uses.told_gone(sender, pair_id)
        pair = self._stock.pairs.get(pair_id)
        if pair is None:
            self._stock.gone_at(pair_id, sender)
        elif pair.partner == sender and pair.doing in (
            Doing.WAITING,
            Doing.PURIFYING,
            Doing.OFFERED,
            Doing.KEPT,
        ):
            self._stock.give_up(pair, Ending.GONE, "", tell=False)

    def _too_late(self, sender: NodeName, path: PathRule, message: pb.PairMessage) -> None:
        """The pair that a message is about is not here, nor will it be."""
        match message.WhichOneof("body"):
            case "swapped":
                self._swaps.too_late(path, message.swapped)
            case "purifying":
                self._rounds.too_late(sender, path, message.purifying)
            case "purified":
                self._out.post(sender, path, gone(message.purified.kept_pair_id, "not here"))
            case "use":
                self._out.post(sender, path, gone(message.use.pair_id, "not here"))

    def _answer_unknown(self, sender: NodeName, told: pb.PairMessages, message: pb.PairMessage) -> None:
        match message.WhichOneof("body"):
            case "swapped":
                # On the way through this node there is no path any more: its other end finds out by itself.
                pair_id = message.swapped.pair_id
            case "purifying" | "purified" | "use":
                pair_id = _named(message)[0]
            case _:
                return
        self._out.post_about(sender, told.stream, told.path_id, gone(pair_id, "the path is not in force"))


def _named(message: pb.PairMessage) -> tuple[bytes, ...]:
    """The pairs of the receiver's that a message is about."""
    match message.WhichOneof("body"):
        case "swapped":
            return (message.swapped.pair_id,)
        case "purifying":
            return message.purifying.kept_pair_id, message.purifying.measured_pair_id
        case "purified":
            return (message.purified.kept_pair_id,)
        case "use":
            return (message.use.pair_id,)
    return ()
