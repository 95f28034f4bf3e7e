"""Network policies of the chart: who reaches whom, decided as Kubernetes would."""

from collections.abc import Callable, Mapping

import pytest

from tests.deploy.chart import CHART, NAMESPACE, Object, Rendered, render, selects

PORTS = {
    "controller": 21001,
    "metrics": 21002,
    "emulator": 21003,
    "health": 21004,
    "key": 21010,
    "kme": 21011,
}
DNS = 53
# (namespace labels, pod labels) of whoever is no pod of ours.
Place = tuple[Mapping[str, str], Mapping[str, str]]


def place(namespace: str, labels: Mapping[str, str] | None = None) -> Place:
    return {"kubernetes.io/metadata.name": namespace}, labels or {}


OUTSIDERS = {
    "operator": place("operations"),
    "application": place(NAMESPACE, {"keyweave.io/sae": "true"}),
    "prometheus": place("monitoring"),
    "dns": place("kube-system", {"k8s-app": "kube-dns"}),
    "stranger": place("elsewhere"),
    "neighbour": place(NAMESPACE, {"app": "other"}),
}
CONTROLLER, EMULATOR = "rel-keyweave-controller", "rel-keyweave-emulator"
NORTH, SOUTH = "rel-keyweave-agent-north", "rel-keyweave-agent-south"
AGENTS = (NORTH, SOUTH)
# All that may be; everything else may not.
NEEDED = {
    *((agent, CONTROLLER, PORTS["controller"]) for agent in AGENTS),
    *((agent, EMULATOR, PORTS["emulator"]) for agent in AGENTS),
    (NORTH, SOUTH, PORTS["key"]),
    (SOUTH, NORTH, PORTS["key"]),
    # A policy cannot tell an agent from itself.
    (NORTH, NORTH, PORTS["key"]),
    (SOUTH, SOUTH, PORTS["key"]),
    *((agent, "dns", DNS) for agent in AGENTS),
    ("operator", CONTROLLER, PORTS["controller"]),
    ("operator", EMULATOR, PORTS["emulator"]),
    *(("application", agent, PORTS["kme"]) for agent in AGENTS),
    *(("prometheus", each, PORTS["metrics"]) for each in (CONTROLLER, *AGENTS)),
}


class Cluster:
    """The pods and policies of one rendering."""

    def __init__(self, rendered: Rendered) -> None:
        self.policies = rendered.of("NetworkPolicy")
        self.pods = {pod.name: place(NAMESPACE) for pod in rendered.pods()}
        for pod in rendered.pods():
            self.pods[pod.name] = (self.pods[pod.name][0], pod.labels)

    def reaches(self, source: Place, target: Place, port: int) -> bool:
        """Both the source's egress and the target's ingress must allow it."""
        return self._allows("Egress", source, target, port) and self._allows("Ingress", target, source, port)

    def _allows(self, direction: str, subject: Place, other: Place, port: int) -> bool:
        chosen = [
            each["spec"]
            for each in self.policies
            if subject[0]["kubernetes.io/metadata.name"] == NAMESPACE
            and selects(each["spec"]["podSelector"], subject[1])
            and direction in each["spec"]["policyTypes"]
        ]
        # A pod that no policy chooses may do everything.
        return not chosen or any(
            self._fits(rule, "to" if direction == "Egress" else "from", other, port)
            for spec in chosen
            for rule in spec.get(direction.lower(), ())
        )

    def _fits(self, rule: Object, key: str, other: Place, port: int) -> bool:
        # A rule without peers or ports would let everything through.
        assert rule[key]
        assert rule["ports"]
        return any(each["port"] == port for each in rule["ports"]) and any(
            self._is(peer, other) for peer in rule[key]
        )

    def _is(self, peer: Object, other: Place) -> bool:
        if "ipBlock" in peer:
            return False
        if "namespaceSelector" in peer:
            if not selects(peer["namespaceSelector"], other[0]):
                return False
        elif other[0]["kubernetes.io/metadata.name"] != NAMESPACE:
            return False
        return selects(peer.get("podSelector", {}), other[1])


@pytest.fixture
def lab(outside_program: Callable[[str], str]) -> Cluster:
    return Cluster(render(outside_program("helm"), CHART / "ci" / "lab-values.yaml"))


def test_everybody_reaches_whom_they_need_and_nobody_else(lab: Cluster) -> None:
    everybody = {**OUTSIDERS, **lab.pods}
    assert set(lab.pods) == {CONTROLLER, EMULATOR, NORTH, SOUTH}
    found = {
        (source, target, port)
        for source, from_place in everybody.items()
        for target, to_place in everybody.items()
        for port in (*PORTS.values(), DNS, 443)
        if (source in lab.pods or target in lab.pods) and lab.reaches(from_place, to_place, port)
    }
    assert found == NEEDED


def test_every_pod_of_ours_is_chosen_for_both_directions(lab: Cluster) -> None:
    for _, labels in lab.pods.values():
        for direction in ("Ingress", "Egress"):
            assert any(
                selects(each["spec"]["podSelector"], labels) and direction in each["spec"]["policyTypes"]
                for each in lab.policies
            )


def test_sites_elsewhere_the_database_and_devices_are_reached_as_values_say(
    outside_program: Callable[[str], str],
) -> None:
    rendered = render(outside_program("helm"), CHART / "ci" / "production-values.yaml")
    policies = {each["metadata"]["name"]: each["spec"] for each in rendered.of("NetworkPolicy")}

    def blocks(name: str, direction: str) -> set[tuple[int, str]]:
        key = "to" if direction == "egress" else "from"
        return {
            (port["port"], peer["ipBlock"]["cidr"])
            for rule in policies[name].get(direction, ())
            for port in rule["ports"]
            for peer in rule[key]
            if "ipBlock" in peer
        }

    remote = "203.0.113.0/24"
    assert blocks("rel-keyweave-controller", "ingress") == {(21001, "192.0.2.16/28"), (21001, remote)}
    assert blocks("rel-keyweave-controller", "egress") == {(5432, "192.0.2.5/32"), (6514, "192.0.2.9/32")}
    assert blocks("rel-keyweave-agents", "ingress") == {(21010, remote)}
    assert blocks("rel-keyweave-agents", "egress") == {(21010, remote)}
    assert blocks("rel-keyweave-agent-tokyo-otemachi", "egress") == {(8883, "198.51.100.7/32")}
    devices = policies["rel-keyweave-agent-tokyo-otemachi"]
    assert devices["podSelector"]["matchLabels"]["keyweave.io/node"] == "tokyo-otemachi"
