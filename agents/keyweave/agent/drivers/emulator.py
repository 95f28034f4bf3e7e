"""The driver for links that an emulator stands in for. It reaches it as it would reach hardware."""

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from typing import Annotated, Any

import grpc
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from keyweave.agent.drivers.base import DeviceBlock, DeviceReport, DriverUnavailableError, LinkEndInfo
from keyweave.common.errors import InvalidInputError, Violation
from keyweave.common.identity import Identity, Plane, Role
from keyweave.common.names import LinkName, NodeName
from keyweave.common.tls import TlsFiles, secure_channel
from keyweave.v1 import emulator_pb2, emulator_pb2_grpc

EMULATOR = Identity(Plane.CONTROL, Role.EMULATOR, "emulator")
ANSWER_SECONDS = 10.0


class EmulatorSettings(BaseModel):
    """`settings` of this driver in an agent's configuration."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    address: Annotated[str, Field(min_length=3, max_length=255, description="host:port of the emulator")]
    tls: Annotated[TlsFiles, Field(description="the agent's certificate on the control plane")]


class EmulatorDriver:
    """A Driver over the emulator's gRPC face. Make it inside a running event loop."""

    def __init__(self, settings: Mapping[str, Any], node: NodeName) -> None:
        parsed = _parsed(settings)
        self._who = f"the emulator at {parsed.address}, called by '{node}',"
        try:
            self._channel = secure_channel(parsed.address, parsed.tls, EMULATOR)
        except OSError as error:
            raise InvalidInputError.of(
                "settings.tls", f"{error.filename} cannot be read: {error.strerror}"
            ) from None
        self._stub = emulator_pb2_grpc.EmulatorServiceStub(self._channel)

    async def link_ends(self) -> tuple[LinkEndInfo, ...]:
        """See Driver."""
        with self._reaching():
            answer = await self._stub.ListLinkEnds(emulator_pb2.ListLinkEndsRequest(), timeout=ANSWER_SECONDS)
        return tuple(
            LinkEndInfo(
                link=LinkName(end.link),
                peer_node=NodeName(end.peer_node),
                model=end.model,
                emulated=True,
                block_bytes=end.block_bytes,
            )
            for end in answer.link_ends
        )

    async def watch(self, link: LinkName) -> AsyncIterator[DeviceReport]:
        """See Driver."""
        call = self._stub.WatchLinkEnd(emulator_pb2.WatchLinkEndRequest(link=link))
        try:
            with self._reaching():
                async for response in call:
                    yield DeviceReport(response.samples, response.device_fault)
        finally:
            call.cancel()
        raise DriverUnavailableError(f"{self._who} ended the measurements of link '{link}'")

    async def take_blocks(self, link: LinkName, first_block: int) -> AsyncIterator[tuple[DeviceBlock, ...]]:
        """See Driver. The copies that gRPC and protobuf made of a key are beyond our reach."""
        request = emulator_pb2.TakeBlocksRequest(link=link, first_block=first_block)
        call = self._stub.TakeBlocks(request)
        try:
            with self._reaching():
                async for response in call:
                    yield tuple(
                        DeviceBlock(block.number, bytearray(block.key), block.produced_unix_nanos)
                        for block in response.blocks
                    )
        finally:
            call.cancel()
        raise DriverUnavailableError(f"{self._who} ended the key blocks of link '{link}'")

    async def close(self) -> None:
        """See Driver."""
        await self._channel.close(None)

    @contextmanager
    def _reaching(self) -> Iterator[None]:
        """Whatever the emulator answers but what was asked for means: not now."""
        try:
            yield
        except grpc.aio.AioRpcError as error:
            raise DriverUnavailableError(f"{self._who} said {error.code().name}: {error.details()}") from None


def _parsed(settings: Mapping[str, Any]) -> EmulatorSettings:
    try:
        return EmulatorSettings.model_validate(settings)
    except ValidationError as error:
        raise InvalidInputError(
            Violation(".".join(("settings", *(str(part) for part in item["loc"]))), item["msg"])
            for item in error.errors()
        ) from None
