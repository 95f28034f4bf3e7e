"""Takes docs/images/page-*.png: the live page of a network that really runs, moments after a fibre cut."""

import asyncio
import shutil
import sys
import tempfile
from pathlib import Path

from keyweave.cli.connection import Network
from keyweave.cli.up.layout import Layout
from keyweave.cli.up.supervisor import Supervisor
from keyweave.emulator.scenario import load_scenario
from keyweave.v1 import emulator_pb2
from tests.chromium import Tab, chromium

HERE = Path(__file__).resolve().parent
SCENARIO = HERE.parent / "scenarios" / "tokyo.yaml"
CUT = "toshiba"
# So that curves of figures have something to show.
WATCHED_SECONDS = 30.0
DESK, PHONE = (1440, 900), (360, 740)
READY = "[...document.querySelectorAll('tr[data-protection]')].every((one) => one.dataset.links)"
HEALED = "document.querySelectorAll('.way.used, .link[data-condition=down]').length === 2"


async def take(layout: Layout) -> None:
    """Open the page, wait for paths, cut a fibre, and take what an operator sees then."""
    program = shutil.which("chromium")
    if program is None:
        raise SystemExit("chromium is not installed; Debian has it")
    network = Network(layout.state)
    stream = load_scenario(SCENARIO).streams[0].name
    async with network.emulator() as emulator, chromium(program) as tab:
        await tab.size(*DESK)
        await tab.open(layout.endpoints.page)
        await tab.until(READY)
        await asyncio.sleep(WATCHED_SECONDS)
        fault = emulator_pb2.Fault(link=CUT, kind=emulator_pb2.FAULT_KIND_CUT)
        await emulator.InjectFault(emulator_pb2.InjectFaultRequest(fault=fault))
        await picture(tab, "dark", DESK, f"stream/{stream}", HEALED)
        await picture(tab, "light", DESK, "link/nec-nict")
        await picture(tab, "phone", PHONE, "")
        await picture(
            tab, "phone-link", PHONE, f"link/{CUT}", "document.querySelector('.detail .badge') !== null"
        )


async def picture(tab: Tab, name: str, size: tuple[int, int], chosen: str, ready: str = "true") -> None:
    """One picture, in light unless it is called dark."""
    await tab.size(*size, phone=size == PHONE)
    await tab.prefer(
        prefers_color_scheme="dark" if "dark" in name else "light", prefers_reduced_motion="reduce"
    )
    await tab.run(f"location.hash = '#{chosen}'")
    await tab.until(ready)
    if size == PHONE and chosen:
        await tab.run("document.getElementById('detail').scrollIntoView()")
    # The browser draws what it was told within a frame or two.
    await tab.run("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    await asyncio.sleep(0.3)
    content = await tab.screenshot()
    (HERE / "images" / f"page-{name}.png").write_bytes(content)
    sys.stdout.write(f"docs/images/page-{name}.png\n")


async def main() -> None:
    """Run the network for as long as it takes."""
    with tempfile.TemporaryDirectory() as root:
        await Supervisor(SCENARIO, Path(root)).run(asyncio.Event(), take)


if __name__ == "__main__":
    asyncio.run(main())
