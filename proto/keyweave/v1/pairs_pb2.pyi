from buf.validate import validate_pb2 as _validate_pb2
from keyweave.v1 import types_pb2 as _types_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class PairKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PAIR_KIND_UNSPECIFIED: _ClassVar[PairKind]
    PAIR_KIND_NETWORK_LAYER: _ClassVar[PairKind]
    PAIR_KIND_CREATE_KEEP: _ClassVar[PairKind]
    PAIR_KIND_MEASURE_DIRECTLY: _ClassVar[PairKind]

class PairUseKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PAIR_USE_KIND_UNSPECIFIED: _ClassVar[PairUseKind]
    PAIR_USE_KIND_KEEP: _ClassVar[PairUseKind]
    PAIR_USE_KIND_MEASURE: _ClassVar[PairUseKind]
    PAIR_USE_KIND_TEST: _ClassVar[PairUseKind]
    PAIR_USE_KIND_BELL_TEST: _ClassVar[PairUseKind]
PAIR_KIND_UNSPECIFIED: PairKind
PAIR_KIND_NETWORK_LAYER: PairKind
PAIR_KIND_CREATE_KEEP: PairKind
PAIR_KIND_MEASURE_DIRECTLY: PairKind
PAIR_USE_KIND_UNSPECIFIED: PairUseKind
PAIR_USE_KIND_KEEP: PairUseKind
PAIR_USE_KIND_MEASURE: PairUseKind
PAIR_USE_KIND_TEST: PairUseKind
PAIR_USE_KIND_BELL_TEST: PairUseKind

class PairStream(_message.Message):
    __slots__ = ("name", "source_node", "target_node", "kind", "min_fidelity", "rate_hz", "priority", "deadline_unix_nanos", "pair_count", "max_rounds", "test_ratio", "key_link", "avoid_nodes", "tenant", "revision", "etag")
    NAME_FIELD_NUMBER: _ClassVar[int]
    SOURCE_NODE_FIELD_NUMBER: _ClassVar[int]
    TARGET_NODE_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    MIN_FIDELITY_FIELD_NUMBER: _ClassVar[int]
    RATE_HZ_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    DEADLINE_UNIX_NANOS_FIELD_NUMBER: _ClassVar[int]
    PAIR_COUNT_FIELD_NUMBER: _ClassVar[int]
    MAX_ROUNDS_FIELD_NUMBER: _ClassVar[int]
    TEST_RATIO_FIELD_NUMBER: _ClassVar[int]
    KEY_LINK_FIELD_NUMBER: _ClassVar[int]
    AVOID_NODES_FIELD_NUMBER: _ClassVar[int]
    TENANT_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    name: str
    source_node: str
    target_node: str
    kind: PairKind
    min_fidelity: float
    rate_hz: float
    priority: int
    deadline_unix_nanos: int
    pair_count: int
    max_rounds: int
    test_ratio: float
    key_link: str
    avoid_nodes: _containers.RepeatedScalarFieldContainer[str]
    tenant: str
    revision: int
    etag: str
    def __init__(self, name: _Optional[str] = ..., source_node: _Optional[str] = ..., target_node: _Optional[str] = ..., kind: _Optional[_Union[PairKind, str]] = ..., min_fidelity: _Optional[float] = ..., rate_hz: _Optional[float] = ..., priority: _Optional[int] = ..., deadline_unix_nanos: _Optional[int] = ..., pair_count: _Optional[int] = ..., max_rounds: _Optional[int] = ..., test_ratio: _Optional[float] = ..., key_link: _Optional[str] = ..., avoid_nodes: _Optional[_Iterable[str]] = ..., tenant: _Optional[str] = ..., revision: _Optional[int] = ..., etag: _Optional[str] = ...) -> None: ...

