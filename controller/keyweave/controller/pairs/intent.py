"""Pair streams as operators write them: what does not fit together. Pure."""

from collections.abc import Iterable, Mapping

from keyweave.common.errors import Violation
from keyweave.common.names import LinkName, NodeName, StreamName
from keyweave.common.near import instead_of
from keyweave.v1 import pairs_pb2, types_pb2


def pair_stream_violations(
    nodes: Mapping[NodeName, types_pb2.Node],
    links: Mapping[LinkName, types_pb2.Link],
    known: Mapping[StreamName, pairs_pb2.PairStream],
    spec: pairs_pb2.PairStream,
) -> Iterable[Violation]:
    """What does not fit of a pair stream beside everything else that operators want."""
    for field in ("source_node", "target_node"):
        yield from _unknown(nodes, field, getattr(spec, field))
    if spec.source_node == spec.target_node:
        yield Violation("target_node", f"is '{spec.target_node}' like source_node; name two different nodes")
    for index, name in enumerate(spec.avoid_nodes):
        yield from _unknown(nodes, f"avoid_nodes[{index}]", name)
        if name in {spec.source_node, spec.target_node}:
            yield Violation(
                f"avoid_nodes[{index}]", f"'{name}' is an end of the stream; it cannot be avoided"
            )
    yield from _key_link(links, known, spec)
    present = known.get(StreamName(spec.name))
    if present is not None:
        for field in ("source_node", "target_node", "key_link"):
            if getattr(spec, field) != getattr(present, field):
                yield Violation(field, "cannot be changed; create another pair stream")


def _unknown(nodes: Mapping[NodeName, types_pb2.Node], field: str, name: str) -> Iterable[Violation]:
    if name not in nodes:
        yield Violation(field, f"there is no node '{name}'; {instead_of(name, nodes)}")


def _key_link(
    links: Mapping[LinkName, types_pb2.Link],
    known: Mapping[StreamName, pairs_pb2.PairStream],
    spec: pairs_pb2.PairStream,
) -> Iterable[Violation]:
    if not spec.key_link:
        return
    if spec.kind != pairs_pb2.PAIR_KIND_MEASURE_DIRECTLY:
        yield Violation(
            "key_link", "keys are made of pairs that are measured at once; choose kind md, or leave it out"
        )
    present = known.get(StreamName(spec.name))
    if LinkName(spec.key_link) in links and (present is None or present.key_link != spec.key_link):
        yield Violation("key_link", f"there is a link '{spec.key_link}' already; choose another name")


def key_link_of(spec: pairs_pb2.PairStream) -> types_pb2.Link | None:
    """The virtual link that the keys of a pair stream feed, if they do."""
    if not spec.key_link:
        return None
    return types_pb2.Link(
        name=spec.key_link,
        a_node=min(spec.source_node, spec.target_node),
        b_node=max(spec.source_node, spec.target_node),
        technology=types_pb2.LINK_TECHNOLOGY_ENTANGLED,
    )
