"""`keyweave plan what-if|capacity` against a real admin API."""

from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest

from keyweave.cli.state_dir import StateDir
from keyweave.common.identity import Role
from keyweave.v1 import admin_pb2
from tests.integration.admin_server import AdminServer, serving
from tests.integration.command_line import keyweave, operator_state


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[AdminServer]:
    async with serving(tmp_path) as running:
        yield running


@pytest.fixture
def state(server: AdminServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StateDir:
    state = operator_state(server, tmp_path / "state")
    monkeypatch.setenv("KEYWEAVE_STATE_DIR", str(state.root))
    return state


@pytest.mark.usefixtures("state")
async def test_a_cut_link_is_told_in_words_and_json_and_written_either_way() -> None:
    told = await keyweave("plan", "what-if", "cut bc")
    assert (told.code, told.errors) == (0, [])
    assert told.out.splitlines()[0] == "cut bc: 1 ML-KEM alone; 970 bit/s lost"
    assert "s: ML-KEM alone, 970 bit/s → 0 bit/s, k 1 → 0; at once: no backup stands" in told.out
    (outcome,) = (await keyweave("plan", "--what-if=cut bc", "-o", "json")).json["outcomes"]
    assert outcome["changes"] == [{"cut_link": "bc"}]
    assert outcome["streams"][0]["effect"] == "STREAM_EFFECT_PQC_ONLY"


@pytest.mark.usefixtures("state")
async def test_sweeps_tell_the_most_harmful_first_and_how_many_were_looked_at() -> None:
    single = await keyweave("plan", "--what-if", "--all-single", "-o", "json")
    assert (single.json["considered"], single.json["planned"]) == (5, 5)
    assert {"down_node": "b"} not in single.json["outcomes"][0]["changes"]
    few = await keyweave("plan", "what-if", "--all-single", "--planned", "2", "--count", "1")
    assert "2 of 5 failures planned in full" in few.out
    double = await keyweave("plan", "what-if", "--all-double")
    assert "cut ab, cut bc" in double.out


@pytest.mark.usefixtures("state")
async def test_the_missing_side_of_a_triangle_is_the_first_to_build() -> None:
    told = await keyweave("plan", "--capacity", "--rate", "5k")
    first = told.out.splitlines()[3].split()
    assert (told.code, first[:3]) == (0, ["a", "-", "c"])
    assert told.out.splitlines()[-1] == "3 links that could be built or widened, each planned in full"
    answer = (await keyweave("plan", "capacity", "--goal", "total", "--count", "1", "-o", "json")).json
    assert len(answer["gains"]) == 1
    assert answer["present"] == {
        **answer["present"],
        "without_path": 0,
        "unprotected": 1,
        "worst_stream": "s",
    }


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("cut bd", "error: changes[0].cut_link: there is no link 'bd'"),
        ("down ab", "error: changes[0].down_node: there is no node 'ab'"),
        ("add a-c", "error: what-if: 'add a-c' has no rate; write it like add a-b 20k"),
        ("add a-c fast", "error: what-if: 'fast' is no rate; write bit/s like 20000, 20k or 1.5M"),
        ("add a-d 5k", "error: what-if: 'a-d' does not name two nodes that there are; the nodes are a, b, c"),
        ("lose ab", "error: what-if: 'lose ab' is not understood; write cut LINK"),
        ("", "error: what-if: '' is not understood; write cut LINK"),
    ],
)
@pytest.mark.usefixtures("state")
async def test_what_is_not_there_or_not_understood_is_said(text: str, error: str) -> None:
    refused = await keyweave("plan", "what-if", text)
    assert refused.code == 1
    assert refused.errors[0].startswith(error)


@pytest.mark.usefixtures("state")
async def test_one_question_at_a_time() -> None:
    for arguments in ((), ("cut ab", "--all-single"), ("--all-single", "--all-double")):
        refused = await keyweave("plan", "what-if", *arguments)
        assert (refused.code, len(refused.errors)) == (1, 1)
        assert "--all-double" in refused.errors[0]


async def test_a_viewer_may_ask_and_an_agent_may_not(server: AdminServer) -> None:
    asked = admin_pb2.AnalysePlanRequest(
        what_if=admin_pb2.WhatIf(changes=[admin_pb2.WhatIfChange(cut_link="bc")])
    )
    async with server.stub(Role.VIEWER) as viewer:
        assert (await viewer.AnalysePlan(asked)).planned == 1
    async with server.stub(Role.AGENT) as agent:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await agent.AnalysePlan(asked)
    assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED


async def test_who_goes_away_ends_the_work(server: AdminServer) -> None:
    """The next question is answered although the one before was for ten minutes of work."""
    sweep = admin_pb2.AnalysePlanRequest(sweep=admin_pb2.FailureSweep(failures=2))
    async with server.stub(Role.OPERATOR) as operator:
        abandoned = operator.AnalysePlan(sweep, timeout=600)
        await abandoned.wait_for_connection()
        abandoned.cancel()
        assert (await operator.AnalysePlan(sweep)).considered == 1
