"""`keyweave pki`: the authorities of a network, and what they issue and revoke."""

import datetime as dt
import getpass
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from keyweave.cli.connection import StateDirOption
from keyweave.cli.durations import duration
from keyweave.cli.enrolment import enrol_anybody, renew_from_service
from keyweave.cli.exits import ExitCode
from keyweave.cli.output import Output, OutputOption, show, show_json
from keyweave.cli.refused_files import in_words
from keyweave.cli.state_dir import StateDir, default_root
from keyweave.cli.up.credentials import Credentials
from keyweave.common import log, process
from keyweave.common.errors import InvalidInputError
from keyweave.common.pki import LEAF_DAYS, PrivateKey, PublicKey
from keyweave.common.rate_limit import RateLimit
from keyweave.pki.authorities import MIN_PASSPHRASE, Authorities, is_protected
from keyweave.pki.enrolling import new_keys, public_keys
from keyweave.pki.holder_dir import HolderDir
from keyweave.pki.holders import SIGNING, Holder, checked_hosts
from keyweave.pki.inventory import Inventory
from keyweave.pki.register import Register
from keyweave.pki.requests import requested_key
from keyweave.pki.service_certificate import provide_service_certificate, service_key_sha256
from keyweave.pki.tokens import Token, TokenRecord, Tokens, expiry

ENROLLED_DAYS = 90

app = typer.Typer(no_args_is_help=True, help="Certificates: authorities, issue, enrol, renew, revoke.")
_Dir = Annotated[Path, typer.Option("--dir", help="The directory of the authorities.")]
_MaybeDir = Annotated[
    Path | None,
    typer.Option("--dir", help="The directory of the authorities; without it, those of `keyweave up`."),
]
_Passphrase = Annotated[
    Path | None,
    typer.Option(
        "--passphrase-file", help="A file with the passphrase of the authorities' keys; else you are asked."
    ),
]
_Role = Annotated[
    str,
    typer.Option("--role", help="agent, controller, operator, viewer, emulator or sae.", show_default=False),
]
_Name = Annotated[
    str, typer.Option("--name", help="The holder's name; of a SAE, its ID.", show_default=False)
]
_Hosts = Annotated[
    list[str] | None,
    typer.Option("--host", help="A DNS name or IP address by which applications dial an agent's KME."),
]


@app.command("init")
@in_words()
def init(
    directory: _Dir,
    passphrase_file: _Passphrase = None,
    no_passphrase: Annotated[
        bool, typer.Option("--no-passphrase", help="Leave the keys to the protection of the disk.")
    ] = False,
) -> None:
    """Make the authorities of a network: one for each plane, and one for the agents' signing keys."""
    if no_passphrase and passphrase_file is not None:
        raise InvalidInputError.of("--no-passphrase", "and --passphrase-file exclude each other")
    passphrase = None if no_passphrase else _new_passphrase(passphrase_file)
    authorities = Authorities.create(directory, passphrase)
    with authorities.register.changing():
        provide_service_certificate(authorities, _now())
    typer.echo(f"{directory}: four authorities; {directory / 'trust'} is public, keep the rest to yourself")


@app.command("issue")
@in_words()
def issue(
    certificate: Annotated[
        Path | None, typer.Argument(help="Of `keyweave up`: a certificate file below DIR/pki to replace.")
    ] = None,
    state_dir: StateDirOption = None,
    directory: _MaybeDir = None,
    role: _Role = "",
    name: _Name = "",
    out: Annotated[
        Path | None, typer.Option(help="Directory to write to; put back into it to replace.")
    ] = None,
    hosts: _Hosts = None,
    days: Annotated[int, typer.Option(help="How long they are good.", min=1, max=LEAF_DAYS)] = LEAF_DAYS,
    csr: Annotated[
        list[str] | None,
        typer.Option(
            help="KIND=FILE: certify the key of this request (PKCS #10, PEM) instead of making one. "
            "KIND is control, key, kme, signing or sae; give all of the holder's or none."
        ),
    ] = None,
    passphrase_file: _Passphrase = None,
) -> None:
    """Issue a holder's certificates into a directory, or replace one of `keyweave up` in place."""
    if directory is None:
        file = _required("CERTIFICATE", certificate)
        typer.echo(f"{file}: a new certificate for {_credentials(state_dir).renew(file).uri}")
        return
    holder, target = _holder(role, name), _required("--out", out)
    keys = {} if csr else new_keys(holder)
    public = _from_requests(holder, csr) if csr else public_keys(keys)
    held = HolderDir(target, holder)
    _certify(_open(directory, passphrase_file), held, keys, public, checked_hosts(tuple(hosts or ())), days)
    typer.echo(f"{target}: {', '.join(public)} of {holder}")


app.command("enrol")(enrol_anybody)


