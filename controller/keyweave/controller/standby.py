"""The controller process while another one leads: it says where that is, and takes over when that ends."""

import asyncio
import time

from prometheus_client import CollectorRegistry, ProcessCollector

from keyweave.common import log, metrics_http
from keyweave.common.certificate_expiry import CertificateExpiry
from keyweave.common.file_watch import FileWatch
from keyweave.common.grpc_errors import ErrorInterceptor
from keyweave.common.grpc_limits import LimitInterceptor
from keyweave.common.grpc_standing import StandingInterceptor
from keyweave.common.health import Health
from keyweave.common.process import announce_ready
from keyweave.common.rate_limit import RateLimit
from keyweave.common.revocation import Trust
from keyweave.controller.config import ControllerConfig
from keyweave.controller.leadership import Candidate
from keyweave.controller.metrics import OwnMetrics
from keyweave.controller.redirect import RedirectInterceptor
from keyweave.controller.rpc_server import ADMIN, AGENT, RpcServer
from keyweave.controller.store import Store
from keyweave.v1 import admin_pb2_grpc, agent_pb2_grpc


async def stand_by(
    config: ControllerConfig, store: Store, holder: str, standing: Health, stop: asyncio.Event
) -> ControllerConfig | None:
    """Returns once this controller leads, with the addresses where it was reached; None if it is to stop."""
    files, trust = FileWatch(), Trust("control", config.tls)
    files.on_change(trust.paths, trust.reload)
    candidate = Candidate(store, holder, config.advertised)
    refuse = RedirectInterceptor(frozenset({ADMIN, AGENT}), candidate.refusal)
    server = RpcServer(
        config.listen,
        config.tls,
        (
            ErrorInterceptor(),
            LimitInterceptor(RateLimit.of(config.calls)),
            StandingInterceptor(trust),
            refuse,
        ),
        # Nothing of theirs is ever called.
        agent_pb2_grpc.AgentServiceServicer(),  # type: ignore[abstract]
        admin_pb2_grpc.AdminServiceServicer(),  # type: ignore[abstract]
    )
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    metrics = OwnMetrics(registry)
    metrics.leads.set(0)
    metrics.database_reachable.set_function(lambda: float(candidate.reaches_database))
    metrics.certificate_expiry.set_function(CertificateExpiry(config.tls).not_after)
    metrics.trust_current.set_function(lambda: float(trust.current(time.time())))
    metrics_host, _, metrics_port = config.metrics_listen.rpartition(":")
    page, url = await metrics_http.serve(registry, metrics_host, int(metrics_port))
    tasks = [
        asyncio.create_task(candidate.until_leading(), name="candidate"),
        asyncio.create_task(files.run(), name="file-watch"),
        asyncio.create_task(stop.wait(), name="stop"),
    ]
    try:
        await server.start(leads=False)
        log.get().info("controller_standing_by", address=server.address, metrics=url)
        announce_ready(config.ready_file, {"admin": server.address, "metrics": url})
        # Ready: it answers everybody who asks with where to go.
        await standing.ready(True)
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        await standing.ready(False)
        for task in done:
            task.result()
        if tasks[0] not in done:
            return None
        return config.model_copy(
            update={"listen": server.address, "metrics_listen": url.split("/")[2]},
        )
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.stop(0)
        await page.cleanup()
