"""Drivers' messages between the ends of a link: bounded, in order, and only where somebody takes them."""

import asyncio

import pytest

from keyweave.agent.drivers.base import MAX_TWIN_MESSAGE_BYTES
from keyweave.agent.keyplane.failure import KeyPlaneError
from keyweave.agent.keyplane.links.twin import MAX_WAITING, LinkTwin
from keyweave.common.names import LinkName
from keyweave.v1 import keyplane_pb2 as pb

LINK = LinkName("a-b")


def twin(posted: list[pb.Frame] | None = None) -> LinkTwin:
    def post(frame: pb.Frame) -> bool:
        if posted is not None:
            posted.append(frame)
        return posted is not None

    return LinkTwin(LINK, post)


async def test_messages_come_in_order_and_of_too_many_the_oldest_are_lost() -> None:
    ours = twin()
    ours.met()
    for number in range(MAX_WAITING + 2):
        ours.deliver(b"%d" % number)
    assert [await ours.receive() for _ in range(MAX_WAITING)] == [
        b"%d" % number for number in range(2, MAX_WAITING + 2)
    ]


async def test_whoever_waits_gets_what_comes() -> None:
    ours = twin()
    ours.met()
    waiting = asyncio.ensure_future(ours.receive())
    await asyncio.sleep(0)
    ours.deliver(b"here")
    assert await waiting == b"here"


def test_what_is_too_long_is_neither_sent_nor_kept() -> None:
    posted: list[pb.Frame] = []
    ours = twin(posted)
    ours.met()
    with pytest.raises(ValueError, match="bytes"):
        ours.send(bytes(MAX_TWIN_MESSAGE_BYTES + 1))
    with pytest.raises(KeyPlaneError, match="allowed are"):
        ours.deliver(bytes(MAX_TWIN_MESSAGE_BYTES + 1))
    assert ours.send(bytes(MAX_TWIN_MESSAGE_BYTES))
    (frame,) = posted
    assert (frame.driver_message.link, len(frame.driver_message.body)) == (LINK, MAX_TWIN_MESSAGE_BYTES)


def test_a_driver_without_a_twin_is_told_nothing_and_its_peer_hears_so() -> None:
    with pytest.raises(KeyPlaneError, match="has no twin"):
        twin().deliver(b"x")


def test_without_a_session_a_message_is_known_to_be_lost() -> None:
    assert twin().send(b"x") is False
