from buf.validate import validate_pb2 as _validate_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class LinkStatus(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    LINK_STATUS_UNSPECIFIED: _ClassVar[LinkStatus]
    LINK_STATUS_ACTIVE: _ClassVar[LinkStatus]
    LINK_STATUS_PASSIVE: _ClassVar[LinkStatus]
    LINK_STATUS_PENDING: _ClassVar[LinkStatus]
    LINK_STATUS_OFF: _ClassVar[LinkStatus]

class LinkCondition(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    LINK_CONDITION_UNSPECIFIED: _ClassVar[LinkCondition]
    LINK_CONDITION_OK: _ClassVar[LinkCondition]
    LINK_CONDITION_DEGRADED: _ClassVar[LinkCondition]
    LINK_CONDITION_SUSPECT: _ClassVar[LinkCondition]
    LINK_CONDITION_DOWN: _ClassVar[LinkCondition]
    LINK_CONDITION_STALE: _ClassVar[LinkCondition]
    LINK_CONDITION_MAINTENANCE: _ClassVar[LinkCondition]

class LinkTechnology(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    LINK_TECHNOLOGY_UNSPECIFIED: _ClassVar[LinkTechnology]
    LINK_TECHNOLOGY_DV_QKD: _ClassVar[LinkTechnology]
    LINK_TECHNOLOGY_DV_QKD_COW: _ClassVar[LinkTechnology]
    LINK_TECHNOLOGY_DV_QKD_2WS: _ClassVar[LinkTechnology]
    LINK_TECHNOLOGY_CV_QKD: _ClassVar[LinkTechnology]
    LINK_TECHNOLOGY_ENTANGLED: _ClassVar[LinkTechnology]

class Protection(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PROTECTION_UNSPECIFIED: _ClassVar[Protection]
    PROTECTION_QKD: _ClassVar[Protection]
    PROTECTION_HYBRID: _ClassVar[Protection]
    PROTECTION_PQC: _ClassVar[Protection]
    PROTECTION_NONE: _ClassVar[Protection]

class OnExhaustion(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ON_EXHAUSTION_UNSPECIFIED: _ClassVar[OnExhaustion]
    ON_EXHAUSTION_WAIT: _ClassVar[OnExhaustion]
    ON_EXHAUSTION_PQC: _ClassVar[OnExhaustion]
    ON_EXHAUSTION_REFUSE: _ClassVar[OnExhaustion]

class LedgerOutcome(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    LEDGER_OUTCOME_UNSPECIFIED: _ClassVar[LedgerOutcome]
    LEDGER_OUTCOME_DELIVERED: _ClassVar[LedgerOutcome]
    LEDGER_OUTCOME_EXPIRED: _ClassVar[LedgerOutcome]
    LEDGER_OUTCOME_DESTROYED: _ClassVar[LedgerOutcome]
    LEDGER_OUTCOME_RECALLED: _ClassVar[LedgerOutcome]

class OrderKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ORDER_KIND_UNSPECIFIED: _ClassVar[OrderKind]
    ORDER_KIND_LINK_CLEAR: _ClassVar[OrderKind]
    ORDER_KIND_LINK_DESTROY: _ClassVar[OrderKind]
    ORDER_KIND_NODE_ZEROIZE: _ClassVar[OrderKind]
    ORDER_KIND_LINK_CALIBRATE: _ClassVar[OrderKind]
LINK_STATUS_UNSPECIFIED: LinkStatus
LINK_STATUS_ACTIVE: LinkStatus
LINK_STATUS_PASSIVE: LinkStatus
LINK_STATUS_PENDING: LinkStatus
LINK_STATUS_OFF: LinkStatus
LINK_CONDITION_UNSPECIFIED: LinkCondition
LINK_CONDITION_OK: LinkCondition
LINK_CONDITION_DEGRADED: LinkCondition
LINK_CONDITION_SUSPECT: LinkCondition
LINK_CONDITION_DOWN: LinkCondition
LINK_CONDITION_STALE: LinkCondition
LINK_CONDITION_MAINTENANCE: LinkCondition
LINK_TECHNOLOGY_UNSPECIFIED: LinkTechnology
LINK_TECHNOLOGY_DV_QKD: LinkTechnology
LINK_TECHNOLOGY_DV_QKD_COW: LinkTechnology
LINK_TECHNOLOGY_DV_QKD_2WS: LinkTechnology
LINK_TECHNOLOGY_CV_QKD: LinkTechnology
LINK_TECHNOLOGY_ENTANGLED: LinkTechnology
PROTECTION_UNSPECIFIED: Protection
PROTECTION_QKD: Protection
PROTECTION_HYBRID: Protection
PROTECTION_PQC: Protection
PROTECTION_NONE: Protection
ON_EXHAUSTION_UNSPECIFIED: OnExhaustion
ON_EXHAUSTION_WAIT: OnExhaustion
ON_EXHAUSTION_PQC: OnExhaustion
ON_EXHAUSTION_REFUSE: OnExhaustion
LEDGER_OUTCOME_UNSPECIFIED: LedgerOutcome
LEDGER_OUTCOME_DELIVERED: LedgerOutcome
LEDGER_OUTCOME_EXPIRED: LedgerOutcome
LEDGER_OUTCOME_DESTROYED: LedgerOutcome
LEDGER_OUTCOME_RECALLED: LedgerOutcome
ORDER_KIND_UNSPECIFIED: OrderKind
ORDER_KIND_LINK_CLEAR: OrderKind
ORDER_KIND_LINK_DESTROY: OrderKind
ORDER_KIND_NODE_ZEROIZE: OrderKind
ORDER_KIND_LINK_CALIBRATE: OrderKind

class Node(_message.Message):
    __slots__ = ("name", "owner", "trust_domain", "location", "latitude_degrees", "longitude_degrees", "key_plane_address", "maintenance", "revision", "etag")
    NAME_FIELD_NUMBER: _ClassVar[int]
    OWNER_FIELD_NUMBER: _ClassVar[int]
    TRUST_DOMAIN_FIELD_NUMBER: _ClassVar[int]
    LOCATION_FIELD_NUMBER: _ClassVar[int]
    LATITUDE_DEGREES_FIELD_NUMBER: _ClassVar[int]
    LONGITUDE_DEGREES_FIELD_NUMBER: _ClassVar[int]
    KEY_PLANE_ADDRESS_FIELD_NUMBER: _ClassVar[int]
    MAINTENANCE_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    name: str
    owner: str
    trust_domain: str
    location: str
    latitude_degrees: float
    longitude_degrees: float
    key_plane_address: str
    maintenance: bool
    revision: int
    etag: str
    def __init__(self, name: _Optional[str] = ..., owner: _Optional[str] = ..., trust_domain: _Optional[str] = ..., location: _Optional[str] = ..., latitude_degrees: _Optional[float] = ..., longitude_degrees: _Optional[float] = ..., key_plane_address: _Optional[str] = ..., maintenance: _Optional[bool] = ..., revision: _Optional[int] = ..., etag: _Optional[str] = ...) -> None: ...

class Link(_message.Message):
    __slots__ = ("name", "a_node", "b_node", "technology", "length_km", "risk_groups", "abort_qber_ratio", "degraded_qber_ratio", "maintenance", "disabled", "revision", "max_detector_count_rate_hz", "max_detector_dark_count_rate_hz", "min_detector_efficiency_ratio", "max_detector_temperature_celsius", "min_detector_bias_volts", "max_detector_bias_volts", "etag")
    NAME_FIELD_NUMBER: _ClassVar[int]
    A_NODE_FIELD_NUMBER: _ClassVar[int]
    B_NODE_FIELD_NUMBER: _ClassVar[int]
    TECHNOLOGY_FIELD_NUMBER: _ClassVar[int]
    LENGTH_KM_FIELD_NUMBER: _ClassVar[int]
    RISK_GROUPS_FIELD_NUMBER: _ClassVar[int]
    ABORT_QBER_RATIO_FIELD_NUMBER: _ClassVar[int]
    DEGRADED_QBER_RATIO_FIELD_NUMBER: _ClassVar[int]
    MAINTENANCE_FIELD_NUMBER: _ClassVar[int]
    DISABLED_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    MAX_DETECTOR_COUNT_RATE_HZ_FIELD_NUMBER: _ClassVar[int]
    MAX_DETECTOR_DARK_COUNT_RATE_HZ_FIELD_NUMBER: _ClassVar[int]
    MIN_DETECTOR_EFFICIENCY_RATIO_FIELD_NUMBER: _ClassVar[int]
    MAX_DETECTOR_TEMPERATURE_CELSIUS_FIELD_NUMBER: _ClassVar[int]
    MIN_DETECTOR_BIAS_VOLTS_FIELD_NUMBER: _ClassVar[int]
    MAX_DETECTOR_BIAS_VOLTS_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    name: str
    a_node: str
    b_node: str
    technology: LinkTechnology
    length_km: float
    risk_groups: _containers.RepeatedScalarFieldContainer[str]
    abort_qber_ratio: float
    degraded_qber_ratio: float
    maintenance: bool
    disabled: bool
    revision: int
    max_detector_count_rate_hz: float
    max_detector_dark_count_rate_hz: float
    min_detector_efficiency_ratio: float
    max_detector_temperature_celsius: float
    min_detector_bias_volts: float
    max_detector_bias_volts: float
    etag: str
    def __init__(self, name: _Optional[str] = ..., a_node: _Optional[str] = ..., b_node: _Optional[str] = ..., technology: _Optional[_Union[LinkTechnology, str]] = ..., length_km: _Optional[float] = ..., risk_groups: _Optional[_Iterable[str]] = ..., abort_qber_ratio: _Optional[float] = ..., degraded_qber_ratio: _Optional[float] = ..., maintenance: _Optional[bool] = ..., disabled: _Optional[bool] = ..., revision: _Optional[int] = ..., max_detector_count_rate_hz: _Optional[float] = ..., max_detector_dark_count_rate_hz: _Optional[float] = ..., min_detector_efficiency_ratio: _Optional[float] = ..., max_detector_temperature_celsius: _Optional[float] = ..., min_detector_bias_volts: _Optional[float] = ..., max_detector_bias_volts: _Optional[float] = ..., etag: _Optional[str] = ...) -> None: ...

class Stream(_message.Message):
    __slots__ = ("name", "source_node", "target_node", "source_sae", "target_sae", "min_rate_bps", "max_rate_bps", "priority", "key_size_bits", "k", "min_k", "require_qkd", "require_pqc", "accept_strongest_available", "max_hops", "max_trusted_nodes", "avoid_nodes", "allowed_trust_domains", "tenant", "application_class", "refresh_seconds", "key_ttl_seconds", "on_exhaustion", "buffer_keys", "pqc_only", "revision", "etag")
    NAME_FIELD_NUMBER: _ClassVar[int]
    SOURCE_NODE_FIELD_NUMBER: _ClassVar[int]
    TARGET_NODE_FIELD_NUMBER: _ClassVar[int]
    SOURCE_SAE_FIELD_NUMBER: _ClassVar[int]
    TARGET_SAE_FIELD_NUMBER: _ClassVar[int]
    MIN_RATE_BPS_FIELD_NUMBER: _ClassVar[int]
    MAX_RATE_BPS_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    KEY_SIZE_BITS_FIELD_NUMBER: _ClassVar[int]
    K_FIELD_NUMBER: _ClassVar[int]
    MIN_K_FIELD_NUMBER: _ClassVar[int]
    REQUIRE_QKD_FIELD_NUMBER: _ClassVar[int]
    REQUIRE_PQC_FIELD_NUMBER: _ClassVar[int]
    ACCEPT_STRONGEST_AVAILABLE_FIELD_NUMBER: _ClassVar[int]
    MAX_HOPS_FIELD_NUMBER: _ClassVar[int]
    MAX_TRUSTED_NODES_FIELD_NUMBER: _ClassVar[int]
    AVOID_NODES_FIELD_NUMBER: _ClassVar[int]
    ALLOWED_TRUST_DOMAINS_FIELD_NUMBER: _ClassVar[int]
    TENANT_FIELD_NUMBER: _ClassVar[int]
    APPLICATION_CLASS_FIELD_NUMBER: _ClassVar[int]
    REFRESH_SECONDS_FIELD_NUMBER: _ClassVar[int]
    KEY_TTL_SECONDS_FIELD_NUMBER: _ClassVar[int]
    ON_EXHAUSTION_FIELD_NUMBER: _ClassVar[int]
    BUFFER_KEYS_FIELD_NUMBER: _ClassVar[int]
    PQC_ONLY_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    name: str
    source_node: str
    target_node: str
    source_sae: str
    target_sae: str
    min_rate_bps: int
    max_rate_bps: int
    priority: int
    key_size_bits: int
    k: int
    min_k: int
    require_qkd: bool
    require_pqc: bool
    accept_strongest_available: bool
    max_hops: int
    max_trusted_nodes: int
    avoid_nodes: _containers.RepeatedScalarFieldContainer[str]
    allowed_trust_domains: _containers.RepeatedScalarFieldContainer[str]
    tenant: str
    application_class: str
    refresh_seconds: int
    key_ttl_seconds: int
    on_exhaustion: OnExhaustion
    buffer_keys: int
    pqc_only: bool
    revision: int
    etag: str
    def __init__(self, name: _Optional[str] = ..., source_node: _Optional[str] = ..., target_node: _Optional[str] = ..., source_sae: _Optional[str] = ..., target_sae: _Optional[str] = ..., min_rate_bps: _Optional[int] = ..., max_rate_bps: _Optional[int] = ..., priority: _Optional[int] = ..., key_size_bits: _Optional[int] = ..., k: _Optional[int] = ..., min_k: _Optional[int] = ..., require_qkd: _Optional[bool] = ..., require_pqc: _Optional[bool] = ..., accept_strongest_available: _Optional[bool] = ..., max_hops: _Optional[int] = ..., max_trusted_nodes: _Optional[int] = ..., avoid_nodes: _Optional[_Iterable[str]] = ..., allowed_trust_domains: _Optional[_Iterable[str]] = ..., tenant: _Optional[str] = ..., application_class: _Optional[str] = ..., refresh_seconds: _Optional[int] = ..., key_ttl_seconds: _Optional[int] = ..., on_exhaustion: _Optional[_Union[OnExhaustion, str]] = ..., buffer_keys: _Optional[int] = ..., pqc_only: _Optional[bool] = ..., revision: _Optional[int] = ..., etag: _Optional[str] = ...) -> None: ...

class Maintenance(_message.Message):
    __slots__ = ("name", "links", "nodes", "start_unix_nanos", "end_unix_nanos", "lead_seconds", "reason", "revision", "etag")
    NAME_FIELD_NUMBER: _ClassVar[int]
    LINKS_FIELD_NUMBER: _ClassVar[int]
    NODES_FIELD_NUMBER: _ClassVar[int]
    START_UNIX_NANOS_FIELD_NUMBER: _ClassVar[int]
    END_UNIX_NANOS_FIELD_NUMBER: _ClassVar[int]
    LEAD_SECONDS_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    name: str
    links: _containers.RepeatedScalarFieldContainer[str]
    nodes: _containers.RepeatedScalarFieldContainer[str]
    start_unix_nanos: int
    end_unix_nanos: int
    lead_seconds: int
    reason: str
    revision: int
    etag: str
    def __init__(self, name: _Optional[str] = ..., links: _Optional[_Iterable[str]] = ..., nodes: _Optional[_Iterable[str]] = ..., start_unix_nanos: _Optional[int] = ..., end_unix_nanos: _Optional[int] = ..., lead_seconds: _Optional[int] = ..., reason: _Optional[str] = ..., revision: _Optional[int] = ..., etag: _Optional[str] = ...) -> None: ...

class Schedule(_message.Message):
    __slots__ = ("name", "tenant", "application_class", "refresh_seconds", "key_ttl_seconds", "times", "revision", "etag")
    NAME_FIELD_NUMBER: _ClassVar[int]
    TENANT_FIELD_NUMBER: _ClassVar[int]
    APPLICATION_CLASS_FIELD_NUMBER: _ClassVar[int]
    REFRESH_SECONDS_FIELD_NUMBER: _ClassVar[int]
    KEY_TTL_SECONDS_FIELD_NUMBER: _ClassVar[int]
    TIMES_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    name: str
    tenant: str
    application_class: str
    refresh_seconds: int
    key_ttl_seconds: int
    times: _containers.RepeatedScalarFieldContainer[str]
    revision: int
    etag: str
    def __init__(self, name: _Optional[str] = ..., tenant: _Optional[str] = ..., application_class: _Optional[str] = ..., refresh_seconds: _Optional[int] = ..., key_ttl_seconds: _Optional[int] = ..., times: _Optional[_Iterable[str]] = ..., revision: _Optional[int] = ..., etag: _Optional[str] = ...) -> None: ...

class Hop(_message.Message):
    __slots__ = ("link", "from_node", "to_node")
    LINK_FIELD_NUMBER: _ClassVar[int]
    FROM_NODE_FIELD_NUMBER: _ClassVar[int]
    TO_NODE_FIELD_NUMBER: _ClassVar[int]
    link: str
    from_node: str
    to_node: str
    def __init__(self, link: _Optional[str] = ..., from_node: _Optional[str] = ..., to_node: _Optional[str] = ...) -> None: ...

class Path(_message.Message):
    __slots__ = ("path_id", "hops")
    PATH_ID_FIELD_NUMBER: _ClassVar[int]
    HOPS_FIELD_NUMBER: _ClassVar[int]
    path_id: str
    hops: _containers.RepeatedCompositeFieldContainer[Hop]
    def __init__(self, path_id: _Optional[str] = ..., hops: _Optional[_Iterable[_Union[Hop, _Mapping]]] = ...) -> None: ...

class PathSet(_message.Message):
    __slots__ = ("rank", "rate_bps", "paths", "reason")
    RANK_FIELD_NUMBER: _ClassVar[int]
    RATE_BPS_FIELD_NUMBER: _ClassVar[int]
    PATHS_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    rank: int
    rate_bps: int
    paths: _containers.RepeatedCompositeFieldContainer[Path]
    reason: str
    def __init__(self, rank: _Optional[int] = ..., rate_bps: _Optional[int] = ..., paths: _Optional[_Iterable[_Union[Path, _Mapping]]] = ..., reason: _Optional[str] = ...) -> None: ...

class LedgerEntry(_message.Message):
    __slots__ = ("sequence", "time_unix_nanos", "node", "stream", "key_id", "key_size_bits", "master_sae", "slave_sae", "is_master", "peer_node", "protection", "path_ids", "links", "trusted_nodes", "emulated", "outcome", "reason", "created_unix_nanos", "chain_digest", "vendor_domains")
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    TIME_UNIX_NANOS_FIELD_NUMBER: _ClassVar[int]
    NODE_FIELD_NUMBER: _ClassVar[int]
    STREAM_FIELD_NUMBER: _ClassVar[int]
    KEY_ID_FIELD_NUMBER: _ClassVar[int]
    KEY_SIZE_BITS_FIELD_NUMBER: _ClassVar[int]
    MASTER_SAE_FIELD_NUMBER: _ClassVar[int]
    SLAVE_SAE_FIELD_NUMBER: _ClassVar[int]
    IS_MASTER_FIELD_NUMBER: _ClassVar[int]
    PEER_NODE_FIELD_NUMBER: _ClassVar[int]
    PROTECTION_FIELD_NUMBER: _ClassVar[int]
    PATH_IDS_FIELD_NUMBER: _ClassVar[int]
    LINKS_FIELD_NUMBER: _ClassVar[int]
    TRUSTED_NODES_FIELD_NUMBER: _ClassVar[int]
    EMULATED_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    CREATED_UNIX_NANOS_FIELD_NUMBER: _ClassVar[int]
    CHAIN_DIGEST_FIELD_NUMBER: _ClassVar[int]
    VENDOR_DOMAINS_FIELD_NUMBER: _ClassVar[int]
    sequence: int
    time_unix_nanos: int
    node: str
    stream: str
    key_id: str
    key_size_bits: int
    master_sae: str
    slave_sae: str
    is_master: bool
    peer_node: str
    protection: Protection
    path_ids: _containers.RepeatedScalarFieldContainer[str]
    links: _containers.RepeatedScalarFieldContainer[str]
    trusted_nodes: _containers.RepeatedScalarFieldContainer[str]
    emulated: bool
    outcome: LedgerOutcome
    reason: str
    created_unix_nanos: int
    chain_digest: bytes
    vendor_domains: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, sequence: _Optional[int] = ..., time_unix_nanos: _Optional[int] = ..., node: _Optional[str] = ..., stream: _Optional[str] = ..., key_id: _Optional[str] = ..., key_size_bits: _Optional[int] = ..., master_sae: _Optional[str] = ..., slave_sae: _Optional[str] = ..., is_master: _Optional[bool] = ..., peer_node: _Optional[str] = ..., protection: _Optional[_Union[Protection, str]] = ..., path_ids: _Optional[_Iterable[str]] = ..., links: _Optional[_Iterable[str]] = ..., trusted_nodes: _Optional[_Iterable[str]] = ..., emulated: _Optional[bool] = ..., outcome: _Optional[_Union[LedgerOutcome, str]] = ..., reason: _Optional[str] = ..., created_unix_nanos: _Optional[int] = ..., chain_digest: _Optional[bytes] = ..., vendor_domains: _Optional[_Iterable[str]] = ...) -> None: ...
