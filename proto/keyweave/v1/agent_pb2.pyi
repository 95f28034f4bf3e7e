from buf.validate import validate_pb2 as _validate_pb2
from google.rpc import status_pb2 as _status_pb2
from keyweave.v1 import pairs_pb2 as _pairs_pb2
from keyweave.v1 import types_pb2 as _types_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class AgentEventKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    AGENT_EVENT_KIND_UNSPECIFIED: _ClassVar[AgentEventKind]
    AGENT_EVENT_KIND_LINK_LOSS_OF_SIGNAL: _ClassVar[AgentEventKind]
    AGENT_EVENT_KIND_LINK_DEVICE_FAULT: _ClassVar[AgentEventKind]
    AGENT_EVENT_KIND_LINK_QBER_ABORT: _ClassVar[AgentEventKind]
    AGENT_EVENT_KIND_LINK_RESTORED: _ClassVar[AgentEventKind]
    AGENT_EVENT_KIND_POOL_DESTROYED: _ClassVar[AgentEventKind]
    AGENT_EVENT_KIND_QUARANTINED: _ClassVar[AgentEventKind]
    AGENT_EVENT_KIND_KEYS_DESTROYED: _ClassVar[AgentEventKind]
    AGENT_EVENT_KIND_FAILOVER: _ClassVar[AgentEventKind]
    AGENT_EVENT_KIND_RELAY_TAG_FAILED: _ClassVar[AgentEventKind]
    AGENT_EVENT_KIND_CONFIRMATION_FAILED: _ClassVar[AgentEventKind]
    AGENT_EVENT_KIND_LEASE_EXPIRED: _ClassVar[AgentEventKind]
    AGENT_EVENT_KIND_POLICY_REFUSED: _ClassVar[AgentEventKind]
    AGENT_EVENT_KIND_STREAM_STARVED: _ClassVar[AgentEventKind]
    AGENT_EVENT_KIND_STREAM_SUPPLIED: _ClassVar[AgentEventKind]
    AGENT_EVENT_KIND_KEYS_RECALLED: _ClassVar[AgentEventKind]
    AGENT_EVENT_KIND_ZEROIZED: _ClassVar[AgentEventKind]
    AGENT_EVENT_KIND_QUARANTINE_CLEARED: _ClassVar[AgentEventKind]
    AGENT_EVENT_KIND_QUARANTINE_DESTROYED: _ClassVar[AgentEventKind]
    AGENT_EVENT_KIND_SIGNATURE_FAILED: _ClassVar[AgentEventKind]
    AGENT_EVENT_KIND_PEER_REVOKED: _ClassVar[AgentEventKind]
    AGENT_EVENT_KIND_GUARD_REFUSED: _ClassVar[AgentEventKind]
    AGENT_EVENT_KIND_CALIBRATION_ASKED: _ClassVar[AgentEventKind]
    AGENT_EVENT_KIND_MEMORY_FAILED: _ClassVar[AgentEventKind]
    AGENT_EVENT_KIND_MEMORY_RESTORED: _ClassVar[AgentEventKind]
    AGENT_EVENT_KIND_PAIR_STREAM_ENDED: _ClassVar[AgentEventKind]
AGENT_EVENT_KIND_UNSPECIFIED: AgentEventKind
AGENT_EVENT_KIND_LINK_LOSS_OF_SIGNAL: AgentEventKind
AGENT_EVENT_KIND_LINK_DEVICE_FAULT: AgentEventKind
AGENT_EVENT_KIND_LINK_QBER_ABORT: AgentEventKind
AGENT_EVENT_KIND_LINK_RESTORED: AgentEventKind
AGENT_EVENT_KIND_POOL_DESTROYED: AgentEventKind
AGENT_EVENT_KIND_QUARANTINED: AgentEventKind
AGENT_EVENT_KIND_KEYS_DESTROYED: AgentEventKind
AGENT_EVENT_KIND_FAILOVER: AgentEventKind
AGENT_EVENT_KIND_RELAY_TAG_FAILED: AgentEventKind
AGENT_EVENT_KIND_CONFIRMATION_FAILED: AgentEventKind
AGENT_EVENT_KIND_LEASE_EXPIRED: AgentEventKind
AGENT_EVENT_KIND_POLICY_REFUSED: AgentEventKind
AGENT_EVENT_KIND_STREAM_STARVED: AgentEventKind
AGENT_EVENT_KIND_STREAM_SUPPLIED: AgentEventKind
AGENT_EVENT_KIND_KEYS_RECALLED: AgentEventKind
AGENT_EVENT_KIND_ZEROIZED: AgentEventKind
AGENT_EVENT_KIND_QUARANTINE_CLEARED: AgentEventKind
AGENT_EVENT_KIND_QUARANTINE_DESTROYED: AgentEventKind
AGENT_EVENT_KIND_SIGNATURE_FAILED: AgentEventKind
AGENT_EVENT_KIND_PEER_REVOKED: AgentEventKind
AGENT_EVENT_KIND_GUARD_REFUSED: AgentEventKind
AGENT_EVENT_KIND_CALIBRATION_ASKED: AgentEventKind
AGENT_EVENT_KIND_MEMORY_FAILED: AgentEventKind
AGENT_EVENT_KIND_MEMORY_RESTORED: AgentEventKind
AGENT_EVENT_KIND_PAIR_STREAM_ENDED: AgentEventKind

