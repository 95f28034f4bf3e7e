"""The `etsi014` driver against a vendor's KMEs that know the standard and nothing of us, as they fail."""

import asyncio
import shutil
import struct
from collections import deque
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import structlog

from keyweave.agent.drivers import conformance
from keyweave.agent.drivers import etsi014 as driver_module
from keyweave.agent.drivers import etsi014_notes as notes
from keyweave.agent.drivers.base import DeviceBlock, DeviceReport, DriverUnavailableError
from keyweave.agent.drivers.conformance import Effort, Outcome, Setup
from keyweave.agent.drivers.etsi014 import Etsi014Driver
from keyweave.common.errors import InvalidInputError
from keyweave.common.names import LinkName, NodeName
from keyweave.v1 import types_pb2
from tests.integration.vendor_kme import Certificates, Vendor, vendor
from tests.waiting import eventually

AB = LinkName("a-b")
WAIT = 20.0
LINK = {"peer_node": "b", "model": "m", "kme": "https://10.0.0.7", "peer_sae": "s", "vendor_domain": "acme"}
OFFER = (
    b'{"kind": "offer", "batch": "00000000000000000000000000000000", "first_block": 1,'
    b' "key_size_bits": 256, "key_ids": [%s]}'
)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver_module, "REPEAT_SECONDS", 0.2)


class Line:
    """One way between the twins; what is sent while it is cut is lost."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[bytes] = asyncio.Queue()
        self.other: Line | None = None
        self.sent: deque[notes.Note] = deque(maxlen=1000)
        # Kinds of notes that get lost, and how often.
        self.losing: dict[str, int] = {}

    def send(self, message: bytes) -> bool:
        """As the key plane's."""
        assert self.other is not None
        note = notes.decoded(message)
        assert note is not None
        self.sent.append(note)
        if self.losing.get(note.kind, 0):
            self.losing[note.kind] -= 1
        else:
            self.other.queue.put_nowait(message)
        return True

    async def receive(self) -> bytes:
        """As the key plane's."""
        return await self.queue.get()


class End:
    """A driver at one end, read as an agent reads it: what it raises is remembered, and it is tried again."""

    def __init__(self, node: str, settings: dict[str, Any], line: Line) -> None:
        self.blocks: dict[int, bytes] = {}
        self.order: list[int] = []
        self.reports: list[DeviceReport] = []
        self.errors: list[str] = []
        self.wanted = asyncio.Event()
        self.wanted.set()
        self.driver = Etsi014Driver(settings, NodeName(node))
        self.line = line
        self.driver.meet(AB, line)

    async def take(self) -> None:
        """Take blocks for ever."""
        while True:
            with suppress(DriverUnavailableError):
                try:
                    async for batch in self.driver.take_blocks(AB, max(self.order, default=0) + 1):
                        self._take_in(batch)
                        await self.wanted.wait()
                except DriverUnavailableError as error:
                    self.errors.append(str(error))
                    raise
            await asyncio.sleep(0.02)

    def _take_in(self, batch: tuple[DeviceBlock, ...]) -> None:
        for block in batch:
            assert not self.order or block.number > self.order[-1], "numbers rise"
            assert block.number not in self.blocks
            self.order.append(block.number)
            self.blocks[block.number] = bytes(block.key)

    async def watch(self) -> None:
        """Read measurements for ever."""
        while True:
            with suppress(DriverUnavailableError):
                async for report in self.driver.watch(AB):
                    self.reports.append(report)
            await asyncio.sleep(0.02)


class Ends:
    """Both ends, running."""

    def __init__(self, a: End, b: End) -> None:
        self.a, self.b = a, b

    async def have(self, count: int) -> None:
        """Both have at least so many blocks, which must be the same."""

        async def enough() -> bool:
            return min(len(self.a.blocks), len(self.b.blocks)) >= count

        await eventually(enough, WAIT, f"{count} blocks at both ends; {self.a.errors} {self.b.errors}")
        self.agree()

    def agree(self) -> None:
        """What both have under one number is one key, and no key is there twice."""
        for number in self.a.blocks.keys() & self.b.blocks.keys():
            assert self.a.blocks[number] == self.b.blocks[number]
        for end in (self.a, self.b):
            assert len(set(end.blocks.values())) == len(end.blocks)


