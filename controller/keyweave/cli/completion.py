"""Names of nodes, links and streams for shells that complete them: the controller has a second to tell."""

import asyncio
import os
from contextlib import suppress
from typing import Any

import grpc
import typer

from keyweave.cli.connection import FINDING, Network
from keyweave.common.errors import KeyweaveError
from keyweave.v1 import admin_pb2

# How long a prompt may hang; $KEYWEAVE_COMPLETION_SECONDS says otherwise.
_VARIABLE = "KEYWEAVE_COMPLETION_SECONDS"
_SECONDS = "1"
_MOST_NAMES = 10_000
# Commands whose first argument is not a name of their own group's kind.
_KIND_OF_GROUP = {"ledger": "stream", "fault": "link", "policy": "node"}


def names(context: typer.Context, incomplete: str) -> list[str]:
    """The names that begin with what is written so far; none where the network cannot be asked at once."""
    # A prompt is no place for errors.
    with suppress(KeyweaveError, grpc.aio.AioRpcError, OSError, ValueError, TimeoutError):
        found = asyncio.run(_asked(context))
        return [name for name in found if name.startswith(incomplete)]
    return []


async def _asked(context: typer.Context) -> list[str]:
    words = context.command_path.split()
    group = words[-2] if len(words) > 1 else ""
    kind = _KIND_OF_GROUP.get(group, group)
    if words[-2:] == ["pair-stream", "create"]:
        kind = "node"  # it names the ends first
    if group == "fault" and (context.params.get("node") or words[-1] in _OF_NODES):
        kind = "node"
    given: dict[str, Any] = {name: context.params.get(name) for name in FINDING}
    seconds = float(os.environ.get(_VARIABLE) or _SECONDS)
    network = Network.of(**{**given, "connect_timeout": seconds})
    async with asyncio.timeout(seconds), network.admin() as admin:
        return await _names(admin, kind)


_OF_NODES = frozenset({"node-loss", "network-delay", "network-loss", "partition"})


async def _names(admin: Any, kind: str) -> list[str]:
    rpcs = {
        "node": (admin.ListNodes, admin_pb2.ListNodesRequest),
        "link": (admin.ListLinks, admin_pb2.ListLinksRequest),
        "stream": (admin.ListStreams, admin_pb2.ListStreamsRequest),
        "pair-stream": (admin.ListPairStreams, admin_pb2.ListPairStreamsRequest),
    }
    if kind not in rpcs:
        return []
    rpc, request = rpcs[kind]
    answer = await rpc(request(page_size=_MOST_NAMES))
    field = kind.replace("-", "_")
    return [getattr(one, field).name for one in getattr(answer, f"{field}s")]
