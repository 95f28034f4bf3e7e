from keyweave.v1 import pairs_pb2 as _pairs_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class FailureCode(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    FAILURE_CODE_UNSPECIFIED: _ClassVar[FailureCode]
    FAILURE_CODE_NOT_ALLOWED: _ClassVar[FailureCode]
    FAILURE_CODE_OVER_BUDGET: _ClassVar[FailureCode]
    FAILURE_CODE_POOL_EXHAUSTED: _ClassVar[FailureCode]
    FAILURE_CODE_UNREACHABLE: _ClassVar[FailureCode]
    FAILURE_CODE_POOL_MISMATCH: _ClassVar[FailureCode]
    FAILURE_CODE_BAD_TAG: _ClassVar[FailureCode]
    FAILURE_CODE_CONFIRMATION_MISMATCH: _ClassVar[FailureCode]
    FAILURE_CODE_UNKNOWN_STATE: _ClassVar[FailureCode]
    FAILURE_CODE_MALFORMED: _ClassVar[FailureCode]
    FAILURE_CODE_LINK_UNUSABLE: _ClassVar[FailureCode]
FAILURE_CODE_UNSPECIFIED: FailureCode
FAILURE_CODE_NOT_ALLOWED: FailureCode
FAILURE_CODE_OVER_BUDGET: FailureCode
FAILURE_CODE_POOL_EXHAUSTED: FailureCode
FAILURE_CODE_UNREACHABLE: FailureCode
FAILURE_CODE_POOL_MISMATCH: FailureCode
FAILURE_CODE_BAD_TAG: FailureCode
FAILURE_CODE_CONFIRMATION_MISMATCH: FailureCode
FAILURE_CODE_UNKNOWN_STATE: FailureCode
FAILURE_CODE_MALFORMED: FailureCode
FAILURE_CODE_LINK_UNUSABLE: FailureCode

class SessionRequest(_message.Message):
    __slots__ = ("frames",)
    FRAMES_FIELD_NUMBER: _ClassVar[int]
    frames: _containers.RepeatedCompositeFieldContainer[Frame]
    def __init__(self, frames: _Optional[_Iterable[_Union[Frame, _Mapping]]] = ...) -> None: ...

class SessionResponse(_message.Message):
    __slots__ = ("frames",)
    FRAMES_FIELD_NUMBER: _ClassVar[int]
    frames: _containers.RepeatedCompositeFieldContainer[Frame]
    def __init__(self, frames: _Optional[_Iterable[_Union[Frame, _Mapping]]] = ...) -> None: ...

class Frame(_message.Message):
    __slots__ = ("id", "is_reply", "hello", "heartbeat", "failure", "proof", "pool_open", "pool_opened", "pool_intake", "pool_grant", "pool_grant_request", "pool_destroy", "pool_truncate", "pool_burn", "relay", "relay_accepted", "kem_offer", "kem_answer", "offer", "confirm", "withdraw", "withdrawn", "assemble", "assembled", "quarantine", "driver_message", "pair_messages")
    ID_FIELD_NUMBER: _ClassVar[int]
    IS_REPLY_FIELD_NUMBER: _ClassVar[int]
    HELLO_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_FIELD_NUMBER: _ClassVar[int]
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    PROOF_FIELD_NUMBER: _ClassVar[int]
    POOL_OPEN_FIELD_NUMBER: _ClassVar[int]
    POOL_OPENED_FIELD_NUMBER: _ClassVar[int]
    POOL_INTAKE_FIELD_NUMBER: _ClassVar[int]
    POOL_GRANT_FIELD_NUMBER: _ClassVar[int]
    POOL_GRANT_REQUEST_FIELD_NUMBER: _ClassVar[int]
    POOL_DESTROY_FIELD_NUMBER: _ClassVar[int]
    POOL_TRUNCATE_FIELD_NUMBER: _ClassVar[int]
    POOL_BURN_FIELD_NUMBER: _ClassVar[int]
    RELAY_FIELD_NUMBER: _ClassVar[int]
    RELAY_ACCEPTED_FIELD_NUMBER: _ClassVar[int]
    KEM_OFFER_FIELD_NUMBER: _ClassVar[int]
    KEM_ANSWER_FIELD_NUMBER: _ClassVar[int]
    OFFER_FIELD_NUMBER: _ClassVar[int]
    CONFIRM_FIELD_NUMBER: _ClassVar[int]
    WITHDRAW_FIELD_NUMBER: _ClassVar[int]
    WITHDRAWN_FIELD_NUMBER: _ClassVar[int]
    ASSEMBLE_FIELD_NUMBER: _ClassVar[int]
    ASSEMBLED_FIELD_NUMBER: _ClassVar[int]
    QUARANTINE_FIELD_NUMBER: _ClassVar[int]
    DRIVER_MESSAGE_FIELD_NUMBER: _ClassVar[int]
    PAIR_MESSAGES_FIELD_NUMBER: _ClassVar[int]
    id: int
    is_reply: bool
    hello: SessionHello
    heartbeat: SessionHeartbeat
    failure: Failure
    proof: SessionProof
    pool_open: PoolOpen
    pool_opened: PoolOpened
    pool_intake: PoolIntake
    pool_grant: PoolGrant
    pool_grant_request: PoolGrantRequest
    pool_destroy: PoolDestroy
    pool_truncate: PoolTruncate
    pool_burn: PoolBurn
    relay: Relay
    relay_accepted: RelayAccepted
    kem_offer: KemOffer
    kem_answer: KemAnswer
    offer: Offer
    confirm: Confirm
    withdraw: Withdraw
    withdrawn: Withdrawn
    assemble: Assemble
    assembled: Assembled
    quarantine: Quarantine
    driver_message: DriverMessage
    pair_messages: _pairs_pb2.PairMessages
    def __init__(self, id: _Optional[int] = ..., is_reply: _Optional[bool] = ..., hello: _Optional[_Union[SessionHello, _Mapping]] = ..., heartbeat: _Optional[_Union[SessionHeartbeat, _Mapping]] = ..., failure: _Optional[_Union[Failure, _Mapping]] = ..., proof: _Optional[_Union[SessionProof, _Mapping]] = ..., pool_open: _Optional[_Union[PoolOpen, _Mapping]] = ..., pool_opened: _Optional[_Union[PoolOpened, _Mapping]] = ..., pool_intake: _Optional[_Union[PoolIntake, _Mapping]] = ..., pool_grant: _Optional[_Union[PoolGrant, _Mapping]] = ..., pool_grant_request: _Optional[_Union[PoolGrantRequest, _Mapping]] = ..., pool_destroy: _Optional[_Union[PoolDestroy, _Mapping]] = ..., pool_truncate: _Optional[_Union[PoolTruncate, _Mapping]] = ..., pool_burn: _Optional[_Union[PoolBurn, _Mapping]] = ..., relay: _Optional[_Union[Relay, _Mapping]] = ..., relay_accepted: _Optional[_Union[RelayAccepted, _Mapping]] = ..., kem_offer: _Optional[_Union[KemOffer, _Mapping]] = ..., kem_answer: _Optional[_Union[KemAnswer, _Mapping]] = ..., offer: _Optional[_Union[Offer, _Mapping]] = ..., confirm: _Optional[_Union[Confirm, _Mapping]] = ..., withdraw: _Optional[_Union[Withdraw, _Mapping]] = ..., withdrawn: _Optional[_Union[Withdrawn, _Mapping]] = ..., assemble: _Optional[_Union[Assemble, _Mapping]] = ..., assembled: _Optional[_Union[Assembled, _Mapping]] = ..., quarantine: _Optional[_Union[Quarantine, _Mapping]] = ..., driver_message: _Optional[_Union[DriverMessage, _Mapping]] = ..., pair_messages: _Optional[_Union[_pairs_pb2.PairMessages, _Mapping]] = ...) -> None: ...

class SessionHello(_message.Message):
    __slots__ = ("node", "incarnation", "signing_certificate", "challenge")
    NODE_FIELD_NUMBER: _ClassVar[int]
    INCARNATION_FIELD_NUMBER: _ClassVar[int]
    SIGNING_CERTIFICATE_FIELD_NUMBER: _ClassVar[int]
    CHALLENGE_FIELD_NUMBER: _ClassVar[int]
    node: str
    incarnation: bytes
    signing_certificate: bytes
    challenge: bytes
    def __init__(self, node: _Optional[str] = ..., incarnation: _Optional[bytes] = ..., signing_certificate: _Optional[bytes] = ..., challenge: _Optional[bytes] = ...) -> None: ...

class SessionProof(_message.Message):
    __slots__ = ("signature",)
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    signature: bytes
    def __init__(self, signature: _Optional[bytes] = ...) -> None: ...

class SessionHeartbeat(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Failure(_message.Message):
    __slots__ = ("code", "reason", "node", "link")
    CODE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    NODE_FIELD_NUMBER: _ClassVar[int]
    LINK_FIELD_NUMBER: _ClassVar[int]
    code: FailureCode
    reason: str
    node: str
    link: str
    def __init__(self, code: _Optional[_Union[FailureCode, str]] = ..., reason: _Optional[str] = ..., node: _Optional[str] = ..., link: _Optional[str] = ...) -> None: ...

class PoolOpen(_message.Message):
    __slots__ = ("link", "pool_id", "first_block", "block_bytes", "end_block")
    LINK_FIELD_NUMBER: _ClassVar[int]
    POOL_ID_FIELD_NUMBER: _ClassVar[int]
    FIRST_BLOCK_FIELD_NUMBER: _ClassVar[int]
    BLOCK_BYTES_FIELD_NUMBER: _ClassVar[int]
    END_BLOCK_FIELD_NUMBER: _ClassVar[int]
    link: str
    pool_id: bytes
    first_block: int
    block_bytes: int
    end_block: int
    def __init__(self, link: _Optional[str] = ..., pool_id: _Optional[bytes] = ..., first_block: _Optional[int] = ..., block_bytes: _Optional[int] = ..., end_block: _Optional[int] = ...) -> None: ...

class PoolOpened(_message.Message):
    __slots__ = ("pool_id", "first_block", "link", "end_block")
    POOL_ID_FIELD_NUMBER: _ClassVar[int]
    FIRST_BLOCK_FIELD_NUMBER: _ClassVar[int]
    LINK_FIELD_NUMBER: _ClassVar[int]
    END_BLOCK_FIELD_NUMBER: _ClassVar[int]
    pool_id: bytes
    first_block: int
    link: str
    end_block: int
    def __init__(self, pool_id: _Optional[bytes] = ..., first_block: _Optional[int] = ..., link: _Optional[str] = ..., end_block: _Optional[int] = ...) -> None: ...

class PoolIntake(_message.Message):
    __slots__ = ("link", "pool_id", "next_block")
    LINK_FIELD_NUMBER: _ClassVar[int]
    POOL_ID_FIELD_NUMBER: _ClassVar[int]
    NEXT_BLOCK_FIELD_NUMBER: _ClassVar[int]
    link: str
    pool_id: bytes
    next_block: int
    def __init__(self, link: _Optional[str] = ..., pool_id: _Optional[bytes] = ..., next_block: _Optional[int] = ...) -> None: ...

class PoolGrant(_message.Message):
    __slots__ = ("link", "pool_id", "start_offset", "end_offset")
    LINK_FIELD_NUMBER: _ClassVar[int]
    POOL_ID_FIELD_NUMBER: _ClassVar[int]
    START_OFFSET_FIELD_NUMBER: _ClassVar[int]
    END_OFFSET_FIELD_NUMBER: _ClassVar[int]
    link: str
    pool_id: bytes
    start_offset: int
    end_offset: int
    def __init__(self, link: _Optional[str] = ..., pool_id: _Optional[bytes] = ..., start_offset: _Optional[int] = ..., end_offset: _Optional[int] = ...) -> None: ...

class PoolGrantRequest(_message.Message):
    __slots__ = ("link", "pool_id", "wanted_bytes")
    LINK_FIELD_NUMBER: _ClassVar[int]
    POOL_ID_FIELD_NUMBER: _ClassVar[int]
    WANTED_BYTES_FIELD_NUMBER: _ClassVar[int]
    link: str
    pool_id: bytes
    wanted_bytes: int
    def __init__(self, link: _Optional[str] = ..., pool_id: _Optional[bytes] = ..., wanted_bytes: _Optional[int] = ...) -> None: ...

class PoolBurn(_message.Message):
    __slots__ = ("link", "pool_id", "below_offset")
    LINK_FIELD_NUMBER: _ClassVar[int]
    POOL_ID_FIELD_NUMBER: _ClassVar[int]
    BELOW_OFFSET_FIELD_NUMBER: _ClassVar[int]
    link: str
    pool_id: bytes
    below_offset: int
    def __init__(self, link: _Optional[str] = ..., pool_id: _Optional[bytes] = ..., below_offset: _Optional[int] = ...) -> None: ...

class PoolDestroy(_message.Message):
    __slots__ = ("link", "pool_id", "reason")
    LINK_FIELD_NUMBER: _ClassVar[int]
    POOL_ID_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    link: str
    pool_id: bytes
    reason: str
    def __init__(self, link: _Optional[str] = ..., pool_id: _Optional[bytes] = ..., reason: _Optional[str] = ...) -> None: ...

class PoolTruncate(_message.Message):
    __slots__ = ("link", "pool_id", "from_block", "reason")
    LINK_FIELD_NUMBER: _ClassVar[int]
    POOL_ID_FIELD_NUMBER: _ClassVar[int]
    FROM_BLOCK_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    link: str
    pool_id: bytes
    from_block: int
    reason: str
    def __init__(self, link: _Optional[str] = ..., pool_id: _Optional[bytes] = ..., from_block: _Optional[int] = ..., reason: _Optional[str] = ...) -> None: ...

class Relay(_message.Message):
    __slots__ = ("stream", "path_id", "reverse", "batch_id", "share", "shares", "link", "pool_id", "first_lane", "offset", "ciphertext", "tag", "path_digest")
    STREAM_FIELD_NUMBER: _ClassVar[int]
    PATH_ID_FIELD_NUMBER: _ClassVar[int]
    REVERSE_FIELD_NUMBER: _ClassVar[int]
    BATCH_ID_FIELD_NUMBER: _ClassVar[int]
    SHARE_FIELD_NUMBER: _ClassVar[int]
    SHARES_FIELD_NUMBER: _ClassVar[int]
    LINK_FIELD_NUMBER: _ClassVar[int]
    POOL_ID_FIELD_NUMBER: _ClassVar[int]
    FIRST_LANE_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    CIPHERTEXT_FIELD_NUMBER: _ClassVar[int]
    TAG_FIELD_NUMBER: _ClassVar[int]
    PATH_DIGEST_FIELD_NUMBER: _ClassVar[int]
    stream: str
    path_id: str
    reverse: bool
    batch_id: bytes
    share: int
    shares: int
    link: str
    pool_id: bytes
    first_lane: bool
    offset: int
    ciphertext: bytes
    tag: bytes
    path_digest: bytes
    def __init__(self, stream: _Optional[str] = ..., path_id: _Optional[str] = ..., reverse: _Optional[bool] = ..., batch_id: _Optional[bytes] = ..., share: _Optional[int] = ..., shares: _Optional[int] = ..., link: _Optional[str] = ..., pool_id: _Optional[bytes] = ..., first_lane: _Optional[bool] = ..., offset: _Optional[int] = ..., ciphertext: _Optional[bytes] = ..., tag: _Optional[bytes] = ..., path_digest: _Optional[bytes] = ...) -> None: ...

class RelayAccepted(_message.Message):
    __slots__ = ("links", "emulated", "vendor_domains")
    LINKS_FIELD_NUMBER: _ClassVar[int]
    EMULATED_FIELD_NUMBER: _ClassVar[int]
    VENDOR_DOMAINS_FIELD_NUMBER: _ClassVar[int]
    links: _containers.RepeatedScalarFieldContainer[str]
    emulated: bool
    vendor_domains: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, links: _Optional[_Iterable[str]] = ..., emulated: _Optional[bool] = ..., vendor_domains: _Optional[_Iterable[str]] = ...) -> None: ...

class KemOffer(_message.Message):
    __slots__ = ("stream", "kem_id", "parameter_set", "encapsulation_key", "signature")
    STREAM_FIELD_NUMBER: _ClassVar[int]
    KEM_ID_FIELD_NUMBER: _ClassVar[int]
    PARAMETER_SET_FIELD_NUMBER: _ClassVar[int]
    ENCAPSULATION_KEY_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    stream: str
    kem_id: bytes
    parameter_set: int
    encapsulation_key: bytes
    signature: bytes
    def __init__(self, stream: _Optional[str] = ..., kem_id: _Optional[bytes] = ..., parameter_set: _Optional[int] = ..., encapsulation_key: _Optional[bytes] = ..., signature: _Optional[bytes] = ...) -> None: ...

class KemAnswer(_message.Message):
    __slots__ = ("kem_id", "ciphertext", "signature")
    KEM_ID_FIELD_NUMBER: _ClassVar[int]
    CIPHERTEXT_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    kem_id: bytes
    ciphertext: bytes
    signature: bytes
    def __init__(self, kem_id: _Optional[bytes] = ..., ciphertext: _Optional[bytes] = ..., signature: _Optional[bytes] = ...) -> None: ...

class Offer(_message.Message):
    __slots__ = ("stream", "batch_id", "key_ids", "key_size_bits", "master_sae", "slave_sae", "path_ids", "kem_id", "kem_step", "emulated", "created_unix_nanos", "near_tag", "trusted_nodes", "vendor_domains")
    STREAM_FIELD_NUMBER: _ClassVar[int]
    BATCH_ID_FIELD_NUMBER: _ClassVar[int]
    KEY_IDS_FIELD_NUMBER: _ClassVar[int]
    KEY_SIZE_BITS_FIELD_NUMBER: _ClassVar[int]
    MASTER_SAE_FIELD_NUMBER: _ClassVar[int]
    SLAVE_SAE_FIELD_NUMBER: _ClassVar[int]
    PATH_IDS_FIELD_NUMBER: _ClassVar[int]
    KEM_ID_FIELD_NUMBER: _ClassVar[int]
    KEM_STEP_FIELD_NUMBER: _ClassVar[int]
    EMULATED_FIELD_NUMBER: _ClassVar[int]
    CREATED_UNIX_NANOS_FIELD_NUMBER: _ClassVar[int]
    NEAR_TAG_FIELD_NUMBER: _ClassVar[int]
    TRUSTED_NODES_FIELD_NUMBER: _ClassVar[int]
    VENDOR_DOMAINS_FIELD_NUMBER: _ClassVar[int]
    stream: str
    batch_id: bytes
    key_ids: _containers.RepeatedScalarFieldContainer[bytes]
    key_size_bits: int
    master_sae: str
    slave_sae: str
    path_ids: _containers.RepeatedScalarFieldContainer[str]
    kem_id: bytes
    kem_step: int
    emulated: bool
    created_unix_nanos: int
    near_tag: bytes
    trusted_nodes: _containers.RepeatedScalarFieldContainer[str]
    vendor_domains: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, stream: _Optional[str] = ..., batch_id: _Optional[bytes] = ..., key_ids: _Optional[_Iterable[bytes]] = ..., key_size_bits: _Optional[int] = ..., master_sae: _Optional[str] = ..., slave_sae: _Optional[str] = ..., path_ids: _Optional[_Iterable[str]] = ..., kem_id: _Optional[bytes] = ..., kem_step: _Optional[int] = ..., emulated: _Optional[bool] = ..., created_unix_nanos: _Optional[int] = ..., near_tag: _Optional[bytes] = ..., trusted_nodes: _Optional[_Iterable[str]] = ..., vendor_domains: _Optional[_Iterable[str]] = ...) -> None: ...

