"""Why something on the key plane did not work, as it travels back along a path."""

from keyweave.v1 import keyplane_pb2 as pb

_TITLES = {
    pb.FAILURE_CODE_NOT_ALLOWED: "not allowed",
    pb.FAILURE_CODE_OVER_BUDGET: "over budget",
    pb.FAILURE_CODE_POOL_EXHAUSTED: "pool exhausted",
    pb.FAILURE_CODE_UNREACHABLE: "unreachable",
    pb.FAILURE_CODE_POOL_MISMATCH: "pools disagree",
    pb.FAILURE_CODE_BAD_TAG: "tag does not verify",
    pb.FAILURE_CODE_CONFIRMATION_MISMATCH: "the ends derived different keys",
    pb.FAILURE_CODE_UNKNOWN_STATE: "far end lacks the state",
    pb.FAILURE_CODE_MALFORMED: "malformed",
    pb.FAILURE_CODE_LINK_UNUSABLE: "link unusable",
}


class KeyPlaneError(Exception):
    """A failure with its code, where it happened, and a reason that never holds key material."""

    def __init__(self, code: pb.FailureCode, reason: str, *, node: str = "", link: str = "") -> None:
        self.code = code
        self.reason = reason
        self.node = node
        self.link = link
        where = (f" at {node}" if node else "") + (f", link {link}" if link else "")
        super().__init__(f"{_TITLES.get(code, 'failed')}{where}: {reason}")

    def to_message(self) -> pb.Failure:
        """For the wire."""
        return pb.Failure(code=self.code, reason=self.reason, node=self.node, link=self.link)

    @classmethod
    def from_message(cls, message: pb.Failure) -> "KeyPlaneError":
        """From the wire."""
        return cls(message.code, message.reason[:500], node=message.node[:63], link=message.link[:63])


class SignatureError(KeyPlaneError):
    """A signature, or the certificate of its key, is not what it has to be: somebody is not who they say."""

    def __init__(self, reason: str, *, node: str = "") -> None:
        super().__init__(pb.FAILURE_CODE_NOT_ALLOWED, reason, node=node)


class RevokedError(KeyPlaneError):
    """A peer's certificate was good once and is no more."""

    def __init__(self, reason: str, *, node: str = "") -> None:
        super().__init__(pb.FAILURE_CODE_NOT_ALLOWED, reason, node=node)
