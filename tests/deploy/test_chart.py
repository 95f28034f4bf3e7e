"""The Helm chart: every object is one that Kubernetes takes, and says what the code understands."""

import json
from collections.abc import Callable
from pathlib import Path
from subprocess import run
from typing import Any

import click
import kubernetes_validate
import pytest
import yaml
from pydantic import BaseModel

from keyweave.agent.config import AgentConfig
from keyweave.agent.drivers import base
from keyweave.agent.drivers.emulator import EmulatorSettings
from keyweave.agent.drivers.etsi014_settings import Etsi014Settings
from keyweave.agent.drivers.mqtt_settings import MqttSettings
from keyweave.agent.guard import model as guards
from keyweave.common import settings
from keyweave.controller.config import ControllerConfig
from keyweave.emulator.config import EmulatorConfig
from keyweave.emulator.scenario import load_scenario
from tests.deploy.chart import (
    CHART,
    ROOT,
    VALUES,
    Object,
    Pod,
    Rendered,
    helm,
    identity_of,
    notes,
    paths_in,
    refused,
    render,
)
from tests.deploy.command_line import parsed

DRIVER_SETTINGS: dict[str, type[BaseModel]] = {
    "emulator": EmulatorSettings,
    "mqtt": MqttSettings,
    "etsi014": Etsi014Settings,
}
VALIDATOR = ROOT / "tests" / "deploy" / "custom_objects.mjs"
# cert-manager's names, which Secrets of one's own have to have as well.
CREDENTIAL_FILES = {"tls.crt", "tls.key", "ca.crt"}
# Kubernetes has no schemas of these; what they may hold at the places that the chart writes to.
CUSTOM: dict[str, tuple[str, set[str]]] = {
    "Certificate": (
        "cert-manager.io/v1",
        {
            "secretName", "commonName", "uris", "dnsNames", "usages", "privateKey", "duration", "renewBefore",
            "issuerRef",
        },
    ),
    "ServiceMonitor": ("monitoring.coreos.com/v1", {"selector", "jobLabel", "endpoints"}),
    "PrometheusRule": ("monitoring.coreos.com/v1", {"groups"}),
}  # fmt: skip


@pytest.fixture
def program(outside_program: Callable[[str], str]) -> str:
    return outside_program("helm")


@pytest.fixture(params=VALUES, ids=lambda path: path.stem)
def values(request: pytest.FixtureRequest) -> Path:
    chosen: Path = request.param
    return chosen


@pytest.fixture
def rendered(program: str, values: Path) -> Rendered:
    return render(program, values)


def config_of(rendered: Rendered, pod: Pod) -> tuple[dict[str, str], str]:
    """The files of a pod's ConfigMap by their path below the mount, and the one that the command names."""
    volume = pod.mounts["/etc/keyweave/config"]["configMap"]
    data: dict[str, str] = rendered.named("ConfigMap", volume["name"])["data"]
    items = volume.get("items") or [{"key": key, "path": key} for key in data]
    files = {item["path"]: data[item["key"]] for item in items}
    arguments = parsed(pod.container["args"])
    return files, str(arguments["config"]).removeprefix("/etc/keyweave/config/")


def test_lint_has_nothing_to_say(program: str, values: Path) -> None:
    code, output, errors = helm(program, "lint", "--strict", "--values", str(values))
    assert code == 0, output + errors
    assert "[WARNING]" not in output


@pytest.mark.parametrize("version", ["1.29", "1.37"])
def test_every_object_is_one_that_kubernetes_takes(rendered: Rendered, version: str) -> None:
    for each in rendered.objects:
        if each["kind"] not in CUSTOM:
            kubernetes_validate.validate(each, version, strict=True)


def test_objects_of_others_hold_what_we_know_of_them(rendered: Rendered) -> None:
    for each in rendered.of(*CUSTOM):
        api_version, fields = CUSTOM[each["kind"]]
        assert each["apiVersion"] == api_version
        assert set(each) == {"apiVersion", "kind", "metadata", "spec"}
        assert each["spec"].keys() <= fields


