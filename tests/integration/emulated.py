"""A running emulator, and how agents and operators reach it."""

import asyncio
import datetime as dt
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest

from keyweave.agent.drivers.emulator import EMULATOR, EmulatorDriver
from keyweave.common import process
from keyweave.common.identity import Identity, Plane, Role
from keyweave.common.names import NodeName
from keyweave.common.pki import Authority
from keyweave.common.process import announce_ready
from keyweave.common.tls import TlsFiles, secure_channel
from keyweave.emulator.app import serve
from keyweave.emulator.config import EmulatorConfig


@dataclass(frozen=True)
class Emulator:
    """A running emulator, and how to come by certificates for it."""

    address: str
    authority: Authority
    directory: Path
    stop: Callable[[], Awaitable[None]]

    def files(
        self, identity: Identity, *, issuer: Authority | None = None, valid_for: dt.timedelta | None = None
    ) -> TlsFiles:
        """A certificate for `identity` on disk; the control plane's authority issues it unless told."""
        stem = self.directory / identity.uri.replace("/", "_")
        files = TlsFiles(
            certificate=stem.with_suffix(".pem"),
            private_key=stem.with_suffix(".key"),
            trust_anchor=self.directory / "ca.pem",
        )
        issued = (issuer or self.authority).issue(identity, valid_for=valid_for or dt.timedelta(days=1))
        issued.write(files.certificate, files.private_key)
        return files

    def driver(self, node: str) -> EmulatorDriver:
        """The driver of an agent at `node`."""
        return EmulatorDriver(self.settings(node), NodeName(node))

    def settings(self, node: str) -> dict[str, object]:
        """Settings of the driver of an agent at `node`."""
        tls = self.files(Identity(Plane.CONTROL, Role.AGENT, node)).model_dump(mode="json")
        return {"address": self.address, "tls": tls}

    def channel(self, files: TlsFiles) -> grpc.aio.Channel:
        """A connection with some certificate."""
        return secure_channel(self.address, files, EMULATOR)

    def operator(self) -> grpc.aio.Channel:
        """A connection of an operator."""
        return self.channel(self.files(Identity(Plane.CONTROL, Role.OPERATOR, "olga")))


@asynccontextmanager
async def running(
    scenario: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, **settings: Any
) -> AsyncIterator[Emulator]:
    """Within this process, for as long as the context lasts; `settings` are further ones of its file."""
    authority = Authority.create(Plane.CONTROL)
    (tmp_path / "ca.pem").write_bytes(authority.credential.certificate)
    (tmp_path / "scenario.yaml").write_text(scenario)
    tls = TlsFiles(
        certificate=tmp_path / "e.pem", private_key=tmp_path / "e.key", trust_anchor=tmp_path / "ca.pem"
    )
    authority.issue(EMULATOR).write(tls.certificate, tls.private_key)
    config = EmulatorConfig(
        scenario=tmp_path / "scenario.yaml",
        listen="127.0.0.1:0",
        tls=tls,
        ready_file=tmp_path / "ready.json",
        log_level="error",
        **settings,
    )
    stop = asyncio.Event()
    ready = asyncio.Event()

    def announced(path: Path | None, addresses: Mapping[str, str]) -> None:
        announce_ready(path, addresses)
        ready.set()

    monkeypatch.setattr(process, "announce_ready", announced)
    async with asyncio.TaskGroup() as tasks:
        served = tasks.create_task(serve(config, stop), name="emulator")

        async def end() -> None:
            stop.set()
            await asyncio.wait({served})

        await ready.wait()
        address = json.loads((tmp_path / "ready.json").read_text())["emulator"]
        yield Emulator(address, authority, tmp_path, end)
        await end()
