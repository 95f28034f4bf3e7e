"""Whether the network can give what a new pair stream asks for, told before it is taken on."""

from dataclasses import dataclass
from functools import partial
from typing import Any

from keyweave.common.errors import InvalidInputError
from keyweave.controller.intent import etag_of
from keyweave.controller.optimiser import in_thread
from keyweave.controller.pairs.intent import key_link_of
from keyweave.controller.pairs.streams import NANOS, pair_stream_of
from keyweave.controller.pairs.supply import PairSupply
from keyweave.controller.routing.entanglement.serve import Served, admit
from keyweave.v1 import pairs_pb2, types_pb2


@dataclass(frozen=True, slots=True)
class PairOffer:
    """The answer to one who asks for pairs."""

    accepted: bool
    words: str
    predicted_rate_hz: float = 0.0
    predicted_fidelity: float = 0.0

    @property
    def content(self) -> dict[str, Any]:
        """As fields of an answer."""
        return {
            "predicted_rate_hz": self.predicted_rate_hz,
            "predicted_fidelity": self.predicted_fidelity,
            "answer": self.words,
        }


async def offered(pairs: PairSupply, spec: pairs_pb2.PairStream, now: float) -> PairOffer:
    """What the network can give; InvalidInputError for what no network could."""
    _check_time(spec, now)
    stream = pair_stream_of(spec)
    network, demands, previous = pairs.basis(without=stream.name)
    if not network.links:
        return PairOffer(False, "no link that makes pairs has been measured yet; try again in a moment")
    work = partial(admit, network, demands, stream.demand(), previous)
    admission = await in_thread(work, "admit-pairs")
    if not isinstance(admission.answer, Served):
        return PairOffer(False, admission.words)
    rate = min(admission.answer.rate_hz * (1 - stream.test_ratio), stream.rate_hz)
    return PairOffer(admission.accepted, admission.words, rate, admission.answer.fidelity)


def _check_time(spec: pairs_pb2.PairStream, now: float) -> None:
    if not spec.deadline_unix_nanos:
        return
    left = spec.deadline_unix_nanos / NANOS - now
    if left <= 0:
        raise InvalidInputError.of("pair_stream.deadline_unix_nanos", "has passed; name a time to come")
    if spec.pair_count > spec.rate_hz * left:
        raise InvalidInputError.of(
            "pair_stream.pair_count",
            f"{spec.pair_count} pairs at {spec.rate_hz:g} a second take "
            f"{spec.pair_count / spec.rate_hz:.0f} s, and the deadline is in {left:.0f} s; raise rate_hz or "
            "name a later one",
        )


def new_key_link(spec: pairs_pb2.PairStream) -> types_pb2.Link | None:
    """The virtual link that comes with a pair stream, as it is stored."""
    link = key_link_of(spec)
    if link is not None:
        link.revision = 1
        link.etag = etag_of(link)
    return link