@app.command("renew")
@in_words()
def renew(
    out: Annotated[Path, typer.Option(help="A directory that `issue` or `enrol` has written.")],
    directory: Annotated[
        Path | None,
        typer.Option("--dir", help="The directory of the authorities; without it, the enrolment service."),
    ] = None,
    passphrase_file: _Passphrase = None,
) -> None:
    """New keys and certificates in a holder's directory, with the names that it has.

    From the authorities' directory, or else from the enrolment service: there, only if its time has come.
    """
    if directory is None:
        renew_from_service(out, None)
        return
    held = HolderDir.open(out)
    authorities = _open(directory, passphrase_file)
    hosts = Inventory(authorities.register).hosts(held.holder)
    keys = new_keys(held.holder)
    _certify(authorities, held, keys, public_keys(keys), hosts, LEAF_DAYS)
    typer.echo(f"{out}: new certificates of {held.holder}")


@app.command("revoke")
@in_words()
def revoke(
    certificate: Annotated[Path | None, typer.Argument(help="A certificate file.")] = None,
    state_dir: StateDirOption = None,
    directory: _MaybeDir = None,
    role: _Role = "",
    name: _Name = "",
    passphrase_file: _Passphrase = None,
) -> None:
    """Put a certificate, or all of a holder, on the revocation lists; connections end in seconds.

    Machines that renew by themselves fetch the lists; to others, copy DIR/trust/*-crl.pem.
    """
    if directory is None:
        file = _required("CERTIFICATE", certificate)
        typer.echo(f"{file}: certificate {_credentials(state_dir).revoke(file):x} is revoked")
        return
    authorities = _open(directory, passphrase_file)
    inventory = Inventory(authorities.register)
    with authorities.register.changing():
        if certificate is not None:
            doomed = [inventory.of_file(certificate)]
        else:
            doomed = inventory.good_of(_holder(role, name), _now())
        for authority in sorted({each.authority for each in doomed}):
            authorities.revoke(authority, [each.serial for each in doomed if each.authority == authority])
        if certificate is None:
            Tokens(directory / "tokens").withdraw(_holder(role, name), time.time())
    for each in doomed:
        typer.echo(f"{each.identity.uri}: certificate {each.serial:x} of {each.authority} is revoked")


