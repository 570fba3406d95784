"""What clients do in wider worlds, beside reading by id: selects, transactions, snapshots, several
reads at once, a session in a session.

Owns the steps. What a session may expect of each is `clients`'s.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from random import Random
from typing import TYPE_CHECKING

from proof.simulation.answers import judge
from proof.simulation.columns import Asked, selects_of
from proof.simulation.server import Key
from proof.simulation.service import Service

if TYPE_CHECKING:
    from proof.simulation.clients import Client, Need

Step = Callable[[Service, "Need | None"], Awaitable[None]]


class Habits:
    """Those of one client. What is drawn here is drawn from its own source."""

    def __init__(self, client: Client, draw: Random) -> None:
        self._client = client
        self._world = client.world
        self._wide = wide = client.world.profile.wide
        self._draw = draw
        self._steps: list[tuple[float, Step]] = [
            (wide.owns, self._own),
            (wide.finds, self._find),
            (wide.units, self._unit),
            (wide.snapshots, self._snapshot),
            (wide.gathers, self._gather),
            (wide.nested, self._nested),
            (wide.selects, self._select),
        ]

    async def step(self, service: Service, need: Need | None) -> bool:
        """Whether one of these was taken. Whom Redis does not hear they ask to write, and whose
        links others follow."""
        linked = bool(self._wide.handed) and service.settings.window == min(self._wide.windows)
        if (linked or service.owner is self._world.stranded) and self._draw.random() < 0.4:
            await self._client.write(service, need)
            return True
        left = self._draw.random()
        for share, step in self._steps:
            left -= share
            if left < 0:
                await step(service, need)
                return True
        return False

    def absence(self) -> float:
        """Seconds that the client stays away now: about as long as some bookmark counts."""
        if self._draw.random() >= self._wide.absent:
            return 0.0
        return self._life() * (0.9 + 0.5 * self._draw.random())

    def link(self, service: Service) -> str:
        """The bookmark that a session begins with: that of somebody at another process, or none."""
        if not self._wide.handed:
            return ""
        links = [text for name, text in self._world.links.items() if name != service.owner.name]
        return links[-1] if links and self._draw.random() < self._wide.handed else ""

    async def linger(self, service: Service, need: Need) -> None:
        """In the middle of a request; where links are followed, who has written nothing, and goes
        on reading then."""
        if self._draw.random() >= self._wide.lingers or (self._wide.handed and need):
            return None
        if not self._wide.handed:
            return await asyncio.sleep(self._life() * 1.2 * self._draw.random())
        await asyncio.sleep(min(self._wide.windows) * (0.7 + 0.5 * self._draw.random()))
        for _ in range(8):
            await self._client.read(service, self._keys(service), need)

    def _life(self) -> float:
        """How long bookmarks count in some process: covered, or uncovered."""
        window = self._draw.choice(self._wide.windows)
        ttl, local = self._draw.choice(self._wide.ttls), self._draw.choice(self._wide.local_ttls)
        lives = [window, max(window, ttl + local)]
        return self._draw.choice([life for life in lives if life < 30.0] or [0.5])

    def _keys(self, service: Service) -> list[Key]:
        """Of one owner."""
        keys = self._client.keys_of(service)
        owner = self._draw.choice(keys)[0]
        mine = [key for key in keys if key[0] == owner]
        return mine if self._draw.random() < 0.5 else [self._draw.choice(mine)]

    async def _own(self, service: Service, need: Need | None) -> None:
        """What the session wrote or saw, by id."""
        keys = [key for key in need or () if key[0] in service.access]
        await self._client.read(
            service, [self._draw.choice(keys)] if keys else self._keys(service), need
        )

    async def _find(self, service: Service, need: Need | None) -> None:
        await self._found(service, self._keys(service), need)

    async def _found(
        self, service: Service, keys: list[Key], need: Need | None, how: str = " by a select"
    ) -> None:
        """A select, without a session held against the lag that a replica in the rotation may
        have."""
        bound = self._lag_bound(service) if need is None else None
        wanted = self._client.wanted(keys, need)
        found = await service.find(keys[0][0], [key[1] for key in keys])
        self._client.got(service, wanted, found, need, how)
        for key in keys if bound is not None else ():
            assert bound is not None
            self._world.oracle.served_lagging(service.owner.name, key, found[key[1]], bound)

    async def _select(self, service: Service, need: Need | None) -> None:
        """A select whose answer is cached, now and then twice at once."""
        owner = self._draw.choice(self._client.keys_of(service))[0]
        asked = self._draw.choice(selects_of(owner, service.release.columns))
        others = [asked] if self._draw.random() < 0.1 else []
        await asyncio.gather(*(self._answered(service, each, need) for each in [asked, *others]))

    async def _answered(self, service: Service, asked: Asked, need: Need | None) -> None:
        keys = service.oracle.keys_of(asked.owner)
        wanted = self._client.wanted(keys, need)
        rows, cached = await service.select(asked)
        if cached:
            until = service.oracle.told_until
            wanted = {key: min(least, until(key)) for key, least in wanted.items()}
        who = f"{self._client.name} at {service.owner.name} by a cached select"
        self._world.counts["select"] += 1
        judge(service.oracle, who, asked, rows, wanted)
        if asked.kind != "count":
            self._client.saw({row[0]: row[1] for row in rows}, keys, need)

    def _lag_bound(self, service: Service) -> float | None:
        """The moment that a replica in the rotation is not behind."""
        if not self._wide.judges_lag:
            return None
        topology = service.settings.topology
        heard = self._world.paths[service.owner.name]["primary"].heard
        late = topology.max_lag + topology.sample_every + topology.probe_timeout + 0.5
        return min(heard, self._world.loop.now) - late

    async def _unit(self, service: Service, need: Need | None) -> None:
        """A transaction that reads, perhaps writes, and is committed or rolled back."""
        draw, keys = self._draw, self._keys(service)
        async with service.work() as connection:
            found = await connection.locked_rows(keys)
            self._client.saw(dict(found), keys, need)
            if draw.random() < 0.3:
                await self._found(service, self._keys(service), need, " beside a transaction")
            wrote = draw.random() < 0.2
            if wrote:
                await connection.update(keys[0], True, noticed=bool(self._world.profile.strangers))
                service.touch(connection, keys[:1], "")
            if not wrote and draw.random() < 0.5:
                await service.commit(connection, {})
        if draw.random() < 0.5:
            await self._found(service, keys, need, " behind a transaction")

    async def _snapshot(self, service: Service, need: Need | None) -> None:
        """A report, and a look at one of its rows behind it."""
        keys = self._keys(service)
        wanted = self._client.wanted(keys, need)
        async with service.snapshot() as connection:
            statement = service.statement(keys[0][0], [key[1] for key in keys])
            rows = {row[0]: row[1] for row in await connection.execute(statement)}
            found = {key[1]: rows.get(key[1]) for key in keys}
            self._client.got(service, wanted, found, need, " in a snapshot")
        if self._draw.random() < 0.5:
            await self._found(service, keys, need, " behind a snapshot")

    async def _gather(self, service: Service, need: Need | None) -> None:
        """Several reads at once, of all kinds, and one more behind them."""
        reads = [self._any(service, need) for _ in range(self._draw.randrange(2, 5))]
        outcomes = await asyncio.gather(*reads, return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome
        await self._found(service, self._keys(service), need, " behind many reads")

    async def _any(self, service: Service, need: Need | None) -> None:
        keys = self._keys(service)
        if self._draw.random() < 0.5:
            await self._found(service, keys, need)
        else:
            await self._client.read(service, keys, need)

    async def _nested(self, service: Service, need: Need | None) -> None:
        """A session in the session, which knows nothing of it; the outer one knows then what the
        inner one did."""
        inner: Need = {}
        try:
            async with service.routing.causal_session():
                if self._draw.random() < 0.7:
                    await self._client.write(service, inner)
                await self._any(service, inner)
        finally:
            for key, version in inner.items() if need is not None else ():
                assert need is not None
                need[key] = max(version, need.get(key, 0))
        keys = list(inner) or self._keys(service)
        await self._found(service, [self._draw.choice(keys)], need, " behind an inner session")
