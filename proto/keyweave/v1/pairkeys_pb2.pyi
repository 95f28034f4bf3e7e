from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class PairKeyMessage(_message.Message):
    __slots__ = ("session", "begin", "begun", "bases", "sifted", "checks", "correct", "ask", "parities", "corrected", "verify", "verified", "amplify", "amplified")
    SESSION_FIELD_NUMBER: _ClassVar[int]
    BEGIN_FIELD_NUMBER: _ClassVar[int]
    BEGUN_FIELD_NUMBER: _ClassVar[int]
    BASES_FIELD_NUMBER: _ClassVar[int]
    SIFTED_FIELD_NUMBER: _ClassVar[int]
    CHECKS_FIELD_NUMBER: _ClassVar[int]
    CORRECT_FIELD_NUMBER: _ClassVar[int]
    ASK_FIELD_NUMBER: _ClassVar[int]
    PARITIES_FIELD_NUMBER: _ClassVar[int]
    CORRECTED_FIELD_NUMBER: _ClassVar[int]
    VERIFY_FIELD_NUMBER: _ClassVar[int]
    VERIFIED_FIELD_NUMBER: _ClassVar[int]
    AMPLIFY_FIELD_NUMBER: _ClassVar[int]
    AMPLIFIED_FIELD_NUMBER: _ClassVar[int]
    session: bytes
    begin: PairKeyBegin
    begun: PairKeyBegun
    bases: PairKeyBases
    sifted: PairKeySifted
    checks: PairKeyChecks
    correct: PairKeyCorrect
    ask: PairKeyAsk
    parities: PairKeyParities
    corrected: PairKeyCorrected
    verify: PairKeyVerify
    verified: PairKeyVerified
    amplify: PairKeyAmplify
    amplified: PairKeyAmplified
    def __init__(self, session: _Optional[bytes] = ..., begin: _Optional[_Union[PairKeyBegin, _Mapping]] = ..., begun: _Optional[_Union[PairKeyBegun, _Mapping]] = ..., bases: _Optional[_Union[PairKeyBases, _Mapping]] = ..., sifted: _Optional[_Union[PairKeySifted, _Mapping]] = ..., checks: _Optional[_Union[PairKeyChecks, _Mapping]] = ..., correct: _Optional[_Union[PairKeyCorrect, _Mapping]] = ..., ask: _Optional[_Union[PairKeyAsk, _Mapping]] = ..., parities: _Optional[_Union[PairKeyParities, _Mapping]] = ..., corrected: _Optional[_Union[PairKeyCorrected, _Mapping]] = ..., verify: _Optional[_Union[PairKeyVerify, _Mapping]] = ..., verified: _Optional[_Union[PairKeyVerified, _Mapping]] = ..., amplify: _Optional[_Union[PairKeyAmplify, _Mapping]] = ..., amplified: _Optional[_Union[PairKeyAmplified, _Mapping]] = ...) -> None: ...

class PairKeyBegin(_message.Message):
    __slots__ = ("next_block", "block_bytes")
    NEXT_BLOCK_FIELD_NUMBER: _ClassVar[int]
    BLOCK_BYTES_FIELD_NUMBER: _ClassVar[int]
    next_block: int
    block_bytes: int
    def __init__(self, next_block: _Optional[int] = ..., block_bytes: _Optional[int] = ...) -> None: ...

class PairKeyBegun(_message.Message):
    __slots__ = ("next_block",)
    NEXT_BLOCK_FIELD_NUMBER: _ClassVar[int]
    next_block: int
    def __init__(self, next_block: _Optional[int] = ...) -> None: ...

class PairKeyBases(_message.Message):
    __slots__ = ("first_number", "count", "measured", "in_x", "path_id")
    FIRST_NUMBER_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    MEASURED_FIELD_NUMBER: _ClassVar[int]
    IN_X_FIELD_NUMBER: _ClassVar[int]
    PATH_ID_FIELD_NUMBER: _ClassVar[int]
    first_number: int
    count: int
    measured: bytes
    in_x: bytes
    path_id: str
    def __init__(self, first_number: _Optional[int] = ..., count: _Optional[int] = ..., measured: _Optional[bytes] = ..., in_x: _Optional[bytes] = ..., path_id: _Optional[str] = ...) -> None: ...

