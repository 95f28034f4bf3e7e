"""Two nodes as an operator has them: certificates by token from `keyweave pki`, processes started by hand."""

import asyncio
import os
import socket
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import yaml

from keyweave.cli.connection import Network
from keyweave.cli.main import main
from keyweave.cli.up import ports
from keyweave.cli.up.child import Child
from keyweave.cli.up.layout import CONTROLLER, EMULATOR, Layout, agent_process, lay_out
from keyweave.cli.up.wishes import create_network
from keyweave.common.identity import Role
from keyweave.common.process import write_atomically
from keyweave.common.tls import CredentialFiles
from keyweave.emulator.scenario import load_scenario
from keyweave.pki.authorities import Authorities
from keyweave.pki.enrolling import enrol
from keyweave.pki.holder_dir import HolderDir
from keyweave.pki.holders import Holder
from keyweave.v1 import admin_pb2, admin_pb2_grpc
from tests.authorities import authorities_in, new_token, serving
from tests.builds import PROGRAM
from tests.checker import history, invariants
from tests.waiting import eventually

READY_SECONDS = 90.0
NODES = ("a", "b")
# Telemetry comes more often than by default: rotation is to be under load.
TELEMETRY_SECONDS = 0.1
DRAW_SECONDS = 0.02
SCENARIO = """
name: operated
nodes: [{name: a}, {name: b}]
links:
  - {name: ab, a: a, b: b, technology: DV-QKD, length_km: 10, loss_db: 3, qber_ratio: 0.02, skr_bps: 200000}
streams:
  - {name: s, source_node: a, target_node: b, source_sae: alice, target_sae: bob, require_qkd: true,
     max_rate_bps: 32768, buffer_keys: 64}
"""


@dataclass
class Draws:
    """What two applications got that draw keys all the time, one as master, the other as slave."""

    good: int = 0
    failures: list[str] = field(default_factory=list)

    async def more(self, count: int, what: str) -> None:
        """Wait for further keys that both got."""
        wanted = self.good + count

        async def enough() -> bool:
            return self.good >= wanted or bool(self.failures)

        await eventually(enough, 60, what)
        assert self.failures == []


