"""The driver for a vendor's QKD network as a key source: a pair of KMEs that speak ETSI GS QKD 014.

The KME at one end gives keys (enc_keys), the one at the other end gives the same by their IDs (dec_keys). The
driver of the first end draws them as pools need them and tells its twin the IDs (`etsi014_notes`); a key that
both have is a block. Which hops it took inside the vendor's domain nobody here knows; provenance says so.
"""

import asyncio
import secrets
import time
from collections import OrderedDict
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from keyweave.agent.drivers import etsi014_notes as notes
from keyweave.agent.drivers.base import (
    DeviceBlock,
    DeviceReport,
    DriverUnavailableError,
    LinkEndInfo,
    Twin,
    parsed_settings,
)
from keyweave.agent.drivers.etsi014_kme import (
    KmeClient,
    KmeStatus,
    NoKeysError,
    UnknownKeysError,
    VendorKey,
    wipe_keys,
)
from keyweave.agent.drivers.etsi014_settings import Etsi014Settings, LinkSettings
from keyweave.agent.drivers.etsi014_supply import Supply
from keyweave.common import log
from keyweave.common.names import LinkName, NodeName

NAME = "etsi014"
# An unanswered note is sent again after this; the session may have been down.
REPEAT_SECONDS = 2.0
# Answers to offers that are remembered, in case they got lost.
REMEMBERED_OFFERS = 8
# IDs of drawn keys that are remembered, lest a KME gives one twice.
REMEMBERED_KEYS = 10_000


@dataclass(slots=True)
class _End:
    """One link end, over all iterators."""

    link: LinkName
    settings: LinkSettings
    supply: Supply
    draws: bool
    twin: Twin | None = None
    # As the KME told last; the size stays as it was told first.
    status: KmeStatus | None = None
    key_bits: int = 0
    next_block: int = 1
    # Why keys could not be taken when it was last tried; empty where they could.
    trouble: str = ""
    answers: OrderedDict[str, notes.Fetched] = field(default_factory=OrderedDict)
    # IDs of keys that were drawn.
    seen: OrderedDict[str, None] = field(default_factory=OrderedDict)
    lost_keys: int = 0

    def lost(self, count: int, reason: str) -> None:
        """Keys that only one end could get are burnt; the 1st, 2nd, 4th, 8th... time is logged."""
        before, self.lost_keys = self.lost_keys, self.lost_keys + count
        if before.bit_length() != self.lost_keys.bit_length():
            log.get().warning("vendor_keys_lost", link=self.link, count=self.lost_keys, reason=reason)


