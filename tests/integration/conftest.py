"""The ETSI GS QKD 014 face that its tests ask, its two applications, and a browser for the live page."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import httpx
import pytest
import pytest_asyncio

from tests.chromium import Tab, chromium
from tests.desk import Desk
from tests.integration.etsi014_face import MASTER, SLAVE, FakeSupply, Pki, client, serving
from tests.shown_network import control_plane


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


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser(outside_program: Callable[[str], str]) -> AsyncIterator[Tab]:
    """One browser for all tests of this file."""
    async with chromium(outside_program("chromium")) as tab:
        yield tab


@pytest_asyncio.fixture(loop_scope="module")
async def desk(browser: Tab, tmp_path: Path) -> AsyncIterator[Desk]:
    """A desk whose pages close after the test; none may have complained or asked anybody else."""
    tls, _ = control_plane(tmp_path)
    async with AsyncExitStack() as stack:
        yield Desk(browser, tls, stack)
        await browser.call("Page.navigate", url="about:blank")
