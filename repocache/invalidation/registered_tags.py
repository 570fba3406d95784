"""What a commit tells of tags: those of the shapes that are registered, read after COMMIT
(protocol/queries.md, rule 7).

1. A writer finds no shape to tell, and commits; 2. a reader registers one, and fills; 3. nobody
tells him. Read after COMMIT, either the registration is seen, or the reader comes later than the
commit, and its record's floor is unknown, so that the primary fills.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Protocol, TypeAlias

from repocache.errors import CacheUnavailable
from repocache.events import CacheFailed, Observer
from repocache.invalidation.batch import Batch
from repocache.keys import owner_bucket
from repocache.records import CallerHistory, LookReply, Registrations
from repocache.tags import ToldTags, shape_id, told_tags

Learn = Callable[[str, Sequence[str]], None]
"""Is told the shapes that an owner's record lists, by the owner's prefix."""
Pending: TypeAlias = "Awaitable[LookReply | None] | None"
"""What a record answers; None: it could not be asked."""
Answered: TypeAlias = "Callable[[Batch, Mapping[str, Pending]], Awaitable[Batch]]"


def narrowed(
    batch: Batch, told: Mapping[str, ToldTags], looks: Mapping[str, LookReply | None]
) -> Batch:
    """The batch with the tags that are to move. `told`: of owners, what the commit knew; `looks`:
    at the records of these, and of those who changed as a whole.

    An owner without a shape has no tag, and costs nothing. If its record is not there, all that is
    cached under an older one has to hear of that: it is told as a whole.
    """
    keys, owners = dict(batch.keys), set(batch.owners)
    for owner, look in looks.items():
        moved: frozenset[str] | None = None
        if look is not None:
            registered = map(shape_id, look.shapes)
            if owner in owners:
                moved = None if look.shapes else frozenset()
            else:
                moved = told[owner].among(registered)
        keys.pop(owner, None)
        owners.discard(owner)
        if moved is None:
            owners.add(owner)
        elif moved:
            keys[owner] = moved
    return Batch(keys, frozenset(owners), batch.anew)


class AskedTags:
    """The question is sent; `narrowed` waits for its answer."""

    def __init__(self, batch: Batch, pending: Mapping[str, Pending], answered: Answered) -> None:
        self._batch = batch
        self._pending = pending
        self._answered = answered

    async def narrowed(self) -> Batch:
        """The batch with the tags that are to move. What Redis does not answer moves as a whole:
        there is no error."""
        return await self._answered(self._batch, self._pending)


class CommittedTags(Protocol):
    """What is asked of tags after a commit."""

    def ask(self, batch: Batch, history: str) -> AskedTags | None:
        """After COMMIT. `history`: the line of WAL that this process lives in. None: there is
        nothing to ask, and the batch is as it is."""
        ...


class RegisteredTags:
    """`owners`: prefixes of the owners of tables' tags, as this process has them. `deadline`:
    seconds for an answer."""

    def __init__(
        self,
        records: Registrations,
        owners: frozenset[str],
        learn: Learn,
        deadline: float,
        observe: Observer,
    ) -> None:
        self._records = records
        self._owners = owners
        self._learn = learn
        self._deadline = deadline
        self._observe = observe

    def ask(self, batch: Batch, history: str) -> AskedTags | None:
        terms, told = CallerHistory(history), told_tags(batch.keys)
        pending: dict[str, Pending] = {}
        for owner in sorted({*told, *(batch.owners & self._owners)}):
            try:
                pending[owner] = self._records.look(owner_bucket(owner), owner, terms)
            except CacheUnavailable:
                pending[owner] = None
        return AskedTags(batch, pending, partial(self._answer, told)) if pending else None

    async def _answer(
        self, told: Mapping[str, ToldTags], batch: Batch, pending: Mapping[str, Pending]
    ) -> Batch:
        looks: dict[str, LookReply | None] = dict.fromkeys(pending)
        try:
            async with asyncio.timeout(self._deadline):
                for owner, look in pending.items():
                    looks[owner] = found = None if look is None else await look
                    if found is not None and found.shapes:
                        self._learn(owner, found.shapes)
        except (CacheUnavailable, TimeoutError) as error:
            self._observe(CacheFailed("look", str(error) or "no answer in time"))
        return narrowed(batch, told, looks)
