"""Frames on their way to a peer, and which of them share a message."""

import asyncio
from collections import deque

from keyweave.v1 import keyplane_pb2 as pb

OUTBOX_FRAMES = 1024
# What one message carries at most: a transport message costs as much as several frames in it.
MESSAGE_FRAMES = 64
MESSAGE_BYTES = 256 * 1024
# A message waits this many turns of the event loop at most, and only while each adds a frame to it.
JOIN_TURNS = 8


class Outbox:
    """What waits to be written on one connection, by one task."""

    def __init__(self) -> None:
        self._frames: deque[pb.Frame] = deque()
        # Set while the writer waits for a frame.
        self._writer: asyncio.Future[None] | None = None

    def __len__(self) -> int:
        return len(self._frames)

    def put(self, frame: pb.Frame) -> bool:
        """Queue a frame; False where the queue is full."""
        if len(self._frames) >= OUTBOX_FRAMES:
            return False
        self._frames.append(frame)
        if self._writer is not None and not self._writer.done():
            self._writer.set_result(None)
        return True

    async def message(self) -> list[pb.Frame]:
        """The frames of the next message: what waits, and what others who have their turn now add to it.

        Batches that arrived in one message are answered, or sent on, within a turn or two of the event loop:
        waiting for those costs far less than a message for each.
        """
        if not self._frames:
            self._writer = asyncio.get_running_loop().create_future()
            await self._writer
        for _turn in range(JOIN_TURNS):
            before = len(self._frames)
            await asyncio.sleep(0)
            if len(self._frames) == before:
                break
        return self._first()

    def _first(self) -> list[pb.Frame]:
        """As many of the oldest frames as a message carries."""
        frames: list[pb.Frame] = []
        size = 0
        while self._frames and len(frames) < MESSAGE_FRAMES and size < MESSAGE_BYTES:
            frame = self._frames.popleft()
            frames.append(frame)
            size += frame.ByteSize()
        return frames
