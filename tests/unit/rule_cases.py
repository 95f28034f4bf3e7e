"""For each alert, series that must make it fire and series so close to these that it must not."""

from collections.abc import Mapping
from dataclasses import dataclass, field

HOUR = 60


@dataclass(frozen=True, slots=True)
class Case:
    """Series in promtool's notation, a sample each minute, and the labels of the alert that then fires."""

    at_minutes: int
    fires: Mapping[str, str]
    quiet: Mapping[str, str]
    labels: Mapping[str, str] = field(default_factory=dict)


def condition(link: str, word: str) -> str:
    return f'keyweave_link_condition{{link="{link}",condition="{word}"}}'


def stream(metric: str, **labels: str) -> str:
    told = "".join(f',{name}="{value}"' for name, value in labels.items())
    return f'keyweave_stream_{metric}{{stream="s"{told}}}'


def agent(metric: str, **labels: str) -> str:
    told = ",".join(f'{name}="{value}"' for name, value in {"node": "a", **labels}.items())
    return f"keyweave_agent_{metric}{{{told}}}"


def detector(metric: str) -> str:
    return f'keyweave_detector_{metric}{{link="ab",node="b",detector="d1"}}'


def limit(metric: str) -> str:
    return f'keyweave_link_detector_{metric}{{link="ab"}}'


LINK = {"link": "ab"}
STREAM = {"stream": "s"}
NODE = {"node": "a"}
# Both ends of a stream are connected, and say so for as long as a case lasts.
HEARD = {
    stream("end", node="a"): "1x6000",
    stream("end", node="b"): "1x6000",
    agent("connected", node="a"): "1x6000",
    agent("connected", node="b"): "1x6000",
}
RISING = 'keyweave_link_qber_ratio{link="ab"}'
ABORT = 'keyweave_link_abort_qber_ratio{link="ab"}'
POOL = 'keyweave_link_pool_bits{link="ab"}'
MADE = 'keyweave_link_secret_key_rate_bps{link="ab"}'
PLANNED = 'keyweave_link_planned_rate_bps{link="ab"}'
TRUST = "keyweave_controller_trust_current"
UNAVAILABLE = 'keyweave:stream_unavailable:ratio_{}{{stream="s"}}'
WITHOUT_QUANTUM = 'keyweave:stream_without_quantum:ratio_{}{{stream="s"}}'
ENDS = 'keyweave_agent_certificate_expiry_timestamp_seconds{node="a",plane="key"}'

