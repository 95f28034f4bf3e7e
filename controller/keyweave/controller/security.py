"""Who may call what: every RPC of the controller, and the roles that its caller's certificate may have.

A certificate is of the control plane or worth nothing here (`peer_identity`). What is not in the table
is refused.
"""

from collections.abc import Mapping
from typing import Any

from keyweave.common.errors import NotAllowedError
from keyweave.common.identity import Identity, Plane, Role, peer_identity

_AGENTS = frozenset({Role.AGENT})
WRITERS = frozenset({Role.OPERATOR})
READERS = frozenset({Role.OPERATOR, Role.VIEWER})

ROLES: Mapping[str, frozenset[Role]] = {
    # AgentService: an agent speaks for the node in its certificate, and for no other.
    "Telemetry": _AGENTS,
    "Policy": _AGENTS,
    "Inspect": _AGENTS,
    # AdminService
    **{
        f"{verb}{kind}": WRITERS
        for verb in ("Create", "Update", "Delete")
        for kind in ("Node", "Link", "Stream", "Maintenance", "Schedule", "PairStream")
    },
    "ClearLink": WRITERS,
    "DestroyLink": WRITERS,
    "CalibrateLink": WRITERS,
    "ZeroizeNode": WRITERS,
    # A read, but it tells which application got which key when.
    "ShowLedger": WRITERS,
    "EndMaintenance": WRITERS,
    "RollbackPlan": WRITERS,
    "UnpinPlan": WRITERS,
    "ListPlans": READERS,
    # It uses up pairs that somebody has asked for.
    "RunBellTest": WRITERS,
    **{
        f"{verb}{kind}{plural}": READERS
        for verb, plural in (("Get", ""), ("List", "s"))
        for kind in ("Node", "Link", "Stream", "Maintenance", "Schedule", "PairStream")
    },
    "ExplainPairStream": READERS,
    "ListPairLinks": READERS,
    "ExplainStream": READERS,
    "GetPlan": READERS,
    "GetPolicy": READERS,
    "AnalysePlan": READERS,
    "GetStatus": READERS,
    "WatchEvents": READERS,
    "GetHistory": READERS,
    "ListAuditEntries": READERS,
}


def admit(context: Any, rpc: str) -> Identity:
    """Who is calling `rpc` (its name without service), or NotAllowedError.

    `context` is a grpc.aio servicer context.
    """
    roles = ROLES.get(rpc)
    if roles is None:
        raise NotAllowedError(f"{rpc} is open to no role")
    return peer_identity(context.auth_context(), Plane.CONTROL, roles)
