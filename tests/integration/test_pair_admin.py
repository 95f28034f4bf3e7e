"""Pair streams over the admin API: taken on or refused at once, kept, changed, and gone with their link."""

import asyncio
import time
import uuid
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
import pytest_asyncio
from google.protobuf.field_mask_pb2 import FieldMask

from keyweave.agent.ledger.ledger import Ledger
from keyweave.agent.lookup import Lookup
from keyweave.cli.connection import CONTROLLER
from keyweave.common.entanglement.bell import werner
from keyweave.common.identity import Role
from keyweave.common.names import NodeName
from keyweave.common.tls import secure_channel
from keyweave.controller.instructions import PlanPairs
from keyweave.controller.routing.entanglement import repeaters
from keyweave.controller.routing.entanglement.serve import plan_pairs
from keyweave.controller.stimuli import PairStreamDeleted, PairStreamPut
from keyweave.v1 import admin_pb2 as pb
from keyweave.v1 import agent_pb2, agent_pb2_grpc, pairs_pb2, types_pb2
from tests.integration.admin_server import AdminServer, serving
from tests.integration.test_admin import refusal, violations
from tests.waiting import eventually


def wanted(**given: Any) -> pairs_pb2.PairStream:
    settings: dict[str, Any] = {
        "name": "pairs",
        "source_node": "a",
        "target_node": "b",
        "kind": pairs_pb2.PAIR_KIND_MEASURE_DIRECTLY,
        "min_fidelity": 0.85,
        "rate_hz": 5.0,
    }
    return pairs_pb2.PairStream(**{**settings, **given})


