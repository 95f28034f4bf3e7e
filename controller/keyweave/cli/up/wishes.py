"""Tells a controller what a scenario wants, as an operator would: by the admin API, as often as you like."""

from collections import Counter
from typing import Any

from google.protobuf.field_mask_pb2 import FieldMask

from keyweave.cli.connection import CALL_TIMEOUT_SECONDS
from keyweave.cli.objects import KINDS, Kind, list_all
from keyweave.cli.pairs import PLANNED_TIMEOUT_SECONDS
from keyweave.cli.pairs import list_all as list_pair_streams
from keyweave.cli.up.layout import Layout
from keyweave.v1 import admin_pb2, pairs_pb2, types_pb2


async def create_network(admin: Any, layout: Layout) -> str:
    """Create what is missing and update what differs; what the scenario does not name stays.

    Fields that a scenario cannot express, such as maintenance and disabled, stay as the operator left them.
    """
    scenario = layout.scenario
    wanted: dict[type[Any], list[Any]] = {
        types_pb2.Node: [node.to_proto(layout.address(f"{node.name} key_plane")) for node in scenario.nodes],
        types_pb2.Link: [link.to_proto() for link in scenario.links],
        types_pb2.Stream: [stream.to_proto() for stream in scenario.streams],
    }
    done: Counter[str] = Counter()
    for kind in KINDS:
        found = await list_all(admin, kind)
        present = {spec.name: spec for spec in (getattr(status, kind.word) for status in found)}
        for spec in wanted[kind.spec]:
            done[await _settle(admin, kind, spec, present.get(spec.name))] += 1
    present_pairs = {one.pair_stream.name: one.pair_stream for one in await list_pair_streams(admin)}
    for wish in scenario.pair_streams:
        done[await _settle_pairs(admin, wish.to_proto(), present_pairs.get(wish.name))] += 1
    return ", ".join(f"{done[word]} {word}" for word in ("created", "updated", "as before") if done[word])


async def _settle_pairs(admin: Any, spec: pairs_pb2.PairStream, present: pairs_pb2.PairStream | None) -> str:
    """Links are not measured yet when a network starts: what cannot be had now waits until it can."""
    if present is None:
        request = admin_pb2.CreatePairStreamRequest(pair_stream=spec, force=True)
        await admin.CreatePairStream(request, timeout=PLANNED_TIMEOUT_SECONDS)
        return "created"
    differing = _differing(spec, present)
    if not differing:
        return "as before"
    update = admin_pb2.UpdatePairStreamRequest(
        pair_stream=spec, update_mask=FieldMask(paths=differing), force=True
    )
    await admin.UpdatePairStream(update, timeout=PLANNED_TIMEOUT_SECONDS)
    return "updated"


async def _settle(admin: Any, kind: Kind, spec: Any, present: Any | None) -> str:
    if present is None:
        request = kind.request("Create", **{kind.word: spec})
        await kind.rpc(admin, "Create")(request, timeout=CALL_TIMEOUT_SECONDS)
        return "created"
    differing = _differing(spec, present)
    if not differing:
        return "as before"
    request = kind.request("Update", **{kind.word: spec}, update_mask=FieldMask(paths=differing))
    await kind.rpc(admin, "Update")(request, timeout=CALL_TIMEOUT_SECONDS)
    return "updated"


def _differing(spec: Any, present: Any) -> list[str]:
    """Fields that a scenario has otherwise."""
    return [
        field.name
        for field in spec.DESCRIPTOR.fields
        if field.name not in {"name", "revision", "etag", "maintenance", "disabled"}
        and (
            getattr(spec, field.name) != getattr(present, field.name)
            # No relay at all (0) is not the same as no limit (unset).
            or (field.has_presence and spec.HasField(field.name) != present.HasField(field.name))
        )
    ]
