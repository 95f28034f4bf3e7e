"""The emulator over real sockets and mutual TLS, through the agents' own driver."""

import asyncio
import datetime as dt
import itertools
import json
import struct
import sys
from collections.abc import AsyncIterator, Awaitable
from pathlib import Path

import grpc
import pytest

from keyweave.agent.drivers import base
from keyweave.agent.drivers.base import DriverUnavailableError
from keyweave.agent.drivers.emulator import EmulatorDriver
from keyweave.common.errors import InvalidInputError
from keyweave.common.identity import Identity, Plane, Role
from keyweave.common.names import LinkName, NodeName
from keyweave.common.pki import Authority
from keyweave.v1 import emulator_pb2 as pb
from keyweave.v1 import emulator_pb2_grpc, types_pb2
from tests.integration.emulated import Emulator, running

SCENARIO = """
name: three-sites
sample_interval_seconds: 0.02
nodes: [{name: a, memories: &bank {count: 8, t2_seconds: 5}}, {name: b, memories: *bank}, {name: c}]
pair_links:
  - {name: a-b-pairs, a: a, b: b, length_km: 5, heralding: {kind: single-click, bright_state_ratio: 0.05},
     other_loss_db: 3}
links:
  - {name: a-b, a: a, b: b, technology: DV-QKD, length_km: 45, loss_db: 14.5, qber_ratio: 0.027,
     skr_bps: 304000, model: decoy BB84}
  - {name: b-c, a: b, b: c, technology: DV-QKD, length_km: 13, loss_db: 8, qber_ratio: 0.02,
     skr_bps: 100000, block_bytes: 128}
"""
AB = LinkName("a-b")


@pytest.fixture
async def emulator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Emulator]:
    async with running(SCENARIO, tmp_path, monkeypatch) as emulator:
        yield emulator


async def first_blocks(driver: EmulatorDriver, link: LinkName, count: int) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    async for blocks in driver.take_blocks(link, 1):
        found |= {block.number: bytes(block.key) for block in blocks}
        if len(found) >= count:
            break
    return found


async def refusal(call: Awaitable[object]) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value


async def test_each_agent_sees_the_links_at_its_node_only(emulator: Emulator) -> None:
    expected = {"a": [("a-b", "b", 256)], "b": [("a-b", "a", 256), ("b-c", "c", 128)], "x": []}
    for node, ends in expected.items():
        driver = emulator.driver(node)
        found = await driver.link_ends()
        assert [(end.link, end.peer_node, end.block_bytes) for end in found] == ends
        assert all(end.emulated for end in found)
        await driver.close()


async def test_both_ends_take_the_same_blocks_at_once_and_each_once(emulator: Emulator) -> None:
    a, b = emulator.driver("a"), emulator.driver("b")
    async with asyncio.timeout(30):
        async with asyncio.TaskGroup() as tasks:
            at_a = tasks.create_task(first_blocks(a, AB, 300))
            at_b = tasks.create_task(first_blocks(b, AB, 300))
        common = at_a.result().keys() & at_b.result().keys()
        assert set(range(1, 301)) <= common
        assert all(at_a.result()[number] == at_b.result()[number] for number in common)
        again = await first_blocks(a, AB, 1)
    assert not again.keys() & at_a.result().keys()
    await a.close()
    await b.close()


async def test_measurements_of_both_ends_stream_several_times_a_second(emulator: Emulator) -> None:
    a, b = emulator.driver("a"), emulator.driver("b")
    async with asyncio.timeout(30):
        for driver, detectors in ((a, 0), (b, 2)):
            starts = []
            async for report in driver.watch(AB):
                samples = report.samples
                assert (samples.rows, samples.interval_micros) == (5, 20_000)
                assert len(samples.detectors) == detectors
                assert samples.status == types_pb2.LINK_STATUS_ACTIVE
                starts.append(samples.start_unix_nanos)
                if len(starts) == 4:
                    break
            # Row follows row without a hole.
            assert [later - earlier for earlier, later in itertools.pairwise(starts)] == [10**8] * 3
    await a.close()
    await b.close()