def measured(server: AdminServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The core knows of one link of pairs, which is as good as its memories."""
    node = repeaters.PairNode
    network = repeaters.network_of(
        [node(name, 8) for name in ("a", "b")],  # type: ignore[arg-type]  # names
        [repeaters.PairLink("ab-pairs", "a", "b", 50.0, werner(0.95))],  # type: ignore[arg-type]  # names
    )
    monkeypatch.setattr(server.controller.core.pairs.book, "network", lambda: network)


@pytest_asyncio.fixture
async def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[AdminServer]:
    async with serving(tmp_path) as running:
        measured(running, monkeypatch)
        yield running


async def test_what_can_be_had_is_taken_on_with_what_is_predicted(server: AdminServer) -> None:
    async with server.stub() as stub:
        answer = await stub.CreatePairStream(pb.CreatePairStreamRequest(pair_stream=wanted()))
        assert answer.predicted_rate_hz == pytest.approx(5.0)
        assert answer.predicted_fidelity == pytest.approx(0.95, abs=0.02)
        assert "pairs/s" in answer.answer
        assert (answer.pair_stream.revision, bool(answer.pair_stream.etag)) == (1, True)
        status = (await stub.GetPairStream(pb.GetPairStreamRequest(name="pairs"))).pair_stream
        assert status.state == pb.PAIR_STREAM_STATE_UNMET  # nobody has planned it yet
        assert [
            one.pair_stream.name for one in (await stub.GetStatus(pb.GetStatusRequest())).pair_streams
        ] == ["pairs"]
    assert isinstance(server.controller.submitted[-1], PairStreamPut)


async def test_what_cannot_be_had_is_refused_with_the_best_that_can_unless_it_may_wait(
    server: AdminServer,
) -> None:
    request = pb.CreatePairStreamRequest(pair_stream=wanted(min_fidelity=0.99, max_rounds=0))
    async with server.stub() as stub:
        error = await refusal(stub.CreatePairStream(request))
        assert error.code() is grpc.StatusCode.FAILED_PRECONDITION
        assert "0.99" in str(error.details())
        assert "best" in str(error.details())
        request.force = True
        answer = await stub.CreatePairStream(request)
        assert (answer.predicted_rate_hz, "best" in answer.answer) == (0.0, True)


async def test_validate_only_answers_and_keeps_nothing(server: AdminServer) -> None:
    async with server.stub() as stub:
        answer = await stub.CreatePairStream(
            pb.CreatePairStreamRequest(pair_stream=wanted(), validate_only=True)
        )
        assert answer.predicted_rate_hz == pytest.approx(5.0)
        assert not (await stub.ListPairStreams(pb.ListPairStreamsRequest())).pair_streams
    assert server.controller.submitted == []


async def test_the_same_request_sent_again_is_answered_and_not_made_twice(server: AdminServer) -> None:
    request = pb.CreatePairStreamRequest(pair_stream=wanted(), request_id=str(uuid.uuid4()))
    async with server.stub() as stub:
        first = await stub.CreatePairStream(request)
        assert await stub.CreatePairStream(request) == first
    assert len(server.controller.submitted) == 1


async def test_its_key_link_comes_and_goes_with_it_also_over_a_restart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(tmp_path) as server, server.stub() as stub:
        measured(server, monkeypatch)
        await stub.CreatePairStream(pb.CreatePairStreamRequest(pair_stream=wanted(key_link="ab-epr")))
        link = (await stub.GetLink(pb.GetLinkRequest(name="ab-epr"))).link.link
        assert (link.technology, link.a_node, link.b_node) == (types_pb2.LINK_TECHNOLOGY_ENTANGLED, "a", "b")
        error = await refusal(stub.DeleteLink(pb.DeleteLinkRequest(name="ab-epr")))
        assert "pair stream 'pairs'" in str(error.details())
    async with serving(tmp_path) as server, server.stub() as stub:
        assert (await stub.GetLink(pb.GetLinkRequest(name="ab-epr"))).link.link == link
        await stub.DeletePairStream(pb.DeletePairStreamRequest(name="pairs"))
        assert await refusal(stub.GetLink(pb.GetLinkRequest(name="ab-epr")))
        deleted = server.controller.submitted[-1]
        assert isinstance(deleted, PairStreamDeleted)
        assert deleted.link == "ab-epr"
    async with serving(tmp_path) as server, server.stub() as stub:
        assert not (await stub.ListPairStreams(pb.ListPairStreamsRequest())).pair_streams
        assert await refusal(stub.GetLink(pb.GetLinkRequest(name="ab-epr")))


async def test_fields_that_are_named_change_and_ends_never_do(server: AdminServer) -> None:
    async with server.stub() as stub:
        made = (await stub.CreatePairStream(pb.CreatePairStreamRequest(pair_stream=wanted()))).pair_stream
        changed = await stub.UpdatePairStream(
            pb.UpdatePairStreamRequest(
                pair_stream=pairs_pb2.PairStream(name="pairs", rate_hz=8.0, etag=made.etag),
                update_mask=FieldMask(paths=["rate_hz"]),
            )
        )
        assert (changed.pair_stream.rate_hz, changed.pair_stream.min_fidelity) == (8.0, 0.85)
        error = await refusal(
            stub.UpdatePairStream(
                pb.UpdatePairStreamRequest(
                    pair_stream=pairs_pb2.PairStream(name="pairs", target_node="c"),
                    update_mask=FieldMask(paths=["target_node"]),
                )
            )
        )
        assert list(violations(error)) == ["pair_stream.target_node"]


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"source_node": "nowhere"}, "source_node"),
        ({"target_node": "a"}, "target_node"),
        ({"avoid_nodes": ["a"]}, "avoid_nodes[0]"),
        ({"key_link": "ab"}, "key_link"),
        ({"key_link": "k", "kind": pairs_pb2.PAIR_KIND_CREATE_KEEP}, "key_link"),
        ({"min_fidelity": 0.4}, "min_fidelity"),
        ({"rate_hz": 0.0}, "rate_hz"),
        ({"deadline_unix_nanos": 1}, "deadline_unix_nanos"),
        ({"deadline_unix_nanos": time.time_ns() + 10**15, "pair_count": 10**9}, "pair_count"),
    ],
)
async def test_bad_input_names_its_field(server: AdminServer, given: dict[str, Any], field: str) -> None:
    async with server.stub() as stub:
        error = await refusal(
            stub.CreatePairStream(pb.CreatePairStreamRequest(pair_stream=wanted(**given), force=True))
        )
        assert f"pair_stream.{field}" in violations(error)


async def test_viewers_look_and_do_not_touch(server: AdminServer) -> None:
    async with server.stub(Role.VIEWER) as stub:
        await stub.ListPairStreams(pb.ListPairStreamsRequest())
        await stub.ListPairLinks(pb.ListPairLinksRequest())
        for call in (
            stub.CreatePairStream(pb.CreatePairStreamRequest(pair_stream=wanted())),
            stub.DeletePairStream(pb.DeletePairStreamRequest(name="pairs")),
            stub.RunBellTest(pb.RunBellTestRequest(name="pairs")),
        ):
            assert (await refusal(call)).code() is grpc.StatusCode.PERMISSION_DENIED


async def test_a_node_that_pairs_need_is_not_deleted(server: AdminServer) -> None:
    async with server.stub() as stub:
        await stub.CreatePairStream(pb.CreatePairStreamRequest(pair_stream=wanted()))
        error = await refusal(stub.DeleteNode(pb.DeleteNodeRequest(name="b")))
        assert "pair stream 'pairs'" in str(error.details())


async def test_pairs_that_do_not_come_are_not_tested(server: AdminServer) -> None:
    async with server.stub() as stub:
        await stub.CreatePairStream(pb.CreatePairStreamRequest(pair_stream=wanted()))
        error = await refusal(stub.RunBellTest(pb.RunBellTestRequest(name="pairs")))
        assert error.code() is grpc.StatusCode.FAILED_PRECONDITION
        assert "gets no pairs" in str(error.details())


async def test_a_bell_test_is_the_sources_and_s_is_worked_out_of_what_it_counted(server: AdminServer) -> None:
    asked: list[agent_pb2.BellTestQuery] = []

    async def counted(query: agent_pb2.BellTestQuery) -> agent_pb2.BellTestResult:
        asked.append(query)
        return agent_pb2.BellTestResult(pairs=[100] * 4, equal=[85, 85, 85, 15])

    supply = server.controller.core.pairs
    async with server.stub() as stub:
        await stub.CreatePairStream(pb.CreatePairStreamRequest(pair_stream=wanted()))
        network, demands, previous = supply.basis()
        supply._asked = PlanPairs(1, network, tuple(demands), previous)
        supply.planned(1, plan_pairs(network, demands, previous), time.time())
        error = await refusal(stub.RunBellTest(pb.RunBellTestRequest(name="pairs")))
        assert "agent is not connected" in str(error.details())
        hello = agent_pb2.TelemetryHello(node="a", incarnation=bytes(16))
        files = server.files(Role.AGENT, name="a")
        async with secure_channel(server.address, files, CONTROLLER) as channel:
            ledger = Ledger(server.directory / "ledger", NodeName("a"), keep=timedelta(days=1))
            lookup = Lookup(ledger, hello, counted)
            running = asyncio.create_task(lookup.run(agent_pb2_grpc.AgentServiceStub(channel)))

            async def answered() -> bool:
                try:
                    answer = await stub.RunBellTest(pb.RunBellTestRequest(name="pairs", pairs=400))
                except grpc.aio.AioRpcError:
                    return False
                # S = 3 (2 0.85 - 1) - (2 0.15 - 1) = 2.8
                assert answer.s == pytest.approx(2.8)
                assert 2 < answer.s_low < 2.8 < answer.s_high
                return True

            await eventually(answered, 30, "the agent connects and answers")
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
    assert asked == [agent_pb2.BellTestQuery(stream="pairs", pairs=400)]


async def test_explain_says_what_is_asked_and_how_it_stands(server: AdminServer) -> None:
    async with server.stub() as stub:
        await stub.CreatePairStream(pb.CreatePairStreamRequest(pair_stream=wanted()))
        lines = (await stub.ExplainPairStream(pb.ExplainPairStreamRequest(name="pairs"))).lines
        assert "5 pairs/s of fidelity 0.85" in lines[0]
        assert any("runner-up" in line for line in lines)