class MemoryBank(_message.Message):
    __slots__ = ("model", "memories", "t1_seconds", "t2_seconds", "swap_success_ratio", "swap_fidelity", "readout_fidelity", "emulated")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    MEMORIES_FIELD_NUMBER: _ClassVar[int]
    T1_SECONDS_FIELD_NUMBER: _ClassVar[int]
    T2_SECONDS_FIELD_NUMBER: _ClassVar[int]
    SWAP_SUCCESS_RATIO_FIELD_NUMBER: _ClassVar[int]
    SWAP_FIDELITY_FIELD_NUMBER: _ClassVar[int]
    READOUT_FIDELITY_FIELD_NUMBER: _ClassVar[int]
    EMULATED_FIELD_NUMBER: _ClassVar[int]
    model: str
    memories: int
    t1_seconds: float
    t2_seconds: float
    swap_success_ratio: float
    swap_fidelity: float
    readout_fidelity: float
    emulated: bool
    def __init__(self, model: _Optional[str] = ..., memories: _Optional[int] = ..., t1_seconds: _Optional[float] = ..., t2_seconds: _Optional[float] = ..., swap_success_ratio: _Optional[float] = ..., swap_fidelity: _Optional[float] = ..., readout_fidelity: _Optional[float] = ..., emulated: _Optional[bool] = ...) -> None: ...

class PairLinkEnd(_message.Message):
    __slots__ = ("link", "peer_node", "model", "attempt_rate_hz", "memories", "length_km")
    LINK_FIELD_NUMBER: _ClassVar[int]
    PEER_NODE_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_RATE_HZ_FIELD_NUMBER: _ClassVar[int]
    MEMORIES_FIELD_NUMBER: _ClassVar[int]
    LENGTH_KM_FIELD_NUMBER: _ClassVar[int]
    link: str
    peer_node: str
    model: str
    attempt_rate_hz: float
    memories: int
    length_km: float
    def __init__(self, link: _Optional[str] = ..., peer_node: _Optional[str] = ..., model: _Optional[str] = ..., attempt_rate_hz: _Optional[float] = ..., memories: _Optional[int] = ..., length_km: _Optional[float] = ...) -> None: ...

class PairTests(_message.Message):
    __slots__ = ("x_total", "x_equal_total", "y_total", "y_equal_total", "z_total", "z_equal_total")
    X_TOTAL_FIELD_NUMBER: _ClassVar[int]
    X_EQUAL_TOTAL_FIELD_NUMBER: _ClassVar[int]
    Y_TOTAL_FIELD_NUMBER: _ClassVar[int]
    Y_EQUAL_TOTAL_FIELD_NUMBER: _ClassVar[int]
    Z_TOTAL_FIELD_NUMBER: _ClassVar[int]
    Z_EQUAL_TOTAL_FIELD_NUMBER: _ClassVar[int]
    x_total: int
    x_equal_total: int
    y_total: int
    y_equal_total: int
    z_total: int
    z_equal_total: int
    def __init__(self, x_total: _Optional[int] = ..., x_equal_total: _Optional[int] = ..., y_total: _Optional[int] = ..., y_equal_total: _Optional[int] = ..., z_total: _Optional[int] = ..., z_equal_total: _Optional[int] = ...) -> None: ...

class PairLinkCounts(_message.Message):
    __slots__ = ("link", "attempts_total", "heralds_total", "attempting_seconds_total", "tests", "status")
    LINK_FIELD_NUMBER: _ClassVar[int]
    ATTEMPTS_TOTAL_FIELD_NUMBER: _ClassVar[int]
    HERALDS_TOTAL_FIELD_NUMBER: _ClassVar[int]
    ATTEMPTING_SECONDS_TOTAL_FIELD_NUMBER: _ClassVar[int]
    TESTS_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    link: str
    attempts_total: int
    heralds_total: int
    attempting_seconds_total: float
    tests: PairTests
    status: _types_pb2.LinkStatus
    def __init__(self, link: _Optional[str] = ..., attempts_total: _Optional[int] = ..., heralds_total: _Optional[int] = ..., attempting_seconds_total: _Optional[float] = ..., tests: _Optional[_Union[PairTests, _Mapping]] = ..., status: _Optional[_Union[_types_pb2.LinkStatus, str]] = ...) -> None: ...

