from buf.validate import validate_pb2 as _validate_pb2
from keyweave.v1 import agent_pb2 as _agent_pb2
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
