"""Everything that Keyweave refuses, and what a caller is told.

KeyweaveError
├── InvalidInputError      a field is wrong              INVALID_ARGUMENT     400
├── NotFoundError          no such thing                 NOT_FOUND            404
├── AlreadyExistsError     the name is taken             ALREADY_EXISTS       409
├── ConflictError          somebody changed it since     ABORTED              409
├── PreconditionError      not in this state             FAILED_PRECONDITION  409
├── TooOldError            that far back is not kept     OUT_OF_RANGE         410
├── NotAllowedError        this caller may not           PERMISSION_DENIED    403
├── FencedError            a newer controller leads      FAILED_PRECONDITION  409
├── TooManyError           this caller asks too often    RESOURCE_EXHAUSTED   429
└── UnavailableError       not now; try again            UNAVAILABLE          503
    └── NotLeaderError     ask another controller        UNAVAILABLE          503
"""

from collections.abc import Iterable
from dataclasses import dataclass

from google.protobuf import any_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2

# Of our error details (google.rpc.ErrorInfo).
_DOMAIN = "keyweave"


@dataclass(frozen=True, slots=True)
class Violation:
    """One wrong field: its path, and what was wrong, expected, and to do."""

    field: str
    description: str

    def __str__(self) -> str:
        return f"{self.field}: {self.description}" if self.field else self.description


class KeyweaveError(Exception):
    """Root of the tree. `code` is its gRPC status, `http_status` its HTTP one."""

    code: int = code_pb2.INTERNAL
    http_status = 500


class InvalidInputError(KeyweaveError):
    """One field or more is wrong; nothing was changed."""

    code = code_pb2.INVALID_ARGUMENT
    http_status = 400

    def __init__(self, violations: Iterable[Violation]) -> None:
        self.violations = tuple(violations)
        super().__init__("; ".join(str(v) for v in self.violations))

    @classmethod
    def of(cls, field: str, description: str) -> "InvalidInputError":
        """The common case of a single wrong field."""
        return cls((Violation(field, description),))


class NotFoundError(KeyweaveError):
    """There is no such thing."""

    code = code_pb2.NOT_FOUND
    http_status = 404


class AlreadyExistsError(KeyweaveError):
    """The name is taken by something else."""

    code = code_pb2.ALREADY_EXISTS
    http_status = 409


class ConflictError(KeyweaveError):
    """The caller's revision is not the newest: read again, then change."""

    code = code_pb2.ABORTED
    http_status = 409


class PreconditionError(KeyweaveError):
    """Right in itself, but not in the present state."""

    code = code_pb2.FAILED_PRECONDITION
    http_status = 409


class TooOldError(KeyweaveError):
    """What was asked for is so long ago that it is not all kept any more."""

    code = code_pb2.OUT_OF_RANGE
    http_status = 410


class NotAllowedError(KeyweaveError):
    """The caller's certificate does not allow this."""

    code = code_pb2.PERMISSION_DENIED
    http_status = 403


class FencedError(PreconditionError):
    """Another controller has taken over with a higher epoch."""


class TooManyError(KeyweaveError):
    """The caller asks too often; others are served meanwhile."""

    code = code_pb2.RESOURCE_EXHAUSTED
    http_status = 429

    def __init__(self, message: str, wait_seconds: float) -> None:
        super().__init__(message)
        self.wait_seconds = wait_seconds


class UnavailableError(KeyweaveError):
    """Cannot be done now; trying again is reasonable."""

    code = code_pb2.UNAVAILABLE
    http_status = 503


class NotLeaderError(UnavailableError):
    """Another controller leads; `leader` is where it is reached, empty where that is not known."""

    reason = "NOT_LEADER"

    def __init__(self, message: str, leader: str = "") -> None:
        super().__init__(message)
        self.leader = leader


def to_status(error: KeyweaveError) -> status_pb2.Status:
    """The google.rpc.Status for an error, with BadRequest details where fields are to blame."""
    status = status_pb2.Status(code=error.code, message=str(error))
    if isinstance(error, InvalidInputError):
        bad_request = error_details_pb2.BadRequest(
            field_violations=[
                error_details_pb2.BadRequest.FieldViolation(field=v.field, description=v.description)
                for v in error.violations
            ]
        )
        detail = any_pb2.Any()
        detail.Pack(bad_request)
        status.details.append(detail)
    if isinstance(error, TooManyError):
        retry = error_details_pb2.RetryInfo()
        retry.retry_delay.FromNanoseconds(round(error.wait_seconds * 1e9))
        detail = any_pb2.Any()
        detail.Pack(retry)
        status.details.append(detail)
    if isinstance(error, NotLeaderError):
        info = error_details_pb2.ErrorInfo(
            reason=NotLeaderError.reason, domain=_DOMAIN, metadata={"leader": error.leader}
        )
        detail = any_pb2.Any()
        detail.Pack(info)
        status.details.append(detail)
    return status


def leader_named_by(status: status_pb2.Status) -> str | None:
    """Where the leader is, by the answer of a controller that is none: empty where it does not know either.

    None where the status says something else.
    """
    for detail in status.details:
        info = error_details_pb2.ErrorInfo()
        if detail.Unpack(info) and (info.domain, info.reason) == (_DOMAIN, NotLeaderError.reason):
            return str(info.metadata["leader"])
    return None


def describe_status(status: status_pb2.Status) -> str:
    """A google.rpc.Status in one line, with its field violations."""
    lines = []
    for detail in status.details:
        bad_request = error_details_pb2.BadRequest()
        if detail.Unpack(bad_request):
            lines += [f"{v.field}: {v.description}" for v in bad_request.field_violations]
    name: str = code_pb2.Code.Name(status.code)
    return "; ".join(lines) or f"{name}: {status.message}"
