"""The laboratory of the chart, running: its pods, configurations, certificates, probes, without a cluster."""

import os
import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from keyweave.common.identity import Identity, Plane, Role
from tests.deploy.chart import CHART, ROOT, identity_of, notes, render
from tests.deploy.kubelet import ENTRYPOINT, CertManager, Cluster, put_volume
from tests.deploy.sites import Process, Sites, until

VALUES = CHART / "ci" / "lab-values.yaml"
# The first test pays for the start of the whole network, on a machine that may have other things to do.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]
STARTED = {"controller": "controller_ready", "agent": "agent_started", "emulator": "emulator_started"}
# Where people and applications are.
DESK = "desk"
LINK = "link create link-1 --a-node north --b-node south --technology dv-qkd --length-km 20"
STREAM = (
    "stream create left-right --source-node north --target-node south --source-sae left --target-sae right "
    "--require-qkd --require-pqc --max-rate-bps 8192"
)


@dataclass
class Lab:
    """The cluster with everything that runs in it, and what people outside have."""

    cluster: Cluster
    cert_manager: CertManager
    processes: dict[str, Process]
    desk: Path
    notes: str

    @property
    def sites(self) -> Sites:
        return self.cluster.sites

    def files(self, holder: str, content: dict[str, bytes]) -> tuple[Path, Path, Path]:
        folder = self.desk / holder
        folder.mkdir(exist_ok=True)
        for name, text in content.items():
            (folder / name).write_bytes(text)
        return folder / "tls.crt", folder / "tls.key", folder / "ca.crt"

    def operator(self, *commands: Sequence[str]) -> tuple[int, str]:
        """`keyweave` as alice, whose certificate the chart asked for, at the controller's address."""
        certificate, key, anchor = self.files(
            "alice", dict(self.cluster.secrets["rel-keyweave-operator-alice"])
        )
        found = (
            "--address", f"{self.sites.addresses['rel-keyweave-controller']}:21001",
            "--certificate", str(certificate), "--key", str(key), "--trust-anchor", str(anchor),
        )  # fmt: skip
        return self.sites.keyweave_all(DESK, [(*command, *found) for command in commands])


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    ip = shutil.which("ip", path="/usr/bin:/usr/sbin:/bin:/sbin")
    helm = shutil.which("helm", path=f"{ROOT}/.tools/bin:{os.environ.get('PATH', '')}")
    if ip is None or helm is None or os.geteuid() != 0:
        told = "needs root, ip (Debian has it in iproute2) and helm (`make tools` installs it)"
        (pytest.fail if os.environ.get("KEYWEAVE_NO_SKIP") else pytest.skip)(told)
    folder = tmp_path_factory.mktemp("pods")
    rendered, cert_manager = render(str(helm), VALUES), CertManager()
    secrets = {
        each["spec"]["secretName"]: cert_manager.secret(each) for each in rendered.of("Certificate")
    } | {f"{node}-signing": cert_manager.enrolment(node) for node in ("north", "south")}
    names = [pod.name for pod in rendered.pods()]
    addresses = {name: f"10.0.0.{10 + number}" for number, name in enumerate((DESK, *names))}
    (folder / "desk").mkdir()
    with Sites(str(ip), addresses, folder) as sites:
        cluster = Cluster(rendered, sites, secrets, folder)
        processes = {pod.name: cluster.start(pod) for pod in rendered.pods()}
        told = notes(str(helm), VALUES, folder / "notes")
        yield Lab(cluster, cert_manager, processes, folder / "desk", told)


@pytest.fixture(scope="module")
def network(lab: Lab) -> Lab:
    """The laboratory once its probes are content and the notes' commands were followed."""
    for name, process in lab.processes.items():
        until(STARTED[process.name.split("-")[2]], process)
        lab.sites.until_healthy(DESK, process, f"{lab.sites.addresses[name]}:21004")
    created = re.findall(r"^  keyweave (node create .*)$", lab.notes, flags=re.MULTILINE)
    assert len(created) == 2
    lines = (*created, LINK, STREAM, "status --wait --timeout 90")
    code, said = lab.operator(*(line.split() for line in lines))
    assert code == 0, f"{said}\n" + "\n".join(each.said()[-2000:] for each in lab.processes.values())
    return lab


def test_the_laboratory_of_the_chart_comes_up_and_serves_keys(network: Lab) -> None:
    for process in network.processes.values():
        assert process.running.poll() is None
        assert "Read-only file system" not in process.said()
    left = network.files("left", network.cert_manager.application("left"))
    # By the Service's address, as what the KME's certificate names.
    kme = network.sites.addresses["rel-keyweave-agent-north"]
    hosts = network.sites.folder / "hosts"
    hosts.write_text(network.cluster.hosts)
    network.sites.names(DESK, hosts)
    assert f"{kme} rel-keyweave-kme-north" in network.cluster.hosts
    for name in ("rel-keyweave-kme-north", "rel-keyweave-kme-north.qkd.svc.cluster.local"):
        keys = network.sites.fetch(DESK, left, f"https://{name}:21011/api/v1/keys/right/enc_keys")
        assert len(keys) == 1


def test_a_renewed_certificate_is_taken_as_the_kubelet_brings_it(network: Lab) -> None:
    (certificate,) = (
        each
        for each in network.cluster.rendered.of("Certificate")
        if identity_of(each) == Identity(Plane.SAE, Role.KME, "north")
    )
    renewed = network.cert_manager.secret(certificate)
    agent = "rel-keyweave-agent-north"
    put_volume(network.cluster.volume(agent, "/etc/keyweave/pki/kme"), renewed, 2)
    process = network.processes[agent]
    until("certificate_taken", process)
    left = network.files("left", network.cert_manager.application("left"))
    kme = "https://rel-keyweave-kme-north.qkd.svc:21011/api/v1/keys/right/enc_keys"
    assert network.sites.fetch(DESK, left, kme)


def test_pods_end_in_order_within_their_grace(network: Lab) -> None:
    for name, process in sorted(network.processes.items()):
        assert process.stop() == 0, f"{name}: {process.said()[-3000:]}"


def test_the_image_starts_what_pods_start() -> None:
    assert f'ENTRYPOINT ["{ENTRYPOINT}"]' in (ROOT / "Dockerfile").read_text()
