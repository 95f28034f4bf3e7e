"""What the chart gives Prometheus and Grafana is what the project makes, and finds the pods."""

import json
from collections.abc import Callable

import pytest
import yaml

from tests.deploy.chart import CHART, ROOT, VALUES, Object, Rendered, render

MONITORED = [path for path in VALUES if "serviceMonitor: {enabled: true" in path.read_text()]


@pytest.fixture(params=MONITORED, ids=lambda path: path.stem)
def rendered(request: pytest.FixtureRequest, outside_program: Callable[[str], str]) -> Rendered:
    return render(outside_program("helm"), request.param)


@pytest.fixture
def production(outside_program: Callable[[str], str]) -> Rendered:
    return render(outside_program("helm"), CHART / "ci" / "production-values.yaml")


def test_the_charts_rules_and_dashboards_are_those_of_the_project() -> None:
    for ours, theirs in (("rules", "rules"), ("generated", "dashboards")):
        made = {path.name: path.read_text() for path in (ROOT / "dashboards" / ours).iterdir()}
        copied = {path.name: path.read_text() for path in (CHART / "files" / theirs).iterdir()}
        assert made == copied, "run `make dashboards`"


def test_the_monitor_finds_the_metrics_of_every_process_under_the_job_that_rules_ask_for(
    rendered: Rendered,
) -> None:
    (monitor,) = rendered.of("ServiceMonitor")
    spec = monitor["spec"]
    (expression,) = spec["selector"]["matchExpressions"]
    assert expression["operator"] == "Exists"
    wanted = spec["selector"]["matchLabels"].items()
    found = [
        each
        for each in rendered.of("Service")
        if wanted <= each["metadata"]["labels"].items() and expression["key"] in each["metadata"]["labels"]
    ]
    jobs = {each["metadata"]["labels"][spec["jobLabel"]]: each for each in found}
    assert len(jobs) == len(found)
    for pod in rendered.pods():
        if "metrics" in pod.ports:
            service = jobs[f"keyweave-{pod.component}"]
            assert service["spec"]["selector"].items() <= pod.labels.items()
            assert [port["name"] for port in service["spec"]["ports"]] == [spec["endpoints"][0]["port"]]
    rules = (ROOT / "dashboards" / "rules" / "keyweave-alerts.yaml").read_text()
    assert 'job=~"keyweave-controller|keyweave-agent"' in rules


def test_every_agents_metrics_get_its_node(rendered: Rendered) -> None:
    (monitor,) = rendered.of("ServiceMonitor")
    relabelings = monitor["spec"]["endpoints"][0]["relabelings"]
    assert {each["targetLabel"] for each in relabelings} == {"node"}
    agents = [pod for pod in rendered.pods() if pod.component == "agent"]
    for pod in agents:
        if pod.owner["kind"] == "Deployment":
            (only,) = relabelings
            assert only["sourceLabels"] == ["__meta_kubernetes_pod_annotation_keyweave_io_node"]
            (key,) = (key for key in node_of_config(rendered, pod.name))
            assert pod.template["metadata"]["annotations"]["keyweave.io/node"] == key
        else:
            machines = {item["path"].partition("/")[0] for item in items(pod.mounts) if "/" in item["path"]}
            assert {
                each["regex"].removeprefix("agent;").replace("\\.", ".") for each in relabelings
            } == machines


def items(mounts: dict[str, Object]) -> list[Object]:
    return list(mounts["/etc/keyweave/config"]["configMap"]["items"])


def node_of_config(rendered: Rendered, name: str) -> list[str]:
    data = rendered.named("ConfigMap", name)["data"]
    return [yaml.safe_load(text)["node"] for key, text in data.items() if key == "agent.yaml"]


def test_rules_and_dashboards_come_whole_and_runbooks_lead_where_values_say(production: Rendered) -> None:
    (rule,) = production.of("PrometheusRule")
    groups = [
        group
        for path in sorted((ROOT / "dashboards" / "rules").glob("*.yaml"))
        for group in yaml.safe_load(path.read_text())["groups"]
    ]
    told = json.dumps(groups).replace("https://keyweave.example/docs", "https://wiki.example/keyweave")
    assert rule["spec"]["groups"] == json.loads(told)
    boards = {path.name: json.loads(path.read_text()) for path in (CHART / "files" / "dashboards").iterdir()}
    shipped = {
        name: json.loads(text)
        for each in production.of("ConfigMap")
        if "grafana_dashboard" in each["metadata"]["labels"]
        for name, text in each["data"].items()
    }
    assert shipped == boards


def test_no_object_is_larger_than_kubernetes_takes(production: Rendered) -> None:
    # 1 MiB of data in a ConfigMap, and 1.5 MiB of request: etcd's limit.
    assert max(len(json.dumps(each)) for each in production.objects) < 1024 * 1024
