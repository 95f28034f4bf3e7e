"""What goes out on an agent's policy stream, one after the other."""

import asyncio

from immutables import Map

from keyweave.common.names import NodeName
from keyweave.common.policy_digest import combine
from keyweave.controller.compile.policies import NodePolicy
from keyweave.controller.instructions import Confirm, Push, VersionedPolicy
from keyweave.controller.push import PolicySession, PushCounters

A = NodeName("a")
EMPTY = NodePolicy(rules=Map(), digest=combine(()))


async def test_what_was_to_be_confirmed_is_not_after_a_newer_push() -> None:
    """Both become due at once: the agent has the newer one when the older one would reach it, and refuses."""
    session = PolicySession(A, 1, 900.0, PushCounters())
    session.confirm(Confirm(A, 8, b"old" * 8))
    session.push(Push(A, VersionedPolicy(17, EMPTY), None))
    responses = session.responses()
    pushed = await anext(responses)
    assert (pushed.WhichOneof("kind"), pushed.version.version) == ("snapshot", 17)
    after = asyncio.ensure_future(anext(responses))
    done, _ = await asyncio.wait({after}, timeout=0.05)
    assert not done
    session.replace()
    await asyncio.wait({after})
    assert isinstance(after.exception(), StopAsyncIteration)