CASES: Mapping[str, Case] = {
    "KeyweaveLinkDown": Case(
        5,
        {condition("ab", "down"): "0 1x10"},
        # Down for less than a minute at a time.
        {condition("ab", "down"): "0 1 0 1 0 1 0 1 0 1 0", condition("ab", "degraded"): "1x10"},
        LINK | {"condition": "down"},
    ),
    "KeyweaveLinkSuspect": Case(
        1,
        {condition("ab", "suspect"): "0 1"},
        {condition("ab", "suspect"): "0 0", condition("ab", "down"): "1 1"},
        LINK | {"condition": "suspect"},
    ),
    "KeyweaveLinkStale": Case(
        5,
        {condition("ab", "stale"): "1x10"},
        {condition("ab", "stale"): "1 1 0 1 1 0 1 1 0"},
        LINK | {"condition": "stale"},
    ),
    # 100 kbit less each minute: empty within 40 minutes; and within 3 hours.
    "KeyweaveLinkPoolDraining": Case(
        30,
        {POOL: "7000000-100000x60", PLANNED: "1000x60", MADE: "1000x60"},
        {
            POOL: "21000000-100000x60",
            PLANNED: "1000x60",
            MADE: "1000x60",
            # So much goes up and down where a slow link's pool is drawn on all the time.
            POOL.replace("ab", "cd"): " ".join(["512 256 8 512"] * 12),
            PLANNED.replace("ab", "cd"): "128x60",
            MADE.replace("ab", "cd"): "250x60",
        },
        LINK,
    ),
    # By 0.1 percentage points an hour: in 15 hours; and in 75.
    "KeyweaveLinkQberRising": Case(
        8 * HOUR,
        {RISING: "0.087+0.0000166666x600", ABORT: "0.11x600", condition("ab", "ok"): "1x600"},
        {RISING: "0.027+0.0000166666x600", ABORT: "0.11x600", condition("ab", "ok"): "1x600"},
        LINK,
    ),
    "KeyweaveDetectorOutOfRange": Case(
        20,
        {
            detector("temperature_celsius"): "-30x30",
            limit("temperature_max_celsius"): "-45x30",
            detector("bias_volts"): "50x30",
            limit("bias_min_volts"): "45x30",
            limit("bias_max_volts"): "55x30",
        },
        # In order; without a limit; and out of range only now and then.
        {
            detector("temperature_celsius"): "-50x30",
            limit("temperature_max_celsius"): "-45x30",
            detector("count_rate_hz"): "1000000x30",
            detector("dark_count_rate_hz"): "600 600 600 2000 600 600 600 600 600 600 2000x0 600x20",
            limit("dark_count_rate_max_hz"): "1200x30",
        },
        {"link": "ab", "node": "b", "detector": "d1", "quantity": "temperature"},
    ),
    "KeyweaveStreamBelowMinimum": Case(
        10,
        {
            stream("planned_rate_bps"): "1000x20",
            stream("min_rate_bps"): "512x20",
            stream("delivered_rate_bps"): "100x20",
            stream("buffered_keys"): "3x20",
            stream("buffer_target_keys"): "32x20",
        },
        # Nobody fetches: nothing is made, and the buffer is full. Another is on ML-KEM and has what it needs.
        {
            'keyweave_stream_planned_rate_bps{stream="t"}': "0x20",
            'keyweave_stream_min_rate_bps{stream="t"}': "512x20",
            'keyweave_stream_protection{stream="t",protection="pqc"}': "1x20",
            stream("planned_rate_bps"): "1000x20",
            stream("min_rate_bps"): "512x20",
            stream("delivered_rate_bps"): "0x20",
            stream("buffered_keys"): "32x20",
            stream("buffer_target_keys"): "32x20",
        },
        STREAM,
    ),
    "KeyweaveStreamUnmet": Case(5, {stream("unmet"): "1x10"}, {stream("unmet"): "1 0 1 0 1 0 1 0"}, STREAM),
    "KeyweaveStreamUnprotected": Case(
        5,
        {stream("protection", protection="none"): "1x10"},
        {stream("protection", protection="none"): "0x10", stream("protection", protection="pqc"): "1x10"},
        STREAM | {"protection": "none"},
    ),
    "KeyweaveStreamPqcOnly": Case(
        20,
        {stream("protection", protection="pqc"): "1x30", stream("pqc_only"): "0x30"},
        # It wants nothing else.
        {stream("protection", protection="pqc"): "1x30", stream("pqc_only"): "1x30"},
        STREAM | {"protection": "pqc"},
    ),
    "KeyweaveKeysRecalled": Case(
        70,
        {'keyweave_keys_recalled_total{node="a"}': "0x65 7x10"},
        # Longer ago than an hour.
        {'keyweave_keys_recalled_total{node="a"}': "7x80"},
        NODE,
    ),
    "KeyweaveAgentLost": Case(5, {agent("connected"): "0x10"}, {agent("connected"): "0 1 0 1 0 1 0"}, NODE),
    "KeyweaveAgentLedgerBroken": Case(
        5, {agent("ledger_writable"): "0x10"}, {agent("ledger_writable"): "1x10"}, NODE
    ),
    "KeyweavePolicyNacked": Case(5, {agent("policy_nacked"): "1x10"}, {agent("policy_nacked"): "0x10"}, NODE),
    "KeyweavePolicyLagging": Case(
        5,
        {agent("policy_lag_seconds"): "0+60x10", agent("connected"): "1x10"},
        # It is away: that is another alert.
        {agent("policy_lag_seconds"): "0+60x10", agent("connected"): "0x10"},
        NODE,
    ),
    "KeyweaveCertificateExpiring": Case(
        2 * HOUR,
        {ENDS: f"{13 * 86400}x{3 * HOUR}"},
        {ENDS: f"{30 * 86400}x{3 * HOUR}"},
        NODE | {"plane": "key"},
    ),
    "KeyweaveCertificateExpiringSoon": Case(
        HOUR,
        {"keyweave_controller_certificate_expiry_timestamp_seconds": f"86400x{HOUR}"},
        {"keyweave_controller_certificate_expiry_timestamp_seconds": f"{5 * 86400}x{HOUR}"},
    ),
    "KeyweaveTrustNotCurrent": Case(15, {TRUST: "0x20"}, {TRUST: "1x20"}),
    "KeyweaveNoLeader": Case(
        5, {"keyweave_controller_read_only": "1x10"}, {"keyweave_controller_read_only": "0x10"}
    ),
    "KeyweaveStoreFailing": Case(
        15,
        {"keyweave_store_failures_total": "0+1x20"},
        {"keyweave_store_failures_total": "1x20"},
    ),
    "KeyweaveTargetDown": Case(
        5,
        {'up{job="keyweave-agent",node="a"}': "0x10"},
        {'up{job="keyweave-agent",node="a"}': "1x10", 'up{job="other"}': "0x10"},
        NODE | {"job": "keyweave-agent"},
    ),
    # Nothing for 10 of 60 minutes: 17 %, a hundred and more times what 99.9 % allows.
    "KeyweaveStreamAvailabilityBurnFast": Case(
        2 * HOUR,
        HEARD | {stream("buffered_keys"): "32x110 0x20"},
        # As much, but it is over.
        HEARD | {stream("buffered_keys"): "32x60 0x10 32x100"},
        STREAM | {"slo": "availability"},
    ),
    # 20 minutes of every six hours: 5.6 % where 1 % is allowed, for days; and 2 minutes.
    "KeyweaveStreamQuantumBurnFast": Case(
        8 * HOUR,
        HEARD
        | {
            stream("protection", protection="qkd"): "1x400 0x100",
            stream("protection", protection="hybrid"): "0x500",
        },
        HEARD
        | {
            stream("protection", protection="qkd"): "1x400 0x100",
            stream("protection", protection="hybrid"): "0x400 1x100",
        },
        STREAM | {"slo": "quantum"},
    ),
    # Over three days twice, and over six hours too, what 99.9 % allows; and no more of late.
    "KeyweaveStreamAvailabilityBurnSlow": Case(
        2 * HOUR,
        {UNAVAILABLE.format("3d"): "0.002x150", UNAVAILABLE.format("6h"): "0.002x150"},
        {UNAVAILABLE.format("3d"): "0.002x150", UNAVAILABLE.format("6h"): "0.0005x150"},
        STREAM | {"slo": "availability"},
    ),
    "KeyweaveStreamQuantumBurnSlow": Case(
        2 * HOUR,
        {
            WITHOUT_QUANTUM.format("3d"): "0.02x150",
            WITHOUT_QUANTUM.format("6h"): "0.02x150",
        },
        {
            WITHOUT_QUANTUM.format("3d"): "0.009x150",
            WITHOUT_QUANTUM.format("6h"): "0.02x150",
        },
        STREAM | {"slo": "quantum"},
    ),
}
