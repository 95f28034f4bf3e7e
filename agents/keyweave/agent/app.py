"""One agent process: wiring, start and ordered stop."""

import asyncio
import random
from datetime import timedelta
from importlib.metadata import version

import grpc
from prometheus_client.registry import Collector

from keyweave.agent import metrics
from keyweave.agent.config import AgentConfig
from keyweave.agent.drivers import base
from keyweave.agent.drivers.joined import JoinedDrivers, Part
from keyweave.agent.drivers.memories import MemoryBankInfo
from keyweave.agent.endpoints import Endpoints
from keyweave.agent.etsi014 import face
from keyweave.agent.etsi014.callers import SaeIdFrom
from keyweave.agent.guard.guardian import Guardian
from keyweave.agent.keyplane.keys.keystore import Protection
from keyweave.agent.keyplane.keys.supply import Supply
from keyweave.agent.keyplane.plane import KeyPlane
from keyweave.agent.keyplane.recall import LedgerRecalls
from keyweave.agent.keyplane.sessions.enrolment import Enrolment
from keyweave.agent.keyplane.sessions.transport import KeyPlaneServicer
from keyweave.agent.keyplane.streams.near import proto_protection
from keyweave.agent.ledger.ledger import Ledger
from keyweave.agent.lookup import Lookup
from keyweave.agent.observer import Observer
from keyweave.agent.pairs import telemetry
from keyweave.agent.pairs.face import PairFace
from keyweave.agent.pairs.keys.link import PairKeyLink
from keyweave.agent.pairs.keys.metrics import PairKeyCollector
from keyweave.agent.pairs.keys.virtual_links import VirtualLinks
from keyweave.agent.pairs.metrics import PairCollector
from keyweave.agent.pairs.plane import PairPlane
from keyweave.agent.policy import PolicyStore
from keyweave.agent.uplink import Uplink, new_incarnation
from keyweave.common import log, metrics_http
from keyweave.common.certificate_expiry import CertificateExpiry
from keyweave.common.file_watch import FileWatch
from keyweave.common.grpc_errors import ErrorInterceptor
from keyweave.common.grpc_limits import LimitInterceptor
from keyweave.common.health import Health
from keyweave.common.http_door import Serving
from keyweave.common.names import LinkName, NodeName, SaeId
from keyweave.common.process import announce_ready, forbid_core_dumps
from keyweave.common.rate_limit import RateLimit, RefusedRequests
from keyweave.common.revocation import Trust
from keyweave.common.tls import SERVER_OPTIONS, server_credentials
from keyweave.v1 import agent_pb2, keyplane_pb2_grpc

DRIVER_RETRY_CAP_SECONDS = 2.0
SERVER_GRACE_SECONDS = 0.5
# Withheld rules that a hello names, as agent.proto bounds them.
WITHHELD_TOLD = 256


