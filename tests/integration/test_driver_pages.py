"""What the pages on drivers show works as it stands there."""

import asyncio
import hashlib
import json
import re
import time
import types
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel

from keyweave.agent.config import DriverSection
from keyweave.agent.drivers.conformance import Effort, Outcome, Setup, run
from keyweave.agent.drivers.emulator import EmulatorSettings
from keyweave.agent.drivers.etsi014_settings import Etsi014Settings
from keyweave.agent.drivers.mapping import Refusals
from keyweave.agent.drivers.mqtt_rows import Arrived, LinkRows
from keyweave.agent.drivers.mqtt_settings import KeySettings, MqttSettings
from keyweave.agent.drivers.sequence import SequenceSettings
from keyweave.agent.drivers.snmp_settings import SnmpSettings
from keyweave.common.names import LinkName
from keyweave.common.quantities import DETECTOR_RANGES, LINK_RANGES

DOCS = Path(__file__).parents[2] / "docs"
OWNER, AUTHOR = (DOCS / name for name in ("drivers.md", "write-a-driver.md"))


def examples(page: Path, language: str) -> list[str]:
    """The examples of a page in one language, as they are."""
    found = re.findall(
        rf"^( *)```{language}\n(.*?)^ *```", page.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE
    )
    return [re.sub(rf"^{indent}", "", text, flags=re.MULTILINE) for indent, text in found]


def sections() -> dict[str, DriverSection]:
    """The drivers that the owner's page configures."""
    given = [yaml.safe_load(text) for text in examples(OWNER, "yaml")]
    parsed = [
        DriverSection.model_validate(one) for each in given if "drivers" in each for one in each["drivers"]
    ]
    return {one.driver: one for one in parsed}


def test_the_settings_of_the_owner_s_page_are_settings() -> None:
    found = sections()
    models: dict[str, type[BaseModel]] = {
        "emulator": EmulatorSettings,
        "etsi014": Etsi014Settings,
        "mqtt": MqttSettings,
        "sequence": SequenceSettings,
        "snmp": SnmpSettings,
    }
    assert found.keys() - {"vendor-x"} == models.keys(), "every driver has an example"
    for name, model in models.items():
        model.model_validate(found[name].settings)
    (key,) = [yaml.safe_load(text) for text in examples(OWNER, "yaml") if text.startswith("key:")]
    KeySettings.model_validate(key["key"])


def test_the_device_of_the_owner_s_page_is_read_as_it_says() -> None:
    (message,) = examples(OWNER, "json")
    settings = MqttSettings.model_validate(sections()["mqtt"].settings)
    (link,) = settings.links
    refusals = Refusals("mqtt", LinkName(link))
    rows = LinkRows(LinkName(link), settings.links[link], refusals, lambda topic: topic)
    measured_at = json.loads(message)["ts"] / 1000
    (report,) = rows.take(Arrived(list(rows.filters), message.encode(), retained=False, at=measured_at))
    # Its fault is on a topic of its own; this message is not one of that.
    assert refusals.counts == {"fault": 1}
    assert report.samples.qber_ratio
    assert report.samples.loss_db
    assert report.samples.detectors[0].dark_count_rate_hz


def test_the_owner_s_page_names_every_quantity() -> None:
    text = OWNER.read_text("utf-8")
    assert [name for name in (*LINK_RANGES, *DETECTOR_RANGES) if f"`{name}`" not in text] == []


# ---- the example of the author's page -----------------------------------------------------------


@asynccontextmanager
async def acme() -> AsyncIterator[int]:
    """A device as that page describes it; the port where it answers."""

    def answer(question: str) -> dict[str, Any]:
        if question == "status":
            return {"model": "ACME 1", "block_bytes": 64, "qber": 0.02, "skr_bps": 5000.0, "fault": ""}
        number = int(question.removeprefix("key "))
        key = hashlib.shake_256(b"acme %d" % number).hexdigest(64)
        return {"number": number, "key": key, "produced_unix_nanos": time.time_ns()}

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        question = (await reader.readline()).decode().strip()
        if question:
            writer.write(json.dumps(answer(question)).encode() + b"\n")
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()


def example() -> types.ModuleType:
    """The module that the author's page shows."""
    (text,) = examples(AUTHOR, "python")
    module = types.ModuleType("acme_keyweave")
    exec(compile(text, "write-a-driver.md", "exec"), vars(module))
    vars(module)["INTERVAL_SECONDS"] = 0.05
    return module


async def test_the_example_of_the_author_s_page_keeps_the_contract_at_both_ends() -> None:
    (given,) = [yaml.safe_load(text) for text in examples(AUTHOR, "yaml")]
    async with acme() as port:
        for side in (given, given["peer"]):
            side["settings"] |= {"host": "127.0.0.1", "port": port}
        findings = await run(example().AcmeDriver, Setup.model_validate(given), Effort(3, 3, 20.0))
    assert [one for one in findings if one.outcome is not Outcome.PASSED] == []


def test_the_author_s_page_names_every_check() -> None:
    async def checks() -> set[str]:
        (given,) = [yaml.safe_load(text) for text in examples(AUTHOR, "yaml")]
        async with acme() as port:
            for side in (given, given["peer"]):
                side["settings"] |= {"host": "127.0.0.1", "port": port}
            findings = await run(example().AcmeDriver, Setup.model_validate(given), Effort(1, 1, 20.0))
        return {one.check for one in findings}

    told = set(re.findall(r"^\| `([a-z-]+)` \|", AUTHOR.read_text("utf-8"), flags=re.MULTILINE))
    of_memories = {name for name in told if name.startswith(("memory-", "pair-"))}
    assert asyncio.run(checks()) == told - of_memories
    assert of_memories == {"memory-bank", "memory-commands", "pair-numbers", "pair-outcomes"}
