"""Keys that were handed over before their link was found to be under attack: which ones, told to everybody.

A file search, so it is done apart from the event loop and after everything else: what is still here has been
destroyed by then. Each key is recalled once at each end, over restarts too: the ledger knows.
"""

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby, islice
from typing import Protocol

from keyweave.agent.keyplane.keys.keystore import Outcome, Protection, Provenance
from keyweave.agent.ledger import search
from keyweave.agent.ledger.ledger import Ledger, LedgerError
from keyweave.agent.ledger.lines import Fate
from keyweave.common import log
from keyweave.common.names import LinkName, PathId, StreamName
from keyweave.v1 import agent_pb2, types_pb2

# Of one event, as the protocol has it.
KEYS_AT_ONCE = 256

_PROTECTION = {
    types_pb2.PROTECTION_QKD: Protection.QKD,
    types_pb2.PROTECTION_HYBRID: Protection.HYBRID,
    types_pb2.PROTECTION_PQC: Protection.PQC,
}


class Recalls(Protocol):
    """What the key plane needs of them."""

    def ask(self, link: LinkName, since_nanos: int, streams: frozenset[StreamName] | None) -> None:
        """Recall what was made over a link since a moment, of these streams or all."""
        ...


class LedgerRecalls:
    """Recalls from the agent's ledger; `run` does the work."""

    def __init__(self, ledger: Ledger, on_event: Callable[[agent_pb2.AgentEvent], None]) -> None:
        self.recalled_total = 0
        self._ledger = ledger
        self._on_event = on_event
        # For each link and stream (None: all) the earliest moment: a flood of alarms adds nothing.
        self._asked: dict[LinkName, dict[StreamName | None, int]] = {}
        self._wake = asyncio.Event()

    def ask(self, link: LinkName, since_nanos: int, streams: frozenset[StreamName] | None) -> None:
        """See Recalls."""
        asked = self._asked.setdefault(link, {})
        for stream in (None,) if streams is None else streams:
            asked[stream] = min(asked.get(stream, since_nanos), since_nanos)
        self._wake.set()

    async def run(self) -> None:
        """Recall what is asked for, one after the other, until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._asked:
                began = time.monotonic()
                link = next(iter(self._asked))
                await self._recall(link, self._asked.pop(link))
                # A neighbour that keeps sounding alarms gets half a core at most.
                await asyncio.sleep(time.monotonic() - began)

    async def _recall(self, link: LinkName, asked: Mapping[StreamName | None, int]) -> None:
        ledger = self._ledger
        streams = None if None in asked else frozenset(stream for stream in asked if stream is not None)
        found = search.delivered_over(ledger.directory, ledger.node, link, min(asked.values()), streams)
        while True:
            try:
                entries = await asyncio.to_thread(_some, found)
            except OSError as error:
                log.get().error("recall_failed", link=link, reason=error.strerror)
                return
            if not entries:
                return
            for (name, is_master), run in groupby(entries, key=lambda e: (e.stream, e.is_master)):
                stream = StreamName(name)
                since = min(asked[which] for which in (None, stream) if which in asked)
                recalled = [entry for entry in run if entry.created_unix_nanos >= since]
                if recalled:
                    self._tell(link, since, stream, is_master, recalled)

    def _tell(
        self,
        link: LinkName,
        since_nanos: int,
        stream: StreamName,
        is_master: bool,
        entries: Sequence[types_pb2.LedgerEntry],
    ) -> None:
        reason = f"built on {link} while it was under attack"
        try:
            self._ledger.append([(e.key_id, e.created_unix_nanos, _recalled(e, reason)) for e in entries])
        except LedgerError as error:
            # It is told all the same, and may be told again.
            log.get().warning("recall_not_recorded", link=link, reason=str(error))
        self.recalled_total += len(entries)
        first = entries[0]
        log.get().warning("keys_recalled", link=link, stream=stream, keys=len(entries))
        self._on_event(
            agent_pb2.AgentEvent(
                kind=agent_pb2.AGENT_EVENT_KIND_KEYS_RECALLED,
                link=link,
                stream=stream,
                peer_node=first.peer_node,
                sae=first.master_sae if is_master else first.slave_sae,
                key_ids=[entry.key_id for entry in entries],
                count=len(entries),
                since_unix_nanos=since_nanos,
                reason=reason,
            )
        )


def _some(found: Iterator[types_pb2.LedgerEntry]) -> list[types_pb2.LedgerEntry]:
    """The next few, those of one stream and side together."""
    return sorted(islice(found, KEYS_AT_ONCE), key=lambda entry: (entry.stream, entry.is_master))


def _recalled(entry: types_pb2.LedgerEntry, reason: str) -> Fate:
    provenance = Provenance(
        _PROTECTION.get(entry.protection, Protection.NONE),
        tuple(PathId(path_id) for path_id in entry.path_ids),
        frozenset(LinkName(name) for name in entry.links),
        tuple(entry.trusted_nodes),
        entry.emulated,
        tuple(entry.vendor_domains),
    )
    return Fate(
        entry.stream,
        entry.peer_node,
        entry.master_sae,
        entry.slave_sae,
        entry.key_size_bits,
        entry.is_master,
        provenance,
        Outcome.RECALLED,
        reason,
    )
