"""Names of what a network has, for shells that complete them: the controller has a second to tell."""

import asyncio
import os
from contextlib import suppress
from typing import Any

import grpc
import typer

from keyweave.cli.connection import FINDING, Network
from keyweave.common.errors import KeyweaveError
from keyweave.emulator.faults import BY_WORD, OF_NODES, OF_PAIR_LINKS
from keyweave.v1 import admin_pb2, types_pb2

# How long a prompt may hang; $KEYWEAVE_COMPLETION_SECONDS says otherwise.
_VARIABLE = "KEYWEAVE_COMPLETION_SECONDS"
_SECONDS = "1"
_MOST_NAMES = 10_000
# Commands whose first argument is not a name of their own group's kind.
_KIND_OF_GROUP = {"ledger": "stream", "policy": "node"}


def names(context: typer.Context, incomplete: str) -> list[str]:
    """The names that begin with what is written so far; none where the network cannot be asked at once."""
    # A prompt is no place for errors.
    with suppress(KeyweaveError, grpc.aio.AioRpcError, OSError, ValueError, TimeoutError):
        found = asyncio.run(_asked(context))
        return [name for name in found if name.startswith(incomplete)]
    return []


async def _asked(context: typer.Context) -> list[str]:
    words = context.command_path.split()
    kinds = _kinds(words[-2] if len(words) > 1 else "", words[-1], of_node=bool(context.params.get("node")))
    given: dict[str, Any] = {name: context.params.get(name) for name in FINDING}
    seconds = float(os.environ.get(_VARIABLE) or _SECONDS)
    network = Network.of(**{**given, "connect_timeout": seconds})
    async with asyncio.timeout(seconds), network.admin() as admin:
        found = [name for kind in kinds for name in await _names(admin, kind)]
        return list(dict.fromkeys(found))


def _kinds(group: str, verb: str, *, of_node: bool) -> tuple[str, ...]:
    """Of what kinds the first argument of a command may be."""
    if (group, verb) == ("pair-stream", "create"):
        return ("node",)  # it names the ends first
    if group != "fault":
        return (_KIND_OF_GROUP.get(group, group),)
    fault = BY_WORD.get(verb)
    if of_node or fault in OF_NODES:
        return ("node",)
    both = fault is None or fault in OF_PAIR_LINKS
    return ("fibre", "pair-link") if both else ("fibre",)


async def _names(admin: Any, kind: str) -> list[str]:
    if kind == "fibre":
        # A link that pairs feed has no fibre of its own that could be cut.
        links = (await admin.ListLinks(admin_pb2.ListLinksRequest(page_size=_MOST_NAMES))).links
        made_of_pairs = types_pb2.LINK_TECHNOLOGY_ENTANGLED
        return [one.link.name for one in links if one.link.technology != made_of_pairs]
    if kind == "pair-link":
        return [one.name for one in (await admin.ListPairLinks(admin_pb2.ListPairLinksRequest())).pair_links]
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
