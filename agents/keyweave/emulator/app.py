"""The emulator process: scenario in, optical plane and gRPC face up, until told to stop."""

import asyncio

import grpc

from keyweave.common import log, process
from keyweave.common.errors import InvalidInputError
from keyweave.common.file_watch import FileWatch
from keyweave.common.grpc_errors import ErrorInterceptor
from keyweave.common.grpc_limits import LimitInterceptor
from keyweave.common.grpc_standing import StandingInterceptor
from keyweave.common.health import Health
from keyweave.common.rate_limit import RateLimit
from keyweave.common.revocation import Trust
from keyweave.common.tls import SERVER_OPTIONS, server_credentials
from keyweave.emulator.classical import ClassicalNetwork
from keyweave.emulator.config import EmulatorConfig
from keyweave.emulator.memories.desk import MemoryDesk
from keyweave.emulator.plane import OpticalPlane
from keyweave.emulator.scenario import Scenario, load_scenario
from keyweave.emulator.service import EmulatorService
from keyweave.v1 import emulator_pb2_grpc

GRACE_SECONDS = 1.0


async def serve(config: EmulatorConfig, stop: asyncio.Event) -> None:
    """Run the emulator until `stop` is set."""
    log.configure(process="emulator", level=config.log_level)
    process.forbid_core_dumps()
    async with Health.served(config.health_listen) as standing:
        await _serve(config, stop, standing)


async def _serve(config: EmulatorConfig, stop: asyncio.Event, standing: Health) -> None:
    scenario = load_scenario(config.scenario)
    plane = OpticalPlane(scenario, warm_blocks_seconds=config.warm_blocks_seconds, speed=config.speed)
    files, trust = FileWatch(), Trust("control", config.tls)
    files.on_change(trust.paths, trust.reload)
    interceptors = [
        ErrorInterceptor(),
        LimitInterceptor(RateLimit.of(config.calls)),
        StandingInterceptor(trust),
    ]
    server = grpc.aio.server(interceptors=interceptors, options=SERVER_OPTIONS)
    desk = MemoryDesk(scenario, plane)
    service = EmulatorService(plane, desk, has_network=config.network is not None)
    emulator_pb2_grpc.add_EmulatorServiceServicer_to_server(service, server)
    address = _bind(server, config)
    async with asyncio.TaskGroup() as tasks:
        watching = tasks.create_task(files.run(), name="file-watch")
        clock = tasks.create_task(plane.run(), name="optical-plane")
        memories = tasks.create_task(desk.run(), name="memories")
        network = await _network(config, scenario, plane, tasks)
        await server.start()
        try:
            process.announce_ready(config.ready_file, {"emulator": address})
            log.get().info(
                "emulator_started",
                scenario=scenario.name,
                address=address,
                links=len(scenario.links),
                pair_links=len(scenario.pair_links),
                speed=config.speed,
                planned_faults=len(scenario.timeline),
            )
            await standing.ready(True)
            await stop.wait()
            await standing.ready(False)
        finally:
            # Listeners hear that it is over before their connections go.
            clock.cancel()
            if network is not None:
                network.cancel()
            watching.cancel()
            memories.cancel()
            desk.close()
            plane.close()
            await server.stop(GRACE_SECONDS)
    log.get().info("emulator_stopped")


async def _network(
    config: EmulatorConfig, scenario: Scenario, plane: OpticalPlane, tasks: asyncio.TaskGroup
) -> asyncio.Task[None] | None:
    """The task of the classical network once it listens, where agents dial through it."""
    if config.network is None:
        return None
    network = ClassicalNetwork(config.network, plane.nodes, plane.ticked, seed=scenario.seed)
    running = tasks.create_task(network.run(), name="classical-network")
    await network.listening.wait()
    return running


def _bind(server: grpc.aio.Server, config: EmulatorConfig) -> str:
    host = config.listen.rpartition(":")[0]
    try:
        port = server.add_secure_port(config.listen, server_credentials(config.tls))
    except OSError as error:
        raise InvalidInputError.of("tls", f"{error.filename} cannot be read: {error.strerror}") from None
    except RuntimeError as error:
        raise InvalidInputError.of(
            "listen", f"{config.listen} cannot be bound ({error}); is another process using the port?"
        ) from None
    return f"{host}:{port}"
