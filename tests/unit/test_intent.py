"""Intent: what fits together, what is refused and how that is said, and what zero means."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyweave.common.errors import InvalidInputError, NotFoundError, PreconditionError
from keyweave.common.names import NodeName
from keyweave.controller import intent as intents
from keyweave.controller.intent import Intent, check, check_unused, link_of, stream_of
from keyweave.controller.topology import OnExhaustion
from keyweave.v1 import types_pb2


def stream(**fields: Any) -> types_pb2.Stream:
    base: dict[str, Any] = {
        "name": "s",
        "source_node": "a",
        "target_node": "b",
        "source_sae": "alice",
        "target_sae": "bob",
        "require_qkd": True,
    }
    return types_pb2.Stream(**{**base, **fields})


def link(**fields: Any) -> types_pb2.Link:
    base: dict[str, Any] = {
        "name": "ab",
        "a_node": "a",
        "b_node": "b",
        "technology": types_pb2.LINK_TECHNOLOGY_DV_QKD,
    }
    return types_pb2.Link(**{**base, **fields})


def network() -> Intent:
    intent = Intent()
    for name in ("a", "b", "c"):
        intent = intent.put(types_pb2.Node(name=name))
    return intent.put(link()).put(stream(name="first", source_sae="carol", target_sae="dave"))


def violations(spec: intents.Spec) -> dict[str, str]:
    with pytest.raises(InvalidInputError) as caught:
        check(network(), spec)
    return {violation.field: violation.description for violation in caught.value.violations}


def test_a_plain_stream_and_link_fit() -> None:
    check(network(), stream())
    check(network(), link(name="bc", a_node="b", b_node="c"))


@pytest.mark.parametrize(
    ("fields", "field", "words"),
    [
        ({"source_node": "x"}, "stream.source_node", "there are a, b, c"),
        ({"target_node": "x"}, "stream.target_node", "no node 'x'"),
        ({"target_node": "a"}, "stream.target_node", "like source_node"),
        ({"target_sae": "alice"}, "stream.target_sae", "two different SAEs"),
        ({"min_rate_bps": 2, "max_rate_bps": 1}, "stream.min_rate_bps", "exceeds max_rate_bps, 1"),
        ({"min_k": 2}, "stream.min_k", "exceeds k, 1"),
        ({"key_size_bits": 100}, "stream.key_size_bits", "multiple of 8"),
        ({"key_size_bits": 56}, "stream.key_size_bits", "at least 64"),
        ({"avoid_nodes": ["c", "x"]}, "stream.avoid_nodes[1]", "no node 'x'"),
        ({"avoid_nodes": ["a"]}, "stream.avoid_nodes[0]", "an end of the stream"),
        ({"require_qkd": False}, "stream.accept_strongest_available", "choose what a key needs"),
        ({"accept_strongest_available": True}, "stream.accept_strongest_available", "contradicts"),
        ({"on_exhaustion": types_pb2.ON_EXHAUSTION_PQC}, "stream.on_exhaustion", "contradicts require_qkd"),
        ({"pqc_only": True}, "stream.pqc_only", "contradicts require_qkd"),
    ],
)
def test_a_stream_that_does_not_fit_is_refused_by_field(
    fields: dict[str, object], field: str, words: str
) -> None:
    assert words in violations(stream(**fields))[field]


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"a_node": "x"}, "link.a_node"),
        ({"b_node": "a"}, "link.b_node"),
        ({"abort_qber_ratio": 0.05, "degraded_qber_ratio": 0.06}, "link.degraded_qber_ratio"),
        ({"degraded_qber_ratio": 0.12}, "link.degraded_qber_ratio"),
    ],
)
def test_a_link_that_does_not_fit_is_refused_by_field(fields: dict[str, object], field: str) -> None:
    assert set(violations(link(**fields))) == {field}


@pytest.mark.parametrize("address", ["host", "host:", "host:0", "host:70000", "a b:1", ":1"])
def test_a_key_plane_address_that_cannot_be_dialled_is_refused(address: str) -> None:
    assert set(violations(types_pb2.Node(name="d", key_plane_address=address))) == {"node.key_plane_address"}


@pytest.mark.parametrize("address", ["", "host:1", "10.0.0.1:65535", "[::1]:7000"])
def test_a_key_plane_address_that_can_be_dialled_fits(address: str) -> None:
    check(network(), types_pb2.Node(name="d", key_plane_address=address))


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"accept_strongest_available": True}, "accept_strongest_available"),
        ({"on_exhaustion": types_pb2.ON_EXHAUSTION_WAIT}, "on_exhaustion"),
        ({"on_exhaustion": types_pb2.ON_EXHAUSTION_REFUSE}, "on_exhaustion"),
        ({"k": 2}, "k"),
        ({"max_hops": 3}, "max_hops"),
        ({"max_trusted_nodes": 0}, "max_trusted_nodes"),
        ({"avoid_nodes": ["c"]}, "avoid_nodes"),
        ({"allowed_trust_domains": ["state"]}, "allowed_trust_domains"),
    ],
)
def test_what_makes_no_sense_for_ml_kem_alone_is_refused(fields: dict[str, object], field: str) -> None:
    assert set(violations(stream(require_qkd=False, pqc_only=True, **fields))) == {f"stream.{field}"}


@pytest.mark.parametrize("require_pqc", [False, True])
def test_ml_kem_alone_is_a_choice_by_itself_and_requires_it(require_pqc: bool) -> None:
    spec = stream(require_qkd=False, require_pqc=require_pqc, pqc_only=True)
    check(network(), spec)
    known = stream_of(spec)
    assert (known.pqc_only, known.require_pqc, known.on_exhaustion) == (True, True, OnExhaustion.PQC)


def test_all_that_is_wrong_is_said_at_once() -> None:
    spec = stream(source_node="x", target_sae="alice", min_k=3, key_size_bits=1)
    assert set(violations(spec)) == {
        "stream.source_node",
        "stream.target_sae",
        "stream.min_k",
        "stream.key_size_bits",
    }


@pytest.mark.parametrize("saes", [("carol", "dave"), ("dave", "carol")])
def test_a_pair_of_saes_has_one_stream_in_either_direction(saes: tuple[str, str]) -> None:
    found = violations(stream(source_sae=saes[0], target_sae=saes[1]))
    assert "stream 'first' already serves carol and dave" in found["stream.target_sae"]


def test_a_stream_does_not_stand_in_its_own_way() -> None:
    check(network(), stream(name="first", source_sae="carol", target_sae="dave", priority=3))


def test_a_node_in_use_is_kept_and_its_users_are_named() -> None:
    with pytest.raises(PreconditionError, match="link 'ab', stream 'first'"):
        check_unused(network(), NodeName("a"))
    check_unused(network(), NodeName("c"))


def test_what_is_not_there_is_answered_with_what_is() -> None:
    with pytest.raises(NotFoundError, match="no node 'x'; there are a, b, c"):
        network().get(types_pb2.Node, "x")
    with pytest.raises(NotFoundError, match="there is first"):
        network().get(types_pb2.Stream, "x")


def test_putting_and_removing_leave_the_intent_they_started_from_alone() -> None:
    before = network()
    after = before.put(types_pb2.Node(name="d")).without(types_pb2.Link, "ab")
    assert set(after.nodes) == {"a", "b", "c", "d"}
    assert not after.links
    assert set(before.nodes) == {"a", "b", "c"}
    assert set(before.links) == {"ab"}


def test_zero_means_the_documented_default() -> None:
    read = stream_of(stream())
    assert (read.key_size_bits, read.k, read.min_k, read.buffer_keys) == (256, 1, 1, 64)
    assert (read.refresh_seconds, read.key_ttl_seconds, read.max_rate_bps) == (60, 3600, float("inf"))
    assert read.max_hops is None
    assert read.max_trusted_nodes is None
    assert stream_of(stream(max_trusted_nodes=0)).max_trusted_nodes == 0


def test_an_open_min_k_follows_k() -> None:
    assert stream_of(stream(k=3)).min_k == 3
    assert stream_of(stream(k=3, min_k=2)).min_k == 2


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"require_qkd": True}, OnExhaustion.WAIT),
        ({"require_qkd": False, "require_pqc": True}, OnExhaustion.PQC),
        ({"on_exhaustion": types_pb2.ON_EXHAUSTION_REFUSE}, OnExhaustion.REFUSE),
    ],
)
def test_only_a_stream_that_may_goes_on_with_ml_kem_by_default(
    fields: dict[str, object], expected: OnExhaustion
) -> None:
    assert stream_of(stream(**fields)).on_exhaustion is expected


def test_every_technology_has_a_threshold_and_degrades_below_it() -> None:
    for value in types_pb2.LinkTechnology.values():
        if value:
            read = link_of(link(technology=value))
            assert 0 < read.degraded_qber_ratio < read.abort_qber_ratio <= 0.5


def test_the_degraded_threshold_follows_the_abort_threshold() -> None:
    read = link_of(link(abort_qber_ratio=0.05))
    assert read.degraded_qber_ratio == pytest.approx(0.04)
    assert link_of(link()).abort_qber_ratio == 0.11
    assert not link_of(link()).disabled
    assert link_of(link(disabled=True)).disabled


_small = st.integers(0, 8)


@given(k=_small, min_k=_small, size=st.integers(0, 8192), low=_small, high=_small)
def test_what_is_accepted_makes_sense_to_the_planner(
    k: int, min_k: int, size: int, low: int, high: int
) -> None:
    spec = stream(k=k, min_k=min_k, key_size_bits=size, min_rate_bps=low, max_rate_bps=high)
    accepted = _accepts(lambda: check(network(), spec))
    read = stream_of(spec)
    makes_sense = (
        1 <= read.min_k <= read.k
        and read.key_size_bits >= 64
        and read.key_size_bits % 8 == 0
        and read.min_rate_bps <= read.max_rate_bps
    )
    assert accepted == makes_sense


def _accepts(attempt: Callable[[], None]) -> bool:
    try:
        attempt()
    except InvalidInputError:
        return False
    return True
