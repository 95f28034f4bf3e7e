"""Machines of a test: network namespaces on one bridge, and confined processes on them. Needs root."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from tests.deploy.chart import ROOT

_ALL = """
import json, sys
from keyweave.cli.main import main
for command in json.loads(sys.argv[1]):
    if code := main(command):
        sys.exit(f"{command}: exit code {code}")
"""
CONFINED = Path(__file__).parent / "confined.py"
READY_SECONDS = 90.0
STOP_SECONDS = 30.0
POLL_SECONDS = 0.1
# Each probe is a Python of its own.
PROBE_SECONDS = 2.0
# As an application would, that verifies the name it dials.
_FETCH = """
import ssl, sys, urllib.request
certificate, key, anchor, url = sys.argv[1:]
context = ssl.create_default_context(cafile=anchor)
context.load_cert_chain(certificate, key)
print(urllib.request.urlopen(url, context=context, timeout=30).read().decode())
"""


def launcher(folder: Path) -> Path:
    """`keyweave` as a program of this folder, run by our interpreter on our sources."""
    program = folder / "keyweave"
    folder.mkdir(parents=True, exist_ok=True)
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m keyweave.cli "$@"\n')
    program.chmod(0o755)
    return program


@dataclass
class Process:
    """One confined process and what it wrote."""

    name: str
    log: Path
    running: "subprocess.Popen[bytes]"

    def said(self) -> str:
        return self.log.read_text(errors="replace")

    def must_run(self) -> None:
        """AssertionError with its last words if it has ended."""
        assert self.running.poll() is None, f"{self.name} has ended:\n{self.said()[-3000:]}"

    def stop(self) -> int:
        """SIGTERM, as systemd and the kubelet do; returns how it ended."""
        self.running.send_signal(signal.SIGTERM)
        return self.running.wait(STOP_SECONDS)


@dataclass
class Sites:
    """Machines by name, each with an address; nothing of it is seen outside."""

    ip: str
    addresses: Mapping[str, str]
    folder: Path
    _names: dict[str, str] = field(default_factory=dict)
    processes: list[Process] = field(default_factory=list)

    def _run(self, *words: str) -> None:
        subprocess.run([self.ip, *words], check=True, capture_output=True)

    def __enter__(self) -> Self:
        try:
            self._lay_cables()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _lay_cables(self) -> None:
        for number, name in enumerate(("hub", *self.addresses)):
            namespace = f"kw{os.getpid()}-{number}"
            self._run("netns", "add", namespace)
            self._names[name] = namespace
            self._run("-n", namespace, "link", "set", "lo", "up")
        hub = self._names["hub"]
        self._run("-n", hub, "link", "add", "br0", "type", "bridge")
        self._run("-n", hub, "link", "set", "br0", "up")
        for number, (name, address) in enumerate(self.addresses.items()):
            there = self._names[name]
            self._run(
                "-n", hub, "link", "add", f"v{number}", "type", "veth", "peer", "name", "eth0", "netns", there
            )
            self._run("-n", hub, "link", "set", f"v{number}", "master", "br0", "up")
            self._run("-n", there, "addr", "add", f"{address}/24", "dev", "eth0")
            self._run("-n", there, "link", "set", "eth0", "up")

    def __exit__(self, *_: object) -> None:
        for process in self.processes:
            if process.running.poll() is None:
                os.killpg(process.running.pid, signal.SIGKILL)
                process.running.wait()
        for namespace in self._names.values():
            with contextlib.suppress(subprocess.CalledProcessError):
                self._run("netns", "del", namespace)
            shutil.rmtree(Path("/etc/netns") / namespace, ignore_errors=True)

    def start(
        self,
        machine: str,
        command: Sequence[str],
        specification: Mapping[str, Any],
        environment: Mapping[str, str] | None = None,
        name: str = "",
    ) -> Process:
        """Run a command on a machine, confined."""
        log = self.folder / f"{name or machine}.log"
        words = [self.ip, "netns", "exec", self._names[machine]]
        words += [sys.executable, str(CONFINED), json.dumps(specification), *command]
        with log.open("wb") as output:
            running = subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1", **(environment or {})},
            )
        process = Process(name or machine, log, running)
        self.processes.append(process)
        return process

    def call(
        self, machine: str, *command: str, within_seconds: float = 120
    ) -> "subprocess.CompletedProcess[str]":
        """Run a command on a machine to its end, as an operator there would."""
        return subprocess.run(
            [self.ip, "netns", "exec", self._names[machine], *command],
            capture_output=True,
            text=True,
            check=False,
            timeout=within_seconds,
            cwd=ROOT,
        )

    def keyweave(self, machine: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
        return self.call(machine, sys.executable, "-m", "keyweave.cli", *arguments)

    def keyweave_all(self, machine: str, commands: Sequence[Sequence[str]]) -> tuple[int, str]:
        """Commands one after the other until one fails, in one process: a start of Python takes a second."""
        done = self.call(machine, sys.executable, "-c", _ALL, json.dumps([list(each) for each in commands]))
        return done.returncode, done.stdout + done.stderr

    def names(self, machine: str, hosts: Path) -> None:
        """Give a machine a hosts file; what `call` runs there sees it, nobody else."""
        folder = Path("/etc/netns") / self._names[machine]
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(hosts, folder / "hosts")

    def fetch(self, machine: str, files: Sequence[Path], url: str) -> list[dict[str, str]]:
        """The keys of one enc_keys request; `files` are certificate, key and anchor of the application."""
        done = self.call(machine, sys.executable, "-c", _FETCH, *map(str, files), url)
        assert done.returncode == 0, done.stderr
        keys: list[dict[str, str]] = json.loads(done.stdout)["keys"]
        return keys

    def until_healthy(self, machine: str, process: Process, address: str = "127.0.0.1:21004") -> None:
        """Wait as a probe does: ask again and again, and look whether it has ended."""
        deadline = time.monotonic() + READY_SECONDS
        while (asked := self.keyweave(machine, "health", address)).returncode != 0:
            for each in self.processes:
                each.must_run()
            assert time.monotonic() < deadline, f"{process.name}: {asked.stderr}\n{process.said()[-3000:]}"
            time.sleep(PROBE_SECONDS)


def until(said: str, process: Process) -> None:
    """Wait for a word in a process's log."""
    deadline = time.monotonic() + READY_SECONDS
    while said not in process.said():
        process.must_run()
        assert time.monotonic() < deadline, f"{process.name} never said {said!r}:\n{process.said()[-3000:]}"
        time.sleep(POLL_SECONDS)
