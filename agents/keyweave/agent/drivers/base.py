"""What a driver is: the whole contract between an agent and the devices at its node.

A plug-in is a distribution that registers a `DriverFactory` under the entry point group
`keyweave.drivers`; an agent's configuration names it and gives it settings of its own:

    drivers:
      - driver: vendor-x
        settings: {address: 10.0.0.7:8443}

A driver only reports and fetches. It judges nothing (QBER limits are the agent's), retries nothing (the
agent does, with full jitter) and remembers no key: what it hands over it forgets.
"""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from typing import Any, Protocol

from keyweave.common.errors import InvalidInputError, UnavailableError
from keyweave.common.names import LinkName, NodeName
from keyweave.v1 import agent_pb2

ENTRY_POINT_GROUP = "keyweave.drivers"


class DriverUnavailableError(UnavailableError):
    """The device, or what stands between, cannot be reached now; the agent tries again later."""


@dataclass(frozen=True, slots=True)
class LinkEndInfo:
    """One end of a link, as the device at this node describes it."""

    link: LinkName
    peer_node: NodeName
    # Device model and firmware (ETSI GS QKD 015 `qkdi_model`).
    model: str
    # Whether its keys come from an emulator, not from quantum hardware.
    emulated: bool
    # Bytes in every key block of this link; even.
    block_bytes: int


@dataclass(frozen=True, slots=True)
class DeviceReport:
    """What a device measured since its last report."""

    # One row or more; the columns are ready to be passed on to the controller.
    samples: agent_pb2.LinkSamples
    # Why the device does not work; empty where it does.
    device_fault: str


@dataclass(frozen=True, slots=True)
class DeviceBlock:
    """A block of key that both ends of the link hold. Whoever takes it overwrites `key` after use."""

    # Consecutive from 1, the same at both ends; a gap means that the device lost blocks.
    number: int
    key: bytearray = field(repr=False)
    # When the last bit of it was measured, nanoseconds since the Unix epoch.
    produced_unix_nanos: int


class Driver(Protocol):
    """All link ends at one node that one kind of device serves.

    Every method raises DriverUnavailableError where the device cannot be reached, and an iterator ends
    only so: the agent then calls again. The agent ends one by cancelling the task that reads it.
    """

    async def link_ends(self) -> tuple[LinkEndInfo, ...]:
        """The link ends this driver serves."""
        ...

    def watch(self, link: LinkName) -> AsyncIterator[DeviceReport]:
        """Measurements of one link end, from now on."""
        ...

    def take_blocks(self, link: LinkName, first_block: int) -> AsyncIterator[tuple[DeviceBlock, ...]]:
        """Blocks from `first_block` on, in order, as they come; the device forgets what it gave."""
        ...

    async def close(self) -> None:
        """Let go of the device. No other method is called afterwards."""
        ...


class DriverFactory(Protocol):
    """What the entry point names, most often the driver's class."""

    def __call__(self, settings: Mapping[str, Any], node: NodeName) -> Driver:
        """A driver for the devices at `node`; InvalidInputError where the settings are wrong."""
        ...


def load(name: str) -> DriverFactory:
    """The installed driver of this name; InvalidInputError lists those there are."""
    installed = entry_points(group=ENTRY_POINT_GROUP)
    if name not in installed.names:
        known = ", ".join(sorted(installed.names)) or "none"
        raise InvalidInputError.of(
            "driver",
            f"'{name}' is not installed; installed drivers: {known}. "
            f"Install the package that registers it under the entry point group {ENTRY_POINT_GROUP}",
        )
    factory: DriverFactory = installed[name].load()
    return factory