class TelemetryRequest(_message.Message):
    __slots__ = ("sequence", "hello", "batch", "event")
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    HELLO_FIELD_NUMBER: _ClassVar[int]
    BATCH_FIELD_NUMBER: _ClassVar[int]
    EVENT_FIELD_NUMBER: _ClassVar[int]
    sequence: int
    hello: TelemetryHello
    batch: TelemetryBatch
    event: AgentEvent
    def __init__(self, sequence: _Optional[int] = ..., hello: _Optional[_Union[TelemetryHello, _Mapping]] = ..., batch: _Optional[_Union[TelemetryBatch, _Mapping]] = ..., event: _Optional[_Union[AgentEvent, _Mapping]] = ...) -> None: ...

class TelemetryHello(_message.Message):
    __slots__ = ("node", "incarnation", "software_version", "key_plane_address", "kme_url", "link_ends", "guard_digest", "withheld_rules", "memory_bank", "pair_link_ends")
    NODE_FIELD_NUMBER: _ClassVar[int]
    INCARNATION_FIELD_NUMBER: _ClassVar[int]
    SOFTWARE_VERSION_FIELD_NUMBER: _ClassVar[int]
    KEY_PLANE_ADDRESS_FIELD_NUMBER: _ClassVar[int]
    KME_URL_FIELD_NUMBER: _ClassVar[int]
    LINK_ENDS_FIELD_NUMBER: _ClassVar[int]
    GUARD_DIGEST_FIELD_NUMBER: _ClassVar[int]
    WITHHELD_RULES_FIELD_NUMBER: _ClassVar[int]
    MEMORY_BANK_FIELD_NUMBER: _ClassVar[int]
    PAIR_LINK_ENDS_FIELD_NUMBER: _ClassVar[int]
    node: str
    incarnation: bytes
    software_version: str
    key_plane_address: str
    kme_url: str
    link_ends: _containers.RepeatedCompositeFieldContainer[LinkEnd]
    guard_digest: bytes
    withheld_rules: _containers.RepeatedCompositeFieldContainer[RuleStatus]
    memory_bank: _pairs_pb2.MemoryBank
    pair_link_ends: _containers.RepeatedCompositeFieldContainer[_pairs_pb2.PairLinkEnd]
    def __init__(self, node: _Optional[str] = ..., incarnation: _Optional[bytes] = ..., software_version: _Optional[str] = ..., key_plane_address: _Optional[str] = ..., kme_url: _Optional[str] = ..., link_ends: _Optional[_Iterable[_Union[LinkEnd, _Mapping]]] = ..., guard_digest: _Optional[bytes] = ..., withheld_rules: _Optional[_Iterable[_Union[RuleStatus, _Mapping]]] = ..., memory_bank: _Optional[_Union[_pairs_pb2.MemoryBank, _Mapping]] = ..., pair_link_ends: _Optional[_Iterable[_Union[_pairs_pb2.PairLinkEnd, _Mapping]]] = ...) -> None: ...

class LinkEnd(_message.Message):
    __slots__ = ("link", "peer_node", "model", "emulated", "vendor_domain")
    LINK_FIELD_NUMBER: _ClassVar[int]
    PEER_NODE_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    EMULATED_FIELD_NUMBER: _ClassVar[int]
    VENDOR_DOMAIN_FIELD_NUMBER: _ClassVar[int]
    link: str
    peer_node: str
    model: str
    emulated: bool
    vendor_domain: str
    def __init__(self, link: _Optional[str] = ..., peer_node: _Optional[str] = ..., model: _Optional[str] = ..., emulated: _Optional[bool] = ..., vendor_domain: _Optional[str] = ...) -> None: ...

