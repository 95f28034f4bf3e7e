"""Four deliberate breakages, each of one invariant. The checker must catch every one."""

import uuid
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from keyweave.agent import policy
from keyweave.agent.keyplane.keys.keystore import KeyStore, StoredKey
from keyweave.agent.keyplane.links.pool import Lane, User
from keyweave.common.names import StreamName
from keyweave.controller.store import Store
from keyweave.v1 import types_pb2


def pad_reuse() -> None:
    """A lane hands the same bytes out again every tenth time (invariant 1)."""
    honest_use, honest_run = Lane.use, Lane.next_run
    last: dict[int, tuple[int, bytes]] = {}
    calls = {"count": 0}

    def next_run(self: Lane, user: User, size: int, limit: int) -> int | None:
        calls["count"] += 1
        again = last.get(id(self))
        if again is not None and len(again[1]) == size and calls["count"] % 10 == 0:
            return again[0]
        return honest_run(self, user, size, limit)

    def use(self: Lane, user: User, start: int, size: int) -> bytearray:
        again = last.get(id(self))
        if again is not None and again[0] == start and len(again[1]) == size:
            return bytearray(again[1])
        taken = honest_use(self, user, start, size)
        last[id(self)] = (start, bytes(taken))
        return taken

    setattr(Lane, "next_run", next_run)  # noqa: B010
    setattr(Lane, "use", use)  # noqa: B010


def stale_epoch() -> None:
    """An agent takes policy of any epoch and version (invariant 5)."""
    honest = policy.next_policy

    def next_policy(
        node: Any, current: policy.Policy, highest_epoch: int, push: Any, guard: Any
    ) -> policy.Policy:
        del highest_epoch
        return honest(node, replace(current, epoch=0, version=0), 0, push, guard)

    from keyweave.agent import uplink  # noqa: PLC0415  # patched where it is used

    setattr(uplink, "next_policy", next_policy)  # noqa: B010


def double_fetch() -> None:
    """A slave may collect the same key again (invariants 1 and 2)."""
    honest = KeyStore.collect

    def collect(self: KeyStore, stream: StreamName, key_ids: Any) -> tuple[StoredKey, ...]:
        wanted: tuple[uuid.UUID, ...] = tuple(key_ids)
        keys = [self._slave[stream][key_id.bytes] for key_id in wanted]
        kept = [replace(key, key=bytearray(key.key)) for key in keys]
        taken = honest(self, stream, wanted)
        self.add_slave(kept)
        return taken

    setattr(KeyStore, "collect", collect)  # noqa: B010


def lost_intent() -> None:
    """The controller acknowledges streams that it never stored (invariant 6)."""

    honest = Store.put

    async def put(self: Store, spec: Any, answer: Callable[[Any], Any] = lambda _: None) -> Any:
        if not isinstance(spec, types_pb2.Stream):
            return await honest(self, spec, answer)
        claimed = types_pb2.Stream()
        claimed.CopyFrom(spec)
        claimed.revision = spec.revision + 1
        answer(claimed)
        return claimed

    setattr(Store, "put", put)  # noqa: B010


BREAKAGES: dict[str, Callable[[], None]] = {
    "pad-reuse": pad_reuse,
    "stale-epoch": stale_epoch,
    "double-fetch": double_fetch,
    "lost-intent": lost_intent,
}
