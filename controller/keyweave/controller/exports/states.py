"""What is retained for those who subscribe later: how every link, stream and node stands. Pure.

Only what changes now and then: rates and error rates are Prometheus's.
"""

from collections.abc import Mapping
from typing import Any

from keyweave.controller.agent_events import protection_word
from keyweave.controller.overview import Overview
from keyweave.controller.views import LinkStateView, NodeView, StreamView


def states(overview: Overview) -> Mapping[str, Mapping[str, Any]]:
    """By topic, below the network's."""
    return {
        **{f"links/{view.view.link.name}/state": _link(view) for view in overview.links()},
        **{f"streams/{view.stream.name}/state": _stream(view) for view in overview.streams()},
        **{f"nodes/{view.node.name}/state": _node(view) for view in overview.nodes()},
    }


def _link(view: LinkStateView) -> dict[str, Any]:
    return {
        "link": view.view.link.name,
        "nodes": [view.view.link.a, view.view.link.b],
        "condition": view.view.condition.value,
        "status": view.status.value,
        "reason": view.view.reason,
        "diagnosis": view.diagnosis,
        "since_unix_seconds": round(view.condition_since, 3),
        "emulated": view.emulated,
    }


def _stream(view: StreamView) -> dict[str, Any]:
    return {
        "stream": view.stream.name,
        "nodes": [view.stream.source, view.stream.target],
        "protection": protection_word(view.protection),
        "path_ids": list(view.path_ids),
        "unmet": view.plan.unmet if view.plan is not None else "",
        "failovers_total": view.failovers_total,
    }


def _node(view: NodeView) -> dict[str, Any]:
    return {
        "node": view.node.name,
        "connected": view.connected,
        "software_version": view.software_version,
        "maintenance": view.node.maintenance,
    }
