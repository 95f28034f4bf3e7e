"""The cuts that are named are those without which two nodes are apart, and no others."""

from random import Random

from keyweave.common.names import LinkName, NodeName
from keyweave.controller.routing.cuts import Cuts
from keyweave.controller.routing.network import Scope, Terrain
from keyweave.controller.topology import Hop

Ends = dict[LinkName, tuple[NodeName, NodeName]]


def _ground(nodes: list[NodeName], links: Ends) -> Terrain:
    hops: dict[NodeName, tuple[Hop, ...]] = {
        node: tuple(
            Hop(name, node, b if node == a else a) for name, (a, b) in links.items() if node in (a, b)
        )
        for node in nodes
    }
    return Terrain(hops, {}, {}, {}, frozenset(), {})


def _joined(links: Ends, source: NodeName, target: NodeName, without: set[NodeName]) -> bool:
    reached, grew = {source}, True
    while grew:
        before = len(reached)
        for ends in links.values():
            if without.isdisjoint(ends) and not reached.isdisjoint(ends):
                reached.update(ends)
        grew = len(reached) > before
    return target in reached


def test_cuts_are_the_links_and_nodes_without_which_there_is_no_way() -> None:
    with_cuts = without_cuts = apart = 0
    for seed in range(400):
        draw = Random(seed)
        nodes = [NodeName(f"n{i}") for i in range(draw.randint(3, 9))]
        links: Ends = {}
        for i in range(draw.randint(2, 14)):
            a, b = draw.sample(nodes, 2)
            links[LinkName(f"l{i}")] = (a, b)
        source, target, resting = draw.sample(nodes, 3)
        barred = {resting} if draw.random() < 0.5 else set[NodeName]()
        scope = Scope(source, target, frozenset(barred), len(nodes), limited=False)
        count, cut = Cuts(_ground(nodes, links)).between(scope)
        if not _joined(links, source, target, barred):
            apart += 1
            assert (count, cut) == (0, ())
            continue
        inner = set(nodes) - {source, target} - barred
        needed = {f"node {node}" for node in inner if not _joined(links, source, target, barred | {node})}
        needed |= {
            f"link {name}"
            for name in links
            if not _joined({n: e for n, e in links.items() if n != name}, source, target, barred)
        }
        with_cuts, without_cuts = with_cuts + bool(needed), without_cuts + (not needed)
        assert (count, set(cut)) == (1 if needed else 2, needed)
        assert len(set(cut)) == len(cut)
    assert min(with_cuts, without_cuts, apart) > 20


def test_cuts_are_named_from_the_source_whichever_route_is_known() -> None:
    a, b, c, d = (NodeName(name) for name in "abcd")
    links: Ends = {
        LinkName("ab"): (a, b),
        LinkName("bc"): (b, c),
        LinkName("bc2"): (b, c),
        LinkName("cd"): (c, d),
    }
    cuts = Cuts(_ground([a, b, c, d], links))
    forward = Scope(a, d, frozenset(), 3, limited=False)
    named = (1, ("link ab", "node b", "node c", "link cd"))
    known = (Hop(LinkName("ab"), a, b), Hop(LinkName("bc2"), b, c), Hop(LinkName("cd"), c, d))
    assert cuts.between(forward) == cuts.between(forward, known) == named
    assert cuts.between(Scope(d, a, frozenset(), 3, limited=False)) == (1, named[1][::-1])
