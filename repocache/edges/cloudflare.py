"""Cloudflare, by its API for purges. An extra."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec

from repocache.edges.address import checked_id, checked_token, checked_url
from repocache.edges.edge import EdgeLimits
from repocache.edges.exchange import AsyncClient, EdgeAnswer, ask, verdict
from repocache.edges.header import CACHE_TAG, TagHeader
from repocache.errors import EdgeRefused, EdgeUnavailable


class _Problem(msgspec.Struct):
    code: int = 0


class _Said(msgspec.Struct):
    success: bool
    errors: list[_Problem] = []


@dataclass(frozen=True, slots=True)
class Cloudflare:
    """One zone of Cloudflare. It has no soft purge, and takes tags that differ in case alone for
    one, so that some more is purged.

    `zone`: its id. `token`: of the API, with the permission "Cache Purge". `requests_a_second`: of
    the account: 5 for Pro, 10 for Business, 50 for Enterprise, and 5 / 60 for Free. `url`: of the
    API.

    Raises ConfigurationError.
    """

    zone: str
    token: str = field(repr=False)
    requests_a_second: float = field(default=5.0, kw_only=True)
    url: str = field(default="https://api.cloudflare.com", kw_only=True)

    def __post_init__(self) -> None:
        checked_id("Cloudflare(zone)", self.zone)
        checked_token("Cloudflare(token=...)", self.token)
        object.__setattr__(self, "url", checked_url("Cloudflare(url=...)", self.url))
        _ = self.limits

    @property
    def name(self) -> str:
        return f"cloudflare {self.zone}"

    @property
    def header(self) -> TagHeader:
        return CACHE_TAG

    @property
    def limits(self) -> EdgeLimits:
        """100 tags in one request ("Purge cache" in Cloudflare's documentation, as of July
        2026)."""
        return EdgeLimits(100, self.requests_a_second)

    async def purge(self, client: AsyncClient, names: Sequence[str]) -> None:
        """As `Edge.purge`."""
        headers = {"authorization": f"Bearer {self.token}", "content-type": "application/json"}
        body = msgspec.json.encode({"tags": list(names)})
        url = f"{self.url}/client/v4/zones/{self.zone}/purge_cache"
        answer = await ask(client, "POST", url, headers, body)
        verdict(answer, time.time())
        _check(answer)


def _check(answer: EdgeAnswer) -> None:
    """Raises what the body of a good status says of it. Codes alone: its words may quote."""
    try:
        said = msgspec.json.decode(answer.body, type=_Said)
    except msgspec.DecodeError as error:
        raise EdgeUnavailable("an answer that is none of its API") from error
    if not said.success:
        codes = ", ".join(str(each.code) for each in said.errors[:5]) or "without a code"
        raise EdgeRefused(f"success: false, errors {codes}")
