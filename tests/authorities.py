"""A directory of authorities and its enrolment service, as tests need them."""

import asyncio
import datetime as dt
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from keyweave.common.rate_limit import RateLimit
from keyweave.pki.authorities import Authorities
from keyweave.pki.holders import Holder
from keyweave.pki.service import BURST, PER_SECOND, serve
from keyweave.pki.service_certificate import provide_service_certificate, service_key_sha256
from keyweave.pki.tokens import Token, TokenRecord, Tokens
from tests.waiting import POLL_SECONDS

START_SECONDS = 30.0


def authorities_in(directory: Path, passphrase: bytes | None = None) -> Authorities:
    """New authorities with the service's certificate, as `keyweave pki init` makes them."""
    made = Authorities.create(directory, passphrase)
    with made.register.changing():
        provide_service_certificate(made, dt.datetime.now(dt.UTC))
    return made


def new_token(
    authorities: Authorities,
    service: str,
    holder: Holder,
    *,
    hosts: tuple[str, ...] = (),
    days: int = 90,
    lasts_seconds: float = 3600.0,
) -> Token:
    """A token for `holder`, kept as `keyweave pki token` keeps it."""
    register = authorities.register
    token = Token.to(service, service_key_sha256(register), holder)
    now = time.time()
    record = TokenRecord(holder.role, holder.name, hosts, days, now, now + lasts_seconds)
    with register.changing():
        Tokens(register.directory / "tokens").put(token.secret, record)
    return token


def alarms(authorities: Authorities) -> list[dict[str, Any]]:
    """The alarms in the authorities' journal."""
    return [line for line in authorities.register.journal.lines() if line["event"] == "alarm"]


@contextmanager
def serving(authorities: Authorities, directory: Path, *, burst: float = BURST) -> Iterator[str]:
    """The enrolment service on a free port, in a thread; yields host:port."""
    ready = directory / "pki-ready.json"
    loop = asyncio.new_event_loop()
    stop = asyncio.Event()
    work = threading.Thread(
        target=lambda: loop.run_until_complete(
            serve(authorities, ("127.0.0.1", 0), ready, stop, RateLimit(burst, PER_SECOND))
        ),
        name="pki",
    )
    work.start()
    try:
        deadline = time.monotonic() + START_SECONDS
        while not ready.exists():
            assert work.is_alive(), "the service has ended"
            assert time.monotonic() < deadline, "the service does not start"
            time.sleep(POLL_SECONDS)
        yield json.loads(ready.read_text())["address"]
    finally:
        loop.call_soon_threadsafe(stop.set)
        work.join()
        loop.close()
