"""Serves an example by two processes, on PostgreSQL with two replicas and a Redis of their own."""

from __future__ import annotations

import argparse
import asyncio
import os
from collections.abc import Callable, Coroutine
from typing import Any

import uvicorn

from repocache.testing import embedded_servers


def serve(name: str, secret: str, prepare: Callable[[str], Coroutine[Any, Any, None]]) -> None:
    """`name`: of the example. `prepare`: makes the tables, by the primary's URL."""
    parser = argparse.ArgumentParser(prog=f"python -m examples.{name}")
    parser.add_argument("--port", type=int, default=8000)
    port: int = parser.parse_args().port
    with embedded_servers() as servers:
        servers.primary.create_database(name)
        ends = servers.endpoints(name)
        asyncio.run(prepare(ends.primary))
        prefix = name.upper()
        os.environ |= {
            f"{prefix}_SECRET": secret,
            f"{prefix}_DB_SECRETS": secret,
            f"{prefix}_DB_PRIMARY": ends.primary,
            f"{prefix}_DB_REPLICAS": " ".join(ends.replicas),
            f"{prefix}_DB_REDIS": ends.redis,
        }
        uvicorn.run(f"examples.{name}.app:from_env", factory=True, port=port, workers=2)
