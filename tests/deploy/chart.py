"""The chart as Helm renders it, and what tests ask of the objects."""

import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from subprocess import run
from typing import Any

import yaml

from keyweave.common.identity import Identity

ROOT = Path(__file__).parents[2]
CHART = ROOT / "helm" / "keyweave"
VALUES = sorted((CHART / "ci").glob("*-values.yaml"))
# The newest that Helm's own default would not tell it: built from source it takes itself for 1.20.
KUBERNETES = "1.37.0"
NAMESPACE = "qkd"
_CLUSTER = ("--namespace", NAMESPACE, "--kube-version", KUBERNETES)

Object = dict[str, Any]


@cache
def helm(program: str, command: str, *arguments: str, chart: Path = CHART) -> tuple[int, str, str]:
    """Exit code, output and errors of one call."""
    release = ("rel",) if command == "template" else ()
    done = run(
        [program, command, *release, str(chart), *_CLUSTER, *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


@dataclass(frozen=True)
class Rendered:
    """All objects of one rendering."""

    objects: tuple[Object, ...]

    def of(self, *kinds: str) -> list[Object]:
        return [each for each in self.objects if each["kind"] in kinds]

    def named(self, kind: str, name: str) -> Object:
        (found,) = (each for each in self.of(kind) if each["metadata"]["name"] == name)
        return found

    def pods(self) -> Iterator["Pod"]:
        for each in self.of("Deployment", "StatefulSet", "DaemonSet"):
            yield Pod(each)


@dataclass(frozen=True)
class Pod:
    """What a controller of pods makes."""

    owner: Object

    @property
    def name(self) -> str:
        return str(self.owner["metadata"]["name"])

    @property
    def template(self) -> Object:
        return dict(self.owner["spec"]["template"])

    @property
    def spec(self) -> Object:
        return dict(self.template["spec"])

    @property
    def labels(self) -> dict[str, str]:
        return dict(self.template["metadata"]["labels"])

    @property
    def component(self) -> str:
        return self.labels["app.kubernetes.io/component"]

    @property
    def container(self) -> Object:
        (only,) = self.spec["containers"]
        return dict(only)

    @property
    def ports(self) -> dict[str, int]:
        return {port["name"]: port["containerPort"] for port in self.container["ports"]}

    @property
    def mounts(self) -> dict[str, Object]:
        """Where in the container, and the volume or claim template behind it."""
        volumes = {each["name"]: each for each in self.spec["volumes"]}
        for claim in self.owner["spec"].get("volumeClaimTemplates", ()):
            volumes[claim["metadata"]["name"]] = {"claim": claim}
        return {each["mountPath"]: volumes[each["name"]] for each in self.container["volumeMounts"]}

    def behind(self, path: str) -> tuple[Object, str]:
        """The volume that a path in the container leads to, and the rest of the path."""
        mount = max((m for m in self.mounts if path == m or path.startswith(f"{m}/")), key=len)
        return self.mounts[mount], path[len(mount) :].lstrip("/")


@cache
def render(program: str, values: Path | None, *more: str, chart: Path = CHART) -> Rendered:
    """What is installed with these values; the chart must render."""
    arguments = ("--values", str(values)) if values else ()
    code, output, errors = helm(program, "template", *arguments, *more, chart=chart)
    assert code == 0, errors
    return Rendered(tuple(each for each in yaml.load_all(output, yaml.CSafeLoader) if each))


def notes(program: str, values: Path, folder: Path) -> str:
    """What Helm tells whoever installs. Only where there is a cluster, so here from a ConfigMap."""
    chart = folder / "keyweave"
    shutil.copytree(CHART, chart)
    (chart / "templates" / "NOTES.txt").rename(chart / "notes.tpl")
    (chart / "templates" / "notes.yaml").write_text(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: notes}\n"
        'data: {notes: {{ tpl (.Files.Get "notes.tpl") . | quote }}}\n'
    )
    return str(render(program, values, chart=chart).named("ConfigMap", "notes")["data"]["notes"])


def refused(program: str, *more: str) -> str:
    """What Helm says of values that it must not take."""
    code, output, errors = helm(program, "template", "--values", str(CHART / "ci" / "lab-values.yaml"), *more)
    assert code != 0, output
    return errors


def selects(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Whether a label selector as the chart writes them chooses an object with these labels."""
    assert set(selector) <= {"matchLabels"}, selector
    wanted: Mapping[str, str] = selector.get("matchLabels", {})
    return wanted.items() <= labels.items()


def identity_of(certificate: Object) -> Identity:
    """Whose certificate cert-manager is asked for."""
    (uri,) = certificate["spec"]["uris"]
    return Identity.parse(uri)


def paths_in(value: Any) -> Iterator[str]:
    """All absolute paths that a configuration file names."""
    if isinstance(value, Mapping):
        for each in value.values():
            yield from paths_in(each)
    elif isinstance(value, Sequence) and not isinstance(value, str):
        for each in value:
            yield from paths_in(each)
    elif isinstance(value, str) and re.match(r"^/(etc|var)/", value):
        yield value
