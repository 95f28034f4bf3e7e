"""The live page over HTTP: who gets it, what it says of itself, and that nothing can be written."""

import asyncio
import json
import re
import socket
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from pydantic import ValidationError

from keyweave.common.errors import PreconditionError
from keyweave.common.identity import Identity, Plane, Role
from keyweave.common.pki import Authority
from keyweave.common.revocation import Trust
from keyweave.common.tls import TlsFiles
from keyweave.controller.config import PageAccess, PageConfig
from keyweave.controller.page.face import Page
from keyweave.controller.topology import Condition
from tests.shown_network import ShownNetwork, control_plane, shown
from tests.unit.networks import stream
from tests.waiting import eventually

NAMES = (("ab", "a", "b", 9000.0), ("bc", "b", "c", 9000.0), ("ca", "c", "a", 9000.0))
STATIC = Path(__file__).parents[2] / "controller/keyweave/controller/page/static"


@pytest.fixture
def network() -> ShownNetwork:
    return ShownNetwork(NAMES, (stream("s", "a", "b", max_rate_bps=1000.0),))


@pytest.fixture
def plane(tmp_path: Path) -> tuple[TlsFiles, Authority]:
    return control_plane(tmp_path)


@pytest_asyncio.fixture
async def page(network: ShownNetwork, plane: tuple[TlsFiles, Authority]) -> AsyncIterator[Page]:
    async with shown(network, plane[0], PageConfig(max_clients=2)) as serving:
        yield serving


@pytest_asyncio.fixture
async def browser() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)) as session:
        yield session


async def heard(answer: aiohttp.ClientResponse, kind: str) -> tuple[str, Any]:
    """The ID and content of the next server-sent event of a kind."""
    fields: dict[str, str] = {}
    async for line in answer.content:
        name, _, value = line.decode().rstrip("\n").partition(": ")
        if name:
            fields[name] = value
        elif fields.pop("event", "") == kind:
            return fields.get("id", ""), json.loads(fields["data"])
        else:
            fields = {}
    raise AssertionError(f"the stream ended before a {kind}")


async def test_everything_the_page_names_is_served_by_the_page_alone(
    page: Page, browser: aiohttp.ClientSession
) -> None:
    wanted = {"static/" + file.name for file in STATIC.iterdir()}
    found, waiting = {""}, [""]
    while waiting:
        path = waiting.pop()
        async with browser.get(page.url + path) as answer:
            assert answer.status == 200, path
            text = await answer.text()
        assert not re.search(
            r"(?:href|src)=\"(?:https?:)?//|url\(|@import|https?://(?!www\.w3\.org/2000/svg)", text
        )
        named = {f"static/{name}" for name in re.findall(r'from "\./([\w.-]+)"', text)}
        named |= set(re.findall(r'(?:href|src)="(static/[\w.-]+)"', text))
        waiting += named - found
        found |= named
    assert found - {""} == wanted - {"static/index.html"}, "a file that nothing needs, or one that is missing"


async def test_answers_forbid_the_browser_what_the_page_does_not_need(
    page: Page, browser: aiohttp.ClientSession
) -> None:
    for path in ("", "static/main.js", "explain/s", "nowhere", "feed"):
        async with browser.get(page.url + path) as answer:
            policy = answer.headers["Content-Security-Policy"]
            assert "default-src 'self';" in policy
            assert "unsafe" not in policy
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            assert answer.headers["X-Frame-Options"] == "DENY"
            assert "Set-Cookie" not in answer.headers
            assert "Access-Control-Allow-Origin" not in answer.headers


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
@pytest.mark.parametrize("path", ["", "feed", "static/main.js", "explain/s"])
async def test_nothing_but_reading_is_answered(
    page: Page, browser: aiohttp.ClientSession, method: str, path: str
) -> None:
    async with browser.request(method, page.url + path, data=b"{}") as answer:
        assert answer.status == 405


async def test_no_file_outside_the_page_is_served(page: Page, browser: aiohttp.ClientSession) -> None:
    for path in (
        "static/../face.py",
        "static/%2e%2e/face.py",
        "static/..%2fface.py",
        "static/",
        "static/x.js",
    ):
        async with browser.get(f"{page.url}{path}") as answer:
            assert answer.status == 404


