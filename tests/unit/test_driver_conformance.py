"""The conformance suite passes a driver that keeps the contract, and names what another one breaks."""

import asyncio
import hashlib
import json
import socket
import struct
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
import structlog

from keyweave.agent.drivers import base, conformance, conformance_reading
from keyweave.agent.drivers.base import DeviceBlock, DeviceReport, DriverUnavailableError, LinkEndInfo
from keyweave.agent.drivers.conformance import Effort, Finding, Outcome, Setup
from keyweave.cli.main import main
from keyweave.common.errors import InvalidInputError
from keyweave.common.names import LinkName, NodeName
from keyweave.v1 import agent_pb2, types_pb2

INTERVAL = 0.01
BLOCK_BYTES = 64
QUICK = Effort(reports=3, blocks=3, seconds=2.0)
SETUP = Setup.model_validate(
    {"node": "a", "settings": {"peer_node": "b"}, "peer": {"node": "b", "settings": {"peer_node": "a"}}}
)


@pytest.fixture(autouse=True)
def log_of_its_own() -> Iterator[None]:
    """The command logs to the stderr of its test, which is gone after it."""
    yield
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


def floats(*values: float) -> bytes:
    return struct.pack(f"<{len(values)}f", *values)


class Sound:
    """A driver that keeps the contract, over a device that is a formula."""

    def __init__(self, settings: Mapping[str, Any], node: NodeName) -> None:
        if unknown := settings.keys() - {"peer_node"}:
            raise InvalidInputError.of(f"settings.{min(unknown)}", "is unknown")
        self.node = node
        self.end = LinkEndInfo(LinkName("a-b"), NodeName(settings["peer_node"]), "formula", True, BLOCK_BYTES)

    async def link_ends(self) -> tuple[LinkEndInfo, ...]:
        return (self.end,)

    async def watch(self, link: LinkName) -> AsyncIterator[DeviceReport]:
        while True:
            await asyncio.sleep(INTERVAL)
            yield self.report(link)

    def report(self, link: LinkName) -> DeviceReport:
        samples = agent_pb2.LinkSamples(
            link=link,
            start_unix_nanos=time.time_ns() - int(INTERVAL * 1e9),
            interval_micros=int(INTERVAL * 1e6),
            rows=1,
            qber_ratio=floats(0.02),
            skr_bps=floats(float("nan")),
            status=types_pb2.LINK_STATUS_ACTIVE,
            detectors=[agent_pb2.DetectorSamples(detector="apd", temperature_celsius=floats(-40.0))],
        )
        return DeviceReport(samples, "")

    async def take_blocks(self, link: LinkName, first_block: int) -> AsyncIterator[tuple[DeviceBlock, ...]]:
        for number in range(first_block, 2**62):
            await asyncio.sleep(INTERVAL)
            yield (self.block(link, number),)

    def block(self, link: LinkName, number: int) -> DeviceBlock:
        key = hashlib.shake_256(f"{link} {number}".encode()).digest(BLOCK_BYTES)
        return DeviceBlock(number, bytearray(key), time.time_ns())

    async def close(self) -> None:
        """Nothing is held."""


class MeasuresOnly(Sound):
    async def link_ends(self) -> tuple[LinkEndInfo, ...]:
        return (replace(self.end, block_bytes=0),)


class GivesKeyOnly(Sound):
    async def link_ends(self) -> tuple[LinkEndInfo, ...]:
        return (replace(self.end, measures=False),)


# ---- one defect each ----------------------------------------------------------------------------


class TakesAnySetting(Sound):
    def __init__(self, settings: Mapping[str, Any], node: NodeName) -> None:
        super().__init__({"peer_node": settings["peer_node"]}, node)


class OddBlocks(Sound):
    async def link_ends(self) -> tuple[LinkEndInfo, ...]:
        return (replace(self.end, block_bytes=63),)


class LeadsNowhere(Sound):
    async def link_ends(self) -> tuple[LinkEndInfo, ...]:
        return (replace(self.end, peer_node=self.node),)