def test_objects_of_others_pass_the_schemas_of_others(
    program: str, custom_schemas: Path, outside_program: Callable[[str], str], tmp_path: Path
) -> None:
    node = outside_program("node")
    objects = [each for values in VALUES for each in render(program, values).of(*CUSTOM)]
    (tmp_path / "objects.json").write_text(json.dumps(objects))
    done = run(
        [node, str(VALIDATOR), str(tmp_path / "objects.json"), str(custom_schemas)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split() == [str(len(objects)), "valid"]


def test_every_pod_may_do_nothing_but_its_work(rendered: Rendered) -> None:
    for pod in rendered.pods():
        spec, container = pod.spec, pod.container
        assert spec["automountServiceAccountToken"] is False
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "privileged": False,
            "capabilities": {"drop": ["ALL"]},
        }
        assert not {"hostNetwork", "hostPID", "hostIPC"} & spec.keys()
        assert container["resources"]["requests"].keys() == {"cpu", "memory"}
        assert "memory" in container["resources"]["limits"]
        written = {path for path in pod.mounts if not is_read_only(pod, path)}
        assert written <= {"/var/lib/keyweave", "/var/lib/keyweave/agent", "/tmp"}
    for account in rendered.of("ServiceAccount"):
        assert account["automountServiceAccountToken"] is False


def is_read_only(pod: Pod, path: str) -> bool:
    (mount,) = (each for each in pod.container["volumeMounts"] if each["mountPath"] == path)
    return bool(mount.get("readOnly"))


def test_the_machine_is_only_touched_by_the_daemonset_and_only_where_values_say(rendered: Rendered) -> None:
    for pod in rendered.pods():
        paths = {volume["hostPath"]["path"] for volume in pod.spec["volumes"] if "hostPath" in volume}
        expected = (
            {"/etc/keyweave/pki", "/var/lib/keyweave/agent"} if pod.owner["kind"] == "DaemonSet" else set()
        )
        assert paths == expected


def test_containers_run_commands_that_exist_and_their_files_are_mounted(rendered: Rendered) -> None:
    machines = {item["path"].partition("/")[0] for pod in rendered.pods() for item in items_of(pod)}
    for pod in rendered.pods():
        assert pod.container["args"][0] == pod.component
        files, config = config_of(rendered, pod)
        if "$(MACHINE)" in config:
            expanded = {config.replace("$(MACHINE)", machine) for machine in machines if "." in machine}
            assert expanded
            assert expanded <= files.keys() | {m for m in expanded if "guard-" in m}
        else:
            assert config in files


def items_of(pod: Pod) -> list[Object]:
    return list(pod.mounts["/etc/keyweave/config"]["configMap"].get("items", ()))


def configurations(rendered: Rendered) -> list[tuple[Pod, str, str]]:
    """Every configuration file of every pod: pod, file name, text."""
    return [
        (pod, name, text)
        for pod in rendered.pods()
        for name, text in config_of(rendered, pod)[0].items()
        if name.rpartition("/")[2] in {"controller.yaml", "agent.yaml", "emulator.yaml"}
    ]


def test_every_configuration_is_one_that_its_process_accepts(rendered: Rendered, tmp_path: Path) -> None:
    for pod, name, text in configurations(rendered):
        files, _ = config_of(rendered, pod)
        match pod.component:
            case "controller":
                controller = settings.parse(text, ControllerConfig, source=name)
                assert controller.listen.endswith(f":{pod.ports['grpc']}")
                assert controller.metrics_listen.endswith(f":{pod.ports['metrics']}")
                assert controller.health_listen == f"0.0.0.0:{pod.ports['health']}"
            case "emulator":
                emulator = settings.parse(text, EmulatorConfig, source=name)
                assert emulator.listen.endswith(f":{pod.ports['grpc']}")
                assert emulator.health_listen == f"0.0.0.0:{pod.ports['health']}"
                (tmp_path / "scenario.yaml").write_text(files[emulator.scenario.name])
                load_scenario(tmp_path / "scenario.yaml")
            case _:
                agent = settings.parse(text, AgentConfig, source=name)
                assert agent.key_plane.listen.endswith(f":{pod.ports['key-plane']}")
                assert agent.kme.listen.endswith(f":{pod.ports['kme']}")
                assert agent.metrics_listen.endswith(f":{pod.ports['metrics']}")
                assert agent.health_listen == f"0.0.0.0:{pod.ports['health']}"
                for driver in agent.drivers:
                    base.load(driver.driver)
                    DRIVER_SETTINGS[driver.driver].model_validate(driver.settings)
                guard = tmp_path / agent.guard.name
                guard.write_text(files[agent.guard.name])
                guards.load(guard, agent.node)


def test_every_file_that_a_configuration_names_is_mounted_and_nothing_is_mounted_for_nothing(
    rendered: Rendered,
) -> None:
    everything = configurations(rendered)
    for pod in rendered.pods():
        texts = [text for of, _, text in everything if of.name == pod.name]
        named = {path for text in texts for path in paths_in(yaml.safe_load(text))}
        named |= {env["value"] for env in pod.container.get("env", ()) if "value" in env}
        used = set()
        for path in named:
            volume, rest = pod.behind(path)
            used.add(volume.get("name", "state"))
            if "secret" in volume and "items" in volume["secret"]:
                assert rest in {item["path"] for item in volume["secret"]["items"]}
            elif volume.get("name") in {"control", "key", "signing", "kme"}:
                assert rest in CREDENTIAL_FILES
            elif volume.get("name") == "crl":
                assert rest in {"control-crl.pem", "key-crl.pem", "key-signing-crl.pem", "sae-crl.pem"}
        mounted = {volume.get("name", "state") for volume in pod.mounts.values()}
        assert mounted - {"config", "tmp", "state"} <= used


def test_what_pods_mount_is_made_by_the_chart_or_named_in_values(rendered: Rendered, values: Path) -> None:
    text = values.read_text()
    certified = {each["spec"]["secretName"] for each in rendered.of("Certificate")}
    maps = {each["metadata"]["name"] for each in rendered.of("ConfigMap")}
    for pod in rendered.pods():
        for volume in pod.spec["volumes"]:
            secret = volume.get("secret", {}).get("secretName")
            config = volume.get("configMap", {}).get("name")
            assert secret is None or secret in certified or secret in text
            assert config is None or config in maps or config in text


def test_certificates_name_whom_the_code_expects(rendered: Rendered) -> None:
    for certificate in rendered.of("Certificate"):
        identity = identity_of(certificate)
        assert identity.dns_name in certificate["spec"]["dnsNames"]
        assert certificate["spec"]["usages"] == ["digital signature", "server auth", "client auth"]
        assert certificate["spec"]["privateKey"]["encoding"] == "PKCS8"
        assert certificate["spec"]["issuerRef"]["name"].endswith(str(identity.plane))
    by_secret = {each["spec"]["secretName"]: identity_of(each) for each in rendered.of("Certificate")}
    for pod in rendered.pods():
        for path, volume in pod.mounts.items():
            identity_there = by_secret.get(volume.get("secret", {}).get("secretName", ""))
            if identity_there is not None:
                wanted = {
                    "/etc/keyweave/pki/control": ("control", pod.component),
                    "/etc/keyweave/pki/key": ("key", "agent"),
                    "/etc/keyweave/pki/kme": ("sae", "kme"),
                }
                assert (identity_there.plane, identity_there.role) == wanted[path]


def test_services_lead_to_ports_that_pods_have(rendered: Rendered) -> None:
    pods = list(rendered.pods())
    services = rendered.of("Service")
    assert services
    for service in services:
        behind = [pod for pod in pods if service["spec"]["selector"].items() <= pod.labels.items()]
        assert behind, service["metadata"]["name"]
        for pod in behind:
            for port in service["spec"]["ports"]:
                assert pod.ports[port["targetPort"]] == port["port"]


def test_selectors_choose_the_pods_of_their_owner_and_no_others(rendered: Rendered) -> None:
    pods = list(rendered.pods())
    for pod in pods:
        selector = pod.owner["spec"]["selector"]["matchLabels"]
        assert [p.name for p in pods if selector.items() <= p.labels.items()] == [pod.name]


def test_probes_ask_the_health_port(rendered: Rendered) -> None:
    for pod in rendered.pods():
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            assert pod.container[probe]["grpc"]["port"] == pod.ports["health"]
        # What the process answers to (keyweave.common.health).
        assert pod.container["readinessProbe"]["grpc"]["service"] == "ready"
        assert "service" not in pod.container["livenessProbe"]["grpc"]


def test_a_change_of_configuration_starts_the_pod_anew_and_no_other_change_does(program: str) -> None:
    lab = CHART / "ci" / "lab-values.yaml"

    def checksums(*more: str) -> dict[str, str]:
        pods = render(program, lab, *more).pods()
        return {pod.name: pod.template["metadata"]["annotations"]["checksum/config"] for pod in pods}

    before = checksums()
    assert checksums("--set", "controller.resources.limits.memory=2Gi") == before
    after = checksums("--set", "agents.nodes[0].guard.qber_ceiling_ratio=0.05")
    assert {name for name in before if before[name] != after[name]} == {"rel-keyweave-agent-north"}


@pytest.mark.parametrize(
    ("setting", "field"),
    [
        ("controler.enabled=true", "controler"),
        ("agents.nodes[0].gard.peers=x", "gard"),
        ("agents.kind=statefulset", "/agents/kind"),
        ("agents.nodes[0].name=North", "/agents/nodes/0/name"),
        ("agents.nodes[0].guard.node=south", "/agents/nodes/0/guard"),
        ("image.digest=latest", "/image/digest"),
        ("controller.database.url=postgresql+asyncpg://me:secret@db/keyweave", "/controller/database/url"),
        ("controller.database.url=mysql://db/keyweave", "/controller/database/url"),
        ("controller.persistence.accessMode=ReadWriteMany", "/controller/persistence/accessMode"),
        ("networkPolicy.operators[0].namespace=ops", "/networkPolicy/operators/0"),
        ("credentials.certManager.operators[0]=Alice Liddell", "/credentials/certManager/operators/0"),
        ("agents.nodes[1].name=north", "north is there twice"),
        ("controller.config.listen=0.0.0.0:1", "controller.config.listen: is set by the chart itself"),
        ("agents.config.node=x", "config.node is set by the chart itself"),
        ("emulator.enabled=false", "north has no drivers"),
        ("controller.enabled=false,networkPolicy.enabled=false", "agents.controllerAddress"),
        ("agents.nodes[0].secrets=null", "/agents/nodes/0/secrets"),
        ("agents.nodes[2].name=east,agents.nodes[2].guard.peers[0]=x", "agents.nodes: east: secrets.signing"),
        ("credentials.certManager.issuers.key.name=", "credentials.certManager.issuers.key.name"),
        ("image.repository=", "image.repository"),
        ("controller.database.url=postgresql+asyncpg://me@db/keyweave", "networkPolicy.database"),
        ("credentials.source=secrets", "name the Secret"),
        ("controller.replicas=2", "controller.replicas: more than one share a PostgreSQL"),
        ("agents.kind=daemonset", "machine"),
    ],
)
def test_wrong_values_are_refused_by_the_name_of_their_field(program: str, setting: str, field: str) -> None:
    said = refused(program, "--set", setting)
    assert field in said or field.strip("/").replace("/", ".") in said


def test_values_and_their_schema_know_the_same_fields() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())

    def described(value: Any, part: dict[str, Any], path: str) -> list[str]:
        part = schema["$defs"][part["$ref"].rpartition("/")[2]] if "$ref" in part else part
        properties = part.get("properties")
        if not isinstance(value, dict) or properties is None:
            return []
        # Free-form parts are those that another parser reads: ours, or Kubernetes'.
        assert part["additionalProperties"] is False, path
        lost = [
            f"{path}.{name} is not in values.yaml"
            for name in properties.keys() - value.keys() - {"global", "claims"}
        ]
        lost += [f"{path}.{name} is not in the schema" for name in value.keys() - properties.keys()]
        for name in value.keys() & properties.keys():
            lost += described(value[name], properties[name], f"{path}.{name}")
        return lost

    assert described(yaml.safe_load((CHART / "values.yaml").read_text()), schema, "values") == []


