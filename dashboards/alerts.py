"""What people are told of. Each alert has a page in docs/runbooks and a test that it fires, and when not."""

from dashboards.rule import Alert, Group, Urgency

_WHICH_LINK = "Link {{ $labels.link }}"
_WHICH_STREAM = "Stream {{ $labels.stream }}"
_WHICH_AGENT = "The agent of {{ $labels.node }}"


def _above(quantity: str, metric: str, limit: str) -> str:
    return _held_against(quantity, f"avg_over_time({metric}[5m])", ">", limit)


def _below(quantity: str, metric: str, limit: str) -> str:
    return _held_against(quantity, f"avg_over_time({metric}[5m])", "<", limit)


def _held_against(quantity: str, measured: str, sign: str, limit: str) -> str:
    compared = f"{measured} {sign} on (link) group_left () {limit}"
    return f'label_replace({compared}, "quantity", "{quantity}", "", "")'


_DETECTOR_OUT_OF_RANGE = "\nor ".join(
    (
        _above("count rate", "keyweave_detector_count_rate_hz", "keyweave_link_detector_count_rate_max_hz"),
        _above(
            "dark count rate",
            "keyweave_detector_dark_count_rate_hz",
            "keyweave_link_detector_dark_count_rate_max_hz",
        ),
        _below(
            "efficiency",
            "keyweave_detector_efficiency_ratio",
            "keyweave_link_detector_efficiency_min_ratio",
        ),
        _above(
            "temperature",
            "keyweave_detector_temperature_celsius",
            "keyweave_link_detector_temperature_max_celsius",
        ),
        _below("bias", "keyweave_detector_bias_volts", "keyweave_link_detector_bias_min_volts"),
        _above("bias", "keyweave_detector_bias_volts", "keyweave_link_detector_bias_max_volts"),
    )
)

