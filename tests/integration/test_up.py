"""`keyweave up` with real processes: in order up, kept up, in order down, nothing left."""

import asyncio
import json
import os
import signal
import ssl
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp

from keyweave.cli.state_dir import StateDir
from tests.integration import command_line

SCENARIO = """
name: pair
nodes: [{name: a}, {name: b}]
links:
  - {name: ab, a: a, b: b, technology: DV-QKD, length_km: 10, loss_db: 3, qber_ratio: 0.02, skr_bps: 200000}
streams:
  - {name: s, source_node: a, target_node: b, source_sae: alice, target_sae: bob, require_qkd: true}
"""
PROCESSES = {"emulator", "controller", "agent-a", "agent-b"}


class Running:
    """A `keyweave up` and what it says, line by line."""

    def __init__(self, process: asyncio.subprocess.Process, state: StateDir) -> None:
        self.process = process
        self.state = state
        self.said: list[str] = []

    async def until(self, wanted: Callable[[str], bool]) -> str:
        """The next line that is wanted."""
        assert self.process.stdout is not None
        async with asyncio.timeout(60):
            while line := (await self.process.stdout.readline()).decode():
                self.said.append(line.rstrip())
                if wanted(line):
                    return line
        raise AssertionError("\n".join(self.said))

    def processes(self) -> dict[str, int]:
        found: dict[str, int] = json.loads(self.state.processes_file.read_text())
        return found

    async def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        if self.process.returncode is None:
            self.process.send_signal(number)
        assert self.process.stdout is not None
        self.said += (await self.process.stdout.read()).decode().splitlines()
        return await self.process.wait()


@asynccontextmanager
async def up(directory: Path, *options: str, content: str = SCENARIO) -> AsyncIterator[Running]:
    scenario = directory / "scenario.yaml"
    scenario.write_text(content)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-u", "-m", "keyweave.cli", "up", str(scenario), "--no-table"),
        *("--state-dir", str(directory / "state"), *options),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    running = Running(process, StateDir(directory / "state"))
    try:
        yield running
    finally:
        await running.stop()


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def keyweave(state: StateDir, *arguments: str) -> int:
    return (await command_line.keyweave(*arguments, "--state-dir", str(state.root))).code


async def test_a_network_comes_up_serves_keys_heals_and_leaves_nothing(tmp_path: Path) -> None:
    async with up(tmp_path) as running:
        await running.until(lambda line: "event watch" in line)
        endpoints = running.state.read_endpoints()
        assert set(endpoints.kme) == set(endpoints.agent_metrics) == {"a", "b"}
        assert any(line.endswith(f"is up, live at {endpoints.page}") for line in running.said)
        first = running.processes()
        assert set(first) == PROCESSES
        started = [line.partition(":")[0] for line in running.said if ": up, process" in line]
        assert started[:2] == ["emulator", "controller"]
        assert await keyweave(running.state, "status", "--wait", "--timeout", "60") == 0

        context = ssl.create_default_context(cafile=running.state.pki / "ca.pem")
        context.load_cert_chain(running.state.sae_certificate("alice"), running.state.sae_key("alice"))
        url = f"{endpoints.kme['a']}/api/v1/keys/bob/enc_keys"
        async with aiohttp.ClientSession() as session, session.get(url, ssl=context) as answer:
            assert answer.status == 200
            assert len((await answer.json())["keys"]) == 1

        second = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "keyweave.cli", "up", str(tmp_path / "scenario.yaml"), "--no-table"),
            *("--state-dir", str(running.state.root)),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        _, complaint = await second.communicate()
        assert second.returncode == 1
        assert f"in use by process {running.process.pid}" in complaint.decode()

        os.kill(first["agent-b"], signal.SIGKILL)
        await running.until(lambda line: line.startswith("agent-b: started again"))
        healed = running.processes()
        assert {name for name in PROCESSES if healed[name] != first[name]} == {"agent-b"}

        assert await running.stop(signal.SIGINT) == 0
        assert running.said[-1] == "stopped, nothing is left running"
        assert not any(alive(pid) for pid in {*first.values(), *healed.values()})
        assert not running.state.endpoints_file.exists()
        assert not running.state.processes_file.exists()


async def test_without_restart_the_dead_stay_down_and_are_not_listed(tmp_path: Path) -> None:
    async with up(tmp_path, "--no-restart") as running:
        await running.until(lambda line: "event watch" in line)
        before = running.state.read_endpoints()
        os.kill(running.processes()["agent-a"], signal.SIGKILL)
        await running.until(lambda line: "agent-a: was ended by SIGKILL; it stays down" in line)
        assert set(running.processes()) == PROCESSES - {"agent-a"}
    async with up(tmp_path) as again:
        await again.until(lambda line: "3 as before" in line or "4 as before" in line)
        await again.until(lambda line: "event watch" in line)
        assert again.state.read_endpoints() == before


async def test_processes_die_with_a_supervisor_that_is_killed(tmp_path: Path) -> None:
    async with up(tmp_path) as running:
        await running.until(lambda line: "event watch" in line)
        children = running.processes()
        # A pidfd becomes readable when its process ends, so nobody has to look again and again.
        handles = {name: os.pidfd_open(pid) for name, pid in children.items()}
        await running.stop(signal.SIGKILL)
        loop = asyncio.get_running_loop()
        for handle in handles.values():
            ended = asyncio.Event()
            loop.add_reader(handle, ended.set)
            async with asyncio.timeout(20):
                await ended.wait()
            loop.remove_reader(handle)
            os.close(handle)


async def test_a_stop_while_starting_leaves_nothing(tmp_path: Path) -> None:
    async with up(tmp_path) as running:
        await running.until(lambda line: line.startswith("controller: up"))
        pids = running.processes()
        assert await running.stop() == 0
        assert not any(alive(pid) for pid in pids.values())
        assert not running.state.endpoints_file.exists()
