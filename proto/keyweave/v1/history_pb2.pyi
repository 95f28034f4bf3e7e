from buf.validate import validate_pb2 as _validate_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Spread(_message.Message):
    __slots__ = ("seconds", "mean", "squares", "least", "most")
    SECONDS_FIELD_NUMBER: _ClassVar[int]
    MEAN_FIELD_NUMBER: _ClassVar[int]
    SQUARES_FIELD_NUMBER: _ClassVar[int]
    LEAST_FIELD_NUMBER: _ClassVar[int]
    MOST_FIELD_NUMBER: _ClassVar[int]
    seconds: float
    mean: float
    squares: float
    least: float
    most: float
    def __init__(self, seconds: _Optional[float] = ..., mean: _Optional[float] = ..., squares: _Optional[float] = ..., least: _Optional[float] = ..., most: _Optional[float] = ...) -> None: ...

class LinkHistory(_message.Message):
    __slots__ = ("link", "condition", "status", "qber_ratio", "skr_bps", "loss_db")
    LINK_FIELD_NUMBER: _ClassVar[int]
    CONDITION_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    QBER_RATIO_FIELD_NUMBER: _ClassVar[int]
    SKR_BPS_FIELD_NUMBER: _ClassVar[int]
    LOSS_DB_FIELD_NUMBER: _ClassVar[int]
    link: str
    condition: ConditionSeconds
    status: StatusSeconds
    qber_ratio: Spread
    skr_bps: Spread
    loss_db: Spread
    def __init__(self, link: _Optional[str] = ..., condition: _Optional[_Union[ConditionSeconds, _Mapping]] = ..., status: _Optional[_Union[StatusSeconds, _Mapping]] = ..., qber_ratio: _Optional[_Union[Spread, _Mapping]] = ..., skr_bps: _Optional[_Union[Spread, _Mapping]] = ..., loss_db: _Optional[_Union[Spread, _Mapping]] = ...) -> None: ...

class ConditionSeconds(_message.Message):
    __slots__ = ("ok", "degraded", "suspect", "down", "stale", "maintenance")
    OK_FIELD_NUMBER: _ClassVar[int]
    DEGRADED_FIELD_NUMBER: _ClassVar[int]
    SUSPECT_FIELD_NUMBER: _ClassVar[int]
    DOWN_FIELD_NUMBER: _ClassVar[int]
    STALE_FIELD_NUMBER: _ClassVar[int]
    MAINTENANCE_FIELD_NUMBER: _ClassVar[int]
    ok: float
    degraded: float
    suspect: float
    down: float
    stale: float
    maintenance: float
    def __init__(self, ok: _Optional[float] = ..., degraded: _Optional[float] = ..., suspect: _Optional[float] = ..., down: _Optional[float] = ..., stale: _Optional[float] = ..., maintenance: _Optional[float] = ...) -> None: ...

class StatusSeconds(_message.Message):
    __slots__ = ("active", "passive", "pending", "off")
    ACTIVE_FIELD_NUMBER: _ClassVar[int]
    PASSIVE_FIELD_NUMBER: _ClassVar[int]
    PENDING_FIELD_NUMBER: _ClassVar[int]
    OFF_FIELD_NUMBER: _ClassVar[int]
    active: float
    passive: float
    pending: float
    off: float
    def __init__(self, active: _Optional[float] = ..., passive: _Optional[float] = ..., pending: _Optional[float] = ..., off: _Optional[float] = ...) -> None: ...

class StreamHistory(_message.Message):
    __slots__ = ("stream", "service", "protection", "planned_bits", "delivered_bits", "served", "failovers")
    STREAM_FIELD_NUMBER: _ClassVar[int]
    SERVICE_FIELD_NUMBER: _ClassVar[int]
    PROTECTION_FIELD_NUMBER: _ClassVar[int]
    PLANNED_BITS_FIELD_NUMBER: _ClassVar[int]
    DELIVERED_BITS_FIELD_NUMBER: _ClassVar[int]
    SERVED_FIELD_NUMBER: _ClassVar[int]
    FAILOVERS_FIELD_NUMBER: _ClassVar[int]
    stream: str
    service: ServiceSeconds
    protection: ProtectionSeconds
    planned_bits: float
    delivered_bits: int
    served: KeyCounts
    failovers: Failovers
    def __init__(self, stream: _Optional[str] = ..., service: _Optional[_Union[ServiceSeconds, _Mapping]] = ..., protection: _Optional[_Union[ProtectionSeconds, _Mapping]] = ..., planned_bits: _Optional[float] = ..., delivered_bits: _Optional[int] = ..., served: _Optional[_Union[KeyCounts, _Mapping]] = ..., failovers: _Optional[_Union[Failovers, _Mapping]] = ...) -> None: ...