class SaysNothing(Sound):
    async def link_ends(self) -> tuple[LinkEndInfo, ...]:
        return ()


class IsAway(Sound):
    async def link_ends(self) -> tuple[LinkEndInfo, ...]:
        raise DriverUnavailableError("no light")


class ChangesItsMind(Sound):
    asked = 0

    async def link_ends(self) -> tuple[LinkEndInfo, ...]:
        self.asked += 1
        return (replace(self.end, model=f"model {self.asked}"),)


class WithSamples(Sound):
    """A driver whose reports are changed by what the test says."""

    changes: ClassVar[Mapping[str, Any]] = {}

    def report(self, link: LinkName) -> DeviceReport:
        samples = super().report(link).samples
        for name, value in self.changes.items():
            setattr(samples, name, value)
        return DeviceReport(samples, "")


class ShortColumn(WithSamples):
    changes: ClassVar[Mapping[str, Any]] = {"rows": 2}


class QberInPercent(WithSamples):
    changes: ClassVar[Mapping[str, Any]] = {"qber_ratio": floats(2.0)}


class InfiniteRate(WithSamples):
    changes: ClassVar[Mapping[str, Any]] = {"skr_bps": floats(float("inf"))}


class NoStatus(WithSamples):
    changes: ClassVar[Mapping[str, Any]] = {"status": types_pb2.LINK_STATUS_UNSPECIFIED}


class NoInterval(WithSamples):
    changes: ClassVar[Mapping[str, Any]] = {"interval_micros": 0}


class OtherLink(WithSamples):
    changes: ClassVar[Mapping[str, Any]] = {"link": "c-d"}


class Silent(Sound):
    async def watch(self, link: LinkName) -> AsyncIterator[DeviceReport]:
        await asyncio.Event().wait()
        yield self.report(link)


class OldNews(WithSamples):
    changes: ClassVar[Mapping[str, Any]] = {"start_unix_nanos": 10**18}


class FromTheFuture(Sound):
    def report(self, link: LinkName) -> DeviceReport:
        report = super().report(link)
        report.samples.start_unix_nanos += 60 * 10**9
        return report


class TellsItTwice(Sound):
    async def watch(self, link: LinkName) -> AsyncIterator[DeviceReport]:
        async for report in super().watch(link):
            yield report
            yield report


class ClaimsMoreTime(WithSamples):
    changes: ClassVar[Mapping[str, Any]] = {"interval_micros": 10**6}

    def report(self, link: LinkName) -> DeviceReport:
        report = super().report(link)
        report.samples.start_unix_nanos -= 10**9
        return report


class WatchEnds(Sound):
    async def watch(self, link: LinkName) -> AsyncIterator[DeviceReport]:
        for _ in range(4):
            yield self.report(link)


class BlocksEnd(Sound):
    async def take_blocks(self, link: LinkName, first_block: int) -> AsyncIterator[tuple[DeviceBlock, ...]]:
        yield (self.block(link, first_block),)


class WatchRaises(Sound):
    async def watch(self, link: LinkName) -> AsyncIterator[DeviceReport]:
        yield self.report(link)
        raise ValueError("what the device said")


class SwallowsCancellation(Sound):
    async def watch(self, link: LinkName) -> AsyncIterator[DeviceReport]:
        with suppress(asyncio.CancelledError):
            async for report in super().watch(link):
                yield report


class LeavesATask(Sound):
    kept: ClassVar[list[asyncio.Task[None]]] = []

    async def watch(self, link: LinkName) -> AsyncIterator[DeviceReport]:
        self.kept.append(asyncio.create_task(asyncio.sleep(3600), name="poller"))
        async for report in super().watch(link):
            yield report

    async def close(self) -> None:
        for task in self.kept:
            task.cancel()


class ClosesNothing(Sound):
    kept: ClassVar[list[asyncio.Task[None]]] = []

    async def link_ends(self) -> tuple[LinkEndInfo, ...]:
        self.kept.append(asyncio.create_task(asyncio.sleep(3600), name="poller"))
        return await super().link_ends()


