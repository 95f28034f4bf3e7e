"""A network whose keys come through a vendor's domain: agents of ours, and KMEs of a vendor's, over HTTPS."""

from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from keyweave.agent.keyplane.links import linkpools
from keyweave.agent.ledger import search
from keyweave.common.identity import Identity, Plane, Role
from keyweave.common.names import NodeName
from keyweave.v1 import agent_pb2, types_pb2
from tests.integration import mesh
from tests.integration.mesh import Mesh, wait_until
from tests.integration.mesh_policy import MeshStream, sae
from tests.integration.test_key_plane import draw_and_collect, without_grace
from tests.integration.vendor_kme import Vendor, vendor

__all__ = ["without_grace"]

QKD_ONLY = MeshStream(
    path_sets=((("a", "b"),),),
    require_qkd=True,
    on_exhaustion=types_pb2.ON_EXHAUSTION_WAIT,
)
BEYOND = replace(QKD_ONLY, path_sets=((("a", "b", "c"),),))


def sources_of(vendors: Vendor) -> dict[str, dict[str, Any]]:
    """The link a-b by the vendor's KMEs."""
    return {node: {"driver": "etsi014", "settings": vendors.settings(node)} for node in ("a", "b")}


def through(domain: Mesh, node: str, here: str, there: str, **link: Any) -> dict[str, Any]:
    """The driver of the agent at "a" or "b", which is an SAE of the other network."""
    files = domain.files(Identity(Plane.SAE, Role.SAE, sae(here)))
    tls = files.model_dump(mode="json", include={"certificate", "private_key", "trust_anchor"})
    settings = {
        "peer_node": "b" if node == "a" else "a",
        "model": "Keyweave",
        "kme": domain.agents[here].kme,
        "peer_sae": sae(there),
        "vendor_domain": "other-metro",
        "interval_seconds": 0.1,
        "emulated": True,
        **link,
    }
    return {"driver": "etsi014", "settings": {"tls": tls, "links": {"a-b": settings}}}


async def test_keys_of_one_network_of_ours_feed_another_one_and_say_through_whose_domain_they_came(
    tmp_path: Path,
) -> None:
    domain_stream = MeshStream(
        path_sets=((("x", "y", "z"),),), on_exhaustion=types_pb2.ON_EXHAUSTION_WAIT, rate_bps=40_000
    )
    for name in ("domain", "ours"):
        (tmp_path / name).mkdir()
    async with AsyncExitStack() as stack:
        domain = await stack.enter_async_context(
            mesh.running(tmp_path / "domain", ("x-y", "y-z"), domain_stream)
        )
        await domain.supplied()
        sources = {"a": through(domain, "a", "x", "z"), "b": through(domain, "b", "z", "x")}
        ours = await stack.enter_async_context(
            mesh.running(tmp_path / "ours", ("a-b",), QKD_ONLY, sources=sources)
        )
        await ours.supplied(deadline_seconds=40)
        for master, slave in (("a", "b"), ("b", "a")):
            for provenance in await draw_and_collect(ours, master, slave):
                assert provenance["keyweave_vendor_domains"] == ["other-metro"]
                assert provenance["keyweave_links"] == ["a-b"]
                assert provenance["keyweave_emulated"] is True
        assert ours.recording.not_durable == []


async def test_keys_go_on_through_a_stall_and_a_restart_of_the_vendors_and_every_ledger_names_its_domain(
    tmp_path: Path,
) -> None:
    """Of two hops the vendor's is the one that c does not see itself."""
    async with vendor(tmp_path) as vendors:
        sources = sources_of(vendors)
        async with mesh.running(tmp_path, ("a-b", "b-c"), BEYOND, sources=sources) as ours:
            await ours.supplied(deadline_seconds=40)
            async with vendors.domain.stall("east"):
                await draw_and_collect(ours, "c", "a", number=8)
            await vendors.west.stop()
            vendors.domain.lose()
            await vendors.west.start()
            for _ in range(8):
                await wait_until(lambda: ours.ready_keys("c") >= 8, 40, "keys come again")
                for provenance in await draw_and_collect(ours, "c", "a", number=8):
                    assert provenance["keyweave_vendor_domains"] == ["acme-metro"]
                    assert provenance["keyweave_trusted_nodes"] == ["b"]
        for node in ("a", "c"):
            query = agent_pb2.LedgerQuery(stream="s", limit=1000)
            pages = search.pages(tmp_path / node / "ledger", NodeName(node), query)
            entries = [entry for page in pages for entry in page.entries]
            assert len(entries) >= 72
            assert {tuple(entry.vendor_domains) for entry in entries} == {("acme-metro",)}


async def test_where_the_operator_limits_who_may_relay_a_vendors_domain_makes_no_qkd_key(
    tmp_path: Path, without_grace: None
) -> None:
    limited = replace(
        QKD_ONLY,
        require_qkd=False,
        on_exhaustion=types_pb2.ON_EXHAUSTION_PQC,
        restricts_relays=True,
    )
    async with vendor(tmp_path) as vendors:
        sources = sources_of(vendors)
        async with mesh.running(tmp_path, ("a-b",), limited, sources=sources) as ours:
            await wait_until(lambda: ours.plane("a").links["a-b"].pool, 40, "there is a pool")
            pool = ours.plane("a").links["a-b"].pool
            await wait_until(lambda: pool.send_bytes() > 16_000, 40, "there is key for many batches")
            # More than were made before.
            for _ in range(6):
                await ours.supplied(deadline_seconds=40)
                for provenance in await draw_and_collect(ours, "a", "b", number=4):
                    assert provenance["keyweave_protection"] == "pqc"


async def test_no_more_key_is_drawn_from_the_vendors_than_pools_keep_ready(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(linkpools, "READY_BYTES", 4096)
    async with vendor(tmp_path) as vendors:
        sources = sources_of(vendors)
        async with mesh.running(tmp_path, ("a-b",), sources=sources) as ours:
            end = ours.plane("a").links["a-b"]
            await wait_until(lambda: end.pool and end.pool.kept_bytes >= 4096, 40, "enough is ready")
            asked = vendors.domain.asked
            drawn, polled = asked["west enc_keys"], asked["west status"]
            await wait_until(lambda: asked["west status"] > polled + 5, 40, "time passes")
            assert asked["west enc_keys"] == drawn
            most = 4096 + 16 * 32  # and one request
            assert 4096 <= end.pool.kept_bytes <= most
            taken = end.pool.kept_bytes
            end.pool.burn_oldest(512)
            await wait_until(lambda: end.pool.kept_bytes >= 4096, 40, "what is used is drawn anew")
            assert asked["west enc_keys"] > drawn
            assert taken <= most