class Confirm(_message.Message):
    __slots__ = ("batch_id", "far_tag")
    BATCH_ID_FIELD_NUMBER: _ClassVar[int]
    FAR_TAG_FIELD_NUMBER: _ClassVar[int]
    batch_id: bytes
    far_tag: bytes
    def __init__(self, batch_id: _Optional[bytes] = ..., far_tag: _Optional[bytes] = ...) -> None: ...

class Withdraw(_message.Message):
    __slots__ = ("stream", "key_ids", "reason")
    STREAM_FIELD_NUMBER: _ClassVar[int]
    KEY_IDS_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    stream: str
    key_ids: _containers.RepeatedScalarFieldContainer[bytes]
    reason: str
    def __init__(self, stream: _Optional[str] = ..., key_ids: _Optional[_Iterable[bytes]] = ..., reason: _Optional[str] = ...) -> None: ...

class Withdrawn(_message.Message):
    __slots__ = ("destroyed",)
    DESTROYED_FIELD_NUMBER: _ClassVar[int]
    destroyed: int
    def __init__(self, destroyed: _Optional[int] = ...) -> None: ...

class Assemble(_message.Message):
    __slots__ = ("stream", "key_id", "key_size_bits", "master_sae", "slave_sae", "part_ids", "wrapped", "made_from", "near_tag")
    STREAM_FIELD_NUMBER: _ClassVar[int]
    KEY_ID_FIELD_NUMBER: _ClassVar[int]
    KEY_SIZE_BITS_FIELD_NUMBER: _ClassVar[int]
    MASTER_SAE_FIELD_NUMBER: _ClassVar[int]
    SLAVE_SAE_FIELD_NUMBER: _ClassVar[int]
    PART_IDS_FIELD_NUMBER: _ClassVar[int]
    WRAPPED_FIELD_NUMBER: _ClassVar[int]
    MADE_FROM_FIELD_NUMBER: _ClassVar[int]
    NEAR_TAG_FIELD_NUMBER: _ClassVar[int]
    stream: str
    key_id: bytes
    key_size_bits: int
    master_sae: str
    slave_sae: str
    part_ids: _containers.RepeatedScalarFieldContainer[bytes]
    wrapped: bytes
    made_from: _containers.RepeatedCompositeFieldContainer[AssembledFrom]
    near_tag: bytes
    def __init__(self, stream: _Optional[str] = ..., key_id: _Optional[bytes] = ..., key_size_bits: _Optional[int] = ..., master_sae: _Optional[str] = ..., slave_sae: _Optional[str] = ..., part_ids: _Optional[_Iterable[bytes]] = ..., wrapped: _Optional[bytes] = ..., made_from: _Optional[_Iterable[_Union[AssembledFrom, _Mapping]]] = ..., near_tag: _Optional[bytes] = ...) -> None: ...

