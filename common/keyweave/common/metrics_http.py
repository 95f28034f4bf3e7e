"""The page that Prometheus scrapes."""

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from keyweave.common.http_door import Full, Serving, limited, open_door
from keyweave.common.rate_limit import RateLimit

# Two Prometheus servers that scrape every second need two of each.
MAX_CONNECTIONS = 64
BURST, PER_SECOND = 50, 10.0


async def serve(registry: CollectorRegistry, host: str, port: int) -> tuple[Serving, str]:
    """Serve `registry` at /metrics; returns what to clean up and the URL."""

    async def metrics(_request: web.Request) -> web.Response:
        return web.Response(body=generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    app = web.Application(middlewares=[limited(RateLimit(BURST, PER_SECOND))])
    app.router.add_get("/metrics", metrics)
    full = Full(lambda: MAX_CONNECTIONS, "text/plain", lambda: b"too many connections; come back later\n")
    serving = await open_door(web.AppRunner(app, access_log=None), host, port, full)
    return serving, f"http://{serving.address}/metrics"