async def test_an_operator_cuts_a_link_and_restores_it(emulator: Emulator) -> None:
    driver = emulator.driver("a")
    async with asyncio.timeout(30), emulator.operator() as channel:
        stub = emulator_pb2_grpc.EmulatorServiceStub(channel)
        reports = driver.watch(AB)
        await anext(reports)
        await stub.InjectFault(pb.InjectFaultRequest(fault=pb.Fault(link=AB, kind=pb.FAULT_KIND_CUT)))
        async for report in reports:
            if report.samples.status == types_pb2.LINK_STATUS_OFF:
                break
        listed = await stub.ListFaults(pb.ListFaultsRequest())
        assert [(fault.link, fault.kind) for fault in listed.faults] == [(AB, pb.FAULT_KIND_CUT)]
        restored = await stub.RestoreLink(pb.RestoreLinkRequest(link=AB))
        assert list(restored.ended) == list(listed.faults)
        async for report in reports:
            if report.samples.status == types_pb2.LINK_STATUS_ACTIVE:
                break
        assert not (await stub.ListFaults(pb.ListFaultsRequest())).faults
    await driver.close()


async def test_a_link_calibrates_when_an_end_asks_for_it(emulator: Emulator) -> None:
    driver = emulator.driver("a")
    async with asyncio.timeout(30):
        reports = driver.watch(AB)
        await anext(reports)
        await driver.calibrate(AB)
        async for report in reports:
            if report.samples.status == types_pb2.LINK_STATUS_PENDING:
                break
    await driver.close()


async def test_an_eavesdropper_drives_the_error_of_both_ends_to_a_quarter(emulator: Emulator) -> None:
    async with asyncio.timeout(30), emulator.operator() as channel:
        stub = emulator_pb2_grpc.EmulatorServiceStub(channel)
        fault = pb.Fault(link=AB, kind=pb.FAULT_KIND_EAVESDROP)
        answer = await stub.InjectFault(pb.InjectFaultRequest(fault=fault))
        assert answer.fault.magnitude == 1.0
        for node in ("a", "b"):
            driver = emulator.driver(node)
            async for report in driver.watch(AB):
                (last,) = struct.unpack("<f", report.samples.qber_ratio[-4:])
                if last > 0.24:
                    break
            await driver.close()


async def test_a_node_that_is_lost_does_not_answer_until_it_is_restored(emulator: Emulator) -> None:
    at_a, at_b = emulator.driver("a"), emulator.driver("b")
    async with asyncio.timeout(30), emulator.operator() as channel:
        stub = emulator_pb2_grpc.EmulatorServiceStub(channel)
        reports, far = at_b.watch(AB), at_a.watch(AB)
        await anext(reports)
        lost = pb.Fault(node="b", kind=pb.FAULT_KIND_NODE_LOSS)
        await stub.InjectFault(pb.InjectFaultRequest(fault=lost))
        with pytest.raises(DriverUnavailableError, match="'b' do not answer"):
            async for _report in reports:
                pass
        with pytest.raises(DriverUnavailableError, match="'b' do not answer"):
            await at_b.link_ends()
        async for report in far:
            if report.samples.status == types_pb2.LINK_STATUS_OFF:
                break
        listed = await stub.ListFaults(pb.ListFaultsRequest())
        assert [(fault.node, fault.link) for fault in listed.faults] == [("b", "")]
        restored = await stub.RestoreNode(pb.RestoreNodeRequest(node="b"))
        assert list(restored.ended) == list(listed.faults)
        async for report in far:
            if report.samples.status == types_pb2.LINK_STATUS_ACTIVE:
                break
        assert len(await at_b.link_ends()) == 2
    await at_a.close()
    await at_b.close()


async def test_an_operators_fault_grows_and_ends_by_itself(emulator: Emulator) -> None:
    driver = emulator.driver("a")
    async with asyncio.timeout(30), emulator.operator() as channel:
        stub = emulator_pb2_grpc.EmulatorServiceStub(channel)
        reports = driver.watch(AB)
        await anext(reports)
        bend = pb.Fault(
            link=AB, kind=pb.FAULT_KIND_BEND, magnitude=10, ramp_seconds=0.5, duration_seconds=1.0
        )
        answer = await stub.InjectFault(pb.InjectFaultRequest(fault=bend))
        assert (answer.fault.present_magnitude, answer.fault.planned) == (0.0, False)
        losses: list[float] = []
        async for report in reports:
            losses += struct.unpack(f"<{report.samples.rows}f", report.samples.loss_db)
            if max(losses) > 24 and losses[-1] < 15:
                break
        assert any(16 < loss < 23 for loss in losses)
        assert not (await stub.ListFaults(pb.ListFaultsRequest())).faults
    await driver.close()


