from buf.validate import validate_pb2 as _validate_pb2
from google.protobuf import field_mask_pb2 as _field_mask_pb2
from keyweave.v1 import agent_pb2 as _agent_pb2
from keyweave.v1 import history_pb2 as _history_pb2
from keyweave.v1 import pairs_pb2 as _pairs_pb2
from keyweave.v1 import types_pb2 as _types_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class EventSeverity(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    EVENT_SEVERITY_UNSPECIFIED: _ClassVar[EventSeverity]
    EVENT_SEVERITY_INFO: _ClassVar[EventSeverity]
    EVENT_SEVERITY_MINOR: _ClassVar[EventSeverity]
    EVENT_SEVERITY_MAJOR: _ClassVar[EventSeverity]

class CapacityGoal(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CAPACITY_GOAL_UNSPECIFIED: _ClassVar[CapacityGoal]
    CAPACITY_GOAL_WORST_STREAM: _ClassVar[CapacityGoal]
    CAPACITY_GOAL_PROTECTED: _ClassVar[CapacityGoal]
    CAPACITY_GOAL_TOTAL: _ClassVar[CapacityGoal]

class StreamEffect(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    STREAM_EFFECT_UNSPECIFIED: _ClassVar[StreamEffect]
    STREAM_EFFECT_ENDS: _ClassVar[StreamEffect]
    STREAM_EFFECT_FAILS_CLOSED: _ClassVar[StreamEffect]
    STREAM_EFFECT_PQC_ONLY: _ClassVar[StreamEffect]
    STREAM_EFFECT_BELOW_MINIMUM: _ClassVar[StreamEffect]
    STREAM_EFFECT_FEWER_PATHS: _ClassVar[StreamEffect]
    STREAM_EFFECT_SLOWER: _ClassVar[StreamEffect]
    STREAM_EFFECT_MOVED: _ClassVar[StreamEffect]
    STREAM_EFFECT_FASTER: _ClassVar[StreamEffect]
    STREAM_EFFECT_RECOVERS: _ClassVar[StreamEffect]

class MaintenancePhase(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    MAINTENANCE_PHASE_UNSPECIFIED: _ClassVar[MaintenancePhase]
    MAINTENANCE_PHASE_PLANNED: _ClassVar[MaintenancePhase]
    MAINTENANCE_PHASE_LEAVING: _ClassVar[MaintenancePhase]
    MAINTENANCE_PHASE_UNDER_WAY: _ClassVar[MaintenancePhase]
    MAINTENANCE_PHASE_OVER: _ClassVar[MaintenancePhase]

class PairStreamState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PAIR_STREAM_STATE_UNSPECIFIED: _ClassVar[PairStreamState]
    PAIR_STREAM_STATE_UNMET: _ClassVar[PairStreamState]
    PAIR_STREAM_STATE_PARTLY_MET: _ClassVar[PairStreamState]
    PAIR_STREAM_STATE_MET: _ClassVar[PairStreamState]
    PAIR_STREAM_STATE_ENDED: _ClassVar[PairStreamState]
EVENT_SEVERITY_UNSPECIFIED: EventSeverity
EVENT_SEVERITY_INFO: EventSeverity
EVENT_SEVERITY_MINOR: EventSeverity
EVENT_SEVERITY_MAJOR: EventSeverity
CAPACITY_GOAL_UNSPECIFIED: CapacityGoal
CAPACITY_GOAL_WORST_STREAM: CapacityGoal
CAPACITY_GOAL_PROTECTED: CapacityGoal
CAPACITY_GOAL_TOTAL: CapacityGoal
STREAM_EFFECT_UNSPECIFIED: StreamEffect
STREAM_EFFECT_ENDS: StreamEffect
STREAM_EFFECT_FAILS_CLOSED: StreamEffect
STREAM_EFFECT_PQC_ONLY: StreamEffect
STREAM_EFFECT_BELOW_MINIMUM: StreamEffect
STREAM_EFFECT_FEWER_PATHS: StreamEffect
STREAM_EFFECT_SLOWER: StreamEffect
STREAM_EFFECT_MOVED: StreamEffect
STREAM_EFFECT_FASTER: StreamEffect
STREAM_EFFECT_RECOVERS: StreamEffect
MAINTENANCE_PHASE_UNSPECIFIED: MaintenancePhase
MAINTENANCE_PHASE_PLANNED: MaintenancePhase
MAINTENANCE_PHASE_LEAVING: MaintenancePhase
MAINTENANCE_PHASE_UNDER_WAY: MaintenancePhase
MAINTENANCE_PHASE_OVER: MaintenancePhase
PAIR_STREAM_STATE_UNSPECIFIED: PairStreamState
PAIR_STREAM_STATE_UNMET: PairStreamState
PAIR_STREAM_STATE_PARTLY_MET: PairStreamState
PAIR_STREAM_STATE_MET: PairStreamState
PAIR_STREAM_STATE_ENDED: PairStreamState

class NodeStatus(_message.Message):
    __slots__ = ("node", "connected", "connected_since_unix_nanos", "software_version", "kme_url", "desired_policy", "applied_policy", "nacked_rules", "dropped_samples_total", "guard_digest", "withheld_rules")
    NODE_FIELD_NUMBER: _ClassVar[int]
    CONNECTED_FIELD_NUMBER: _ClassVar[int]
    CONNECTED_SINCE_UNIX_NANOS_FIELD_NUMBER: _ClassVar[int]
    SOFTWARE_VERSION_FIELD_NUMBER: _ClassVar[int]
    KME_URL_FIELD_NUMBER: _ClassVar[int]
    DESIRED_POLICY_FIELD_NUMBER: _ClassVar[int]
    APPLIED_POLICY_FIELD_NUMBER: _ClassVar[int]
    NACKED_RULES_FIELD_NUMBER: _ClassVar[int]
    DROPPED_SAMPLES_TOTAL_FIELD_NUMBER: _ClassVar[int]
    GUARD_DIGEST_FIELD_NUMBER: _ClassVar[int]
    WITHHELD_RULES_FIELD_NUMBER: _ClassVar[int]
    node: _types_pb2.Node
    connected: bool
    connected_since_unix_nanos: int
    software_version: str
    kme_url: str
    desired_policy: _agent_pb2.PolicyVersion
    applied_policy: _agent_pb2.PolicyVersion
    nacked_rules: _containers.RepeatedCompositeFieldContainer[_agent_pb2.RuleStatus]
    dropped_samples_total: int
    guard_digest: bytes
    withheld_rules: _containers.RepeatedCompositeFieldContainer[_agent_pb2.RuleStatus]
    def __init__(self, node: _Optional[_Union[_types_pb2.Node, _Mapping]] = ..., connected: _Optional[bool] = ..., connected_since_unix_nanos: _Optional[int] = ..., software_version: _Optional[str] = ..., kme_url: _Optional[str] = ..., desired_policy: _Optional[_Union[_agent_pb2.PolicyVersion, _Mapping]] = ..., applied_policy: _Optional[_Union[_agent_pb2.PolicyVersion, _Mapping]] = ..., nacked_rules: _Optional[_Iterable[_Union[_agent_pb2.RuleStatus, _Mapping]]] = ..., dropped_samples_total: _Optional[int] = ..., guard_digest: _Optional[bytes] = ..., withheld_rules: _Optional[_Iterable[_Union[_agent_pb2.RuleStatus, _Mapping]]] = ...) -> None: ...

class LinkState(_message.Message):
    __slots__ = ("link", "status", "condition", "reason", "qber_ratio", "skr_bps", "usable_rate_bps", "loss_db", "pool_bits", "condition_since_unix_nanos", "emulated", "planned_bps", "held_bits", "intake_bps", "diagnosis", "evidence", "next_contact", "vendor_domain")
    LINK_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    CONDITION_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    QBER_RATIO_FIELD_NUMBER: _ClassVar[int]
    SKR_BPS_FIELD_NUMBER: _ClassVar[int]
    USABLE_RATE_BPS_FIELD_NUMBER: _ClassVar[int]
    LOSS_DB_FIELD_NUMBER: _ClassVar[int]
    POOL_BITS_FIELD_NUMBER: _ClassVar[int]
    CONDITION_SINCE_UNIX_NANOS_FIELD_NUMBER: _ClassVar[int]
    EMULATED_FIELD_NUMBER: _ClassVar[int]
    PLANNED_BPS_FIELD_NUMBER: _ClassVar[int]
    HELD_BITS_FIELD_NUMBER: _ClassVar[int]
    INTAKE_BPS_FIELD_NUMBER: _ClassVar[int]
    DIAGNOSIS_FIELD_NUMBER: _ClassVar[int]
    EVIDENCE_FIELD_NUMBER: _ClassVar[int]
    NEXT_CONTACT_FIELD_NUMBER: _ClassVar[int]
    VENDOR_DOMAIN_FIELD_NUMBER: _ClassVar[int]
    link: _types_pb2.Link
    status: _types_pb2.LinkStatus
    condition: _types_pb2.LinkCondition
    reason: str
    qber_ratio: float
    skr_bps: float
    usable_rate_bps: float
    loss_db: float
    pool_bits: int
    condition_since_unix_nanos: int
    emulated: bool
    planned_bps: float
    held_bits: int
    intake_bps: float
    diagnosis: str
    evidence: _containers.RepeatedScalarFieldContainer[str]
    next_contact: _agent_pb2.ContactWindow
    vendor_domain: str
    def __init__(self, link: _Optional[_Union[_types_pb2.Link, _Mapping]] = ..., status: _Optional[_Union[_types_pb2.LinkStatus, str]] = ..., condition: _Optional[_Union[_types_pb2.LinkCondition, str]] = ..., reason: _Optional[str] = ..., qber_ratio: _Optional[float] = ..., skr_bps: _Optional[float] = ..., usable_rate_bps: _Optional[float] = ..., loss_db: _Optional[float] = ..., pool_bits: _Optional[int] = ..., condition_since_unix_nanos: _Optional[int] = ..., emulated: _Optional[bool] = ..., planned_bps: _Optional[float] = ..., held_bits: _Optional[int] = ..., intake_bps: _Optional[float] = ..., diagnosis: _Optional[str] = ..., evidence: _Optional[_Iterable[str]] = ..., next_contact: _Optional[_Union[_agent_pb2.ContactWindow, _Mapping]] = ..., vendor_domain: _Optional[str] = ...) -> None: ...

class Order(_message.Message):
    __slots__ = ("order_id", "kind", "node", "link", "ordered_unix_nanos", "ordered_by", "waiting_for_nodes")
    ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    NODE_FIELD_NUMBER: _ClassVar[int]
    LINK_FIELD_NUMBER: _ClassVar[int]
    ORDERED_UNIX_NANOS_FIELD_NUMBER: _ClassVar[int]
    ORDERED_BY_FIELD_NUMBER: _ClassVar[int]
    WAITING_FOR_NODES_FIELD_NUMBER: _ClassVar[int]
    order_id: str
    kind: _types_pb2.OrderKind
    node: str
    link: str
    ordered_unix_nanos: int
    ordered_by: str
    waiting_for_nodes: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, order_id: _Optional[str] = ..., kind: _Optional[_Union[_types_pb2.OrderKind, str]] = ..., node: _Optional[str] = ..., link: _Optional[str] = ..., ordered_unix_nanos: _Optional[int] = ..., ordered_by: _Optional[str] = ..., waiting_for_nodes: _Optional[_Iterable[str]] = ...) -> None: ...

class ClearLinkRequest(_message.Message):
    __slots__ = ("name", "request_id")
    NAME_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    name: str
    request_id: str
    def __init__(self, name: _Optional[str] = ..., request_id: _Optional[str] = ...) -> None: ...

class ClearLinkResponse(_message.Message):
    __slots__ = ("order",)
    ORDER_FIELD_NUMBER: _ClassVar[int]
    order: Order
    def __init__(self, order: _Optional[_Union[Order, _Mapping]] = ...) -> None: ...

class CalibrateLinkRequest(_message.Message):
    __slots__ = ("name", "request_id")
    NAME_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    name: str
    request_id: str
    def __init__(self, name: _Optional[str] = ..., request_id: _Optional[str] = ...) -> None: ...

class CalibrateLinkResponse(_message.Message):
    __slots__ = ("order",)
    ORDER_FIELD_NUMBER: _ClassVar[int]
    order: Order
    def __init__(self, order: _Optional[_Union[Order, _Mapping]] = ...) -> None: ...

class DestroyLinkRequest(_message.Message):
    __slots__ = ("name", "request_id")
    NAME_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    name: str
    request_id: str
    def __init__(self, name: _Optional[str] = ..., request_id: _Optional[str] = ...) -> None: ...

class DestroyLinkResponse(_message.Message):
    __slots__ = ("order",)
    ORDER_FIELD_NUMBER: _ClassVar[int]
    order: Order
    def __init__(self, order: _Optional[_Union[Order, _Mapping]] = ...) -> None: ...

class ZeroizeNodeRequest(_message.Message):
    __slots__ = ("name", "request_id")
    NAME_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    name: str
    request_id: str
    def __init__(self, name: _Optional[str] = ..., request_id: _Optional[str] = ...) -> None: ...

class ZeroizeNodeResponse(_message.Message):
    __slots__ = ("order",)
    ORDER_FIELD_NUMBER: _ClassVar[int]
    order: Order
    def __init__(self, order: _Optional[_Union[Order, _Mapping]] = ...) -> None: ...

class ShowLedgerRequest(_message.Message):
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

class ShowLedgerResponse(_message.Message):
    __slots__ = ("entries", "node", "problem")
    ENTRIES_FIELD_NUMBER: _ClassVar[int]
    NODE_FIELD_NUMBER: _ClassVar[int]
    PROBLEM_FIELD_NUMBER: _ClassVar[int]
    entries: _containers.RepeatedCompositeFieldContainer[_types_pb2.LedgerEntry]
    node: str
    problem: str
    def __init__(self, entries: _Optional[_Iterable[_Union[_types_pb2.LedgerEntry, _Mapping]]] = ..., node: _Optional[str] = ..., problem: _Optional[str] = ...) -> None: ...

class StreamStatus(_message.Message):
    __slots__ = ("stream", "plan", "protection", "path_ids", "delivered_bps", "buffered_keys", "served_qkd_total", "served_hybrid_total", "served_pqc_total", "failovers_total", "last_failover_seconds", "refresh_seconds", "refresh_from", "key_ttl_seconds", "key_ttl_from")
    STREAM_FIELD_NUMBER: _ClassVar[int]
    PLAN_FIELD_NUMBER: _ClassVar[int]
    PROTECTION_FIELD_NUMBER: _ClassVar[int]
    PATH_IDS_FIELD_NUMBER: _ClassVar[int]
    DELIVERED_BPS_FIELD_NUMBER: _ClassVar[int]
    BUFFERED_KEYS_FIELD_NUMBER: _ClassVar[int]
    SERVED_QKD_TOTAL_FIELD_NUMBER: _ClassVar[int]
    SERVED_HYBRID_TOTAL_FIELD_NUMBER: _ClassVar[int]
    SERVED_PQC_TOTAL_FIELD_NUMBER: _ClassVar[int]
    FAILOVERS_TOTAL_FIELD_NUMBER: _ClassVar[int]
    LAST_FAILOVER_SECONDS_FIELD_NUMBER: _ClassVar[int]
    REFRESH_SECONDS_FIELD_NUMBER: _ClassVar[int]
    REFRESH_FROM_FIELD_NUMBER: _ClassVar[int]
    KEY_TTL_SECONDS_FIELD_NUMBER: _ClassVar[int]
    KEY_TTL_FROM_FIELD_NUMBER: _ClassVar[int]
    stream: _types_pb2.Stream
    plan: StreamPlan
    protection: _types_pb2.Protection
    path_ids: _containers.RepeatedScalarFieldContainer[str]
    delivered_bps: float
    buffered_keys: int
    served_qkd_total: int
    served_hybrid_total: int
    served_pqc_total: int
    failovers_total: int
    last_failover_seconds: float
    refresh_seconds: int
    refresh_from: str
    key_ttl_seconds: int
    key_ttl_from: str
    def __init__(self, stream: _Optional[_Union[_types_pb2.Stream, _Mapping]] = ..., plan: _Optional[_Union[StreamPlan, _Mapping]] = ..., protection: _Optional[_Union[_types_pb2.Protection, str]] = ..., path_ids: _Optional[_Iterable[str]] = ..., delivered_bps: _Optional[float] = ..., buffered_keys: _Optional[int] = ..., served_qkd_total: _Optional[int] = ..., served_hybrid_total: _Optional[int] = ..., served_pqc_total: _Optional[int] = ..., failovers_total: _Optional[int] = ..., last_failover_seconds: _Optional[float] = ..., refresh_seconds: _Optional[int] = ..., refresh_from: _Optional[str] = ..., key_ttl_seconds: _Optional[int] = ..., key_ttl_from: _Optional[str] = ...) -> None: ...

class StreamPlan(_message.Message):
    __slots__ = ("stream", "rate_bps", "path_sets", "reason", "unmet")
    STREAM_FIELD_NUMBER: _ClassVar[int]
    RATE_BPS_FIELD_NUMBER: _ClassVar[int]
    PATH_SETS_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    UNMET_FIELD_NUMBER: _ClassVar[int]
    stream: str
    rate_bps: float
    path_sets: _containers.RepeatedCompositeFieldContainer[_types_pb2.PathSet]
    reason: str
    unmet: str
    def __init__(self, stream: _Optional[str] = ..., rate_bps: _Optional[float] = ..., path_sets: _Optional[_Iterable[_Union[_types_pb2.PathSet, _Mapping]]] = ..., reason: _Optional[str] = ..., unmet: _Optional[str] = ...) -> None: ...

class Plan(_message.Message):
    __slots__ = ("version", "snapshot_version", "time_unix_nanos", "streams")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    SNAPSHOT_VERSION_FIELD_NUMBER: _ClassVar[int]
    TIME_UNIX_NANOS_FIELD_NUMBER: _ClassVar[int]
    STREAMS_FIELD_NUMBER: _ClassVar[int]
    version: int
    snapshot_version: int
    time_unix_nanos: int
    streams: _containers.RepeatedCompositeFieldContainer[StreamPlan]
    def __init__(self, version: _Optional[int] = ..., snapshot_version: _Optional[int] = ..., time_unix_nanos: _Optional[int] = ..., streams: _Optional[_Iterable[_Union[StreamPlan, _Mapping]]] = ...) -> None: ...

class Event(_message.Message):
    __slots__ = ("id", "time_unix_nanos", "severity", "kind", "node", "link", "stream", "message", "fields")
    class FieldsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    ID_FIELD_NUMBER: _ClassVar[int]
    TIME_UNIX_NANOS_FIELD_NUMBER: _ClassVar[int]
    SEVERITY_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    NODE_FIELD_NUMBER: _ClassVar[int]
    LINK_FIELD_NUMBER: _ClassVar[int]
    STREAM_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    FIELDS_FIELD_NUMBER: _ClassVar[int]
    id: int
    time_unix_nanos: int
    severity: EventSeverity
    kind: str
    node: str
    link: str
    stream: str
    message: str
    fields: _containers.ScalarMap[str, str]
    def __init__(self, id: _Optional[int] = ..., time_unix_nanos: _Optional[int] = ..., severity: _Optional[_Union[EventSeverity, str]] = ..., kind: _Optional[str] = ..., node: _Optional[str] = ..., link: _Optional[str] = ..., stream: _Optional[str] = ..., message: _Optional[str] = ..., fields: _Optional[_Mapping[str, str]] = ...) -> None: ...

class ExplainStreamRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class ExplainStreamResponse(_message.Message):
    __slots__ = ("status", "trusted_nodes", "lines")
    STATUS_FIELD_NUMBER: _ClassVar[int]
    TRUSTED_NODES_FIELD_NUMBER: _ClassVar[int]
    LINES_FIELD_NUMBER: _ClassVar[int]
    status: StreamStatus
    trusted_nodes: _containers.RepeatedScalarFieldContainer[str]
    lines: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, status: _Optional[_Union[StreamStatus, _Mapping]] = ..., trusted_nodes: _Optional[_Iterable[str]] = ..., lines: _Optional[_Iterable[str]] = ...) -> None: ...

class GetPolicyRequest(_message.Message):
    __slots__ = ("node",)
    NODE_FIELD_NUMBER: _ClassVar[int]
    node: str
    def __init__(self, node: _Optional[str] = ...) -> None: ...

class GetPolicyResponse(_message.Message):
    __slots__ = ("connected", "desired", "applied", "rules", "nacked_rules", "withheld_rules")
    CONNECTED_FIELD_NUMBER: _ClassVar[int]
    DESIRED_FIELD_NUMBER: _ClassVar[int]
    APPLIED_FIELD_NUMBER: _ClassVar[int]
    RULES_FIELD_NUMBER: _ClassVar[int]
    NACKED_RULES_FIELD_NUMBER: _ClassVar[int]
    WITHHELD_RULES_FIELD_NUMBER: _ClassVar[int]
    connected: bool
    desired: _agent_pb2.PolicyVersion
    applied: _agent_pb2.PolicyVersion
    rules: _containers.RepeatedCompositeFieldContainer[_agent_pb2.Rule]
    nacked_rules: _containers.RepeatedCompositeFieldContainer[_agent_pb2.RuleStatus]
    withheld_rules: _containers.RepeatedCompositeFieldContainer[_agent_pb2.RuleStatus]
    def __init__(self, connected: _Optional[bool] = ..., desired: _Optional[_Union[_agent_pb2.PolicyVersion, _Mapping]] = ..., applied: _Optional[_Union[_agent_pb2.PolicyVersion, _Mapping]] = ..., rules: _Optional[_Iterable[_Union[_agent_pb2.Rule, _Mapping]]] = ..., nacked_rules: _Optional[_Iterable[_Union[_agent_pb2.RuleStatus, _Mapping]]] = ..., withheld_rules: _Optional[_Iterable[_Union[_agent_pb2.RuleStatus, _Mapping]]] = ...) -> None: ...

class GetPlanRequest(_message.Message):
    __slots__ = ("version",)
    VERSION_FIELD_NUMBER: _ClassVar[int]
    version: int
    def __init__(self, version: _Optional[int] = ...) -> None: ...

class GetPlanResponse(_message.Message):
    __slots__ = ("plan", "pin")
    PLAN_FIELD_NUMBER: _ClassVar[int]
    PIN_FIELD_NUMBER: _ClassVar[int]
    plan: Plan
    pin: PlanPin
    def __init__(self, plan: _Optional[_Union[Plan, _Mapping]] = ..., pin: _Optional[_Union[PlanPin, _Mapping]] = ...) -> None: ...

class AnalysePlanRequest(_message.Message):
    __slots__ = ("what_if", "sweep", "capacity")
    WHAT_IF_FIELD_NUMBER: _ClassVar[int]
    SWEEP_FIELD_NUMBER: _ClassVar[int]
    CAPACITY_FIELD_NUMBER: _ClassVar[int]
    what_if: WhatIf
    sweep: FailureSweep
    capacity: CapacitySearch
    def __init__(self, what_if: _Optional[_Union[WhatIf, _Mapping]] = ..., sweep: _Optional[_Union[FailureSweep, _Mapping]] = ..., capacity: _Optional[_Union[CapacitySearch, _Mapping]] = ...) -> None: ...

class WhatIf(_message.Message):
    __slots__ = ("changes",)
    CHANGES_FIELD_NUMBER: _ClassVar[int]
    changes: _containers.RepeatedCompositeFieldContainer[WhatIfChange]
    def __init__(self, changes: _Optional[_Iterable[_Union[WhatIfChange, _Mapping]]] = ...) -> None: ...

class WhatIfChange(_message.Message):
    __slots__ = ("cut_link", "down_node", "add_link")
    CUT_LINK_FIELD_NUMBER: _ClassVar[int]
    DOWN_NODE_FIELD_NUMBER: _ClassVar[int]
    ADD_LINK_FIELD_NUMBER: _ClassVar[int]
    cut_link: str
    down_node: str
    add_link: SupposedLink
    def __init__(self, cut_link: _Optional[str] = ..., down_node: _Optional[str] = ..., add_link: _Optional[_Union[SupposedLink, _Mapping]] = ...) -> None: ...

class SupposedLink(_message.Message):
    __slots__ = ("a_node", "b_node", "rate_bps", "length_km")
    A_NODE_FIELD_NUMBER: _ClassVar[int]
    B_NODE_FIELD_NUMBER: _ClassVar[int]
    RATE_BPS_FIELD_NUMBER: _ClassVar[int]
    LENGTH_KM_FIELD_NUMBER: _ClassVar[int]
    a_node: str
    b_node: str
    rate_bps: float
    length_km: float
    def __init__(self, a_node: _Optional[str] = ..., b_node: _Optional[str] = ..., rate_bps: _Optional[float] = ..., length_km: _Optional[float] = ...) -> None: ...

class FailureSweep(_message.Message):
    __slots__ = ("failures", "planned_at_most", "count")
    FAILURES_FIELD_NUMBER: _ClassVar[int]
    PLANNED_AT_MOST_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    failures: int
    planned_at_most: int
    count: int
    def __init__(self, failures: _Optional[int] = ..., planned_at_most: _Optional[int] = ..., count: _Optional[int] = ...) -> None: ...

class CapacitySearch(_message.Message):
    __slots__ = ("goal", "rate_bps", "max_length_km", "planned_at_most", "count")
    GOAL_FIELD_NUMBER: _ClassVar[int]
    RATE_BPS_FIELD_NUMBER: _ClassVar[int]
    MAX_LENGTH_KM_FIELD_NUMBER: _ClassVar[int]
    PLANNED_AT_MOST_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    goal: CapacityGoal
    rate_bps: float
    max_length_km: float
    planned_at_most: int
    count: int
    def __init__(self, goal: _Optional[_Union[CapacityGoal, str]] = ..., rate_bps: _Optional[float] = ..., max_length_km: _Optional[float] = ..., planned_at_most: _Optional[int] = ..., count: _Optional[int] = ...) -> None: ...

class AnalysePlanResponse(_message.Message):
    __slots__ = ("plan_version", "outcomes", "gains", "considered", "planned", "present")
    PLAN_VERSION_FIELD_NUMBER: _ClassVar[int]
    OUTCOMES_FIELD_NUMBER: _ClassVar[int]
    GAINS_FIELD_NUMBER: _ClassVar[int]
    CONSIDERED_FIELD_NUMBER: _ClassVar[int]
    PLANNED_FIELD_NUMBER: _ClassVar[int]
    PRESENT_FIELD_NUMBER: _ClassVar[int]
    plan_version: int
    outcomes: _containers.RepeatedCompositeFieldContainer[WhatIfOutcome]
    gains: _containers.RepeatedCompositeFieldContainer[CapacityGain]
    considered: int
    planned: int
    present: NetworkScore
    def __init__(self, plan_version: _Optional[int] = ..., outcomes: _Optional[_Iterable[_Union[WhatIfOutcome, _Mapping]]] = ..., gains: _Optional[_Iterable[_Union[CapacityGain, _Mapping]]] = ..., considered: _Optional[int] = ..., planned: _Optional[int] = ..., present: _Optional[_Union[NetworkScore, _Mapping]] = ...) -> None: ...

class StreamOutcome(_message.Message):
    __slots__ = ("stream", "effect", "before_bps", "after_bps", "before_k", "after_k", "at_once", "reason")
    STREAM_FIELD_NUMBER: _ClassVar[int]
    EFFECT_FIELD_NUMBER: _ClassVar[int]
    BEFORE_BPS_FIELD_NUMBER: _ClassVar[int]
    AFTER_BPS_FIELD_NUMBER: _ClassVar[int]
    BEFORE_K_FIELD_NUMBER: _ClassVar[int]
    AFTER_K_FIELD_NUMBER: _ClassVar[int]
    AT_ONCE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    stream: str
    effect: StreamEffect
    before_bps: float
    after_bps: float
    before_k: int
    after_k: int
    at_once: str
    reason: str
    def __init__(self, stream: _Optional[str] = ..., effect: _Optional[_Union[StreamEffect, str]] = ..., before_bps: _Optional[float] = ..., after_bps: _Optional[float] = ..., before_k: _Optional[int] = ..., after_k: _Optional[int] = ..., at_once: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class WhatIfOutcome(_message.Message):
    __slots__ = ("changes", "label", "streams", "lost_bps")
    CHANGES_FIELD_NUMBER: _ClassVar[int]
    LABEL_FIELD_NUMBER: _ClassVar[int]
    STREAMS_FIELD_NUMBER: _ClassVar[int]
    LOST_BPS_FIELD_NUMBER: _ClassVar[int]
    changes: _containers.RepeatedCompositeFieldContainer[WhatIfChange]
    label: str
    streams: _containers.RepeatedCompositeFieldContainer[StreamOutcome]
    lost_bps: float
    def __init__(self, changes: _Optional[_Iterable[_Union[WhatIfChange, _Mapping]]] = ..., label: _Optional[str] = ..., streams: _Optional[_Iterable[_Union[StreamOutcome, _Mapping]]] = ..., lost_bps: _Optional[float] = ...) -> None: ...

class NetworkScore(_message.Message):
    __slots__ = ("without_path", "unprotected", "worst_bps", "total_bps", "worst_stream")
    WITHOUT_PATH_FIELD_NUMBER: _ClassVar[int]
    UNPROTECTED_FIELD_NUMBER: _ClassVar[int]
    WORST_BPS_FIELD_NUMBER: _ClassVar[int]
    TOTAL_BPS_FIELD_NUMBER: _ClassVar[int]
    WORST_STREAM_FIELD_NUMBER: _ClassVar[int]
    without_path: int
    unprotected: int
    worst_bps: float
    total_bps: float
    worst_stream: str
    def __init__(self, without_path: _Optional[int] = ..., unprotected: _Optional[int] = ..., worst_bps: _Optional[float] = ..., total_bps: _Optional[float] = ..., worst_stream: _Optional[str] = ...) -> None: ...

class CapacityGain(_message.Message):
    __slots__ = ("link", "existing_link", "score")
    LINK_FIELD_NUMBER: _ClassVar[int]
    EXISTING_LINK_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    link: SupposedLink
    existing_link: str
    score: NetworkScore
    def __init__(self, link: _Optional[_Union[SupposedLink, _Mapping]] = ..., existing_link: _Optional[str] = ..., score: _Optional[_Union[NetworkScore, _Mapping]] = ...) -> None: ...

class WatchEventsRequest(_message.Message):
    __slots__ = ("past", "past_only", "resume_token")
    PAST_FIELD_NUMBER: _ClassVar[int]
    PAST_ONLY_FIELD_NUMBER: _ClassVar[int]
    RESUME_TOKEN_FIELD_NUMBER: _ClassVar[int]
    past: int
    past_only: bool
    resume_token: str
    def __init__(self, past: _Optional[int] = ..., past_only: _Optional[bool] = ..., resume_token: _Optional[str] = ...) -> None: ...

class WatchEventsResponse(_message.Message):
    __slots__ = ("event", "resume_token")
    EVENT_FIELD_NUMBER: _ClassVar[int]
    RESUME_TOKEN_FIELD_NUMBER: _ClassVar[int]
    event: Event
    resume_token: str
    def __init__(self, event: _Optional[_Union[Event, _Mapping]] = ..., resume_token: _Optional[str] = ...) -> None: ...

class GetStatusRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetStatusResponse(_message.Message):
    __slots__ = ("epoch", "read_only", "warming_up", "plan_version", "nodes", "links", "streams", "orders", "pair_links", "pair_streams", "database_problem")
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    READ_ONLY_FIELD_NUMBER: _ClassVar[int]
    WARMING_UP_FIELD_NUMBER: _ClassVar[int]
    PLAN_VERSION_FIELD_NUMBER: _ClassVar[int]
    NODES_FIELD_NUMBER: _ClassVar[int]
    LINKS_FIELD_NUMBER: _ClassVar[int]
    STREAMS_FIELD_NUMBER: _ClassVar[int]
    ORDERS_FIELD_NUMBER: _ClassVar[int]
    PAIR_LINKS_FIELD_NUMBER: _ClassVar[int]
    PAIR_STREAMS_FIELD_NUMBER: _ClassVar[int]
    DATABASE_PROBLEM_FIELD_NUMBER: _ClassVar[int]
    epoch: int
    read_only: bool
    warming_up: bool
    plan_version: int
    nodes: _containers.RepeatedCompositeFieldContainer[NodeStatus]
    links: _containers.RepeatedCompositeFieldContainer[LinkState]
    streams: _containers.RepeatedCompositeFieldContainer[StreamStatus]
    orders: _containers.RepeatedCompositeFieldContainer[Order]
    pair_links: _containers.RepeatedCompositeFieldContainer[PairLinkState]
    pair_streams: _containers.RepeatedCompositeFieldContainer[PairStreamStatus]
    database_problem: str
    def __init__(self, epoch: _Optional[int] = ..., read_only: _Optional[bool] = ..., warming_up: _Optional[bool] = ..., plan_version: _Optional[int] = ..., nodes: _Optional[_Iterable[_Union[NodeStatus, _Mapping]]] = ..., links: _Optional[_Iterable[_Union[LinkState, _Mapping]]] = ..., streams: _Optional[_Iterable[_Union[StreamStatus, _Mapping]]] = ..., orders: _Optional[_Iterable[_Union[Order, _Mapping]]] = ..., pair_links: _Optional[_Iterable[_Union[PairLinkState, _Mapping]]] = ..., pair_streams: _Optional[_Iterable[_Union[PairStreamStatus, _Mapping]]] = ..., database_problem: _Optional[str] = ...) -> None: ...

class CreateNodeRequest(_message.Message):
    __slots__ = ("node", "validate_only", "request_id")
    NODE_FIELD_NUMBER: _ClassVar[int]
    VALIDATE_ONLY_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    node: _types_pb2.Node
    validate_only: bool
    request_id: str
    def __init__(self, node: _Optional[_Union[_types_pb2.Node, _Mapping]] = ..., validate_only: _Optional[bool] = ..., request_id: _Optional[str] = ...) -> None: ...

class CreateNodeResponse(_message.Message):
    __slots__ = ("node", "plan")
    NODE_FIELD_NUMBER: _ClassVar[int]
    PLAN_FIELD_NUMBER: _ClassVar[int]
    node: _types_pb2.Node
    plan: Plan
    def __init__(self, node: _Optional[_Union[_types_pb2.Node, _Mapping]] = ..., plan: _Optional[_Union[Plan, _Mapping]] = ...) -> None: ...

class GetNodeRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class GetNodeResponse(_message.Message):
    __slots__ = ("node",)
    NODE_FIELD_NUMBER: _ClassVar[int]
    node: NodeStatus
    def __init__(self, node: _Optional[_Union[NodeStatus, _Mapping]] = ...) -> None: ...

class ListNodesRequest(_message.Message):
    __slots__ = ("page_size", "page_token")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListNodesResponse(_message.Message):
    __slots__ = ("nodes", "next_page_token")
    NODES_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    nodes: _containers.RepeatedCompositeFieldContainer[NodeStatus]
    next_page_token: str
    def __init__(self, nodes: _Optional[_Iterable[_Union[NodeStatus, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class UpdateNodeRequest(_message.Message):
    __slots__ = ("node", "update_mask", "validate_only", "request_id")
    NODE_FIELD_NUMBER: _ClassVar[int]
    UPDATE_MASK_FIELD_NUMBER: _ClassVar[int]
    VALIDATE_ONLY_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    node: _types_pb2.Node
    update_mask: _field_mask_pb2.FieldMask
    validate_only: bool
    request_id: str
    def __init__(self, node: _Optional[_Union[_types_pb2.Node, _Mapping]] = ..., update_mask: _Optional[_Union[_field_mask_pb2.FieldMask, _Mapping]] = ..., validate_only: _Optional[bool] = ..., request_id: _Optional[str] = ...) -> None: ...

class UpdateNodeResponse(_message.Message):
    __slots__ = ("node", "plan")
    NODE_FIELD_NUMBER: _ClassVar[int]
    PLAN_FIELD_NUMBER: _ClassVar[int]
    node: _types_pb2.Node
    plan: Plan
    def __init__(self, node: _Optional[_Union[_types_pb2.Node, _Mapping]] = ..., plan: _Optional[_Union[Plan, _Mapping]] = ...) -> None: ...

class DeleteNodeRequest(_message.Message):
    __slots__ = ("name", "validate_only", "request_id", "etag")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VALIDATE_ONLY_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    name: str
    validate_only: bool
    request_id: str
    etag: str
    def __init__(self, name: _Optional[str] = ..., validate_only: _Optional[bool] = ..., request_id: _Optional[str] = ..., etag: _Optional[str] = ...) -> None: ...

class DeleteNodeResponse(_message.Message):
    __slots__ = ("plan",)
    PLAN_FIELD_NUMBER: _ClassVar[int]
    plan: Plan
    def __init__(self, plan: _Optional[_Union[Plan, _Mapping]] = ...) -> None: ...

class CreateLinkRequest(_message.Message):
    __slots__ = ("link", "validate_only", "request_id")
    LINK_FIELD_NUMBER: _ClassVar[int]
    VALIDATE_ONLY_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    link: _types_pb2.Link
    validate_only: bool
    request_id: str
    def __init__(self, link: _Optional[_Union[_types_pb2.Link, _Mapping]] = ..., validate_only: _Optional[bool] = ..., request_id: _Optional[str] = ...) -> None: ...

class CreateLinkResponse(_message.Message):
    __slots__ = ("link", "plan")
    LINK_FIELD_NUMBER: _ClassVar[int]
    PLAN_FIELD_NUMBER: _ClassVar[int]
    link: _types_pb2.Link
    plan: Plan
    def __init__(self, link: _Optional[_Union[_types_pb2.Link, _Mapping]] = ..., plan: _Optional[_Union[Plan, _Mapping]] = ...) -> None: ...

class GetLinkRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class GetLinkResponse(_message.Message):
    __slots__ = ("link",)
    LINK_FIELD_NUMBER: _ClassVar[int]
    link: LinkState
    def __init__(self, link: _Optional[_Union[LinkState, _Mapping]] = ...) -> None: ...

class ListLinksRequest(_message.Message):
    __slots__ = ("page_size", "page_token")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListLinksResponse(_message.Message):
    __slots__ = ("links", "next_page_token")
    LINKS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    links: _containers.RepeatedCompositeFieldContainer[LinkState]
    next_page_token: str
    def __init__(self, links: _Optional[_Iterable[_Union[LinkState, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class UpdateLinkRequest(_message.Message):
    __slots__ = ("link", "update_mask", "validate_only", "request_id")
    LINK_FIELD_NUMBER: _ClassVar[int]
    UPDATE_MASK_FIELD_NUMBER: _ClassVar[int]
    VALIDATE_ONLY_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    link: _types_pb2.Link
    update_mask: _field_mask_pb2.FieldMask
    validate_only: bool
    request_id: str
    def __init__(self, link: _Optional[_Union[_types_pb2.Link, _Mapping]] = ..., update_mask: _Optional[_Union[_field_mask_pb2.FieldMask, _Mapping]] = ..., validate_only: _Optional[bool] = ..., request_id: _Optional[str] = ...) -> None: ...

class UpdateLinkResponse(_message.Message):
    __slots__ = ("link", "plan")
    LINK_FIELD_NUMBER: _ClassVar[int]
    PLAN_FIELD_NUMBER: _ClassVar[int]
    link: _types_pb2.Link
    plan: Plan
    def __init__(self, link: _Optional[_Union[_types_pb2.Link, _Mapping]] = ..., plan: _Optional[_Union[Plan, _Mapping]] = ...) -> None: ...

class DeleteLinkRequest(_message.Message):
    __slots__ = ("name", "validate_only", "request_id", "etag")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VALIDATE_ONLY_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    name: str
    validate_only: bool
    request_id: str
    etag: str
    def __init__(self, name: _Optional[str] = ..., validate_only: _Optional[bool] = ..., request_id: _Optional[str] = ..., etag: _Optional[str] = ...) -> None: ...

class DeleteLinkResponse(_message.Message):
    __slots__ = ("plan",)
    PLAN_FIELD_NUMBER: _ClassVar[int]
    plan: Plan
    def __init__(self, plan: _Optional[_Union[Plan, _Mapping]] = ...) -> None: ...

class CreateStreamRequest(_message.Message):
    __slots__ = ("stream", "validate_only", "request_id")
    STREAM_FIELD_NUMBER: _ClassVar[int]
    VALIDATE_ONLY_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    stream: _types_pb2.Stream
    validate_only: bool
    request_id: str
    def __init__(self, stream: _Optional[_Union[_types_pb2.Stream, _Mapping]] = ..., validate_only: _Optional[bool] = ..., request_id: _Optional[str] = ...) -> None: ...

class CreateStreamResponse(_message.Message):
    __slots__ = ("stream", "plan", "warnings")
    STREAM_FIELD_NUMBER: _ClassVar[int]
    PLAN_FIELD_NUMBER: _ClassVar[int]
    WARNINGS_FIELD_NUMBER: _ClassVar[int]
    stream: _types_pb2.Stream
    plan: Plan
    warnings: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, stream: _Optional[_Union[_types_pb2.Stream, _Mapping]] = ..., plan: _Optional[_Union[Plan, _Mapping]] = ..., warnings: _Optional[_Iterable[str]] = ...) -> None: ...

class GetStreamRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class GetStreamResponse(_message.Message):
    __slots__ = ("stream",)
    STREAM_FIELD_NUMBER: _ClassVar[int]
    stream: StreamStatus
    def __init__(self, stream: _Optional[_Union[StreamStatus, _Mapping]] = ...) -> None: ...

class ListStreamsRequest(_message.Message):
    __slots__ = ("page_size", "page_token")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListStreamsResponse(_message.Message):
    __slots__ = ("streams", "next_page_token")
    STREAMS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    streams: _containers.RepeatedCompositeFieldContainer[StreamStatus]
    next_page_token: str
    def __init__(self, streams: _Optional[_Iterable[_Union[StreamStatus, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class UpdateStreamRequest(_message.Message):
    __slots__ = ("stream", "update_mask", "validate_only", "request_id")
    STREAM_FIELD_NUMBER: _ClassVar[int]
    UPDATE_MASK_FIELD_NUMBER: _ClassVar[int]
    VALIDATE_ONLY_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    stream: _types_pb2.Stream
    update_mask: _field_mask_pb2.FieldMask
    validate_only: bool
    request_id: str
    def __init__(self, stream: _Optional[_Union[_types_pb2.Stream, _Mapping]] = ..., update_mask: _Optional[_Union[_field_mask_pb2.FieldMask, _Mapping]] = ..., validate_only: _Optional[bool] = ..., request_id: _Optional[str] = ...) -> None: ...

class UpdateStreamResponse(_message.Message):
    __slots__ = ("stream", "plan", "warnings")
    STREAM_FIELD_NUMBER: _ClassVar[int]
    PLAN_FIELD_NUMBER: _ClassVar[int]
    WARNINGS_FIELD_NUMBER: _ClassVar[int]
    stream: _types_pb2.Stream
    plan: Plan
    warnings: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, stream: _Optional[_Union[_types_pb2.Stream, _Mapping]] = ..., plan: _Optional[_Union[Plan, _Mapping]] = ..., warnings: _Optional[_Iterable[str]] = ...) -> None: ...

class DeleteStreamRequest(_message.Message):
    __slots__ = ("name", "validate_only", "request_id", "etag")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VALIDATE_ONLY_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    name: str
    validate_only: bool
    request_id: str
    etag: str
    def __init__(self, name: _Optional[str] = ..., validate_only: _Optional[bool] = ..., request_id: _Optional[str] = ..., etag: _Optional[str] = ...) -> None: ...

class DeleteStreamResponse(_message.Message):
    __slots__ = ("plan",)
    PLAN_FIELD_NUMBER: _ClassVar[int]
    plan: Plan
    def __init__(self, plan: _Optional[_Union[Plan, _Mapping]] = ...) -> None: ...

class ListAuditEntriesRequest(_message.Message):
    __slots__ = ("after_sequence", "page_size")
    AFTER_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    after_sequence: int
    page_size: int
    def __init__(self, after_sequence: _Optional[int] = ..., page_size: _Optional[int] = ...) -> None: ...

class ListAuditEntriesResponse(_message.Message):
    __slots__ = ("lines", "first_sequence", "last_sequence", "next_after_sequence")
    LINES_FIELD_NUMBER: _ClassVar[int]
    FIRST_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    LAST_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    NEXT_AFTER_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    lines: _containers.RepeatedScalarFieldContainer[str]
    first_sequence: int
    last_sequence: int
    next_after_sequence: int
    def __init__(self, lines: _Optional[_Iterable[str]] = ..., first_sequence: _Optional[int] = ..., last_sequence: _Optional[int] = ..., next_after_sequence: _Optional[int] = ...) -> None: ...

class MaintenanceStatus(_message.Message):
    __slots__ = ("maintenance", "phase", "streams")
    MAINTENANCE_FIELD_NUMBER: _ClassVar[int]
    PHASE_FIELD_NUMBER: _ClassVar[int]
    STREAMS_FIELD_NUMBER: _ClassVar[int]
    maintenance: _types_pb2.Maintenance
    phase: MaintenancePhase
    streams: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, maintenance: _Optional[_Union[_types_pb2.Maintenance, _Mapping]] = ..., phase: _Optional[_Union[MaintenancePhase, str]] = ..., streams: _Optional[_Iterable[str]] = ...) -> None: ...

class StreamLoss(_message.Message):
    __slots__ = ("stream", "loss", "required")
    STREAM_FIELD_NUMBER: _ClassVar[int]
    LOSS_FIELD_NUMBER: _ClassVar[int]
    REQUIRED_FIELD_NUMBER: _ClassVar[int]
    stream: str
    loss: str
    required: bool
    def __init__(self, stream: _Optional[str] = ..., loss: _Optional[str] = ..., required: _Optional[bool] = ...) -> None: ...

class CreateMaintenanceRequest(_message.Message):
    __slots__ = ("maintenance", "validate_only", "force", "request_id")
    MAINTENANCE_FIELD_NUMBER: _ClassVar[int]
    VALIDATE_ONLY_FIELD_NUMBER: _ClassVar[int]
    FORCE_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    maintenance: _types_pb2.Maintenance
    validate_only: bool
    force: bool
    request_id: str
    def __init__(self, maintenance: _Optional[_Union[_types_pb2.Maintenance, _Mapping]] = ..., validate_only: _Optional[bool] = ..., force: _Optional[bool] = ..., request_id: _Optional[str] = ...) -> None: ...

class CreateMaintenanceResponse(_message.Message):
    __slots__ = ("maintenance", "plan", "losses")
    MAINTENANCE_FIELD_NUMBER: _ClassVar[int]
    PLAN_FIELD_NUMBER: _ClassVar[int]
    LOSSES_FIELD_NUMBER: _ClassVar[int]
    maintenance: _types_pb2.Maintenance
    plan: Plan
    losses: _containers.RepeatedCompositeFieldContainer[StreamLoss]
    def __init__(self, maintenance: _Optional[_Union[_types_pb2.Maintenance, _Mapping]] = ..., plan: _Optional[_Union[Plan, _Mapping]] = ..., losses: _Optional[_Iterable[_Union[StreamLoss, _Mapping]]] = ...) -> None: ...

class GetMaintenanceRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class GetMaintenanceResponse(_message.Message):
    __slots__ = ("maintenance",)
    MAINTENANCE_FIELD_NUMBER: _ClassVar[int]
    maintenance: MaintenanceStatus
    def __init__(self, maintenance: _Optional[_Union[MaintenanceStatus, _Mapping]] = ...) -> None: ...

class ListMaintenancesRequest(_message.Message):
    __slots__ = ("page_size", "page_token")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListMaintenancesResponse(_message.Message):
    __slots__ = ("maintenances", "next_page_token")
    MAINTENANCES_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    maintenances: _containers.RepeatedCompositeFieldContainer[MaintenanceStatus]
    next_page_token: str
    def __init__(self, maintenances: _Optional[_Iterable[_Union[MaintenanceStatus, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class UpdateMaintenanceRequest(_message.Message):
    __slots__ = ("maintenance", "update_mask", "validate_only", "force", "request_id")
    MAINTENANCE_FIELD_NUMBER: _ClassVar[int]
    UPDATE_MASK_FIELD_NUMBER: _ClassVar[int]
    VALIDATE_ONLY_FIELD_NUMBER: _ClassVar[int]
    FORCE_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    maintenance: _types_pb2.Maintenance
    update_mask: _field_mask_pb2.FieldMask
    validate_only: bool
    force: bool
    request_id: str
    def __init__(self, maintenance: _Optional[_Union[_types_pb2.Maintenance, _Mapping]] = ..., update_mask: _Optional[_Union[_field_mask_pb2.FieldMask, _Mapping]] = ..., validate_only: _Optional[bool] = ..., force: _Optional[bool] = ..., request_id: _Optional[str] = ...) -> None: ...

class UpdateMaintenanceResponse(_message.Message):
    __slots__ = ("maintenance", "plan", "losses")
    MAINTENANCE_FIELD_NUMBER: _ClassVar[int]
    PLAN_FIELD_NUMBER: _ClassVar[int]
    LOSSES_FIELD_NUMBER: _ClassVar[int]
    maintenance: _types_pb2.Maintenance
    plan: Plan
    losses: _containers.RepeatedCompositeFieldContainer[StreamLoss]
    def __init__(self, maintenance: _Optional[_Union[_types_pb2.Maintenance, _Mapping]] = ..., plan: _Optional[_Union[Plan, _Mapping]] = ..., losses: _Optional[_Iterable[_Union[StreamLoss, _Mapping]]] = ...) -> None: ...

class DeleteMaintenanceRequest(_message.Message):
    __slots__ = ("name", "validate_only", "request_id", "etag")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VALIDATE_ONLY_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    name: str
    validate_only: bool
    request_id: str
    etag: str
    def __init__(self, name: _Optional[str] = ..., validate_only: _Optional[bool] = ..., request_id: _Optional[str] = ..., etag: _Optional[str] = ...) -> None: ...

class DeleteMaintenanceResponse(_message.Message):
    __slots__ = ("plan",)
    PLAN_FIELD_NUMBER: _ClassVar[int]
    plan: Plan
    def __init__(self, plan: _Optional[_Union[Plan, _Mapping]] = ...) -> None: ...

class EndMaintenanceRequest(_message.Message):
    __slots__ = ("name", "request_id", "etag")
    NAME_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    name: str
    request_id: str
    etag: str
    def __init__(self, name: _Optional[str] = ..., request_id: _Optional[str] = ..., etag: _Optional[str] = ...) -> None: ...

class EndMaintenanceResponse(_message.Message):
    __slots__ = ("maintenance",)
    MAINTENANCE_FIELD_NUMBER: _ClassVar[int]
    maintenance: _types_pb2.Maintenance
    def __init__(self, maintenance: _Optional[_Union[_types_pb2.Maintenance, _Mapping]] = ...) -> None: ...

class ScheduleStatus(_message.Message):
    __slots__ = ("schedule", "in_force", "streams")
    SCHEDULE_FIELD_NUMBER: _ClassVar[int]
    IN_FORCE_FIELD_NUMBER: _ClassVar[int]
    STREAMS_FIELD_NUMBER: _ClassVar[int]
    schedule: _types_pb2.Schedule
    in_force: bool
    streams: int
    def __init__(self, schedule: _Optional[_Union[_types_pb2.Schedule, _Mapping]] = ..., in_force: _Optional[bool] = ..., streams: _Optional[int] = ...) -> None: ...

class CreateScheduleRequest(_message.Message):
    __slots__ = ("schedule", "validate_only", "request_id")
    SCHEDULE_FIELD_NUMBER: _ClassVar[int]
    VALIDATE_ONLY_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    schedule: _types_pb2.Schedule
    validate_only: bool
    request_id: str
    def __init__(self, schedule: _Optional[_Union[_types_pb2.Schedule, _Mapping]] = ..., validate_only: _Optional[bool] = ..., request_id: _Optional[str] = ...) -> None: ...

class CreateScheduleResponse(_message.Message):
    __slots__ = ("schedule", "plan")
    SCHEDULE_FIELD_NUMBER: _ClassVar[int]
    PLAN_FIELD_NUMBER: _ClassVar[int]
    schedule: _types_pb2.Schedule
    plan: Plan
    def __init__(self, schedule: _Optional[_Union[_types_pb2.Schedule, _Mapping]] = ..., plan: _Optional[_Union[Plan, _Mapping]] = ...) -> None: ...

class GetScheduleRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class GetScheduleResponse(_message.Message):
    __slots__ = ("schedule",)
    SCHEDULE_FIELD_NUMBER: _ClassVar[int]
    schedule: ScheduleStatus
    def __init__(self, schedule: _Optional[_Union[ScheduleStatus, _Mapping]] = ...) -> None: ...

class ListSchedulesRequest(_message.Message):
    __slots__ = ("page_size", "page_token")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListSchedulesResponse(_message.Message):
    __slots__ = ("schedules", "next_page_token")
    SCHEDULES_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    schedules: _containers.RepeatedCompositeFieldContainer[ScheduleStatus]
    next_page_token: str
    def __init__(self, schedules: _Optional[_Iterable[_Union[ScheduleStatus, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class UpdateScheduleRequest(_message.Message):
    __slots__ = ("schedule", "update_mask", "validate_only", "request_id")
    SCHEDULE_FIELD_NUMBER: _ClassVar[int]
    UPDATE_MASK_FIELD_NUMBER: _ClassVar[int]
    VALIDATE_ONLY_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    schedule: _types_pb2.Schedule
    update_mask: _field_mask_pb2.FieldMask
    validate_only: bool
    request_id: str
    def __init__(self, schedule: _Optional[_Union[_types_pb2.Schedule, _Mapping]] = ..., update_mask: _Optional[_Union[_field_mask_pb2.FieldMask, _Mapping]] = ..., validate_only: _Optional[bool] = ..., request_id: _Optional[str] = ...) -> None: ...

class UpdateScheduleResponse(_message.Message):
    __slots__ = ("schedule", "plan")
    SCHEDULE_FIELD_NUMBER: _ClassVar[int]
    PLAN_FIELD_NUMBER: _ClassVar[int]
    schedule: _types_pb2.Schedule
    plan: Plan
    def __init__(self, schedule: _Optional[_Union[_types_pb2.Schedule, _Mapping]] = ..., plan: _Optional[_Union[Plan, _Mapping]] = ...) -> None: ...

class DeleteScheduleRequest(_message.Message):
    __slots__ = ("name", "validate_only", "request_id", "etag")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VALIDATE_ONLY_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    name: str
    validate_only: bool
    request_id: str
    etag: str
    def __init__(self, name: _Optional[str] = ..., validate_only: _Optional[bool] = ..., request_id: _Optional[str] = ..., etag: _Optional[str] = ...) -> None: ...

class DeleteScheduleResponse(_message.Message):
    __slots__ = ("plan",)
    PLAN_FIELD_NUMBER: _ClassVar[int]
    plan: Plan
    def __init__(self, plan: _Optional[_Union[Plan, _Mapping]] = ...) -> None: ...

class PlanRecord(_message.Message):
    __slots__ = ("version", "time_unix_nanos", "streams", "moved_count", "moved", "in_force")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    TIME_UNIX_NANOS_FIELD_NUMBER: _ClassVar[int]
    STREAMS_FIELD_NUMBER: _ClassVar[int]
    MOVED_COUNT_FIELD_NUMBER: _ClassVar[int]
    MOVED_FIELD_NUMBER: _ClassVar[int]
    IN_FORCE_FIELD_NUMBER: _ClassVar[int]
    version: int
    time_unix_nanos: int
    streams: int
    moved_count: int
    moved: _containers.RepeatedScalarFieldContainer[str]
    in_force: bool
    def __init__(self, version: _Optional[int] = ..., time_unix_nanos: _Optional[int] = ..., streams: _Optional[int] = ..., moved_count: _Optional[int] = ..., moved: _Optional[_Iterable[str]] = ..., in_force: _Optional[bool] = ...) -> None: ...

class ListPlansRequest(_message.Message):
    __slots__ = ("page_size", "page_token")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListPlansResponse(_message.Message):
    __slots__ = ("plans", "next_page_token")
    PLANS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    plans: _containers.RepeatedCompositeFieldContainer[PlanRecord]
    next_page_token: str
    def __init__(self, plans: _Optional[_Iterable[_Union[PlanRecord, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class PlanPin(_message.Message):
    __slots__ = ("version", "time_unix_nanos", "pinned_by", "streams")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    TIME_UNIX_NANOS_FIELD_NUMBER: _ClassVar[int]
    PINNED_BY_FIELD_NUMBER: _ClassVar[int]
    STREAMS_FIELD_NUMBER: _ClassVar[int]
    version: int
    time_unix_nanos: int
    pinned_by: str
    streams: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, version: _Optional[int] = ..., time_unix_nanos: _Optional[int] = ..., pinned_by: _Optional[str] = ..., streams: _Optional[_Iterable[str]] = ...) -> None: ...

class RollbackPlanRequest(_message.Message):
    __slots__ = ("version", "validate_only", "request_id")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    VALIDATE_ONLY_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    version: int
    validate_only: bool
    request_id: str
    def __init__(self, version: _Optional[int] = ..., validate_only: _Optional[bool] = ..., request_id: _Optional[str] = ...) -> None: ...

class RollbackPlanResponse(_message.Message):
    __slots__ = ("pin", "skipped", "plan")
    PIN_FIELD_NUMBER: _ClassVar[int]
    SKIPPED_FIELD_NUMBER: _ClassVar[int]
    PLAN_FIELD_NUMBER: _ClassVar[int]
    pin: PlanPin
    skipped: _containers.RepeatedCompositeFieldContainer[StreamLoss]
    plan: Plan
    def __init__(self, pin: _Optional[_Union[PlanPin, _Mapping]] = ..., skipped: _Optional[_Iterable[_Union[StreamLoss, _Mapping]]] = ..., plan: _Optional[_Union[Plan, _Mapping]] = ...) -> None: ...

class UnpinPlanRequest(_message.Message):
    __slots__ = ("request_id",)
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    def __init__(self, request_id: _Optional[str] = ...) -> None: ...

class UnpinPlanResponse(_message.Message):
    __slots__ = ("pin",)
    PIN_FIELD_NUMBER: _ClassVar[int]
    pin: PlanPin
    def __init__(self, pin: _Optional[_Union[PlanPin, _Mapping]] = ...) -> None: ...

class SwapLevel(_message.Message):
    __slots__ = ("nodes",)
    NODES_FIELD_NUMBER: _ClassVar[int]
    nodes: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, nodes: _Optional[_Iterable[str]] = ...) -> None: ...

class PairPathStatus(_message.Message):
    __slots__ = ("path_id", "nodes", "links", "memories", "rounds", "cutoff_seconds", "swap_order", "end_rounds", "predicted_rate_hz", "predicted_fidelity", "lanes", "channels", "rate_hz", "keep_seconds")
    PATH_ID_FIELD_NUMBER: _ClassVar[int]
    NODES_FIELD_NUMBER: _ClassVar[int]
    LINKS_FIELD_NUMBER: _ClassVar[int]
    MEMORIES_FIELD_NUMBER: _ClassVar[int]
    ROUNDS_FIELD_NUMBER: _ClassVar[int]
    CUTOFF_SECONDS_FIELD_NUMBER: _ClassVar[int]
    SWAP_ORDER_FIELD_NUMBER: _ClassVar[int]
    END_ROUNDS_FIELD_NUMBER: _ClassVar[int]
    PREDICTED_RATE_HZ_FIELD_NUMBER: _ClassVar[int]
    PREDICTED_FIDELITY_FIELD_NUMBER: _ClassVar[int]
    LANES_FIELD_NUMBER: _ClassVar[int]
    CHANNELS_FIELD_NUMBER: _ClassVar[int]
    RATE_HZ_FIELD_NUMBER: _ClassVar[int]
    KEEP_SECONDS_FIELD_NUMBER: _ClassVar[int]
    path_id: str
    nodes: _containers.RepeatedScalarFieldContainer[str]
    links: _containers.RepeatedScalarFieldContainer[str]
    memories: _containers.RepeatedScalarFieldContainer[int]
    rounds: _containers.RepeatedScalarFieldContainer[int]
    cutoff_seconds: _containers.RepeatedScalarFieldContainer[float]
    swap_order: _containers.RepeatedCompositeFieldContainer[SwapLevel]
    end_rounds: int
    predicted_rate_hz: float
    predicted_fidelity: float
    lanes: int
    channels: _containers.RepeatedScalarFieldContainer[int]
    rate_hz: float
    keep_seconds: float
    def __init__(self, path_id: _Optional[str] = ..., nodes: _Optional[_Iterable[str]] = ..., links: _Optional[_Iterable[str]] = ..., memories: _Optional[_Iterable[int]] = ..., rounds: _Optional[_Iterable[int]] = ..., cutoff_seconds: _Optional[_Iterable[float]] = ..., swap_order: _Optional[_Iterable[_Union[SwapLevel, _Mapping]]] = ..., end_rounds: _Optional[int] = ..., predicted_rate_hz: _Optional[float] = ..., predicted_fidelity: _Optional[float] = ..., lanes: _Optional[int] = ..., channels: _Optional[_Iterable[int]] = ..., rate_hz: _Optional[float] = ..., keep_seconds: _Optional[float] = ...) -> None: ...

class PairStreamStatus(_message.Message):
    __slots__ = ("pair_stream", "state", "reason", "paths", "predicted_rate_hz", "predicted_fidelity", "delivered_rate_hz", "measured_fidelity", "measured_fidelity_low", "measured_fidelity_high", "delivered_total", "tested_total", "lost_total", "kept", "mean_wait_seconds", "state_since_unix_nanos")
    PAIR_STREAM_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    PATHS_FIELD_NUMBER: _ClassVar[int]
    PREDICTED_RATE_HZ_FIELD_NUMBER: _ClassVar[int]
    PREDICTED_FIDELITY_FIELD_NUMBER: _ClassVar[int]
    DELIVERED_RATE_HZ_FIELD_NUMBER: _ClassVar[int]
    MEASURED_FIDELITY_FIELD_NUMBER: _ClassVar[int]
    MEASURED_FIDELITY_LOW_FIELD_NUMBER: _ClassVar[int]
    MEASURED_FIDELITY_HIGH_FIELD_NUMBER: _ClassVar[int]
    DELIVERED_TOTAL_FIELD_NUMBER: _ClassVar[int]
    TESTED_TOTAL_FIELD_NUMBER: _ClassVar[int]
    LOST_TOTAL_FIELD_NUMBER: _ClassVar[int]
    KEPT_FIELD_NUMBER: _ClassVar[int]
    MEAN_WAIT_SECONDS_FIELD_NUMBER: _ClassVar[int]
    STATE_SINCE_UNIX_NANOS_FIELD_NUMBER: _ClassVar[int]
    pair_stream: _pairs_pb2.PairStream
    state: PairStreamState
    reason: str
    paths: _containers.RepeatedCompositeFieldContainer[PairPathStatus]
    predicted_rate_hz: float
    predicted_fidelity: float
    delivered_rate_hz: float
    measured_fidelity: float
    measured_fidelity_low: float
    measured_fidelity_high: float
    delivered_total: int
    tested_total: int
    lost_total: int
    kept: int
    mean_wait_seconds: float
    state_since_unix_nanos: int
    def __init__(self, pair_stream: _Optional[_Union[_pairs_pb2.PairStream, _Mapping]] = ..., state: _Optional[_Union[PairStreamState, str]] = ..., reason: _Optional[str] = ..., paths: _Optional[_Iterable[_Union[PairPathStatus, _Mapping]]] = ..., predicted_rate_hz: _Optional[float] = ..., predicted_fidelity: _Optional[float] = ..., delivered_rate_hz: _Optional[float] = ..., measured_fidelity: _Optional[float] = ..., measured_fidelity_low: _Optional[float] = ..., measured_fidelity_high: _Optional[float] = ..., delivered_total: _Optional[int] = ..., tested_total: _Optional[int] = ..., lost_total: _Optional[int] = ..., kept: _Optional[int] = ..., mean_wait_seconds: _Optional[float] = ..., state_since_unix_nanos: _Optional[int] = ...) -> None: ...

class CreatePairStreamRequest(_message.Message):
    __slots__ = ("pair_stream", "validate_only", "force", "request_id")
    PAIR_STREAM_FIELD_NUMBER: _ClassVar[int]
    VALIDATE_ONLY_FIELD_NUMBER: _ClassVar[int]
    FORCE_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    pair_stream: _pairs_pb2.PairStream
    validate_only: bool
    force: bool
    request_id: str
    def __init__(self, pair_stream: _Optional[_Union[_pairs_pb2.PairStream, _Mapping]] = ..., validate_only: _Optional[bool] = ..., force: _Optional[bool] = ..., request_id: _Optional[str] = ...) -> None: ...

class CreatePairStreamResponse(_message.Message):
    __slots__ = ("pair_stream", "predicted_rate_hz", "predicted_fidelity", "answer")
    PAIR_STREAM_FIELD_NUMBER: _ClassVar[int]
    PREDICTED_RATE_HZ_FIELD_NUMBER: _ClassVar[int]
    PREDICTED_FIDELITY_FIELD_NUMBER: _ClassVar[int]
    ANSWER_FIELD_NUMBER: _ClassVar[int]
    pair_stream: _pairs_pb2.PairStream
    predicted_rate_hz: float
    predicted_fidelity: float
    answer: str
    def __init__(self, pair_stream: _Optional[_Union[_pairs_pb2.PairStream, _Mapping]] = ..., predicted_rate_hz: _Optional[float] = ..., predicted_fidelity: _Optional[float] = ..., answer: _Optional[str] = ...) -> None: ...

class GetPairStreamRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class GetPairStreamResponse(_message.Message):
    __slots__ = ("pair_stream",)
    PAIR_STREAM_FIELD_NUMBER: _ClassVar[int]
    pair_stream: PairStreamStatus
    def __init__(self, pair_stream: _Optional[_Union[PairStreamStatus, _Mapping]] = ...) -> None: ...

class ListPairStreamsRequest(_message.Message):
    __slots__ = ("page_size", "page_token")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListPairStreamsResponse(_message.Message):
    __slots__ = ("pair_streams", "next_page_token")
    PAIR_STREAMS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    pair_streams: _containers.RepeatedCompositeFieldContainer[PairStreamStatus]
    next_page_token: str
    def __init__(self, pair_streams: _Optional[_Iterable[_Union[PairStreamStatus, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class UpdatePairStreamRequest(_message.Message):
    __slots__ = ("pair_stream", "update_mask", "validate_only", "force", "request_id")
    PAIR_STREAM_FIELD_NUMBER: _ClassVar[int]
    UPDATE_MASK_FIELD_NUMBER: _ClassVar[int]
    VALIDATE_ONLY_FIELD_NUMBER: _ClassVar[int]
    FORCE_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    pair_stream: _pairs_pb2.PairStream
    update_mask: _field_mask_pb2.FieldMask
    validate_only: bool
    force: bool
    request_id: str
    def __init__(self, pair_stream: _Optional[_Union[_pairs_pb2.PairStream, _Mapping]] = ..., update_mask: _Optional[_Union[_field_mask_pb2.FieldMask, _Mapping]] = ..., validate_only: _Optional[bool] = ..., force: _Optional[bool] = ..., request_id: _Optional[str] = ...) -> None: ...

class UpdatePairStreamResponse(_message.Message):
    __slots__ = ("pair_stream", "predicted_rate_hz", "predicted_fidelity", "answer")
    PAIR_STREAM_FIELD_NUMBER: _ClassVar[int]
    PREDICTED_RATE_HZ_FIELD_NUMBER: _ClassVar[int]
    PREDICTED_FIDELITY_FIELD_NUMBER: _ClassVar[int]
    ANSWER_FIELD_NUMBER: _ClassVar[int]
    pair_stream: _pairs_pb2.PairStream
    predicted_rate_hz: float
    predicted_fidelity: float
    answer: str
    def __init__(self, pair_stream: _Optional[_Union[_pairs_pb2.PairStream, _Mapping]] = ..., predicted_rate_hz: _Optional[float] = ..., predicted_fidelity: _Optional[float] = ..., answer: _Optional[str] = ...) -> None: ...

class DeletePairStreamRequest(_message.Message):
    __slots__ = ("name", "validate_only", "request_id", "etag")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VALIDATE_ONLY_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    name: str
    validate_only: bool
    request_id: str
    etag: str
    def __init__(self, name: _Optional[str] = ..., validate_only: _Optional[bool] = ..., request_id: _Optional[str] = ..., etag: _Optional[str] = ...) -> None: ...

class DeletePairStreamResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ExplainPairStreamRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class ExplainPairStreamResponse(_message.Message):
    __slots__ = ("pair_stream", "lines")
    PAIR_STREAM_FIELD_NUMBER: _ClassVar[int]
    LINES_FIELD_NUMBER: _ClassVar[int]
    pair_stream: PairStreamStatus
    lines: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, pair_stream: _Optional[_Union[PairStreamStatus, _Mapping]] = ..., lines: _Optional[_Iterable[str]] = ...) -> None: ...

class PairLinkState(_message.Message):
    __slots__ = ("name", "a_node", "b_node", "model", "condition", "reason", "length_km", "attempt_rate_hz", "success_ratio", "pair_rate_hz", "fidelity", "fidelity_low", "fidelity_high", "tests_total", "streams")
    NAME_FIELD_NUMBER: _ClassVar[int]
    A_NODE_FIELD_NUMBER: _ClassVar[int]
    B_NODE_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    CONDITION_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    LENGTH_KM_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_RATE_HZ_FIELD_NUMBER: _ClassVar[int]
    SUCCESS_RATIO_FIELD_NUMBER: _ClassVar[int]
    PAIR_RATE_HZ_FIELD_NUMBER: _ClassVar[int]
    FIDELITY_FIELD_NUMBER: _ClassVar[int]
    FIDELITY_LOW_FIELD_NUMBER: _ClassVar[int]
    FIDELITY_HIGH_FIELD_NUMBER: _ClassVar[int]
    TESTS_TOTAL_FIELD_NUMBER: _ClassVar[int]
    STREAMS_FIELD_NUMBER: _ClassVar[int]
    name: str
    a_node: str
    b_node: str
    model: str
    condition: _types_pb2.LinkCondition
    reason: str
    length_km: float
    attempt_rate_hz: float
    success_ratio: float
    pair_rate_hz: float
    fidelity: float
    fidelity_low: float
    fidelity_high: float
    tests_total: int
    streams: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, name: _Optional[str] = ..., a_node: _Optional[str] = ..., b_node: _Optional[str] = ..., model: _Optional[str] = ..., condition: _Optional[_Union[_types_pb2.LinkCondition, str]] = ..., reason: _Optional[str] = ..., length_km: _Optional[float] = ..., attempt_rate_hz: _Optional[float] = ..., success_ratio: _Optional[float] = ..., pair_rate_hz: _Optional[float] = ..., fidelity: _Optional[float] = ..., fidelity_low: _Optional[float] = ..., fidelity_high: _Optional[float] = ..., tests_total: _Optional[int] = ..., streams: _Optional[_Iterable[str]] = ...) -> None: ...

class MemoriesState(_message.Message):
    __slots__ = ("node", "model", "memories", "working", "attempting", "holding", "planned", "t1_seconds", "t2_seconds", "swap_success_ratio", "swap_fidelity", "readout_fidelity", "emulated")
    NODE_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    MEMORIES_FIELD_NUMBER: _ClassVar[int]
    WORKING_FIELD_NUMBER: _ClassVar[int]
    ATTEMPTING_FIELD_NUMBER: _ClassVar[int]
    HOLDING_FIELD_NUMBER: _ClassVar[int]
    PLANNED_FIELD_NUMBER: _ClassVar[int]
    T1_SECONDS_FIELD_NUMBER: _ClassVar[int]
    T2_SECONDS_FIELD_NUMBER: _ClassVar[int]
    SWAP_SUCCESS_RATIO_FIELD_NUMBER: _ClassVar[int]
    SWAP_FIDELITY_FIELD_NUMBER: _ClassVar[int]
    READOUT_FIDELITY_FIELD_NUMBER: _ClassVar[int]
    EMULATED_FIELD_NUMBER: _ClassVar[int]
    node: str
    model: str
    memories: int
    working: int
    attempting: int
    holding: int
    planned: int
    t1_seconds: float
    t2_seconds: float
    swap_success_ratio: float
    swap_fidelity: float
    readout_fidelity: float
    emulated: bool
    def __init__(self, node: _Optional[str] = ..., model: _Optional[str] = ..., memories: _Optional[int] = ..., working: _Optional[int] = ..., attempting: _Optional[int] = ..., holding: _Optional[int] = ..., planned: _Optional[int] = ..., t1_seconds: _Optional[float] = ..., t2_seconds: _Optional[float] = ..., swap_success_ratio: _Optional[float] = ..., swap_fidelity: _Optional[float] = ..., readout_fidelity: _Optional[float] = ..., emulated: _Optional[bool] = ...) -> None: ...

class ListPairLinksRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListPairLinksResponse(_message.Message):
    __slots__ = ("pair_links", "memories")
    PAIR_LINKS_FIELD_NUMBER: _ClassVar[int]
    MEMORIES_FIELD_NUMBER: _ClassVar[int]
    pair_links: _containers.RepeatedCompositeFieldContainer[PairLinkState]
    memories: _containers.RepeatedCompositeFieldContainer[MemoriesState]
    def __init__(self, pair_links: _Optional[_Iterable[_Union[PairLinkState, _Mapping]]] = ..., memories: _Optional[_Iterable[_Union[MemoriesState, _Mapping]]] = ...) -> None: ...

class RunBellTestRequest(_message.Message):
    __slots__ = ("name", "pairs")
    NAME_FIELD_NUMBER: _ClassVar[int]
    PAIRS_FIELD_NUMBER: _ClassVar[int]
    name: str
    pairs: int
    def __init__(self, name: _Optional[str] = ..., pairs: _Optional[int] = ...) -> None: ...

class RunBellTestResponse(_message.Message):
    __slots__ = ("pairs", "equal", "s", "s_low", "s_high")
    PAIRS_FIELD_NUMBER: _ClassVar[int]
    EQUAL_FIELD_NUMBER: _ClassVar[int]
    S_FIELD_NUMBER: _ClassVar[int]
    S_LOW_FIELD_NUMBER: _ClassVar[int]
    S_HIGH_FIELD_NUMBER: _ClassVar[int]
    pairs: _containers.RepeatedScalarFieldContainer[int]
    equal: _containers.RepeatedScalarFieldContainer[int]
    s: float
    s_low: float
    s_high: float
    def __init__(self, pairs: _Optional[_Iterable[int]] = ..., equal: _Optional[_Iterable[int]] = ..., s: _Optional[float] = ..., s_low: _Optional[float] = ..., s_high: _Optional[float] = ...) -> None: ...
