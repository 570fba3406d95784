"""Fastly, by its API for purges. An extra."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec

from repocache.edges.address import checked_id, checked_token, checked_url
from repocache.edges.edge import EdgeLimits
from repocache.edges.exchange import AsyncClient, ask, verdict
from repocache.edges.header import SURROGATE_KEY, TagHeader


@dataclass(frozen=True, slots=True)
class Fastly:
    """One service of Fastly.

    `service`: its id. `token`: of the API, with the scope `purge_select`. `soft`: pages become
    stale, and may be given while they are fetched again; else they are gone. `requests_a_second`:
    what an account may purge is in its contract, and a 429 is waited out. `url`: of the API.

    Raises ConfigurationError.
    """

    service: str
    token: str = field(repr=False)
    soft: bool = field(default=False, kw_only=True)
    requests_a_second: float = field(default=10.0, kw_only=True)
    url: str = field(default="https://api.fastly.com", kw_only=True)

    def __post_init__(self) -> None:
        checked_id("Fastly(service)", self.service)
        checked_token("Fastly(token=...)", self.token)
        object.__setattr__(self, "url", checked_url("Fastly(url=...)", self.url))
        _ = self.limits

    @property
    def name(self) -> str:
        return f"fastly {self.service}"

    @property
    def header(self) -> TagHeader:
        return SURROGATE_KEY

    @property
    def limits(self) -> EdgeLimits:
        """256 keys in one request ("Purge multiple surrogate key tags" in Fastly's reference)."""
        return EdgeLimits(256, self.requests_a_second)

    async def purge(self, client: AsyncClient, names: Sequence[str]) -> None:
        """As `Edge.purge`."""
        headers = {
            "fastly-key": self.token,
            "accept": "application/json",
            "content-type": "application/json",
        }
        if self.soft:
            headers["fastly-soft-purge"] = "1"
        body = msgspec.json.encode({"surrogate_keys": list(names)})
        url = f"{self.url}/service/{self.service}/purge"
        verdict(await ask(client, "POST", url, headers, body), time.time())
