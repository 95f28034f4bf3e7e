"""Orders, drains, ledgers and warnings on the command line, against a real admin API."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from keyweave.cli.state_dir import Endpoints, StateDir
from keyweave.common.identity import Role
from keyweave.common.names import LinkName, NodeName
from keyweave.v1 import types_pb2
from tests.integration.admin_server import AdminServer, serving
from tests.integration.command_line import keyweave
from tests.integration.test_ledger import agent

ORDER = {"destroy": ("link", "ab"), "zeroize": ("node", "a")}


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[AdminServer]:
    async with serving(tmp_path) as running:
        yield running


@pytest.fixture(autouse=True)
def state(server: AdminServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StateDir:
    """A state directory as `keyweave up` leaves it, found by the environment."""
    state = StateDir(tmp_path / "state")
    state.pki.mkdir(parents=True)
    files, target = server.files(Role.OPERATOR, name="ann"), state.operator_tls()
    for source, path in (
        (files.certificate, target.certificate),
        (files.private_key, target.private_key),
        (files.trust_anchor, target.trust_anchor),
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(source.read_bytes())
    state.write_endpoints(Endpoints(server.address, "http://unused"))
    monkeypatch.setenv("KEYWEAVE_STATE_DIR", str(state.root))
    return state


@pytest.mark.parametrize("verb", ORDER)
async def test_nothing_is_destroyed_without_confirmation(server: AdminServer, verb: str) -> None:
    kind, name = ORDER[verb]
    refused = await keyweave(kind, verb, name)
    assert refused.code == 1
    assert "--confirm" in refused.errors[0]
    assert server.controller.submitted == []
    done = await keyweave(kind, verb, name, "--confirm")
    assert (done.code, done.errors) == (0, [])
    (order,) = await server.store.load_orders()
    assert order.order_id in done.out
    assert order.ordered_by == "ann"


async def test_a_waiting_order_is_shown_with_who_keeps_it_waiting(server: AdminServer) -> None:
    cleared = await keyweave("link", "clear", "ab", "-o", "json")
    assert cleared.json["waiting_for_nodes"] == ["a", "b"]
    shown = await keyweave("status")
    assert "order link-clear ab" in shown.out
    assert "waits for a, b" in shown.out
    assert (await keyweave("status", "-o", "json")).json["orders"] == [cleared.json]
    assert len(server.controller.given) == 1


async def test_a_node_is_drained_and_a_link_disabled_until_it_is_said_otherwise(server: AdminServer) -> None:
    async def stored() -> tuple[bool, bool]:
        intent = await server.store.load_intent()
        return intent.nodes[NodeName("b")].maintenance, intent.links[LinkName("ab")].disabled

    assert (await keyweave("node", "drain", "b")).out == "node b: relays nothing\n"
    assert (await keyweave("link", "disable", "ab", "-o", "json")).json["link"]["disabled"] is True
    assert await stored() == (True, True)
    assert (await keyweave("node", "undrain", "b")).code == 0
    assert (await keyweave("link", "enable", "ab")).out == "link ab: enabled\n"
    assert await stored() == (False, False)


async def test_what_the_network_cannot_give_a_new_stream_is_a_warning_on_stderr() -> None:
    ends = ("--source-node", "a", "--target-node", "c", "--source-sae", "x", "--target-sae", "y")
    created = await keyweave("stream", "create", "new", *ends, "--require-qkd", "--k", "2")
    assert created.code == 0
    (warning,) = created.errors
    assert warning.startswith("warning: k=2 needs 2 node-disjoint paths")
    assert "link ab is a bridge" in warning


async def test_every_requirement_of_a_stream_can_be_set_shown_and_cleared() -> None:
    given = {
        "refresh-seconds": "20",
        "on-exhaustion": "refuse",
        "max-trusted-nodes": "0",
        "allowed-trust-domains": "bank",
    }
    options = [word for name, value in given.items() for word in (f"--{name}", value)]
    assert (await keyweave("stream", "update", "s", *options)).code == 0
    stream = (await keyweave("stream", "get", "s", "-o", "json")).json["stream"]
    assert stream["refresh_seconds"] == 20
    assert stream["on_exhaustion"] == "ON_EXHAUSTION_REFUSE"
    assert stream["max_trusted_nodes"] == 0
    assert stream["allowed_trust_domains"] == ["bank"]
    cleared = await keyweave("stream", "update", "s", "--clear", "max-trusted-nodes", "-o", "json")
    assert "max_trusted_nodes" not in cleared.json["stream"]


async def test_a_ledger_is_shown_line_by_line_and_an_end_that_is_away_makes_it_incomplete(
    server: AdminServer,
) -> None:
    line = types_pb2.LedgerEntry(
        node="a",
        stream="s",
        time_unix_nanos=1_700_000_000_000_000_000,
        key_id="8d9a6f0e-0000-4000-8000-000000000001",
        outcome=types_pb2.LEDGER_OUTCOME_RECALLED,
        protection=types_pb2.PROTECTION_QKD,
        master_sae="x",
        slave_sae="y",
        reason="link 'ab' was under attack",
    )
    async with agent(server, "a") as a:
        for output in ("table", "json"):
            async with asyncio.TaskGroup() as group:
                showing = group.create_task(keyweave("ledger", "show", "s", "--from", "-2d", "-o", output))
                query = await a.asked()
                assert query.ledger.limit == 10_000
                assert query.ledger.to_unix_nanos - query.ledger.from_unix_nanos == 2 * 86_400 * 10**9
                await a.page(query.query_id, [line], last=True)
            shown = showing.result()
            assert shown.code == 3
            assert line.key_id in shown.out
            if output == "table":
                assert "recalled" in shown.out
                assert shown.errors == ["warning: not all of node 'c': its agent is not connected"]
            else:
                assert '"problem": "its agent is not connected"' in shown.out


@pytest.mark.parametrize("wrong", ["yesterday", "-1w", "1h", "2026-13-01"])
async def test_a_time_that_is_none_is_named_with_the_forms_that_are(wrong: str) -> None:
    refused = await keyweave("ledger", "show", "s", "--from", wrong)
    assert refused.code == 1
    assert refused.errors[0].startswith(f"error: --from: '{wrong}' is no time; give ")
    assert "-1h" in refused.errors[0]
