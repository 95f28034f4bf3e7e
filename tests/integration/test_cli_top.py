"""`keyweave top` and `status` against a real admin API."""

import asyncio
import io
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from rich.console import Console

from keyweave.cli.board import Board
from keyweave.cli.connection import Network
from keyweave.cli.state_dir import StateDir
from keyweave.cli.top import watch
from keyweave.common.names import LinkName, NodeName
from keyweave.controller.events import Event, Severity
from keyweave.controller.topology import Condition
from keyweave.v1 import pairs_pb2
from tests.bench.networks import down
from tests.integration.admin_server import AdminServer, serving
from tests.integration.command_line import keyweave, operator_state
from tests.waiting import eventually


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[AdminServer]:
    async with serving(tmp_path) as running:
        yield running


@pytest.fixture
def state(server: AdminServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StateDir:
    state = operator_state(server, tmp_path / "state")
    monkeypatch.setenv("KEYWEAVE_STATE_DIR", str(state.root))
    return state


async def until(condition: Callable[[], bool], what: str) -> None:
    async def look() -> bool:
        return condition()

    await eventually(look, 60, what)


async def test_a_link_that_is_down_is_degraded_although_every_stream_has_keys(
    server: AdminServer, state: StateDir
) -> None:
    del state
    server.controller.network = down(server.controller.network, LinkName("bc"))
    assert server.controller.network.links[LinkName("bc")].condition is Condition.DOWN
    told, as_json, ready = await asyncio.gather(
        keyweave("status"), keyweave("status", "-o", "json"), keyweave("status", "--wait")
    )
    assert (told.code, as_json.code, ready.code) == (3, 3, 0)
    assert told.out.splitlines()[0].split()[0] == "DEGRADED"
    assert "link 'bc': down: as the test says" in told.out
    assert (as_json.json["health"], as_json.json["ready"]) == ("degraded", True)
    assert as_json.json["troubles"] == [
        {"weight": "impaired", "kind": "link", "name": "bc", "what": "down: as the test says"}
    ]


@pytest.mark.usefixtures("state")
async def test_where_nobody_looks_at_a_terminal_top_prints_once() -> None:
    once, sorted_, as_json = await asyncio.gather(
        keyweave("top"),
        keyweave("top", "--once", "--links", "name", "--match", "bc"),
        keyweave("top", "-o", "json", "--links", "rate"),
    )
    assert {one.code for one in (once, sorted_, as_json)} == {0}
    assert once.out.splitlines()[0].startswith("OK")
    assert "ab " in once.out
    assert "\nab " not in sorted_.out
    assert "\nbc " in sorted_.out
    assert [one["link"]["name"] for one in as_json.json["links"]] == ["bc", "ab"]


async def test_top_goes_on_while_the_network_is_away_and_shows_it_again_when_it_is_back(
    server: AdminServer, state: StateDir
) -> None:
    endpoints = state.read_endpoints()
    state.endpoints_file.unlink()
    board = Board()
    screen = Console(file=io.StringIO(), force_terminal=True, width=100, height=30)
    watching = asyncio.create_task(watch(Network(state), screen, board, 0.05))
    try:
        await until(lambda: board.away == "the network is down", "it is said that nobody answers")
        state.write_endpoints(endpoints)
        await until(lambda: not board.away and len(board.status.links) == 2, "the network is shown again")
        server.controller.events.publish(
            server.controller.events.number(
                Event("controller_started", Severity.INFO, "it leads", 1.0, fields={"epoch": "1"})
            )
        )
        await until(lambda: [one.message for one in board.events] == ["it leads"], "the event is shown")
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)


@pytest.mark.usefixtures("state")
async def test_a_shell_completes_the_networks_own_names_and_stays_silent_without_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("_KEYWEAVE_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", "keyweave link get a")
    monkeypatch.setenv("COMP_CWORD", "3")
    # A loaded machine may take longer than a prompt should.
    monkeypatch.setenv("KEYWEAVE_COMPLETION_SECONDS", "60")
    found = await keyweave()
    assert found.out.split() == ["ab"]
    monkeypatch.setenv("KEYWEAVE_STATE_DIR", str(tmp_path / "nowhere"))
    nothing = await keyweave()
    assert (nothing.out.strip(), nothing.errors) == ("", [])


@pytest.mark.usefixtures("state")
@pytest.mark.parametrize(
    ("fault", "offered"),
    [
        ("cut", ["ab", "bc", "ab-pairs"]),
        ("restore", ["ab", "bc", "ab-pairs"]),
        ("blind", ["ab", "bc"]),
        ("memory-failure", ["a", "b", "c"]),
    ],
)
async def test_faults_are_offered_what_can_have_them(
    server: AdminServer, monkeypatch: pytest.MonkeyPatch, fault: str, offered: list[str]
) -> None:
    book = server.controller.core.pairs.book
    bank = pairs_pb2.MemoryBank(memories=4)
    for node, peer in (("a", "b"), ("b", "a")):
        ends = [pairs_pb2.PairLinkEnd(link="ab-pairs", peer_node=peer, attempt_rate_hz=100.0)]
        book.hello(NodeName(node), bank, ends, 1.0)
    monkeypatch.setenv("_KEYWEAVE_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", f"keyweave fault {fault} ")
    monkeypatch.setenv("COMP_CWORD", "3")
    monkeypatch.setenv("KEYWEAVE_COMPLETION_SECONDS", "60")
    assert (await keyweave()).out.split() == offered
