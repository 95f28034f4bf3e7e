"""Why a pair stream is served as it is, in words. Pure."""

import math
from collections.abc import Iterator, Mapping

from keyweave.common.names import LinkName, NodeName
from keyweave.controller.pairs.book import LinkState
from keyweave.controller.pairs.served import PairStreamView, State
from keyweave.controller.pairs.streams import PairStream, PairWay
from keyweave.controller.routing.entanglement.offers import Offers
from keyweave.controller.routing.entanglement.repeaters import PairLink, RepeaterNetwork
from keyweave.controller.routing.entanglement.serve import Refused
from keyweave.controller.topology import Condition

_SHOWN = 3
# How much better a link is supposed to be where it is asked what that would bring.
_BETTER_STATE = 0.5
# Below this share of what was predicted it is said why that may be.
_AS_PREDICTED = 0.85
_NAMES = {"nl": "network layer", "ck": "create and keep", "md": "measure directly"}


def explain(view: PairStreamView, links: Mapping[LinkName, LinkState], network: RepeaterNetwork) -> list[str]:
    """What it asks for, what it gets and why, what else could be had, and what would give more."""
    stream = view.stream
    lines = [_asked(stream), *_stands(view)]
    for way in view.ways:
        lines += _way(way, links)
    if view.ways:
        lines += _measured(view)
    if view.state is not State.ENDED:
        lines += _out_of_use(links)
        lines += _others(view, network)
    return lines


def _asked(stream: PairStream) -> str:
    said = (
        f"'{stream.name}' asks for {stream.rate_hz:g} pairs/s of fidelity {stream.min_fidelity:g} or better "
        f"between '{stream.source}' and '{stream.target}' ({_NAMES[stream.kind]}, priority {stream.priority})"
    )
    if stream.pair_count:
        said += f", {stream.pair_count} pairs in all"
    return said + (f"; keys of them feed link '{stream.key_link}'" if stream.key_link else "")


def _stands(view: PairStreamView) -> Iterator[str]:
    reason = f": {view.reason}" if view.reason else ""
    yield f"it is {view.state}{reason}"
    if isinstance(view.answer, Refused):
        for one in view.answer.alternatives[:_SHOWN]:
            rounds = f", {_rounds(one.rounds)}" if one.rounds else ""
            what = f"{one.fidelity:.3f} at {one.rate_hz:.3g} pairs/s over {one.hops} hops"
            yield f"  could be had: {what}{rounds}"


def _way(way: PairWay, links: Mapping[LinkName, LinkState]) -> Iterator[str]:
    path = way.path
    yield (
        f"path {way.path_id}: {' - '.join(path.nodes)}, {path.predicted_rate_hz:.3g} pairs/s of fidelity "
        f"{path.predicted_fidelity:.3f} predicted"
    )
    for hop, link in enumerate(path.links):
        state = links.get(link)
        made = "not known now"
        if state is not None and state.fidelity is not None:
            made = f"{state.pair_rate_hz:.3g} pairs/s a memory of fidelity {state.fidelity.fidelity:.3f}"
        rounds, cutoff = path.rounds[hop], path.cutoff_seconds[hop]
        how = [f"{_counted(path.width[hop], 'memory', 'memories')} at either end"]
        how += [_rounds(rounds)] if rounds else []
        how += [f"given up after {cutoff:.3g} s"] if math.isfinite(cutoff) else []
        yield f"  link '{link}': {made}; {', '.join(how)}"
    if path.swap_order:
        order = ", then ".join(" and ".join(level) for level in path.swap_order)
        yield f"  swaps at {order}"
    if path.end_rounds:
        yield f"  {_rounds(path.end_rounds)} from end to end"


def _rounds(number: int) -> str:
    return _counted(number, "round of purification", "rounds of purification")


def _counted(number: int, noun: str, many: str) -> str:
    return f"{number} {noun if number == 1 else many}"


