"""The driver for links and memories that an emulator stands in for. It reaches it as it would reach hardware.

When its certificate is replaced, each stream moves to a new channel after its next response; none is missed.
"""

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Annotated, Any

import grpc
from pydantic import BaseModel, ConfigDict, Field

from keyweave.agent.drivers.base import (
    DeviceBlock,
    DeviceReport,
    DriverUnavailableError,
    LinkEndInfo,
    parsed_settings,
)
from keyweave.agent.drivers.emulator_memories import EmulatedMemories, described
from keyweave.agent.drivers.memories import MemoryBankInfo
from keyweave.common import log
from keyweave.common.errors import InvalidInputError
from keyweave.common.file_watch import stamp
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
        parsed = parsed_settings(settings, EmulatorSettings)
        self._who = f"the emulator at {parsed.address}, called by '{node}',"
        self._address, self._tls = parsed.address, parsed.tls
        try:
            self._dialled = _Dialled(self._address, self._tls)
        except OSError as error:
            raise InvalidInputError.of(
                "settings.tls", f"{error.filename} cannot be read: {error.strerror}"
            ) from None

    async def link_ends(self) -> tuple[LinkEndInfo, ...]:
        """See Driver."""
        with self._reaching():
            async with self._using() as dialled:
                answer = await dialled.stub.ListLinkEnds(
                    emulator_pb2.ListLinkEndsRequest(), timeout=ANSWER_SECONDS
                )
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
        again = True
        while again:
            async with self._using() as dialled:
                call = dialled.stub.WatchLinkEnd(emulator_pb2.WatchLinkEndRequest(link=link))
                try:
                    with self._reaching(dialled):
                        async for response in call:
                            yield DeviceReport(response.samples, response.device_fault)
                            if dialled.outdated():
                                break
                finally:
                    call.cancel()
                again = dialled.outdated()
        raise DriverUnavailableError(f"{self._who} ended the measurements of link '{link}'")

    async def take_blocks(self, link: LinkName, first_block: int) -> AsyncIterator[tuple[DeviceBlock, ...]]:
        """See Driver. The copies that gRPC and protobuf made of a key are beyond our reach."""
        again = True
        while again:
            async with self._using() as dialled:
                request = emulator_pb2.TakeBlocksRequest(link=link, first_block=first_block)
                call = dialled.stub.TakeBlocks(request)
                try:
                    with self._reaching(dialled):
                        async for response in call:
                            yield tuple(
                                DeviceBlock(block.number, bytearray(block.key), block.produced_unix_nanos)
                                for block in response.blocks
                            )
                            first_block = max([first_block, *(block.number + 1 for block in response.blocks)])
                            if dialled.outdated():
                                break
                finally:
                    call.cancel()
                again = dialled.outdated()
        raise DriverUnavailableError(f"{self._who} ended the key blocks of link '{link}'")

    async def calibrate(self, link: LinkName) -> None:
        """See Calibrates."""
        with self._reaching():
            async with self._using() as dialled:
                request = emulator_pb2.CalibrateLinkEndRequest(link=link)
                await dialled.stub.CalibrateLinkEnd(request, timeout=ANSWER_SECONDS)

    async def memory_bank(self) -> MemoryBankInfo | None:
        """See HasMemories."""
        with self._reaching():
            async with self._using() as dialled:
                request = emulator_pb2.DescribeMemoriesRequest()
                answer = await dialled.stub.DescribeMemories(request, timeout=ANSWER_SECONDS)
        return described(answer)

    @asynccontextmanager
    async def open_memories(self) -> AsyncIterator[EmulatedMemories]:
        """See HasMemories. A session stays on its channel, whatever happens to the certificate's files."""
        async with self._using() as dialled:
            call = dialled.stub.OperateMemories(None)
            try:
                yield EmulatedMemories(call, self._who)
            finally:
                call.cancel()

    async def close(self) -> None:
        """See Driver."""
        await self._dialled.channel.close(None)

    @asynccontextmanager
    async def _using(self) -> AsyncIterator["_Dialled"]:
        """A channel with the certificate that is on disk. One that is outdated goes with its last call."""
        before = self._dialled
        if before.outdated():
            try:
                self._dialled = _Dialled(self._address, self._tls)
            except (OSError, InvalidInputError) as error:
                before.keep()
                log.get().warning("certificate_not_taken", reason=str(error), kept="the one before")
        await self._close_unused(before)
        dialled = self._dialled
        dialled.calls += 1
        try:
            yield dialled
        finally:
            dialled.calls -= 1
            await self._close_unused(dialled)

    async def _close_unused(self, dialled: "_Dialled") -> None:
        if dialled is not self._dialled and not dialled.calls:
            await dialled.channel.close(None)

    @contextmanager
    def _reaching(self, dialled: "_Dialled | None" = None) -> Iterator[None]:
        """Whatever the emulator answers but what was asked for means: not now.

        Where `dialled` has an old certificate, that is likely why it answers so: there is a new one to try.
        """
        try:
            yield
        except grpc.aio.AioRpcError as error:
            if dialled is not None and dialled.outdated():
                return
            raise DriverUnavailableError(f"{self._who} said {error.code().name}: {error.details()}") from None


class _Dialled:
    """A channel, and whether the files that it was made from are still those on disk."""

    def __init__(self, address: str, tls: TlsFiles) -> None:
        self._paths = tls.paths
        self._stamp = stamp(self._paths)
        self.channel = secure_channel(address, tls, EMULATOR)
        self.stub = emulator_pb2_grpc.EmulatorServiceStub(self.channel)
        self.calls = 0

    def outdated(self) -> bool:
        """Whether files were replaced since."""
        return stamp(self._paths) != self._stamp

    def keep(self) -> None:
        """What is on disk now is no good: go on until it is replaced again."""
        self._stamp = stamp(self._paths)