def test_the_notes_name_commands_that_exist(program: str, values: Path, tmp_path: Path) -> None:
    told = notes(program, values, tmp_path)
    commands = [
        line.strip() for line in told.replace("\\\n", "").splitlines() if line.strip().startswith("keyweave ")
    ]
    controller = "enabled: false" not in values.read_text().partition("agents:")[0]
    assert bool(commands) == controller
    for command in commands:
        words = (
            command.replace("LINK", "l")
            .replace(" A ", " a ")
            .replace(" B ", " b ")
            .replace("KM", "20")
            .split()
        )
        try:
            parsed(words[1:])
        except click.UsageError as error:  # pragma: no cover - what is shown when it fails
            pytest.fail(f"{command}: {error.format_message()}")


def test_agents_can_be_upgraded_one_at_a_time(program: str) -> None:
    lab = CHART / "ci" / "lab-values.yaml"

    def paused(*more: str) -> set[str]:
        pods = render(program, lab, *more).pods()
        return {pod.component for pod in pods if pod.owner["spec"].get("paused")}

    assert paused() == set()
    assert paused("--set", "agents.paused=true") == {"agent"}


@pytest.mark.parametrize(
    "values", [CHART / "ci" / "controllers-values.yaml"], ids=["controllers"], indirect=True
)
def test_each_of_several_controllers_has_a_name_that_agents_know_and_others_are_sent_to(
    rendered: Rendered,
) -> None:
    (controller,) = rendered.of("StatefulSet")
    spec = controller["spec"]
    peers = rendered.named("Service", spec["serviceName"])
    assert (spec["replicas"], peers["spec"]["clusterIP"]) == (3, "None")
    (text,) = [text for pod, _, text in configurations(rendered) if pod.component == "agent"]
    addresses = settings.parse(text, AgentConfig, source="agent.yaml").controller.addresses
    template = spec["template"]["spec"]["containers"][0]
    advertised = template["args"][template["args"].index("--advertise") + 1]
    assert {each["name"] for each in template["env"]} >= {"POD_NAME"}
    names = [f"{controller['metadata']['name']}-{index}" for index in range(3)]
    assert list(addresses) == [advertised.replace("$(POD_NAME)", name) for name in names]
    assert f".{peers['metadata']['name']}." in addresses[0]
    assert any(each["spec"]["selector"] == spec["selector"] for each in rendered.of("PodDisruptionBudget")), (
        "one at a time"
    )
