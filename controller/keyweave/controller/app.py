"""The controller process: what it opens, in which order it starts, and an ordered end."""

import asyncio
import os
import socket
import time

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from keyweave.common import log, metrics_http
from keyweave.common.certificate_expiry import CertificateExpiry
from keyweave.common.errors import FencedError
from keyweave.common.file_watch import FileWatch
from keyweave.common.grpc_errors import ErrorInterceptor
from keyweave.common.grpc_standing import StandingInterceptor
from keyweave.common.health import Health
from keyweave.common.process import announce_ready
from keyweave.common.revocation import Trust
from keyweave.common.tls import SERVER_OPTIONS, server_credentials
from keyweave.controller.admin.service import AdminService
from keyweave.controller.agent_service import AgentService
from keyweave.controller.config import ControllerConfig
from keyweave.controller.controller import Controller
from keyweave.controller.page.face import Page
from keyweave.controller.page.scene import PAST_EVENTS, Observer
from keyweave.controller.rollout import Rollout
from keyweave.controller.store import Store
from keyweave.v1 import admin_pb2, admin_pb2_grpc, agent_pb2, agent_pb2_grpc

SHUTDOWN_GRACE_SECONDS = 1.0


async def serve(config: ControllerConfig, stop: asyncio.Event) -> None:
    """Run a controller until `stop` is set."""
    async with Health.served(config.health_listen) as standing:
        await _lead(config, standing, stop)


async def _lead(config: ControllerConfig, standing: Health, stop: asyncio.Event) -> None:
    store = await Store.open(config.store_url)
    try:
        epoch = await store.claim_epoch(f"{socket.gethostname()}:{os.getpid()}")
        intent = await store.load_intent()
        stored = await store.load_rollout() or Rollout()
        log.get().info(
            "controller_starting", epoch=epoch, plan_version=stored.version, streams=len(intent.streams)
        )
        controller = Controller(config, store, stored, await store.last_event_id(), await store.behind())
        await controller.start(intent, await store.load_orders())
        admin = AdminService(store, intent, controller)
        observer = Observer(controller, lambda: admin.intent, await store.recent_events(PAST_EVENTS))
        await _serve(config, controller, admin, observer, standing, stop)
    except ExceptionGroup as failures:
        fenced = failures.subgroup(FencedError)
        if fenced is None:
            raise
        # A newer controller leads: not a failure, but the end of this one, told in its own words.
        raise FencedError("; ".join(str(error) for error in _leaves(fenced))) from failures
    finally:
        await store.close()
    log.get().info("controller_stopped")


async def _serve(
    config: ControllerConfig,
    controller: Controller,
    admin: AdminService,
    observer: Observer,
    standing: Health,
    stop: asyncio.Event,
) -> None:
    files, trust = FileWatch(), Trust("control", config.tls)
    files.on_change(trust.paths, trust.reload)
    controller.metrics.certificate_expiry.set_function(CertificateExpiry(config.tls).not_after)
    controller.metrics.trust_current.set_function(lambda: float(trust.current(time.time())))
    interceptors = (ErrorInterceptor(), controller.audit, StandingInterceptor(trust))
    server = grpc.aio.server(interceptors=interceptors, options=SERVER_OPTIONS)
    agent_pb2_grpc.add_AgentServiceServicer_to_server(
        AgentService(controller.intake, controller.pusher, controller.inspection), server
    )
    admin_pb2_grpc.add_AdminServiceServicer_to_server(admin, server)
    health_servicer = health.aio.HealthServicer()  # type: ignore[attr-defined]  # not in the stubs
    health_pb2_grpc.add_HealthServicer_to_server(health_servicer, server)
    services = [
        file.services_by_name[name].full_name
        for file, name in (
            (agent_pb2.DESCRIPTOR, "AgentService"),
            (admin_pb2.DESCRIPTOR, "AdminService"),
            (health_pb2.DESCRIPTOR, "Health"),
        )
    ]
    reflection.enable_server_reflection((*services, reflection.SERVICE_NAME), server)
    host, port = _split(config.listen)
    port = server.add_secure_port(f"{host}:{port}", server_credentials(config.tls))
    metrics_runner, metrics_url = await metrics_http.serve(
        controller.metrics.registry, *_split(config.metrics_listen)
    )
    page = Page(config, observer, trust)
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(controller.run(), name="core")
            watching = group.create_task(files.run(), name="file-watch")
            recording = group.create_task(controller.history.run(), name="history")
            background = controller.begin(group)
            await page.start(files, group)
            tellers = [
                group.create_task(controller.audit_keeper.run(), name="audit"),
                group.create_task(controller.exports.run(), name="exports"),
            ]
            await server.start()
            for service in ("", *services):
                await health_servicer.set(service, health_pb2.HealthCheckResponse.SERVING)
            address = f"{host}:{port}"
            log.get().info("controller_ready", address=address, metrics=metrics_url, page=page.url)
            announce_ready(config.ready_file, {"admin": address, "metrics": metrics_url, "page": page.url})
            await standing.ready(True)
            await stop.wait()
            await standing.ready(False)
            await health_servicer.enter_graceful_shutdown()
            controller.intake.stop()
            controller.pusher.stop()
            controller.inspection.stop()
            controller.events.close()
            await page.close()
            await server.stop(SHUTDOWN_GRACE_SECONDS)
            await admin.close()
            for task in (*background, *tellers):
                task.cancel()
            await controller.finish()
            recording.cancel()
            watching.cancel()
    finally:
        await server.stop(0)
        await page.close()
        await metrics_runner.cleanup()


def _leaves(group: ExceptionGroup[FencedError]) -> list[FencedError]:
    return [
        leaf
        for error in group.exceptions
        for leaf in (_leaves(error) if isinstance(error, ExceptionGroup) else [error])
    ]


def _split(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    return host, int(port)