async def test_files_that_are_known_are_not_sent_again(page: Page, browser: aiohttp.ClientSession) -> None:
    async with browser.get(page.url + "static/page.css") as answer:
        tag = answer.headers["ETag"]
    async with browser.get(page.url + "static/page.css", headers={"If-None-Match": tag}) as answer:
        assert answer.status == 304


@pytest.mark.parametrize("host", ["localhost:{port}", "127.0.0.1:{port}", "[::1]:{port}", "LOCALHOST"])
async def test_names_of_this_machine_are_answered(
    page: Page, browser: aiohttp.ClientSession, host: str
) -> None:
    port = page.url.rstrip("/").rpartition(":")[2]
    async with browser.get(page.url, headers={"Host": host.format(port=port)}) as answer:
        assert answer.status == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "10.0.0.7", "", "[", "::1"]
)
async def test_a_name_that_was_bent_to_this_machine_is_not(
    page: Page, browser: aiohttp.ClientSession, host: str
) -> None:
    for path in ("", "feed", "explain/s", "static/main.js"):
        async with browser.get(page.url + path, headers={"Host": host}) as answer:
            assert answer.status == 403
            assert "localhost" in await answer.text()


async def test_pages_of_other_sites_get_nothing(page: Page, browser: aiohttp.ClientSession) -> None:
    for site, status in (("cross-site", 403), ("same-site", 403), ("same-origin", 200), ("none", 200)):
        async with browser.get(page.url, headers={"Sec-Fetch-Site": site}) as answer:
            assert answer.status == status


async def test_a_link_on_another_sites_page_can_be_followed(
    page: Page, browser: aiohttp.ClientSession
) -> None:
    fetched = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    for shown_as, status in (("document", 200), ("iframe", 403)):
        async with browser.get(page.url, headers={**fetched, "Sec-Fetch-Dest": shown_as}) as answer:
            assert answer.status == status


async def test_the_feed_goes_on_after_a_break(
    page: Page, network: ShownNetwork, browser: aiohttp.ClientSession
) -> None:
    async with browser.get(page.url + "feed") as answer:
        assert answer.headers["Content-Type"].startswith("text/event-stream")
        seen, everything = await heard(answer, "snapshot")
        assert everything["links"]["ab"]["condition"] == "ok"
        # The layout follows once it is made.
        while "graph" not in everything["pictures"]:
            seen, news = await heard(answer, "delta")
            everything["pictures"] = news.get("pictures", everything["pictures"])
    network.put("ab", Condition.DOWN)
    for query, header in ((seen, ""), ("", seen)):
        headers = {"Last-Event-ID": header} if header else {}
        async with browser.get(page.url + "feed", params={"since": query}, headers=headers) as answer:
            _, news = await heard(answer, "delta")
            assert news["links"]["ab"]["condition"] == "down"
            assert [event["kind"] for event in news["events"]] == ["link_condition_changed"]


async def test_only_so_many_pages_are_fed(page: Page, browser: aiohttp.ClientSession) -> None:
    async with browser.get(page.url + "feed") as one, browser.get(page.url + "feed") as two:
        assert (one.status, two.status) == (200, 200)
        async with browser.get(page.url + "feed") as three:
            assert three.status == 503
            assert "Retry-After" in three.headers
            assert "page.max_clients" in await three.text()

    async def let_in() -> bool:
        async with browser.get(page.url + "feed") as answer:
            return answer.status == 200

    await eventually(let_in, 30, "the places of closed pages are free")


async def test_a_stream_is_explained(page: Page, browser: aiohttp.ClientSession) -> None:
    async with browser.get(page.url + "explain/s") as answer:
        lines = (await answer.json())["lines"]
        assert any(line.startswith("seen by nobody but the ends") for line in lines)
    for unknown in ("nobody", "UPPER", "%3Cscript%3E"):
        async with browser.get(page.url + f"explain/{unknown}") as answer:
            assert answer.status == 404
            assert answer.headers["Content-Type"].startswith("application/json")


async def test_closing_the_controller_ends_open_pages_at_once(
    network: ShownNetwork, plane: tuple[TlsFiles, Authority], browser: aiohttp.ClientSession
) -> None:
    async with shown(network, plane[0]) as serving:
        answer = await browser.get(serving.url + "feed")
        await heard(answer, "snapshot")
    assert answer.content.at_eof() or not (await answer.content.read()).endswith(b"x")


