"""Certificates and backups in a network of real processes while keys flow."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from keyweave.cli.main import main
from keyweave.cli.up.layout import CONTROLLER, agent_process
from keyweave.v1 import admin_pb2, types_pb2
from tests.chaos.operated import NODES, Operated, operated
from tests.waiting import eventually

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(300), pytest.mark.slow]
EVERYBODY = (*NODES, CONTROLLER)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def network(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Operated]:
    """One for all tests of this file, in their order."""
    async with operated(tmp_path_factory.mktemp("operated")) as running:
        yield running


async def test_every_certificate_is_renewed_and_the_old_ones_revoked_while_keys_flow(
    network: Operated,
) -> None:
    """b first: a, which dials, dials again with its own new certificate, and is shown b's."""
    await network.wait_ready()
    destroyed = len(await network.events("pool_destroyed"))
    async with network.drawing() as draws:
        for _ in range(2):
            before = network.serials(*EVERYBODY)
            await renewed(network, CONTROLLER)
            await shown_by_controller(network)
            await renewed(network, "b", "signing_key_taken")
            await renewed(network, "a", "session_up")
            assert not set(before) & set(network.serials(*EVERYBODY))
            await draws.more(20, "keys flow with old and new certificates")
            network.revoke(before)
            await asyncio.to_thread(network.fetch_lists, *EVERYBODY)
            for name in EVERYBODY:
                await said(network, name, "trust_reloaded")
            await draws.more(40, "keys flow with new certificates only")
    await network.wait_ready("both agents are with the controller")
    assert await network.events("peer_revoked") == []
    assert len(await network.events("pool_destroyed")) == destroyed, "pools have survived"


async def renewed(network: Operated, name: str, sign: str = "") -> None:
    """Renew, and wait until the process that runs has given a sign of it."""
    network.heard[name] = len(network.log(name))
    await asyncio.to_thread(network.renew, name)
    if sign:
        await said(network, name, sign)


async def shown_by_controller(network: Operated) -> None:
    """Connect anew, perhaps in the middle of the change, until the controller shows its new certificate."""
    wanted = dict(network.serials(CONTROLLER))["control"]

    async def shown() -> bool:
        return await asyncio.to_thread(network.shown_by_controller) == wanted

    await eventually(shown, 60, "the controller shows its new certificate")


async def said(network: Operated, name: str, sign: str) -> None:
    """Wait until a process says something that it had not said before."""

    async def look() -> bool:
        return sign in network.log(name)[network.heard.get(name, 0) :]

    await eventually(look, 60, f"{name} says {sign}")
    network.heard[name] = len(network.log(name))


async def test_the_controllers_certificate_is_replaced_again_and_again_under_load(
    network: Operated,
) -> None:
    """New connections get the new certificate, those that are there go on: no agent is lost."""
    await network.wait_ready()
    lost = len(await network.events("agent_lost"))
    async with network.drawing() as draws:
        for _ in range(4):
            await asyncio.to_thread(network.renew, CONTROLLER)
            await shown_by_controller(network)
            assert (await network.status()).nodes[0].connected
        await draws.more(20, "keys flow on")
    assert len(await network.events("agent_lost")) == lost
    assert "certificate_not_taken" not in network.log(CONTROLLER)


async def test_a_node_that_was_thrown_out_gets_nothing_until_it_is_enrolled_anew(network: Operated) -> None:
    await network.wait_ready()
    network.pki("revoke", "--role", "agent", "--name", "b")
    await asyncio.to_thread(network.fetch_lists, "a", CONTROLLER)

    async def cut_off() -> bool:
        status = await network.status()
        (b,) = (node for node in status.nodes if node.node.name == "b")
        return not b.connected and (await network.draw()).startswith("enc_keys: 503")

    await eventually(cut_off, 60, "b is cut off from controller and peer")
    assert await network.events("peer_revoked") != []
    assert (
        await asyncio.to_thread(main, ["agent", "renew", "--dir", str(network.held["b"].root), "--now"]) == 1
    )
    await asyncio.to_thread(network.enrol_again, "b")
    await network.wait_ready("b is back")
    assert await network.draw() == ""


async def test_a_restored_backup_changes_nothing_until_its_epoch_is_raised_and_then_leads(
    network: Operated, tmp_path: Path
) -> None:
    await network.wait_ready()
    config = str(network.layout.state.config(CONTROLLER))
    backup = str(tmp_path / "backup.tar")
    async with network.drawing() as draws:
        # ---- the backup, while everything runs, and a network that goes on after it
        assert await asyncio.to_thread(main, ["controller", "backup", backup, "--config", config]) == 0
        backed_up = (await network.status()).epoch
        await network.stop(CONTROLLER)
        await network.start(CONTROLLER)
        await network.wait_ready("the controller leads again")
        later = types_pb2.Stream(
            name="later", source_node="b", target_node="a", source_sae="carol", target_sae="dave",
            max_rate_bps=1024, require_qkd=True,
        )  # fmt: skip
        async with network.admin() as admin:
            await admin.CreateStream(admin_pb2.CreateStreamRequest(stream=later), timeout=30)
        await network.wait_ready("the stream that the backup knows nothing of has keys")
        seen = (await network.status()).epoch
        assert seen == backed_up + 1, "as the restored one will claim: the nearest miss"

        # ---- the restore
        restoring = ["controller", "restore", backup, "--config", config]
        assert await asyncio.to_thread(main, [*restoring, "--force"]) == 1, "it runs"
        await network.stop(CONTROLLER)
        assert await asyncio.to_thread(main, restoring) == 1, "it holds a network"
        assert await asyncio.to_thread(main, [*restoring, "--force"]) == 0
        await network.start(CONTROLLER)

        async def fenced() -> bool:
            return (await network.status()).read_only

        await eventually(fenced, 60, "the restored controller notices that agents know better")
        behind = (await network.events("epoch_behind"))[-1]
        assert behind.fields["seen_epoch"] == str(seen)
        await draws.more(20, "keys flow on by the policy that agents have")

        # ---- it shall lead
        await network.stop(CONTROLLER)
        raising = ["controller", "raise-epoch", "--config", config, "--confirm", "--to"]
        assert await asyncio.to_thread(main, [*raising, str(seen + 10)]) == 0
        await network.start(CONTROLLER)
        await network.wait_ready("the restored controller leads")
        status = await network.status()
        assert status.epoch == seen + 11
        assert not status.read_only
        assert [each.stream.name for each in status.streams] == ["s"]
        await draws.more(20, "streams serve under the restored controller")
    assert all(agent_process(node) in network.children for node in NODES)
