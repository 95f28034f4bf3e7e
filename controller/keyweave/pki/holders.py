"""Who holds which certificates: an agent four, everybody else one."""

import ipaddress
import re
from dataclasses import dataclass

from keyweave.common.errors import InvalidInputError
from keyweave.common.identity import Identity, Plane, Role
from keyweave.common.names import NAME_RULE, is_name

# RFC 5280 gives a common name at most 64 characters; SAE IDs are held to it too.
MAX_SAE_ID = 64
_DNS_NAME = re.compile(
    r"(?=.{1,253}\Z)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*"
)
# Names by which clients verify whom they reached, whatever the address: only the role gives them.
_RESERVED = "keyweave.internal"
_ONLY_NAME = {Role.CONTROLLER: "controller", Role.EMULATOR: "emulator", Role.ENROLMENT: "enrolment"}

CONTROL, KEY, SAE, SIGNING = "control", "key", "sae", "key-signing"


@dataclass(frozen=True, slots=True)
class Wanted:
    """One certificate of a holder: its name in file names, the authority that issues it, whom it names."""

    kind: str
    authority: str
    identity: Identity
    # Whether clients dial it by an address that the certificate has to name.
    with_hosts: bool = False


@dataclass(frozen=True, slots=True)
class Holder:
    """A process or a person, by role and name."""

    role: Role
    name: str

    def __str__(self) -> str:
        return f"{self.role} '{self.name}'"

    @classmethod
    def of(cls, role: str, name: str) -> "Holder":
        """The holder that these words name; InvalidInputError."""
        if role not in _HOLDERS:
            raise InvalidInputError.of("role", f"'{role}' is none of {', '.join(_HOLDERS)}")
        known = Role(role)
        only = _ONLY_NAME.get(known)
        if only is not None and name != only:
            raise InvalidInputError.of("name", f"the {role} is always called '{only}', not '{name}'")
        if known is Role.SAE:
            if not (name.isascii() and name.isprintable() and 0 < len(name) <= MAX_SAE_ID):
                raise InvalidInputError.of(
                    "name", f"{name!r} is no SAE ID: printable ASCII, 1 to {MAX_SAE_ID} characters"
                )
        elif not is_name(name):
            raise InvalidInputError.of("name", f"'{name}' is no name: {NAME_RULE}")
        return cls(known, name)

    @property
    def wanted(self) -> tuple[Wanted, ...]:
        """All the certificates that it holds."""
        if self.role is Role.AGENT:
            return (
                Wanted("control", CONTROL, Identity(Plane.CONTROL, Role.AGENT, self.name)),
                Wanted("key", KEY, Identity(Plane.KEY, Role.AGENT, self.name)),
                Wanted("kme", SAE, Identity(Plane.SAE, Role.KME, self.name), with_hosts=True),
                Wanted("signing", SIGNING, Identity(Plane.KEY, Role.AGENT, self.name)),
            )
        if self.role is Role.SAE:
            return (Wanted("sae", SAE, Identity(Plane.SAE, Role.SAE, self.name)),)
        return (Wanted("control", CONTROL, Identity(Plane.CONTROL, self.role, self.name)),)


_HOLDERS = tuple(
    role.value
    for role in (
        Role.AGENT,
        Role.CONTROLLER,
        Role.OPERATOR,
        Role.VIEWER,
        Role.EMULATOR,
        Role.SAE,
        Role.ENROLMENT,
    )
)


def checked_hosts(hosts: tuple[str, ...]) -> tuple[str, ...]:
    """DNS names and IP addresses for a certificate, as they will stand there; InvalidInputError."""
    return tuple(_checked_host(host) for host in hosts)


def _checked_host(host: str) -> str:
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        name = host.lower()
    if not _DNS_NAME.fullmatch(name):
        raise InvalidInputError.of("host", f"'{host}' is neither an IP address nor a DNS name")
    if name == _RESERVED or name.endswith(f".{_RESERVED}"):
        raise InvalidInputError.of("host", f"'{host}' is below {_RESERVED}, which only roles give")
    return name
