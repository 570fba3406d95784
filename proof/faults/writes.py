"""Every way to write, each recorded before it begins, before its COMMIT and after."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import msgspec
from sqlalchemy import select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from proof.faults.items import Item
from proof.faults.place import HANG, PATIENCE, Place, Visit, kind_of, some
from proof.faults.records import Begun, Ended, Staged, now
from repocache.bookmark import Bookmark
from repocache.errors import CommitOutcomeUnknown
from repocache.keys import bucket_of
from repocache.routing.around import current_session
from repocache.transactions.unit_of_work import NOT_PUBLISHED

WEIGHTS: Mapping[str, float] = {
    "orm": 6,
    "bulk": 6,
    "bulk unseen": 3,
    "text": 3,
    "plain": 6,
    "savepoint": 4,
    "rolled back": 3,
    "cancelled": 4,
    "whole owner": 0.2,
    "outside": 3,
}
UPDATE = (
    "UPDATE item SET version = version + 1, token = :token WHERE id = ANY(:ids) RETURNING id, "
    "version"
)


class Rollback(Exception):
    """A change of mind."""


class Writes:
    """`await writes.write(visit, chance)`: one of them, whatever comes of it, and recorded."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._db = place.db
        self._outside = place.outside
        self._class = place.items
        self._recorder = place.recorder
        self._writes: dict[
            str, Callable[[AsyncSession, str, Sequence[int], Any], Awaitable[dict[int, int]]]
        ] = {
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

    async def write(self, visit: Visit, chance: random.Random) -> None:
        """Of the visit's keys, or any."""
        [how] = chance.choices(list(WEIGHTS), list(WEIGHTS.values()))
        how = "text" if how == "whole owner" and self._place.peace else how
        how = "orm" if how == "outside" and (self._outside is None or visit.session) else how
        keys = sorted(visit.near or some(chance))
        token = self._place.named("w")
        self._recorder.tell(Begun(token, how, visit.caller, visit.session, now()), at_once=True)
        staged: dict[int, int] = {}
        attempt = asyncio.create_task(self._attempt(how, token, keys, staged))
        patience = chance.random() * 0.03 if how == "cancelled" else PATIENCE
        try:
            done, _ = await asyncio.wait([attempt], timeout=patience)
        except asyncio.CancelledError:  # the process leaves: nobody will tell what became of it
            attempt.cancel()
            raise
        if not done:
            attempt.cancel()
            await asyncio.wait([attempt])
        ended = self._ended(how, token, keys, attempt)
        if how != "cancelled" and not done:
            ended = msgspec.structs.replace(ended, why=HANG)
        if ended.outcome == "committed":
            visit.saw(staged)
        self._recorder.tell(ended, at_once=True)

    def _ended(
        self, how: str, token: str, keys: Sequence[int], attempt: asyncio.Task[Bookmark]
    ) -> Ended:
        if attempt.cancelled():
            return Ended(token, "unknown", covered=False, wrote={}, why="cancelled", end=now())
        error = attempt.exception()
        if error is None:
            bookmark = attempt.result()
            wrote = {
                bucket: (seen.incarnation, seen.seq) for bucket, seen in bookmark.buckets.items()
            }
            buckets = {bucket_of(f"item:{key}") for key in keys}
            known = {bucket: wrote[bucket] for bucket in buckets if bucket in wrote}
            return Ended(token, "committed", bookmark.covered, known, "", now())
        if isinstance(error, CommitOutcomeUnknown):
            return Ended(token, "unknown", covered=False, wrote={}, why=kind_of(error), end=now())
        if how == "outside":
            return Ended(
                token,
                "unknown",
                covered=False,
                wrote={},
                why=kind_of(error),
                end=now(),
                text=str(error)[:300],
            )
        # "Nothing is committed then": what commit() promises for every other error.
        why = "" if isinstance(error, Rollback) else kind_of(error)
        return Ended(
            token, "rolled back", covered=False, wrote={}, why=why, end=now(), text=str(error)[:300]
        )

    async def _attempt(
        self, how: str, token: str, keys: Sequence[int], staged: dict[int, int]
    ) -> Bookmark:
        """The bookmark of the commit; `staged` gets its versions. Raises Rollback if there is to be
        none."""
        change = self._writes[how]
        if how == "outside":
            async with AsyncSession(self._outside) as session:
                staged |= await change(session, token, keys, None)
                self._recorder.tell(Staged(token, staged, now()), at_once=True)
                await session.commit()
            return NOT_PUBLISHED
        if how == "plain":
            async with nullcontext() if current_session() else self._db.causal_session():
                async with self._db.sessionmaker() as session:
                    staged |= await change(session, token, keys, self._db)
                    self._recorder.tell(Staged(token, staged, now()), at_once=True)
                    await session.commit()
                causal = current_session()
                assert causal is not None
                return causal.bookmark
        async with self._db.unit_of_work() as work:
            staged |= await change(work.session, token, keys, work)
            self._recorder.tell(Staged(token, staged, now()), at_once=True)
            if how == "rolled back":
                raise Rollback
            return await work.commit()

    async def _orm(
        self, session: AsyncSession, token: str, keys: Sequence[int], _: Any
    ) -> dict[int, int]:
        """Rows are loaded, locked and changed; the versions are the database's."""
        found = await session.execute(
            select(Item).where(Item.id.in_(keys)).order_by(Item.id).with_for_update()
        )
        items = list(found.scalars())
        for item in items:
            item.version += 1
            item.token = token
        await session.flush()
        return {item.id: item.version for item in items}

    async def _bulk(
        self, session: AsyncSession, token: str, keys: Sequence[int], _: Any
    ) -> dict[int, int]:
        await self._lock(session, keys)
        change = update(Item).where(Item.id.in_(keys)).values(version=Item.version + 1, token=token)
        return {
            row.id: row.version
            for row in await session.execute(change.returning(Item.id, Item.version))
        }

    async def _bulk_unseen(
        self, session: AsyncSession, token: str, keys: Sequence[int], _: Any
    ) -> dict[int, int]:
        """Without RETURNING: the library has to find out what it touches."""
        versions = await self._lock(session, keys)
        change = update(Item).where(Item.id.in_(keys)).values(version=Item.version + 1, token=token)
        await session.execute(change, execution_options={"synchronize_session": False})
        return {id: version + 1 for id, version in versions.items()}

    async def _text(
        self, session: AsyncSession, token: str, keys: Sequence[int], work: Any
    ) -> dict[int, int]:
        """Textual SQL that says what it touches."""
        await self._lock(session, keys)
        changed = await session.execute(text(UPDATE), {"token": token, "ids": list(keys)})
        versions = {row.id: row.version for row in changed}
        work.changes(self._class, ids=list(keys))
        return versions

    async def _whole_owner(
        self, session: AsyncSession, token: str, keys: Sequence[int], work: Any
    ) -> dict[int, int]:
        """Textual SQL that says no more than whose rows it touches."""
        versions = await self._text(session, token, keys, work)
        work.changes(self._class)
        return versions

    async def _savepoint(
        self, session: AsyncSession, token: str, keys: Sequence[int], work: Any
    ) -> dict[int, int]:
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
            self._recorder.tell(
                Ended(inner, "rolled back", covered=False, wrote={}, why="", end=now()),
                at_once=True,
            )
        return versions

    async def _lock(self, session: AsyncSession, keys: Sequence[int]) -> dict[int, int]:
        """In the order of the keys, so that writers do not block each other for ever."""
        wanted = (
            select(Item.id, Item.version)
            .where(Item.id.in_(keys))
            .order_by(Item.id)
            .with_for_update()
        )
        return {row.id: row.version for row in await session.execute(wanted)}
