"""How the primary becomes another server, and what leads to whom then.

Its old self dies, or lives on for a while.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

from sqlalchemy import make_url

from proof.faults.ground import Ground
from proof.faults.link import FAIR, Link, Weather
from proof.faults.records import Begun, Ended, Recorder, Staged, now
from proof.faults.schedule import Planned
from repocache.testing import PostgresServer
from repocache.testing.postgres import MAINTENANCE

LOST_SECONDS = 0.4
"""How long a server works on what a failover will lose."""
Lead = Callable[[str, str, bool], Awaitable[None]]
"""Everybody's link of this name to another server: all connections, or the new ones only."""


class Failover:
    """`streams`: links through which the replicas stream, in their order."""

    def __init__(
        self,
        ground: Ground,
        recorder: Recorder,
        streams: Sequence[Link],
        lead: Lead,
    ) -> None:
        self._ground = ground
        self._recorder = recorder
        self._streams = streams
        self._lead = lead

    @asynccontextmanager
    async def happens(self, planned: Planned) -> AsyncIterator[None]:
        """As long as the old primary lives on."""
        dies = planned.kind == "fail over"
        for stream in self._streams:
            stream.weather = Weather(to_client=False)
        await asyncio.sleep(LOST_SECONDS)
        at = await self._promote(f"failover/{planned.at}", dies=dies)
        try:
            yield
        finally:
            servers = self._ground.servers
            if not dies:
                await asyncio.to_thread(servers.replicas[at].kill)
            await self._lead(f"replica{at + 1}", servers.replicas[at].url(), True)
            await asyncio.to_thread(self._ground.follow_primary)
            for replica, stream in zip(servers.replicas, self._streams, strict=True):
                await asyncio.to_thread(stream_through, replica, stream.url)

    async def _promote(self, token: str, *, dies: bool) -> int:
        """What the primary commits now reaches nobody. Its name leads to the new one from then."""
        servers, started = self._ground.servers, now()
        lose = self._ground.lose_primary if dies else self._ground.leave_primary
        at, versions = await asyncio.to_thread(lose, token)
        self._recorder.tell(Begun(token, "outside", "conductor", "", started))
        self._recorder.tell(Staged(token, versions, started))
        told = Ended(token, "committed", covered=False, wrote={}, why="", end=now())
        self._recorder.tell(told)
        for stream in self._streams:
            stream.lead_to(servers.primary.url(user="postgres"))
            await stream.reset()  # before it speaks again: what it has swallowed must not arrive
            stream.weather = FAIR
        await self._lead("primary", servers.primary.url(), dies)
        return at


def stream_through(replica: PostgresServer, url: str) -> None:
    """Let a replica stream from there."""
    place = make_url(url)
    source = f"host={place.host} port={place.port} user={place.username} password={place.password}"
    script = f"ALTER SYSTEM SET primary_conninfo = '{source}'; SELECT pg_reload_conf()"
    replica.sql(script, MAINTENANCE)
