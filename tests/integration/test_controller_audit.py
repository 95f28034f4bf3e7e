"""A whole controller with agents: what it did is in its audit log, what happened is with its receivers."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import pytest

from keyweave.cli.up.ports import HOST, free
from keyweave.common.identity import Identity, Plane, Role
from keyweave.common.pki import Authority
from keyweave.common.tls import secure_channel
from keyweave.controller.audit.chain import Verifier
from keyweave.controller.exports.config import ExportsConfig
from keyweave.v1 import admin_pb2 as pb
from keyweave.v1 import admin_pb2_grpc
from tests.integration.export_feed import Receiver, receiving
from tests.integration.test_controller import CONTROLLER, LINKS, Agent, Running, Site
from tests.waiting import eventually

WITHIN_SECONDS = 60.0


@pytest.fixture
def site(tmp_path: Path) -> Site:
    authority = Authority.create(Plane.CONTROL)
    (tmp_path / "ca.pem").write_bytes(authority.credential.certificate)
    made = Site(tmp_path, authority)
    made.revoke()
    return made


def agents() -> dict[str, Agent]:
    return {name: Agent(name, tuple(link for link, a, b in LINKS if name in (a, b))) for name in "abmn"}


def exports(receiver: Receiver) -> ExportsConfig:
    """To a receiver, and to one that nobody runs."""
    dead = receiver.settings(name="dead", url=f"https://{HOST}:{free(())}/")
    return ExportsConfig.model_validate({"webhooks": [receiver.settings(), dead]})


async def audited(controller: Running) -> list[dict[str, Any]]:
    """The whole log, checked."""
    verifier, entries, after = Verifier(), list[dict[str, Any]](), 0
    while True:
        page = await controller.admin.ListAuditEntries(pb.ListAuditEntriesRequest(after_sequence=after))
        for line in page.lines:
            verifier.take(line.encode())
            entries.append(json.loads(line))
        after = page.next_after_sequence
        if not after:
            break
    assert verifier.verdict().is_whole, verifier.verdict().faults
    return entries


def policies(entries: list[dict[str, Any]], action: str) -> list[tuple[str, str]]:
    return [(e["subject"], e["details"]["digest"]) for e in entries if e["action"] == action]


async def test_what_a_controller_did_is_in_its_log_across_a_restart_and_receivers_miss_no_event(
    site: Site, tmp_path: Path
) -> None:
    network = agents()
    async with receiving(tmp_path / "hook") as receiver:
        settings = exports(receiver)
        async with site.controller(exports=settings) as controller:
            await controller.create_network()
            async with controller.connected(network):

                async def answered() -> bool:
                    if not network["a"].first_hops():
                        return False
                    entries = await audited(controller)
                    pushed, acked = policies(entries, "push"), policies(entries, "ack")
                    return bool(pushed) and Counter(pushed) == Counter(acked)

                # Each policy that went out, and that its agent has applied it.
                await eventually(answered, WITHIN_SECONDS, "an answer to every push")
            entries = await audited(controller)
            assert Counter(e["action"] for e in entries if e["kind"] == "admin") == {
                "CreateNode": 4,
                "CreateLink": 4,
                "CreateStream": 1,
            }
            assert {e["actor"] for e in entries if e["kind"] == "admin"} == {
                "keyweave://control/operator/olga"
            }
            assert all(int(e["details"]["version"]) for e in entries if e["action"] in {"push", "ack"})
            async with aiohttp.ClientSession() as session, session.get(controller.metrics) as response:
                page = await response.text()
            assert 'keyweave_export_up{sink="dead"} 0.0' in page
        async with site.controller(exports=settings) as controller:
            await controller.admin.DeleteStream(pb.DeleteStreamRequest(name="s"))
            entries = await audited(controller)
            assert [e["details"]["epoch"] for e in entries if e["action"] == "lead"] == ["1", "2"]
            assert entries[-1]["action"] == "DeleteStream"
            request = pb.WatchEventsRequest(past=1000, past_only=True)
            happened = [answer.event.id async for answer in controller.admin.WatchEvents(request)]

            async def all_there() -> bool:
                return receiver.ids[: len(happened)] == happened

            await eventually(all_there, WITHIN_SECONDS, "every event at the receiver")
        assert happened[0] == 1
        assert receiver.taken[0]["type"] == "keyweave.controller_started"


async def test_what_a_viewer_and_a_revoked_operator_tried_is_in_the_log(site: Site) -> None:
    viewer = Identity(Plane.CONTROL, Role.VIEWER, "vera")
    revoked = Identity(Plane.CONTROL, Role.OPERATOR, "rolf")

    async def tried(controller: Running, caller: Identity) -> grpc.StatusCode:
        async with secure_channel(controller.address, site.files(caller), CONTROLLER) as channel:
            stub: admin_pb2_grpc.AdminServiceAsyncStub = admin_pb2_grpc.AdminServiceStub(channel)
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await stub.DeleteNode(pb.DeleteNodeRequest(name="nowhere"))
        return caught.value.code()

    async with site.controller() as controller:
        assert await tried(controller, viewer) is grpc.StatusCode.PERMISSION_DENIED
        assert await tried(controller, revoked) is grpc.StatusCode.NOT_FOUND
        site.revoke(revoked)

        async def refused() -> bool:
            return await tried(controller, revoked) is grpc.StatusCode.PERMISSION_DENIED

        await eventually(refused, WITHIN_SECONDS, "the revoked operator is refused")

        async def both() -> bool:
            denied = [e for e in await audited(controller) if e["outcome"] == "permission_denied"]
            return {e["actor"] for e in denied} == {viewer.uri, revoked.uri}

        await eventually(both, WITHIN_SECONDS, "two refusals")
        by_rolf = [e["outcome"] for e in await audited(controller) if e["actor"] == revoked.uri]
        assert by_rolf[0] == "not_found"
