"""The Tokyo network, as its users see it while its fibres break."""

import base64
import time
from collections.abc import AsyncIterator, Callable, Iterable
from functools import partial
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
import yaml

from keyweave.v1 import emulator_pb2
from tests.chaos.live import Fetched, Live, running
from tests.waiting import eventually

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(400)]
SCENARIO = Path(__file__).parents[2] / "scenarios" / "tokyo.yaml"
# Within each stream's guaranteed rate.
PACE = {"bank-settlement": 0.6, "ministry": 1.1, "grid-control": 1.1, "hospital-records": 4.1}
# Small buffers, so that a change of protection shows within seconds.
BUFFERS = {"bank-settlement": 6, "ministry": 4, "grid-control": 4, "hospital-records": 2}
LINKS = ("nec-nict", "toshiba", "ntt-nict", "mitsubishi", "all-vienna", "id-quantique")
# Those that are cut in `make test` too; `make test-all` cuts every one.
QUICK = ("toshiba", "mitsubishi")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def tokyo(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Live]:
    """The network, up for all tests of this file; whatever they did, the invariants must have held."""
    root = tmp_path_factory.mktemp("tokyo")
    scenario = yaml.safe_load(SCENARIO.read_text(encoding="utf-8"))
    for stream in scenario["streams"]:
        stream["buffer_keys"] = BUFFERS[stream["name"]]
    (root / "tokyo.yaml").write_text(yaml.safe_dump(scenario), encoding="utf-8")
    async with running(root / "tokyo.yaml", root) as live:
        yield live
        assert live.violations() == []
        _no_key_was_written_anywhere(live)


def _refused(results: Iterable[Fetched]) -> list[str]:
    return [f"{r.stream} at {r.at:.1f}: {r.status} {r.error}" for r in results if not r.ok]


async def test_every_stream_gives_both_ends_the_same_key_and_each_only_once(tokyo: Live) -> None:
    for name in tokyo.streams:
        fetched = await tokyo.fetch(name)
        assert fetched.ok, fetched
        key_id = fetched.keys[0]["key_ID"]
        again = await tokyo.decrypt_keys(name, [key_id])
        assert again.status_code == 400
        assert again.json()["message"] == "one or more keys specified are not found on KME"


async def test_the_standards_status_tells_what_can_be_had(tokyo: Live) -> None:
    spec = tokyo.streams["bank-settlement"]
    client = await tokyo.client(spec.source_sae)
    status = (await client.get(tokyo.url(spec.source_node, spec.target_sae, "status"))).json()
    assert status["source_KME_ID"] == spec.source_node
    assert status["target_KME_ID"] == spec.target_node
    assert (status["master_SAE_ID"], status["slave_SAE_ID"]) == (spec.source_sae, spec.target_sae)
    assert 0 < status["stored_key_count"] <= status["max_key_count"]
    assert status["max_SAE_ID_count"] == 16


@pytest.mark.parametrize(
    "link", [link if link in QUICK else pytest.param(link, marks=pytest.mark.slow) for link in LINKS]
)
async def test_no_request_fails_when_a_link_is_cut_and_keys_move_and_come_back(
    tokyo: Live, link: str
) -> None:
    async with tokyo.traffic(PACE) as results:
        before = {name: await _next_key(results, name) for name in tokyo.streams}
        affected = [name for name, was in before.items() if link in was.links]
        await tokyo.cut(link)
        await tokyo.wait_condition(link, "down", 5)
        for name in affected:
            await _next_key(results, name, lambda key: link not in key.links)
        await tokyo.restore(link)
        await tokyo.wait_condition(link, "ok", 60)
        for name in affected:
            await _next_key(results, name, partial(_is_back, before[name]))
    assert _refused(results) == []


def _is_back(before: Fetched, now: Fetched) -> bool:
    """As well protected as before the cut. A direct link wins its stream back; between ways round that
    are as good as each other nothing moves without need."""
    return now.protection == before.protection and (len(before.links) > 1 or now.links == before.links)


async def _next_key(
    results: list[Fetched], stream: str, like: Callable[[Fetched], bool] = lambda _: True
) -> Fetched:
    """The next key that the stream's applications get and that is as wanted."""
    seen = len(results)

    async def look() -> Fetched | None:
        return next((r for r in results[seen:] if r.stream == stream and r.ok and like(r)), None)

    found = await eventually(look, 60, f"another key of {stream} as wanted")
    assert found is not None
    return found


