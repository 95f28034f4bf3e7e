"""Pictures of a network that really makes entangled pairs: the live page, and the Entanglement dashboard."""

import asyncio
import json
import shutil
import sys
import tempfile
import time
from pathlib import Path

from dashboards.asking import Prometheus
from dashboards.render import draw
from docs.page_pictures import DESK, PHONE, picture
from keyweave.cli.connection import Network
from keyweave.cli.up.layout import Layout
from keyweave.cli.up.supervisor import Supervisor
from keyweave.v1 import emulator_pb2
from tests.chaos.monitoring import watching
from tests.chromium import chromium

HERE = Path(__file__).resolve().parent
SCENARIO = HERE.parent / "scenarios" / "repeaters.yaml"
BOARD = HERE.parent / "dashboards" / "generated" / "entanglement.json"
STREAM, CUT = "ends", "birch-cedar"
# So that curves have something to show, before and while a fibre is cut.
WATCHED_SECONDS, CUT_SECONDS = 75.0, 20.0
DELIVERING = "Number(document.querySelector('tr[data-state=\"met\"] td:nth-of-type(2)')?.innerText) > 30"


async def take(layout: Layout) -> None:
    """Wait for pairs, take the page; cut a fibre and mend it, and draw what the dashboard shows of that."""
    network = Network(layout.state)
    with tempfile.TemporaryDirectory() as directory:
        async with (
            network.emulator() as emulator,
            watching(program, Path(directory), layout.state.targets_file) as monitoring,
            chromium(program("chromium")) as tab,
        ):
            began = time.time()
            await tab.size(*DESK)
            await tab.open(layout.endpoints.page)
            await tab.run("document.getElementById('tab-pair-stream').click()")
            await tab.until(DELIVERING)
            await asyncio.sleep(WATCHED_SECONDS)
            explained = "document.querySelector('.explain li') !== null"
            await picture(tab, "pairs-dark", DESK, f"pair-stream/{STREAM}", explained)
            await picture(tab, "pairs-phone", PHONE, f"pair-link/{CUT}")
            fault = emulator_pb2.Fault(link=CUT, kind=emulator_pb2.FAULT_KIND_CUT)
            await emulator.InjectFault(emulator_pb2.InjectFaultRequest(fault=fault))
            await asyncio.sleep(CUT_SECONDS)
            await emulator.RestoreLink(emulator_pb2.RestoreLinkRequest(link=CUT))
            await asyncio.sleep(CUT_SECONDS)
            shown = Prometheus(monitoring.prometheus, began, time.time(), rate_interval="10s")
            drawn = await asyncio.to_thread(draw, json.loads(BOARD.read_text("utf-8")), shown)
    (HERE / "images" / "dashboards" / "entanglement.png").write_bytes(drawn)
    sys.stdout.write("docs/images/dashboards/entanglement.png\n")


def program(name: str) -> str:
    """Where an outside program is."""
    found = shutil.which(name)
    if found is None:
        raise SystemExit(f"{name} is not installed; Debian has it")
    return found


async def main() -> None:
    """Run the network for as long as it takes."""
    with tempfile.TemporaryDirectory() as root:
        await Supervisor(SCENARIO, Path(root)).run(asyncio.Event(), take)


if __name__ == "__main__":
    asyncio.run(main())