class ServiceSeconds(_message.Message):
    __slots__ = ("serving", "degraded", "unserved", "silent")
    SERVING_FIELD_NUMBER: _ClassVar[int]
    DEGRADED_FIELD_NUMBER: _ClassVar[int]
    UNSERVED_FIELD_NUMBER: _ClassVar[int]
    SILENT_FIELD_NUMBER: _ClassVar[int]
    serving: float
    degraded: float
    unserved: float
    silent: float
    def __init__(self, serving: _Optional[float] = ..., degraded: _Optional[float] = ..., unserved: _Optional[float] = ..., silent: _Optional[float] = ...) -> None: ...

class ProtectionSeconds(_message.Message):
    __slots__ = ("qkd", "hybrid", "pqc", "none", "unknown")
    QKD_FIELD_NUMBER: _ClassVar[int]
    HYBRID_FIELD_NUMBER: _ClassVar[int]
    PQC_FIELD_NUMBER: _ClassVar[int]
    NONE_FIELD_NUMBER: _ClassVar[int]
    UNKNOWN_FIELD_NUMBER: _ClassVar[int]
    qkd: float
    hybrid: float
    pqc: float
    none: float
    unknown: float
    def __init__(self, qkd: _Optional[float] = ..., hybrid: _Optional[float] = ..., pqc: _Optional[float] = ..., none: _Optional[float] = ..., unknown: _Optional[float] = ...) -> None: ...

class KeyCounts(_message.Message):
    __slots__ = ("qkd", "hybrid", "pqc")
    QKD_FIELD_NUMBER: _ClassVar[int]
    HYBRID_FIELD_NUMBER: _ClassVar[int]
    PQC_FIELD_NUMBER: _ClassVar[int]
    qkd: int
    hybrid: int
    pqc: int
    def __init__(self, qkd: _Optional[int] = ..., hybrid: _Optional[int] = ..., pqc: _Optional[int] = ...) -> None: ...

class Failovers(_message.Message):
    __slots__ = ("counts", "sum_seconds", "longest_seconds", "planned")
    COUNTS_FIELD_NUMBER: _ClassVar[int]
    SUM_SECONDS_FIELD_NUMBER: _ClassVar[int]
    LONGEST_SECONDS_FIELD_NUMBER: _ClassVar[int]
    PLANNED_FIELD_NUMBER: _ClassVar[int]
    counts: _containers.RepeatedScalarFieldContainer[int]
    sum_seconds: float
    longest_seconds: float
    planned: int
    def __init__(self, counts: _Optional[_Iterable[int]] = ..., sum_seconds: _Optional[float] = ..., longest_seconds: _Optional[float] = ..., planned: _Optional[int] = ...) -> None: ...

class PairLinkHistory(_message.Message):
    __slots__ = ("pair_link", "condition", "pair_rate_hz", "fidelity")
    PAIR_LINK_FIELD_NUMBER: _ClassVar[int]
    CONDITION_FIELD_NUMBER: _ClassVar[int]
    PAIR_RATE_HZ_FIELD_NUMBER: _ClassVar[int]
    FIDELITY_FIELD_NUMBER: _ClassVar[int]
    pair_link: str
    condition: ConditionSeconds
    pair_rate_hz: Spread
    fidelity: Spread
    def __init__(self, pair_link: _Optional[str] = ..., condition: _Optional[_Union[ConditionSeconds, _Mapping]] = ..., pair_rate_hz: _Optional[_Union[Spread, _Mapping]] = ..., fidelity: _Optional[_Union[Spread, _Mapping]] = ...) -> None: ...