class MemoryState(_message.Message):
    __slots__ = ("working", "attempting", "holding", "t1_seconds", "t2_seconds", "swaps_total", "swaps_succeeded_total")
    WORKING_FIELD_NUMBER: _ClassVar[int]
    ATTEMPTING_FIELD_NUMBER: _ClassVar[int]
    HOLDING_FIELD_NUMBER: _ClassVar[int]
    T1_SECONDS_FIELD_NUMBER: _ClassVar[int]
    T2_SECONDS_FIELD_NUMBER: _ClassVar[int]
    SWAPS_TOTAL_FIELD_NUMBER: _ClassVar[int]
    SWAPS_SUCCEEDED_TOTAL_FIELD_NUMBER: _ClassVar[int]
    working: int
    attempting: int
    holding: int
    t1_seconds: float
    t2_seconds: float
    swaps_total: int
    swaps_succeeded_total: int
    def __init__(self, working: _Optional[int] = ..., attempting: _Optional[int] = ..., holding: _Optional[int] = ..., t1_seconds: _Optional[float] = ..., t2_seconds: _Optional[float] = ..., swaps_total: _Optional[int] = ..., swaps_succeeded_total: _Optional[int] = ...) -> None: ...

class PairStreamCounts(_message.Message):
    __slots__ = ("stream", "is_source", "path_id", "delivered_total", "tested_total", "expired_total", "swaps_failed_total", "purifications_total", "purifications_failed_total", "withdrawn_total", "tests", "waiting_seconds_total", "kept")
    STREAM_FIELD_NUMBER: _ClassVar[int]
    IS_SOURCE_FIELD_NUMBER: _ClassVar[int]
    PATH_ID_FIELD_NUMBER: _ClassVar[int]
    DELIVERED_TOTAL_FIELD_NUMBER: _ClassVar[int]
    TESTED_TOTAL_FIELD_NUMBER: _ClassVar[int]
    EXPIRED_TOTAL_FIELD_NUMBER: _ClassVar[int]
    SWAPS_FAILED_TOTAL_FIELD_NUMBER: _ClassVar[int]
    PURIFICATIONS_TOTAL_FIELD_NUMBER: _ClassVar[int]
    PURIFICATIONS_FAILED_TOTAL_FIELD_NUMBER: _ClassVar[int]
    WITHDRAWN_TOTAL_FIELD_NUMBER: _ClassVar[int]
    TESTS_FIELD_NUMBER: _ClassVar[int]
    WAITING_SECONDS_TOTAL_FIELD_NUMBER: _ClassVar[int]
    KEPT_FIELD_NUMBER: _ClassVar[int]
    stream: str
    is_source: bool
    path_id: str
    delivered_total: int
    tested_total: int
    expired_total: int
    swaps_failed_total: int
    purifications_total: int
    purifications_failed_total: int
    withdrawn_total: int
    tests: PairTests
    waiting_seconds_total: float
    kept: int
    def __init__(self, stream: _Optional[str] = ..., is_source: _Optional[bool] = ..., path_id: _Optional[str] = ..., delivered_total: _Optional[int] = ..., tested_total: _Optional[int] = ..., expired_total: _Optional[int] = ..., swaps_failed_total: _Optional[int] = ..., purifications_total: _Optional[int] = ..., purifications_failed_total: _Optional[int] = ..., withdrawn_total: _Optional[int] = ..., tests: _Optional[_Union[PairTests, _Mapping]] = ..., waiting_seconds_total: _Optional[float] = ..., kept: _Optional[int] = ...) -> None: ...

class PairRule(_message.Message):
    __slots__ = ("stream", "path_id", "nodes", "links", "position", "left_memories", "right_memories", "steps", "kind", "min_fidelity", "rate_hz", "test_ratio", "key_link", "deadline_unix_nanos", "pair_count", "revision")
    STREAM_FIELD_NUMBER: _ClassVar[int]
    PATH_ID_FIELD_NUMBER: _ClassVar[int]
    NODES_FIELD_NUMBER: _ClassVar[int]
    LINKS_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    LEFT_MEMORIES_FIELD_NUMBER: _ClassVar[int]
    RIGHT_MEMORIES_FIELD_NUMBER: _ClassVar[int]
    STEPS_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    MIN_FIDELITY_FIELD_NUMBER: _ClassVar[int]
    RATE_HZ_FIELD_NUMBER: _ClassVar[int]
    TEST_RATIO_FIELD_NUMBER: _ClassVar[int]
    KEY_LINK_FIELD_NUMBER: _ClassVar[int]
    DEADLINE_UNIX_NANOS_FIELD_NUMBER: _ClassVar[int]
    PAIR_COUNT_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    stream: str
    path_id: str
    nodes: _containers.RepeatedScalarFieldContainer[str]
    links: _containers.RepeatedScalarFieldContainer[str]
    position: int
    left_memories: int
    right_memories: int
    steps: _containers.RepeatedCompositeFieldContainer[PairStep]
    kind: PairKind
    min_fidelity: float
    rate_hz: float
    test_ratio: float
    key_link: str
    deadline_unix_nanos: int
    pair_count: int
    revision: int
    def __init__(self, stream: _Optional[str] = ..., path_id: _Optional[str] = ..., nodes: _Optional[_Iterable[str]] = ..., links: _Optional[_Iterable[str]] = ..., position: _Optional[int] = ..., left_memories: _Optional[int] = ..., right_memories: _Optional[int] = ..., steps: _Optional[_Iterable[_Union[PairStep, _Mapping]]] = ..., kind: _Optional[_Union[PairKind, str]] = ..., min_fidelity: _Optional[float] = ..., rate_hz: _Optional[float] = ..., test_ratio: _Optional[float] = ..., key_link: _Optional[str] = ..., deadline_unix_nanos: _Optional[int] = ..., pair_count: _Optional[int] = ..., revision: _Optional[int] = ...) -> None: ...