class AssembledFrom(_message.Message):
    __slots__ = ("stream", "protection", "path_ids", "links", "trusted_nodes", "emulated", "shares", "vendor_domains")
    STREAM_FIELD_NUMBER: _ClassVar[int]
    PROTECTION_FIELD_NUMBER: _ClassVar[int]
    PATH_IDS_FIELD_NUMBER: _ClassVar[int]
    LINKS_FIELD_NUMBER: _ClassVar[int]
    TRUSTED_NODES_FIELD_NUMBER: _ClassVar[int]
    EMULATED_FIELD_NUMBER: _ClassVar[int]
    SHARES_FIELD_NUMBER: _ClassVar[int]
    VENDOR_DOMAINS_FIELD_NUMBER: _ClassVar[int]
    stream: str
    protection: str
    path_ids: _containers.RepeatedScalarFieldContainer[str]
    links: _containers.RepeatedScalarFieldContainer[str]
    trusted_nodes: _containers.RepeatedScalarFieldContainer[str]
    emulated: bool
    shares: int
    vendor_domains: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, stream: _Optional[str] = ..., protection: _Optional[str] = ..., path_ids: _Optional[_Iterable[str]] = ..., links: _Optional[_Iterable[str]] = ..., trusted_nodes: _Optional[_Iterable[str]] = ..., emulated: _Optional[bool] = ..., shares: _Optional[int] = ..., vendor_domains: _Optional[_Iterable[str]] = ...) -> None: ...

