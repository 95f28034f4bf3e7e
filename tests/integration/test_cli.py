"""The command line against a real admin API: exit codes, JSON, one line per error, no tracebacks."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from keyweave.cli.state_dir import Endpoints, StateDir
from keyweave.common.identity import Role
from tests.integration.admin_server import AdminServer, serving
from tests.integration.command_line import keyweave, operator_state


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[AdminServer]:
    async with serving(tmp_path) as running:
        yield running


@pytest.fixture
def state(server: AdminServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StateDir:
    """A state directory as `keyweave up` leaves it, found by the environment."""
    state = operator_state(server, tmp_path / "state")
    monkeypatch.setenv("KEYWEAVE_STATE_DIR", str(state.root))
    return state


@pytest.mark.usefixtures("state")
async def test_every_listing_is_snake_case_json_on_request() -> None:
    nodes, links, streams, plan, events, status = await asyncio.gather(
        keyweave("node", "list", "-o", "json"),
        keyweave("link", "list", "-o", "json"),
        keyweave("stream", "list", "-o", "json"),
        keyweave("plan", "show", "-o", "json"),
        keyweave("event", "list", "-o", "json"),
        keyweave("status", "-o", "json"),
    )
    assert {result.code for result in (nodes, links, streams, plan, events, status)} == {0}
    assert [entry["node"]["name"] for entry in nodes.json["nodes"]] == ["a", "b", "c"]
    assert links.json["links"][0]["condition"] == "LINK_CONDITION_OK"
    assert links.json["links"][0]["link"]["abort_qber_ratio"] == 0
    assert streams.json["streams"][0]["buffered_keys"] == "3"
    assert plan.json["streams"][0]["path_sets"][0]["paths"][0]["hops"][0]["from_node"] == "a"
    assert events.json == {"events": []}
    assert status.json["ready"] is True
    assert status.json["shortcomings"] == []


async def test_a_stream_lives_from_create_to_delete(server: AdminServer, state: StateDir) -> None:
    ends = ("--source-node", "a", "--target-node", "b", "--source-sae", "x", "--target-sae", "y")
    at = ("--state-dir", str(state.root), "-o", "json")
    preview = await keyweave("stream", "create", "new", *ends, "--require-qkd", "--validate-only", *at)
    assert {plan["stream"] for plan in preview.json["plan"]["streams"]} == {"s", "new"}
    created = await keyweave("stream", "create", "new", *ends, "--require-qkd", "--avoid-nodes", "c", *at)
    assert created.json["stream"]["avoid_nodes"] == ["c"]
    updated = await keyweave(
        "stream", "update", "new", "--priority", "7", "--clear", "avoid_nodes", "--revision", "1", *at
    )
    assert (updated.json["stream"]["priority"], updated.json["stream"]["avoid_nodes"]) == (7, [])
    assert updated.json["stream"]["require_qkd"] is True
    got = await keyweave("stream", "get", "new")
    assert "stream.priority: 7" in got.out.splitlines()
    deleted = await keyweave("stream", "delete", "new")
    assert (deleted.code, deleted.out) == (0, "")
    assert set((await server.store.load_intent()).streams) == {"s"}


@pytest.mark.usefixtures("state")
async def test_each_wrong_field_is_one_line_on_stderr() -> None:
    result = await keyweave("stream", "create", "new", "--source-node", "x", "--target-node", "a", "--k", "9")
    assert (result.code, result.out) == (1, "")
    assert all(line.startswith("error: stream.") for line in result.errors)
    assert {line.split(": ")[1] for line in result.errors} >= {"stream.k", "stream.source_sae"}
    stale = await keyweave("node", "update", "a", "--owner", "me", "--revision", "9")
    assert stale.code == 1
    assert stale.errors == ["error: aborted: node 'a' is at revision 1, not 9; read it again, then change it"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("frobnicate",), "frobnicate"),
        (("stream", "get"), "name"),
        (("link", "create", "x", "--technology", "telepathy"), "dv-qkd"),
        (("fault", "eavesdrop", "ab", "--fraction", "2"), "--fraction"),
    ],
)
async def test_what_cannot_be_parsed_is_a_usage_error(arguments: tuple[str, ...], words: str) -> None:
    result = await keyweave(*arguments)
    assert result.code == 2
    assert words in "\n".join(result.errors)


async def test_a_network_that_works_only_in_part_is_degraded_and_says_what_is_lacking(
    server: AdminServer, state: StateDir
) -> None:
    server.controller.connected = frozenset({"a", "b"})
    at = ("--state-dir", str(state.root))
    now, waited = await asyncio.gather(
        keyweave("status", "-o", "json", *at), keyweave("status", "--wait", "--timeout", "0.2", *at)
    )
    assert now.code == 3
    assert now.json["shortcomings"] == ["node 'c': its agent is not connected"]
    assert waited.code == 4
    assert "node 'c': its agent is not connected" in " ".join(waited.out.split())


async def test_status_waits_until_the_network_is_up_and_works(server: AdminServer, state: StateDir) -> None:
    state.endpoints_file.unlink()
    server.controller.connected = frozenset()
    waiting = asyncio.create_task(keyweave("status", "--wait", "--timeout", "30"))
    state.write_endpoints(Endpoints(server.address, "http://unused"))
    await server.controller.looked_at.wait()
    assert not waiting.done()
    server.controller.connected = frozenset({"a", "b", "c"})
    assert (await waiting).code == 0


async def test_nobody_there_is_unreachable(state: StateDir, tmp_path: Path) -> None:
    nowhere, refused, waited = await asyncio.gather(
        keyweave("status", "--state-dir", str(tmp_path / "nowhere")),
        keyweave("status", "--address", "127.0.0.1:1", "--state-dir", str(state.root)),
        keyweave("status", "--wait", "--timeout", "0.1", "--state-dir", str(tmp_path / "nowhere")),
    )
    assert [nowhere.code, refused.code, waited.code] == [5, 5, 5]
    assert "keyweave up" in nowhere.errors[0]
    assert len(refused.errors) == 1


async def test_a_network_not_started_by_up_is_reached_by_address_and_certificates(
    server: AdminServer, tmp_path: Path
) -> None:
    files = server.files(Role.VIEWER)
    found = (
        *("--address", server.address, "--certificate", str(files.certificate)),
        *("--key", str(files.private_key), "--trust-anchor", str(files.trust_anchor)),
        *("--state-dir", str(tmp_path / "nowhere")),
    )
    read, written = await asyncio.gather(
        keyweave("node", "list", "-o", "json", *found), keyweave("node", "create", "z", *found)
    )
    assert len(read.json["nodes"]) == 3
    assert written.code == 1
    assert written.errors[0].startswith("error: permission denied: ")


async def test_raising_the_epoch_must_be_confirmed_and_fences_what_runs(
    server: AdminServer, tmp_path: Path
) -> None:
    config = tmp_path / "controller.yaml"
    files = server.files(Role.CONTROLLER).model_dump(mode="json")
    config.write_text(json.dumps({"state_dir": str(tmp_path), "tls": files}))
    raising = ("controller", "raise-epoch", "--config", str(config), "--to", "900")
    unconfirmed = await keyweave(*raising)
    assert unconfirmed.code == 1
    assert "--confirm" in unconfirmed.errors[0]
    assert await server.store.stored_epoch() == 1
    assert (await keyweave(*raising, "--confirm")).code == 0
    assert await server.store.stored_epoch() == 900


async def test_a_wrong_configuration_is_named_by_file_line_and_field(tmp_path: Path) -> None:
    config = tmp_path / "agent.yaml"
    config.write_text("node: a\nmetrics_listen: nowhere\n")
    result = await keyweave("agent", "--config", str(config))
    assert result.code == 1
    assert any(line.startswith(f"error: {config}:2: metrics_listen") for line in result.errors)
    assert (await keyweave("up", str(tmp_path / "none.yaml"), "--state-dir", str(tmp_path))).errors == [
        f"error: {tmp_path / 'none.yaml'}: cannot be read: No such file or directory"
    ]