@asynccontextmanager
async def ends(of: Vendor, **link: Any) -> AsyncIterator[Ends]:
    lines = Line(), Line()
    lines[0].other, lines[1].other = lines[1], lines[0]
    both = Ends(*(End(node, of.settings(node, **link), line) for node, line in zip("ab", lines, strict=True)))
    for end in (both.a, both.b):
        await end.driver.link_ends()
    tasks = [asyncio.create_task(run()) for end in (both.a, both.b) for run in (end.take, end.watch)]
    try:
        yield both
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        for end in (both.a, both.b):
            await end.driver.close()
    for task in tasks:
        assert task.cancelled(), task.exception()


async def test_keys_of_the_vendors_become_equal_blocks_at_both_ends_and_only_their_ids_travel(
    tmp_path: Path,
) -> None:
    async with vendor(tmp_path) as running, ends(running) as both:
        (end,) = await both.a.driver.link_ends()
        assert (end.vendor_domain, end.emulated, end.block_bytes) == ("acme-metro", False, 32)
        await both.have(40)
        assert both.a.order == list(range(1, len(both.a.order) + 1))
        assert set(both.a.blocks.values()) <= set(running.domain.given.values())
        keys = {key.hex() for key in running.domain.given.values()}
        sent = " ".join(note.model_dump_json() for line in (both.a.line, both.b.line) for note in line.sent)
        assert not [key for key in keys if key in sent]
    assert running.domain.refused == [], "everything was asked as the standard has it"


async def conformance_of(setup: Setup) -> dict[str, conformance.Finding]:
    """Judged on a loop of its own: on this one the KMEs' tasks come and go."""
    run = conformance.run(Etsi014Driver, setup, Effort(reports=3, blocks=3, seconds=WAIT))
    return {finding.check: finding for finding in await asyncio.to_thread(asyncio.run, run)}


@pytest.mark.parametrize(("here", "there"), [("a", "b"), ("b", "a")])
async def test_the_conformance_suite_passes_it_at_either_end(tmp_path: Path, here: str, there: str) -> None:
    async with vendor(tmp_path) as running:
        peer = {"node": there, "settings": running.settings(there)}
        setup = {"node": here, "settings": running.settings(here), "peer": peer}
        findings = await conformance_of(Setup.model_validate(setup))
    assert [f for f in findings.values() if f.outcome is not Outcome.PASSED] == []


async def test_without_the_other_end_the_conformance_suite_says_that_key_cannot_be_judged(
    tmp_path: Path,
) -> None:
    async with vendor(tmp_path) as running:
        findings = await conformance_of(Setup(node="a", settings=running.settings("a")))
    assert [f for f in findings.values() if f.outcome is Outcome.FAILED] == []
    assert findings["block-numbers"].outcome is Outcome.NOT_APPLICABLE
    assert "give the other end's settings" in findings["block-numbers"].reason


# ---- the KMEs fail ------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["west", "east"])
async def test_a_kme_that_stalls_is_said_to_and_keys_go_on_once_it_answers_again(
    tmp_path: Path, where: str
) -> None:
    async with vendor(tmp_path) as running, ends(running) as both:
        await both.have(8)
        stalled = both.a if where == "west" else both.b
        async with running.domain.stall(where):

            async def noticed() -> bool:
                return any("did not answer in 1 s" in error for error in stalled.errors)

            await eventually(noticed, WAIT, "the stall is noticed")
        await both.have(len(both.a.blocks) + 20)
        both.agree()


@pytest.mark.parametrize("where", ["west", "east"])
async def test_a_kme_that_is_away_and_comes_back_having_lost_its_keys_costs_those_keys_alone(
    tmp_path: Path, where: str
) -> None:
    async with vendor(tmp_path) as running, ends(running) as both:
        await both.have(8)
        kme, end = (running.west, both.a) if where == "west" else (running.east, both.b)
        await kme.stop()

        async def noticed() -> bool:
            return bool(end.errors)

        await eventually(noticed, WAIT, "it is away")
        running.domain.lose()
        await kme.start()
        with structlog.testing.capture_logs() as logs:
            await both.have(max(len(both.a.blocks), len(both.b.blocks)) + 20)
        if where == "east":
            # The keys that were drawn when it went: the other end waited with them and has burnt them.
            assert any(entry["event"] == "vendor_keys_lost" for entry in logs)
    assert both.a.order == both.b.order[: len(both.a.order)], "lost keys get no number"


