"""The systemd units: what systemd says of them, and that processes live with what they forbid.

The pages of docs/deploy.md are taken at their word: its configuration files, at its paths and addresses.
"""

import os
import re
import shutil
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from subprocess import run
from typing import Any

import pytest
import yaml

from keyweave.cli.main import main
from tests.deploy.chart import ROOT
from tests.deploy.command_line import parsed
from tests.deploy.sites import Process, Sites, launcher, until
from tests.deploy.units import UNITS, Unit, units

# The first test pays for the start of the whole network, on a machine that may have other things to do.
pytestmark = pytest.mark.timeout(400)
PAGE = ROOT / "docs" / "deploy.md"
MOST_EXPOSED = 20  # tenths: 2.0 of 10
ADDRESSES = {
    "control": "192.0.2.1", "lab": "192.0.2.9", "pki": "192.0.2.3", "north": "192.0.2.7",
    "south": "192.0.2.8",
}  # fmt: skip
SERVICES = [path for path in units() if path.suffix == ".service"]
# What one process needs and others do not.
OWN = {
    "Type", "NotifyAccess", "TimeoutStartSec", "WatchdogSec", "TimeoutStopSec", "User", "Group", "ExecStart",
    "ExecReload", "Restart", "RestartSec", "StateDirectory", "StateDirectoryMode", "LimitNOFILE",
    "LimitMEMLOCK", "MemorySwapMax", "ReadWritePaths", "LoadCredentialEncrypted", "WantedBy", "Description",
    "Documentation", "Wants", "After", "StartLimitIntervalSec",
}  # fmt: skip


@pytest.fixture
def analyze(outside_program: Callable[[str], str]) -> str:
    return outside_program("systemd-analyze")


@pytest.fixture(params=SERVICES, ids=lambda path: path.name)
def service(request: pytest.FixtureRequest) -> Path:
    chosen: Path = request.param
    return chosen


