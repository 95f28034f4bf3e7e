"""The running face and its OpenAPI description say the same: schemathesis asks over mutual TLS."""

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import pytest
import requests
import schemathesis
import yaml
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

from keyweave.agent.etsi014 import extensions
from keyweave.agent.etsi014.supply import Drawn, KeyOrder, Refusal, SupplyError, SupplyStatus
from keyweave.common.names import SaeId
from keyweave.common.tls import TlsFiles
from tests.integration.etsi014_face import MASTER, SLAVE, FakeSupply, Pki, serving

DESCRIPTION = Path(__file__).parents[2] / "docs/openapi/etsi-gs-qkd-014.yaml"
SCHEMA = schemathesis.openapi.from_dict(yaml.safe_load(DESCRIPTION.read_text("utf-8")))
OPERATIONS: dict[str, Any] = {
    operation.label: operation
    for operation in (each.ok() for each in SCHEMA.get_all_operations())  # type: ignore[union-attr]
}
ENC_KEYS = [label for label in OPERATIONS if label.endswith("/enc_keys")]
EXAMPLES = 30
FURTHER = SaeId("bank-c")
EXTENSION = {
    "keyweave_protection": "hybrid",
    "keyweave_stream": "s",
    "keyweave_paths": ["s:tokyo-koganei"],
    "keyweave_shares": 1,
    "keyweave_links": ["tokyo-koganei"],
    "keyweave_trusted_nodes": [],
    "keyweave_emulated": True,
    "keyweave_vendor_domains": [],
}


class Plenty(FakeSupply):
    """All that a KME can do at most, so that whatever the description allows is delivered."""

    def status(self, caller: SaeId, peer: SaeId) -> SupplyStatus:
        super().status(caller, peer)
        return SupplyStatus(
            source_kme_id="tokyo",
            target_kme_id="koganei",
            master_sae_id=caller,
            slave_sae_id=peer,
            key_size=256,
            stored_key_count=12,
            max_key_count=64,
            max_key_per_request=128,
            max_key_size=8192,
            min_key_size=64,
            max_sae_id_count=16,
            extension={
                "keyweave_extensions": extensions.SUPPORTED,
                "keyweave_stream": "s",
                "keyweave_protection": "hybrid",
                "keyweave_paths": ["s:tokyo-koganei"],
            },
        )

    async def draw(self, caller: SaeId, peer: SaeId, order: KeyOrder) -> Drawn:
        strangers = [slave for slave in order.further_slaves if slave != FURTHER]
        if strangers:
            raise SupplyError(Refusal.NOT_ALLOWED, f"no stream joins {caller} and {strangers[0]}")
        drawn = await super().draw(caller, peer, order)
        return Drawn(drawn.keys, tuple(demand.name for demand in order.optional))


class Running:
    """The face on a thread of its own, as schemathesis blocks the one it runs in."""

    def __init__(self, pki: Pki) -> None:
        self.url = ""
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve(pki)), name="face")

    async def _serve(self, pki: Pki) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        async with serving(pki, Plenty(extension=EXTENSION)) as self.url:
            self._ready.set()
            await self._stop.wait()

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)
        assert not self._thread.is_alive()


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return Pki(tmp_path_factory.mktemp("pki"))


@pytest.fixture(scope="module")
def url(pki: Pki) -> Iterator[str]:
    with Running(pki) as running:
        yield running.url


@pytest.fixture(scope="module")
def session(pki: Pki) -> Iterator[requests.Session]:
    with session_of(pki, pki.sae(MASTER)) as http:
        yield http


def session_of(pki: Pki, sae: TlsFiles) -> requests.Session:
    http = requests.Session()
    http.trust_env = False
    http.verify = str(pki.ca)
    http.cert = (str(sae.certificate), str(sae.private_key))
    return http


def test_the_description_covers_every_method_of_the_standard() -> None:
    assert sorted(OPERATIONS) == [
        "GET /api/v1/keys/{master_SAE_ID}/dec_keys",
        "GET /api/v1/keys/{slave_SAE_ID}/enc_keys",
        "GET /api/v1/keys/{slave_SAE_ID}/status",
        "POST /api/v1/keys/{master_SAE_ID}/dec_keys",
        "POST /api/v1/keys/{slave_SAE_ID}/enc_keys",
    ]


def test_the_description_names_the_extensions_that_there_are() -> None:
    request = SCHEMA.raw_schema["components"]["schemas"]["KeyRequest"]["properties"]
    for field in ("extension_mandatory", "extension_optional"):
        assert tuple(request[field]["items"]["properties"]) == extensions.SUPPORTED


def combinations() -> Iterator[tuple[str, GenerationMode, bool]]:
    for label, operation in OPERATIONS.items():
        for mode in GenerationMode:
            yield label, mode, False
            # Of a GET status with the right peer nothing is left that could be wrong.
            if mode is GenerationMode.POSITIVE or operation.query or operation.body:
                yield label, mode, True


@pytest.mark.parametrize(("label", "mode", "known_peer"), list(combinations()))
def test_what_the_face_answers_is_as_described(
    url: str, session: requests.Session, label: str, mode: GenerationMode, known_peer: bool
) -> None:
    operation = OPERATIONS[label]
    # With an SAE that no stream joins everything is 401; with the peer, the rest is looked at too.
    peer: dict[str, Any] | None = None
    if known_peer:
        peer = {next(each.name for each in operation.path_parameters): SLAVE}
    # Which keys there are is no matter of form: IDs that nobody drew are well-formed, and 400.
    unacceptable = [positive_data_acceptance] if label.endswith("/dec_keys") else []
    statuses: set[int] = set()

    @settings(
        max_examples=EXAMPLES if known_peer else EXAMPLES // 3,
        deadline=None,
        database=None,
        derandomize=True,
        phases=(Phase.explicit, Phase.generate),
        suppress_health_check=list(HealthCheck),
    )
    @given(st.data())
    def ask(data: st.DataObject) -> None:
        case = data.draw(operation.as_strategy(generation_mode=mode, path_parameters=peer))
        response = case.call(base_url=url, session=session, verify=session.verify)
        statuses.add(response.status_code)
        # Too long is refused before it is read, and the tool does not know 413.
        too_long = [negative_data_rejection] if response.status_code == 413 else []
        case.validate_response(response, excluded_checks=unacceptable + too_long)

    ask()
    if known_peer and label in ENC_KEYS:
        assert (200 if mode is GenerationMode.POSITIVE else 400) in statuses
