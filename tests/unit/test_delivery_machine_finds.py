"""The machine of test_delivery_machine.py tells: given a defect on purpose, it finds what comes of it."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from math import inf
from typing import Any
from unittest import mock

import pytest
from hypothesis import Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from keyweave.agent.keyplane.keys.keystore import KeyStore, StoredKey
from keyweave.agent.keyplane.links.journal import Journal
from keyweave.agent.keyplane.links.pool import Lane, PoolError, User
from keyweave.agent.keyplane.streams.batch import BatchMaker
from keyweave.agent.keyplane.terms import StreamTerms
from keyweave.v1 import keyplane_pb2 as pb
from tests.unit.test_delivery_machine import SETTINGS, Delivery


async def _believe(_self: BatchMaker, offer: pb.Offer, _far_tag: bytes) -> None:
    """An offer is sent, and the far end's proof not waited for."""
    _self.peer.post(pb.Frame(id=1 << 40, offer=offer))


def _lend(
    self: KeyStore, stream: Any, number: int, allowed: Any, now: float, *, created_after: float = -inf
) -> tuple[StoredKey, ...]:
    """Keys are drawn, and stay."""
    chosen = self._choose(stream, number, allowed, now, created_after)
    if chosen:
        self.records.deliver(chosen, is_master=True)
    return tuple(replace(key, key=bytearray(key.key)) for key in chosen)


def _keep_parts(self: KeyStore, keys: Iterable[StoredKey], _reason: str) -> bool:
    """What other keys were made of goes back to where it was."""
    for key in keys:
        self._aside.pop(key.id_bytes, None)
        self._ready[key.stream][key.id_bytes] = key
        self._ready[key.stream].move_to_end(key.id_bytes, last=False)
        self._kinds[key.stream][key.provenance] += 1
    return True


def _reread(self: Lane, user: User, start: int, size: int) -> bytearray:
    """A lane gives bytes and keeps them for the next who asks."""
    span = self._spans[user][0]
    if not span.start <= start <= start + size <= span.end:
        raise PoolError("not to be had")
    return self._read(start, start + size)


async def _forget(self: Journal, block: int) -> None:
    """The highest block is in memory alone."""
    self.highest_block = max(self.highest_block, block)


@pytest.mark.parametrize(
    ("where", "name", "defect", "found"),
    [
        (BatchMaker, "_confirm", _believe, "the far end never had it"),
        (KeyStore, "draw", _lend, "is handed out twice|after delivered"),
        (Lane, "use", _reread, "a second time"),
        (Journal, "taken", _forget, "is not on the disk"),
    ],
    ids=[
        "keys offered unconfirmed",
        "keys handed out twice",
        "pad used twice",
        "blocks not durable",
    ],
)
def test_the_machine_finds(where: type, name: str, defect: Any, found: str) -> None:
    # Always the same examples: a defect that they find is found every time.
    tried = settings(
        SETTINGS, max_examples=200, phases=[Phase.generate], report_multiple_bugs=False, derandomize=True
    )
    with mock.patch.object(where, name, defect), pytest.raises(AssertionError, match=found):
        run_state_machine_as_test(Delivery, settings=tried)


@contextmanager
def machine(where: type, name: str, defect: Any) -> Iterator[Delivery]:
    """One with a defect, to be led to it: the ways there are longer than those above."""
    with mock.patch.object(where, name, defect):
        led = Delivery()
        led.the_nodes_start()
        try:
            yield led
        finally:
            led.teardown()


def test_the_machine_tells_of_parts_that_are_used_twice() -> None:
    with machine(KeyStore, "use_up", _keep_parts) as led, pytest.raises(AssertionError, match="share bits"):
        led.an_application_draws(stream="narrow", node="a", number=2, size=512, for_both=False)


def test_the_machine_tells_of_keys_with_fewer_shares_than_their_stream_requires() -> None:
    with (
        machine(StreamTerms, "allows", lambda *_: True) as led,
        pytest.raises(AssertionError, match="has 1 shares"),
    ):
        led.demands_rise_while_keys_wait(stream="wide", what="plain", first="a")