class PairStep(_message.Message):
    __slots__ = ("partner", "rounds", "cutoff", "purify", "swap", "deliver")
    PARTNER_FIELD_NUMBER: _ClassVar[int]
    ROUNDS_FIELD_NUMBER: _ClassVar[int]
    CUTOFF_FIELD_NUMBER: _ClassVar[int]
    PURIFY_FIELD_NUMBER: _ClassVar[int]
    SWAP_FIELD_NUMBER: _ClassVar[int]
    DELIVER_FIELD_NUMBER: _ClassVar[int]
    partner: str
    rounds: int
    cutoff: PairCutoff
    purify: PairPurify
    swap: PairSwap
    deliver: PairDeliver
    def __init__(self, partner: _Optional[str] = ..., rounds: _Optional[int] = ..., cutoff: _Optional[_Union[PairCutoff, _Mapping]] = ..., purify: _Optional[_Union[PairPurify, _Mapping]] = ..., swap: _Optional[_Union[PairSwap, _Mapping]] = ..., deliver: _Optional[_Union[PairDeliver, _Mapping]] = ...) -> None: ...

class PairCutoff(_message.Message):
    __slots__ = ("seconds",)
    SECONDS_FIELD_NUMBER: _ClassVar[int]
    seconds: float
    def __init__(self, seconds: _Optional[float] = ...) -> None: ...

