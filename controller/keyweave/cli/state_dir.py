"""What `keyweave up` leaves in its state directory, and where: the other commands find the network by it."""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from keyweave.cli.exits import UnreachableError
from keyweave.common.process import write_atomically
from keyweave.common.tls import TlsFiles

VARIABLE = "KEYWEAVE_STATE_DIR"
DEFAULT = Path(".keyweave")


def default_root() -> Path:
    """$KEYWEAVE_STATE_DIR, or ./.keyweave."""
    return Path(os.environ.get(VARIABLE) or DEFAULT)


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Where everything listens, once everything does."""

    admin: str
    metrics: str
    agent_metrics: Mapping[str, str] = field(default_factory=dict)
    emulator: str = ""
    kme: Mapping[str, str] = field(default_factory=dict)
    page: str = ""
    # Of all controllers, where there are several: `admin` and `metrics` are the first one's.
    further_admin: tuple[str, ...] = ()
    further_metrics: tuple[str, ...] = ()

    @property
    def controllers(self) -> tuple[str, ...]:
        """The admin API of every controller."""
        return (self.admin, *self.further_admin)


@dataclass(frozen=True, slots=True)
class StateDir:
    """Paths below one state directory."""

    root: Path

    @property
    def pki(self) -> Path:
        """Trust anchors, and the certificates of operator and SAEs."""
        return self.root / "pki"

    @property
    def endpoints_file(self) -> Path:
        """Written once everything listens, removed when it stops."""
        return self.root / "endpoints.json"

    @property
    def targets_file(self) -> Path:
        """What Prometheus finds this network's pages by (file_sd); it stays: what stops shows as down."""
        return self.root / "prometheus" / "targets.json"

    @property
    def processes_file(self) -> Path:
        """Process IDs by name."""
        return self.root / "processes.json"

    @property
    def ports_file(self) -> Path:
        """Ports chosen before, to be chosen again."""
        return self.root / "ports.json"

    @property
    def lock_file(self) -> Path:
        """Locked by whoever runs this network."""
        return self.root / "lock"

    def config(self, process: str) -> Path:
        """A process's configuration."""
        return self.root / process / "config.yaml"

    def guard(self, process: str) -> Path:
        """What the owner of an agent's node allows."""
        return self.root / process / "guard.yaml"

    def ready(self, process: str) -> Path:
        """Written by a process once it listens."""
        return self.root / process / "ready.json"

    def log(self, process: str) -> Path:
        """What a process says."""
        return self.root / "logs" / f"{process}.log"

    def operator_tls(self) -> TlsFiles:
        """What the operator shows to controller and emulator."""
        return TlsFiles(
            certificate=self.pki / "operator.pem",
            private_key=self.pki / "operator-key.pem",
            trust_anchor=self.pki / "control-ca.pem",
        )

    def sae_certificate(self, sae_id: str) -> Path:
        """The certificate of an application. IDs that are no file names are percent-encoded."""
        return self.pki / f"sae-{_file_name(sae_id)}.pem"

    def sae_key(self, sae_id: str) -> Path:
        """Its private key."""
        return self.pki / f"sae-{_file_name(sae_id)}-key.pem"

    def write_endpoints(self, endpoints: Endpoints) -> None:
        """Announce that everything listens."""
        self.targets_file.parent.mkdir(exist_ok=True)
        write_atomically(self.targets_file, json.dumps(scrape_targets(endpoints), indent=2) + "\n")
        write_atomically(self.endpoints_file, json.dumps(asdict(endpoints), indent=2) + "\n")

    def read_endpoints(self) -> Endpoints:
        """Where the network is, or UnreachableError if it is not up."""
        try:
            read = json.loads(self.endpoints_file.read_text(encoding="utf-8"))
            fields: dict[str, Any] = {
                name: tuple(value) if isinstance(value, list) else value for name, value in read.items()
            }
            return Endpoints(**fields)
        except FileNotFoundError:
            raise UnreachableError(
                f"no network is up in {self.root} ({self.endpoints_file.name} is missing); start one with "
                f"`keyweave up`, name another --state-dir, or give --address with certificates"
            ) from None
        except (OSError, ValueError, TypeError) as error:
            raise UnreachableError(f"{self.endpoints_file} cannot be read: {error}") from None


def scrape_targets(endpoints: Endpoints) -> list[dict[str, Any]]:
    """Prometheus's file_sd: where each page is, and the job and node that its series are labelled with."""
    controllers = [("", url) for url in (endpoints.metrics, *endpoints.further_metrics)]
    pages = {"keyweave-controller": controllers, "keyweave-agent": sorted(endpoints.agent_metrics.items())}
    return [
        {
            "targets": [urlsplit(url).netloc],
            "labels": {"job": job} | ({"node": node} if node else {}),
        }
        for job, urls in pages.items()
        for node, url in urls
    ]


def _file_name(sae_id: str) -> str:
    return quote(sae_id, safe=" @+=,:")