class TelemetryBatch(_message.Message):
    __slots__ = ("links", "pools", "streams", "dropped_samples_total", "pair_links", "pair_streams", "memories")
    LINKS_FIELD_NUMBER: _ClassVar[int]
    POOLS_FIELD_NUMBER: _ClassVar[int]
    STREAMS_FIELD_NUMBER: _ClassVar[int]
    DROPPED_SAMPLES_TOTAL_FIELD_NUMBER: _ClassVar[int]
    PAIR_LINKS_FIELD_NUMBER: _ClassVar[int]
    PAIR_STREAMS_FIELD_NUMBER: _ClassVar[int]
    MEMORIES_FIELD_NUMBER: _ClassVar[int]
    links: _containers.RepeatedCompositeFieldContainer[LinkSamples]
    pools: _containers.RepeatedCompositeFieldContainer[PoolLevel]
    streams: _containers.RepeatedCompositeFieldContainer[StreamState]
    dropped_samples_total: int
    pair_links: _containers.RepeatedCompositeFieldContainer[_pairs_pb2.PairLinkCounts]
    pair_streams: _containers.RepeatedCompositeFieldContainer[_pairs_pb2.PairStreamCounts]
    memories: _pairs_pb2.MemoryState
    def __init__(self, links: _Optional[_Iterable[_Union[LinkSamples, _Mapping]]] = ..., pools: _Optional[_Iterable[_Union[PoolLevel, _Mapping]]] = ..., streams: _Optional[_Iterable[_Union[StreamState, _Mapping]]] = ..., dropped_samples_total: _Optional[int] = ..., pair_links: _Optional[_Iterable[_Union[_pairs_pb2.PairLinkCounts, _Mapping]]] = ..., pair_streams: _Optional[_Iterable[_Union[_pairs_pb2.PairStreamCounts, _Mapping]]] = ..., memories: _Optional[_Union[_pairs_pb2.MemoryState, _Mapping]] = ...) -> None: ...

class LinkSamples(_message.Message):
    __slots__ = ("link", "start_unix_nanos", "interval_micros", "rows", "qber_ratio", "skr_bps", "sifted_rate_bps", "loss_db", "visibility_ratio", "detectors", "status", "contacts")
    LINK_FIELD_NUMBER: _ClassVar[int]
    START_UNIX_NANOS_FIELD_NUMBER: _ClassVar[int]
    INTERVAL_MICROS_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    QBER_RATIO_FIELD_NUMBER: _ClassVar[int]
    SKR_BPS_FIELD_NUMBER: _ClassVar[int]
    SIFTED_RATE_BPS_FIELD_NUMBER: _ClassVar[int]
    LOSS_DB_FIELD_NUMBER: _ClassVar[int]
    VISIBILITY_RATIO_FIELD_NUMBER: _ClassVar[int]
    DETECTORS_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    CONTACTS_FIELD_NUMBER: _ClassVar[int]
    link: str
    start_unix_nanos: int
    interval_micros: int
    rows: int
    qber_ratio: bytes
    skr_bps: bytes
    sifted_rate_bps: bytes
    loss_db: bytes
    visibility_ratio: bytes
    detectors: _containers.RepeatedCompositeFieldContainer[DetectorSamples]
    status: _types_pb2.LinkStatus
    contacts: _containers.RepeatedCompositeFieldContainer[ContactWindow]
    def __init__(self, link: _Optional[str] = ..., start_unix_nanos: _Optional[int] = ..., interval_micros: _Optional[int] = ..., rows: _Optional[int] = ..., qber_ratio: _Optional[bytes] = ..., skr_bps: _Optional[bytes] = ..., sifted_rate_bps: _Optional[bytes] = ..., loss_db: _Optional[bytes] = ..., visibility_ratio: _Optional[bytes] = ..., detectors: _Optional[_Iterable[_Union[DetectorSamples, _Mapping]]] = ..., status: _Optional[_Union[_types_pb2.LinkStatus, str]] = ..., contacts: _Optional[_Iterable[_Union[ContactWindow, _Mapping]]] = ...) -> None: ...

class ContactWindow(_message.Message):
    __slots__ = ("start_unix_nanos", "end_unix_nanos", "max_elevation_degrees")
    START_UNIX_NANOS_FIELD_NUMBER: _ClassVar[int]
    END_UNIX_NANOS_FIELD_NUMBER: _ClassVar[int]
    MAX_ELEVATION_DEGREES_FIELD_NUMBER: _ClassVar[int]
    start_unix_nanos: int
    end_unix_nanos: int
    max_elevation_degrees: float
    def __init__(self, start_unix_nanos: _Optional[int] = ..., end_unix_nanos: _Optional[int] = ..., max_elevation_degrees: _Optional[float] = ...) -> None: ...

class DetectorSamples(_message.Message):
    __slots__ = ("detector", "count_rate_hz", "dark_count_rate_hz", "efficiency_ratio", "temperature_celsius", "bias_volts")
    DETECTOR_FIELD_NUMBER: _ClassVar[int]
    COUNT_RATE_HZ_FIELD_NUMBER: _ClassVar[int]
    DARK_COUNT_RATE_HZ_FIELD_NUMBER: _ClassVar[int]
    EFFICIENCY_RATIO_FIELD_NUMBER: _ClassVar[int]
    TEMPERATURE_CELSIUS_FIELD_NUMBER: _ClassVar[int]
    BIAS_VOLTS_FIELD_NUMBER: _ClassVar[int]
    detector: str
    count_rate_hz: bytes
    dark_count_rate_hz: bytes
    efficiency_ratio: bytes
    temperature_celsius: bytes
    bias_volts: bytes
    def __init__(self, detector: _Optional[str] = ..., count_rate_hz: _Optional[bytes] = ..., dark_count_rate_hz: _Optional[bytes] = ..., efficiency_ratio: _Optional[bytes] = ..., temperature_celsius: _Optional[bytes] = ..., bias_volts: _Optional[bytes] = ...) -> None: ...