class PairStreamHistory(_message.Message):
    __slots__ = ("pair_stream", "standing", "planned_pairs", "delivered_rate_hz", "fidelity")
    PAIR_STREAM_FIELD_NUMBER: _ClassVar[int]
    STANDING_FIELD_NUMBER: _ClassVar[int]
    PLANNED_PAIRS_FIELD_NUMBER: _ClassVar[int]
    DELIVERED_RATE_HZ_FIELD_NUMBER: _ClassVar[int]
    FIDELITY_FIELD_NUMBER: _ClassVar[int]
    pair_stream: str
    standing: PairStandingSeconds
    planned_pairs: float
    delivered_rate_hz: Spread
    fidelity: Spread
    def __init__(self, pair_stream: _Optional[str] = ..., standing: _Optional[_Union[PairStandingSeconds, _Mapping]] = ..., planned_pairs: _Optional[float] = ..., delivered_rate_hz: _Optional[_Union[Spread, _Mapping]] = ..., fidelity: _Optional[_Union[Spread, _Mapping]] = ...) -> None: ...

class PairStandingSeconds(_message.Message):
    __slots__ = ("met", "partly_met", "unmet")
    MET_FIELD_NUMBER: _ClassVar[int]
    PARTLY_MET_FIELD_NUMBER: _ClassVar[int]
    UNMET_FIELD_NUMBER: _ClassVar[int]
    met: float
    partly_met: float
    unmet: float
    def __init__(self, met: _Optional[float] = ..., partly_met: _Optional[float] = ..., unmet: _Optional[float] = ...) -> None: ...

class NodeHistory(_message.Message):
    __slots__ = ("node", "connected_seconds", "away_seconds", "maintenance_seconds", "dropped_samples")
    NODE_FIELD_NUMBER: _ClassVar[int]
    CONNECTED_SECONDS_FIELD_NUMBER: _ClassVar[int]
    AWAY_SECONDS_FIELD_NUMBER: _ClassVar[int]
    MAINTENANCE_SECONDS_FIELD_NUMBER: _ClassVar[int]
    DROPPED_SAMPLES_FIELD_NUMBER: _ClassVar[int]
    node: str
    connected_seconds: float
    away_seconds: float
    maintenance_seconds: float
    dropped_samples: int
    def __init__(self, node: _Optional[str] = ..., connected_seconds: _Optional[float] = ..., away_seconds: _Optional[float] = ..., maintenance_seconds: _Optional[float] = ..., dropped_samples: _Optional[int] = ...) -> None: ...

class Happening(_message.Message):
    __slots__ = ("time_unix_nanos", "kind", "severity", "node", "link", "stream", "message", "fields")
    class FieldsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    TIME_UNIX_NANOS_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    SEVERITY_FIELD_NUMBER: _ClassVar[int]
    NODE_FIELD_NUMBER: _ClassVar[int]
    LINK_FIELD_NUMBER: _ClassVar[int]
    STREAM_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    FIELDS_FIELD_NUMBER: _ClassVar[int]
    time_unix_nanos: int
    kind: str
    severity: str
    node: str
    link: str
    stream: str
    message: str
    fields: _containers.ScalarMap[str, str]
    def __init__(self, time_unix_nanos: _Optional[int] = ..., kind: _Optional[str] = ..., severity: _Optional[str] = ..., node: _Optional[str] = ..., link: _Optional[str] = ..., stream: _Optional[str] = ..., message: _Optional[str] = ..., fields: _Optional[_Mapping[str, str]] = ...) -> None: ...

