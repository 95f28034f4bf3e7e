"""Every listing, found by walking the commands, is JSON on request; what is wrongly asked is told well."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from keyweave.cli.main import main
from keyweave.cli.manual import tree
from keyweave.cli.state_dir import StateDir
from keyweave.cli.words import command_line
from keyweave.common.identity import Role
from tests.integration.admin_server import AdminServer, serving
from tests.integration.command_line import operator_state

LISTINGS = [
    one.path
    for one in tree.walk(command_line())
    if one.path[-1:] == ("list",) and one.finds_network and one.path[0] != "fault"
]


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[AdminServer]:
    async with serving(tmp_path) as running:
        yield running


@pytest.fixture
def state(server: AdminServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StateDir:
    state = operator_state(server, tmp_path / "state")
    monkeypatch.setenv("KEYWEAVE_STATE_DIR", str(state.root))
    return state


async def run(*arguments: str) -> int:
    """A command in a thread of this process: the server's loop goes on meanwhile."""
    return await asyncio.to_thread(main, arguments)


@pytest.mark.usefixtures("state")
async def test_every_listing_is_json_on_request(capsys: pytest.CaptureFixture[str]) -> None:
    assert {"node", "link", "stream", "event", "plan", "audit"} <= {path[0] for path in LISTINGS}
    for path in LISTINGS:
        assert await run(*path, "-o", "json") == 0, path
        told = capsys.readouterr()
        # One object, or one a line where a log is listed.
        try:
            json.loads(told.out)
        except json.JSONDecodeError:
            assert [json.loads(line) for line in told.out.splitlines()] or not told.out
        assert told.err == ""


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("link", "get", "abb"), "not found: there is no link 'abb'; did you mean ab"),
        (("node", "drain", "zz"), "not found: there is no node 'zz'; there are a, b, c"),
        (("stream", "explain", "t"), "not found: there is no stream 't'; there is s"),
        (("ledger", "show", "t"), "not found: there is no stream 't'; there is s"),
        (("plan", "what-if", "cut abb"), "changes[0].cut_link: there is no link 'abb'; did you mean ab"),
        (("stream", "update", "s", "--min-rate-bps", "-1"), "--min-rate-bps: -1 is out of range"),
        (("link", "update", "ab", "--clear", "colour"), "colour"),
        (("link", "destroy", "ab"), "say so with --confirm"),
    ],
)
@pytest.mark.usefixtures("state")
async def test_what_was_wrongly_asked_is_one_line_that_says_what_to_do(
    arguments: tuple[str, ...], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await run(*arguments) == 1
    told = capsys.readouterr()
    assert told.out == ""
    assert words in told.err
    assert all(line.startswith("error: ") for line in told.err.splitlines())


async def test_a_certificate_of_another_role_is_told_which_roles_may(
    server: AdminServer, state: StateDir, capsys: pytest.CaptureFixture[str]
) -> None:
    del state
    viewer = server.files(Role.VIEWER)
    shown = ("--certificate", str(viewer.certificate), "--key", str(viewer.private_key))
    assert await run("link", "disable", "ab", *shown) == 1
    assert "is no operator of the control plane" in capsys.readouterr().err
