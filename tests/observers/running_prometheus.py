"""A real Prometheus that scrapes one service of this process, and evaluates the rules."""

from __future__ import annotations

import asyncio
import json
import shutil
import urllib.parse
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry, start_http_server

from repocache.observers.monitoring import prometheus_rules
from repocache.testing.ports import free_port

PROMETHEUS = shutil.which("prometheus")
needs_prometheus = pytest.mark.skipif(PROMETHEUS is None, reason="prometheus is not installed")
JOB = "shop"


def hurried(rules: str) -> str:
    """The rules, each second."""
    return rules.replace("interval: 1m", "interval: 1s")


@dataclass(frozen=True)
class Prometheus:
    """`address`: of its HTTP API."""

    address: str

    def _asked(self, path: str) -> Any:
        with urllib.request.urlopen(f"{self.address}{path}", timeout=10) as answer:
            return json.load(answer)["data"]

    async def query(self, expression: str) -> list[dict[str, Any]]:
        """Its series now."""
        words = urllib.parse.urlencode({"query": expression})
        found = await asyncio.to_thread(self._asked, f"/api/v1/query?{words}")
        series: list[dict[str, Any]] = found["result"]
        return series

    async def rules(self) -> list[dict[str, Any]]:
        """As it has them, with what went wrong."""
        found = await asyncio.to_thread(self._asked, "/api/v1/rules")
        return [rule for group in found["groups"] for rule in group["rules"]]

    async def is_ready(self) -> bool:
        try:
            await self.query("up")
        except OSError:
            return False
        return True


@asynccontextmanager
async def scraping(registry: CollectorRegistry, folder: Path) -> AsyncIterator[Prometheus]:
    assert PROMETHEUS is not None
    exposed, port = free_port(), free_port()
    server, thread = start_http_server(exposed, addr="127.0.0.1", registry=registry)
    (folder / "rules.yml").write_text(hurried(prometheus_rules()))
    targets = [{"targets": [f"127.0.0.1:{exposed}"]}]
    config = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": ["rules.yml"],
        "scrape_configs": [{"job_name": JOB, "static_configs": targets}],
    }
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    with (folder / "log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            PROMETHEUS,
            f"--config.file={folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
            stdout=log, stderr=log,
        )  # fmt: skip
    try:
        prometheus = Prometheus(f"http://127.0.0.1:{port}")
        async with asyncio.timeout(30):
            while not await prometheus.is_ready():
                assert process.returncode is None, (folder / "log").read_text()
                await asyncio.sleep(0.1)
        yield prometheus
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        await asyncio.to_thread(server.shutdown)
        server.server_close()
        thread.join()