def test_systemd_finds_nothing_wrong(analyze: str, tmp_path: Path) -> None:
    program = launcher(tmp_path / "bin")
    for path in units():
        text = path.read_text().replace("/opt/keyweave/bin/keyweave", str(program))
        (tmp_path / path.name.replace("@.", "@north.")).write_text(text)
    written = sorted(str(path) for path in tmp_path.iterdir() if path.is_file())
    done = run([analyze, "verify", "--man=no", *written], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_every_service_is_hardly_exposed(analyze: str, service: Path) -> None:
    command = [
        analyze,
        "security",
        "--no-pager",
        "--offline=true",
        f"--threshold={MOST_EXPOSED}",
        str(service),
    ]
    done = run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    (score,) = re.findall(r"Overall exposure level for \S+: ([\d.]+)", done.stdout)
    assert float(score) <= MOST_EXPOSED / 10


def test_all_services_are_confined_alike(service: Path) -> None:
    first = Unit(SERVICES[0], "north").settings
    here = Unit(service, "north").settings
    assert {k: v for k, v in here.items() if k not in OWN} == {k: v for k, v in first.items() if k not in OWN}


def test_every_command_is_one_of_ours(service: Path) -> None:
    program, *arguments = Unit(service, "north").command
    assert program == "/opt/keyweave/bin/keyweave"
    parameters = parsed(arguments)
    named = {str(value) for value in parameters.values() if str(value).startswith("/")}
    assert all(path.startswith(("/etc/keyweave/", "/var/lib/keyweave/")) for path in named)


def test_a_renewal_may_write_the_folder_that_it_renews_and_no_other() -> None:
    for path in SERVICES:
        unit = Unit(path, "north")
        if "renew" in path.name:
            assert unit.one("ReadWritePaths") == str(parsed(unit.command[1:])["directory"])
            assert (UNITS / path.name.replace(".service", ".timer")).exists()
        else:
            assert "ReadWritePaths" not in unit.settings


def test_only_keys_are_locked_in_memory() -> None:
    locked = {path.name for path in SERVICES if "LimitMEMLOCK" in Unit(path).settings}
    assert locked == {"keyweave-agent@.service"}
    assert Unit(UNITS / "keyweave-agent@.service").one("MemorySwapMax") == "0"


def test_users_and_folders_are_made_as_the_units_expect(
    outside_program: Callable[[str], str], tmp_path: Path
) -> None:
    (tmp_path / "etc").mkdir()
    root = f"--root={tmp_path}"
    run(
        [outside_program("systemd-sysusers"), root, str(UNITS / "keyweave.sysusers")],
        check=True,
        capture_output=True,
    )
    users = {line.split(":")[0] for line in (tmp_path / "etc" / "passwd").read_text().splitlines()}
    assert {Unit(path).one("User") for path in SERVICES} <= users
    if os.geteuid() == 0:
        command = [outside_program("systemd-tmpfiles"), root, "--create", str(UNITS / "keyweave.tmpfiles")]
        run(command, check=True, capture_output=True)
        uids = {
            line.split(":")[0]: int(line.split(":")[2])
            for line in (tmp_path / "etc/passwd").read_text().splitlines()
        }
        made = (tmp_path / "etc" / "keyweave" / "controller").stat()
        assert (made.st_uid, made.st_mode & 0o777) == (uids["keyweave-controller"], 0o700)


# ---- the processes, confined as their units say --------------------------------------------------------


def files_of_the_page() -> dict[str, str]:
    """Every file that the page spells out, and those of the other node, which is its mirror image."""
    found = dict(
        re.findall(
            r"^```yaml\n# (/etc/keyweave/\S+)\n(.*?)^```", PAGE.read_text(), flags=re.MULTILINE | re.DOTALL
        )
    )
    for path, text in list(found.items()):
        if "north" in path:
            found[mirror(path)] = mirror(text)
    return found


def mirror(text: str) -> str:
    """North's words as south's, and the other way round."""
    pairs = {"north": "south", "left": "right", "192.0.2.7": "192.0.2.8"}
    both = {**pairs, **{there: here for here, there in pairs.items()}}
    return re.sub("|".join(map(re.escape, both)), lambda found: both[found.group()], text)


@dataclass
class Lab:
    """The page's five machines."""

    sites: Sites
    root: Path
    programs: dict[str, str]
    holders: Path
    authorities: Path

    def specification(self, unit: Unit) -> dict[str, Any]:
        overlays = {target: str(self.root / target.lstrip("/")) for target in ("/etc", "/opt", "/var/lib")}
        state = self.root.parent / "state" / unit.one("StateDirectory")
        state.mkdir(parents=True, exist_ok=True)
        return {**unit.confinement(self.programs), "overlays": overlays, "writable": {unit.state: str(state)}}

    def start(self, machine: str, unit: Unit) -> Process:
        return self.sites.start(
            machine, unit.command, self.specification(unit), name=unit.path.name + unit.instance
        )

    def operator(self, *commands: Sequence[str]) -> tuple[int, str]:
        alice = self.holders / "alice"
        found = (
            "--address", "192.0.2.1:21001",
            "--certificate", str(alice / "current/control.pem"),
            "--key", str(alice / "current/control-key.pem"),
            "--trust-anchor", str(alice / "trust/control-ca.pem"),
        )  # fmt: skip
        return self.sites.keyweave_all("control", [(*command, *found) for command in commands])


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    programs = {
        name: shutil.which(name, path="/usr/bin:/usr/sbin:/bin:/sbin") for name in ("ip", "systemd-analyze")
    }
    lost = [name for name, found in programs.items() if found is None]
    if lost or os.geteuid() != 0:
        told = f"needs root and {', '.join(programs)}; Debian has them in iproute2 and systemd"
        (pytest.fail if os.environ.get("KEYWEAVE_NO_SKIP") else pytest.skip)(told)
    folder = tmp_path_factory.mktemp("machines")
    root, authorities, holders = folder / "root", folder / "authorities", folder / "holders"
    launcher(root / "opt" / "keyweave" / "bin")
    (folder / "credentials").mkdir()
    (folder / "credentials" / "passphrase").write_text("correct horse battery staple")
    (folder / "credentials" / "passphrase").chmod(0o400)
    passphrase = ["--passphrase-file", str(folder / "credentials" / "passphrase")]
    assert main(["pki", "init", "--dir", str(authorities), *passphrase]) == 0
    for role, name, where in (
        ("controller", "controller", root / "etc/keyweave/controller"),
        ("emulator", "emulator", root / "etc/keyweave/emulator"),
        ("agent", "north", root / "etc/keyweave/agent-north"),
        ("agent", "south", root / "etc/keyweave/agent-south"),
        ("operator", "alice", holders / "alice"),
        ("sae", "left", holders / "left"),
        ("sae", "right", holders / "right"),
    ):
        hosts = ["--host", ADDRESSES[name]] if role == "agent" else []
        issue = [
            "pki",
            "issue",
            "--dir",
            str(authorities),
            "--role",
            role,
            "--name",
            name,
            "--out",
            str(where),
        ]
        assert main([*issue, *hosts, *passphrase]) == 0
    for path, text in files_of_the_page().items():
        (root / path.lstrip("/")).write_text(text)
    for state in ("controller", "emulator", "agent-north", "agent-south", "pki"):
        (root / "var/lib/keyweave" / state).mkdir(parents=True)
    found = {name: str(path) for name, path in programs.items()}
    with Sites(found["ip"], ADDRESSES, folder) as sites:
        yield Lab(sites, root, found, holders, authorities)


@pytest.fixture(scope="module")
def running(lab: Lab) -> dict[str, Process]:
    """All of the page's processes, and the network that its last step describes."""
    agent = UNITS / "keyweave-agent@.service"
    processes = {
        "controller": lab.start("control", Unit(UNITS / "keyweave-controller.service")),
        "emulator": lab.start("lab", Unit(UNITS / "keyweave-emulator.service")),
        "north": lab.start("north", Unit(agent, "north")),
        "south": lab.start("south", Unit(agent, "south")),
    }
    until("controller_ready", processes["controller"])
    # The page's own commands, on one line each, after the function that names the operator.
    (example,) = re.findall(
        r"^keyweave\(\) \{.*?\}\n(.*?)^```", PAGE.read_text(), flags=re.MULTILINE | re.DOTALL
    )
    lines = example.replace("\\\n", " ").strip().splitlines()
    code, said = lab.operator(*(line.split()[1:] for line in lines))
    assert code == 0, f"{said}\n" + "\n".join(each.said()[-3000:] for each in processes.values())
    return processes


@pytest.mark.slow
def test_the_network_of_the_page_comes_up_under_its_units(lab: Lab, running: dict[str, Process]) -> None:
    # The example ends with `keyweave status --wait`, which returned 0.
    for process in running.values():
        assert process.running.poll() is None
        assert "PermissionError" not in process.said()
        assert "Operation not permitted" not in process.said()


@pytest.mark.slow
def test_an_application_fetches_a_key_by_the_name_that_is_in_the_certificate(
    lab: Lab, running: dict[str, Process]
) -> None:
    left = lab.holders / "left"
    files = (left / "current/sae.pem", left / "current/sae-key.pem", left / "trust/sae-ca.pem")
    assert len(lab.sites.fetch("north", files, "https://192.0.2.7:21011/api/v1/keys/right/enc_keys")) == 1


@pytest.mark.slow
def test_agents_lock_their_memory_and_write_nowhere_else(lab: Lab, running: dict[str, Process]) -> None:
    said = running["north"].said()
    assert "memory_not_locked" not in said
    status = Path(f"/proc/{running['north'].running.pid}/status").read_text()
    assert re.search(r"^CapEff:\s+0+$", status, flags=re.MULTILINE)
    assert re.search(r"^NoNewPrivs:\s+1$", status, flags=re.MULTILINE)
    assert re.search(r"^Seccomp:\s+2$", status, flags=re.MULTILINE)
    locked = re.search(r"^VmLck:\s+(\d+) kB$", status, flags=re.MULTILINE)
    assert locked is not None
    assert int(locked.group(1)) > 0
    assert (lab.root.parent / "state/keyweave/agent-north/policy.json").exists()
    assert list((lab.root / "var/lib/keyweave/agent-north").iterdir()) == []


FORBIDDEN = {
    "the machine is read-only": ("open('/etc/keyweave/x', 'w')", "Read-only file system"),
    "so are temporary files": ("open('/tmp/x', 'w')", "Read-only file system"),
    "no sockets but IP and Unix": (
        "import socket; socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)",
        "Operation not permitted",
    ),
    "no other root": ("import os; os.chroot('/')", "Operation not permitted"),
    "no other user": ("import os; os.setuid(65534)", "Operation not permitted"),
    "no priorities": ("import os; os.setpriority(0, 0, 5)", "not permitted"),
    "no code in writable memory": ("import mmap; mmap.mmap(-1, 4096, prot=7)", "Permission denied"),
}


@pytest.mark.slow
@pytest.mark.parametrize("what", FORBIDDEN)
def test_what_a_unit_forbids_is_forbidden_to_what_runs_under_it(lab: Lab, what: str) -> None:
    attempt, error = FORBIDDEN[what]
    unit = Unit(UNITS / "keyweave-controller.service")
    command = [sys.executable, "-c", attempt]
    process = lab.sites.start("control", command, lab.specification(unit), name=f"attempt-{what}")
    assert process.running.wait(60) != 0
    assert error in process.said()


@pytest.mark.slow
def test_a_machine_enrols_with_the_service_and_its_renewal_brings_new_lists(
    lab: Lab, capsys: pytest.CaptureFixture[str]
) -> None:
    service = Unit(UNITS / "keyweave-pki.service")
    # Where systemd puts credentials: what the unit calls %d.
    command = [word.replace("%d", str(lab.authorities.parent / "credentials")) for word in service.command]
    specification = {**lab.specification(service), "writable": {service.state: str(lab.authorities)}}
    serving = lab.sites.start("pki", command, specification, name="pki")
    until("enrolment_service_started", serving)
    directory = ["--dir", str(lab.authorities)]
    capsys.readouterr()
    assert main(["pki", "token", *directory, "--node", "east", "--server", "192.0.2.3:8444"]) == 0
    token = capsys.readouterr().out
    file, east = lab.holders / "token", lab.holders / "agent-east"
    file.write_text(token)
    enrolled = lab.sites.keyweave("north", "agent", "enrol", "--token-file", str(file), "--dir", str(east))
    assert enrolled.returncode == 0, enrolled.stderr
    before = (east / "trust/sae-crl.pem").read_bytes()
    secret = str(lab.authorities.parent / "credentials/passphrase")
    whom = ("--role", "sae", "--name", "right")
    assert main(["pki", "revoke", *directory, *whom, "--passphrase-file", secret]) == 0
    renewal = Unit(UNITS / "keyweave-agent-renew@.service", "east")
    (lab.root / "etc/keyweave/agent-east").mkdir()
    confined = {
        **renewal.confinement(lab.programs),
        "overlays": {target: str(lab.root / target.lstrip("/")) for target in ("/etc", "/opt")},
        "writable": {renewal.one("ReadWritePaths"): str(east)},
    }
    renewing = lab.sites.start("north", renewal.command, confined, name="renewal")
    assert renewing.running.wait(60) == 0, renewing.said()
    assert (east / "trust/sae-crl.pem").read_bytes() != before
    assert serving.stop() == 0, serving.said()


@pytest.mark.slow
def test_processes_end_in_order_when_they_are_told_to(lab: Lab, running: dict[str, Process]) -> None:
    for name in ("south", "north", "controller", "emulator"):
        assert running[name].stop() == 0, running[name].said()


def test_the_mirrored_files_are_the_other_nodes() -> None:
    files = files_of_the_page()
    agent = yaml.safe_load(files["/etc/keyweave/agent-south.yaml"])
    assert (agent["node"], agent["kme"]["listen"]) == ("south", "192.0.2.8:21011")
    guard = yaml.safe_load(files["/etc/keyweave/guard-south.yaml"])
    assert guard["saes"]["right"][0]["peer_node"] == "north"
    assert socket.inet_aton(agent["controller"]["address"].partition(":")[0])
