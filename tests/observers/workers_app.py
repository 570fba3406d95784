"""An application that servers of several workers run: WSGI and ASGI. Each request is one read, and
tells which process has it; `/metrics` is the scrape that they share."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest, multiprocess

from repocache.events import OwnerMeasured, Served
from repocache.observers.prometheus import PrometheusMetrics

metrics = PrometheusMetrics(CollectorRegistry())


def answer(path: str) -> bytes:
    if path == "/metrics":
        registry = CollectorRegistry()
        multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return generate_latest(registry)
    metrics(Served("user", "database", "primary", "asked"))
    metrics(OwnerMeasured("user", "cache-aside", 5, 700, 0, 0, 0, 0, 0, 0, 0, 0))
    return str(os.getpid()).encode()


def wsgi(environ: dict[str, Any], start: Callable[..., object]) -> Iterable[bytes]:
    start("200 OK", [("content-type", "text/plain")])
    return [answer(environ["PATH_INFO"])]


async def asgi(
    scope: MutableMapping[str, Any],
    receive: Callable[[], Awaitable[MutableMapping[str, Any]]],
    send: Callable[[MutableMapping[str, Any]], Awaitable[None]],
) -> None:
    if scope["type"] == "lifespan":
        for what in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{what}.complete"})
        return
    body = answer(scope["path"])
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})