class Agent:
    """The parts of one agent, made but not running."""

    def __init__(self, config: AgentConfig, observer: Observer) -> None:
        self.config = config
        self.node = NodeName(config.node)
        self.policies = PolicyStore(config.state_dir / "policy.json")
        self.observer = observer
        self.files = FileWatch()
        self.enrolment = Enrolment(self.node, config.key_plane.tls, config.key_plane.signing)
        self.sae_trust = Trust("sae", config.kme.tls)
        for trust in self.trusts:
            self.files.on_change(trust.paths, trust.reload)
        self.files.on_change(self.enrolment.own_paths, self.enrolment.reload_signer)
        incarnation = new_incarnation()
        self.hello = agent_pb2.TelemetryHello(
            node=self.node, incarnation=incarnation, software_version=version("keyweave")
        )
        self.ledger = Ledger(
            config.state_dir / "ledger", self.node, keep=timedelta(days=config.ledger_keep_days)
        )
        self.uplink = Uplink(
            self.node,
            Endpoints(config.controller.all),
            config.control_tls,
            self.hello,
            self.policies,
            interval_seconds=config.telemetry_interval_seconds,
            observe=self._observe,
            on_policy=self._policy_changed,
            files=self.files,
            lookup=Lookup(self.ledger, self.hello, self._bell_test).run,
            guard=lambda: self.guardian.guard,
        )
        self.guardian = Guardian(config.guard, self.node, self.uplink.event)
        self.hello.guard_digest = self.guardian.guard.digest
        self.files.on_hangup(self.reload_guard)
        self.recalls = LedgerRecalls(self.ledger, self.uplink.event)
        # Orders of the policy on disk were carried out, or a restart has done more than they ask for.
        self._orders = self.policies.policy.orders
        self.plane = KeyPlane(
            self.node,
            incarnation,
            self.enrolment,
            observer,
            files=self.files,
            kem_parameter_set=config.key_plane.kem_parameter_set,
            on_report=self.uplink.report,
            on_event=self.uplink.event,
            records=self.ledger,
            recalls=self.recalls,
            quarantine_seconds=config.quarantine_hours * 3600,
        )
        # Whether its memories are emulated the driver tells once it is there.
        self.virtual_links = VirtualLinks(self.node, config.pair_keys, self, emulated=True)
        self.pairs = self.plane.pairs = PairPlane(
            self.node,
            self.plane.peers,
            on_event=self.uplink.event,
            on_bank=self._memories_known,
            begin_keys=self.virtual_links.begin,
        )
        self.supply = Supply(self.plane, observer, show_provenance=self._shows_provenance)

    @property
    def trusts(self) -> tuple[Trust, ...]:
        """Whom this agent believes, on each plane on which it is called."""
        return self.enrolment.tls_trust, self.enrolment.signing_trust, self.sae_trust

    def apply_policy(self) -> None:
        """Run by the policy that is in force, and say so to the observer."""
        policy = self.policies.policy
        if not policy.digest:
            return
        self.observer.policy_applied(
            node=self.node, epoch=policy.epoch, version=policy.version, digest=policy.digest
        )
        allowed = self.guardian.permitted(policy.rules)
        self._tell_withheld()
        if self.virtual_links.apply(allowed.values()):
            self.uplink.say_hello_again()
        self.plane.apply(allowed.values(), self.guardian.guard)
        self.pairs.apply(allowed.values())
        before, self._orders = self._orders, policy.orders
        for order_id in self._orders.keys() - before.keys():
            if f"order/{order_id}" in allowed:
                self.plane.carry_out(self._orders[order_id])
        log.get().info("policy_applied", epoch=policy.epoch, version=policy.version, rules=len(policy.rules))

    def take_up(self, driver: PairKeyLink) -> bool:
        """See TakesLinks."""
        if driver.link in self.plane.links:
            return False
        self.plane.take_up(driver.info, driver, self.config.state_dir)
        self.hello.link_ends.append(_link_end(driver.info))
        return True

    def let_go(self, link: LinkName) -> None:
        """See TakesLinks."""
        self.plane.let_go(link)
        kept = [end for end in self.hello.link_ends if end.link != link]
        del self.hello.link_ends[:]
        self.hello.link_ends.extend(kept)

    def reload_guard(self) -> None:
        """The owner has changed the guard file: hold what is in force against it at once."""
        if self.guardian.reload():
            self.hello.guard_digest = self.guardian.guard.digest
            self.apply_policy()
            self.uplink.say_hello_again()

    def _tell_withheld(self) -> None:
        withheld = list(self.guardian.withheld_rules[:WITHHELD_TOLD])
        if withheld != list(self.hello.withheld_rules):
            del self.hello.withheld_rules[:]
            self.hello.withheld_rules.extend(withheld)
            self.uplink.say_hello_again()

    async def _policy_changed(self) -> None:
        self.apply_policy()

    async def _bell_test(self, query: agent_pb2.BellTestQuery) -> agent_pb2.BellTestResult:
        return await self.pairs.bell_test(query)

    def _memories_known(self, bank: MemoryBankInfo) -> None:
        self.virtual_links.emulated = bank.emulated
        if telemetry.describe(bank, self.hello):
            self.uplink.say_hello_again()

    def _shows_provenance(self, sae: SaeId) -> bool:
        return sae not in self.config.kme.hide_provenance_from

    def _observe(self, batch: agent_pb2.TelemetryBatch) -> None:
        """Add pools and streams as they stand to a batch of telemetry."""
        for name, link in self.plane.links.items():
            pool = link.pool
            batch.pools.add(
                link=name,
                pool_id=pool.pool_id if pool else b"",
                send_bits=link.pools.send_bytes * 8,
                receive_bits=link.pools.receive_bytes * 8,
                intake_bits_total=link.intake_bytes_total * 8,
                held_bits=link.held_bytes * 8,
            )
        telemetry.observe(self.pairs.engine, batch)
        counts = self.supply.served.counts
        for stream, near in self.plane.near.items():
            batch.streams.add(
                stream=stream,
                is_source=near.terms.is_source,
                buffered_keys=self.plane.store.ready(stream),
                confirmed_bits_total=near.counters.confirmed_bits,
                served_qkd_total=counts.get((stream, Protection.QKD), 0),
                served_hybrid_total=counts.get((stream, Protection.HYBRID), 0),
                served_pqc_total=counts.get((stream, Protection.PQC), 0),
                failovers_total=near.counters.failovers,
                protection=proto_protection(near.protection),
                path_ids=near.path_ids,
            )


async def serve(config: AgentConfig, stop: asyncio.Event, observer: Observer | None = None) -> None:
    """Run an agent until `stop` is set: SAEs first lose the face, then peers the key plane, keys last."""
    log.configure(process=f"agent-{config.node}", level=config.log_level)
    forbid_core_dumps()
    async with Health.served(config.health_listen) as standing:
        await _serve(config, stop, observer or Observer(), standing)


