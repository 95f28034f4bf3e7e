"""Events as receivers get them. Pure."""

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from keyweave.controller.event_kinds import KINDS, EventKind
from keyweave.controller.events import Event, Severity

# RFC 5424, table 2.
_SYSLOG_SEVERITY = {Severity.INFO: 6, Severity.MINOR: 4, Severity.MAJOR: 2}
# 0 to 10; CEF calls 0-3 low, 4-6 medium, 7-8 high, 9-10 very high.
_CEF_SEVERITY = {Severity.INFO: 3, Severity.MINOR: 6, Severity.MAJOR: 9}
_OMITTED = "..."


def timestamp(event: Event) -> str:
    """When it happened: RFC 3339, UTC, microseconds."""
    return datetime.fromtimestamp(event.time_unix_seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def event_members(event: Event) -> dict[str, Any]:
    """An event as JSON has it; what is empty is left out."""
    members: dict[str, Any] = {
        "id": event.id,
        "time": timestamp(event),
        "kind": event.kind,
        "severity": event.severity.value,
        "node": event.node,
        "link": event.link,
        "stream": event.stream,
        "message": event.message,
        "fields": dict(event.fields),
        "alarm": event.alarm,
    }
    if event.alarm:
        members["alarm_state"] = "ended" if event.clears else "begun"
    return {name: value for name, value in members.items() if value}


def compact(members: Mapping[str, Any]) -> bytes:
    """JSON without spaces, UTF-8."""
    return json.dumps(members, separators=(",", ":"), ensure_ascii=False).encode()


# ---- CloudEvents 1.0 and its signature -----------------------------------------------------------------


def cloud_event(event: Event, network: str) -> dict[str, Any]:
    """CloudEvents 1.0, structured mode. `id` is unique within `source`, and the same when sent again."""
    data = event_members(event)
    subjects = (("stream", event.stream), ("link", event.link), ("node", event.node))
    subject = next((f"{kind}/{name}" for kind, name in subjects if name), "")
    members = {
        "specversion": "1.0",
        "id": f"{event.id}-{round(event.time_unix_seconds * 1e6):x}",
        "source": f"/keyweave/{network}",
        "type": f"keyweave.{event.kind}",
        "time": timestamp(event),
        "datacontenttype": "application/json",
        "severity": event.severity.value,
        "data": data,
    }
    return members | ({"subject": subject} if subject else {})


def signature(secret: bytes, message_id: str, unix_seconds: int, body: bytes) -> str:
    """`v1,<base64>` over id, time and body, as the Standard Webhooks specification has it."""
    signed = f"{message_id}.{unix_seconds}.".encode() + body
    return f"v1,{base64.b64encode(hmac.new(secret, signed, hashlib.sha256).digest()).decode()}"


# ---- syslog and CEF ------------------------------------------------------------------------------------


def syslog_message(
    event: Event, *, facility: int, hostname: str, process: int, enterprise: int, version: str, max_bytes: int
) -> bytes:
    """RFC 5424: header, structured data with every field, and CEF as the message.

    Longer ones than `max_bytes` have their longest values cut.
    """
    values = {name: str(value) for name, value in event_members(event).items() if name != "fields"}
    values |= {f"f_{name}": value for name, value in event.fields.items()}
    cut = dict(values)
    while True:
        message = _syslog(event, cut, facility, hostname, process, enterprise, version)
        excess = len(message) - max_bytes
        longest = max(cut, key=lambda name: len(cut[name]))
        if excess <= 0 or len(cut[longest]) <= len(_OMITTED):
            return message
        keep = max(0, len(cut[longest]) - max(excess, 16) - len(_OMITTED))
        cut[longest] = cut[longest][:keep] + _OMITTED


def framed(message: bytes) -> bytes:
    """Octet counting: RFC 5425, section 4.3."""
    return b"%d %s" % (len(message), message)


def _syslog(
    event: Event,
    values: Mapping[str, str],
    facility: int,
    hostname: str,
    process: int,
    enterprise: int,
    version: str,
) -> bytes:
    priority = facility * 8 + _SYSLOG_SEVERITY[event.severity]
    header = f"<{priority}>1 {timestamp(event)} {hostname or '-'} keyweave {process} {event.kind[:32]}"
    names = {
        name.removeprefix("f_") if name.removeprefix("f_") not in values else name: value
        for name, value in values.items()
        if name != "message"
    }
    parameters = "".join(f' {_sd_name(name)}="{_sd_value(value)}"' for name, value in names.items())
    return f"{header} [keyweave@{enterprise}{parameters}] {_cef(event, values, version)}".encode()


def _sd_name(name: str) -> str:
    # RFC 5424, 6.3.3: printable ASCII but for = ] " and space; at most 32.
    return name[:32]


def _sd_value(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("]", "\\]")
    # Line breaks are allowed there, and split lines in the files of many a server.
    return " ".join(escaped.splitlines()) if "\n" in escaped or "\r" in escaped else escaped


def _cef(event: Event, values: Mapping[str, str], version: str) -> str:
    """Common Event Format: the header, then what it has names of its own for."""
    declared: EventKind | None = KINDS.get(event.kind)
    meaning = declared.meaning if declared is not None else event.kind
    header = "|".join(
        _cef_header(part) for part in ("Keyweave", "Keyweave", version, event.kind, meaning.rstrip("."))
    )
    extension = {
        "rt": str(round(event.time_unix_seconds * 1000)),
        "externalId": str(event.id),
        "dvchost": event.node,
        "suser": values.get("f_ordered_by", ""),
        "reason": values.get("f_reason", ""),
        "cs1Label": "link" if event.link else "",
        "cs1": event.link,
        "cs2Label": "stream" if event.stream else "",
        "cs2": event.stream,
        "msg": values.get("message", ""),
    }
    pairs = " ".join(f"{name}={_cef_value(value)}" for name, value in extension.items() if value)
    return f"CEF:0|{header}|{_CEF_SEVERITY[event.severity]}|{pairs}"


def _cef_header(text: str) -> str:
    return " ".join(text.replace("\\", "\\\\").replace("|", "\\|").splitlines())


def _cef_value(text: str) -> str:
    return text.replace("\\", "\\\\").replace("=", "\\=").replace("\r", "").replace("\n", "\\n")
