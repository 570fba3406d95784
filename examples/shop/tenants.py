"""Which shop a request is for: its host says so, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from fastapi import Depends, Request
from fastapi.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from repocache import Database


def host_of(scope: Scope) -> str:
    """In lower case, without its port; empty unless there is exactly one."""
    lines = [bytes(value) for name, value in scope["headers"] if bytes(name).lower() == b"host"]
    if len(lines) != 1:
        return ""
    return lines[0].decode("latin-1").lower().partition(":")[0]


class OfTenant:
    """Pure ASGI, around all that reads: rows with a scope are those of the host's shop. A host that
    is no shop's is answered 404. `hosts`: the tenant of each host."""

    def __init__(self, app: ASGIApp, db: Database, hosts: Mapping[str, str]) -> None:
        self._app = app
        self._db = db
        self._hosts = {host.lower(): tenant for host, tenant in hosts.items()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        tenant = self._hosts.get(host_of(scope))
        if tenant is None:
            unknown = PlainTextResponse("no shop", 404, {"Cache-Control": "no-store"})
            return await unknown(scope, receive, send)
        async with self._db.scoped(tenant=tenant):
            state = {**scope.get("state", {}), "tenant": tenant}
            return await self._app({**scope, "state": state}, receive, send)


def tenant_of(request: Request) -> str:
    tenant: str = request.state.tenant
    return tenant


Tenant = Annotated[str, Depends(tenant_of)]
