"""`keyweave pki`: replace and revoke certificates of a network to try out, while it runs."""

from pathlib import Path
from typing import Annotated

import typer

from keyweave.cli.connection import StateDirOption
from keyweave.cli.state_dir import StateDir, default_root
from keyweave.cli.up.credentials import Credentials
from keyweave.common.errors import InvalidInputError

app = typer.Typer(no_args_is_help=True, help="Certificates of `keyweave up`: replace, revoke.")
_Certificate = Annotated[Path, typer.Argument(help="A certificate file below DIR/pki.")]


@app.command("issue")
def issue(certificate: _Certificate, state_dir: StateDirOption = None) -> None:
    """Put a new certificate and key in place of those in a file; processes take them within seconds."""
    identity = _credentials(state_dir).renew(certificate)
    typer.echo(f"{certificate}: a new certificate for {identity.uri}")


@app.command("revoke")
def revoke(certificate: _Certificate, state_dir: StateDirOption = None) -> None:
    """Put the certificate in a file on its authority's revocation list; its connections end in seconds."""
    serial = _credentials(state_dir).revoke(certificate)
    typer.echo(f"{certificate}: certificate {serial:x} is revoked")


def _credentials(state_dir: Path | None) -> Credentials:
    state = StateDir(state_dir or default_root())
    if not state.pki.is_dir():
        raise InvalidInputError.of(
            "--state-dir", f"there is no {state.pki}; start a network with `keyweave up`"
        )
    return Credentials(state)
