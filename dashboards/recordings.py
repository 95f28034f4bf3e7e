"""Series that several rules and panels need, computed ahead."""

from dashboards.rule import Group, Recording

# A trend is told only from so much of the past; shorter, and noise has one.
POOL_TREND, QBER_TREND = "15m", "6h"

RECORDINGS = Group(
    "keyweave-recordings",
    (
        Recording(
            "keyweave:link_pool:seconds_to_empty",
            "# Only of pools that lose more than a twentieth of what their link makes.\n"
            "keyweave_link_pool_bits\n"
            f"  / -(deriv(keyweave_link_pool_bits[{POOL_TREND}])"
            " < -0.05 * keyweave_link_secret_key_rate_bps)",
        ),
        Recording(
            "keyweave:link_qber:seconds_to_abort",
            "# How far a QBER is from the threshold, over its rise a second; if measured for an hour.\n"
            "(keyweave_link_abort_qber_ratio - keyweave_link_qber_ratio)\n"
            f"  / (deriv(keyweave_link_qber_ratio[{QBER_TREND}]) > 0)\n"
            "  and keyweave_link_qber_ratio offset 1h",
        ),
        Recording(
            "keyweave:certificate:seconds_left",
            "keyweave_controller_certificate_expiry_timestamp_seconds - time()\n"
            "or keyweave_agent_certificate_expiry_timestamp_seconds - time()",
        ),
        Recording(
            "keyweave:stream_heard:bool",
            "# Whether the agents at both ends are connected: of others nobody can vouch for what they do.\n"
            "min by (stream) (keyweave_stream_end * on (node) group_left () keyweave_agent_connected)",
        ),
    ),
)