class Operated:
    """The network as its operator has it."""

    def __init__(self, layout: Layout, root: Path, authorities: Authorities, service: str) -> None:
        self.layout = layout
        self.root = root
        self.authorities = authorities
        self.service = service
        self.held = {name: self._enrolled(name) for name in (*NODES, CONTROLLER)}
        self.children: dict[str, Child] = {}
        # How much of each log a test has looked at.
        self.heard: dict[str, int] = {}
        for name, role in ((EMULATOR, "emulator"), ("alice", "sae"), ("bob", "sae"), ("olga", "operator")):
            self.pki("issue", "--role", role, "--name", name, "--out", str(root / name))
            self.held[name] = HolderDir.open(root / name)

    def _enrolled(self, name: str) -> HolderDir:
        holder = Holder(Role.CONTROLLER if name == CONTROLLER else Role.AGENT, name)
        return enrol(
            new_token(self.authorities, self.service, holder, hosts=("127.0.0.1",)), self.root / name
        )

    def pki(self, verb: str, *arguments: str) -> None:
        """`keyweave pki VERB --dir ...`, which must succeed."""
        directory = str(self.authorities.register.directory)
        assert main(["pki", verb, "--dir", directory, *arguments]) == 0

    def enrol_again(self, node: str) -> None:
        """A new token for a node that was thrown out; its directory is made anew."""
        old = self.held[node].root
        old.rename(old.with_name(f"{node}-thrown-out"))
        self.held[node] = self._enrolled(node)

    def renew(self, *names: str) -> None:
        """What a machine's timer does, with everything due."""
        for name in names:
            verb = "controller" if name == CONTROLLER else "agent"
            assert main([verb, "renew", "--dir", str(self.held[name].root), "--now"]) == 0

    def fetch_lists(self, *names: str) -> None:
        """What a machine's timer does, with nothing due."""
        for name in names:
            verb = "controller" if name == CONTROLLER else "agent"
            assert main([verb, "renew", "--dir", str(self.held[name].root)]) == 0

    def serials(self, *names: str) -> list[tuple[str, int]]:
        """Authority and number of every certificate that these holders have now."""
        return [
            (wanted.authority, self.held[name].held(wanted.kind).certificate.serial_number)
            for name in names
            for wanted in self.held[name].holder.wanted
        ]

    def revoke(self, serials: Sequence[tuple[str, int]]) -> None:
        """Put certificates on the lists."""
        with self.authorities.register.changing():
            for authority, serial in serials:
                self.authorities.revoke(authority, [serial])

    # ---- processes ----------------------------------------------------------------------------

    async def start(self, name: str) -> None:
        """Start one process and wait until it listens."""
        state = self.layout.state
        verb = "agent" if name in self.layout.agents else name
        command = (*PROGRAM, verb, "--config", str(state.config(name)), "--die-with-parent")
        child = Child(name, command, state.log(name), state.ready(name), {})
        self.children[name] = child
        await child.start()
        await child.ready(READY_SECONDS)

    async def stop(self, name: str) -> None:
        """Stop one process in order."""
        await self.children[name].stop()

    def log(self, name: str) -> str:
        """What the process of a node, or the controller, has said."""
        process = agent_process(name) if name in NODES else name
        return self.layout.state.log(process).read_text(encoding="utf-8")

    # ---- as operator and as application -------------------------------------------------------

    def network(self) -> Network:
        """As the operator calls it."""
        return Network(self.layout.state, self.layout.address("admin"), self.held["olga"].files("control"))

    @asynccontextmanager
    async def admin(self) -> AsyncIterator["admin_pb2_grpc.AdminServiceAsyncStub"]:
        """The admin API, on a connection of its own."""
        async with self.network().admin() as stub:
            yield stub

    async def status(self) -> admin_pb2.GetStatusResponse:
        """The network at a glance."""
        async with self.admin() as admin:
            return await admin.GetStatus(admin_pb2.GetStatusRequest(), timeout=10)

    async def events(self, kind: str) -> list[admin_pb2.Event]:
        """Past events of one kind, oldest first."""
        request = admin_pb2.WatchEventsRequest(past=1000, past_only=True)
        async with self.admin() as admin:
            return [r.event async for r in admin.WatchEvents(request) if r.event.kind == kind]

    async def wait_ready(self, what: str = "every agent in sync, every stream with keys") -> None:
        """Wait until every agent has its policy and every stream a confirmed key."""

        async def look() -> bool:
            try:
                status = await self.status()
            except Exception:  # noqa: BLE001  # a controller that is just starting
                return False
            synced = all(
                n.connected and n.applied_policy.digest == n.desired_policy.digest for n in status.nodes
            )
            return bool(status.nodes) and synced and all(s.buffered_keys > 0 for s in status.streams)

        await eventually(look, READY_SECONDS, what)

    def _application(self, name: str) -> httpx.AsyncClient:
        files = self.held[name].files("sae")
        context = ssl.create_default_context(cafile=str(files.trust_anchor))
        context.load_cert_chain(files.certificate, files.private_key)
        return httpx.AsyncClient(verify=context, timeout=30.0, trust_env=False)

    async def draw(self) -> str:
        """One key at both ends; empty, or why not."""
        async with self._application("alice") as alice, self._application("bob") as bob:
            return await self._draw(alice, bob)

    async def _draw(self, alice: httpx.AsyncClient, bob: httpx.AsyncClient) -> str:
        kme = self.layout.endpoints.kme
        drawn = await alice.get(f"{kme['a']}/api/v1/keys/bob/enc_keys")
        if drawn.status_code != 200:
            return f"enc_keys: {drawn.status_code} {drawn.text}"
        (key,) = drawn.json()["keys"]
        fetched = await bob.get(f"{kme['b']}/api/v1/keys/alice/dec_keys", params={"key_ID": key["key_ID"]})
        if fetched.status_code != 200 or fetched.json()["keys"][0]["key"] != key["key"]:
            return f"dec_keys: {fetched.status_code} {fetched.text}"
        return ""

    @asynccontextmanager
    async def drawing(self) -> AsyncIterator[Draws]:
        """Draw keys all the while; none may fail."""
        draws = Draws()

        async def application() -> None:
            async with self._application("alice") as alice, self._application("bob") as bob:
                while not (failure := await self._draw(alice, bob)):
                    draws.good += 1
                    await asyncio.sleep(DRAW_SECONDS)  # the application's own pace
            draws.failures.append(failure)

        task = asyncio.create_task(application())
        try:
            await draws.more(3, "keys flow")
            yield draws
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        assert draws.failures == []

    def shown_by_controller(self) -> int:
        """The serial number of the certificate that the controller shows to who connects now."""
        files = self.held["olga"].files("control")
        context = ssl.create_default_context(cafile=str(files.trust_anchor))
        context.load_cert_chain(files.certificate, files.private_key)
        context.set_alpn_protocols(["h2"])

        host, port = self.layout.address("admin").rsplit(":", 1)
        name = "controller.controller.control.keyweave.internal"
        with (
            socket.create_connection((host, int(port)), 30) as plain,
            context.wrap_socket(plain, server_hostname=name) as tls,
        ):
            shown = tls.getpeercert()
        assert shown is not None
        return int(str(shown["serialNumber"]), 16)


