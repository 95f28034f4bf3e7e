"""A browser on a desk, and the pages of made-up networks that it looks at."""

import json
from contextlib import AsyncExitStack

from keyweave.common.tls import TlsFiles
from keyweave.controller.config import PageConfig
from keyweave.controller.page.face import Page
from tests.chromium import Tab
from tests.conftest import ROOT, skip_for_want_of
from tests.shown_network import ShownNetwork, shown

AXE = ROOT / ".tools/axe/node_modules/axe-core/axe.min.js"


class Desk:
    """A browser and the pages it can look at."""

    def __init__(self, tab: Tab, tls: TlsFiles, stack: AsyncExitStack) -> None:
        self.tab = tab
        self._tls = tls
        self._stack = stack

    async def look_at(
        self, network: ShownNetwork, fragment: str = "", config: PageConfig | None = None
    ) -> Page:
        """Open a network's page, as it is on a desk."""
        page = await self._stack.enter_async_context(shown(network, self._tls, config))
        await self.tab.size(1440, 900)
        await self.tab.prefer(prefers_color_scheme="dark")
        await self.tab.open(page.url + fragment)
        await self.tab.until("document.querySelector('[data-node]') !== null")
        return page


async def serious_violations(tab: Tab) -> list[str]:
    """What people who cannot see well, or use no mouse, would stumble over."""
    if not AXE.exists():
        skip_for_want_of("axe-core", "`make tools` installs it")
    if await tab.run("window.axe === undefined"):
        await tab.run(AXE.read_text(encoding="utf-8") + "; undefined")
    found = json.loads(await tab.run("axe.run(document).then((result) => JSON.stringify(result.violations))"))
    return [
        f"{one['id']}: {node['html']} {node['failureSummary']}"
        for one in found
        if one["impact"] in {"serious", "critical"}
        for node in one["nodes"]
    ]
