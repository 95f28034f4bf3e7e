"""Where the agent says what it irrevocably does, for whoever wants to check it.

The product passes the class below, which ignores everything. Test builds pass a recorder whose history the
invariant checker reads. Every method is called synchronously and *before* the act becomes visible to anybody
else, so that a crash can lose a visible act from no history.
"""

import uuid
from enum import StrEnum

from keyweave.common.names import LinkName, NodeName, PathId, SaeId, StreamName


class PadUse(StrEnum):
    """Which of its two ends uses a range of pad: each may do so once."""

    SEND = "send"
    RECEIVE = "receive"


class Side(StrEnum):
    """Which end of a key an SAE is (ETSI GS QKD 014: enc_keys and dec_keys)."""

    MASTER = "master"
    SLAVE = "slave"


class Protected(StrEnum):
    """What protects a delivered key; the proto's Protection without its empty values."""

    QKD = "qkd"
    HYBRID = "hybrid"
    PQC = "pqc"


class Observer:
    """Ignores everything. No method may raise, block for long, or keep key material."""

    def pad_used(
        self,
        *,
        link: LinkName,
        pool_id: bytes,
        first_lane: bool,
        node: NodeName,
        start: int,
        end: int,
        use: PadUse,
        first_block: int,
        block_bytes: int,
    ) -> None:
        """`node` takes bytes [start, end) of a lane, as pad or as tag key.

        `start` and `end` are offsets within the lane, `first_block` is the device block at which the pool
        begins, `block_bytes` the size of a whole block (both lanes). A byte-identical retransmission is not
        a further use.
        """

    def block_taken(self, *, link: LinkName, node: NodeName, number: int) -> None:
        """`node` has durably recorded that it took device block `number`, and takes it now."""

    def key_delivered(
        self,
        *,
        key_id: uuid.UUID,
        side: Side,
        sae: SaeId,
        peer_sae: SaeId,
        stream: StreamName,
        key: bytes,
        protection: Protected,
        paths: tuple[PathId, ...],
        k: int,
        require_qkd: bool,
        require_pqc: bool,
        required_k: int,
        further: tuple[tuple[SaeId, StreamName], ...] = (),
    ) -> None:
        """A key goes to `sae`, which asked for one with `peer_sae`, and with the SAEs of `further` streams.

        `paths` and `k` are the relay paths and the number of shares that made it (none and 0 without QKD),
        `required_k` the fewest that the stream accepts. `key` must not be kept.
        """

    def policy_applied(self, *, node: NodeName, epoch: int, version: int, digest: bytes) -> None:
        """`node` has persisted this policy and runs by it from now on."""