class Etsi014Driver:
    """A Driver over the KMEs of one node's links."""

    def __init__(self, settings: Mapping[str, Any], node: NodeName) -> None:
        parsed = parsed_settings(settings, Etsi014Settings)
        self._kme = KmeClient(parsed)
        self._ends = {
            LinkName(name): _End(
                LinkName(name),
                link,
                Supply(LinkName(name), draws=node < link.peer_node),
                draws=node < link.peer_node,
            )
            for name, link in parsed.links.items()
        }

    async def link_ends(self) -> tuple[LinkEndInfo, ...]:
        """See Driver. A KME has to say what size its keys have."""
        return tuple([await self._described(end) for end in self._ends.values()])

    def meet(self, link: LinkName, twin: Twin) -> None:
        """See MeetsTwin."""
        self._ends[link].twin = twin

    async def watch(self, link: LinkName) -> AsyncIterator[DeviceReport]:
        """See Driver. A KME tells whether it works and what is in store, nothing of the quantum channel."""
        end = self._end(link)
        end.status = await self._kme.status(end.settings)
        end.supply.begin()
        while True:
            await asyncio.sleep(end.settings.interval_seconds)
            end.status = await self._kme.status(end.settings)
            yield DeviceReport(end.supply.rows(end.status, end.key_bits), end.trouble)

    async def take_blocks(self, link: LinkName, first_block: int) -> AsyncIterator[tuple[DeviceBlock, ...]]:
        """See Driver."""
        end = self._end(link)
        if end.twin is None:
            raise DriverUnavailableError(
                f"link '{link}' has no way to its other end, which must know key IDs"
            )
        if not end.key_bits:
            await self._described(end)
        end.next_block = max(end.next_block, first_block)
        blocks = self._drawn(end, end.twin) if end.draws else self._fetched(end, end.twin)
        try:
            async for some in blocks:
                end.supply.idle()
                yield some
                end.supply.busy()
        except DriverUnavailableError as error:
            end.trouble = str(error)
            raise
        finally:
            end.supply.idle()
            await blocks.aclose()

    async def close(self) -> None:
        """See Driver."""
        await self._kme.close()

    def _end(self, link: LinkName) -> _End:
        if link not in self._ends:
            raise DriverUnavailableError(f"there is no link '{link}' in the settings of this driver")
        return self._ends[link]

    async def _described(self, end: _End) -> LinkEndInfo:
        settings = end.settings
        if not end.key_bits:
            status = end.status = await self._kme.status(settings)
            size = settings.key_size_bits or status.key_size
            least, most = max(16, status.min_key_size), status.max_key_size
            if size % 16 or not least <= size <= most:
                raise DriverUnavailableError(
                    f"KME {settings.kme} gives keys of {least} to {most} bits, {status.key_size} by default;"
                    f" set key_size_bits of link '{end.link}' to a multiple of 16 among those"
                )
            end.key_bits = size
        return LinkEndInfo(
            link=end.link,
            peer_node=NodeName(settings.peer_node),
            model=settings.model,
            emulated=settings.emulated,
            block_bytes=end.key_bits // 8,
            keeps_blocks=end.draws,
            vendor_domain=settings.vendor_domain,
        )

    # ---- the end that draws -------------------------------------------------------------------

    async def _drawn(self, end: _End, twin: Twin) -> AsyncGenerator[tuple[DeviceBlock, ...], None]:
        """Draw keys, have the twin fetch them, and give those that it has."""
        await self._twin_ready(end, twin)
        number = end.settings.keys_per_request
        while True:
            end.supply.busy()
            keys, number = await self._some_keys(end, number)
            drawn_nanos = time.time_ns()
            try:
                answer = await self._agreed(end, twin, [key.key_id for key in keys])
                got = [keys[place].key for place in answer.got]
                keys = [key for place, key in enumerate(keys) if place not in answer.got]
            finally:
                wipe_keys(keys)
            if keys:
                end.lost(len(keys), "the other end could not fetch them")
            end.next_block = answer.first_block + len(got)
            end.supply.drew(len(got) * end.key_bits)
            if got:
                yield tuple(
                    DeviceBlock(answer.first_block + place, key, drawn_nanos) for place, key in enumerate(got)
                )

    async def _some_keys(self, end: _End, number: int) -> tuple[list[VendorKey], int]:
        """Keys, once there are any, and how many to ask for next: as many as the KME has at once."""
        most = end.settings.keys_per_request
        while True:
            if end.status is not None:
                most = min(most, end.status.max_key_per_request)
            number = min(number, most)
            try:
                keys = await self._kme.enc_keys(end.settings, number, end.key_bits)
            except NoKeysError:
                end.trouble = ""
                # It may have some, though not so many.
                if number == 1:
                    await asyncio.sleep(end.settings.interval_seconds)
                number = max(1, number // 2)
            else:
                end.trouble = ""
                self._never_seen(end, keys)
                return keys, number * 2

    def _never_seen(self, end: _End, keys: Sequence[VendorKey]) -> None:
        """DriverUnavailableError where a KME gives a key again: used twice, it would protect nothing."""
        ids = {key.key_id.lower() for key in keys}
        if not ids.isdisjoint(end.seen):
            wipe_keys(keys)
            raise DriverUnavailableError(f"KME {end.settings.kme} gave a key that it gave before: it is lost")
        end.seen.update(dict.fromkeys(ids))
        while len(end.seen) > REMEMBERED_KEYS:
            end.seen.popitem(last=False)

    async def _twin_ready(self, end: _End, twin: Twin) -> None:
        """Return once the other end can fetch keys. Nothing is drawn before: nobody else could use it."""
        while True:
            twin.send(notes.encoded(notes.Ask()))
            answer = await _note(twin, end, notes.Ready)
            if isinstance(answer, notes.Ready):
                self._at_least(end, answer)
                return

    def _at_least(self, end: _End, ready: notes.Ready) -> None:
        if ready.key_size_bits != end.key_bits:
            raise DriverUnavailableError(
                f"KME {end.settings.kme} gives keys of {end.key_bits} bits, the other end's of"
                f" {ready.key_size_bits}; set key_size_bits of link '{end.link}' alike at both ends"
            )
        end.next_block = max(end.next_block, ready.next_block)

    async def _agreed(self, end: _End, twin: Twin, key_ids: Sequence[str]) -> notes.Fetched:
        """What the other end has of these keys, asked until it answers."""
        batch = secrets.token_hex(16)
        while True:
            offer = notes.Offer(
                batch=batch,
                first_block=end.next_block,
                key_size_bits=end.key_bits,
                key_ids=list(key_ids),
            )
            twin.send(notes.encoded(offer))
            answer = await _note(twin, end, notes.Fetched, notes.Ready)
            if isinstance(answer, notes.Ready):
                self._at_least(end, answer)  # it is further on: the same keys under higher numbers
            elif isinstance(answer, notes.Fetched) and answer.batch == batch:
                if answer.first_block >= end.next_block and _are_places(answer.got, len(key_ids)):
                    return answer
                end.lost(len(key_ids), "the other end answers with blocks that cannot be")
                return notes.Fetched(batch=batch, first_block=end.next_block, got=[])

    # ---- the end that fetches -----------------------------------------------------------------

    async def _fetched(self, end: _End, twin: Twin) -> AsyncGenerator[tuple[DeviceBlock, ...], None]:
        """Fetch what the other end draws."""
        while True:
            note = await _note(twin, end, notes.Ask, notes.Offer)
            if not isinstance(note, notes.Offer) or note.batch in end.answers:
                if isinstance(note, notes.Offer):
                    twin.send(notes.encoded(end.answers[note.batch]))
                elif note is not None:
                    self._say_ready(end, twin)
                continue
            if note.first_block < end.next_block or note.key_size_bits != end.key_bits:
                self._say_ready(end, twin)
                continue
            keys = await self._whatever_there_is(end, note.key_ids)
            got = [place for place, key in enumerate(keys) if key is not None]
            answer = notes.Fetched(batch=note.batch, first_block=note.first_block, got=got)
            end.answers[note.batch] = answer
            while len(end.answers) > REMEMBERED_OFFERS:
                end.answers.popitem(last=False)
            if len(got) < len(keys):
                end.lost(len(keys) - len(got), "the KME does not have them")
            end.next_block = note.first_block + len(got)
            end.supply.drew(len(got) * end.key_bits)
            # Before they are given: the agent may end this now, and the other end still needs to know.
            twin.send(notes.encoded(answer))
            if got:
                now = time.time_ns()
                yield tuple(
                    DeviceBlock(note.first_block + place, key.key, now)
                    for place, key in enumerate([key for key in keys if key is not None])
                )

    def _say_ready(self, end: _End, twin: Twin) -> None:
        twin.send(notes.encoded(notes.Ready(next_block=end.next_block, key_size_bits=end.key_bits)))

    async def _whatever_there_is(self, end: _End, key_ids: Sequence[str]) -> list[VendorKey | None]:
        """These keys, None in the place of each that the KME does not have."""
        while True:
            try:
                keys = await self._kme.dec_keys(end.settings, key_ids, end.key_bits)
            except NoKeysError:
                end.trouble = ""
                await asyncio.sleep(end.settings.interval_seconds)
            except UnknownKeysError:
                # All or none is given, so one that is missing is looked for by halves.
                if len(key_ids) == 1:
                    return [None]
                middle = len(key_ids) // 2
                first = await self._whatever_there_is(end, key_ids[:middle])
                try:
                    return first + await self._whatever_there_is(end, key_ids[middle:])
                except BaseException:
                    wipe_keys([key for key in first if key is not None])
                    raise
            else:
                end.trouble = ""
                return list(keys)


async def _note(twin: Twin, end: _End, *kinds: type[notes.Note]) -> notes.Note | None:
    """The next note of these kinds; None where none comes for a while, or what comes is none."""
    try:
        async with asyncio.timeout(REPEAT_SECONDS):
            while True:
                note = notes.decoded(await twin.receive())
                if note is None:
                    log.get().warning("twin_not_understood", driver=NAME, link=end.link)
                elif isinstance(note, kinds):
                    return note
    except TimeoutError:
        return None


def _are_places(got: Sequence[int], count: int) -> bool:
    """Whether these are places among so many, each once and in order."""
    return list(got) == sorted(set(got)) and all(place < count for place in got)
