"""Small networks for tests: a snapshot from tuples, and rings, grids and random networks."""

from collections.abc import Iterable, Mapping, Sequence
from random import Random
from typing import Any

from keyweave.common.names import LinkName, NodeName, SaeId, StreamName
from keyweave.controller.topology import Condition, Link, LinkView, Node, Snapshot, Stream

# Name, one end, other end, usable rate in bit/s.
LinkRow = tuple[str, str, str, float]
_KEEPING = (Condition.OK, Condition.DEGRADED, Condition.STALE)
_TAKING = (Condition.OK, Condition.DEGRADED)


def stream(name: str, source: str, target: str, **fields: Any) -> Stream:
    """A stream between two nodes whose SAEs are named after it; `fields` are the others of `Stream`."""
    if "avoid_nodes" in fields:
        fields["avoid_nodes"] = frozenset(NodeName(node) for node in fields["avoid_nodes"])
    if "allowed_trust_domains" in fields:
        fields["allowed_trust_domains"] = frozenset(fields["allowed_trust_domains"])
    if "k" in fields:
        fields.setdefault("min_k", fields["k"])
    return Stream(
        name=StreamName(name),
        source=NodeName(source),
        target=NodeName(target),
        source_sae=SaeId(f"{name}-source"),
        target_sae=SaeId(f"{name}-target"),
        **fields,
    )


def snapshot(
    links: Iterable[LinkRow],
    streams: Iterable[Stream] = (),
    *,
    version: int = 1,
    conditions: Mapping[str, Condition] | None = None,
    risk_groups: Mapping[str, Iterable[str]] | None = None,
    trust_domains: Mapping[str, str] | None = None,
    maintenance: Iterable[str] = (),
    nodes: Iterable[str] = (),
) -> Snapshot:
    """A network; `risk_groups` by link name, `maintenance` names nodes, `nodes` adds lonely ones.

    Links in a condition other than OK or DEGRADED have a usable rate of 0, as estimation gives them.
    """
    rows = tuple(links)
    resting = set(maintenance)
    names = sorted({*nodes, *(end for _, a, b, _ in rows for end in (a, b))})
    return Snapshot(
        version=version,
        nodes={
            NodeName(name): Node(
                NodeName(name),
                trust_domain=(trust_domains or {}).get(name, ""),
                key_plane_address=f"{name}:7000",
                maintenance=name in resting,
            )
            for name in names
        },
        links={
            LinkName(name): link_view(
                (name, a, b, rate),
                (conditions or {}).get(name, Condition.OK),
                frozenset((risk_groups or {}).get(name, ())),
            )
            for name, a, b, rate in rows
        },
        streams={one.name: one for one in streams},
    )


def link_view(
    row: LinkRow, condition: Condition = Condition.OK, risk_groups: frozenset[str] = frozenset()
) -> LinkView:
    """One link as estimation would show it."""
    name, a, b, rate = row
    takes = condition in _TAKING
    return LinkView(
        link=Link(LinkName(name), NodeName(a), NodeName(b), length_km=10.0, risk_groups=risk_groups),
        condition=condition,
        reason="as the test says",
        qber_ratio=0.02,
        skr_bps=rate,
        usable_rate_bps=rate if takes else 0.0,
        pool_bits=1_000_000,
        keeps_paths=condition in _KEEPING,
        takes_paths=takes,
    )


def ring(size: int, rate_bps: float = 1000.0) -> list[LinkRow]:
    """Nodes n0 ... in a circle; link l0 joins n0 and n1, and so on."""
    return [(f"l{i}", f"n{i}", f"n{(i + 1) % size}", rate_bps) for i in range(size)]


def grid(width: int, height: int, rate_bps: float = 1000.0) -> list[LinkRow]:
    """Nodes n<x>-<y>, joined to their right and lower neighbours."""
    rows: list[LinkRow] = []
    for y in range(height):
        for x in range(width):
            if x + 1 < width:
                rows.append((f"h{x}-{y}", f"n{x}-{y}", f"n{x + 1}-{y}", rate_bps))
            if y + 1 < height:
                rows.append((f"v{x}-{y}", f"n{x}-{y}", f"n{x}-{y + 1}", rate_bps))
    return rows


def random_network(
    seed: int, nodes: int, links: int, rates_bps: Sequence[float] = (400.0, 1000.0, 2500.0, 9000.0, 30_000.0)
) -> list[LinkRow]:
    """A connected network: a random tree plus random further links, some of them parallel."""
    random = Random(seed)
    rows = [
        (f"l{i - 1}", f"n{i}", f"n{random.randrange(i)}", random.choice(rates_bps) * random.uniform(0.5, 1.5))
        for i in range(1, nodes)
    ]
    while len(rows) < links:
        a, b = random.sample(range(nodes), 2)
        rows.append((f"l{len(rows)}", f"n{a}", f"n{b}", random.choice(rates_bps) * random.uniform(0.5, 1.5)))
    return rows


def random_streams(seed: int, nodes: int, count: int, **fields: Any) -> list[Stream]:
    """Streams between random pairs of the nodes of `random_network`."""
    random = Random(seed)
    pairs = [random.sample(range(nodes), 2) for _ in range(count)]
    return [stream(f"s{i}", f"n{a}", f"n{b}", **fields) for i, (a, b) in enumerate(pairs)]