class PairKeySifted(_message.Message):
    __slots__ = ("first_number", "kept", "checks")
    FIRST_NUMBER_FIELD_NUMBER: _ClassVar[int]
    KEPT_FIELD_NUMBER: _ClassVar[int]
    CHECKS_FIELD_NUMBER: _ClassVar[int]
    first_number: int
    kept: bytes
    checks: bytes
    def __init__(self, first_number: _Optional[int] = ..., kept: _Optional[bytes] = ..., checks: _Optional[bytes] = ...) -> None: ...

class PairKeyChecks(_message.Message):
    __slots__ = ("first_number", "checks")
    FIRST_NUMBER_FIELD_NUMBER: _ClassVar[int]
    CHECKS_FIELD_NUMBER: _ClassVar[int]
    first_number: int
    checks: bytes
    def __init__(self, first_number: _Optional[int] = ..., checks: _Optional[bytes] = ...) -> None: ...

class PairKeyCorrect(_message.Message):
    __slots__ = ("block", "key_bits", "seed", "error_ratio")
    BLOCK_FIELD_NUMBER: _ClassVar[int]
    KEY_BITS_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    ERROR_RATIO_FIELD_NUMBER: _ClassVar[int]
    block: int
    key_bits: int
    seed: bytes
    error_ratio: float
    def __init__(self, block: _Optional[int] = ..., key_bits: _Optional[int] = ..., seed: _Optional[bytes] = ..., error_ratio: _Optional[float] = ...) -> None: ...

class PairKeyAsk(_message.Message):
    __slots__ = ("block", "passes", "starts", "ends")
    BLOCK_FIELD_NUMBER: _ClassVar[int]
    PASSES_FIELD_NUMBER: _ClassVar[int]
    STARTS_FIELD_NUMBER: _ClassVar[int]
    ENDS_FIELD_NUMBER: _ClassVar[int]
    block: int
    passes: _containers.RepeatedScalarFieldContainer[int]
    starts: _containers.RepeatedScalarFieldContainer[int]
    ends: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, block: _Optional[int] = ..., passes: _Optional[_Iterable[int]] = ..., starts: _Optional[_Iterable[int]] = ..., ends: _Optional[_Iterable[int]] = ...) -> None: ...

class PairKeyParities(_message.Message):
    __slots__ = ("block", "parities")
    BLOCK_FIELD_NUMBER: _ClassVar[int]
    PARITIES_FIELD_NUMBER: _ClassVar[int]
    block: int
    parities: bytes
    def __init__(self, block: _Optional[int] = ..., parities: _Optional[bytes] = ...) -> None: ...

class PairKeyCorrected(_message.Message):
    __slots__ = ("block", "corrected_bits", "leaked_bits")
    BLOCK_FIELD_NUMBER: _ClassVar[int]
    CORRECTED_BITS_FIELD_NUMBER: _ClassVar[int]
    LEAKED_BITS_FIELD_NUMBER: _ClassVar[int]
    block: int
    corrected_bits: int
    leaked_bits: int
    def __init__(self, block: _Optional[int] = ..., corrected_bits: _Optional[int] = ..., leaked_bits: _Optional[int] = ...) -> None: ...

class PairKeyVerify(_message.Message):
    __slots__ = ("block", "seed", "hash")
    BLOCK_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    HASH_FIELD_NUMBER: _ClassVar[int]
    block: int
    seed: bytes
    hash: bytes
    def __init__(self, block: _Optional[int] = ..., seed: _Optional[bytes] = ..., hash: _Optional[bytes] = ...) -> None: ...

class PairKeyVerified(_message.Message):
    __slots__ = ("block", "equal")
    BLOCK_FIELD_NUMBER: _ClassVar[int]
    EQUAL_FIELD_NUMBER: _ClassVar[int]
    block: int
    equal: bool
    def __init__(self, block: _Optional[int] = ..., equal: _Optional[bool] = ...) -> None: ...

class PairKeyAmplify(_message.Message):
    __slots__ = ("block", "secret_bits", "seed")
    BLOCK_FIELD_NUMBER: _ClassVar[int]
    SECRET_BITS_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    block: int
    secret_bits: int
    seed: bytes
    def __init__(self, block: _Optional[int] = ..., secret_bits: _Optional[int] = ..., seed: _Optional[bytes] = ...) -> None: ...

class PairKeyAmplified(_message.Message):
    __slots__ = ("block",)
    BLOCK_FIELD_NUMBER: _ClassVar[int]
    block: int
    def __init__(self, block: _Optional[int] = ...) -> None: ...
