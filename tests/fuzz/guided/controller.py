"""Bytes that agents and operators send to a controller."""

import asyncio
import math
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import suppress
from functools import cache
from typing import Any

import numpy as np
from google.protobuf.message_factory import GetMessageClass

from keyweave.common import validation
from keyweave.common.errors import InvalidInputError, KeyweaveError, to_status
from keyweave.common.names import NodeName
from keyweave.controller import intent as intents
from keyweave.controller.admin import masks, tokens
from keyweave.controller.ingest import TelemetryIntake
from keyweave.controller.inspection import Inspection
from keyweave.controller.intent import Intent, Spec
from keyweave.controller.push import PolicyPusher
from keyweave.controller.samples import EndSamples
from keyweave.controller.stimuli import Batch, LinkObserved, PolicyStimulus
from keyweave.v1 import agent_pb2, pairs_pb2, types_pb2
from tests.fuzz import controller as structured
from tests.fuzz.controller import Context
from tests.fuzz.guided.entry import Entry, golden, parsed, parts, sequence

NODE = NodeName("a")


async def _stream(kind: type[Any], data: bytes) -> AsyncIterator[Any]:
    for each in parts(data):
        message = parsed(kind, each)
        if message is None:
            return
        yield message


# ---- telemetry -----------------------------------------------------------------------------------


def _columns(samples: EndSamples) -> Iterable[Any]:
    yield from (samples.qber_ratio, samples.skr_bps, samples.sifted_rate_bps, samples.loss_db)
    for detector in samples.detectors:
        yield from (detector.count_rate_hz, detector.dark_count_rate_hz, detector.efficiency_ratio)


def _telemetry(data: bytes) -> None:
    """What is taken in can be true: finite, not negative, of the link's own number of rows."""

    async def feed() -> None:
        async def submit(batch: Batch) -> None:
            for item in batch.items:
                if isinstance(item, LinkObserved):
                    for column in _columns(item.samples):
                        assert len(column) in {0, item.samples.rows}
                        assert not np.any(column < 0)
                        assert not np.any(np.isinf(column))
                    assert math.isfinite(item.samples.end)
            intake.processed(batch)

        intake = TelemetryIntake(known_node=lambda _: True, submit=submit)
        context: Any = Context()
        with suppress(KeyweaveError):
            await intake.telemetry(_stream(agent_pb2.TelemetryRequest, data), context)
        assert not intake.connected

    asyncio.run(feed())


def _telemetry_seeds() -> Iterable[bytes]:
    hello = structured._HELLO.SerializeToString()
    whole = structured._TELEMETRY_WORDS.samples["keyweave.v1.TelemetryRequest"]
    numbered = []
    for number, request in enumerate(whole, 1):
        message = agent_pb2.TelemetryRequest()
        message.CopyFrom(request)  # type: ignore[arg-type]
        message.sequence = number
        numbered.append(message.SerializeToString())
    yield sequence([hello, *numbered[:4]])
    for each in golden(agent_pb2.TelemetryRequest):
        yield sequence([hello, each])
    for batch in golden(agent_pb2.TelemetryBatch):
        told = agent_pb2.TelemetryRequest(sequence=1, batch=agent_pb2.TelemetryBatch.FromString(batch))
        yield sequence([hello, told.SerializeToString()])


# ---- what agents answer --------------------------------------------------------------------------


def _policy_answers(data: bytes) -> None:
    async def feed() -> None:
        async def submit(stimulus: PolicyStimulus) -> None:
            repr(stimulus)

        pusher = PolicyPusher(epoch=1, lease_seconds=5, known_node=lambda _: True, submit=submit)
        context: Any = Context()
        with suppress(KeyweaveError):
            await pusher.policy(_stream(agent_pb2.PolicyRequest, data), context)

    asyncio.run(feed())


def _policy_answer_seeds() -> Iterable[bytes]:
    found = golden(agent_pb2.PolicyRequest)
    hello = agent_pb2.PolicyRequest(hello=structured._POLICY_HELLO).SerializeToString()
    for each in found:
        yield sequence([hello, each])
    samples = structured._POLICY_WORDS.samples["keyweave.v1.PolicyRequest"]
    yield sequence([hello, *(message.SerializeToString() for message in samples)])


def _lookups(data: bytes) -> None:
    async def feed() -> None:
        inspection = Inspection(known_node=lambda _: True)
        context: Any = Context()
        with suppress(KeyweaveError):
            await inspection.inspect(_stream(agent_pb2.InspectRequest, data), context)

    asyncio.run(feed())


def _lookup_seeds() -> Iterable[bytes]:
    hello = structured._INSPECT_HELLO.SerializeToString()
    return [sequence([hello, each]) for each in golden(agent_pb2.InspectRequest)]


# ---- requests of operators -----------------------------------------------------------------------

_METHODS = sorted(structured.METHODS)
_KINDS = (
    types_pb2.Node,
    types_pb2.Link,
    types_pb2.Stream,
    types_pb2.Maintenance,
    types_pb2.Schedule,
    pairs_pb2.PairStream,
)


@cache
def _intent() -> Intent:
    held = Intent()
    for spec in structured._SPECS:
        if spec.name != "new":  # type: ignore[attr-defined]
            held = held.put(spec)  # type: ignore[type-var]
    return held


def _admin(data: bytes) -> None:
    """A request is refused by field, or what it would make keeps the rules of intent."""
    if not data:
        return
    method = structured.METHODS[_METHODS[data[0] % len(_METHODS)]]
    request: Any = parsed(GetMessageClass(method.input_type), data[1:])
    if request is None:
        return
    try:
        validation.check(request)
        if hasattr(request, "page_token"):
            tokens.page({}, 10, request.page_token, method.name)
        if hasattr(request, "resume_token") and request.resume_token:
            tokens.resume_place(request.resume_token)
        for spec in _specs_in(request):
            intents.check(_intent(), spec)
            if method.name.startswith("Update"):
                _update(spec, request.update_mask.paths)
    except InvalidInputError as error:
        assert error.violations, "refused without saying why"
        assert to_status(error).ByteSize() < 8000 + 2 * len(data), "the refusal is longer than the request"
    except KeyweaveError:
        pass


def _update(spec: Any, mask: Sequence[str]) -> None:
    present: Any = _intent().of(type(spec)).get(spec.name)
    if present is not None:
        changed: Any = masks.masked(present, spec, mask)
        assert changed.name == present.name


def _specs_in(request: Any) -> Iterable[Spec]:
    for field, value in request.ListFields():
        if field.message_type is not None and not field.is_repeated and isinstance(value, _KINDS):
            yield value


def _admin_seeds() -> Iterable[bytes]:
    for number, name in enumerate(_METHODS):
        kind = GetMessageClass(structured.METHODS[name].input_type)
        for each in golden(kind):
            yield bytes((number,)) + each
    for request in structured._requests():
        for number, name in enumerate(_METHODS):
            if structured.METHODS[name].input_type.full_name == request.DESCRIPTOR.full_name:
                yield bytes((number,)) + request.SerializeToString()


ENTRIES = (
    Entry("telemetry", _telemetry, _telemetry_seeds),
    Entry("policy-answers", _policy_answers, _policy_answer_seeds),
    Entry("ledger-pages", _lookups, _lookup_seeds),
    Entry("admin-requests", _admin, _admin_seeds),
)
