"""A real Prometheus and a real Alertmanager that watch a running network, and who is told of alerts."""

import asyncio
import re
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import yaml
from aiohttp import web

from keyweave.cli.up.ports import HOST, free
from tests.waiting import eventually

ROOT = Path(__file__).parents[2]
RULES = sorted((ROOT / "dashboards" / "rules").glob("*.yaml"))
START_SECONDS = 60.0
# Of the rules under test: windows, offsets and how long an alert must hold. Theirs are minutes to days.
WINDOW, HOLDS = "10s", "2s"


def hurried(rules: str) -> str:
    """A file of rules in which nothing takes long; thresholds are as they were."""
    content = yaml.safe_load(rules)
    for group in content["groups"]:
        for rule in group["rules"]:
            rule["expr"] = re.sub(r"\[\d+[smhd]\]", f"[{WINDOW}]", rule["expr"])
            rule["expr"] = re.sub(r"offset \d+[smhd]", f"offset {WINDOW}", rule["expr"])
            if "for" in rule:
                rule["for"] = HOLDS
    return yaml.safe_dump(content, sort_keys=False)


@dataclass
class Monitoring:
    """What watches the network."""

    prometheus: str
    client: httpx.AsyncClient
    # What Alertmanager has sent, oldest first.
    notices: list[dict[str, Any]] = field(default_factory=list)

    async def api(self, what: str, **asked: str) -> Any:
        """What Prometheus answers."""
        answer = await self.client.get(f"{self.prometheus}/api/v1/{what}", params=asked)
        assert answer.status_code == 200, f"{asked}: {answer.text}"
        return answer.json()["data"]

    async def series(self, expr: str) -> list[dict[str, Any]]:
        """The series of a query now."""
        found: list[dict[str, Any]] = (await self.api("query", query=expr))["result"]
        return found

    def told(self, alert: str, status: str, **labels: str) -> dict[str, Any] | None:
        """What Alertmanager said of an alert, if it has said so."""
        for notice in self.notices:
            for one in notice["alerts"]:
                has = one["labels"]
                if (
                    one["status"] == status
                    and has["alertname"] == alert
                    and all(has.get(name) == value for name, value in labels.items())
                ):
                    found: dict[str, Any] = one
                    return found
        return None


@asynccontextmanager
async def watching(find: Callable[[str], str], directory: Path, targets: Path) -> AsyncIterator[Monitoring]:
    """Scrape what `targets` leads to, every second, and tell of alerts at once."""
    programs = find("prometheus"), find("prometheus-alertmanager")
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(httpx.AsyncClient(timeout=30))
        prometheus, alertmanager, receiver = (free(()) for _ in range(3))
        found = Monitoring(f"http://{HOST}:{prometheus}", client)
        await stack.enter_async_context(_receiving(found.notices, receiver))
        _write(directory, targets, alertmanager, receiver)
        await stack.enter_async_context(
            _program(
                directory,
                programs[1],
                "--config.file=alertmanager.yml",
                "--storage.path=alertmanager",
                f"--web.listen-address={HOST}:{alertmanager}",
                "--cluster.listen-address=",
            )
        )
        await stack.enter_async_context(
            _program(
                directory,
                programs[0],
                "--config.file=prometheus.yml",
                "--storage.tsdb.path=prometheus",
                f"--web.listen-address={HOST}:{prometheus}",
            )
        )

        async def answers() -> bool:
            try:
                pages = [f"http://{HOST}:{port}/-/ready" for port in (prometheus, alertmanager)]
                return all([(await client.get(page)).status_code == 200 for page in pages])
            except httpx.TransportError:
                return False

        await eventually(answers, START_SECONDS, "Prometheus and Alertmanager ready")
        yield found


def _write(directory: Path, targets: Path, alertmanager: int, receiver: int) -> None:
    for rules in RULES:
        (directory / rules.name).write_text(hurried(rules.read_text()))
    prometheus = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [rules.name for rules in RULES],
        "alerting": {"alertmanagers": [{"static_configs": [{"targets": [f"{HOST}:{alertmanager}"]}]}]},
        "scrape_configs": [{"job_name": "keyweave", "file_sd_configs": [{"files": [str(targets)]}]}],
    }
    tell = {"url": f"http://{HOST}:{receiver}/alerts", "send_resolved": True}
    route = {"receiver": "us", "group_by": ["..."], "group_wait": "1s", "group_interval": "1s"}
    alerts = {"route": route, "receivers": [{"name": "us", "webhook_configs": [tell]}]}
    (directory / "prometheus.yml").write_text(yaml.safe_dump(prometheus))
    (directory / "alertmanager.yml").write_text(yaml.safe_dump(alerts))


@asynccontextmanager
async def _receiving(notices: list[dict[str, Any]], port: int) -> AsyncIterator[None]:
    async def take(request: web.Request) -> web.Response:
        notices.append(await request.json())
        return web.Response()

    app = web.Application()
    app.router.add_post("/alerts", take)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, HOST, port).start()
        yield
    finally:
        await runner.cleanup()


@asynccontextmanager
async def _program(directory: Path, program: str, *arguments: str) -> AsyncIterator[None]:
    log = directory / f"{Path(program).name}.log"
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            program, *arguments, cwd=directory, stdout=output, stderr=output
        )
    try:
        yield
    except BaseException:
        sys.stderr.write(log.read_text(errors="replace")[-4000:])
        raise
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def metric_names(exprs: Sequence[str]) -> set[str]:
    """The metrics of ours that these queries ask for."""
    bare = (re.sub(r'"[^"]*"|#[^\n]*', "", expr) for expr in exprs)
    return {name for expr in bare for name in re.findall(r"\b(?:keyweave[\w:]+|process_\w+)\b", expr)}
