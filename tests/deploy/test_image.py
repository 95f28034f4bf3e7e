"""The image's recipe. No registry is reached here, so it is not built: its steps are read and carried out."""

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from subprocess import CompletedProcess, run

import pytest
import yaml

from tests.deploy.chart import CHART, ROOT
from tests.deploy.command_line import parsed
from tests.deploy.dockerfile import Instruction, Stage, context, stages
from tests.unit.test_docs import tree

USER = 10001


@pytest.fixture
def recipe() -> list[Stage]:
    return stages(ROOT / "Dockerfile")


@pytest.fixture
def image(recipe: list[Stage]) -> Stage:
    return recipe[-1]


def test_it_runs_as_nobody_and_needs_no_shell(recipe: list[Stage], image: Stage) -> None:
    assert image.last("USER").text == f"{USER}:{USER}"
    assert image.instructions.index(image.last("USER")) > max(
        image.instructions.index(each) for each in image.of("RUN")
    )
    for stage in recipe:
        for keyword in ("RUN", "CMD", "ENTRYPOINT", "SHELL"):
            for instruction in stage.of(keyword):
                assert instruction.text.startswith("["), instruction
    assert image.last("HEALTHCHECK").words


def test_the_chart_runs_it_as_the_same_user_and_finds_its_ports(image: Stage) -> None:
    helpers = (CHART / "templates" / "_helpers.tpl").read_text()
    assert f"runAsUser: {USER}" in helpers
    ports = image.last("EXPOSE").text.split()
    assert [f"-}}}}{port}{{{{-" in helpers for port in ports] == [True] * 6
    assert helpers.count('"keyweave.port.') - helpers.count('include "keyweave.port.') == len(ports)


def test_its_commands_are_ours(image: Stage) -> None:
    (program,) = image.last("ENTRYPOINT").words
    assert program == "/opt/keyweave/bin/keyweave"
    check = image.last("HEALTHCHECK").words
    assert check[0] == program
    assert parsed(check[1:])["alive"] is True
    assert (
        yaml.safe_load((CHART / "Chart.yaml").read_text())["appVersion"]
        in (ROOT / "pyproject.toml").read_text()
    )


def test_every_base_is_the_one_that_is_named_at_the_top_and_no_tag_is_latest(recipe: list[Stage]) -> None:
    name, _, base = recipe[0].last("ARG").text.partition("=")
    assert name == "PYTHON"
    assert ":" in base
    assert "latest" not in base
    assert {stage.base for stage in recipe[1:]} == {"${PYTHON}"}


def test_nothing_is_fetched_but_packages_and_nothing_secret_is_asked_for(recipe: list[Stage]) -> None:
    instructions = [each for stage in recipe for each in stage.instructions]
    assert not [each for each in instructions if each.keyword == "ADD"]
    assert {each.text.partition("=")[0] for each in instructions if each.keyword == "ARG"} == {
        "PYTHON",
        "VERSION",
    }
    fetching = [
        each.words for stage in recipe[1:] for each in stage.of("RUN") if each.words[:2] == ["pip", "wheel"]
    ]
    assert len(fetching) == 2
    assert all("--no-deps" in words or ":all:" in words for words in fetching)


def test_what_is_copied_is_in_the_context_and_the_rest_of_the_checkout_is_not(recipe: list[Stage]) -> None:
    files = sorted(name for name in tree() if not name.endswith("/"))
    sent = context(ROOT, files)
    sources = [
        each.text.split()[:-1] for stage in recipe for each in stage.of("COPY") if "--from" not in each.text
    ]
    names = {name for words in sources for name in words}
    assert {name.partition("/")[0] for name in sent} == names
    for name in names:
        assert any(each == name or each.startswith(f"{name}/") for each in sent)


def test_labels_say_what_it_is(image: Stage) -> None:
    text = " ".join(each.text for each in image.of("LABEL"))
    for label in ("title", "description", "version", "licenses"):
        assert f"org.opencontainers.image.{label}=" in text


# ---- its steps, carried out ------------------------------------------------------------------------------