async def test_a_domain_that_runs_out_is_no_fault_its_last_keys_are_taken_and_new_ones_as_they_come(
    tmp_path: Path,
) -> None:
    async with vendor(tmp_path, stock=21) as running, ends(running) as both:
        await both.have(21)
        assert not both.a.errors
        running.domain.stock = 3
        await both.have(24)
        assert not [report for report in both.a.reports if report.device_fault]
    assert {refusal[:3] for refusal in running.domain.refused} == {"503"}


async def test_where_the_domain_gives_less_than_is_wanted_its_rate_is_told_and_where_nobody_wants_more_none(
    tmp_path: Path,
) -> None:
    async with vendor(tmp_path) as running, ends(running) as both:
        await both.have(8)
        both.a.wanted.clear()

        async def idle() -> bool:
            last = both.a.reports[-3:]
            return len(last) == 3 and all(
                report.samples.status == types_pb2.LINK_STATUS_PASSIVE for report in last
            )

        await eventually(idle, WAIT, "nobody wants key: PASSIVE")
        taken = running.domain.asked["west enc_keys"]
        before = len(both.a.reports)

        async def more_reports() -> bool:
            return len(both.a.reports) > before + 3

        await eventually(more_reports, WAIT, "more reports")
        assert running.domain.asked["west enc_keys"] == taken, "no key is drawn that nobody wants"
        running.domain.stock = 0
        both.a.wanted.set()

        async def starving() -> bool:
            samples = both.a.reports[-1].samples
            told = struct.unpack("<f", samples.skr_bps)[0]
            return bool(samples.status == types_pb2.LINK_STATUS_ACTIVE and told == 0.0)

        await eventually(starving, WAIT, "keys are wanted and none come: a rate of 0")
        samples = both.a.reports[-1].samples
        assert (samples.qber_ratio, samples.loss_db, samples.sifted_rate_bps) == (b"", b"", b"")
        assert {report.samples.skr_bps for report in both.b.reports} == {b""}, "one end tells the rate"


@pytest.mark.parametrize(
    ("manner", "spoils", "reason"),
    [
        ("wrong-size", "keys", "gave a key of 248 bits where 256 were asked for"),
        ("same-id-twice", "keys", "gave one key ID twice"),
        ("an-old-id", "keys", "gave a key that it gave before"),
        ("html", "all", "answers 200 and text/html where JSON is due"),
        ("no-json", "all", "answers what is no JSON"),
        ("unauthorised", "all", "says 401: 'not today'"),
    ],
)
async def test_what_is_not_as_the_standard_has_it_is_refused_with_its_reason_and_never_becomes_a_block(
    tmp_path: Path, manner: str, spoils: str, reason: str
) -> None:
    async with vendor(tmp_path) as running, ends(running) as both:
        await both.have(8)
        running.domain.manner = manner

        async def refused() -> bool:
            return any(reason in error for end in (both.a, both.b) for error in end.errors)

        await eventually(refused, WAIT, reason)

        async def told() -> bool:
            return any(reason in seen.device_fault for end in (both.a, both.b) for seen in end.reports)

        if spoils == "keys":  # else there is no report
            await eventually(told, WAIT, "the controller is told why")
        running.domain.manner = ""
        await both.have(len(both.a.blocks) + 20)
        assert {len(key) for end in (both.a, both.b) for key in end.blocks.values()} == {32}

        async def well() -> bool:
            return all(end.reports and not end.reports[-1].device_fault for end in (both.a, both.b))

        await eventually(well, WAIT, "and that it is over")


# ---- the way between the ends fails -------------------------------------------------------------


@pytest.mark.parametrize("kind", ["ask", "ready", "offer", "fetched"])
async def test_notes_that_get_lost_cost_no_key(tmp_path: Path, kind: str) -> None:
    async with vendor(tmp_path) as running, AsyncExitStack() as stack:
        both = await stack.enter_async_context(ends(running))
        for line in (both.a.line, both.b.line):
            line.losing[kind] = 3
        await both.have(40)
        assert both.a.order == list(range(1, len(both.a.order) + 1))
        assert both.b.order == list(range(1, len(both.b.order) + 1))


async def test_an_end_that_begins_again_further_on_takes_the_other_one_with_it(tmp_path: Path) -> None:
    async with vendor(tmp_path) as running, ends(running) as both:
        await both.have(8)
        both.b.line.send(notes.encoded(notes.Ready(next_block=1000, key_size_bits=256)))

        async def further() -> bool:
            return max(both.a.order) > 1000 and max(both.b.order) > 1000

        await eventually(further, WAIT, "blocks from 1000 on")
        both.agree()