async def test_another_nodes_link_end_is_refused(emulator: Emulator) -> None:
    driver = emulator.driver("c")
    with pytest.raises(DriverUnavailableError, match=r"PERMISSION_DENIED.*does not end at 'c'"):
        await anext(driver.take_blocks(AB, 1))
    with pytest.raises(DriverUnavailableError, match=r"PERMISSION_DENIED.*does not end at 'c'"):
        await anext(driver.watch(AB))
    with pytest.raises(DriverUnavailableError, match=r"PERMISSION_DENIED.*does not end at 'c'"):
        await driver.calibrate(AB)
    with pytest.raises(DriverUnavailableError, match=r"NOT_FOUND.*no link 'z'; links at 'c' are b-c"):
        await anext(driver.watch(LinkName("z")))
    await driver.close()


@pytest.mark.parametrize(
    "identity",
    [
        Identity(Plane.CONTROL, Role.OPERATOR, "a"),
        Identity(Plane.CONTROL, Role.VIEWER, "a"),
        Identity(Plane.CONTROL, Role.CONTROLLER, "a"),
        Identity(Plane.KEY, Role.AGENT, "a"),
    ],
    ids=lambda identity: identity.uri,
)
async def test_nobody_but_an_agent_gets_measurements_or_keys(emulator: Emulator, identity: Identity) -> None:
    async with emulator.channel(emulator.files(identity)) as channel:
        stub = emulator_pb2_grpc.EmulatorServiceStub(channel)
        for call in (
            stub.ListLinkEnds(pb.ListLinkEndsRequest()),
            anext(aiter(stub.WatchLinkEnd(pb.WatchLinkEndRequest(link=AB)))),
            stub.CalibrateLinkEnd(pb.CalibrateLinkEndRequest(link=AB)),
            anext(aiter(stub.TakeBlocks(pb.TakeBlocksRequest(link=AB, first_block=1)))),
        ):
            assert (await refusal(call)).code() is grpc.StatusCode.PERMISSION_DENIED


async def test_nobody_but_an_operator_touches_faults(emulator: Emulator) -> None:
    agent = emulator.files(Identity(Plane.CONTROL, Role.AGENT, "a"))
    async with emulator.channel(agent) as channel, emulator.operator() as operator:
        stub = emulator_pb2_grpc.EmulatorServiceStub(channel)
        fault = pb.Fault(link=AB, kind=pb.FAULT_KIND_CUT)
        for call in (
            stub.InjectFault(pb.InjectFaultRequest(fault=fault)),
            stub.RestoreLink(pb.RestoreLinkRequest(link=AB)),
            stub.RestoreNode(pb.RestoreNodeRequest(node="a")),
            stub.ListFaults(pb.ListFaultsRequest()),
        ):
            assert (await refusal(call)).code() is grpc.StatusCode.PERMISSION_DENIED
        listed = await emulator_pb2_grpc.EmulatorServiceStub(operator).ListFaults(pb.ListFaultsRequest())
        assert not listed.faults