@dataclass
class Made:
    """What the steps made, below a folder that everybody can read and nobody can write."""

    root: Path

    def as_nobody(self, *command: str) -> "CompletedProcess[str]":
        setpriv = ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups", "--no-new-privs"]
        environment = {"PATH": f"{self.root}/opt/keyweave/bin:/usr/bin:/bin", "PYTHONDONTWRITEBYTECODE": "1"}
        words = [*setpriv, "--bounding-set=-all", *command]
        return run(words, capture_output=True, text=True, check=False, env=environment, cwd="/", timeout=120)


@pytest.fixture(scope="module")
def made() -> Iterator[Made]:
    system = shutil.which("python3", path="/usr/bin")
    if os.geteuid() != 0 or system is None or shutil.which("setpriv") is None:
        told = "needs root, Debian's python3 and setpriv, which another user can run"
        (pytest.fail if os.environ.get("KEYWEAVE_NO_SKIP") else pytest.skip)(told)
    # Not pytest's folder, which only its owner enters.
    root = Path(tempfile.mkdtemp(prefix="keyweave-image-"))
    root.chmod(0o755)
    try:
        for name in context(ROOT, [name for name in tree() if not name.endswith("/")]):
            (root / "source" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, root / "source" / name)
        _carry_out(root, str(system))
        yield Made(root)
    finally:
        shutil.rmtree(root)


def _carry_out(root: Path, python: str) -> None:
    """The RUN steps of the first two stages, with folders below `root` and this machine's Python as base."""
    constraints = {"PIP_CONSTRAINT": f"{root}/source/constraints.txt", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    for stage in stages(ROOT / "Dockerfile")[1:3]:
        for step in stage.of("RUN"):
            words = _here(step, root, python)
            environment = {**os.environ, **(constraints if stage.name == "wheels" else {})}
            done = run(
                words, capture_output=True, text=True, check=False, env=environment, cwd=root / "source"
            )
            assert done.returncode == 0, f"{words}: {done.stderr[-3000:]}"


def _here(step: Instruction, root: Path, python: str) -> Sequence[str]:
    words = [
        f"{root}{word}" if word.startswith(("/wheels", "/opt/")) else word
        for word in step.words
        if word != "--no-cache-dir"
    ]
    if words[0] == "python":
        return [python, *words[1:]]
    # Debian's Python may have no pip of its own: ours installs for it. Compiling is what takes longest.
    command = words[words.index("install") :] if "install" in words else words[1:]
    target = ["--python", f"{root}/opt/keyweave/bin/python"] if "install" in words else []
    quick = ["--no-compile"] if "install" in words else []
    return [sys.executable, "-m", "pip", *target, *command, *quick]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_steps_make_an_environment_that_anybody_can_run_and_nobody_writes(made: Made) -> None:
    program = f"{made.root}/opt/keyweave/bin/keyweave"
    helped = made.as_nobody(program, "--help")
    assert (helped.returncode, helped.stderr) == (0, "")
    assert "controller" in helped.stdout
    # Nobody listens: unreachable, said in one line.
    health = made.as_nobody(program, "health", "--alive", "127.0.0.1:9")
    assert health.returncode == 5
    assert health.stderr.startswith("error: 127.0.0.1:9")
    written = made.as_nobody("/usr/bin/touch", f"{made.root}/opt/keyweave/x")
    assert written.returncode != 0
    drivers = made.as_nobody(program, "driver", "list")
    assert drivers.returncode == 0, drivers.stderr
    assert {"mqtt", "snmp", "etsi014", "emulator"} <= set(drivers.stdout.split())


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_environment_holds_the_constrained_versions_and_no_installer(made: Made) -> None:
    constraints = dict(
        line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line
    )
    wanted = {name.lower().replace("_", "-"): version for name, version in constraints.items()}
    listed = run(
        [
            sys.executable,
            "-m",
            "pip",
            "--python",
            f"{made.root}/opt/keyweave/bin/python",
            "list",
            "--format=freeze",
            "--disable-pip-version-check",
        ],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    found = {
        name.lower().replace("_", "-"): version for name, version in (line.split("==") for line in listed)
    }
    assert found.pop("keyweave")
    assert {name: wanted.get(name) for name in found} == found
    assert not {"pip", "setuptools", "wheel", "pytest"} & found.keys()
