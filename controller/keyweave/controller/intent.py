"""What operators want of the network: checked as a whole, and read into the types that planning uses.

Intent is kept as the operator wrote it (zero means "the default") and defaults are filled in on the way
to the planner. So a default that depends on another field follows it: raising `k` raises a `min_k` that
was left open, where a stored number would silently become a weaker requirement.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeVar

from keyweave.common.errors import InvalidInputError, NotFoundError, PreconditionError, Violation
from keyweave.common.names import LinkName, NodeName, SaeId, StreamName
from keyweave.common.near import instead_of
from keyweave.controller.pairs.intent import pair_stream_violations
from keyweave.controller.planned_intent import schedule_violations, window_violations
from keyweave.controller.topology import DetectorLimits, Link, Node, OnExhaustion, Stream
from keyweave.v1 import pairs_pb2, types_pb2

Spec = (
    types_pb2.Node
    | types_pb2.Link
    | types_pb2.Stream
    | types_pb2.Maintenance
    | types_pb2.Schedule
    | pairs_pb2.PairStream
)
SpecType = TypeVar(
    "SpecType",
    types_pb2.Node,
    types_pb2.Link,
    types_pb2.Stream,
    types_pb2.Maintenance,
    types_pb2.Schedule,
    pairs_pb2.PairStream,
)

# QBER at which a link is aborted unless the operator says otherwise, by technology.
ABORT_QBER_RATIO: Mapping[int, float] = {
    # BB84 with one-way post-processing yields no secret bit from 11.0 % on: the root of 1 - 2 h(e) = 0
    # (Shor and Preskill, Phys. Rev. Lett. 85, 441, 2000). Two-way optics run the same protocols.
    types_pb2.LINK_TECHNOLOGY_DV_QKD: 0.11,
    types_pb2.LINK_TECHNOLOGY_DV_QKD_2WS: 0.11,
    # Coherent one-way bounds the eavesdropper by visibility as well as by QBER, so no bound on QBER alone
    # exists. An operating ceiling, ours: well above the 1 to 4 % of working links, well below 0.11.
    types_pb2.LINK_TECHNOLOGY_DV_QKD_COW: 0.06,
    # Continuous variables are judged by excess noise; a high error before reconciliation is normal.
    # 0.5 is a link that conveys nothing at all.
    types_pb2.LINK_TECHNOLOGY_CV_QKD: 0.5,
    # BBM92 has the secret fraction of BB84 (Bennett, Brassard and Mermin, Phys. Rev. Lett. 68, 557, 1992).
    types_pb2.LINK_TECHNOLOGY_ENTANGLED: 0.11,
}
# Share of the abort threshold from which a link counts as degraded.
DEGRADED_SHARE = 0.8
TECHNOLOGY_NAMES: Mapping[int, str] = {
    types_pb2.LINK_TECHNOLOGY_DV_QKD: "DV-QKD",
    types_pb2.LINK_TECHNOLOGY_DV_QKD_COW: "DV-QKD-COW",
    types_pb2.LINK_TECHNOLOGY_DV_QKD_2WS: "DV-QKD-2Ws",
    types_pb2.LINK_TECHNOLOGY_CV_QKD: "CV-QKD",
    types_pb2.LINK_TECHNOLOGY_ENTANGLED: "ENTANGLED",
}
DEFAULT_KEY_SIZE_BITS = 256
MIN_KEY_SIZE_BITS = 64
DEFAULT_REFRESH_SECONDS = 60
DEFAULT_KEY_TTL_SECONDS = 3600
DEFAULT_BUFFER_KEYS = 64

_ON_EXHAUSTION = {
    types_pb2.ON_EXHAUSTION_WAIT: OnExhaustion.WAIT,
    types_pb2.ON_EXHAUSTION_PQC: OnExhaustion.PQC,
    types_pb2.ON_EXHAUSTION_REFUSE: OnExhaustion.REFUSE,
}
_CAPITAL = re.compile(r"(?<!^)(?=[A-Z])")
_ADDRESS = re.compile(r"(\[[0-9a-fA-F:.]+\]|[^\s:\[\]]+):([0-9]{1,5})")


@dataclass(frozen=True, slots=True)
class Intent:
    """Everything that operators want, as they wrote it. Messages inside are never changed."""

    nodes: Mapping[NodeName, types_pb2.Node] = field(default_factory=dict)
    links: Mapping[LinkName, types_pb2.Link] = field(default_factory=dict)
    streams: Mapping[StreamName, types_pb2.Stream] = field(default_factory=dict)
    maintenances: Mapping[str, types_pb2.Maintenance] = field(default_factory=dict)
    schedules: Mapping[str, types_pb2.Schedule] = field(default_factory=dict)
    pair_streams: Mapping[StreamName, pairs_pb2.PairStream] = field(default_factory=dict)

    def of(self, kind: type[SpecType]) -> Mapping[str, SpecType]:
        """Everything of one kind, by name."""
        known: Mapping[str, SpecType] = getattr(self, _plural(kind))
        return known

    def get(self, kind: type[SpecType], name: str) -> SpecType:
        """The one of this name, or NotFoundError telling which there are."""
        known = self.of(kind)
        if name not in known:
            raise NotFoundError(f"there is no {kind_words(kind)} '{name}'; {instead_of(name, known)}")
        return known[name]

    def put(self, spec: SpecType) -> "Intent":
        """With `spec` in place of the one of its name, if any."""
        kind = type(spec)
        return replace(self, **{_plural(kind): {**self.of(kind), spec.name: spec}})  # type: ignore[arg-type]

    def without(self, kind: type[SpecType], name: str) -> "Intent":
        """Without the one of this name."""
        left = {known: spec for known, spec in self.of(kind).items() if known != name}
        return replace(self, **{_plural(kind): left})  # type: ignore[arg-type]  # the kind names the field


def _plural(kind: type[Spec]) -> str:
    return f"{kind_name(kind)}s"


def kind_name(kind: type[Spec]) -> str:
    """`node`, `link`, `stream`, `maintenance`, `schedule` or `pair_stream`."""
    return _CAPITAL.sub("_", kind.DESCRIPTOR.name).lower()


def kind_words(kind: type[Spec]) -> str:
    """The same for people."""
    return kind_name(kind).replace("_", " ")


def etag_of(spec: Spec) -> str:
    """What tells this state of an object from every other that it had or will have."""
    bare = type(spec)()
    bare.CopyFrom(spec)  # type: ignore[arg-type]  # of the same type, which mypy cannot follow
    bare.etag = ""
    content = bare.SerializeToString(deterministic=True)
    return hashlib.sha256(kind_name(type(spec)).encode() + b"\0" + content).hexdigest()[:16]


# ---- into the planner's types ----------------------------------------------------------------------


def node_of(spec: types_pb2.Node) -> Node:
    """A node as planning sees it."""
    return Node(
        name=NodeName(spec.name),
        trust_domain=spec.trust_domain,
        key_plane_address=spec.key_plane_address,
        maintenance=spec.maintenance,
        latitude_degrees=spec.latitude_degrees,
        longitude_degrees=spec.longitude_degrees,
    )


def link_of(spec: types_pb2.Link) -> Link:
    """A link as planning sees it, defaults filled in."""
    abort = spec.abort_qber_ratio or ABORT_QBER_RATIO[spec.technology]
    return Link(
        name=LinkName(spec.name),
        a=NodeName(spec.a_node),
        b=NodeName(spec.b_node),
        technology=TECHNOLOGY_NAMES[spec.technology],
        length_km=spec.length_km,
        risk_groups=frozenset(spec.risk_groups),
        abort_qber_ratio=abort,
        degraded_qber_ratio=spec.degraded_qber_ratio or DEGRADED_SHARE * abort,
        maintenance=spec.maintenance,
        disabled=spec.disabled,
        detector_limits=_detector_limits(spec),
    )


def _detector_limits(spec: types_pb2.Link) -> DetectorLimits:
    def said(field: str) -> float | None:
        return float(getattr(spec, field)) if spec.HasField(field) else None

    return DetectorLimits(
        max_count_rate_hz=said("max_detector_count_rate_hz"),
        max_dark_count_rate_hz=said("max_detector_dark_count_rate_hz"),
        min_efficiency_ratio=said("min_detector_efficiency_ratio"),
        max_temperature_celsius=said("max_detector_temperature_celsius"),
        min_bias_volts=said("min_detector_bias_volts"),
        max_bias_volts=said("max_detector_bias_volts"),
    )


def stream_of(spec: types_pb2.Stream) -> Stream:
    """A stream as planning sees it, defaults filled in."""
    default = OnExhaustion.WAIT if spec.require_qkd else OnExhaustion.PQC
    k = spec.k or 1
    return Stream(
        name=StreamName(spec.name),
        source=NodeName(spec.source_node),
        target=NodeName(spec.target_node),
        source_sae=SaeId(spec.source_sae),
        target_sae=SaeId(spec.target_sae),
        min_rate_bps=float(spec.min_rate_bps),
        max_rate_bps=float(spec.max_rate_bps or "inf"),
        priority=spec.priority,
        key_size_bits=spec.key_size_bits or DEFAULT_KEY_SIZE_BITS,
        k=k,
        min_k=spec.min_k or k,
        require_qkd=spec.require_qkd,
        require_pqc=spec.require_pqc or spec.pqc_only,
        max_hops=spec.max_hops or None,
        max_trusted_nodes=spec.max_trusted_nodes if spec.HasField("max_trusted_nodes") else None,
        avoid_nodes=frozenset(NodeName(name) for name in spec.avoid_nodes),
        allowed_trust_domains=frozenset(spec.allowed_trust_domains),
        tenant=spec.tenant,
        application_class=spec.application_class,
        refresh_seconds=spec.refresh_seconds or DEFAULT_REFRESH_SECONDS,
        key_ttl_seconds=spec.key_ttl_seconds or DEFAULT_KEY_TTL_SECONDS,
        refresh_from="stream" if spec.refresh_seconds else "default",
        key_ttl_from="stream" if spec.key_ttl_seconds else "default",
        on_exhaustion=_ON_EXHAUSTION.get(spec.on_exhaustion, default),
        buffer_keys=spec.buffer_keys or DEFAULT_BUFFER_KEYS,
        pqc_only=spec.pqc_only,
        revision=spec.revision,
    )


# ---- what fits together ----------------------------------------------------------------------------


def check(intent: Intent, spec: Spec) -> None:
    """InvalidInputError with everything that does not fit, were `spec` put into `intent`.

    The rules in the .proto (ranges, patterns) are checked before; these are the ones across fields and
    across objects. Field names are those of the request: `stream.min_k`.
    """
    if isinstance(spec, types_pb2.Node):
        found = list(_node_violations(spec))
    elif isinstance(spec, types_pb2.Link):
        found = list(_link_violations(intent, spec))
    elif isinstance(spec, types_pb2.Maintenance):
        found = list(window_violations(intent.nodes, intent.links, spec))
    elif isinstance(spec, types_pb2.Schedule):
        found = list(schedule_violations(intent.schedules.values(), spec))
    elif isinstance(spec, pairs_pb2.PairStream):
        found = list(pair_stream_violations(intent.nodes, intent.links, intent.pair_streams, spec))
    else:
        found = list(_stream_violations(intent, spec))
    if found:
        prefix = kind_name(type(spec))
        raise InvalidInputError(Violation(f"{prefix}.{v.field}", v.description) for v in found)


def check_unused(intent: Intent, node: NodeName) -> None:
    """PreconditionError naming the links and streams that need `node`, if any do."""
    links = [name for name, link in intent.links.items() if node in {link.a_node, link.b_node}]
    streams = [
        name
        for name, stream in intent.streams.items()
        if node in {stream.source_node, stream.target_node, *stream.avoid_nodes}
    ]
    users = [f"link '{name}'" for name in sorted(links)] + [f"stream '{name}'" for name in sorted(streams)]
    users += [
        f"pair stream '{name}'"
        for name, pairs in sorted(intent.pair_streams.items())
        if node in {pairs.source_node, pairs.target_node, *pairs.avoid_nodes}
    ]
    if users:
        raise PreconditionError(f"node '{node}' is used by {', '.join(users)}; delete or change these first")


def check_feeds_nothing(intent: Intent, link: LinkName) -> None:
    """PreconditionError where keys of a pair stream feed this link: the two come and go together."""
    for stream in intent.pair_streams.values():
        if stream.key_link == link:
            raise PreconditionError(f"link '{link}' goes with pair stream '{stream.name}'; delete that one")


def _node_violations(node: types_pb2.Node) -> Iterable[Violation]:
    address = node.key_plane_address
    match = _ADDRESS.fullmatch(address)
    if address and (match is None or not 0 < int(match[2]) <= 65535):
        yield Violation("key_plane_address", f"'{address}' is not host:port with a port of 1 to 65535")


def _link_violations(intent: Intent, link: types_pb2.Link) -> Iterable[Violation]:
    yield from _unknown_nodes(intent, "a_node", link.a_node)
    yield from _unknown_nodes(intent, "b_node", link.b_node)
    if link.a_node == link.b_node:
        yield Violation("b_node", f"is '{link.b_node}' like a_node; a link needs two different nodes")
    feeds = [one.name for one in intent.pair_streams.values() if one.key_link == link.name]
    if link.technology == types_pb2.LINK_TECHNOLOGY_ENTANGLED and not feeds:
        yield Violation(
            "technology",
            "a link of entangled pairs is made with the pair stream that feeds it: create one with key_link",
        )
    abort = link.abort_qber_ratio or ABORT_QBER_RATIO.get(link.technology, 0.5)
    if link.degraded_qber_ratio > abort:
        yield Violation(
            "degraded_qber_ratio",
            f"{link.degraded_qber_ratio:g} is above the abort threshold of {abort:g}; "
            "lower it or raise abort_qber_ratio",
        )
    if link.HasField("min_detector_bias_volts") and link.HasField("max_detector_bias_volts"):
        lowest, highest = link.min_detector_bias_volts, link.max_detector_bias_volts
        if lowest > highest:
            yield Violation(
                "min_detector_bias_volts",
                f"{lowest:g} exceeds max_detector_bias_volts, {highest:g}; lower it or raise the other",
            )


def _stream_violations(intent: Intent, stream: types_pb2.Stream) -> Iterable[Violation]:
    yield from _stream_ends(intent, stream)
    if stream.max_rate_bps and stream.min_rate_bps > stream.max_rate_bps:
        yield Violation(
            "min_rate_bps", f"{stream.min_rate_bps} exceeds max_rate_bps, {stream.max_rate_bps}; lower one"
        )
    size = stream.key_size_bits
    if size and (size % 8 or size < MIN_KEY_SIZE_BITS):
        yield Violation(
            "key_size_bits", f"{size} must be a multiple of 8 and at least {MIN_KEY_SIZE_BITS}; 0 takes 256"
        )
    k = stream.k or 1
    if stream.min_k > k:
        yield Violation("min_k", f"{stream.min_k} exceeds k, {k}; lower it, or set 0 to require all k shares")
    for index, name in enumerate(stream.avoid_nodes):
        yield from _unknown_nodes(intent, f"avoid_nodes[{index}]", name)
        if name in {stream.source_node, stream.target_node}:
            yield Violation(
                f"avoid_nodes[{index}]", f"'{name}' is an end of the stream; it cannot be avoided"
            )
    yield from _protection(stream)


def _stream_ends(intent: Intent, stream: types_pb2.Stream) -> Iterable[Violation]:
    yield from _unknown_nodes(intent, "source_node", stream.source_node)
    yield from _unknown_nodes(intent, "target_node", stream.target_node)
    if stream.source_node == stream.target_node:
        yield Violation(
            "target_node", f"is '{stream.target_node}' like source_node; name two different nodes"
        )
    if stream.source_sae == stream.target_sae:
        yield Violation("target_sae", f"is '{stream.target_sae}' like source_sae; name two different SAEs")
    pair = {stream.source_sae, stream.target_sae}
    for other in intent.streams.values():
        if other.name != stream.name and {other.source_sae, other.target_sae} == pair:
            yield Violation(
                "target_sae",
                f"stream '{other.name}' already serves {' and '.join(sorted(pair))}; a request names only "
                "the two SAEs, so a pair can have one stream: change that one, or use another SAE ID",
            )


def _protection(stream: types_pb2.Stream) -> Iterable[Violation]:
    if stream.pqc_only:
        yield from _contradictions_of_pqc_only(stream)
        return
    requires = stream.require_qkd or stream.require_pqc
    if not requires and not stream.accept_strongest_available:
        yield Violation(
            "accept_strongest_available",
            "choose what a key needs: require_qkd, require_pqc, both, or accept_strongest_available, with "
            "which an attacker who cuts a fibre downgrades the stream to ML-KEM; pqc_only never uses QKD",
        )
    if requires and stream.accept_strongest_available:
        yield Violation(
            "accept_strongest_available", "contradicts require_qkd and require_pqc; set it only without them"
        )
    if stream.require_qkd and stream.on_exhaustion == types_pb2.ON_EXHAUSTION_PQC:
        yield Violation(
            "on_exhaustion", "going on with ML-KEM alone contradicts require_qkd; choose wait or refuse"
        )


def _contradictions_of_pqc_only(stream: types_pb2.Stream) -> Iterable[Violation]:
    """What makes no sense without quantum paths; silently ignoring it would be a promise not kept."""
    if stream.require_qkd:
        yield Violation("pqc_only", "contradicts require_qkd: no quantum path is planned; set one of the two")
    if stream.accept_strongest_available:
        yield Violation(
            "accept_strongest_available",
            "contradicts pqc_only, which is a choice by itself; set one of the two",
        )
    if stream.on_exhaustion not in {types_pb2.ON_EXHAUSTION_UNSPECIFIED, types_pb2.ON_EXHAUSTION_PQC}:
        yield Violation("on_exhaustion", "with pqc_only there is no path to run out of; leave it out, or pqc")
    about_paths = {
        "k": stream.k > 1,
        "max_hops": bool(stream.max_hops),
        "max_trusted_nodes": stream.HasField("max_trusted_nodes"),
        "avoid_nodes": bool(stream.avoid_nodes),
        "allowed_trust_domains": bool(stream.allowed_trust_domains),
    }
    for name in (name for name, is_set in about_paths.items() if is_set):
        yield Violation(name, "is about quantum paths, of which pqc_only has none; leave it out")


def _unknown_nodes(intent: Intent, field_name: str, name: str) -> Iterable[Violation]:
    if name not in intent.nodes:
        yield Violation(field_name, f"there is no node '{name}'; {instead_of(name, intent.nodes)}")
