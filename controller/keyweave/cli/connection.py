"""How a command reaches the network, and the options for it that every command takes."""

import asyncio
import datetime as dt
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import grpc
import typer

from keyweave.cli.exits import UnreachableError
from keyweave.cli.leader import leading
from keyweave.cli.state_dir import StateDir, default_root
from keyweave.cli.unreachable import is_refused, why, wrong_certificate
from keyweave.common.errors import InvalidInputError
from keyweave.common.identity import Identity, Plane, Role
from keyweave.common.tls import TlsFiles, secure_channel
from keyweave.v1 import admin_pb2_grpc, emulator_pb2_grpc

CONTROLLER = Identity(Plane.CONTROL, Role.CONTROLLER, "controller")
EMULATOR = Identity(Plane.CONTROL, Role.EMULATOR, "emulator")
# Of one call; the controller answers within milliseconds.
CALL_TIMEOUT_SECONDS = 10.0
# How long a controller that starts may take to listen; where somebody does, --connect-timeout counts.
_LISTEN_SECONDS = 3.0
# A handshake takes milliseconds, on a machine that is short of them seconds.
CONNECT_SECONDS = 20.0

StateDirOption = Annotated[
    Path | None,
    typer.Option(
        "--state-dir", help="State directory of `keyweave up` [$KEYWEAVE_STATE_DIR, then ./.keyweave]."
    ),
]
_OPTIONS: dict[str, Any] = {
    "state_dir": StateDirOption,
    "address": Annotated[
        str | None,
        typer.Option(
            help="host:port to call instead of what the state directory says; of several controllers any, "
            "or all, comma-separated."
        ),
    ],
    "certificate": Annotated[Path | None, typer.Option(help="Certificate to show (PEM).")],
    "key": Annotated[Path | None, typer.Option(help="Its private key (PEM).")],
    "trust_anchor": Annotated[Path | None, typer.Option(help="Trust anchors of the control plane (PEM).")],
    "connect_timeout": Annotated[
        float, typer.Option(help="Seconds to try to connect for.", min=0.1, max=3600)
    ],
}
_DEFAULTS = {"connect_timeout": CONNECT_SECONDS}
# The names of these options.
FINDING = frozenset(_OPTIONS)


@dataclass(frozen=True, slots=True)
class Network:
    """A network that is up somewhere, and the certificate with which we call it."""

    state: StateDir
    address: str | None = None
    tls: TlsFiles | None = None
    connect_seconds: float = CONNECT_SECONDS

    @classmethod
    def of(
        cls,
        state_dir: Path | None,
        address: str | None,
        certificate: Path | None,
        key: Path | None,
        trust_anchor: Path | None,
        connect_timeout: float = CONNECT_SECONDS,
    ) -> "Network":
        """The network that a command's options name."""
        state = StateDir(state_dir or default_root())
        defaults = state.operator_tls()
        tls = TlsFiles(
            certificate=certificate or defaults.certificate,
            private_key=key or defaults.private_key,
            trust_anchor=trust_anchor or defaults.trust_anchor,
        )
        return cls(state, address, tls, connect_timeout)

    @asynccontextmanager
    async def admin(self) -> AsyncIterator["admin_pb2_grpc.AdminServiceAsyncStub"]:
        """The controller's admin API."""
        addresses = self.address.split(",") if self.address else self.state.read_endpoints().controllers
        async with AsyncExitStack() as stack:

            async def connect(address: str, tries: int) -> grpc.aio.Channel:
                patience = self.connect_seconds
                if list(addresses) != [address]:
                    # The others are not kept waiting by one that has just died, or hangs.
                    if refused := await is_refused(address):
                        raise UnreachableError(f"{address}: {refused}")
                    patience = min(float(tries), _LISTEN_SECONDS, patience)
                return await stack.enter_async_context(self._channel(address, CONTROLLER, patience))

            channel = await leading(addresses, connect, self.connect_seconds)
            yield admin_pb2_grpc.AdminServiceStub(channel)

    @asynccontextmanager
    async def emulator(self) -> AsyncIterator["emulator_pb2_grpc.EmulatorServiceAsyncStub"]:
        """The emulator, for faults."""
        address = self.address or self.state.read_endpoints().emulator
        async with self._channel(address, EMULATOR, self.connect_seconds) as channel:
            yield emulator_pb2_grpc.EmulatorServiceStub(channel)

    @asynccontextmanager
    async def _channel(
        self, address: str, server: Identity, connect_seconds: float
    ) -> AsyncIterator[grpc.aio.Channel]:
        files = self._files()
        async with secure_channel(address, files, server) as channel:
            ready = asyncio.ensure_future(channel.channel_ready())
            try:
                await _connect(ready, address, files, server, connect_seconds)
            finally:
                ready.cancel()
            yield channel

    def _files(self) -> TlsFiles:
        tls = self.tls or self.state.operator_tls()
        for option, path in (
            ("--certificate", tls.certificate),
            ("--key", tls.private_key),
            ("--trust-anchor", tls.trust_anchor),
        ):
            if not path.is_file():
                raise InvalidInputError.of(option, f"there is no file {path}; name one, or a --state-dir")
        return tls


async def _connect(
    ready: asyncio.Future[None], address: str, files: TlsFiles, server: Identity, connect_seconds: float
) -> None:
    """Wait until the channel is ready, which tries again by itself; else UnreachableError says why."""
    patience = min(_LISTEN_SECONDS, connect_seconds)
    await asyncio.wait([ready], timeout=patience)
    if ready.done():
        return
    refused = await is_refused(address)
    if not refused:
        now = dt.datetime.now(dt.UTC)
        hopeless = wrong_certificate(files.certificate, files.trust_anchor, now)
        rest = 0.0 if hopeless else connect_seconds - patience
        await asyncio.wait([ready], timeout=rest)
        if ready.done():
            return
        raise UnreachableError(f"nobody could be reached: {why(address, files, server.name, now)}")
    raise UnreachableError(f"nobody could be reached: {address}: {refused}")


def connected(
    function: Callable[..., Awaitable[None]], fields: Sequence[inspect.Parameter] = ()
) -> Callable[..., None]:
    """A typer command of an async function whose first parameter is the network.

    The command takes the function's other parameters and the options that find the network; with
    `fields`, also those options, which the function gets together as the mapping `given`.
    """

    def command(**values: Any) -> None:
        network = Network.of(**{name: values.pop(name) for name in _OPTIONS})
        if fields:
            values["given"] = {field.name: values.pop(field.name) for field in fields}
        asyncio.run(_finish(function(network, **values)))

    own = [p for p in list(inspect.signature(function).parameters.values())[1:] if p.name != "given"]
    options = [
        inspect.Parameter(
            name, inspect.Parameter.KEYWORD_ONLY, default=_DEFAULTS.get(name), annotation=annotation
        )
        for name, annotation in _OPTIONS.items()
    ]
    parameters = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in (*own, *fields, *options)]
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # what typer reads
    command.__annotations__ = {p.name: p.annotation for p in parameters}
    command.__name__ = function.__name__
    command.__doc__ = function.__doc__
    return command


async def _finish(work: Awaitable[None]) -> None:
    await work
