"""Where a row of somebody's model is read, each beside plain SQLAlchemy: the primary, Redis, this
process; under each policy."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import MetaData, inspect, text
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

from repocache import CacheAside, Repository, Settings, WriteThrough
from repocache.cache.policies import Policy
from repocache.codec.column import ColumnCodec
from repocache.events import CacheFailed
from repocache.testing import Endpoints
from tests.shop import QUICK, Shop, in_rotation, open_shop

POLICIES: Sequence[Policy] = (CacheAside(ttl=60, local_ttl=60), WriteThrough(ttl=60, local_ttl=60))

Anything = Repository[Any, Any]
Alike = Callable[[Any, Any], bool]


def under(repository: type[Anything], policy: Policy) -> type[Anything]:
    """The same repository under this policy."""
    return type(repository.__name__, (repository,), {"policy": policy})


def equal(one: Any, other: Any) -> bool:
    return bool(one == other)


class Places:
    """`checked`: how many values were compared."""

    def __init__(self, endpoints: Endpoints) -> None:
        self.endpoints = endpoints
        self.engine = create_async_engine(endpoints.primary)
        self.checked = 0

    async def close(self) -> None:
        await self.engine.dispose()

    async def make(self, metadata: MetaData, *before: str) -> None:
        async with self.engine.begin() as connection:
            for statement in before:
                await connection.execute(text(statement))
            await connection.run_sync(metadata.create_all)
        await self.engine.dispose()

    async def has_extension(self, name: str) -> bool:
        async with self.engine.connect() as connection:
            found = await connection.execute(
                text("SELECT 1 FROM pg_available_extensions WHERE name = :name"), {"name": name}
            )
            return found.scalar_one_or_none() is not None

    async def round_trip(
        self,
        repository: type[Anything],
        make: Callable[[], Any],
        change: Callable[[Any], None],
        *,
        codecs: dict[Any, ColumnCodec[Any]] | None = None,
        alike: Alike = equal,
    ) -> None:
        """An entity that `make` gives is written, read everywhere, changed, and read everywhere."""
        settings = Settings(topology=QUICK, codecs=codecs or {})
        for policy in POLICIES:
            kind = under(repository, policy)
            async with (
                open_shop(self.endpoints, settings, [kind]) as here,
                open_shop(self.endpoints, replace(settings), [kind]) as there,
            ):
                await in_rotation(here)
                await in_rotation(there)
                entity = make()
                async with here.db.unit_of_work() as work:
                    work.add(entity)
                    await work.commit()
                id = _id(entity)
                await self._compare((here, there), kind, id, alike)
                async with here.db.unit_of_work() as work:
                    change(await work[kind].require(id))
                    bookmark = await work.commit()
                async with there.db.causal_session(bookmark):
                    await self._compare((there, here), kind, id, alike)
                async with here.db.unit_of_work() as work:
                    await work.delete(await work[kind].require(id))
                    await work.commit()
                assert await here.db[kind].get(id) is None
                troubles = here.seen.of(CacheFailed) + there.seen.of(CacheFailed)
                assert troubles == []

    async def _compare(
        self, shops: Sequence[Shop], kind: type[Anything], id: Any, alike: Alike
    ) -> None:
        first, second = shops
        model = inspect(await first.db[kind].require(id)).mapper.class_
        async with AsyncSession(self.engine) as session:
            loaded = await session.get(model, id)
            session.expunge_all()
        reads = [
            await first.db[kind].on_primary().require(id),
            (await first.db[kind].find())[0],
            await first.db[kind].require(id),
            await first.db[kind].require(id),
            await second.db[kind].require(id),
            (await second.db[kind].get_many([id]))[id],
        ]
        for read in reads:
            self._check(read, loaded, alike)

    def _check(self, read: Any, loaded: Any, alike: Alike) -> None:
        state, other = inspect(read), inspect(loaded)
        assert state.key == other.key
        assert _kind(state.key[1][0]) is _kind(other.key[1][0])
        for name in state.mapper.column_attrs.keys():  # noqa: SIM118  # not a mapping
            if name in other.unloaded:
                continue
            ours, theirs = getattr(read, name), getattr(loaded, name)
            assert _kind(ours) is _kind(theirs), name
            assert alike(ours, theirs), (name, ours, theirs)
            self.checked += 1


def _kind(value: Any) -> type:
    """asyncpg has a UUID of its own, which is cached as the standard one."""
    return uuid.UUID if isinstance(value, uuid.UUID) else type(value)


def _id(entity: Any) -> Any:
    identity = inspect(entity).identity
    return identity[0] if len(identity) == 1 else tuple(identity)


def needs(module: str) -> Any:
    """The package, or a skip that says what is missing."""
    return pytest.importorskip(
        module, reason=f"{module} is not installed: pip install sqlalchemy-repocache[mappings]"
    )