class HistoryRow(_message.Message):
    __slots__ = ("start_unix_seconds", "seconds", "watched_seconds", "links", "streams", "nodes", "happenings", "lost_happenings", "pair_links", "pair_streams")
    START_UNIX_SECONDS_FIELD_NUMBER: _ClassVar[int]
    SECONDS_FIELD_NUMBER: _ClassVar[int]
    WATCHED_SECONDS_FIELD_NUMBER: _ClassVar[int]
    LINKS_FIELD_NUMBER: _ClassVar[int]
    STREAMS_FIELD_NUMBER: _ClassVar[int]
    NODES_FIELD_NUMBER: _ClassVar[int]
    HAPPENINGS_FIELD_NUMBER: _ClassVar[int]
    LOST_HAPPENINGS_FIELD_NUMBER: _ClassVar[int]
    PAIR_LINKS_FIELD_NUMBER: _ClassVar[int]
    PAIR_STREAMS_FIELD_NUMBER: _ClassVar[int]
    start_unix_seconds: int
    seconds: int
    watched_seconds: float
    links: _containers.RepeatedCompositeFieldContainer[LinkHistory]
    streams: _containers.RepeatedCompositeFieldContainer[StreamHistory]
    nodes: _containers.RepeatedCompositeFieldContainer[NodeHistory]
    happenings: _containers.RepeatedCompositeFieldContainer[Happening]
    lost_happenings: int
    pair_links: _containers.RepeatedCompositeFieldContainer[PairLinkHistory]
    pair_streams: _containers.RepeatedCompositeFieldContainer[PairStreamHistory]
    def __init__(self, start_unix_seconds: _Optional[int] = ..., seconds: _Optional[int] = ..., watched_seconds: _Optional[float] = ..., links: _Optional[_Iterable[_Union[LinkHistory, _Mapping]]] = ..., streams: _Optional[_Iterable[_Union[StreamHistory, _Mapping]]] = ..., nodes: _Optional[_Iterable[_Union[NodeHistory, _Mapping]]] = ..., happenings: _Optional[_Iterable[_Union[Happening, _Mapping]]] = ..., lost_happenings: _Optional[int] = ..., pair_links: _Optional[_Iterable[_Union[PairLinkHistory, _Mapping]]] = ..., pair_streams: _Optional[_Iterable[_Union[PairStreamHistory, _Mapping]]] = ...) -> None: ...

class HistoryTotals(_message.Message):
    __slots__ = ("served", "dropped_samples")
    class DroppedSamplesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    SERVED_FIELD_NUMBER: _ClassVar[int]
    DROPPED_SAMPLES_FIELD_NUMBER: _ClassVar[int]
    served: _containers.RepeatedCompositeFieldContainer[ServedTotal]
    dropped_samples: _containers.ScalarMap[str, int]
    def __init__(self, served: _Optional[_Iterable[_Union[ServedTotal, _Mapping]]] = ..., dropped_samples: _Optional[_Mapping[str, int]] = ...) -> None: ...

class ServedTotal(_message.Message):
    __slots__ = ("stream", "node", "confirmed_bits", "keys")
    STREAM_FIELD_NUMBER: _ClassVar[int]
    NODE_FIELD_NUMBER: _ClassVar[int]
    CONFIRMED_BITS_FIELD_NUMBER: _ClassVar[int]
    KEYS_FIELD_NUMBER: _ClassVar[int]
    stream: str
    node: str
    confirmed_bits: int
    keys: KeyCounts
    def __init__(self, stream: _Optional[str] = ..., node: _Optional[str] = ..., confirmed_bits: _Optional[int] = ..., keys: _Optional[_Union[KeyCounts, _Mapping]] = ...) -> None: ...

class GetHistoryRequest(_message.Message):
    __slots__ = ("from_unix_nanos", "to_unix_nanos", "links", "streams", "nodes", "pair_links", "pair_streams")
    FROM_UNIX_NANOS_FIELD_NUMBER: _ClassVar[int]
    TO_UNIX_NANOS_FIELD_NUMBER: _ClassVar[int]
    LINKS_FIELD_NUMBER: _ClassVar[int]
    STREAMS_FIELD_NUMBER: _ClassVar[int]
    NODES_FIELD_NUMBER: _ClassVar[int]
    PAIR_LINKS_FIELD_NUMBER: _ClassVar[int]
    PAIR_STREAMS_FIELD_NUMBER: _ClassVar[int]
    from_unix_nanos: int
    to_unix_nanos: int
    links: _containers.RepeatedScalarFieldContainer[str]
    streams: _containers.RepeatedScalarFieldContainer[str]
    nodes: _containers.RepeatedScalarFieldContainer[str]
    pair_links: _containers.RepeatedScalarFieldContainer[str]
    pair_streams: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, from_unix_nanos: _Optional[int] = ..., to_unix_nanos: _Optional[int] = ..., links: _Optional[_Iterable[str]] = ..., streams: _Optional[_Iterable[str]] = ..., nodes: _Optional[_Iterable[str]] = ..., pair_links: _Optional[_Iterable[str]] = ..., pair_streams: _Optional[_Iterable[str]] = ...) -> None: ...

class GetHistoryResponse(_message.Message):
    __slots__ = ("row",)
    ROW_FIELD_NUMBER: _ClassVar[int]
    row: HistoryRow
    def __init__(self, row: _Optional[_Union[HistoryRow, _Mapping]] = ...) -> None: ...