class PairPurify(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class PairSwap(_message.Message):
    __slots__ = ("with_partner", "with_rounds")
    WITH_PARTNER_FIELD_NUMBER: _ClassVar[int]
    WITH_ROUNDS_FIELD_NUMBER: _ClassVar[int]
    with_partner: str
    with_rounds: int
    def __init__(self, with_partner: _Optional[str] = ..., with_rounds: _Optional[int] = ...) -> None: ...

class PairDeliver(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class PairLinkRule(_message.Message):
    __slots__ = ("link", "peer_node", "test_rate_hz")
    LINK_FIELD_NUMBER: _ClassVar[int]
    PEER_NODE_FIELD_NUMBER: _ClassVar[int]
    TEST_RATE_HZ_FIELD_NUMBER: _ClassVar[int]
    link: str
    peer_node: str
    test_rate_hz: float
    def __init__(self, link: _Optional[str] = ..., peer_node: _Optional[str] = ..., test_rate_hz: _Optional[float] = ...) -> None: ...

class PairMessages(_message.Message):
    __slots__ = ("stream", "path_id", "messages")
    STREAM_FIELD_NUMBER: _ClassVar[int]
    PATH_ID_FIELD_NUMBER: _ClassVar[int]
    MESSAGES_FIELD_NUMBER: _ClassVar[int]
    stream: str
    path_id: str
    messages: _containers.RepeatedCompositeFieldContainer[PairMessage]
    def __init__(self, stream: _Optional[str] = ..., path_id: _Optional[str] = ..., messages: _Optional[_Iterable[_Union[PairMessage, _Mapping]]] = ...) -> None: ...

class PairMessage(_message.Message):
    __slots__ = ("swapped", "gone", "purifying", "purified", "use", "used")
    SWAPPED_FIELD_NUMBER: _ClassVar[int]
    GONE_FIELD_NUMBER: _ClassVar[int]
    PURIFYING_FIELD_NUMBER: _ClassVar[int]
    PURIFIED_FIELD_NUMBER: _ClassVar[int]
    USE_FIELD_NUMBER: _ClassVar[int]
    USED_FIELD_NUMBER: _ClassVar[int]
    swapped: PairSwapped
    gone: PairGone
    purifying: PairPurifying
    purified: PairPurified
    use: PairUse
    used: PairUsed
    def __init__(self, swapped: _Optional[_Union[PairSwapped, _Mapping]] = ..., gone: _Optional[_Union[PairGone, _Mapping]] = ..., purifying: _Optional[_Union[PairPurifying, _Mapping]] = ..., purified: _Optional[_Union[PairPurified, _Mapping]] = ..., use: _Optional[_Union[PairUse, _Mapping]] = ..., used: _Optional[_Union[PairUsed, _Mapping]] = ...) -> None: ...

class PairSwapped(_message.Message):
    __slots__ = ("pair_id", "new_pair_id", "partner", "x", "z", "oldest_unix_nanos", "failed", "age_seconds")
    PAIR_ID_FIELD_NUMBER: _ClassVar[int]
    NEW_PAIR_ID_FIELD_NUMBER: _ClassVar[int]
    PARTNER_FIELD_NUMBER: _ClassVar[int]
    X_FIELD_NUMBER: _ClassVar[int]
    Z_FIELD_NUMBER: _ClassVar[int]
    OLDEST_UNIX_NANOS_FIELD_NUMBER: _ClassVar[int]
    FAILED_FIELD_NUMBER: _ClassVar[int]
    AGE_SECONDS_FIELD_NUMBER: _ClassVar[int]
    pair_id: bytes
    new_pair_id: bytes
    partner: str
    x: bool
    z: bool
    oldest_unix_nanos: int
    failed: bool
    age_seconds: float
    def __init__(self, pair_id: _Optional[bytes] = ..., new_pair_id: _Optional[bytes] = ..., partner: _Optional[str] = ..., x: _Optional[bool] = ..., z: _Optional[bool] = ..., oldest_unix_nanos: _Optional[int] = ..., failed: _Optional[bool] = ..., age_seconds: _Optional[float] = ...) -> None: ...

class PairGone(_message.Message):
    __slots__ = ("pair_id", "reason")
    PAIR_ID_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    pair_id: bytes
    reason: str
    def __init__(self, pair_id: _Optional[bytes] = ..., reason: _Optional[str] = ...) -> None: ...

class PairPurifying(_message.Message):
    __slots__ = ("kept_pair_id", "measured_pair_id", "round", "outcome")
    KEPT_PAIR_ID_FIELD_NUMBER: _ClassVar[int]
    MEASURED_PAIR_ID_FIELD_NUMBER: _ClassVar[int]
    ROUND_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    kept_pair_id: bytes
    measured_pair_id: bytes
    round: int
    outcome: bool
    def __init__(self, kept_pair_id: _Optional[bytes] = ..., measured_pair_id: _Optional[bytes] = ..., round: _Optional[int] = ..., outcome: _Optional[bool] = ...) -> None: ...

class PairPurified(_message.Message):
    __slots__ = ("kept_pair_id", "outcome")
    KEPT_PAIR_ID_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    kept_pair_id: bytes
    outcome: bool
    def __init__(self, kept_pair_id: _Optional[bytes] = ..., outcome: _Optional[bool] = ...) -> None: ...

class PairUse(_message.Message):
    __slots__ = ("pair_id", "use", "number", "axis", "outcome")
    PAIR_ID_FIELD_NUMBER: _ClassVar[int]
    USE_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    AXIS_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    pair_id: bytes
    use: PairUseKind
    number: int
    axis: int
    outcome: bool
    def __init__(self, pair_id: _Optional[bytes] = ..., use: _Optional[_Union[PairUseKind, str]] = ..., number: _Optional[int] = ..., axis: _Optional[int] = ..., outcome: _Optional[bool] = ...) -> None: ...

class PairUsed(_message.Message):
    __slots__ = ("pair_id", "outcome", "setting")
    PAIR_ID_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    SETTING_FIELD_NUMBER: _ClassVar[int]
    pair_id: bytes
    outcome: bool
    setting: int
    def __init__(self, pair_id: _Optional[bytes] = ..., outcome: _Optional[bool] = ..., setting: _Optional[int] = ...) -> None: ...
