"""What the callers of one process do: reads of every kind, writes of every kind, sessions that go on elsewhere."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import msgspec
from sqlalchemy import select, text, update
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from repocache import Database
from repocache.bookmark import Bookmark
from repocache.db.routing import current_session
from repocache.db.unit_of_work import NOT_PUBLISHED
from repocache.errors import CommitOutcomeUnknown
from repocache.keys import bucket_of
from tests.faults.items import KEYS, Item, Items
from tests.faults.records import Begun, Ended, Failed, Read, Recorder, Session, Staged, now
from tests.faults.witness import Witness

PATIENCE = 20.0
"""Seconds after which a call hangs."""
THINK = 0.08
"""Seconds between two things that a caller does, on average."""
WRITES = (
    "orm",
    "bulk",
    "bulk unseen",
    "text",
    "plain",
    "savepoint",
    "rolled back",
    "cancelled",
    "whole owner",
    "outside",
)
WEIGHTS = (6, 6, 3, 3, 6, 4, 3, 4, 0.2, 3)
UPDATE = "UPDATE item SET version = version + 1, token = :token WHERE id = ANY(:ids) RETURNING id, version"
READS = ("get", "get_many", "find")
READ_WEIGHTS = (12, 3, 2)


class Guest(msgspec.Struct):
    """A session that goes on in another process."""

    session: str
    bookmark: str
    at: int
    keys: list[int]


class Rollback(Exception):
    """A change of mind."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where the traffic is: the process's `name`, its database and repository, and a way to the primary past the
    library, if there is to be one."""

    name: str
    db: Database
    items: type[Items]
    outside: AsyncEngine | None


class Traffic:
    """`hand_over`: gives a session to some other process."""

    def __init__(self, place: Place, recorder: Recorder, witness: Witness, hand_over: Callable[[Guest], None]) -> None:
        self._name = place.name
        self._db = place.db
        self._outside = place.outside
        self._items = place.db[place.items]
        self._class = place.items
        self._recorder = recorder
        self._witness = witness
        self._hand_over = hand_over
        self._calm = False
        self._count = 0
        self._writes: dict[str, Callable[[AsyncSession, str, Sequence[int], Any], Awaitable[dict[int, int]]]] = {
            "orm": self._orm,
            "bulk": self._bulk,
            "bulk unseen": self._bulk_unseen,
            "text": self._text,
            "plain": self._orm,
            "savepoint": self._savepoint,
            "rolled back": self._bulk,
            "cancelled": self._orm,
            "whole owner": self._whole_owner,
            "outside": self._bulk,
        }

    def calm(self) -> None:
        """No caller does anything more."""
        self._calm = True

    async def call(self, caller: str, chance: random.Random) -> None:
        """One caller, until it is calm."""
        while not self._calm:
            await asyncio.sleep(chance.expovariate(1 / THINK))
            what = chance.random()
            if what < 0.7:
                await self._read(caller, "", chance)
            elif what < 0.8:
                await self._write(caller, "", chance)
            else:
                await self._visit(caller, chance)

    async def serve(self, guest: Guest, chance: random.Random) -> None:
        """A session that comes from elsewhere; too late if it is calm, for the caches are being compared."""
        if self._calm:
            return
        session = self._named("session")
        self._recorder.tell(Session(session, guest.session, guest.at), at_once=True)
        async with self._db.causal_session(guest.bookmark):
            caller = self._named("guest")
            for _ in range(chance.randint(1, 4)):
                await self._read(caller, session, chance, guest.keys)
                await asyncio.sleep(chance.expovariate(1 / THINK))
            if chance.random() < 0.3:
                await self._write(caller, session, chance, guest.keys)
                await self._read(caller, session, chance, guest.keys)

    async def _visit(self, caller: str, chance: random.Random) -> None:
        """A session of its own, perhaps handed over in the middle."""
        session = self._named("session")
        self._recorder.tell(Session(session, "", now()), at_once=True)
        keys = self._some(chance)
        async with self._db.causal_session() as causal:
            for _ in range(chance.randint(1, 2)):
                if chance.random() < 0.85:
                    await self._write(caller, session, chance, keys)
                for _ in range(chance.randint(1, 3)):
                    await self._read(caller, session, chance, keys)
                if chance.random() < 0.4:
                    at = now()
                    self._recorder.flush()
                    self._hand_over(Guest(session, causal.encode(), at, list(keys)))
                await asyncio.sleep(chance.expovariate(1 / THINK))

    async def _read(self, caller: str, session: str, chance: random.Random, near: Sequence[int] = ()) -> None:
        """Of keys `near`, if any, and of others now and then."""
        [how] = chance.choices(READS, READ_WEIGHTS)
        key = chance.choice(near) if near and chance.random() < 0.9 else self._hot(chance)
        keys = [key] if how != "get_many" else sorted({key, *near, *(self._hot(chance) for _ in range(3))})
        trace, start = self._witness.begin(), now()
        try:
            async with asyncio.timeout(PATIENCE):
                items = await self._read_as(how, keys)
        except Exception as error:  # noqa: BLE001  # the checker judges it
            self._recorder.tell(Failed(caller, how, kind_of(error), str(error)[:300], start, now()))
            return
        end = now()
        past = how == "find" or (self._db.settings.monotonic and session != "")
        for item in items:
            via, node = ("past", "") if past else self._witness.way(trace, item.id)
            self._recorder.tell(Read(caller, session, how, item.id, item.version, item.token, via, node, start, end))
        if len(items) != len(keys):
            self._recorder.tell(Failed(caller, how, "Missing", f"{keys}: {len(items)} rows", start, end))

    async def _read_as(self, how: str, keys: Sequence[int]) -> Sequence[Item]:
        if how == "get":
            item = await self._items.get(keys[0])
            return [] if item is None else [item]
        if how == "find":
            return await self._items.find(Item.id == keys[0])
        return list((await self._items.get_many(keys)).values())

    async def _write(self, caller: str, session: str, chance: random.Random, near: Sequence[int] = ()) -> None:
        [how] = chance.choices(WRITES, WEIGHTS)
        how = "orm" if how == "outside" and (self._outside is None or session) else how
        keys = sorted(near or self._some(chance))
        token = self._named("w")
        self._recorder.tell(Begun(token, how, caller, session, now()), at_once=True)
        attempt = asyncio.create_task(self._attempt(how, token, keys))
        patience = chance.random() * 0.03 if how == "cancelled" else PATIENCE
        done, _ = await asyncio.wait([attempt], timeout=patience)
        if not done:
            attempt.cancel()
            await asyncio.wait([attempt])
        ended = self._ended(how, token, keys, attempt)
        if how != "cancelled" and not done:
            ended = msgspec.structs.replace(ended, why="Hang")
        self._recorder.tell(ended, at_once=True)

    def _ended(self, how: str, token: str, keys: Sequence[int], attempt: asyncio.Task[Bookmark]) -> Ended:
        if attempt.cancelled():
            return Ended(token, "unknown", covered=False, wrote={}, why="cancelled", end=now())
        error = attempt.exception()
        if error is None:
            bookmark = attempt.result()
            wrote = {bucket: (seen.incarnation, seen.seq) for bucket, seen in bookmark.buckets.items()}
            buckets = {bucket_of(f"item:{key}") for key in keys}
            known = {bucket: wrote[bucket] for bucket in buckets if bucket in wrote}
            return Ended(token, "committed", bookmark.covered, known, "", now())
        if isinstance(error, CommitOutcomeUnknown):
            return Ended(token, "unknown", covered=False, wrote={}, why=kind_of(error), end=now())
        if how == "outside":
            return Ended(
                token, "unknown", covered=False, wrote={}, why=kind_of(error), end=now(), text=str(error)[:300]
            )
        # "Nothing is committed then": what commit() promises for every other error.
        why = "" if isinstance(error, Rollback) else kind_of(error)
        return Ended(token, "rolled back", covered=False, wrote={}, why=why, end=now(), text=str(error)[:300])

    async def _attempt(self, how: str, token: str, keys: Sequence[int]) -> Bookmark:
        """The bookmark of the commit. Raises Rollback if there is to be none."""
        change = self._writes[how]
        if how == "outside":
            async with AsyncSession(self._outside) as session:
                versions = await change(session, token, keys, None)
                self._recorder.tell(Staged(token, versions, now()), at_once=True)
                await session.commit()
            return NOT_PUBLISHED
        if how == "plain":
            async with nullcontext() if current_session() else self._db.causal_session():
                async with self._db.sessionmaker() as session:
                    versions = await change(session, token, keys, self._db)
                    self._recorder.tell(Staged(token, versions, now()), at_once=True)
                    await session.commit()
                causal = current_session()
                assert causal is not None
                return causal.bookmark
        async with self._db.unit_of_work() as work:
            versions = await change(work.session, token, keys, work)
            self._recorder.tell(Staged(token, versions, now()), at_once=True)
            if how == "rolled back":
                raise Rollback
            return await work.commit()

    async def _orm(self, session: AsyncSession, token: str, keys: Sequence[int], _: Any) -> dict[int, int]:
        """Rows are loaded, locked and changed; the versions are the database's."""
        found = await session.execute(select(Item).where(Item.id.in_(keys)).order_by(Item.id).with_for_update())
        items = list(found.scalars())
        for item in items:
            item.version += 1
            item.token = token
        await session.flush()
        return {item.id: item.version for item in items}

    async def _bulk(self, session: AsyncSession, token: str, keys: Sequence[int], _: Any) -> dict[int, int]:
        await self._lock(session, keys)
        change = update(Item).where(Item.id.in_(keys)).values(version=Item.version + 1, token=token)
        return {row.id: row.version for row in await session.execute(change.returning(Item.id, Item.version))}

    async def _bulk_unseen(self, session: AsyncSession, token: str, keys: Sequence[int], _: Any) -> dict[int, int]:
        """Without RETURNING: the library has to find out what it touches."""
        versions = await self._lock(session, keys)
        change = update(Item).where(Item.id.in_(keys)).values(version=Item.version + 1, token=token)
        await session.execute(change, execution_options={"synchronize_session": False})
        return {id: version + 1 for id, version in versions.items()}

    async def _text(self, session: AsyncSession, token: str, keys: Sequence[int], work: Any) -> dict[int, int]:
        """Textual SQL that says what it touches."""
        await self._lock(session, keys)
        changed = await session.execute(text(UPDATE), {"token": token, "ids": list(keys)})
        versions = {row.id: row.version for row in changed}
        work.changes(self._class, ids=list(keys))
        return versions

    async def _whole_owner(self, session: AsyncSession, token: str, keys: Sequence[int], work: Any) -> dict[int, int]:
        """Textual SQL that says no more than whose rows it touches."""
        versions = await self._text(session, token, keys, work)
        work.changes(self._class)
        return versions

    async def _savepoint(self, session: AsyncSession, token: str, keys: Sequence[int], work: Any) -> dict[int, int]:
        """What is written in the savepoint is rolled back, and must never be seen."""
        versions = await self._bulk(session, token, keys, work)
        inner = f"{token}/inner"
        self._recorder.tell(Begun(inner, "inner", "", "", now()), at_once=True)
        try:
            async with work.savepoint():
                unwanted = await self._orm(session, inner, keys, work)
                self._recorder.tell(Staged(inner, unwanted, now()), at_once=True)
                raise Rollback
        except Rollback:
            self._recorder.tell(Ended(inner, "rolled back", covered=False, wrote={}, why="", end=now()), at_once=True)
        return versions

    async def _lock(self, session: AsyncSession, keys: Sequence[int]) -> dict[int, int]:
        """In the order of the keys, so that writers do not block each other for ever."""
        wanted = select(Item.id, Item.version).where(Item.id.in_(keys)).order_by(Item.id).with_for_update()
        return {row.id: row.version for row in await session.execute(wanted)}

    def _some(self, chance: random.Random) -> list[int]:
        return sorted({self._hot(chance) for _ in range(chance.choice((1, 1, 1, 2, 4)))})

    def _hot(self, chance: random.Random) -> int:
        """Few keys get most of it."""
        return KEYS[min(int(chance.expovariate(1 / 6)), len(KEYS) - 1)]

    def _named(self, what: str) -> str:
        self._count += 1
        return f"{self._name}/{what}{self._count}"


def kind_of(error: BaseException) -> str:
    """Ours and the operating system's by name, those of SQLAlchemy with the driver's."""
    cause = getattr(error, "orig", None)
    name = type(error).__name__
    inner = getattr(cause, "__cause__", None) or cause
    return name if inner is None else f"{name}({type(inner).__name__})"
