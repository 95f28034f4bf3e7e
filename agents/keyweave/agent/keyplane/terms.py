"""What policy says of the links and streams that end here, as the key plane uses it."""

from dataclasses import dataclass

from keyweave.agent.keyplane.keys.keystore import Provenance
from keyweave.agent.keyplane.streams.route import path_digest
from keyweave.common.names import LinkName, NodeName, PathId, SaeId, StreamName
from keyweave.v1 import agent_pb2, types_pb2


@dataclass(frozen=True, slots=True)
class LinkPolicy:
    """What policy says of a link."""

    peer_node: NodeName
    abort_qber_ratio: float
    maintenance: bool
    # Since when the controller suspects the link, seconds since the Unix epoch; None where it does not.
    suspect_since: float | None = None
    suspect_reason: str = ""

    @classmethod
    def of(cls, rule: agent_pb2.LinkRule) -> "LinkPolicy":
        """From a rule that has been checked."""
        suspect = rule.suspect_since_unix_nanos
        return cls(
            NodeName(rule.peer_node),
            rule.abort_qber_ratio,
            rule.maintenance,
            suspect / 1e9 if suspect > 0 else None,
            rule.suspect_reason,
        )


@dataclass(frozen=True, slots=True)
class RelayPath:
    """A path as seen from this end: the first hop leads away from here."""

    path_id: PathId
    first_link: LinkName
    first_node: NodeName
    links: frozenset[LinkName]
    trusted_nodes: tuple[NodeName, ...]
    # See `path_digest`: it goes with every share.
    digest: bytes


@dataclass(frozen=True, slots=True)
class PathSetTerms:
    """Disjoint paths that carry the shares of a key together."""

    rank: int
    rate_bps: float
    paths: tuple[RelayPath, ...]

    @property
    def key(self) -> tuple[PathId, ...]:
        """What tells it from other sets."""
        return tuple(path.path_id for path in self.paths)


@dataclass(frozen=True, slots=True)
class RelayLimits:
    """Who may have relayed a key, as the owner of this node says. A stream's own ends have it in any case."""

    ends: frozenset[NodeName]
    # None: anybody.
    nodes: frozenset[NodeName] | None
    # On each path; None: any number.
    most: int | None

    def allow(self, provenance: Provenance) -> bool:
        """Whether a key made so crossed only nodes that may see it, and no more than may."""
        crossed = set(provenance.trusted_nodes) - self.ends
        # The owner may trust a vendor's domain by its name; how many nodes of it see the key, nobody knows.
        if self.nodes is not None and not crossed.union(provenance.vendor_domains) <= self.nodes:
            return False
        if self.most is not None and provenance.vendor_domains:
            return False
        return self.most is None or len(crossed) <= self.most * max(1, len(provenance.paths))


@dataclass(frozen=True, slots=True)
class StreamTerms:
    """One stream at this end."""

    stream: StreamName
    is_source: bool
    peer_node: NodeName
    local_sae: SaeId
    peer_sae: SaeId
    key_size_bits: int
    require_qkd: bool
    require_pqc: bool
    k: int
    min_k: int
    pqc_when_exhausted: bool
    refuse_when_exhausted: bool
    refresh_seconds: int
    key_ttl_seconds: int
    buffer_keys: int
    rate_bps: float
    path_sets: tuple[PathSetTerms, ...]
    accepted: dict[PathId, RelayPath]
    # Whether bits that an emulator made count as QKD: the guard says so, policy cannot.
    accept_emulated: bool = False
    # Whether the operator or the guard limits who may relay: those on the accepted paths may.
    restricts_relays: bool = False
    # Whether bits of a vendor's domain may do: not where the operator limits relays, as those are unknown.
    accept_vendor_domains: bool = True
    # Rises with every change of the stream by the operator.
    revision: int = 0
    # What the guard says of relays and of keys of other sizes; None and 0 where it says nothing.
    relay_limits: RelayLimits | None = None
    min_key_size_bits: int = 0

    @property
    def requirements(self) -> tuple[object, ...]:
        """All that `allows` goes by: where it is the same, the same keys are allowed."""
        return (
            self.accept_emulated,
            self.accept_vendor_domains,
            self.relay_limits,
            self.require_qkd,
            self.require_pqc,
            self.min_k,
        )

    def allows(self, provenance: Provenance) -> bool:
        """Whether a key made so meets what the stream requires: fail closed."""
        with_qkd, with_pqc = provenance.protection.with_qkd, provenance.protection.with_pqc
        with_qkd = with_qkd and (self.accept_emulated or not provenance.emulated)
        if not (with_qkd or with_pqc):
            return False
        if provenance.vendor_domains and not self.accept_vendor_domains:
            return False
        if self.relay_limits is not None and not self.relay_limits.allow(provenance):
            return False
        if self.require_qkd and not with_qkd:
            return False
        if self.require_pqc and not with_pqc:
            return False
        return not with_qkd or provenance.shares >= self.min_k

    def allows_copy(self, provenance: Provenance, node: NodeName) -> bool:
        """Whether a copy of this stream's key may go another way, made so: fail closed. `node` is here."""
        if not self.allows(provenance):
            return False
        known = {each for path in self.accepted.values() for each in path.trusted_nodes}
        known |= {node, self.peer_node}  # they have the key in any case
        if not self.restricts_relays:
            return True
        return not provenance.vendor_domains and known.issuperset(provenance.trusted_nodes)

    @classmethod
    def of(cls, rule: agent_pb2.StreamRule) -> "StreamTerms":
        """From a rule that has been checked."""
        return cls(
            stream=StreamName(rule.stream),
            is_source=rule.is_source,
            peer_node=NodeName(rule.peer_node),
            local_sae=SaeId(rule.local_sae),
            peer_sae=SaeId(rule.peer_sae),
            key_size_bits=rule.key_size_bits,
            require_qkd=rule.require_qkd,
            require_pqc=rule.require_pqc,
            k=rule.k,
            min_k=rule.min_k,
            pqc_when_exhausted=rule.on_exhaustion == types_pb2.ON_EXHAUSTION_PQC and not rule.require_qkd,
            refuse_when_exhausted=rule.on_exhaustion == types_pb2.ON_EXHAUSTION_REFUSE,
            refresh_seconds=rule.refresh_seconds,
            key_ttl_seconds=rule.key_ttl_seconds,
            buffer_keys=rule.buffer_keys,
            rate_bps=float(rule.rate_bps),
            path_sets=tuple(
                PathSetTerms(
                    path_set.rank,
                    float(path_set.rate_bps),
                    tuple(_path(rule, path) for path in path_set.paths),
                )
                for path_set in sorted(rule.path_sets, key=lambda path_set: path_set.rank)
            ),
            accepted={PathId(path.path_id): _path(rule, path) for path in rule.accepted_paths},
            restricts_relays=rule.restricts_relays,
            accept_vendor_domains=not rule.restricts_relays,
            revision=rule.revision,
        )


def _path(rule: agent_pb2.StreamRule, path: types_pb2.Path) -> RelayPath:
    first = path.hops[0] if rule.is_source else path.hops[-1]
    nodes = [hop.to_node for hop in path.hops[:-1]]
    return RelayPath(
        path_id=PathId(path.path_id),
        first_link=LinkName(first.link),
        first_node=NodeName(first.to_node if rule.is_source else first.from_node),
        links=frozenset(LinkName(hop.link) for hop in path.hops),
        trusted_nodes=tuple(NodeName(node) for node in nodes),
        digest=path_digest(rule.stream, path.path_id, path.hops),
    )
