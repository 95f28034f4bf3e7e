"""Having a link's device calibrate when an operator orders it, and saying what came of that."""

import asyncio
from collections.abc import Callable

from keyweave.agent.drivers.base import Calibrates, Driver, DriverUnavailableError
from keyweave.common.names import LinkName, NodeName
from keyweave.v1 import agent_pb2


class Calibration:
    """Asks the device of one link end. Orders that come while it is being asked are one."""

    def __init__(
        self,
        link: LinkName,
        peer_node: NodeName,
        driver: Driver,
        on_event: Callable[[agent_pb2.AgentEvent], None],
    ) -> None:
        self._link = link
        self._peer_node = peer_node
        self._driver = driver
        self._on_event = on_event
        self._asked = asyncio.Event()
        self._by = ""

    def ask(self, by: str) -> None:
        """Have it asked as soon as may be; `by` says on whose order."""
        self._by = by
        self._asked.set()

    async def serve(self) -> None:
        """Ask the device whenever that is ordered, until cancelled."""
        while True:
            await self._asked.wait()
            self._asked.clear()
            by = self._by
            if not isinstance(self._driver, Calibrates):
                self._tell(f"{by}; not done: its driver cannot have it calibrate")
                continue
            try:
                await self._driver.calibrate(self._link)
            except DriverUnavailableError as error:
                self._tell(f"{by}; not done: {error}")
            else:
                self._tell(f"{by}: the device was asked")

    def _tell(self, reason: str) -> None:
        self._on_event(
            agent_pb2.AgentEvent(
                kind=agent_pb2.AGENT_EVENT_KIND_CALIBRATION_ASKED,
                link=self._link,
                peer_node=self._peer_node,
                reason=reason[:1000],
            )
        )
