"""From a scenario to everything its processes need: ports, certificates, configuration files."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from keyweave.cli.state_dir import Endpoints, StateDir
from keyweave.cli.up import ports
from keyweave.cli.up.credentials import Credentials
from keyweave.cli.up.lab_guards import write_guard
from keyweave.common.errors import InvalidInputError, Violation
from keyweave.common.identity import Identity, Plane, Role
from keyweave.common.process import write_atomically
from keyweave.common.tls import CredentialFiles
from keyweave.emulator.faults import KINDS
from keyweave.emulator.scenario import NodeSpec, Scenario

CONTROLLER = "controller"
EMULATOR = "emulator"


def agent_process(node: str) -> str:
    """The process of a node's agent; no node can be named so that two processes share a name."""
    return f"agent-{node}"


@dataclass(frozen=True, slots=True)
class Layout:
    """A scenario's processes, ready to be started."""

    scenario: Scenario
    state: StateDir
    ports: dict[str, int]
    # Whether agents dial each other and the controller through the emulator.
    network_faults: bool = False
    # The database that several controllers share; empty where there is one, with SQLite.
    database: str = ""
    controllers: tuple[str, ...] = (CONTROLLER,)
    # Nodes whose guards somebody has edited: they are left as they are.
    edited_guards: tuple[str, ...] = ()

    @property
    def agents(self) -> tuple[str, ...]:
        """The agents' processes."""
        return tuple(agent_process(node.name) for node in self.scenario.nodes)

    @property
    def endpoints(self) -> Endpoints:
        """Where everything listens."""
        nodes = [node.name for node in self.scenario.nodes]
        return Endpoints(
            admin=self.address("admin"),
            metrics=f"http://{self.address('metrics')}/metrics",
            agent_metrics={node: f"http://{self.address(f'{node} metrics')}/metrics" for node in nodes},
            emulator=self.address("emulator"),
            kme={node: f"https://{self.address(f'{node} kme')}" for node in nodes},
            page=f"http://{self.address('page')}/",
            further_admin=tuple(self.address(_use(each, "admin")) for each in self.controllers[1:]),
            further_metrics=tuple(
                f"http://{self.address(_use(each, 'metrics'))}/metrics" for each in self.controllers[1:]
            ),
        )

    def environment(self, process: str) -> dict[str, str]:
        """What a process finds in its environment besides ours."""
        node = next((n.name for n in self.scenario.nodes if agent_process(n.name) == process), None)
        if node is None or not self.network_faults:
            return {}
        return {"grpc_proxy": f"http://{self.address(f'{node} network')}", "no_grpc_proxy": ""}

    def address(self, use: str) -> str:
        """host:port of one use."""
        return f"{ports.HOST}:{self.ports[use]}"


def lay_out(
    scenario: Scenario,
    scenario_file: Path,
    root: Path,
    held: ports.Held,
    *,
    speed: float = 1.0,
    network_faults: bool = False,
    controllers: int = 1,
    database: str = "",
) -> Layout:
    """Choose and hold ports, issue certificates and write every configuration file."""
    _check_saes(scenario)
    _check_database(controllers, database)
    processes = (CONTROLLER, *(f"{CONTROLLER}-{number}" for number in range(2, controllers + 1)))
    network_faults = network_faults or any(KINDS[entry.kind].is_of_network for entry in scenario.timeline)
    root.mkdir(parents=True, exist_ok=True)
    state = StateDir(root.resolve())
    fixed: dict[str, int | None] = {
        "admin": scenario.ports.admin,
        "metrics": scenario.ports.metrics,
        "emulator": scenario.ports.emulator,
        "page": scenario.ports.page,
    }
    for process in processes[1:]:
        fixed |= {_use(process, use): None for use in ("admin", "metrics", "page")}
    for node in scenario.nodes:
        fixed[f"{node.name} key_plane"] = node.ports.key_plane
        fixed[f"{node.name} kme"] = node.ports.kme
        fixed[f"{node.name} metrics"] = node.ports.metrics
        if network_faults:
            fixed[f"{node.name} network"] = None
    chosen = ports.choose(fixed, state.ports_file)
    layout = Layout(scenario, state, chosen, network_faults, database, processes)
    held.hold(layout.ports.values())
    credentials = Credentials(state)
    credentials.operator()
    credentials.saes(sae for stream in scenario.streams for sae in (stream.source_sae, stream.target_sae))
    for process in processes:
        _write(state, process, _controller_config(layout, credentials, process))
    emulator = _emulator_config(layout, credentials, scenario_file.resolve())
    _write(state, EMULATOR, {**emulator, "speed": speed})
    for node in scenario.nodes:
        _write(state, agent_process(node.name), _agent_config(layout, credentials, node))
    edited = [
        n.name for n in scenario.nodes if not write_guard(state.guard(agent_process(n.name)), scenario, n)
    ]
    return replace(layout, edited_guards=tuple(edited))