class PoolLevel(_message.Message):
    __slots__ = ("link", "pool_id", "send_bits", "receive_bits", "intake_bits_total", "held_bits")
    LINK_FIELD_NUMBER: _ClassVar[int]
    POOL_ID_FIELD_NUMBER: _ClassVar[int]
    SEND_BITS_FIELD_NUMBER: _ClassVar[int]
    RECEIVE_BITS_FIELD_NUMBER: _ClassVar[int]
    INTAKE_BITS_TOTAL_FIELD_NUMBER: _ClassVar[int]
    HELD_BITS_FIELD_NUMBER: _ClassVar[int]
    link: str
    pool_id: bytes
    send_bits: int
    receive_bits: int
    intake_bits_total: int
    held_bits: int
    def __init__(self, link: _Optional[str] = ..., pool_id: _Optional[bytes] = ..., send_bits: _Optional[int] = ..., receive_bits: _Optional[int] = ..., intake_bits_total: _Optional[int] = ..., held_bits: _Optional[int] = ...) -> None: ...

class StreamState(_message.Message):
    __slots__ = ("stream", "is_source", "buffered_keys", "confirmed_bits_total", "served_qkd_total", "served_hybrid_total", "served_pqc_total", "failovers_total", "protection", "path_ids")
    STREAM_FIELD_NUMBER: _ClassVar[int]
    IS_SOURCE_FIELD_NUMBER: _ClassVar[int]
    BUFFERED_KEYS_FIELD_NUMBER: _ClassVar[int]
    CONFIRMED_BITS_TOTAL_FIELD_NUMBER: _ClassVar[int]
    SERVED_QKD_TOTAL_FIELD_NUMBER: _ClassVar[int]
    SERVED_HYBRID_TOTAL_FIELD_NUMBER: _ClassVar[int]
    SERVED_PQC_TOTAL_FIELD_NUMBER: _ClassVar[int]
    FAILOVERS_TOTAL_FIELD_NUMBER: _ClassVar[int]
    PROTECTION_FIELD_NUMBER: _ClassVar[int]
    PATH_IDS_FIELD_NUMBER: _ClassVar[int]
    stream: str
    is_source: bool
    buffered_keys: int
    confirmed_bits_total: int
    served_qkd_total: int
    served_hybrid_total: int
    served_pqc_total: int
    failovers_total: int
    protection: _types_pb2.Protection
    path_ids: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, stream: _Optional[str] = ..., is_source: _Optional[bool] = ..., buffered_keys: _Optional[int] = ..., confirmed_bits_total: _Optional[int] = ..., served_qkd_total: _Optional[int] = ..., served_hybrid_total: _Optional[int] = ..., served_pqc_total: _Optional[int] = ..., failovers_total: _Optional[int] = ..., protection: _Optional[_Union[_types_pb2.Protection, str]] = ..., path_ids: _Optional[_Iterable[str]] = ...) -> None: ...

class AgentEvent(_message.Message):
    __slots__ = ("kind", "time_unix_nanos", "link", "stream", "peer_node", "reason", "duration_seconds", "count", "since_unix_nanos", "occurrences", "protection_before", "protection_after", "path_ids_before", "path_ids_after", "key_ids", "sae")
    KIND_FIELD_NUMBER: _ClassVar[int]
    TIME_UNIX_NANOS_FIELD_NUMBER: _ClassVar[int]
    LINK_FIELD_NUMBER: _ClassVar[int]
    STREAM_FIELD_NUMBER: _ClassVar[int]
    PEER_NODE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    DURATION_SECONDS_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    SINCE_UNIX_NANOS_FIELD_NUMBER: _ClassVar[int]
    OCCURRENCES_FIELD_NUMBER: _ClassVar[int]
    PROTECTION_BEFORE_FIELD_NUMBER: _ClassVar[int]
    PROTECTION_AFTER_FIELD_NUMBER: _ClassVar[int]
    PATH_IDS_BEFORE_FIELD_NUMBER: _ClassVar[int]
    PATH_IDS_AFTER_FIELD_NUMBER: _ClassVar[int]
    KEY_IDS_FIELD_NUMBER: _ClassVar[int]
    SAE_FIELD_NUMBER: _ClassVar[int]
    kind: AgentEventKind
    time_unix_nanos: int
    link: str
    stream: str
    peer_node: str
    reason: str
    duration_seconds: float
    count: int
    since_unix_nanos: int
    occurrences: int
    protection_before: _types_pb2.Protection
    protection_after: _types_pb2.Protection
    path_ids_before: _containers.RepeatedScalarFieldContainer[str]
    path_ids_after: _containers.RepeatedScalarFieldContainer[str]
    key_ids: _containers.RepeatedScalarFieldContainer[str]
    sae: str
    def __init__(self, kind: _Optional[_Union[AgentEventKind, str]] = ..., time_unix_nanos: _Optional[int] = ..., link: _Optional[str] = ..., stream: _Optional[str] = ..., peer_node: _Optional[str] = ..., reason: _Optional[str] = ..., duration_seconds: _Optional[float] = ..., count: _Optional[int] = ..., since_unix_nanos: _Optional[int] = ..., occurrences: _Optional[int] = ..., protection_before: _Optional[_Union[_types_pb2.Protection, str]] = ..., protection_after: _Optional[_Union[_types_pb2.Protection, str]] = ..., path_ids_before: _Optional[_Iterable[str]] = ..., path_ids_after: _Optional[_Iterable[str]] = ..., key_ids: _Optional[_Iterable[str]] = ..., sae: _Optional[str] = ...) -> None: ...

