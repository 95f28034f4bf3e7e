"""A walk through `keyweave maintenance`, `schedule` and `plan`, as an operator takes it."""

import asyncio
import re
import uuid
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from keyweave.common.names import StreamName
from keyweave.controller.plan_records import PlanRecord
from keyweave.controller.plan_shelf import packed
from keyweave.controller.topology import Plan
from tests.integration.admin_server import AdminServer, serving
from tests.integration.command_line import keyweave, operator_state


@pytest.fixture
async def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[AdminServer]:
    async with serving(tmp_path) as running:
        monkeypatch.setenv("KEYWEAVE_STATE_DIR", str(operator_state(running, tmp_path / "state").root))
        yield running


@pytest.mark.usefixtures("server")
async def test_a_window_from_planning_to_its_early_end() -> None:
    tried, nothing, wrong = await asyncio.gather(
        keyweave("maintenance", "create", "t", "--link", "bc", "--for", "1h", "--validate-only"),
        keyweave("maintenance", "create", "t", "--link", "bc"),
        keyweave("maintenance", "create", "t", "--link", "bc", "--end", "-1h"),
    )
    assert tried.code == 0
    assert [line for line in tried.errors if line.startswith("note: stream 's': no quantum path is left")]
    assert (nothing.code, wrong.code) == (1, 1)
    assert "--end" in nothing.errors[0]
    assert "end_unix_nanos: must be after start_unix_nanos" in wrong.errors[0]
    made, ahead = await asyncio.gather(
        keyweave("maintenance", "create", "splice", "--link", "bc", "--for", "1h", "--reason", "new fibre"),
        keyweave(
            *("maintenance", "create", "later", "--node", "b", "--start", "+2h", "--end", "+3h"),
            *("--lead", "1m"),
        ),
    )
    assert (made.code, ahead.code) == (0, 0)
    listed, table, shown = await asyncio.gather(
        keyweave("maintenance", "list", "-o", "json"),
        keyweave("maintenance", "list"),
        keyweave("maintenance", "show", "splice"),
    )
    phases = {one["maintenance"]["name"]: one["phase"] for one in listed.json["maintenances"]}
    assert phases == {"splice": "MAINTENANCE_PHASE_UNDER_WAY", "later": "MAINTENANCE_PHASE_PLANNED"}
    assert listed.json["maintenances"][0]["maintenance"]["lead_seconds"] == 60
    assert "under-way" in table.out
    assert re.search(r"Maintenance, \w+", table.out), "the zone that its times are in"
    assert "new fibre" in shown.out
    assert "nanos" not in shown.out
    assert re.search(r"^start: \d{4}-\d\d-\d\d \d\d:\d\d:\d\d \w+", shown.out, re.MULTILINE)
    assert "streams over it now: s" in shown.out
    moved, ended = await asyncio.gather(
        keyweave("maintenance", "update", "later", "--for", "90m"),
        keyweave("maintenance", "end", "splice"),
    )
    assert (moved.code, ended.code) == (0, 0)
    over = await keyweave("maintenance", "show", "splice", "-o", "json")
    assert over.json["phase"] == "MAINTENANCE_PHASE_OVER"
    assert (await keyweave("maintenance", "delete", "later")).code == 0


@pytest.mark.usefixtures("server")
async def test_a_schedule_from_making_to_deleting_it() -> None:
    request_id = str(uuid.uuid4())
    options = [
        *("--tenant", "bank", "--application-class", "vpn", "--refresh", "30s", "--key-ttl", "10m"),
        *("--at", "22:00-06:00", "--request-id", request_id),
    ]
    made = await keyweave("schedule", "create", "night", *options)
    again = await keyweave("schedule", "create", "night", *options)
    assert made.code == 0
    assert (again.code, again.out) == (0, made.out)
    wrong, listed = await asyncio.gather(
        keyweave("schedule", "create", "x", "--refresh", "soon"), keyweave("schedule", "list")
    )
    assert wrong.code == 1
    assert "--refresh" in wrong.errors[0]
    assert "22:00-06:00" in listed.out
    assert (await keyweave("schedule", "update", "night", "--always", "--refresh", "45s")).code == 0
    got = await keyweave("schedule", "get", "night", "-o", "json")
    assert (got.json["schedule"]["times"], got.json["schedule"]["refresh_seconds"]) == ([], 45)
    assert (await keyweave("schedule", "delete", "night", "--etag", "stale")).code == 1
    assert (await keyweave("schedule", "delete", "night")).code == 0


async def test_plans_are_listed_compared_and_gone_back_to(server: AdminServer) -> None:
    plan = server.controller.planned
    name = StreamName("s")
    without = replace(plan.streams[name], path_sets=(), rate_bps=0.0)
    for old in (replace(plan, version=3), Plan(5, 1, {name: without}), replace(plan, version=7)):
        await server.store.keep_plan(PlanRecord(old, 1.7e9 + old.version, (name,)), packed(old))
    listed, shown, same, other, refused, done = await asyncio.gather(
        keyweave("plan", "list"),
        keyweave("plan", "show", "5", "-o", "json"),
        keyweave("plan", "diff", "3"),
        keyweave("plan", "diff", "5", "7"),
        keyweave("plan", "rollback", "5"),
        keyweave("plan", "rollback", "3"),
    )
    tried = await keyweave("plan", "rollback", "3", "--validate-only")
    assert "nothing has changed" in tried.out
    assert "would be pinned to plan 3: s" in tried.out
    assert "in force" in listed.out
    assert shown.json["version"] == "5"
    assert "give every stream the same" in same.out
    assert "no quantum path" in other.out
    assert "a → b → c" in other.out
    assert refused.code == 1
    assert "it had no quantum path by that plan" in refused.errors[0]
    assert done.code == 0
    assert "pinned to plan 3 by somebody" in done.out
    server.controller.network = replace(server.controller.network, pin=await server.store.pin())
    shown, freed = await asyncio.gather(keyweave("plan", "show"), keyweave("plan", "unpin"))
    assert "pinned to plan 3" in shown.out
    assert "no longer pinned to plan 3: s" in freed.out