async def test_without_any_quantum_path_a_qkd_stream_gets_503_once_its_buffer_is_gone(tokyo: Live) -> None:
    for link in ("toshiba", "mitsubishi"):
        await tokyo.cut(link)
        await tokyo.wait_condition(link, "down", 5)
    statuses: set[int] = set()

    async def refused() -> bool:
        answer = await tokyo.encrypt_keys("bank-settlement", 2)
        statuses.add(answer.status_code)
        for key in answer.json().get("keys", ()):
            assert key["key_extension"]["keyweave_protection"] in {"qkd", "hybrid"}
        return answer.status_code == 503

    await eventually(refused, 60, "503 for bank-settlement")
    assert statuses <= {200, 503}
    for link in ("toshiba", "mitsubishi"):
        await tokyo.restore(link)
        await tokyo.wait_condition(link, "ok", 40)

    async def served() -> bool:
        return (await tokyo.fetch("bank-settlement")).protection == "hybrid"

    await eventually(served, 20, "bank-settlement served again")


async def test_full_eavesdropping_raises_qber_to_a_quarter_and_what_was_built_on_it_is_destroyed(
    tokyo: Live,
) -> None:
    began = time.time()
    await tokyo.fault("toshiba", emulator_pb2.FAULT_KIND_EAVESDROP)
    await tokyo.wait_condition("toshiba", "down", 10)

    async def measured() -> bool:
        qber = {s.link.name: s.qber_ratio for s in (await tokyo.status()).links}["toshiba"]
        return 0.23 < qber < 0.30

    await eventually(measured, 10, "QBER of about 25 %")
    ends = {"koganei-2", "otemachi-2"}

    async def quarantined() -> bool:
        events = [e for e in await tokyo.events("quarantined") if e.link == "toshiba"]
        return ends <= {e.node for e in events if e.time_unix_nanos / 1e9 > began}

    await eventually(quarantined, 10, "both ends of toshiba quarantined")
    # The buffer of 64 keys was made before; what was made since the onset is gone at both ends alike.
    answer = await tokyo.encrypt_keys("bank-settlement", 4)
    if answer.status_code == 200:
        keys = answer.json()["keys"]
        slave = await tokyo.decrypt_keys("bank-settlement", [key["key_ID"] for key in keys])
        assert slave.status_code == 200
    await tokyo.restore("toshiba")
    await tokyo.wait_condition("toshiba", "ok", 60)


async def test_metrics_of_controller_and_agents_show_links_streams_and_keys(tokyo: Live) -> None:
    endpoints = tokyo.layout.endpoints
    async with httpx.AsyncClient() as client:
        controller = (await client.get(endpoints.metrics)).text
        agent = (await client.get(endpoints.agent_metrics["koganei-2"])).text
    for name in (
        "keyweave_link_qber_ratio",
        "keyweave_link_secret_key_rate_bps",
        "keyweave_stream_protection",
    ):
        assert name in controller
    assert 'keyweave_agent_keys_served_total{protection="hybrid",stream="bank-settlement"}' in agent


def _no_key_was_written_anywhere(live: Live) -> None:
    """Delivered keys, raw, hex and base64, are in no file of the network and on no page it shows."""
    keys = [base64.b64decode(key["key"]) for fetched in live.fetched for key in fetched.keys]
    assert len(keys) > 100
    forms = [form for key in keys for form in (key, key.hex().encode(), base64.b64encode(key).rstrip(b"="))]
    files = [p for p in live.state.root.rglob("*") if p.is_file() and "pki" not in p.parts]
    assert any(p.suffix in {".db", ".sqlite", ".sqlite3"} for p in files), files
    pages = [
        httpx.get(url).content
        for url in (live.layout.endpoints.metrics, *live.layout.endpoints.agent_metrics.values())
    ]
    for place, content in [
        *((str(p), p.read_bytes()) for p in files),
        *(("metrics", page) for page in pages),
    ]:
        found = [form for form in forms if form in content]
        assert not found, f"{len(found)} keys in {place}"