class Assembled(_message.Message):
    __slots__ = ("key_id", "far_tag")
    KEY_ID_FIELD_NUMBER: _ClassVar[int]
    FAR_TAG_FIELD_NUMBER: _ClassVar[int]
    key_id: bytes
    far_tag: bytes
    def __init__(self, key_id: _Optional[bytes] = ..., far_tag: _Optional[bytes] = ...) -> None: ...

class Quarantine(_message.Message):
    __slots__ = ("link", "streams", "since_unix_nanos", "reason")
    LINK_FIELD_NUMBER: _ClassVar[int]
    STREAMS_FIELD_NUMBER: _ClassVar[int]
    SINCE_UNIX_NANOS_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    link: str
    streams: _containers.RepeatedScalarFieldContainer[str]
    since_unix_nanos: int
    reason: str
    def __init__(self, link: _Optional[str] = ..., streams: _Optional[_Iterable[str]] = ..., since_unix_nanos: _Optional[int] = ..., reason: _Optional[str] = ...) -> None: ...

class DriverMessage(_message.Message):
    __slots__ = ("link", "body")
    LINK_FIELD_NUMBER: _ClassVar[int]
    BODY_FIELD_NUMBER: _ClassVar[int]
    link: str
    body: bytes
    def __init__(self, link: _Optional[str] = ..., body: _Optional[bytes] = ...) -> None: ...
