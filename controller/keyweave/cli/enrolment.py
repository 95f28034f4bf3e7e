"""`keyweave agent|controller enrol|renew`: certificates on the machine where they are used."""

import datetime as dt
import sys
from pathlib import Path
from typing import Annotated

import typer
import yaml

from keyweave.cli.durations import duration
from keyweave.cli.refused_files import in_words
from keyweave.common.errors import InvalidInputError
from keyweave.common.identity import Role
from keyweave.common.process import write_atomically
from keyweave.common.tls import CredentialFiles
from keyweave.pki.enrolling import enrol, renew
from keyweave.pki.holder_dir import HolderDir
from keyweave.pki.tokens import Token

_Dir = Annotated[Path, typer.Option("--dir", help="Where keys and certificates are kept.")]
TokenFile = Annotated[
    Path,
    typer.Option(help="A file with the token that `keyweave pki token` printed; - reads standard input."),
]
_Within = Annotated[
    str | None,
    typer.Option(help="Renew what ends within this time (as 30d); else what has a third of its time left."),
]
_Now = Annotated[bool, typer.Option("--now", help="Renew everything, whenever it ends.")]


@in_words()
def enrol_agent(
    token_file: TokenFile,
    directory: _Dir,
    controller: Annotated[
        str, typer.Option(help="host:port of the controller: also write DIR/agent.yaml to start from.")
    ] = "",
) -> None:
    """Get this node's certificates for a one-time token. Keys are made here and stay here."""
    held = _enrol(token_file, directory, Role.AGENT)
    if controller:
        written = _write_agent_config(held, controller)
        typer.echo(f"{written}: name this node's devices in it, then `keyweave agent --config {written}`")


@in_words()
def enrol_controller(token_file: TokenFile, directory: _Dir) -> None:
    """Get the controller's certificate for a one-time token. Its key is made here and stays here."""
    _enrol(token_file, directory, Role.CONTROLLER)


@in_words()
def renew_here(directory: _Dir, within: _Within = None, now: _Now = False) -> None:
    """Fetch revocation lists, and renew certificates whose time has come; run it daily.

    Running processes take what has changed within a second or two.
    """
    limit = dt.timedelta.max if now else duration("--within", within) if within is not None else None
    renew_from_service(directory, limit)


def renew_from_service(directory: Path, within: dt.timedelta | None) -> None:
    """Renew what lies in a holder's directory at its enrolment service, and say what was renewed."""
    renewed = renew(HolderDir.open(directory), within=within)
    typer.echo(f"{directory}: renewed {', '.join(renewed)}" if renewed else f"{directory}: nothing is due")


@in_words()
def enrol_anybody(
    token_file: TokenFile,
    out: Annotated[Path, typer.Option(help="Where keys and certificates are kept.")],
) -> None:
    """Get certificates for a one-time token, whoever it is for. Keys are made here and stay here."""
    _enrol(token_file, out, None)


def _enrol(token_file: Path, directory: Path, role: Role | None) -> HolderDir:
    token = Token.parse(_read(token_file))
    if role is not None and token.holder.role is not role:
        raise InvalidInputError.of("--token-file", f"holds a token for {token.holder}, not for {role}")
    held = enrol(token, directory)
    typer.echo(f"{directory}: certificates of {held.holder}, from {token.service}")
    return held


def _read(token_file: Path) -> str:
    if str(token_file) == "-":
        return sys.stdin.read()
    try:
        return token_file.read_text(encoding="ascii")
    except OSError as error:
        raise InvalidInputError.of("--token-file", f"{token_file} cannot be read: {error.strerror}") from None
    except ValueError:
        raise InvalidInputError.of("--token-file", f"{token_file} holds no token") from None


def _write_agent_config(held: HolderDir, controller: str) -> Path:
    """DIR/agent.yaml with everything but the devices, which only the owner of the node knows."""
    file = held.root / "agent.yaml"
    if file.exists():
        return file
    root = held.root.resolve()

    def tls(kind: str) -> dict[str, str]:
        files: CredentialFiles = held.files(kind)
        return {name: str(Path(path).absolute()) for name, path in files.model_dump(mode="json").items()}

    content = {
        "node": held.holder.name,
        "state_dir": str(root / "state"),
        "controller": {"address": controller},
        "control_tls": tls("control"),
        "key_plane": {"listen": "0.0.0.0:21010", "tls": tls("key"), "signing": tls("signing")},
        "kme": {"listen": "0.0.0.0:21011", "tls": tls("kme")},
        "guard": str(root / "guard.yaml"),
        "drivers": [],
    }
    text = yaml.safe_dump(content, sort_keys=False)
    write_atomically(
        file,
        "# drivers: this node's devices, see docs/drivers.md; guard: `keyweave guard template` prints one.\n"
        + text,
    )
    return file
