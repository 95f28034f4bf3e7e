from buf.validate import validate_pb2 as _validate_pb2
from keyweave.v1 import agent_pb2 as _agent_pb2
from keyweave.v1 import pairs_pb2 as _pairs_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class FaultKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    FAULT_KIND_UNSPECIFIED: _ClassVar[FaultKind]
    FAULT_KIND_CUT: _ClassVar[FaultKind]
    FAULT_KIND_EAVESDROP: _ClassVar[FaultKind]
    FAULT_KIND_ATTENUATE: _ClassVar[FaultKind]
    FAULT_KIND_DETECTOR: _ClassVar[FaultKind]
    FAULT_KIND_BEND: _ClassVar[FaultKind]
    FAULT_KIND_TAP: _ClassVar[FaultKind]
    FAULT_KIND_BLIND: _ClassVar[FaultKind]
    FAULT_KIND_DARK_BURST: _ClassVar[FaultKind]
    FAULT_KIND_LASER_DRIFT: _ClassVar[FaultKind]
    FAULT_KIND_CLOCK_LOSS: _ClassVar[FaultKind]
    FAULT_KIND_CLOUD: _ClassVar[FaultKind]
    FAULT_KIND_NODE_LOSS: _ClassVar[FaultKind]
    FAULT_KIND_NETWORK_DELAY: _ClassVar[FaultKind]
    FAULT_KIND_NETWORK_LOSS: _ClassVar[FaultKind]
    FAULT_KIND_PARTITION: _ClassVar[FaultKind]
    FAULT_KIND_MEMORY_FAILURE: _ClassVar[FaultKind]
    FAULT_KIND_DECOHERENCE: _ClassVar[FaultKind]
FAULT_KIND_UNSPECIFIED: FaultKind
FAULT_KIND_CUT: FaultKind
FAULT_KIND_EAVESDROP: FaultKind
FAULT_KIND_ATTENUATE: FaultKind
FAULT_KIND_DETECTOR: FaultKind
FAULT_KIND_BEND: FaultKind
FAULT_KIND_TAP: FaultKind
FAULT_KIND_BLIND: FaultKind
FAULT_KIND_DARK_BURST: FaultKind
FAULT_KIND_LASER_DRIFT: FaultKind
FAULT_KIND_CLOCK_LOSS: FaultKind
FAULT_KIND_CLOUD: FaultKind
FAULT_KIND_NODE_LOSS: FaultKind
FAULT_KIND_NETWORK_DELAY: FaultKind
FAULT_KIND_NETWORK_LOSS: FaultKind
FAULT_KIND_PARTITION: FaultKind
FAULT_KIND_MEMORY_FAILURE: FaultKind
FAULT_KIND_DECOHERENCE: FaultKind

class ListLinkEndsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListLinkEndsResponse(_message.Message):
    __slots__ = ("link_ends",)
    LINK_ENDS_FIELD_NUMBER: _ClassVar[int]
    link_ends: _containers.RepeatedCompositeFieldContainer[EmulatedLinkEnd]
    def __init__(self, link_ends: _Optional[_Iterable[_Union[EmulatedLinkEnd, _Mapping]]] = ...) -> None: ...

class EmulatedLinkEnd(_message.Message):
    __slots__ = ("link", "peer_node", "model", "block_bytes")
    LINK_FIELD_NUMBER: _ClassVar[int]
    PEER_NODE_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    BLOCK_BYTES_FIELD_NUMBER: _ClassVar[int]
    link: str
    peer_node: str
    model: str
    block_bytes: int
    def __init__(self, link: _Optional[str] = ..., peer_node: _Optional[str] = ..., model: _Optional[str] = ..., block_bytes: _Optional[int] = ...) -> None: ...

class WatchLinkEndRequest(_message.Message):
    __slots__ = ("link",)
    LINK_FIELD_NUMBER: _ClassVar[int]
    link: str
    def __init__(self, link: _Optional[str] = ...) -> None: ...

class WatchLinkEndResponse(_message.Message):
    __slots__ = ("samples", "device_fault")
    SAMPLES_FIELD_NUMBER: _ClassVar[int]
    DEVICE_FAULT_FIELD_NUMBER: _ClassVar[int]
    samples: _agent_pb2.LinkSamples
    device_fault: str
    def __init__(self, samples: _Optional[_Union[_agent_pb2.LinkSamples, _Mapping]] = ..., device_fault: _Optional[str] = ...) -> None: ...

class CalibrateLinkEndRequest(_message.Message):
    __slots__ = ("link",)
    LINK_FIELD_NUMBER: _ClassVar[int]
    link: str
    def __init__(self, link: _Optional[str] = ...) -> None: ...

class CalibrateLinkEndResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class TakeBlocksRequest(_message.Message):
    __slots__ = ("link", "first_block")
    LINK_FIELD_NUMBER: _ClassVar[int]
    FIRST_BLOCK_FIELD_NUMBER: _ClassVar[int]
    link: str
    first_block: int
    def __init__(self, link: _Optional[str] = ..., first_block: _Optional[int] = ...) -> None: ...

class TakeBlocksResponse(_message.Message):
    __slots__ = ("blocks",)
    BLOCKS_FIELD_NUMBER: _ClassVar[int]
    blocks: _containers.RepeatedCompositeFieldContainer[KeyBlock]
    def __init__(self, blocks: _Optional[_Iterable[_Union[KeyBlock, _Mapping]]] = ...) -> None: ...

class KeyBlock(_message.Message):
    __slots__ = ("number", "key", "produced_unix_nanos")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    PRODUCED_UNIX_NANOS_FIELD_NUMBER: _ClassVar[int]
    number: int
    key: bytes
    produced_unix_nanos: int
    def __init__(self, number: _Optional[int] = ..., key: _Optional[bytes] = ..., produced_unix_nanos: _Optional[int] = ...) -> None: ...

class Fault(_message.Message):
    __slots__ = ("link", "kind", "magnitude", "since_unix_nanos", "node", "ramp_seconds", "duration_seconds", "present_magnitude", "planned", "peer")
    LINK_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    MAGNITUDE_FIELD_NUMBER: _ClassVar[int]
    SINCE_UNIX_NANOS_FIELD_NUMBER: _ClassVar[int]
    NODE_FIELD_NUMBER: _ClassVar[int]
    RAMP_SECONDS_FIELD_NUMBER: _ClassVar[int]
    DURATION_SECONDS_FIELD_NUMBER: _ClassVar[int]
    PRESENT_MAGNITUDE_FIELD_NUMBER: _ClassVar[int]
    PLANNED_FIELD_NUMBER: _ClassVar[int]
    PEER_FIELD_NUMBER: _ClassVar[int]
    link: str
    kind: FaultKind
    magnitude: float
    since_unix_nanos: int
    node: str
    ramp_seconds: float
    duration_seconds: float
    present_magnitude: float
    planned: bool
    peer: str
    def __init__(self, link: _Optional[str] = ..., kind: _Optional[_Union[FaultKind, str]] = ..., magnitude: _Optional[float] = ..., since_unix_nanos: _Optional[int] = ..., node: _Optional[str] = ..., ramp_seconds: _Optional[float] = ..., duration_seconds: _Optional[float] = ..., present_magnitude: _Optional[float] = ..., planned: _Optional[bool] = ..., peer: _Optional[str] = ...) -> None: ...

class InjectFaultRequest(_message.Message):
    __slots__ = ("fault",)
    FAULT_FIELD_NUMBER: _ClassVar[int]
    fault: Fault
    def __init__(self, fault: _Optional[_Union[Fault, _Mapping]] = ...) -> None: ...

class InjectFaultResponse(_message.Message):
    __slots__ = ("fault",)
    FAULT_FIELD_NUMBER: _ClassVar[int]
    fault: Fault
    def __init__(self, fault: _Optional[_Union[Fault, _Mapping]] = ...) -> None: ...

class RestoreLinkRequest(_message.Message):
    __slots__ = ("link",)
    LINK_FIELD_NUMBER: _ClassVar[int]
    link: str
    def __init__(self, link: _Optional[str] = ...) -> None: ...

class RestoreLinkResponse(_message.Message):
    __slots__ = ("ended", "time_unix_nanos")
    ENDED_FIELD_NUMBER: _ClassVar[int]
    TIME_UNIX_NANOS_FIELD_NUMBER: _ClassVar[int]
    ended: _containers.RepeatedCompositeFieldContainer[Fault]
    time_unix_nanos: int
    def __init__(self, ended: _Optional[_Iterable[_Union[Fault, _Mapping]]] = ..., time_unix_nanos: _Optional[int] = ...) -> None: ...

class RestoreNodeRequest(_message.Message):
    __slots__ = ("node",)
    NODE_FIELD_NUMBER: _ClassVar[int]
    node: str
    def __init__(self, node: _Optional[str] = ...) -> None: ...

class RestoreNodeResponse(_message.Message):
    __slots__ = ("ended", "time_unix_nanos")
    ENDED_FIELD_NUMBER: _ClassVar[int]
    TIME_UNIX_NANOS_FIELD_NUMBER: _ClassVar[int]
    ended: _containers.RepeatedCompositeFieldContainer[Fault]
    time_unix_nanos: int
    def __init__(self, ended: _Optional[_Iterable[_Union[Fault, _Mapping]]] = ..., time_unix_nanos: _Optional[int] = ...) -> None: ...

class ListFaultsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListFaultsResponse(_message.Message):
    __slots__ = ("faults",)
    FAULTS_FIELD_NUMBER: _ClassVar[int]
    faults: _containers.RepeatedCompositeFieldContainer[Fault]
    def __init__(self, faults: _Optional[_Iterable[_Union[Fault, _Mapping]]] = ...) -> None: ...

class DescribeMemoriesRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class DescribeMemoriesResponse(_message.Message):
    __slots__ = ("bank", "link_ends")
    BANK_FIELD_NUMBER: _ClassVar[int]
    LINK_ENDS_FIELD_NUMBER: _ClassVar[int]
    bank: _pairs_pb2.MemoryBank
    link_ends: _containers.RepeatedCompositeFieldContainer[_pairs_pb2.PairLinkEnd]
    def __init__(self, bank: _Optional[_Union[_pairs_pb2.MemoryBank, _Mapping]] = ..., link_ends: _Optional[_Iterable[_Union[_pairs_pb2.PairLinkEnd, _Mapping]]] = ...) -> None: ...

class OperateMemoriesRequest(_message.Message):
    __slots__ = ("commands",)
    COMMANDS_FIELD_NUMBER: _ClassVar[int]
    commands: _containers.RepeatedCompositeFieldContainer[MemoryCommand]
    def __init__(self, commands: _Optional[_Iterable[_Union[MemoryCommand, _Mapping]]] = ...) -> None: ...

class MemoryCommand(_message.Message):
    __slots__ = ("attempt", "release", "swap", "purify", "measure", "correct")
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    RELEASE_FIELD_NUMBER: _ClassVar[int]
    SWAP_FIELD_NUMBER: _ClassVar[int]
    PURIFY_FIELD_NUMBER: _ClassVar[int]
    MEASURE_FIELD_NUMBER: _ClassVar[int]
    CORRECT_FIELD_NUMBER: _ClassVar[int]
    attempt: MemoryAttempt
    release: MemoryRelease
    swap: MemorySwap
    purify: MemoryPurify
    measure: MemoryMeasure
    correct: MemoryCorrect
    def __init__(self, attempt: _Optional[_Union[MemoryAttempt, _Mapping]] = ..., release: _Optional[_Union[MemoryRelease, _Mapping]] = ..., swap: _Optional[_Union[MemorySwap, _Mapping]] = ..., purify: _Optional[_Union[MemoryPurify, _Mapping]] = ..., measure: _Optional[_Union[MemoryMeasure, _Mapping]] = ..., correct: _Optional[_Union[MemoryCorrect, _Mapping]] = ...) -> None: ...

class MemoryAttempt(_message.Message):
    __slots__ = ("memory", "link", "tag")
    MEMORY_FIELD_NUMBER: _ClassVar[int]
    LINK_FIELD_NUMBER: _ClassVar[int]
    TAG_FIELD_NUMBER: _ClassVar[int]
    memory: int
    link: str
    tag: str
    def __init__(self, memory: _Optional[int] = ..., link: _Optional[str] = ..., tag: _Optional[str] = ...) -> None: ...

class MemoryRelease(_message.Message):
    __slots__ = ("memory",)
    MEMORY_FIELD_NUMBER: _ClassVar[int]
    memory: int
    def __init__(self, memory: _Optional[int] = ...) -> None: ...

class MemorySwap(_message.Message):
    __slots__ = ("first", "second")
    FIRST_FIELD_NUMBER: _ClassVar[int]
    SECOND_FIELD_NUMBER: _ClassVar[int]
    first: int
    second: int
    def __init__(self, first: _Optional[int] = ..., second: _Optional[int] = ...) -> None: ...

class MemoryPurify(_message.Message):
    __slots__ = ("kept", "measured")
    KEPT_FIELD_NUMBER: _ClassVar[int]
    MEASURED_FIELD_NUMBER: _ClassVar[int]
    kept: int
    measured: int
    def __init__(self, kept: _Optional[int] = ..., measured: _Optional[int] = ...) -> None: ...

class MemoryMeasure(_message.Message):
    __slots__ = ("memory", "angle_radians", "along_y")
    MEMORY_FIELD_NUMBER: _ClassVar[int]
    ANGLE_RADIANS_FIELD_NUMBER: _ClassVar[int]
    ALONG_Y_FIELD_NUMBER: _ClassVar[int]
    memory: int
    angle_radians: float
    along_y: bool
    def __init__(self, memory: _Optional[int] = ..., angle_radians: _Optional[float] = ..., along_y: _Optional[bool] = ...) -> None: ...

