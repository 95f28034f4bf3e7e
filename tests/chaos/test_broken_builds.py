"""The checker is worth what it finds: four builds, each broken on purpose, must each be caught."""

import os
from pathlib import Path

import pytest

from keyweave.common.names import StreamName
from keyweave.v1 import admin_pb2, types_pb2
from tests.chaos.impostor import Impostor, reigning
from tests.chaos.live import Live, running
from tests.chaos.test_crashes import _controller_tls
from tests.checker import invariants
from tests.checker.history import Recorder
from tests.waiting import eventually

pytestmark = pytest.mark.timeout(400)
SCENARIO = Path(__file__).with_name("triangle.yaml")


def _broken(live: Live) -> set[int]:
    return {violation.invariant for violation in invariants.check(live.history())}


async def test_a_build_that_uses_pad_bytes_twice_is_caught(tmp_path: Path) -> None:
    async with running(SCENARIO, tmp_path, breakage="pad-reuse") as live:

        async def caught() -> bool:
            await live.fetch("quantum", 2)
            return 1 in _broken(live)

        await eventually(caught, 90, "invariant 1 broken")


async def test_a_build_that_hands_a_key_out_twice_is_caught(tmp_path: Path) -> None:
    async with running(SCENARIO, tmp_path, breakage="double-fetch") as live:
        fetched = await live.fetch("quantum")
        again = await live.decrypt_keys("quantum", [fetched.keys[0]["key_ID"]])
        assert again.status_code == 200, "the build is broken as intended"
        assert _broken(live) & {1, 2}


async def test_a_build_that_takes_policy_of_an_older_epoch_is_caught(tmp_path: Path) -> None:
    async with running(SCENARIO, tmp_path, breakage="stale-epoch", restart=False) as live:
        epoch = (await live.status()).epoch
        address, tls = live.layout.endpoints.admin, _controller_tls(live)
        await live.kill_for_good("controller")
        async with reigning(Impostor(epoch - 1), address, tls) as old:

            async def obeyed() -> bool:
                return old.acks.keys() == {"a", "b", "c"}

            await eventually(obeyed, 60, "the broken agents obey")
        assert 5 in _broken(live)


async def test_a_build_that_loses_acknowledged_streams_is_caught(tmp_path: Path) -> None:
    async with running(SCENARIO, tmp_path) as healthy:
        assert 6 not in await _kill_after_create(healthy, tmp_path)
    lossy = tmp_path / "lossy"
    lossy.mkdir()
    async with running(SCENARIO, lossy, breakage="lost-intent") as live:
        assert 6 in await _kill_after_create(live, lossy)


async def _kill_after_create(live: Live, root: Path) -> set[int]:
    """Create a stream, kill the controller, and record what its successor has; the invariants broken."""
    key = bytes.fromhex(os.environ["KEYWEAVE_TEST_KEY"])
    recorder = Recorder(root / "history" / "operator.jsonl", "operator", "1", key)
    stream = types_pb2.Stream(
        name="late",
        source_node="b",
        target_node="c",
        source_sae="late-b",
        target_sae="late-c",
        accept_strongest_available=True,
    )
    recorder.intent_requested(name=StreamName("late"))
    answer = await live.admin.CreateStream(admin_pb2.CreateStreamRequest(stream=stream))
    epoch = (await live.status()).epoch
    recorder.intent_acknowledged(
        name=StreamName("late"), action="created", revision=answer.stream.revision, epoch=epoch
    )
    old = live.kill("controller")
    await live.wait_restarted("controller", old)

    async def back() -> bool:
        try:
            return (await live.status()).epoch == epoch + 1
        except Exception:  # noqa: BLE001  # not listening yet
            return False

    await eventually(back, 90, "the controller is back")
    present = {StreamName(s.stream.name): s.stream.revision for s in (await live.status()).streams}
    recorder.intent_present(revisions=present, epoch=epoch + 1)
    recorder.close()
    return _broken(live)
