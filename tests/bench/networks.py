"""Networks of the benchmarks: three real topologies from topohub, and a large random one.

Lengths are the great-circle distances that topohub gives; a link's usable rate falls by 0.2 dB/km from
100 kbit/s at no distance, as of a decoy-state BB84 link, times a factor of 0.5 to 1.5 that differs from
link to link; it is 1 kbit/s at least: longer spans have amplifiers' huts where a real operator would put a
trusted node. Streams join random pairs of nodes; a tenth of them asks for two disjoint paths, but may go on
with one. All of it depends on the seed only.
"""

import json
from collections.abc import Sequence
from dataclasses import replace
from importlib.resources import files
from math import inf
from random import Random

from keyweave.common.names import LinkName, NodeName, SaeId, StreamName
from keyweave.controller.topology import Condition, Link, LinkView, Node, Snapshot, Stream

# One end, other end, length in km.
Span = tuple[str, str, float]

_RATE_AT_0_KM_BPS = 100_000.0
_LOSS_DB_PER_KM = 0.2
_LEAST_RATE_BPS = 1000.0
_TWO_SHARES_RATIO = 0.1


def surfnet(streams: int = 1000, seed: int = 1) -> Snapshot:
    """The Dutch research network: 50 nodes, 68 links."""
    return network(_spans("topozoo/Surfnet"), streams, seed)


def vtlwavenet2011(streams: int = 1000, seed: int = 1) -> Snapshot:
    """A European wavelength network: 91 nodes, 93 links, 45 of them bridges."""
    return network(_spans("topozoo/VtlWavenet2011"), streams, seed)


def germany50(streams: int = 1000, seed: int = 1) -> Snapshot:
    """SNDlib's German backbone: 50 nodes, 88 links."""
    return network(_spans("sndlib/germany50"), streams, seed)


def large(streams: int = 10_000, seed: int = 1, nodes: int = 1000, links: int = 3000) -> Snapshot:
    """A random geometric network: each node is joined to near ones, and all hang together.

    Nodes lie in a square of 300 km by 300 km per 1,000; links join the nearest pairs that the drawing of a
    random spanning tree has not joined.
    """
    draw = Random(seed)
    side = 300.0 * (nodes / 1000) ** 0.5
    places = [(draw.uniform(0, side), draw.uniform(0, side)) for _ in range(nodes)]

    def distance(a: int, b: int) -> float:
        (ax, ay), (bx, by) = places[a], places[b]
        return float(((ax - bx) ** 2 + (ay - by) ** 2) ** 0.5)

    pairs = {(min(range(i), key=lambda j, i=i: distance(i, j)), i) for i in range(1, nodes)}  # type: ignore[misc]
    near = sorted((distance(a, b), a, b) for a in range(nodes) for b in range(a + 1, nodes))
    for _, a, b in near:
        if len(pairs) == links:
            break
        pairs.add((a, b))
    spans = [(f"n{a}", f"n{b}", distance(a, b)) for a, b in sorted(pairs)]
    return network(spans, streams, seed)


def network(spans: Sequence[Span], streams: int, seed: int) -> Snapshot:
    """A snapshot in which every link is up and has told its rate."""
    draw = Random(seed)
    names = sorted({end for a, b, _ in spans for end in (a, b)})
    nodes = {NodeName(n): Node(NodeName(n), key_plane_address=f"{n}:7000") for n in names}
    views = (_view(f"l{i}", span, draw.uniform(0.5, 1.5)) for i, span in enumerate(spans))
    links = {view.link.name: view for view in views}
    return Snapshot(
        1, nodes, dict(sorted(links.items())), dict(sorted(_streams(names, streams, draw).items()))
    )


def down(before: Snapshot, link: LinkName) -> Snapshot:
    """The network after a link went down."""
    view = replace(
        before.links[link],
        condition=Condition.DOWN,
        usable_rate_bps=0.0,
        takes_paths=False,
        keeps_paths=False,
    )
    return replace(before, version=before.version + 1, links={**before.links, link: view})


def _spans(name: str) -> list[Span]:
    # Not by topohub.get, which leaves the file open.
    topology = json.loads((files("topohub") / "data" / f"{name}.json").read_text("utf-8"))
    return [(f"n{one['source']}", f"n{one['target']}", float(one["dist"])) for one in topology["edges"]]


def _view(name: str, span: Span, factor: float) -> LinkView:
    a, b, length_km = span
    rate = max(_LEAST_RATE_BPS, _RATE_AT_0_KM_BPS * 10 ** (-_LOSS_DB_PER_KM * length_km / 10)) * factor
    return LinkView(
        link=Link(LinkName(name), NodeName(a), NodeName(b), length_km=length_km),
        condition=Condition.OK,
        reason="as the benchmark says",
        qber_ratio=0.02,
        skr_bps=rate,
        usable_rate_bps=rate,
        pool_bits=1_000_000,
        keeps_paths=True,
        takes_paths=True,
    )


def _streams(nodes: Sequence[str], count: int, draw: Random) -> dict[StreamName, Stream]:
    found: dict[StreamName, Stream] = {}
    for i in range(count):
        source, target = draw.sample(nodes, 2)
        name = StreamName(f"s{i}")
        found[name] = Stream(
            name=name,
            source=NodeName(source),
            target=NodeName(target),
            source_sae=SaeId(f"{name}-source"),
            target_sae=SaeId(f"{name}-target"),
            max_rate_bps=inf,
            k=2 if draw.random() < _TWO_SHARES_RATIO else 1,
        )
    return found
