"""The ETSI GS QKD 014 face that its tests ask, and its two applications."""

from collections.abc import AsyncIterator

import httpx
import pytest

from tests.integration.etsi014_face import MASTER, SLAVE, FakeSupply, Pki, client, serving


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return Pki(tmp_path_factory.mktemp("pki"))


@pytest.fixture
def supply() -> FakeSupply:
    return FakeSupply()


@pytest.fixture
async def url(pki: Pki, supply: FakeSupply) -> AsyncIterator[str]:
    async with serving(pki, supply) as base_url:
        yield base_url


@pytest.fixture
async def master(pki: Pki, url: str) -> AsyncIterator[httpx.AsyncClient]:
    async with client(pki, url, pki.sae(MASTER)) as http:
        yield http


@pytest.fixture
async def slave(pki: Pki, url: str) -> AsyncIterator[httpx.AsyncClient]:
    async with client(pki, url, pki.sae(SLAVE)) as http:
        yield http
