"""Pairs for applications, over the same mutual TLS as keys: what is kept, what was measured, and measuring.

`GET {BASE_PATH}/<stream>` lists halves that are kept and hands out outcomes, each once. `POST .../measure`
measures a kept half. What the other end measured is never told: applications compare among themselves.
"""

import json
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from keyweave.agent.etsi014.supply import Refusal, SupplyError
from keyweave.agent.guard.model import Guard
from keyweave.agent.pairs.deliver import Basis, KeptPair, Outcome
from keyweave.agent.pairs.pair import PAIR_ID_BYTES
from keyweave.agent.pairs.plane import PairPlane, moment
from keyweave.common.errors import InvalidInputError
from keyweave.common.names import SaeId, StreamName

BASE_PATH = "/api/keyweave/v1/pairs"
# Outcomes in one answer, unless fewer are asked for.
MOST_OUTCOMES = 1024
MOST_BODY_BYTES = 4096

Answer = Callable[[web.Request, SaeId], Awaitable[web.Response]]


class PairFace:
    """The resources, for whoever authenticates callers."""

    def __init__(self, plane: PairPlane, guard: Callable[[], Guard]) -> None:
        self._plane = plane
        self._guard = guard

    def resources(self) -> tuple[tuple[str, str, Answer], ...]:
        """Method, path and what answers it."""
        return (
            ("GET", f"{BASE_PATH}/{{stream}}", self.get),
            ("POST", f"{BASE_PATH}/{{stream}}/measure", self.measure),
        )

    async def get(self, request: web.Request, caller: SaeId) -> web.Response:
        """What there is for the caller now."""
        stream = self._stream(request, caller)
        most = _number(request)
        engine, now = self._plane.engine, moment()
        tests = engine.counts.of_stream(stream).tests
        return _json(
            {
                "stream": stream,
                "fidelity": tests.fidelity,
                "fidelity_tests": sum(tests.total.values()),
                "pairs": [_kept(pair, now.seconds) for pair in engine.shelf.kept_of(stream)],
                "outcomes": [_outcome(each) for each in engine.shelf.take_outcomes(stream, most)],
            }
        )

    async def measure(self, request: web.Request, caller: SaeId) -> web.Response:
        """Measure a kept half; it is free afterwards."""
        stream = self._stream(request, caller)
        pair_id, basis = _what_to_measure(await request.read())
        outcome = await self._plane.measure(stream, pair_id, basis)
        if outcome is None:
            raise InvalidInputError.of("pair_ID", "is no pair of this stream that is kept here (any more)")
        return _json(_outcome(outcome))

    def _stream(self, request: web.Request, caller: SaeId) -> StreamName:
        """The stream of the path, if the caller may have its pairs and it ends here."""
        stream = StreamName(request.match_info["stream"])
        if not self._guard().may_take_pairs(caller, stream):
            raise SupplyError(
                Refusal.NOT_ALLOWED,
                f"this node's guard lets '{caller}' have no pairs of '{stream[:63]}'",
            )
        if not self._plane.engine.ends_here(stream):
            raise SupplyError(Refusal.UNAVAILABLE, f"pair stream '{stream[:63]}' does not end here now")
        return stream


def _number(request: web.Request) -> int:
    for name in request.query:
        if name != "number":
            raise InvalidInputError.of(name[:64], "is not known; allowed: number")
    text = request.query.get("number", str(MOST_OUTCOMES))
    if not text.isascii() or not text.isdigit() or not 0 <= int(text[:9]) <= MOST_OUTCOMES:
        raise InvalidInputError.of("number", f"is '{text[:32]}'; allowed: 0..{MOST_OUTCOMES}")
    return int(text)


def _what_to_measure(body: bytes) -> tuple[bytes, Basis]:
    if len(body) > MOST_BODY_BYTES:
        raise InvalidInputError.of("body", f"must be at most {MOST_BODY_BYTES} bytes")
    try:
        asked = json.loads(body)
    except (ValueError, RecursionError):
        raise InvalidInputError.of("body", "is not JSON") from None
    if not isinstance(asked, dict) or asked.keys() != {"pair_ID", "basis"}:
        raise InvalidInputError.of("body", "must be an object with pair_ID and basis")
    if asked["basis"] not in tuple(basis.name for basis in Basis):
        raise InvalidInputError.of("basis", "must be 'Z' or 'X'")
    try:
        pair_id = bytes.fromhex(asked["pair_ID"])
    except (ValueError, TypeError):
        pair_id = b""
    if len(pair_id) != PAIR_ID_BYTES:
        raise InvalidInputError.of("pair_ID", f"must be {2 * PAIR_ID_BYTES} hexadecimal digits")
    return pair_id, Basis[asked["basis"]]


def _kept(pair: KeptPair, now: float) -> dict[str, Any]:
    # The Pauli frame has been corrected by the end nearer to the target.
    return {
        "pair_ID": pair.pair_id.hex(),
        "number": pair.number,
        "age_seconds": round(max(0.0, now - pair.born), 6),
        "frame": {"x": False, "z": False},
    }


def _outcome(outcome: Outcome) -> dict[str, Any]:
    return {
        "pair_ID": outcome.pair_id.hex(),
        "number": outcome.number,
        "basis": outcome.basis.name,
        "bit": outcome.bit,
        "age_seconds": round(outcome.age_seconds, 6),
    }


def _json(body: dict[str, Any]) -> web.Response:
    headers = {"Cache-Control": "no-store", "Server": "keyweave"}
    return web.json_response(body, headers=headers)
