"""What there is and when it ends."""

import datetime as dt
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography import x509

from keyweave.common.errors import InvalidInputError, NotFoundError
from keyweave.common.pki import hosts_of
from keyweave.pki.holders import Holder
from keyweave.pki.register import ANCHORS, Issued, Register
from keyweave.pki.tokens import Tokens


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that ends; only what `counts` has to be replaced before."""

    what: str
    authority: str
    number: str
    ends: dt.datetime
    state: str
    counts: bool

    def told(self, soon: dt.datetime) -> str:
        """Its state in words, and whether it ends before `soon`."""
        return "ends soon" if self.counts and self.ends <= soon else self.state

    def as_json(self, soon: dt.datetime) -> dict[str, Any]:
        """For programs."""
        return {
            "what": self.what,
            "authority": self.authority,
            "number": self.number,
            "ends": self.ends.isoformat(),
            "state": self.state,
            "ends_soon": self.counts and self.ends <= soon,
        }


class Inventory:
    """The directory of the authorities, looked through."""

    def __init__(self, register: Register) -> None:
        self._register = register
        self._issued = register.issued()

    def entries(self, now: dt.datetime, *, every: bool) -> list[Entry]:
        """Everything, what ends first first; without `every` only what is good and the newest of its kind."""
        found = [self._entry(issued, now) for issued in self._issued]
        entries = [entry for entry in found if every or entry.counts]
        for name in ANCHORS:
            ends = self._register.anchor(name).not_valid_after_utc
            entries.append(Entry("trust anchor", name, "", ends, "in use", counts=True))
            ends = self._register.list_ends(name)
            entries.append(Entry("revocation list", name, "", ends, "in use", counts=True))
        for record in Tokens(self._register.directory / "tokens").open(now.timestamp()):
            ends = dt.datetime.fromtimestamp(record.expires, dt.UTC)
            entries.append(Entry(f"token for {record.holder}", "", "", ends, "open", counts=False))
        return sorted(entries, key=lambda entry: (entry.ends, entry.what))

    def good_of(self, holder: Holder, now: dt.datetime) -> list[Issued]:
        """Every certificate of a holder that is still good; NotFoundError if there is none."""
        wanted = {(each.authority, each.identity) for each in holder.wanted}
        found = [
            issued
            for issued in self._issued
            if (issued.authority, issued.identity) in wanted and not issued.revoked and issued.ends > now
        ]
        if not found:
            raise NotFoundError(f"{holder} has no certificate that is good")
        return found

    def of_file(self, file: Path) -> Issued:
        """The certificate in a file; InvalidInputError unless it was issued here."""
        try:
            number = x509.load_pem_x509_certificate(file.read_bytes()).serial_number
        except OSError as error:
            raise InvalidInputError.of(str(file), f"cannot be read: {error.strerror}") from None
        except ValueError:
            raise InvalidInputError.of(str(file), "holds no certificate") from None
        for issued in self._issued:
            if issued.serial == number:
                return issued
        raise InvalidInputError.of(str(file), f"was not issued in {self._register.directory}")

    def hosts(self, holder: Holder) -> tuple[str, ...]:
        """The DNS names and addresses in a holder's newest certificate that has such."""
        wanted = {(each.authority, each.identity) for each in holder.wanted if each.with_hosts}
        own = [issued for issued in self._issued if (issued.authority, issued.identity) in wanted]
        return hosts_of(own[-1].certificate) if own else ()

    def _entry(self, issued: Issued, now: dt.datetime) -> Entry:
        same = [e for e in self._issued if (e.authority, e.identity) == (issued.authority, issued.identity)]
        newest = [each for each in same if not each.revoked][-1:]
        if issued.revoked:
            state = "revoked"
        elif issued.ends <= now:
            state = "expired"
        elif newest and newest[0].serial != issued.serial:
            state = "replaced"
        else:
            state = "in use"
        # One that has expired and was not replaced counts: its holder is out.
        counts = bool(newest) and newest[0].serial == issued.serial
        return Entry(
            issued.identity.uri, issued.authority, f"{issued.serial:x}", issued.ends, state, counts=counts
        )