async def test_bad_faults_are_refused_with_the_field_or_the_links_there_are(emulator: Emulator) -> None:
    async with emulator.operator() as channel:
        stub = emulator_pb2_grpc.EmulatorServiceStub(channel)
        for fault, code, said in (
            (
                pb.Fault(link="z", kind=pb.FAULT_KIND_CUT),
                grpc.StatusCode.NOT_FOUND,
                "there are a-b, a-b-pairs, b-c",
            ),
            (pb.Fault(link=AB), grpc.StatusCode.INVALID_ARGUMENT, "fault.kind"),
            (
                pb.Fault(node="z", kind=pb.FAULT_KIND_NODE_LOSS),
                grpc.StatusCode.NOT_FOUND,
                "there are a, b, c",
            ),
            (
                pb.Fault(node="a", kind=pb.FAULT_KIND_PARTITION),
                grpc.StatusCode.FAILED_PRECONDITION,
                "--network-faults",
            ),
            (
                pb.Fault(node="a", kind=pb.FAULT_KIND_NODE_LOSS, peer="b"),
                grpc.StatusCode.INVALID_ARGUMENT,
                "has no peer",
            ),
            (pb.Fault(kind=pb.FAULT_KIND_CUT), grpc.StatusCode.INVALID_ARGUMENT, "either a link or a node"),
            (
                pb.Fault(link=AB, kind=pb.FAULT_KIND_NODE_LOSS),
                grpc.StatusCode.FAILED_PRECONDITION,
                "a fault of a node",
            ),
            (
                pb.Fault(node="a", kind=pb.FAULT_KIND_CUT),
                grpc.StatusCode.INVALID_ARGUMENT,
                "cut is a fault of a link",
            ),
            (
                pb.Fault(link=AB, kind=pb.FAULT_KIND_CLOUD),
                grpc.StatusCode.FAILED_PRECONDITION,
                "this one is a fibre",
            ),
            (
                pb.Fault(link=AB, kind=pb.FAULT_KIND_CUT, ramp_seconds=1),
                grpc.StatusCode.INVALID_ARGUMENT,
                "no ramp",
            ),
            (
                pb.Fault(link=AB, kind=pb.FAULT_KIND_EAVESDROP, magnitude=2),
                grpc.StatusCode.INVALID_ARGUMENT,
                "fault.magnitude: 2 is outside 0 to 1",
            ),
        ):
            error = await refusal(stub.InjectFault(pb.InjectFaultRequest(fault=fault)))
            assert error.code() is code
            assert said in (error.details() or "")


@pytest.mark.parametrize("flaw", ["unknown CA", "expired"])
async def test_a_certificate_that_does_not_verify_gets_no_connection(emulator: Emulator, flaw: str) -> None:
    identity = Identity(Plane.CONTROL, Role.AGENT, "a")
    files = (
        emulator.files(identity, issuer=Authority.create(Plane.CONTROL))
        if flaw == "unknown CA"
        else emulator.files(identity, valid_for=dt.timedelta(days=-1))
    )
    async with emulator.channel(files) as channel:
        stub = emulator_pb2_grpc.EmulatorServiceStub(channel)
        error = await refusal(stub.ListLinkEnds(pb.ListLinkEndsRequest(), timeout=10))
    assert error.code() is grpc.StatusCode.UNAVAILABLE


async def test_streams_end_as_unavailable_when_the_emulator_stops_and_it_cannot_be_reached_after(
    emulator: Emulator,
) -> None:
    driver = emulator.driver("a")
    reports = driver.watch(AB)
    await anext(reports)
    async with asyncio.timeout(20):
        await emulator.stop()
        with pytest.raises(DriverUnavailableError, match="shutting down"):
            async for _report in reports:
                pass
        with pytest.raises(DriverUnavailableError, match="UNAVAILABLE"):
            await driver.link_ends()
    await driver.close()


async def test_the_driver_is_installed_under_its_name_and_others_are_listed() -> None:
    assert base.load("emulator") is EmulatorDriver
    with pytest.raises(InvalidInputError, match="'vendor-x' is not installed; installed drivers: emulator"):
        base.load("vendor-x")


async def test_wrong_driver_settings_are_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"settings\.tls: .*settings\.adress: "):
        EmulatorDriver({"address": "127.0.0.1:1", "adress": "typo"}, NodeName("a"))
    tls = dict.fromkeys(("certificate", "private_key", "trust_anchor"), tmp_path / "absent.pem")
    with pytest.raises(InvalidInputError, match=r"absent\.pem cannot be read"):
        EmulatorDriver({"address": "127.0.0.1:1", "tls": tls}, NodeName("a"))


async def test_the_driver_keeps_its_contract_at_both_ends(emulator: Emulator, tmp_path: Path) -> None:
    setup = {"node": "a", "settings": emulator.settings("a")}
    setup["peer"] = {"node": "b", "settings": emulator.settings("b")}
    (tmp_path / "setup.yaml").write_text(json.dumps(setup))
    # In a process of its own: the emulator's tasks and sockets are in this one.
    words = ["-m", "keyweave.cli", "driver", "test", "emulator", "--config", str(tmp_path / "setup.yaml")]
    command = await asyncio.create_subprocess_exec(sys.executable, *words, stdout=asyncio.subprocess.PIPE)
    out, _ = await command.communicate()
    assert [line for line in out.decode().splitlines() if not line.startswith("pass ")] == []
    assert command.returncode == 0