def _use(config: Path, change: dict[str, Any]) -> None:
    """Put other sections into a configuration file."""
    content = yaml.safe_load(config.read_text(encoding="utf-8"))
    write_atomically(config, yaml.safe_dump({**content, **change}, sort_keys=False))


def _tls(files: CredentialFiles) -> dict[str, str]:
    return files.model_dump(mode="json")


def _configure(network: Operated) -> None:
    """What `keyweave up` would have written, with the certificates of `keyweave pki` instead."""
    state, held = network.layout.state, network.held
    _use(state.config(CONTROLLER), {"tls": _tls(held[CONTROLLER].files("control")), "warmup_seconds": 5})
    _use(state.config(EMULATOR), {"tls": _tls(held[EMULATOR].files("control"))})
    for node in NODES:
        file = state.config(agent_process(node))
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
        control = _tls(held[node].files("control"))
        content["drivers"][0]["settings"]["tls"] = control
        change = {
            "control_tls": control,
            "key_plane": {
                **content["key_plane"],
                "tls": _tls(held[node].files("key")),
                "signing": _tls(held[node].files("signing")),
            },
            "kme": {**content["kme"], "tls": _tls(held[node].files("kme"))},
            "drivers": content["drivers"],
            "telemetry_interval_seconds": TELEMETRY_SECONDS,
        }
        _use(file, change)


@asynccontextmanager
async def operated(root: Path) -> AsyncIterator[Operated]:
    """Bring it up; everything is gone afterwards, and the invariants have held."""
    records = root / "history"
    records.mkdir(parents=True)
    os.environ["KEYWEAVE_TEST_HISTORY"] = str(records)
    os.environ["KEYWEAVE_TEST_KEY"] = os.urandom(32).hex()
    os.environ["KEYWEAVE_TEST_BREAK"] = ""
    scenario = root / "scenario.yaml"
    scenario.write_text(SCENARIO, encoding="utf-8")
    authorities = authorities_in(root / "authorities")
    with serving(authorities, root, burst=1000) as service, ports.Held() as held:
        layout = lay_out(load_scenario(scenario), scenario, root / "state", held)
        network = Operated(layout, root, authorities, service)
        _configure(network)
        async with AsyncExitStack() as stack:
            try:
                for name in (EMULATOR, CONTROLLER):
                    await network.start(name)
                async with network.admin() as admin:
                    await create_network(admin, layout)
                for node in NODES:
                    await network.start(agent_process(node))
                await network.wait_ready()
                yield network
            finally:
                for name in (*(agent_process(node) for node in NODES), CONTROLLER, EMULATOR):
                    if name in network.children:
                        await network.stop(name)
                await stack.aclose()
    past = history.read(sorted(records.glob("*.jsonl")))
    for kind in (history.PadUsed, history.KeyDelivered, history.PolicyApplied):
        assert past.of(kind), f"the history has no {kind.__name__}"
    assert [str(violation) for violation in invariants.check(past)] == []