async def _serve(config: AgentConfig, stop: asyncio.Event, observer: Observer, standing: Health) -> None:
    agent = Agent(config, observer)
    driver = await _driver(agent, stop)
    limits = {"key": RateLimit.of(config.key_plane.calls), "kme": RateLimit.of(config.kme.requests)}
    interceptors = [ErrorInterceptor(), LimitInterceptor(limits["key"])]
    server = grpc.aio.server(interceptors=interceptors, options=list(SERVER_OPTIONS))
    keyplane_pb2_grpc.add_KeyPlaneServiceServicer_to_server(
        KeyPlaneServicer(agent.plane.peers.get, agent.enrolment), server
    )
    host, _, _port = config.key_plane.listen.rpartition(":")
    port = server.add_secure_port(config.key_plane.listen, server_credentials(config.key_plane.tls))
    await server.start()
    kme, kme_url = await _serve_kme(agent, limits["kme"])
    collector = metrics.AgentCollector(
        agent.plane,
        agent.supply.served,
        agent.policies,
        agent.uplink,
        agent.ledger,
        agent.recalls,
        agent.trusts,
        agent.guardian,
        {
            "control": CertificateExpiry(config.control_tls),
            "key": CertificateExpiry(config.key_plane.tls),
            "key signing": CertificateExpiry(config.key_plane.signing),
            "sae": CertificateExpiry(config.kme.tls),
        },
    )
    scraped, metrics_url = await _serve_metrics(
        config.metrics_listen,
        collector,
        PairCollector(agent.pairs.engine),
        PairKeyCollector(agent.virtual_links),
        RefusedRequests(limits),
    )
    agent.hello.key_plane_address = f"{host}:{port}"
    agent.hello.kme_url = kme_url
    try:
        async with asyncio.TaskGroup() as group:
            running = [
                group.create_task(agent.ledger.run(), name="ledger"),
                group.create_task(agent.files.run(), name="file-watch"),
                group.create_task(agent.recalls.run(), name="recalls"),
                group.create_task(agent.plane.run(), name="key-plane"),
                group.create_task(agent.virtual_links.run(), name="virtual-links"),
                group.create_task(agent.pairs.run(), name="pairs"),
            ]
            await asyncio.sleep(0)  # the key plane owns its task group before policy starts tasks in it
            agent.apply_policy()
            running.append(group.create_task(agent.uplink.run(), name="uplink"))
            announce_ready(
                config.ready_file,
                {"key_plane": agent.hello.key_plane_address, "kme": kme_url, "metrics": metrics_url},
            )
            log.get().info(
                "agent_started", node=agent.node, key_plane=agent.hello.key_plane_address, kme=kme_url
            )
            # Without the controller too: its last policy and what its guard allows are what it serves by.
            await standing.ready(True)
            await stop.wait()
            log.get().info("agent_stopping")
            await standing.ready(False)
            await kme.cleanup()
            for task in running:
                task.cancel()
    finally:
        await kme.cleanup()
        await server.stop(SERVER_GRACE_SECONDS)
        await scraped.cleanup()
        await driver.close()
        agent.plane.close()
        agent.ledger.close()


async def _driver(agent: Agent, stop: asyncio.Event) -> base.Driver:
    """All drivers, once their devices have told their link ends; what is not there yet is waited for."""
    driver = JoinedDrivers(
        [
            Part(
                f"drivers[{index}]",
                section.driver,
                base.load(section.driver)(section.settings, agent.node),
                section.only,
            )
            for index, section in enumerate(agent.config.drivers)
        ]
    )
    failures = 0
    while not stop.is_set():
        try:
            await agent.plane.add_driver(driver, agent.config.state_dir)
        except base.DriverUnavailableError as error:
            failures += 1
            log.get().warning("driver_unavailable", reason=str(error))
            await asyncio.sleep(random.uniform(0, min(DRIVER_RETRY_CAP_SECONDS, 0.1 * 2**failures)))  # noqa: S311
        else:
            break
    agent.pairs.serve(driver)
    for name, link in agent.plane.links.items():
        agent.hello.link_ends.append(_link_end(link.info))
        if not link.info.gives_key:
            log.get().warning("link_without_key", link=name)
        if not link.info.measures:
            log.get().warning("link_not_measured", link=name)
    return driver


def _link_end(info: base.LinkEndInfo) -> agent_pb2.LinkEnd:
    return agent_pb2.LinkEnd(
        link=info.link,
        peer_node=info.peer_node,
        model=info.model,
        emulated=info.emulated,
        vendor_domain=info.vendor_domain,
    )


async def _serve_kme(agent: Agent, limit: RateLimit) -> tuple[Serving, str]:
    section = agent.config.kme
    pairs = PairFace(agent.pairs, lambda: agent.guardian.guard)
    app = face.create_app(
        agent.supply,
        SaeIdFrom(section.sae_id_from),
        agent.node,
        trust=agent.sae_trust,
        further=pairs.resources(),
        limit=limit,
    )
    host, _, port = section.listen.rpartition(":")
    return await face.serve(app, section.tls, host, int(port), watch=agent.files)


async def _serve_metrics(listen: str, *collectors: Collector) -> tuple[Serving, str]:
    host, _, port = listen.rpartition(":")
    return await metrics_http.serve(metrics.registry(*collectors), host, int(port))
