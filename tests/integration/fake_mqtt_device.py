"""A device that publishes what it measures, and its key, as JSON over MQTT: `python -m ... SETTINGS`.

Settings: `access` (of the broker), `topic`, `interval_seconds`, `qber_percent`, and `key_topics`, on
which both ends of its link publish key blocks.
"""

import asyncio
import base64
import hashlib
import itertools
import json
import ssl
import sys
import time
from pathlib import Path
from typing import Any

import aiomqtt

BLOCK_BYTES = 64
SKR_KBPS = 20.0


def client(access: dict[str, Any]) -> aiomqtt.Client:
    """A connection with the broker, as the driver's own settings describe it."""
    host, _, port = access["broker"].rpartition(":")
    tls = ssl.create_default_context(cafile=access["tls"]["trust_anchor"]) if "tls" in access else None
    password = (
        Path(access["password_file"]).read_text(encoding="utf-8").strip() if "username" in access else None
    )
    return aiomqtt.Client(
        host, int(port), username=access.get("username"), password=password, tls_context=tls
    )


def key_of(number: int) -> bytes:
    """The block of this number, at both ends of every link."""
    return hashlib.shake_256(b"mqtt %d" % number).digest(BLOCK_BYTES)


async def publish(settings: dict[str, Any]) -> None:
    """Measure and publish until the process is ended."""
    async with client(settings["access"]) as broker:
        for number in itertools.count(1):
            measured = {
                "ts": time.time(),
                "rates": {"secret": SKR_KBPS, "sifted": 200.0},
                "qber": settings.get("qber_percent", 2.0),
                "state": "running",
                "apd": [{"temp": 223.15}],
            }
            await broker.publish(settings["topic"], json.dumps(measured))
            block = {"id": number, "key": base64.b64encode(key_of(number)).decode(), "ts": time.time()}
            for topic in settings.get("key_topics", ()):
                await broker.publish(topic, json.dumps(block), qos=1)
            await asyncio.sleep(settings["interval_seconds"])


if __name__ == "__main__":
    asyncio.run(publish(json.loads(sys.argv[1])))
