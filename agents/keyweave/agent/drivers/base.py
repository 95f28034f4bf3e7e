"""What a driver is: the whole contract between an agent and the devices at its node.

A plug-in is a distribution that registers a `DriverFactory` under the entry point group
`keyweave.drivers`; an agent's configuration names it and gives it settings of its own:

    drivers:
      - driver: vendor-x
        settings: {address: 10.0.0.7:8443}

A driver only reports and fetches. It judges nothing (QBER limits are the agent's), retries nothing (the
agent does, with full jitter) and remembers no key: what it hands over it forgets. It need not do both: its
link ends say what they give. docs/write-a-driver.md has an example, and `keyweave driver test` holds a driver
to all that is said here.
"""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Protocol, TypeVar, runtime_checkable

from pydantic import BaseModel, ValidationError

from keyweave.common.errors import InvalidInputError, UnavailableError, Violation
from keyweave.common.names import LinkName, NodeName
from keyweave.v1 import agent_pb2

ENTRY_POINT_GROUP = "keyweave.drivers"
Settings = TypeVar("Settings", bound=BaseModel)


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
    # Bytes in every key block of this link, even; 0 where this driver gives no key. Then it is not asked for
    # blocks, and they may come from another driver of the same agent.
    block_bytes: int
    # Whether it measures the link; where it does not, it is not watched, and another driver may.
    measures: bool = True
    # Whether blocks wait at the device until somebody takes them: they are taken as pools need them.
    keeps_blocks: bool = False
    # The vendor's domain that the keys come through, where nobody here knows which hops they take; provenance
    # says so. Empty for a quantum channel.
    vendor_domain: str = ""

    @property
    def gives_key(self) -> bool:
        """Whether there are key blocks to be had."""
        return self.block_bytes > 0


@dataclass(frozen=True, slots=True)
class DeviceReport:
    """What a device measured since its last report."""

    # One row or more; the columns are ready to be passed on to the controller: little-endian binary32, one
    # value a row, NaN where a value is missing; empty where the device does not measure the quantity at all.
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
    only so: the agent then calls again. The agent ends one by cancelling the task that reads it; nothing
    that was begun for it may go on after that.
    """

    async def link_ends(self) -> tuple[LinkEndInfo, ...]:
        """The link ends this driver serves, the same for as long as it lives."""
        ...

    def watch(self, link: LinkName) -> AsyncIterator[DeviceReport]:
        """Measurements of one link end, from now on; what was measured before, or came already, is none."""
        ...

    def take_blocks(self, link: LinkName, first_block: int) -> AsyncIterator[tuple[DeviceBlock, ...]]:
        """Blocks from `first_block` on, in order, as they come; the device forgets what it gave.

        Where nothing comes for long, an empty batch says that the device is there.
        """
        ...

    async def close(self) -> None:
        """Let go of the device. No other method is called afterwards."""
        ...


MAX_TWIN_MESSAGE_BYTES = 16 * 1024


class Twin(Protocol):
    """The same kind of driver at the other end of a link, over the agents' own session with each other.

    What is sent arrives in order, as the peer sent it. It is lost where the connection breaks, the other end
    does not run, or does not keep up: what matters is asked for again. Never send key material.
    """

    def send(self, message: bytes) -> bool:
        """Send at most MAX_TWIN_MESSAGE_BYTES; False where it surely will not arrive."""
        ...

    async def receive(self) -> bytes:
        """The oldest message that nobody has received yet."""
        ...


@runtime_checkable
class MeetsTwin(Protocol):
    """A Driver may be this too: one that has to agree with its twin before it can give blocks."""

    def meet(self, link: LinkName, twin: Twin) -> None:
        """Who is at the other end of a link; called once, after `link_ends` and before any iterator."""
        ...


async def nothing(why: str) -> AsyncIterator[Any]:
    """What `watch` or `take_blocks` returns where a driver gives no such thing; nobody should ask for it."""
    never: tuple[Any, ...] = ()
    for item in never:
        yield item
    raise DriverUnavailableError(why)


@runtime_checkable
class Calibrates(Protocol):
    """A driver whose devices calibrate when they are asked to; one need not be able to."""

    async def calibrate(self, link: LinkName) -> None:
        """Ask for it: it returns once the device has been asked, and reports tell how it goes (PENDING).

        A device that is at it already, because its other end was asked, goes on. DriverUnavailableError.
        """
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


@dataclass(frozen=True, slots=True)
class InstalledDriver:
    """A driver that an agent's configuration may name."""

    name: str
    # What its entry point names.
    target: str
    # The distribution that brings it, and its version.
    distribution: str


def installed_drivers() -> tuple[InstalledDriver, ...]:
    """All drivers there are, by name."""
    return tuple(
        InstalledDriver(
            point.name, point.value, f"{point.dist.name} {point.dist.version}" if point.dist else "unknown"
        )
        for point in sorted(entry_points(group=ENTRY_POINT_GROUP), key=lambda point: point.name)
    )


def parsed_settings(settings: Mapping[str, Any], model: type[Settings]) -> Settings:
    """A driver's `settings` as its own model; InvalidInputError names every field that is wrong."""
    try:
        return model.model_validate(settings)
    except ValidationError as error:
        raise InvalidInputError(
            Violation(
                ".".join(("settings", *(str(part) for part in item["loc"]))),
                item["msg"].removeprefix("Value error, "),
            )
            for item in error.errors(include_input=False)
        ) from None


def secret_of(file: Path | None, field: str) -> str | None:
    """What a file holds that a setting names for a secret, without its last newline; None without a file."""
    if file is None:
        return None
    try:
        return file.read_text(encoding="utf-8").removesuffix("\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "is no text"
        raise InvalidInputError.of(field, f"{file} cannot be read: {reason}") from None


def library_missing(name: str) -> InvalidInputError:
    """What a driver says whose library is an extra that was not installed."""
    return InvalidInputError.of(
        "driver", f"'{name}' needs a library that is not installed: pip install 'keyweave[{name}]'"
    )
