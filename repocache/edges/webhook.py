"""An HTTP endpoint of your own that is told what to purge. An extra."""

from __future__ import annotations

import base64
import binascii
import datetime
import hmac
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec

from repocache.edges.address import checked_url, place
from repocache.edges.edge import EdgeLimits
from repocache.edges.exchange import AsyncClient, ask, verdict
from repocache.edges.header import SURROGATE_KEY, TagHeader
from repocache.errors import ConfigurationError

KIND = "repocache.edge.purge"
PREFIX = "whsec_"
SHORTEST, LONGEST = 24, 64
"""Bytes of a secret, as the specification has them."""


def key_of(secret: object) -> bytes:
    """The key in `whsec_...`. Raises ConfigurationError, without showing it."""
    text = secret.removeprefix(PREFIX) if isinstance(secret, str) else ""
    try:
        key = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not SHORTEST <= len(key) <= LONGEST:
        raise ConfigurationError(
            f"Webhook(secret=...): give '{PREFIX}' and the base64 of {SHORTEST} to {LONGEST} "
            "random bytes"
        )
    return key


def signature(key: bytes, id: str, timestamp: int, body: bytes) -> str:
    """What `webhook-signature` says: Standard Webhooks 1.0.0, "Signature scheme", symmetric.
    `timestamp`: Unix time in seconds. Pure."""
    signed = b".".join((id.encode("ascii"), str(timestamp).encode("ascii"), body))
    return f"v1,{base64.b64encode(hmac.digest(key, signed, 'sha256')).decode('ascii')}"


@dataclass(frozen=True, slots=True)
class Webhook:
    """POSTs `{"type": "repocache.edge.purge", "timestamp": ..., "data": {"tags": [...]}}`, signed
    as Standard Webhooks 1.0.0 says. Tags are called as they are at every edge. A status of 2xx says
    that they are purged; what fails is sent again, maybe with others, under another `webhook-id`.

    `url`: of the endpoint. `secret`: `whsec_` and base64. `header`: where the edge behind it reads
    tags. `limits`: 1,000 tags in a request by default, and 20 requests a second.

    Raises ConfigurationError.
    """

    url: str
    secret: str = field(repr=False)
    header: TagHeader = field(default=SURROGATE_KEY, kw_only=True)
    limits: EdgeLimits = field(default=EdgeLimits(1_000, 20.0), kw_only=True)
    _key: bytes = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "url", checked_url("Webhook(url=...)", self.url))
        object.__setattr__(self, "_key", key_of(self.secret))

    @property
    def name(self) -> str:
        return f"webhook {place(self.url)}"

    async def purge(self, client: AsyncClient, names: Sequence[str]) -> None:
        """As `Edge.purge`."""
        now = time.time()
        said = datetime.datetime.fromtimestamp(now, datetime.UTC).isoformat()
        body = msgspec.json.encode({"type": KIND, "timestamp": said, "data": {"tags": [*names]}})
        id = f"msg_{uuid.uuid4().hex}"
        headers = {
            "content-type": "application/json",
            "webhook-id": id,
            "webhook-timestamp": str(int(now)),
            "webhook-signature": signature(self._key, id, int(now), body),
        }
        verdict(await ask(client, "POST", self.url, headers, body), time.time())