class TelemetryResponse(_message.Message):
    __slots__ = ("acked_sequence", "credit_sequence")
    ACKED_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    CREDIT_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    acked_sequence: int
    credit_sequence: int
    def __init__(self, acked_sequence: _Optional[int] = ..., credit_sequence: _Optional[int] = ...) -> None: ...

class PolicyVersion(_message.Message):
    __slots__ = ("epoch", "version", "digest")
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    epoch: int
    version: int
    digest: bytes
    def __init__(self, epoch: _Optional[int] = ..., version: _Optional[int] = ..., digest: _Optional[bytes] = ...) -> None: ...

class PolicyRequest(_message.Message):
    __slots__ = ("hello", "ack", "nack")
    HELLO_FIELD_NUMBER: _ClassVar[int]
    ACK_FIELD_NUMBER: _ClassVar[int]
    NACK_FIELD_NUMBER: _ClassVar[int]
    hello: PolicyHello
    ack: PolicyAck
    nack: PolicyNack
    def __init__(self, hello: _Optional[_Union[PolicyHello, _Mapping]] = ..., ack: _Optional[_Union[PolicyAck, _Mapping]] = ..., nack: _Optional[_Union[PolicyNack, _Mapping]] = ...) -> None: ...

class PolicyHello(_message.Message):
    __slots__ = ("node", "incarnation", "have", "highest_epoch")
    NODE_FIELD_NUMBER: _ClassVar[int]
    INCARNATION_FIELD_NUMBER: _ClassVar[int]
    HAVE_FIELD_NUMBER: _ClassVar[int]
    HIGHEST_EPOCH_FIELD_NUMBER: _ClassVar[int]
    node: str
    incarnation: bytes
    have: PolicyVersion
    highest_epoch: int
    def __init__(self, node: _Optional[str] = ..., incarnation: _Optional[bytes] = ..., have: _Optional[_Union[PolicyVersion, _Mapping]] = ..., highest_epoch: _Optional[int] = ...) -> None: ...

class PolicyAck(_message.Message):
    __slots__ = ("nonce", "version")
    NONCE_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    nonce: int
    version: PolicyVersion
    def __init__(self, nonce: _Optional[int] = ..., version: _Optional[_Union[PolicyVersion, _Mapping]] = ...) -> None: ...

class PolicyNack(_message.Message):
    __slots__ = ("nonce", "version", "rules")
    NONCE_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    RULES_FIELD_NUMBER: _ClassVar[int]
    nonce: int
    version: PolicyVersion
    rules: _containers.RepeatedCompositeFieldContainer[RuleStatus]
    def __init__(self, nonce: _Optional[int] = ..., version: _Optional[_Union[PolicyVersion, _Mapping]] = ..., rules: _Optional[_Iterable[_Union[RuleStatus, _Mapping]]] = ...) -> None: ...

class RuleStatus(_message.Message):
    __slots__ = ("rule_id", "status")
    RULE_ID_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    rule_id: str
    status: _status_pb2.Status
    def __init__(self, rule_id: _Optional[str] = ..., status: _Optional[_Union[_status_pb2.Status, _Mapping]] = ...) -> None: ...

