"""What a stream requires fails closed, and a path is read from the end that one stands at."""

from dataclasses import replace
from itertools import product

import pytest

from keyweave.agent.keyplane.keys.keystore import Protection, Provenance
from keyweave.agent.keyplane.terms import RelayLimits, StreamTerms
from keyweave.common.names import NodeName, PathId
from keyweave.v1 import agent_pb2, types_pb2

A, B, D = NodeName("a"), NodeName("b"), NodeName("d")
PATH = types_pb2.Path(
    path_id="s:1",
    hops=[
        types_pb2.Hop(link="a-b", from_node="a", to_node="b"),
        types_pb2.Hop(link="b-c", from_node="b", to_node="c"),
        types_pb2.Hop(link="c-d", from_node="c", to_node="d"),
    ],
)


def rule(
    *, is_source: bool = True, on_exhaustion: types_pb2.OnExhaustion | None = None
) -> agent_pb2.StreamRule:
    return agent_pb2.StreamRule(
        stream="s",
        is_source=is_source,
        peer_node="d" if is_source else "a",
        local_sae="here",
        peer_sae="there",
        key_size_bits=256,
        k=1,
        min_k=1,
        on_exhaustion=on_exhaustion or types_pb2.ON_EXHAUSTION_WAIT,
        refresh_seconds=60,
        key_ttl_seconds=60,
        buffer_keys=8,
        rate_bps=1000,
        path_sets=[
            types_pb2.PathSet(rank=1, paths=[PATH]),
            types_pb2.PathSet(rank=0, rate_bps=1000, paths=[PATH]),
        ],
        accepted_paths=[PATH],
    )


def made(protection: Protection, shares: int = 0) -> Provenance:
    return Provenance(protection, paths=tuple(PathId(f"p{n}") for n in range(shares)))


@pytest.mark.parametrize(
    ("require_qkd", "require_pqc", "allowed"),
    [
        (False, False, {Protection.QKD, Protection.HYBRID, Protection.PQC}),
        (True, False, {Protection.QKD, Protection.HYBRID}),
        (False, True, {Protection.PQC, Protection.HYBRID}),
        (True, True, {Protection.HYBRID}),
    ],
)
def test_a_key_is_allowed_only_with_every_component_that_the_stream_requires(
    require_qkd: bool, require_pqc: bool, allowed: set[Protection]
) -> None:
    terms = replace(StreamTerms.of(rule()), require_qkd=require_qkd, require_pqc=require_pqc)
    shares = {Protection.QKD: 1, Protection.HYBRID: 1}
    assert {p for p in Protection if terms.allows(made(p, shares.get(p, 0)))} == allowed


@pytest.mark.parametrize("protection", [Protection.QKD, Protection.HYBRID])
def test_a_key_of_fewer_shares_than_the_least_is_not_allowed(protection: Protection) -> None:
    terms = replace(StreamTerms.of(rule()), k=3, min_k=2)
    assert not terms.allows(made(protection, 1))
    assert terms.allows(made(protection, 2))
    assert terms.allows(made(protection, 3))


def test_a_key_that_claims_qkd_over_no_path_is_not_allowed() -> None:
    assert not StreamTerms.of(rule()).allows(made(Protection.QKD, 0))


def test_from_the_source_the_first_hop_is_the_paths_first() -> None:
    path = StreamTerms.of(rule(is_source=True)).accepted[PathId("s:1")]
    assert (path.first_link, path.first_node) == ("a-b", "b")
    assert path.links == {"a-b", "b-c", "c-d"}
    assert path.trusted_nodes == ("b", "c")


def test_from_the_target_the_first_hop_is_the_paths_last() -> None:
    path = StreamTerms.of(rule(is_source=False)).accepted[PathId("s:1")]
    assert (path.first_link, path.first_node) == ("c-d", "c")
    assert path.trusted_nodes == ("b", "c"), "both ends name them in one order: it is part of the context"


def test_path_sets_are_in_the_order_of_their_ranks() -> None:
    assert [path_set.rank for path_set in StreamTerms.of(rule()).path_sets] == [0, 1]


@pytest.mark.parametrize(
    ("on_exhaustion", "require_qkd", "pqc", "refuse"),
    [
        (types_pb2.ON_EXHAUSTION_WAIT, False, False, False),
        (types_pb2.ON_EXHAUSTION_PQC, False, True, False),
        (types_pb2.ON_EXHAUSTION_REFUSE, False, False, True),
        (types_pb2.ON_EXHAUSTION_PQC, True, False, False),
    ],
)
def test_ml_kem_steps_in_alone_only_where_policy_says_so_and_qkd_is_not_required(
    on_exhaustion: types_pb2.OnExhaustion, require_qkd: bool, pqc: bool, refuse: bool
) -> None:
    message = rule(on_exhaustion=on_exhaustion)
    message.require_qkd = require_qkd
    terms = StreamTerms.of(message)
    assert (terms.pqc_when_exhausted, terms.refuse_when_exhausted) == (pqc, refuse)


def test_terms_with_the_same_requirements_allow_the_same_keys() -> None:
    ends = frozenset({A, D})
    limits = (None, RelayLimits(ends, frozenset({B}), None), RelayLimits(ends, None, 0))
    either = (False, True)
    paths = ((), (PathId("p"),), (PathId("p"), PathId("q")))
    keys = [
        Provenance(protection, paths=over, trusted_nodes=crossed, emulated=emulated, vendor_domains=vendors)
        for protection, over, crossed, emulated, vendors in product(
            Protection, paths, ((), ("b",), ("c",)), either, ((), ("acme-metro",))
        )
    ]
    first = StreamTerms.of(rule())
    allowed: dict[tuple[object, ...], set[tuple[bool, ...]]] = {}
    for emulated, vendors, qkd, pqc, min_k, limit, rate in product(
        either, either, either, either, (1, 2), limits, (1.0, 2.0)
    ):
        terms = replace(
            first,
            accept_emulated=emulated,
            accept_vendor_domains=vendors,
            require_qkd=qkd,
            require_pqc=pqc,
            min_k=min_k,
            relay_limits=limit,
            rate_bps=rate,
        )
        allowed.setdefault(terms.requirements, set()).add(tuple(terms.allows(key) for key in keys))
    assert {len(answers) for answers in allowed.values()} == {1}
    assert len(allowed) == 96, "a new rate changes no requirement"


VENDORS = Provenance(Protection.QKD, paths=(PathId("p"),), vendor_domains=("acme-metro",))


def test_where_the_operator_limits_who_may_relay_no_key_of_a_vendors_domain_will_do() -> None:
    message = rule()
    assert StreamTerms.of(message).allows(VENDORS)
    message.restricts_relays = True
    assert not StreamTerms.of(message).allows(VENDORS)
    assert StreamTerms.of(message).allows(replace(VENDORS, vendor_domains=()))


def test_a_guard_that_limits_relays_has_to_name_a_vendors_domain_and_cannot_count_its_nodes() -> None:
    ends = frozenset({A, D})
    for limits, fits in (
        (RelayLimits(ends, frozenset({B}), None), False),
        (RelayLimits(ends, frozenset({B, NodeName("acme-metro")}), None), True),
        # A domain that calls itself as an end of the stream does is no end.
        (RelayLimits(ends | {NodeName("acme-metro")}, frozenset({B}), None), False),
        (RelayLimits(ends, None, 8), False),
    ):
        assert limits.allow(VENDORS) is fits
    assert RelayLimits(ends, None, 8).allow(replace(VENDORS, vendor_domains=()))