async def test_an_address_in_use_is_a_clear_refusal(
    network: ShownNetwork, plane: tuple[TlsFiles, Authority]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        config = PageConfig(listen=f"127.0.0.1:{taken.getsockname()[1]}")
        with pytest.raises(ExceptionGroup) as refused:
            async with shown(network, plane[0], config):
                pass
    (error,) = refused.value.exceptions
    assert isinstance(error, PreconditionError)
    assert "page.listen: cannot listen on 127.0.0.1" in str(error)


@pytest.mark.parametrize("listen", ["0.0.0.0:8080", "10.1.2.3:8080", "example.org:8080", "[::]:8080"])
def test_without_certificates_only_this_machine_may_be_served(listen: str) -> None:
    with pytest.raises(ValidationError, match="access 'mtls'"):
        PageConfig(listen=listen)
    assert PageConfig(listen=listen, access=PageAccess.MTLS).listen == listen
    assert PageConfig(listen="[::1]:8080").access is PageAccess.LOCAL


# ---- over mutual TLS ---------------------------------------------------------------------------------


def _as(files: TlsFiles, authority: Authority, identity: Identity | None) -> ssl.SSLContext:
    """What a client has that was issued `identity`, or nothing."""
    context = ssl.create_default_context(cafile=str(files.trust_anchor))
    context.check_hostname = False  # the certificate is the controller's own, of no address
    if identity is not None:
        stem = files.certificate.with_name(f"{identity.role}-{identity.name}")
        certificate, key = stem.with_suffix(".pem"), stem.with_suffix(".key")
        authority.issue(identity).write(certificate, key)
        context.load_cert_chain(certificate, key)
    return context


@pytest.mark.parametrize(
    ("role", "status"),
    [
        (Role.VIEWER, 200),
        (Role.OPERATOR, 200),
        (Role.AGENT, 403),
        (Role.EMULATOR, 403),
        (Role.CONTROLLER, 403),
    ],
)
async def test_readers_certificates_open_the_page_and_others_do_not(
    network: ShownNetwork,
    plane: tuple[TlsFiles, Authority],
    browser: aiohttp.ClientSession,
    role: Role,
    status: int,
) -> None:
    files, authority = plane
    async with shown(network, files, PageConfig(access=PageAccess.MTLS)) as serving:
        assert serving.url.startswith("https://")
        context = _as(files, authority, Identity(Plane.CONTROL, role, "somebody"))
        for path in ("", "feed", "explain/s"):
            async with browser.get(serving.url + path, ssl=context) as answer:
                assert answer.status == status
                connection = answer.connection
                if connection is not None and connection.transport is not None:
                    assert connection.transport.get_extra_info("ssl_object").version() == "TLSv1.3"


async def test_without_a_certificate_of_the_control_plane_nobody_gets_as_far_as_http(
    network: ShownNetwork, plane: tuple[TlsFiles, Authority], browser: aiohttp.ClientSession, tmp_path: Path
) -> None:
    files, authority = plane
    stranger = Authority.create(Plane.CONTROL)
    async with shown(network, files, PageConfig(access=PageAccess.MTLS)) as serving:
        viewer = Identity(Plane.CONTROL, Role.VIEWER, "somebody")
        for context in (_as(files, authority, None), _as(files, stranger, viewer)):
            with pytest.raises(aiohttp.ClientError):
                async with browser.get(serving.url, ssl=context):
                    pass
        old = _as(files, authority, viewer)
        old.maximum_version = ssl.TLSVersion.TLSv1_2
        with pytest.raises(aiohttp.ClientError):
            async with browser.get(serving.url, ssl=old):
                pass


async def test_a_certificate_that_is_no_longer_good_ends_an_open_page(
    network: ShownNetwork, plane: tuple[TlsFiles, Authority], browser: aiohttp.ClientSession
) -> None:
    files, authority = plane
    trust = Trust("control", files)
    async with shown(network, files, PageConfig(access=PageAccess.MTLS), trust) as serving:
        context = _as(files, authority, Identity(Plane.CONTROL, Role.VIEWER, "somebody"))
        async with browser.get(serving.url + "feed", ssl=context) as answer:
            await heard(answer, "snapshot")
            files.trust_anchor.write_bytes(Authority.create(Plane.CONTROL).credential.certificate)
            trust.reload()
            network.put("ab", Condition.DOWN)
            network.now += 5
            async with asyncio.timeout(30):
                rest = await answer.content.read()
            assert b"down" not in rest