class MemoryCorrect(_message.Message):
    __slots__ = ("memory", "x", "z")
    MEMORY_FIELD_NUMBER: _ClassVar[int]
    X_FIELD_NUMBER: _ClassVar[int]
    Z_FIELD_NUMBER: _ClassVar[int]
    memory: int
    x: bool
    z: bool
    def __init__(self, memory: _Optional[int] = ..., x: _Optional[bool] = ..., z: _Optional[bool] = ...) -> None: ...

class OperateMemoriesResponse(_message.Message):
    __slots__ = ("events",)
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    events: _containers.RepeatedCompositeFieldContainer[MemoryEvent]
    def __init__(self, events: _Optional[_Iterable[_Union[MemoryEvent, _Mapping]]] = ...) -> None: ...

class MemoryEvent(_message.Message):
    __slots__ = ("heralded", "swapped", "measured", "refused", "works", "link", "bank")
    HERALDED_FIELD_NUMBER: _ClassVar[int]
    SWAPPED_FIELD_NUMBER: _ClassVar[int]
    MEASURED_FIELD_NUMBER: _ClassVar[int]
    REFUSED_FIELD_NUMBER: _ClassVar[int]
    WORKS_FIELD_NUMBER: _ClassVar[int]
    LINK_FIELD_NUMBER: _ClassVar[int]
    BANK_FIELD_NUMBER: _ClassVar[int]
    heralded: MemoryHeralded
    swapped: MemorySwapped
    measured: MemoryMeasured
    refused: MemoryRefused
    works: MemoryWorks
    link: _pairs_pb2.PairLinkCounts
    bank: _pairs_pb2.MemoryBank
    def __init__(self, heralded: _Optional[_Union[MemoryHeralded, _Mapping]] = ..., swapped: _Optional[_Union[MemorySwapped, _Mapping]] = ..., measured: _Optional[_Union[MemoryMeasured, _Mapping]] = ..., refused: _Optional[_Union[MemoryRefused, _Mapping]] = ..., works: _Optional[_Union[MemoryWorks, _Mapping]] = ..., link: _Optional[_Union[_pairs_pb2.PairLinkCounts, _Mapping]] = ..., bank: _Optional[_Union[_pairs_pb2.MemoryBank, _Mapping]] = ...) -> None: ...

class MemoryHeralded(_message.Message):
    __slots__ = ("memory", "link", "tag", "number", "x", "z", "time_unix_nanos")
    MEMORY_FIELD_NUMBER: _ClassVar[int]
    LINK_FIELD_NUMBER: _ClassVar[int]
    TAG_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    X_FIELD_NUMBER: _ClassVar[int]
    Z_FIELD_NUMBER: _ClassVar[int]
    TIME_UNIX_NANOS_FIELD_NUMBER: _ClassVar[int]
    memory: int
    link: str
    tag: str
    number: int
    x: bool
    z: bool
    time_unix_nanos: int
    def __init__(self, memory: _Optional[int] = ..., link: _Optional[str] = ..., tag: _Optional[str] = ..., number: _Optional[int] = ..., x: _Optional[bool] = ..., z: _Optional[bool] = ..., time_unix_nanos: _Optional[int] = ...) -> None: ...

class MemorySwapped(_message.Message):
    __slots__ = ("first", "second", "succeeded", "x", "z")
    FIRST_FIELD_NUMBER: _ClassVar[int]
    SECOND_FIELD_NUMBER: _ClassVar[int]
    SUCCEEDED_FIELD_NUMBER: _ClassVar[int]
    X_FIELD_NUMBER: _ClassVar[int]
    Z_FIELD_NUMBER: _ClassVar[int]
    first: int
    second: int
    succeeded: bool
    x: bool
    z: bool
    def __init__(self, first: _Optional[int] = ..., second: _Optional[int] = ..., succeeded: _Optional[bool] = ..., x: _Optional[bool] = ..., z: _Optional[bool] = ...) -> None: ...

class MemoryMeasured(_message.Message):
    __slots__ = ("memory", "outcome")
    MEMORY_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    memory: int
    outcome: bool
    def __init__(self, memory: _Optional[int] = ..., outcome: _Optional[bool] = ...) -> None: ...

class MemoryRefused(_message.Message):
    __slots__ = ("memory", "reason")
    MEMORY_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    memory: int
    reason: str
    def __init__(self, memory: _Optional[int] = ..., reason: _Optional[str] = ...) -> None: ...

class MemoryWorks(_message.Message):
    __slots__ = ("memory", "works")
    MEMORY_FIELD_NUMBER: _ClassVar[int]
    WORKS_FIELD_NUMBER: _ClassVar[int]
    memory: int
    works: bool
    def __init__(self, memory: _Optional[int] = ..., works: _Optional[bool] = ...) -> None: ...
