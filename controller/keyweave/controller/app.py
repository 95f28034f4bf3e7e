"""The controller process: what it opens, in which order it starts, and an ordered end."""

import asyncio
import os
import socket
import time

from keyweave.common import log, metrics_http
from keyweave.common.certificate_expiry import CertificateExpiry
from keyweave.common.errors import FencedError, UnavailableError
from keyweave.common.file_watch import FileWatch
from keyweave.common.grpc_errors import ErrorInterceptor
from keyweave.common.grpc_limits import LimitInterceptor
from keyweave.common.grpc_standing import StandingInterceptor
from keyweave.common.health import Health
from keyweave.common.process import announce_ready
from keyweave.common.rate_limit import RateLimit, RefusedRequests
from keyweave.common.revocation import Trust
from keyweave.controller.admin.service import AdminService
from keyweave.controller.agent_service import AgentService
from keyweave.controller.config import ControllerConfig
from keyweave.controller.controller import Controller
from keyweave.controller.leadership import Keeper
from keyweave.controller.page.face import Page
from keyweave.controller.page.scene import PAST_EVENTS, Observer
from keyweave.controller.rollout import Rollout
from keyweave.controller.rpc_server import RpcServer
from keyweave.controller.standby import stand_by
from keyweave.controller.store import Store

SHUTDOWN_GRACE_SECONDS = 1.0


async def serve(config: ControllerConfig, stop: asyncio.Event) -> None:
    """Run a controller until `stop` is set. On a shared database it stands by until it can lead."""
    holder = f"{socket.gethostname()}:{os.getpid()}"
    async with Health.served(config.health_listen) as standing:
        store = await Store.open(config.store_url, config.leadership.lease_seconds)
        try:
            leading: ControllerConfig | None = config
            if store.lease.is_shared:
                leading = await stand_by(config, store, holder, standing, stop)
            else:
                await store.claim_epoch(holder)
            if leading is not None:
                await _lead(leading, store, standing, stop)
        except ExceptionGroup as failures:
            fenced = failures.subgroup(FencedError)
            if fenced is None:
                raise
            # A newer controller leads: not a failure, but the end of this one, told in its own words.
            raise FencedError("; ".join(str(error) for error in _leaves(fenced))) from failures
        finally:
            await store.close()
    log.get().info("controller_stopped")


async def _lead(config: ControllerConfig, store: Store, standing: Health, stop: asyncio.Event) -> None:
    keeper = Keeper(store)
    if not store.lease.is_shared:
        await _take_up(config, store, keeper, standing, stop)
        return
    async with asyncio.TaskGroup() as group:
        # From the first moment on: taking up a large network takes longer than the lease lasts.
        keeping = group.create_task(keeper.run(), name="lease")
        await _take_up(config, store, keeper, standing, stop)
        keeping.cancel()
    try:
        await store.lease.release()
    except UnavailableError as error:
        log.get().warning("lease_not_released", reason=str(error))


async def _take_up(
    config: ControllerConfig, store: Store, keeper: Keeper, standing: Health, stop: asyncio.Event
) -> None:
    intent = await store.load_intent()
    stored = await store.load_rollout() or Rollout()
    log.get().info(
        "controller_starting", epoch=store.epoch, plan_version=stored.version, streams=len(intent.streams)
    )
    controller = Controller(config, store, stored, await store.last_event_id(), await store.behind(), keeper)
    await controller.start(intent, await store.load_orders())
    admin = AdminService(store, intent, controller)
    observer = Observer(controller, lambda: admin.intent, await store.recent_events(PAST_EVENTS))

    async def database_changed() -> None:
        controller.metrics.own.database_reachable.set(not keeper.problem)
        await standing.database(not keeper.problem)
        await controller.tell_of_database()

    keeper.changed = database_changed
    controller.metrics.own.database_reachable.set(1)
    await standing.database(True)
    await _serve(config, controller, admin, observer, standing, stop)


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
    metrics = controller.metrics.own
    metrics.leads.set(1)
    metrics.certificate_expiry.set_function(CertificateExpiry(config.tls).not_after)
    metrics.trust_current.set_function(lambda: float(trust.current(time.time())))
    limit = RateLimit.of(config.calls)
    server = RpcServer(
        config.listen,
        config.tls,
        (ErrorInterceptor(), LimitInterceptor(limit), controller.audit, StandingInterceptor(trust)),
        AgentService(controller.intake, controller.pusher, controller.inspection),
        admin,
    )
    metrics_runner, metrics_url = await metrics_http.serve(
        controller.metrics.registry, *_split(config.metrics_listen)
    )
    page = Page(config, observer, trust)
    controller.metrics.registry.register(RefusedRequests({"controller": limit, "page": page.limit}))
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
            await server.start(leads=True)
            address = {"admin": server.address, "metrics": metrics_url, "page": page.url}
            log.get().info("controller_ready", **address)
            announce_ready(config.ready_file, address)
            await standing.ready(True)
            await stop.wait()
            await standing.ready(False)
            await server.going()
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