def _check_saes(scenario: Scenario) -> None:
    found = [
        Violation(f"streams[{index}].{end}", f"{sae!r} must be printable ASCII to stand in a certificate")
        for index, stream in enumerate(scenario.streams)
        for end, sae in (("source_sae", stream.source_sae), ("target_sae", stream.target_sae))
        if not (sae.isascii() and sae.isprintable())
    ]
    if found:
        raise InvalidInputError(found)


def _use(process: str, use: str) -> str:
    """What a controller's port is for; the first one's have the plain names."""
    return use if process == CONTROLLER else f"{use} {process}"


def _check_database(controllers: int, database: str) -> None:
    if database and not database.startswith("postgresql"):
        raise InvalidInputError.of(
            "--database",
            "must be a PostgreSQL, postgresql+asyncpg://USER@HOST/DATABASE; leave it out for SQLite",
        )
    if controllers > 1 and not database:
        raise InvalidInputError.of(
            "--controllers", "more than one share a PostgreSQL: name it with --database"
        )


def _controller_config(layout: Layout, credentials: Credentials, process: str) -> dict[str, Any]:
    # All show the same identity: clients know by it that they have reached a controller of this network.
    identity = Identity(Plane.CONTROL, Role.CONTROLLER, "controller")
    return {
        "listen": layout.address(_use(process, "admin")),
        "metrics_listen": layout.address(_use(process, "metrics")),
        "state_dir": str(layout.state.root / process),
        **({"database_url": layout.database} if layout.database else {}),
        "tls": _tls(credentials.process(process, "control", identity)),
        "page": {"listen": layout.address(_use(process, "page")), "access": "local"},
    }


def _emulator_config(layout: Layout, credentials: Credentials, scenario_file: Path) -> dict[str, Any]:
    identity = Identity(Plane.CONTROL, Role.EMULATOR, "emulator")
    network: dict[str, Any] = {}
    if layout.network_faults:
        nodes = [node.name for node in layout.scenario.nodes]
        network["network"] = {
            "proxies": {node: layout.address(f"{node} network") for node in nodes},
            "key_planes": {node: layout.address(f"{node} key_plane") for node in nodes},
            "controllers": list(layout.endpoints.controllers),
            "emulator": layout.address("emulator"),
        }
    return {
        **network,
        "scenario": str(scenario_file),
        "listen": layout.address("emulator"),
        "tls": _tls(credentials.process(EMULATOR, "control", identity)),
    }


def _dialled(layout: Layout) -> dict[str, Any]:
    controllers = list(layout.endpoints.controllers)
    return {"addresses": controllers} if len(controllers) > 1 else {"address": controllers[0]}


def _agent_config(layout: Layout, credentials: Credentials, node: NodeSpec) -> dict[str, Any]:
    process = agent_process(node.name)
    control = credentials.process(process, "control", Identity(Plane.CONTROL, Role.AGENT, node.name))
    key = credentials.process(process, "key", Identity(Plane.KEY, Role.AGENT, node.name))
    signing = credentials.signing(process, node.name)
    kme = credentials.process(process, "kme", Identity(Plane.SAE, Role.KME, node.name))
    return {
        "node": node.name,
        "state_dir": str(layout.state.root / process),
        "controller": _dialled(layout),
        "control_tls": _tls(control),
        "key_plane": {
            "listen": layout.address(f"{node.name} key_plane"),
            "tls": _tls(key),
            "signing": _tls(signing),
        },
        "kme": {"listen": layout.address(f"{node.name} kme"), "tls": _tls(kme), "sae_id_from": "uri"},
        "metrics_listen": layout.address(f"{node.name} metrics"),
        "guard": str(layout.state.guard(process)),
        "drivers": [
            {
                "driver": "emulator",
                "settings": {"address": layout.address("emulator"), "tls": _tls(control)},
            }
        ],
    }


def _tls(files: CredentialFiles) -> dict[str, str]:
    return files.model_dump(mode="json", exclude_none=True)


def _write(state: StateDir, process: str, config: dict[str, Any]) -> None:
    content = {**config, "ready_file": str(state.ready(process))}
    write_atomically(state.config(process), yaml.safe_dump(content, sort_keys=False))
