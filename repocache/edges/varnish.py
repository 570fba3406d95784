"""Varnish with vmod_xkey, as the shipped `config/varnish.vcl` has it. An extra."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from repocache.edges.address import checked_token, checked_url, place
from repocache.edges.edge import EdgeLimits
from repocache.edges.exchange import AsyncClient, ask, verdict
from repocache.edges.header import XKEY, TagHeader

SHORTEST_SECRET = 16


@dataclass(frozen=True, slots=True)
class Varnish:
    """One Varnish server: each of several is an edge of its own.

    `url`: where it takes PURGE, as `http://varnish:6081`. `soft`: pages become stale, and are given
    once more while they are fetched again (within their `stale-while-revalidate`); else they are
    gone. `secret`: of at least 16 visible ASCII characters, as in the file that the VCL reads; None
    for a VCL of your own that asks for none. `requests_a_second`: purges.

    Raises ConfigurationError.
    """

    url: str
    soft: bool = field(default=False, kw_only=True)
    secret: str | None = field(default=None, kw_only=True, repr=False)
    requests_a_second: float = field(default=100.0, kw_only=True)

    def __post_init__(self) -> None:
        object.__setattr__(self, "url", checked_url("Varnish(url=...)", self.url))
        if self.secret is not None:
            checked_token("Varnish(secret=...)", self.secret, shortest=SHORTEST_SECRET)
        _ = self.limits

    @property
    def name(self) -> str:
        return f"varnish {place(self.url)}"

    @property
    def header(self) -> TagHeader:
        return XKEY

    @property
    def limits(self) -> EdgeLimits:
        """A header line may have 8 KiB (`http_req_hdr_len`), a name 128 bytes."""
        return EdgeLimits(60, self.requests_a_second)

    async def purge(self, client: AsyncClient, names: Sequence[str]) -> None:
        """As `Edge.purge`."""
        how = "xkey-softpurge" if self.soft else "xkey-purge"
        headers = {how: " ".join(names)}
        if self.secret is not None:
            headers["xkey-secret"] = self.secret
        verdict(await ask(client, "PURGE", f"{self.url}/", headers), time.time())