_OF_LINKS = (
    Alert(
        "KeyweaveLinkDown",
        Urgency.CRITICAL,
        'keyweave_link_condition{condition="down"} == 1',
        "1m",
        f"{_WHICH_LINK} is down",
        "Nothing is relayed over it. Streams that used it have moved to other paths or to what they may "
        "fall back to.",
    ),
    Alert(
        "KeyweaveLinkSuspect",
        Urgency.CRITICAL,
        'keyweave_link_condition{condition="suspect"} == 1',
        "",
        f"{_WHICH_LINK} is suspect: somebody may be listening",
        "Its keys since the onset are in quarantine, and keys built on them were destroyed or are being "
        "recalled. It stays out of use until the cause is over; what is held waits for an operator.",
    ),
    Alert(
        "KeyweaveLinkStale",
        Urgency.WARNING,
        'keyweave_link_condition{condition="stale"} == 1',
        "2m",
        f"{_WHICH_LINK} is stale: nobody measures it",
        "Neither end has reported for a while. What runs over it goes on, nothing new is placed on it.",
    ),
    Alert(
        "KeyweaveLinkPoolDraining",
        Urgency.WARNING,
        "keyweave:link_pool:seconds_to_empty < 3600\n  and on (link) keyweave_link_planned_rate_bps > 0",
        "5m",
        f"{_WHICH_LINK}: its pool will be empty in {{{{ $value | humanizeDuration }}}}",
        "More is drawn from the pool than the link makes. Once it is empty, streams slow down to what the "
        "link makes, or move.",
    ),
    Alert(
        "KeyweaveLinkQberRising",
        Urgency.WARNING,
        "keyweave:link_qber:seconds_to_abort < 24 * 3600\n"
        "  and on (link) keyweave:link_qber:seconds_to_abort > 0\n"
        '  and on (link) keyweave_link_condition{condition=~"ok|degraded"} == 1',
        "30m",
        f"{_WHICH_LINK}: its QBER will cross the threshold in {{{{ $value | humanizeDuration }}}}",
        "By the trend of the last hours. At the threshold the link is aborted.",
    ),
    Alert(
        "KeyweaveDetectorOutOfRange",
        Urgency.WARNING,
        _DETECTOR_OUT_OF_RANGE,
        "5m",
        "Detector {{ $labels.detector }} of link {{ $labels.link }} at {{ $labels.node }}: "
        "{{ $labels.quantity }} out of range",
        "It is {{ $value | humanize }}, on average over five minutes; the link's description says what is in "
        "order.",
    ),
)
_OF_STREAMS = (
    Alert(
        "KeyweaveStreamBelowMinimum",
        Urgency.CRITICAL,
        "# Quantum paths have too little, or it wants keys (its buffer is not half full) and gets too few.\n"
        "(\n"
        "  keyweave_stream_planned_rate_bps < keyweave_stream_min_rate_bps\n"
        '  unless on (stream) keyweave_stream_protection{protection="pqc"} == 1\n'
        ")\n"
        "or (\n"
        "  keyweave_stream_delivered_rate_bps < keyweave_stream_min_rate_bps\n"
        "  and keyweave_stream_buffered_keys < 0.5 * keyweave_stream_buffer_target_keys\n"
        ")",
        "5m",
        f"{_WHICH_STREAM} gets less than its guaranteed rate",
        "It has {{ $value | humanize }}bit/s.",
    ),
    Alert(
        "KeyweaveStreamUnmet",
        Urgency.CRITICAL,
        "keyweave_stream_unmet == 1",
        "2m",
        f"{_WHICH_STREAM} cannot have what it requires",
        "The network as it is now has no paths that fit its requirements.",
    ),
    Alert(
        "KeyweaveStreamUnprotected",
        Urgency.CRITICAL,
        'keyweave_stream_protection{protection="none"} == 1',
        "2m",
        f"{_WHICH_STREAM} makes no keys",
        "Applications live on what is buffered, then they are refused.",
    ),
    Alert(
        "KeyweaveStreamPqcOnly",
        Urgency.WARNING,
        'keyweave_stream_protection{protection="pqc"} == 1\n'
        "  unless on (stream) keyweave_stream_pqc_only == 1",
        "15m",
        f"{_WHICH_STREAM} has been on ML-KEM alone for a quarter of an hour",
        "No quantum path supplies it. Its keys rest on the hardness of lattice problems alone.",
    ),
    Alert(
        "KeyweaveKeysRecalled",
        Urgency.CRITICAL,
        "increase(keyweave_keys_recalled_total[1h]) > 0",
        "",
        "Keys that applications have fetched at {{ $labels.node }} were recalled",
        "{{ $value | humanize }} keys within an hour were built on a link that was under attack. They must "
        "not be trusted.",
    ),
)
_OF_AGENTS = (
    Alert(
        "KeyweaveAgentLost",
        Urgency.CRITICAL,
        "keyweave_agent_connected == 0",
        "1m",
        f"{_WHICH_AGENT} is lost",
        "It is not connected to the controller. If it lives, it goes on by its last policy.",
    ),
    Alert(
        "KeyweaveAgentLedgerBroken",
        Urgency.CRITICAL,
        "keyweave_agent_ledger_writable == 0",
        "1m",
        f"{_WHICH_AGENT} cannot write its ledger",
        "While deliveries cannot be recorded, none is made: applications there get no keys.",
    ),
    Alert(
        "KeyweavePolicyNacked",
        Urgency.CRITICAL,
        "keyweave_agent_policy_nacked == 1",
        "1m",
        f"{_WHICH_AGENT} refuses its policy",
        "It keeps the one it had, whole. What has changed since does not happen there.",
    ),
    Alert(
        "KeyweavePolicyLagging",
        Urgency.WARNING,
        "keyweave_agent_policy_lag_seconds > 60 and on (node) keyweave_agent_connected == 1",
        "1m",
        f"{_WHICH_AGENT} is behind its policy",
        "For {{ $value | humanizeDuration }} it has not had what is desired of it, though it is connected.",
    ),
    Alert(
        "KeyweaveCertificateExpiring",
        Urgency.WARNING,
        "keyweave:certificate:seconds_left < 14 * 24 * 3600",
        "1h",
        "A certificate of {{ $labels.instance }} ends in {{ $value | humanizeDuration }}",
        "Plane {{ $labels.plane }} (none: the controller's). Once it has ended, peers end their connections.",
    ),
    Alert(
        "KeyweaveCertificateExpiringSoon",
        Urgency.CRITICAL,
        "keyweave:certificate:seconds_left < 2 * 24 * 3600",
        "5m",
        "A certificate of {{ $labels.instance }} ends in {{ $value | humanizeDuration }}",
        "Plane {{ $labels.plane }} (none: the controller's). Once it has ended, peers end their connections.",
    ),
    Alert(
        "KeyweaveTrustNotCurrent",
        Urgency.WARNING,
        "keyweave_controller_trust_current == 0 or keyweave_agent_trust_current == 0",
        "10m",
        "{{ $labels.instance }} has not taken up its trust anchors or revocation lists",
        "Plane {{ $labels.plane }} (none: the controller's). What was in force before still is; what was "
        "revoked since is not known there.",
    ),
)
_OF_THE_CONTROLLER = (
    Alert(
        "KeyweaveNoLeader",
        Urgency.CRITICAL,
        "absent(keyweave_controller_read_only == 0)",
        "1m",
        "No controller leads",
        "None is scraped, or it is read-only because agents have seen a higher epoch. Agents go on by their "
        "last policies; nothing is planned anew.",
    ),
    Alert(
        "KeyweaveStoreFailing",
        Urgency.CRITICAL,
        "increase(keyweave_store_failures_total[5m]) > 0",
        "5m",
        "The controller cannot write to its store",
        "Pushes wait for it, operators' writes fail, events pile up in memory.",
    ),
    Alert(
        "KeyweaveTargetDown",
        Urgency.WARNING,
        'up{job=~"keyweave-controller|keyweave-agent"} == 0',
        "2m",
        "{{ $labels.job }} {{ $labels.node }} at {{ $labels.instance }} is not scraped",
        "Alerts that rest on its metrics are blind.",
    ),
)

ALERTS = Group("keyweave-alerts", (*_OF_LINKS, *_OF_STREAMS, *_OF_AGENTS, *_OF_THE_CONTROLLER))
