"""Debian's Chromium without a window, driven by its own protocol: what a person does and sees."""

import asyncio
import base64
import json
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any

import aiohttp

from tests.waiting import eventually

START_SECONDS = 60.0
CALL_SECONDS = 60.0
# Chromium has no sandbox of its own for root, as tests in containers are.
OPTIONS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-extensions",
    "--disable-sync",
    "--metrics-recording-only",
    "--no-default-browser-check",
    "--no-first-run",
    "--hide-scrollbars",
    "--force-color-profile=srgb",
    "--remote-debugging-port=0",
)
SHOWN = "document.body?.dataset.feed === 'live' && document.querySelector('tr[data-name]') !== null"
_KEYS = {"Tab": 9, "Enter": 13, "Escape": 27, "End": 35, "Home": 36, "ArrowLeft": 37, "ArrowUp": 38}
_KEYS |= {"ArrowRight": 39, "ArrowDown": 40, "PageUp": 33, "PageDown": 34}


class Tab:
    """One page in the browser."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._numbers = count(1)
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        # What the page complained of: exceptions, refused by its policy, failed requests.
        self.complaints: list[str] = []
        self.requests: list[str] = []

    async def read(self) -> None:
        """Take in what Chromium says, until it ends."""
        async for message in self._socket:
            said = json.loads(message.data)
            if "id" in said:
                answer = self._answers.pop(said["id"])
                if not answer.done():
                    answer.set_result(said)
            else:
                self._note(said["method"], said["params"])

    def _note(self, method: str, params: dict[str, Any]) -> None:
        match method:
            case "Runtime.exceptionThrown":
                details = params["exceptionDetails"]
                self.complaints.append(details.get("exception", {}).get("description", details["text"]))
            case "Log.entryAdded" if params["entry"]["level"] in {"error", "warning"}:
                self.complaints.append(f"{params['entry']['text']} {params['entry'].get('url', '')}")
            case "Network.requestWillBeSent":
                self.requests.append(params["request"]["url"])

    async def call(self, method: str, **params: Any) -> dict[str, Any]:
        """One command of the protocol."""
        number = next(self._numbers)
        self._answers[number] = asyncio.get_running_loop().create_future()
        await self._socket.send_json({"id": number, "method": method, "params": params})
        async with asyncio.timeout(CALL_SECONDS):
            answer = await self._answers[number]
        assert "error" not in answer, f"{method}: {answer['error']}"
        result: dict[str, Any] = answer["result"]
        return result

    async def run(self, script: str) -> Any:
        """The value of an expression in the page, awaited if it is a promise."""
        answer = await self.call(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True, userGesture=True
        )
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    async def until(self, script: str, within_seconds: float = 60.0) -> Any:
        """The first value of an expression that is true."""

        async def look() -> Any:
            return await self.run(script)

        return await eventually(look, within_seconds, script)

    async def open(self, url: str) -> None:
        """Go to a page, and wait until it has shown the network for the first time."""
        self.complaints.clear()
        self.requests.clear()
        await self.call("Page.navigate", url=url)
        await self.until(SHOWN)

    async def size(self, width: int, height: int, *, phone: bool = False) -> None:
        """Be a window or a phone of this size."""
        await self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=phone,
        )

    async def prefer(self, **features: str) -> None:
        """Have the system ask for these, such as `prefers_color_scheme="dark"`."""
        named = [{"name": name.replace("_", "-"), "value": value} for name, value in features.items()]
        await self.call("Emulation.setEmulatedMedia", features=named)

    async def press(self, key: str) -> None:
        """A key, down and up."""
        code = {"key": key, "code": key, "windowsVirtualKeyCode": _KEYS[key]}
        text = {"text": "\r"} if key == "Enter" else {}
        await self.call("Input.dispatchKeyEvent", type="keyDown" if text else "rawKeyDown", **code, **text)
        await self.call("Input.dispatchKeyEvent", type="keyUp", **code)

    async def screenshot(self) -> bytes:
        """What is in the window now, as PNG."""
        picture = await self.call("Page.captureScreenshot", format="png", captureBeyondViewport=False)
        return base64.b64decode(picture["data"])


@asynccontextmanager
async def chromium(program: str) -> AsyncIterator[Tab]:
    """A browser with one tab and a profile that is thrown away."""
    with tempfile.TemporaryDirectory(prefix="chromium-", ignore_cleanup_errors=True) as profile:
        process = await asyncio.create_subprocess_exec(
            program,
            *OPTIONS,
            f"--user-data-dir={profile}",
            "about:blank",
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            async with aiohttp.ClientSession() as session:
                address = await _address(Path(profile) / "DevToolsActivePort")
                async with session.get(f"http://{address}/json/list") as answer:
                    (target,) = [one for one in await answer.json() if one["type"] == "page"]
                async with session.ws_connect(target["webSocketDebuggerUrl"], max_msg_size=0) as socket:
                    tab = Tab(socket)
                    reading = asyncio.create_task(tab.read(), name="chromium")
                    for domain in ("Page", "Runtime", "Log", "Network"):
                        await tab.call(f"{domain}.enable")
                    yield tab
                    reading.cancel()
                    with suppress(asyncio.CancelledError):
                        await reading
        finally:
            if process.returncode is None:
                process.terminate()
            await process.wait()


async def _address(port_file: Path) -> str:
    """Where it listens, as it writes down once it does."""

    async def look() -> str:
        lines = _lines(port_file)
        return f"127.0.0.1:{lines[0]}" if len(lines) > 1 else ""

    return await eventually(look, START_SECONDS, "Chromium has started")


def _lines(file: Path) -> list[str]:
    return file.read_text(encoding="utf-8").split() if file.exists() else []