@app.command("list")
@in_words()
def list_(
    directory: _Dir,
    within: Annotated[str, typer.Option(help="Exit with 3 if something ends within this time.")] = "30d",
    every: Annotated[
        bool, typer.Option("--all", help="Also what was replaced, revoked or has expired.")
    ] = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """What was issued and when it ends: certificates, anchors, revocation lists, open tokens.

    A certificate that a newer one of the same holder has replaced is left out, and not counted.
    """
    soon = _now() + duration("--within", within)
    entries = Inventory(Register(directory)).entries(_now(), every=every)
    if output is Output.JSON:
        show_json({"entries": [entry.as_json(soon) for entry in entries]})
    else:
        table = Table("ends", box=None, pad_edge=False)
        table.add_column("what", overflow="fold")
        table.add_column("authority")
        table.add_column("state", no_wrap=True)
        for entry in entries:
            table.add_row(f"{entry.ends:%Y-%m-%d %H:%M}Z", entry.what, entry.authority, entry.told(soon))
        show(table)
    if any(entry.counts and entry.ends <= soon for entry in entries):
        raise typer.Exit(ExitCode.DEGRADED)


@app.command("token")
@in_words()
def token(
    directory: _Dir,
    server: Annotated[str, typer.Option(help="host:port where holders reach `keyweave pki serve`.")] = "",
    node: Annotated[str, typer.Option(help="The agent of this node; short for --role agent --name.")] = "",
    role: _Role = "",
    name: _Name = "",
    ttl: Annotated[str, typer.Option(help="How long it can be used, at most 7d.")] = "1h",
    hosts: _Hosts = None,
    days: Annotated[
        int, typer.Option(help="How long certificates are good.", min=1, max=LEAF_DAYS)
    ] = ENROLLED_DAYS,
    withdraw: Annotated[
        bool, typer.Option("--withdraw", help="Spoil the open tokens of this holder.")
    ] = False,
) -> None:
    """Print a token, once, by which a machine gets its first certificates, once.

    Whoever has it first is enrolled: hand it over as you would a password.
    """
    holder = Holder.of("agent", node) if node else _holder(role, name)
    register, now = Register(directory), time.time()
    tokens = Tokens(directory / "tokens")
    if withdraw:
        with register.changing():
            count = tokens.withdraw(holder, now)
            register.journal.note("tokens_withdrawn", role=holder.role, name=holder.name, count=count)
        typer.echo(f"{count} open tokens of {holder} withdrawn")
        return
    if not server:
        raise InvalidInputError.of("--server", "is missing: host:port of `keyweave pki serve`")
    record = TokenRecord(
        role=holder.role,
        name=holder.name,
        hosts=checked_hosts(tuple(hosts or ())),
        valid_days=days,
        made=now,
        expires=expiry(now, duration("--ttl", ttl)),
    )
    fingerprint = service_key_sha256(register)
    made = Token.to(server, fingerprint, holder)
    with register.changing():
        tokens.put(made.secret, record)
        register.journal.note(
            "token_made", role=holder.role, name=holder.name, expires=record.expires, hosts=list(record.hosts)
        )
    typer.echo(made.text())
    if node and not record.hosts:
        typer.echo("note: no --host, so applications cannot verify this node's KME by its address", err=True)


@app.command("serve")
@in_words()
def serve_(
    directory: _Dir,
    listen: Annotated[str, typer.Option(help="host:port; port 0 takes a free one.")] = "0.0.0.0:8444",
    ready_file: Annotated[Path | None, typer.Option(help="Written with the address once it listens.")] = None,
    passphrase_file: _Passphrase = None,
) -> None:
    """Enrol and renew over the network until SIGTERM or Ctrl-C. Not on the controller's machine."""
    from keyweave.pki import service  # noqa: PLC0415  # other commands start faster without it

    where = service.address(listen)
    limit = RateLimit(service.BURST, service.PER_SECOND)
    authorities = _open(directory, passphrase_file)
    log.configure(process="pki")
    process.forbid_core_dumps()
    process.run(lambda stop: service.serve(authorities, where, ready_file, stop, limit))


# ---- shared ----------------------------------------------------------------------------------------


def _certify(
    authorities: Authorities,
    held: HolderDir,
    keys: Mapping[str, PrivateKey],
    public: Mapping[str, PublicKey],
    hosts: tuple[str, ...],
    days: int,
) -> None:
    with authorities.register.changing():
        issued = authorities.certify_all(held.holder, public, hosts=hosts, valid_for=dt.timedelta(days=days))
    with held.changing():
        held.put(keys, issued, authorities.register.trust_files())


def _from_requests(holder: Holder, given: Sequence[str]) -> dict[str, PublicKey]:
    """The keys in the requests that --csr names, one for each certificate of the holder."""
    files = dict(each.partition("=")[::2] for each in given)
    kinds = [wanted.kind for wanted in holder.wanted]
    if sorted(files) != sorted(kinds):
        raise InvalidInputError.of("--csr", f"must be given for {' and '.join(kinds)}, as in {kinds[0]}=FILE")
    keys = {}
    for wanted in holder.wanted:
        field = f"--csr {wanted.kind}"
        keys[wanted.kind] = requested_key(
            field, _read(field, Path(files[wanted.kind])), signing=wanted.authority == SIGNING
        )
    return keys


def _open(directory: Path, passphrase_file: Path | None) -> Authorities:
    """The authorities of a directory, with the passphrase from a file, or asked for where one is needed."""
    if passphrase_file is not None:
        return Authorities.open(directory, _passphrase(passphrase_file))
    if not is_protected(directory):
        return Authorities.open(directory, None)
    if not sys.stdin.isatty():
        raise InvalidInputError.of("--passphrase-file", "is needed: nobody is there to be asked")
    return Authorities.open(directory, getpass.getpass("Passphrase of the authorities: ").encode())


def _new_passphrase(file: Path | None) -> bytes:
    if file is not None:
        return _passphrase(file)
    if not sys.stdin.isatty():
        raise InvalidInputError.of(
            "--passphrase-file", "is needed: nobody is there to be asked (or give --no-passphrase)"
        )
    first = getpass.getpass(f"New passphrase of the authorities, at least {MIN_PASSPHRASE} characters: ")
    if getpass.getpass("Again: ") != first:
        raise InvalidInputError.of("passphrase", "was not the same twice")
    return first.encode()


def _passphrase(file: Path) -> bytes:
    """What a file holds but for the end of its last line; only its owner and group may be able to read it."""
    content = _read("--passphrase-file", file)
    if file.stat().st_mode & 0o007:
        raise InvalidInputError.of("--passphrase-file", f"{file} can be read by everybody; chmod 600 it")
    return content.removesuffix(b"\n").removesuffix(b"\r")


def _read(field: str, file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise InvalidInputError.of(field, f"{file} cannot be read: {error.strerror}") from None


def _holder(role: str, name: str) -> Holder:
    if not role:
        raise InvalidInputError.of("--role", "is missing")
    # Of these there is one, so its name goes without saying.
    return Holder.of(role, name or (role if role in {"controller", "emulator"} else ""))


def _required(option: str, value: Path | None) -> Path:
    if value is None:
        raise InvalidInputError.of(option, "is missing")
    return value


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


def _credentials(state_dir: Path | None) -> Credentials:
    state = StateDir(state_dir or default_root())
    if not state.pki.is_dir():
        raise InvalidInputError.of(
            "--state-dir", f"there is no {state.pki}; start a network with `keyweave up`, or name a --dir"
        )
    return Credentials(state)