class PolicyResponse(_message.Message):
    __slots__ = ("nonce", "version", "lease_seconds", "snapshot", "delta", "heartbeat")
    NONCE_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    LEASE_SECONDS_FIELD_NUMBER: _ClassVar[int]
    SNAPSHOT_FIELD_NUMBER: _ClassVar[int]
    DELTA_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_FIELD_NUMBER: _ClassVar[int]
    nonce: int
    version: PolicyVersion
    lease_seconds: float
    snapshot: PolicySnapshot
    delta: PolicyDelta
    heartbeat: PolicyHeartbeat
    def __init__(self, nonce: _Optional[int] = ..., version: _Optional[_Union[PolicyVersion, _Mapping]] = ..., lease_seconds: _Optional[float] = ..., snapshot: _Optional[_Union[PolicySnapshot, _Mapping]] = ..., delta: _Optional[_Union[PolicyDelta, _Mapping]] = ..., heartbeat: _Optional[_Union[PolicyHeartbeat, _Mapping]] = ...) -> None: ...

class PolicySnapshot(_message.Message):
    __slots__ = ("rules",)
    RULES_FIELD_NUMBER: _ClassVar[int]
    rules: _containers.RepeatedCompositeFieldContainer[Rule]
    def __init__(self, rules: _Optional[_Iterable[_Union[Rule, _Mapping]]] = ...) -> None: ...

class PolicyDelta(_message.Message):
    __slots__ = ("base_digest", "upserts", "removed_rule_ids")
    BASE_DIGEST_FIELD_NUMBER: _ClassVar[int]
    UPSERTS_FIELD_NUMBER: _ClassVar[int]
    REMOVED_RULE_IDS_FIELD_NUMBER: _ClassVar[int]
    base_digest: bytes
    upserts: _containers.RepeatedCompositeFieldContainer[Rule]
    removed_rule_ids: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, base_digest: _Optional[bytes] = ..., upserts: _Optional[_Iterable[_Union[Rule, _Mapping]]] = ..., removed_rule_ids: _Optional[_Iterable[str]] = ...) -> None: ...

