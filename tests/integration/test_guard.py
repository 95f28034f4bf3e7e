"""What a guard does to a running agent: real agents, real TLS, real pools."""

from dataclasses import replace
from pathlib import Path

import pytest

from keyweave.agent.guard.model import Guard, Sharing, TransitGuard
from keyweave.agent.keyplane.failure import KeyPlaneError
from keyweave.agent.keyplane.streams.far import FarEnd
from keyweave.common.errors import describe_status
from keyweave.v1 import agent_pb2, types_pb2
from keyweave.v1 import keyplane_pb2 as pb
from tests.guards import open_guard, write
from tests.integration import mesh
from tests.integration.mesh import wait_until
from tests.integration.mesh_policy import MeshStream
from tests.integration.test_aftermath import Rules, change_policy

LINE = ("a-b", "b-c")
OVER_B = MeshStream(path_sets=((("a", "b", "c"),),), on_exhaustion=types_pb2.ON_EXHAUSTION_WAIT)
REFUSED = agent_pb2.AGENT_EVENT_KIND_GUARD_REFUSED


def guarded(node: str, **changes: object) -> Guard:
    return open_guard(node, "abc").model_copy(update=changes)


async def test_where_emulated_bits_do_not_count_a_stream_that_needs_qkd_has_no_keys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    honest = FarEnd.confirm

    def confirm(self: FarEnd, offer: pb.Offer) -> pb.Frame:
        try:
            return honest(self, offer)
        except KeyPlaneError as error:
            told.append(str(error))
            raise

    monkeypatch.setattr(FarEnd, "confirm", confirm)
    needs_qkd = replace(OVER_B, require_qkd=True)
    real_only = {"c": guarded("c", accept_emulated=False)}
    async with mesh.running(tmp_path, LINE, needs_qkd, guarded=real_only) as running:
        await wait_until(lambda: told, 15, "the far end refuses what the near end would accept")
        assert all("the offer lacks what the stream requires" in each for each in told)
        assert running.ready_keys("a") == running.ready_keys("c") == 0
        assert (await running.enc_keys("a", "c")).status_code == 503


async def test_a_peer_relays_no_more_through_a_node_than_its_owner_lets_it(tmp_path: Path) -> None:
    little = TransitGuard(for_nodes=("a", "b", "c"), max_bps=10**12, max_bps_from={"a": 0})
    async with mesh.running(tmp_path, LINE, OVER_B, guarded={"b": guarded("b", transit=little)}) as running:
        relays = running.plane("b").relays
        await wait_until(lambda: relays.over_guard_total > 0, 15, "b refuses shares of a")
        await wait_until(lambda: running.ready_keys("c") >= 4, 15, "c, whom the guard lets, has keys")
        assert running.ready_keys("a") == 0


async def test_a_policy_on_disk_that_the_guard_forbids_is_not_run_by_and_it_is_told(tmp_path: Path) -> None:
    strict = Sharing(peer_sae="sae-c", peer_node="c", require_qkd=True, require_pqc=True)
    owners = {"a": guarded("a", saes={"sae-a": (strict,)})}
    async with mesh.running(tmp_path, LINE, OVER_B, guarded=owners) as running:
        await wait_until(lambda: running.events_of(REFUSED, "a"), 10, "a says what it does not run by")
        (event,) = running.events_of(REFUSED, "a")
        assert event.stream == "s"
        assert "stream.require_qkd: is false; this node's guard allows true only" in event.reason
        assert "s" not in running.plane("a").near
        assert (await running.enc_keys("a", "c")).status_code == 401


async def test_a_guard_read_again_stops_and_starts_streams_and_its_digest_goes_to_the_controller(
    tmp_path: Path,
) -> None:
    async with mesh.running(tmp_path, LINE, OVER_B) as running:
        await running.supplied()
        agent, path = running.agents["a"].agent, tmp_path / "a" / "guard.yaml"
        before = agent.guardian.guard
        assert agent.hello.guard_digest == before.digest
        strict = Sharing(peer_sae="sae-c", peer_node="c", require_qkd=True, require_pqc=True)

        write(guarded("a", saes={"sae-a": (strict,)}), path)
        agent.reload_guard()
        assert "s" not in running.plane("a").near
        assert running.ready_keys("a") == 0, "what was made before is gone with the stream"
        assert agent.hello.guard_digest == agent.guardian.guard.digest != before.digest
        (withheld,) = agent.hello.withheld_rules
        assert withheld.rule_id == "stream/s"
        assert "stream.require_qkd" in describe_status(withheld.status)

        path.write_text("node: b\n", encoding="utf-8")
        agent.reload_guard()
        assert "s" not in running.plane("a").near, "a file that is no guard changes nothing"
        assert "not valid" in running.events_of(REFUSED, "a")[-1].reason

        write(before, path)
        agent.reload_guard()
        await running.supplied()
        assert agent.hello.guard_digest == before.digest
        assert not agent.hello.withheld_rules


async def test_keys_that_crossed_a_node_which_the_operator_forbids_later_are_gone_at_both_ends(
    tmp_path: Path,
) -> None:
    over_both = replace(OVER_B, path_sets=((("a", "b", "c"),), (("a", "d", "c"),)))

    def avoid_b(rules: Rules) -> None:
        rule = rules["stream/s"].stream
        rule.revision += 1
        rule.restricts_relays = True
        for paths in (rule.accepted_paths, *(path_set.paths for path_set in rule.path_sets)):
            for path in [path for path in paths if path.hops[0].to_node == "b"]:
                paths.remove(path)
        for path_set in [path_set for path_set in rule.path_sets if not path_set.paths]:
            rule.path_sets.remove(path_set)

    def over_b(node: str) -> bool:
        store = running.plane(node).store
        keys = [
            *store._ready.get("s", {}).values(),
            *(k for each in store._slave.values() for k in each.values()),
        ]
        return any("b" in key.provenance.trusted_nodes for key in keys)

    async with mesh.running(tmp_path, (*LINE, "a-d", "c-d"), over_both) as running:
        await running.supplied()
        await wait_until(lambda: over_b("a") and over_b("c"), 15, "keys that crossed b wait")
        for node in ("a", "c"):
            await change_policy(running, node, avoid_b)
            assert not over_b(node)