class KeepsItsSocket(Sound):
    kept: ClassVar[list[socket.socket]] = []

    async def link_ends(self) -> tuple[LinkEndInfo, ...]:
        if not self.kept:
            self.kept.append(socket.create_server(("127.0.0.1", 0)))
        return await super().link_ends()


class CloseFails(Sound):
    async def close(self) -> None:
        raise RuntimeError("already closed")


class RepeatsNumbers(Sound):
    async def take_blocks(self, link: LinkName, first_block: int) -> AsyncIterator[tuple[DeviceBlock, ...]]:
        async for blocks in super().take_blocks(link, first_block):
            yield blocks + blocks


class CountsFromZero(Sound):
    async def take_blocks(self, link: LinkName, first_block: int) -> AsyncIterator[tuple[DeviceBlock, ...]]:
        async for blocks in super().take_blocks(link, first_block - 1):
            yield blocks


class IgnoresFirstBlock(Sound):
    async def take_blocks(self, link: LinkName, first_block: int) -> AsyncIterator[tuple[DeviceBlock, ...]]:
        async for blocks in super().take_blocks(link, 1):
            yield blocks


class ShortKeys(Sound):
    def block(self, link: LinkName, number: int) -> DeviceBlock:
        return replace(super().block(link, number), key=bytearray(62))


class KeysForEver(Sound):
    def block(self, link: LinkName, number: int) -> DeviceBlock:
        block = super().block(link, number)
        return replace(block, key=bytes(block.key))  # type: ignore[arg-type]  # the defect


class KeysOfTomorrow(Sound):
    def block(self, link: LinkName, number: int) -> DeviceBlock:
        return replace(super().block(link, number), produced_unix_nanos=time.time_ns() + 86400 * 10**9)


class OwnKeys(Sound):
    def block(self, link: LinkName, number: int) -> DeviceBlock:
        block = super().block(link, number)
        block.key[0] ^= self.node == "b"
        return block


DEFECTS: list[tuple[type[Sound], str, str]] = [
    (TakesAnySetting, "settings", "without a word"),
    (OddBlocks, "link-ends", "63"),
    (LeadsNowhere, "link-ends", "to itself"),
    (SaysNothing, "link-ends", "none"),
    (IsAway, "link-ends", "no light"),
    (ChangesItsMind, "link-ends-stable", "second time"),
    (ShortColumn, "measurements", "qber_ratio has 4 bytes; 2 rows are 8"),
    (QberInPercent, "measurements", "qber_ratio is 2"),
    (InfiniteRate, "measurements", "skr_bps is inf"),
    (NoStatus, "measurements", "status 0"),
    (NoInterval, "measurements", "interval_micros"),
    (OtherLink, "measurements", "'c-d'"),
    (Silent, "measurements", "0 of 3 reports"),
    (OldNews, "measurement-times", "no news"),
    (FromTheFuture, "measurement-times", "after it came"),
    (TellsItTwice, "measurement-times", "before or with the one before"),
    (ClaimsMoreTime, "measurement-times", "claim"),
    (WatchEnds, "iterators", "without an error"),
    (BlocksEnd, "iterators", "without an error"),
    (WatchRaises, "iterators", "ValueError"),
    (SwallowsCancellation, "iterators", "swallowed"),
    (LeavesATask, "iterators", "poller"),
    (ClosesNothing, "close", "poller"),
    (KeepsItsSocket, "close", "1 connections"),
    (CloseFails, "close", "already closed"),
    (RepeatsNumbers, "block-numbers", "after block"),
    (CountsFromZero, "block-numbers", "number 0"),
    (IgnoresFirstBlock, "first-block", "asked for"),
    (ShortKeys, "block-size", "62 bytes"),
    (KeysForEver, "block-size", "bytearray"),
    (KeysOfTomorrow, "block-times", "produced at"),
    (OwnKeys, "both-ends", "not the same"),
]


async def run(driver: type[Sound], setup: Setup = SETUP) -> dict[str, Finding]:
    return {finding.check: finding for finding in await conformance.run(driver, setup, QUICK)}