class PolicyHeartbeat(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Rule(_message.Message):
    __slots__ = ("rule_id", "peer", "link", "stream", "relay", "order", "pair", "pair_link")
    RULE_ID_FIELD_NUMBER: _ClassVar[int]
    PEER_FIELD_NUMBER: _ClassVar[int]
    LINK_FIELD_NUMBER: _ClassVar[int]
    STREAM_FIELD_NUMBER: _ClassVar[int]
    RELAY_FIELD_NUMBER: _ClassVar[int]
    ORDER_FIELD_NUMBER: _ClassVar[int]
    PAIR_FIELD_NUMBER: _ClassVar[int]
    PAIR_LINK_FIELD_NUMBER: _ClassVar[int]
    rule_id: str
    peer: PeerRule
    link: LinkRule
    stream: StreamRule
    relay: RelayRule
    order: OrderRule
    pair: _pairs_pb2.PairRule
    pair_link: _pairs_pb2.PairLinkRule
    def __init__(self, rule_id: _Optional[str] = ..., peer: _Optional[_Union[PeerRule, _Mapping]] = ..., link: _Optional[_Union[LinkRule, _Mapping]] = ..., stream: _Optional[_Union[StreamRule, _Mapping]] = ..., relay: _Optional[_Union[RelayRule, _Mapping]] = ..., order: _Optional[_Union[OrderRule, _Mapping]] = ..., pair: _Optional[_Union[_pairs_pb2.PairRule, _Mapping]] = ..., pair_link: _Optional[_Union[_pairs_pb2.PairLinkRule, _Mapping]] = ...) -> None: ...

class PeerRule(_message.Message):
    __slots__ = ("node", "key_plane_address")
    NODE_FIELD_NUMBER: _ClassVar[int]
    KEY_PLANE_ADDRESS_FIELD_NUMBER: _ClassVar[int]
    node: str
    key_plane_address: str
    def __init__(self, node: _Optional[str] = ..., key_plane_address: _Optional[str] = ...) -> None: ...

class LinkRule(_message.Message):
    __slots__ = ("link", "peer_node", "abort_qber_ratio", "maintenance", "suspect_since_unix_nanos", "suspect_reason")
    LINK_FIELD_NUMBER: _ClassVar[int]
    PEER_NODE_FIELD_NUMBER: _ClassVar[int]
    ABORT_QBER_RATIO_FIELD_NUMBER: _ClassVar[int]
    MAINTENANCE_FIELD_NUMBER: _ClassVar[int]
    SUSPECT_SINCE_UNIX_NANOS_FIELD_NUMBER: _ClassVar[int]
    SUSPECT_REASON_FIELD_NUMBER: _ClassVar[int]
    link: str
    peer_node: str
    abort_qber_ratio: float
    maintenance: bool
    suspect_since_unix_nanos: int
    suspect_reason: str
    def __init__(self, link: _Optional[str] = ..., peer_node: _Optional[str] = ..., abort_qber_ratio: _Optional[float] = ..., maintenance: _Optional[bool] = ..., suspect_since_unix_nanos: _Optional[int] = ..., suspect_reason: _Optional[str] = ...) -> None: ...

class StreamRule(_message.Message):
    __slots__ = ("stream", "is_source", "peer_node", "local_sae", "peer_sae", "key_size_bits", "require_qkd", "require_pqc", "k", "min_k", "on_exhaustion", "refresh_seconds", "key_ttl_seconds", "buffer_keys", "rate_bps", "path_sets", "accepted_paths", "revision", "restricts_relays")
    STREAM_FIELD_NUMBER: _ClassVar[int]
    IS_SOURCE_FIELD_NUMBER: _ClassVar[int]
    PEER_NODE_FIELD_NUMBER: _ClassVar[int]
    LOCAL_SAE_FIELD_NUMBER: _ClassVar[int]
    PEER_SAE_FIELD_NUMBER: _ClassVar[int]
    KEY_SIZE_BITS_FIELD_NUMBER: _ClassVar[int]
    REQUIRE_QKD_FIELD_NUMBER: _ClassVar[int]
    REQUIRE_PQC_FIELD_NUMBER: _ClassVar[int]
    K_FIELD_NUMBER: _ClassVar[int]
    MIN_K_FIELD_NUMBER: _ClassVar[int]
    ON_EXHAUSTION_FIELD_NUMBER: _ClassVar[int]
    REFRESH_SECONDS_FIELD_NUMBER: _ClassVar[int]
    KEY_TTL_SECONDS_FIELD_NUMBER: _ClassVar[int]
    BUFFER_KEYS_FIELD_NUMBER: _ClassVar[int]
    RATE_BPS_FIELD_NUMBER: _ClassVar[int]
    PATH_SETS_FIELD_NUMBER: _ClassVar[int]
    ACCEPTED_PATHS_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    RESTRICTS_RELAYS_FIELD_NUMBER: _ClassVar[int]
    stream: str
    is_source: bool
    peer_node: str
    local_sae: str
    peer_sae: str
    key_size_bits: int
    require_qkd: bool
    require_pqc: bool
    k: int
    min_k: int
    on_exhaustion: _types_pb2.OnExhaustion
    refresh_seconds: int
    key_ttl_seconds: int
    buffer_keys: int
    rate_bps: int
    path_sets: _containers.RepeatedCompositeFieldContainer[_types_pb2.PathSet]
    accepted_paths: _containers.RepeatedCompositeFieldContainer[_types_pb2.Path]
    revision: int
    restricts_relays: bool
    def __init__(self, stream: _Optional[str] = ..., is_source: _Optional[bool] = ..., peer_node: _Optional[str] = ..., local_sae: _Optional[str] = ..., peer_sae: _Optional[str] = ..., key_size_bits: _Optional[int] = ..., require_qkd: _Optional[bool] = ..., require_pqc: _Optional[bool] = ..., k: _Optional[int] = ..., min_k: _Optional[int] = ..., on_exhaustion: _Optional[_Union[_types_pb2.OnExhaustion, str]] = ..., refresh_seconds: _Optional[int] = ..., key_ttl_seconds: _Optional[int] = ..., buffer_keys: _Optional[int] = ..., rate_bps: _Optional[int] = ..., path_sets: _Optional[_Iterable[_Union[_types_pb2.PathSet, _Mapping]]] = ..., accepted_paths: _Optional[_Iterable[_Union[_types_pb2.Path, _Mapping]]] = ..., revision: _Optional[int] = ..., restricts_relays: _Optional[bool] = ...) -> None: ...

class RelayRule(_message.Message):
    __slots__ = ("stream", "path_id", "budget_bps", "burst_bits", "hops")
    STREAM_FIELD_NUMBER: _ClassVar[int]
    PATH_ID_FIELD_NUMBER: _ClassVar[int]
    BUDGET_BPS_FIELD_NUMBER: _ClassVar[int]
    BURST_BITS_FIELD_NUMBER: _ClassVar[int]
    HOPS_FIELD_NUMBER: _ClassVar[int]
    stream: str
    path_id: str
    budget_bps: int
    burst_bits: int
    hops: _containers.RepeatedCompositeFieldContainer[_types_pb2.Hop]
    def __init__(self, stream: _Optional[str] = ..., path_id: _Optional[str] = ..., budget_bps: _Optional[int] = ..., burst_bits: _Optional[int] = ..., hops: _Optional[_Iterable[_Union[_types_pb2.Hop, _Mapping]]] = ...) -> None: ...

class OrderRule(_message.Message):
    __slots__ = ("order_id", "kind", "link", "ordered_unix_nanos", "ordered_by")
    ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    LINK_FIELD_NUMBER: _ClassVar[int]
    ORDERED_UNIX_NANOS_FIELD_NUMBER: _ClassVar[int]
    ORDERED_BY_FIELD_NUMBER: _ClassVar[int]
    order_id: str
    kind: _types_pb2.OrderKind
    link: str
    ordered_unix_nanos: int
    ordered_by: str
    def __init__(self, order_id: _Optional[str] = ..., kind: _Optional[_Union[_types_pb2.OrderKind, str]] = ..., link: _Optional[str] = ..., ordered_unix_nanos: _Optional[int] = ..., ordered_by: _Optional[str] = ...) -> None: ...

class InspectRequest(_message.Message):
    __slots__ = ("hello", "ledger", "bell_test")
    HELLO_FIELD_NUMBER: _ClassVar[int]
    LEDGER_FIELD_NUMBER: _ClassVar[int]
    BELL_TEST_FIELD_NUMBER: _ClassVar[int]
    hello: InspectHello
    ledger: LedgerPage
    bell_test: BellTestResult
    def __init__(self, hello: _Optional[_Union[InspectHello, _Mapping]] = ..., ledger: _Optional[_Union[LedgerPage, _Mapping]] = ..., bell_test: _Optional[_Union[BellTestResult, _Mapping]] = ...) -> None: ...

class InspectHello(_message.Message):
    __slots__ = ("node", "incarnation")
    NODE_FIELD_NUMBER: _ClassVar[int]
    INCARNATION_FIELD_NUMBER: _ClassVar[int]
    node: str
    incarnation: bytes
    def __init__(self, node: _Optional[str] = ..., incarnation: _Optional[bytes] = ...) -> None: ...

class LedgerPage(_message.Message):
    __slots__ = ("query_id", "entries", "last", "problem")
    QUERY_ID_FIELD_NUMBER: _ClassVar[int]
    ENTRIES_FIELD_NUMBER: _ClassVar[int]
    LAST_FIELD_NUMBER: _ClassVar[int]
    PROBLEM_FIELD_NUMBER: _ClassVar[int]
    query_id: int
    entries: _containers.RepeatedCompositeFieldContainer[_types_pb2.LedgerEntry]
    last: bool
    problem: str
    def __init__(self, query_id: _Optional[int] = ..., entries: _Optional[_Iterable[_Union[_types_pb2.LedgerEntry, _Mapping]]] = ..., last: _Optional[bool] = ..., problem: _Optional[str] = ...) -> None: ...

class InspectResponse(_message.Message):
    __slots__ = ("query_id", "ledger", "bell_test", "cancel")
    QUERY_ID_FIELD_NUMBER: _ClassVar[int]
    LEDGER_FIELD_NUMBER: _ClassVar[int]
    BELL_TEST_FIELD_NUMBER: _ClassVar[int]
    CANCEL_FIELD_NUMBER: _ClassVar[int]
    query_id: int
    ledger: LedgerQuery
    bell_test: BellTestQuery
    cancel: CancelQuery
    def __init__(self, query_id: _Optional[int] = ..., ledger: _Optional[_Union[LedgerQuery, _Mapping]] = ..., bell_test: _Optional[_Union[BellTestQuery, _Mapping]] = ..., cancel: _Optional[_Union[CancelQuery, _Mapping]] = ...) -> None: ...

class CancelQuery(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class BellTestQuery(_message.Message):
    __slots__ = ("stream", "pairs")
    STREAM_FIELD_NUMBER: _ClassVar[int]
    PAIRS_FIELD_NUMBER: _ClassVar[int]
    stream: str
    pairs: int
    def __init__(self, stream: _Optional[str] = ..., pairs: _Optional[int] = ...) -> None: ...

class BellTestResult(_message.Message):
    __slots__ = ("query_id", "pairs", "equal", "problem")
    QUERY_ID_FIELD_NUMBER: _ClassVar[int]
    PAIRS_FIELD_NUMBER: _ClassVar[int]
    EQUAL_FIELD_NUMBER: _ClassVar[int]
    PROBLEM_FIELD_NUMBER: _ClassVar[int]
    query_id: int
    pairs: _containers.RepeatedScalarFieldContainer[int]
    equal: _containers.RepeatedScalarFieldContainer[int]
    problem: str
    def __init__(self, query_id: _Optional[int] = ..., pairs: _Optional[_Iterable[int]] = ..., equal: _Optional[_Iterable[int]] = ..., problem: _Optional[str] = ...) -> None: ...

class LedgerQuery(_message.Message):
    __slots__ = ("stream", "from_unix_nanos", "to_unix_nanos", "limit")
    STREAM_FIELD_NUMBER: _ClassVar[int]
    FROM_UNIX_NANOS_FIELD_NUMBER: _ClassVar[int]
    TO_UNIX_NANOS_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    stream: str
    from_unix_nanos: int
    to_unix_nanos: int
    limit: int
    def __init__(self, stream: _Optional[str] = ..., from_unix_nanos: _Optional[int] = ..., to_unix_nanos: _Optional[int] = ..., limit: _Optional[int] = ...) -> None: ...
