"""What a kubelet, a cluster's DNS and cert-manager do with the chart's objects, as far as pods can tell.

Each pod gets a network namespace with an address of its own, a read-only root with its volumes in their
places, and the command of the image's entry point. Services lead to the one pod behind them by name. What is
not here: scheduling, the network policies (tests/deploy/test_chart_network.py evaluates them), the user (see
confined.py), the runtime's default system call filter.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from keyweave.common.identity import Identity, Plane, Role
from keyweave.common.pki import Authority
from tests.deploy.chart import NAMESPACE, Object, Pod, Rendered, identity_of
from tests.deploy.sites import Process, Sites, launcher

# As in the Dockerfile.
ENTRYPOINT = "/opt/keyweave/bin/keyweave"
_DATA = "..data"


class CertManager:
    """Issues what Certificates ask for, one authority for each plane; and the enrolments that it cannot."""

    def __init__(self) -> None:
        self.authorities = {plane: Authority.create(plane) for plane in Plane}
        self.signing = Authority.create(Plane.KEY, signing=True)

    def secret(self, certificate: Object) -> dict[str, bytes]:
        """The content of the Secret that a Certificate names."""
        identity = identity_of(certificate)
        hosts = tuple(name for name in certificate["spec"]["dnsNames"] if name != identity.dns_name)
        return _files(self.authorities[identity.plane], identity, hosts)

    def enrolment(self, node: str) -> dict[str, bytes]:
        """The Secret with an agent's signing credential."""
        return _files(self.signing, Identity(Plane.KEY, Role.AGENT, node), ())

    def application(self, sae: str) -> dict[str, bytes]:
        """What an application would have."""
        return _files(self.authorities[Plane.SAE], Identity(Plane.SAE, Role.SAE, sae), ())


def _files(authority: Authority, identity: Identity, hosts: tuple[str, ...]) -> dict[str, bytes]:
    credential = authority.issue(identity, hosts=hosts)
    return {
        "tls.crt": credential.certificate,
        "tls.key": credential.private_key,
        "ca.crt": authority.credential.certificate,
    }


def put_volume(folder: Path, content: Mapping[str, bytes], generation: int) -> None:
    """Files as the kubelet puts them: through a link to a folder, swapped at once when they change."""
    data = folder / f"..{generation}"
    for name, text in content.items():
        file = data / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(text)
        file.chmod(0o440)
        first = folder / name.partition("/")[0]
        if not first.is_symlink():
            first.symlink_to(f"{_DATA}/{first.name}")
    swapped = folder / "..new"
    swapped.symlink_to(data.name)
    swapped.replace(folder / _DATA)


@dataclass
class Cluster:
    """The pods of one rendering, on addresses of their own."""

    rendered: Rendered
    sites: Sites
    secrets: Mapping[str, Mapping[str, bytes]]
    folder: Path

    @property
    def hosts(self) -> str:
        """The cluster's DNS as a hosts file: each Service by all the names that it has in a pod."""
        lines = ["127.0.0.1 localhost"]
        for service in self.rendered.of("Service"):
            name = service["metadata"]["name"]
            behind = [
                pod
                for pod in self.rendered.pods()
                if service["spec"]["selector"].items() <= pod.labels.items()
            ]
            longer = [f"{name}.{NAMESPACE}{rest}" for rest in ("", ".svc", ".svc.cluster.local")]
            lines += [f"{self.sites.addresses[pod.name]} {' '.join([name, *longer])}" for pod in behind]
        return "\n".join(lines) + "\n"

    def root(self, name: str) -> Path:
        """What lies over the machine's root in a pod."""
        return self.folder / "roots" / name

    def volume(self, name: str, path: str) -> Path:
        """What is mounted at a path of a pod."""
        return self.folder / "volumes" / name / path.strip("/").replace("/", "-")

    def start(self, pod: Pod) -> Process:
        """Mount a pod's volumes and run its container."""
        root = self.root(pod.name)
        bound: dict[str, str] = {}
        writable: dict[str, str] = {}
        launcher(root / ENTRYPOINT.lstrip("/").rpartition("/")[0])
        (root / "etc").mkdir()
        (root / "etc/hosts").write_text(self.hosts)
        for path, volume in pod.mounts.items():
            if path == "/tmp":  # which stays read-only here: stricter than the pod
                continue
            (root / path.lstrip("/")).mkdir(parents=True)
            outside = self.volume(pod.name, path)
            outside.mkdir(parents=True)
            if "secret" in volume:
                put_volume(outside, self.secrets[volume["secret"]["secretName"]], 1)
            elif "configMap" in volume:
                put_volume(outside, self._config(volume["configMap"]), 1)
            (bound if "secret" in volume or "configMap" in volume else writable)[path] = str(outside)
        overlays = {
            target: str(root / target.lstrip("/"))
            for target in ("/etc", "/opt", "/var/lib")
            if (root / target.lstrip("/")).exists()
        }
        specification: dict[str, Any] = {"overlays": overlays, "bound": bound, "writable": writable}
        environment = {
            each["name"]: each["value"] for each in pod.container.get("env", ()) if "value" in each
        }
        command = [ENTRYPOINT, *pod.container["args"]]
        return self.sites.start(pod.name, command, specification, environment)

    def _config(self, volume: Object) -> dict[str, bytes]:
        data = self.rendered.named("ConfigMap", volume["name"])["data"]
        items = volume.get("items") or [{"key": key, "path": key} for key in data]
        return {item["path"]: data[item["key"]].encode() for item in items}