def failed(findings: Mapping[str, Finding]) -> dict[str, str]:
    return {name: one.reason for name, one in findings.items() if one.outcome is Outcome.FAILED}


async def test_a_driver_that_keeps_the_contract_passes_every_check() -> None:
    findings = await run(Sound)
    assert {one.outcome for one in findings.values()} == {Outcome.PASSED}, findings
    assert findings["measurements"].reason.endswith(
        "not measured: sifted_rate_bps, loss_db, visibility_ratio"
    )


@pytest.mark.parametrize(
    ("driver", "check", "words"), DEFECTS, ids=[driver.__name__ for driver, _, _ in DEFECTS]
)
async def test_each_defect_is_caught_by_the_check_that_is_named_for_it(
    driver: type[Sound], check: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conformance_reading, "STOP_SECONDS", 0.3)
    try:
        wrong = failed(await run(driver))
    finally:
        for left in getattr(driver, "kept", ()):
            left.close() if isinstance(left, socket.socket) else left.cancel()
    assert words in wrong.get(check, ""), wrong


def test_every_check_has_a_driver_that_it_catches() -> None:
    everything = asyncio.run(conformance.run(Sound, SETUP, QUICK))
    assert {finding.check for finding in everything} == {check for _, check, _ in DEFECTS}


async def test_what_a_driver_does_not_give_is_told_as_not_applicable() -> None:
    no_key, no_measurements = await run(MeasuresOnly), await run(GivesKeyOnly)
    assert not failed(no_key)
    assert not failed(no_measurements)
    assert no_key["first-block"].outcome is Outcome.NOT_APPLICABLE
    assert no_key["measurements"].outcome is Outcome.PASSED
    assert no_measurements["measurements"].outcome is Outcome.NOT_APPLICABLE
    assert no_measurements["both-ends"].outcome is Outcome.PASSED


async def test_without_the_other_end_its_keys_are_not_compared() -> None:
    findings = await run(Sound, SETUP.model_copy(update={"peer": None}))
    assert findings["both-ends"].outcome is Outcome.NOT_APPLICABLE
    assert not failed(findings)


@pytest.mark.parametrize(("driver", "code"), [(Sound, 0), (QberInPercent, 1)])
def test_the_command_tells_every_check_and_fails_where_one_does(
    driver: type[Sound],
    code: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(base, "load", lambda _name: driver)
    file = tmp_path / "setup.yaml"
    file.write_text("node: a\nsettings: {peer_node: b}\n")
    arguments = ["driver", "test", "mine", "--config", str(file), "--reports", "2", "--blocks", "2"]
    assert main([*arguments, "-o", "json"]) == code
    checks = {one["check"]: one["outcome"] for one in json.loads(capsys.readouterr().out)["checks"]}
    assert checks["measurements"] == ("fail" if code else "pass")
    assert checks["both-ends"] == "not applicable"
    assert main(arguments) == code
    assert "block-numbers" in capsys.readouterr().out


def test_the_command_says_what_is_wrong_with_its_file_and_with_the_driver_s_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "setup.yaml"
    file.write_text("nodes: a\n")
    assert main(["driver", "test", "emulator", "--config", str(file)]) == 1
    assert "nodes: is unknown; expected node, settings, peer" in capsys.readouterr().err
    file.write_text("node: a\nsettings: {address: 1.2.3.4:5}\n")
    assert main(["driver", "test", "emulator", "--config", str(file)]) == 1
    assert "settings.tls" in capsys.readouterr().err
    assert main(["driver", "test", "nobody-s", "--config", str(file)]) == 1
    assert "installed drivers: " in capsys.readouterr().err
    assert main(["driver", "test", "emulator"]) == 2


def test_the_drivers_that_are_installed_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["driver", "list", "-o", "json"]) == 0
    told = {one["name"]: one["target"] for one in json.loads(capsys.readouterr().out)["drivers"]}
    assert told["emulator"] == "keyweave.agent.drivers.emulator:EmulatorDriver"
    assert main(["driver", "list"]) == 0
    assert "emulator" in capsys.readouterr().out
