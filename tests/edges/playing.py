"""The purge APIs of Fastly and Cloudflare, played as their documentation has them, and a receiver
of Standard Webhooks. Each refuses whatever is not as it is written there."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from tests.edges.speaking import Asked, HangUp, Said

TOKEN = "a-token-nobody-may-see"
SERVICE, ZONE = "SU1Z0isxPaozGVKXdv0eY", "023e105f4ecef8ad9ca31a8372d0c353"
KEY = bytes(range(32))
SECRET = f"whsec_{base64.b64encode(KEY).decode()}"
TOLERANCE = 300
"""Seconds that a webhook's timestamp may be off."""


def answered(status: int, said: object, **headers: str) -> Said:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return Said(status, {"content-type": "application/json", **names}, json.dumps(said).encode())


@dataclass
class Playing:
    """`troubles`: what the next requests meet, one each, before it works. `purged`: names that it
    took, a list for each request. `soft`: whether each was so."""

    troubles: list[Callable[[], Awaitable[Said]]] = field(default_factory=list)
    always: Callable[[], Awaitable[Said]] | None = None
    purged: list[list[str]] = field(default_factory=list)
    soft: list[bool] = field(default_factory=list)

    async def trouble(self) -> Said | None:
        if self.always is not None:
            return await self.always()
        return await self.troubles.pop(0)() if self.troubles else None

    async def fastly(self, asked: Asked) -> Said:
        """POST /service/{service_id}/purge, `Fastly-Key`, JSON with `surrogate_keys`, 256 at the
        most; it answers the id of each purge ("Purging" in its API reference)."""
        if said := await self.trouble():
            return said
        if asked.headers.get("fastly-key") != TOKEN:
            return answered(401, {"msg": "Provided credentials are missing or invalid"})
        if (asked.method, asked.path) != ("POST", f"/service/{SERVICE}/purge"):
            return answered(404, {"msg": "Record not found", "detail": "Cannot find service"})
        if asked.headers.get("content-type") != "application/json":
            return answered(400, {"msg": "Bad request"})
        body = json.loads(asked.body)
        keys = body.get("surrogate_keys")
        if set(body) != {"surrogate_keys"} or not 0 < len(keys) <= 256:
            return answered(400, {"msg": "Bad request", "detail": "1 to 256 surrogate keys"})
        if asked.headers.get("fastly-soft-purge", "1") != "1":
            return answered(400, {"msg": "Bad request"})
        self.purged.append(keys)
        self.soft.append("fastly-soft-purge" in asked.headers)
        return answered(200, {key: f"108-{n}" for n, key in enumerate(keys)})

    async def cloudflare(self, asked: Asked) -> Said:
        """POST /zones/{zone_id}/purge_cache, a bearer token, JSON with `tags`, 100 at the most;
        `success` says whether it did ("Purge Cached Content" in its API reference)."""
        if said := await self.trouble():
            return said
        if asked.headers.get("authorization") != f"Bearer {TOKEN}":
            return answered(403, failing(10000, "Authentication error"))
        if (asked.method, asked.path) != ("POST", f"/client/v4/zones/{ZONE}/purge_cache"):
            return answered(404, failing(7003, "Could not route"))
        if asked.headers.get("content-type") != "application/json":
            return answered(400, failing(6003, "Invalid request headers"))
        body = json.loads(asked.body)
        tags = body.get("tags")
        if set(body) != {"tags"} or not 0 < len(tags) <= 100:
            return answered(400, failing(1094, "1 to 100 tags"))
        self.purged.append(tags)
        self.soft.append(False)
        result = {"id": ZONE}
        return answered(200, {"success": True, "errors": [], "messages": [], "result": result})

    async def webhook(self, asked: Asked) -> Said:
        """As Standard Webhooks 1.0.0 has it ("Verifying webhook authenticity")."""
        if said := await self.trouble():
            return said
        id, stamp = asked.headers["webhook-id"], asked.headers["webhook-timestamp"]
        signed = f"{id}.{stamp}.".encode() + asked.body
        right = base64.b64encode(hmac.new(KEY, signed, hashlib.sha256).digest()).decode()
        versions = [each.split(",", 1) for each in asked.headers["webhook-signature"].split(" ")]
        if ["v1", right] not in versions or abs(time.time() - int(stamp)) > TOLERANCE:
            return answered(401, {})
        said_ = json.loads(asked.body)
        if asked.method != "POST" or set(said_) != {"type", "timestamp", "data"}:
            return answered(400, {})
        self.purged.append(said_["data"]["tags"])
        self.soft.append(False)
        return Said(204)


def failing(code: int, message: str) -> object:
    return {
        "success": False,
        "errors": [{"code": code, "message": message}],
        "messages": [],
        "result": None,
    }


def saying(status: int, said: object = None, **headers: str) -> Callable[[], Awaitable[Said]]:
    async def trouble() -> Said:
        return answered(status, said, **headers)

    return trouble


async def hanging() -> Said:
    """For ever."""
    await asyncio.Event().wait()
    raise AssertionError


async def hanging_up() -> Said:
    raise HangUp