async def test_nothing_is_drawn_before_the_other_end_is_there_to_fetch_it(tmp_path: Path) -> None:
    async with vendor(tmp_path) as running:
        line = Line()
        line.other = Line()
        alone = End("a", running.settings("a"), line)
        await alone.driver.link_ends()
        task = asyncio.create_task(alone.take())

        async def asked_for() -> bool:
            return len(line.sent) >= 3

        await eventually(asked_for, WAIT, "it asks again and again")
        task.cancel()
        await asyncio.wait({task})
        await alone.driver.close()
    assert running.domain.asked["west enc_keys"] == 0


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"\xff",
        b"[]",
        b'{"kind": "offer"}',
        b'{"kind": "ready", "next_block": 0, "key_size_bits": 256}',
        b'{"kind": "ready", "next_block": 1e400, "key_size_bits": 256}',
        b'{"kind": "ready", "next_block": "5", "key_size_bits": 256}',
        b'{"kind": "fetched", "batch": "00", "first_block": 1, "got": [1]}',
        OFFER % b'"x"',
        OFFER % b"",
        b'{"kind": "ask", "key": "x"}',
    ],
)
def test_a_note_that_is_none_is_not_understood(message: bytes) -> None:
    assert notes.decoded(message) is None
    assert notes.decoded(OFFER % b'"00000000-0000-4000-8000-000000000000"') is not None


async def test_ends_whose_kmes_give_other_sizes_say_so(tmp_path: Path) -> None:
    async with vendor(tmp_path) as running, ends(running) as both:
        await both.have(4)
        both.b.line.send(notes.encoded(notes.Ready(next_block=1, key_size_bits=512)))

        async def refused() -> bool:
            return any("key_size_bits of link 'a-b' alike" in error for error in both.a.errors)

        await eventually(refused, WAIT, "sizes differ")


# ---- who is who ---------------------------------------------------------------------------------


async def test_a_kme_of_another_authority_is_not_believed(tmp_path: Path) -> None:
    async with vendor(tmp_path) as running:
        settings = running.settings("a")
        settings["tls"]["trust_anchor"] = str(Certificates(tmp_path / "stranger").anchor)
        made = Etsi014Driver(settings, NodeName("a"))
        with pytest.raises(DriverUnavailableError, match="cannot be reached"):
            await made.link_ends()
        await made.close()
    assert not running.domain.asked


async def test_a_replaced_certificate_is_taken_with_the_next_request(tmp_path: Path) -> None:
    async with vendor(tmp_path) as running:
        settings = running.settings("a")
        good, bad = settings["tls"], running.certificates.tls("somebody else")
        files = {kind: tmp_path / f"own-{kind}.pem" for kind in ("certificate", "private_key")}
        for kind, path in files.items():
            shutil.copyfile(bad[kind], path)
        made = Etsi014Driver({**settings, "tls": {**good, **files}}, NodeName("a"))
        with pytest.raises(DriverUnavailableError, match="401"):
            await made.link_ends()
        for kind, path in files.items():
            shutil.copyfile(good[kind], path)
        assert len(await made.link_ends()) == 1
        await made.close()


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"kme": "http://10.0.0.7"}, "kme"),
        ({"kme": "https://user:secret@10.0.0.7"}, "kme"),
        ({"vendor_domain": "ACME"}, "vendor_domain"),
        ({"key_size_bits": 250}, "key_size_bits"),
        ({"keys_per_request": 0}, "keys_per_request"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_settings_that_are_wrong_name_the_field(tmp_path: Path, change: dict[str, Any], field: str) -> None:
    certificates = Certificates(tmp_path / "pki")
    settings = {"tls": certificates.tls("x"), "links": {"a-b": {**LINK, **change}}}
    with pytest.raises(InvalidInputError) as refused:
        Etsi014Driver(settings, NodeName("a"))
    assert any(field in str(violation) for violation in refused.value.violations)


def test_tls_files_that_cannot_be_read_are_named_at_the_start(tmp_path: Path) -> None:
    certificates = Certificates(tmp_path / "pki")
    tls = certificates.tls("x") | {"private_key": str(tmp_path / "nowhere.key")}
    with pytest.raises(InvalidInputError, match=r"settings\.tls"):
        Etsi014Driver({"tls": tls, "links": {"a-b": LINK}}, NodeName("a"))
