"""A device is asked to calibrate when that is ordered, and what came of it is told."""

import asyncio

from keyweave.agent.drivers.base import DriverUnavailableError
from keyweave.agent.drivers.joined import JoinedDrivers, Part
from keyweave.agent.keyplane.links.calibration import Calibration
from keyweave.common.names import LinkName, NodeName
from keyweave.v1 import agent_pb2
from tests.waiting import eventually

LINK = LinkName("a-b")


class Device:
    """Calibrates when it can be reached."""

    def __init__(self) -> None:
        self.asked = 0
        self.away = False

    async def calibrate(self, link: LinkName) -> None:
        assert link == LINK
        if self.away:
            raise DriverUnavailableError("the device is away")
        self.asked += 1


async def told_by(driver: object, orders: int = 1) -> list[str]:
    """What is told of so many orders, one after the other."""
    told: list[str] = []
    events: list[agent_pb2.AgentEvent] = []
    calibration = Calibration(LINK, NodeName("b"), driver, events.append)  # type: ignore[arg-type]
    serving = asyncio.create_task(calibration.serve())
    for number in range(1, orders + 1):
        calibration.ask(f"order {number}")

        async def heard(number: int = number) -> bool:
            return len(events) == number

        await eventually(heard, 5, "the order is told of")
    serving.cancel()
    told = [event.reason for event in events]
    assert {event.link for event in events} == {LINK}
    return told


async def test_every_order_asks_the_device_once() -> None:
    device = Device()
    assert await told_by(device, 2) == ["order 1: the device was asked", "order 2: the device was asked"]
    assert device.asked == 2


async def test_a_device_that_is_away_is_told_of_and_not_asked_again_by_itself() -> None:
    device = Device()
    device.away = True
    assert await told_by(device) == ["order 1; not done: the device is away"]


async def test_a_driver_that_cannot_is_told_of() -> None:
    assert await told_by(object()) == ["order 1; not done: its driver cannot have it calibrate"]


async def test_of_several_drivers_one_that_can_is_asked() -> None:
    device = Device()
    joined = JoinedDrivers([Part("drivers[0]", "x", device)])  # type: ignore[arg-type]
    joined._measuring[LINK] = object()  # type: ignore[assignment]
    joined._key[LINK] = device  # type: ignore[assignment]
    assert await told_by(joined) == ["order 1: the device was asked"]
    assert device.asked == 1