def _measured(view: PairStreamView) -> Iterator[str]:
    said = f"{view.delivered_rate_hz:.3g} pairs/s are delivered, {view.predicted_rate_hz:.3g} predicted"
    if view.measured is not None:
        found = view.measured
        said += (
            f"; fidelity {found.fidelity:.3f} ({found.low:.3f} to {found.high:.3f} with 95 % confidence), "
            f"{view.predicted_fidelity:.3f} predicted"
        )
    yield said
    if view.came is not None:
        came = view.came
        told = (
            f"of {came.predicted:.0f} pairs predicted in {came.seconds:.0f} s, {came.pairs} came "
            f"({came.ratio:.0%})"
        )
        if came.ratio < _AS_PREDICTED:
            expected = came.ratio * view.predicted_rate_hz
            told += (
                f": agents or the network between them take time that prediction leaves out; {expected:.3g} "
                "pairs/s are to be expected"
            )
        yield told


def _out_of_use(links: Mapping[LinkName, LinkState]) -> Iterator[str]:
    for name, link in sorted(links.items()):
        if link.condition is not Condition.OK:
            yield f"link '{name}' ({link.a} - {link.b}) is {link.condition}: {link.reason}"


def _others(view: PairStreamView, network: RepeaterNetwork) -> Iterator[str]:
    """Runners-up, and what a better link or more memories would bring."""
    demand = view.stream.demand()
    if not {demand.source, demand.target} <= network.nodes.keys():
        return
    used = {way.path.lane for way in view.ways}
    good, poor = Offers(network).of(demand)
    for one in [offer for offer in good if offer.lane not in used][:_SHOWN]:
        yield (
            f"runner-up: {' - '.join(one.lane.nodes)}, {one.rate_hz:.3g} pairs/s a lane of fidelity "
            f"{one.fidelity:.3f}, {sum(one.memories.values())} memories"
        )
    yield from _bottleneck(view, network)
    best = max((offer.fidelity for offer in good + poor), default=0.0)
    if not view.ways and poor:
        way = max(poor, key=lambda offer: offer.fidelity)
        worst = min((network.links[link] for link in way.lane.links), key=lambda link: link.state.fidelity)
        better = Offers(_with(network, _improved(worst))).of(demand)
        reach = max((offer.fidelity for side in better for offer in side), default=best)
        yield (
            f"fidelity is bound by link '{worst.name}' ({worst.state.fidelity:.3f}): half its errors would "
            f"give {reach:.3f} instead of {best:.3f}"
        )


def _bottleneck(view: PairStreamView, network: RepeaterNetwork) -> Iterator[str]:
    for way in view.ways:
        rates = [
            (width * network.links[link].pair_rate_hz, link)
            for link, width in zip(way.path.links, way.path.width, strict=True)
            if link in network.links
        ]
        if rates:
            rate, link = min(rates)
            yield f"rate is bound by link '{link}': {rate:.3g} pairs/s with the memories given to it"
    if view.state is State.PARTLY_MET:
        used: dict[NodeName, int] = {}
        for way in view.ways:
            for node, count in way.path.memories().items():
                used[node] = used.get(node, 0) + count
        shares = [(used[n] / network.nodes[n].memories, n) for n in network.nodes if used.get(n)]
        if shares:
            share, node = max(shares)
            yield f"memories are scarcest at '{node}': this stream has {share:.0%} of them; more would help"


def _improved(link: PairLink) -> PairLink:
    a, b, c, d = link.state
    state = type(link.state)(a + (1 - a) * _BETTER_STATE, *(each * _BETTER_STATE for each in (b, c, d)))
    return PairLink(link.name, link.a, link.b, link.pair_rate_hz, state, link.delay_seconds)


def _with(network: RepeaterNetwork, link: PairLink) -> RepeaterNetwork:
    return RepeaterNetwork(network.nodes, {**network.links, link.name: link})
