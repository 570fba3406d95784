"""The switches of the rules of tags, by which selects are cached; see `switches` and
`models/queries.py`, whose rules they are."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

from sqlalchemy.pool import PoolProxiedConnection

from proof.protocol.switches import _script, _switch
from repocache.bookmark import Bookmark
from repocache.cache.entry import Row, RowRequest
from repocache.invalidation import registered_tags
from repocache.invalidation.batch import Batch
from repocache.invalidation.registered_tags import AskedTags, Pending, RegisteredTags
from repocache.publication import publisher
from repocache.publication.publisher import CommitPublisher
from repocache.records import LookReply
from repocache.repository.answered import Answered
from repocache.repository.query import EntryId, Query, entry_id
from repocache.repository.query_cache import QueryCache, QueryLoader
from repocache.repository.tag_floors import TagFloors
from repocache.repository.tokens import Tokens
from repocache.tags import ToldTags
from repocache.tracking import locked
from repocache.tracking.dml import with_new_values
from repocache.tracking.locked import LockedRows
from repocache.transactions.transaction import Transaction

Narrowed = Callable[..., Batch]
"""As `registered_tags.narrowed`."""


@_switch("tags' shapes after")
def _after() -> Iterator[None]:
    """A writer reads which shapes are registered inside its transaction, right before COMMIT."""
    seal, ask = CommitPublisher.seal, RegisteredTags.ask
    asked: dict[Batch, Batch] = {}

    async def ask_first(
        self: CommitPublisher, connection: PoolProxiedConnection, transaction: Transaction
    ) -> None:
        await seal(self, connection, transaction)
        batch = publisher._batch(transaction)
        question = None if self._tags is None else self._tags.ask(batch, self._line.history)
        asked[batch] = batch if question is None else await question.narrowed()

    async def as_asked(batch: Batch, _pending: Mapping[str, Pending]) -> Batch:
        return batch

    def asked_before(self: RegisteredTags, batch: Batch, history: str) -> AskedTags | None:
        before = asked.pop(batch, None)
        if before is None:
            return ask(self, batch, history)
        return AskedTags(before, {"": None}, as_asked)

    with (
        patch.object(CommitPublisher, "seal", ask_first),
        patch.object(RegisteredTags, "ask", asked_before),
        patch.object(Batch, "__hash__", lambda self: hash(repr(self))),
    ):
        yield


def _narrowing(change: Callable[[Narrowed], Narrowed]) -> Any:
    return patch.object(registered_tags, "narrowed", change(registered_tags.narrowed))


@_switch("tags of a lost record")
def _lost() -> Iterator[None]:
    """Where the owner's record is not there, nobody is told anything."""

    def change(original: Narrowed) -> Narrowed:
        def narrowed(
            batch: Batch, told: Mapping[str, ToldTags], looks: Mapping[str, LookReply | None]
        ) -> Batch:
            nothing = LookReply("", None, ())
            return original(batch, told, {o: look or nothing for o, look in looks.items()})

        return narrowed

    with _narrowing(change):
        yield


@_switch("tags of unknown shapes")
def _coarse() -> Iterator[None]:
    """Of a shape that the writer did not know it tells nothing."""

    def change(original: Narrowed) -> Narrowed:
        def narrowed(
            batch: Batch, told: Mapping[str, ToldTags], looks: Mapping[str, LookReply | None]
        ) -> Batch:
            known = {owner for owner, look in looks.items() if look is not None}
            nothing = dict.fromkeys(known, ToldTags(frozenset(), frozenset()))
            rest = Batch(batch.keys, batch.owners - known, batch.anew)
            return original(rest, nothing | dict(told), looks)

        return narrowed

    def among(self: ToldTags, registered: Iterable[str]) -> frozenset[str]:
        listed = frozenset(registered)
        return frozenset(tag for tag in self.tags if tag.split(":", 2)[1] in listed)

    with _narrowing(change), patch.object(ToldTags, "among", among):
        yield


@_switch("tags of old values")
def _old() -> Iterator[None]:
    """A write tells the tags of the values that rows have from now on, and not of those that they
    had."""
    original = LockedRows.before_and_after

    def after_alone(
        self: LockedRows, sent: Any, each: Any, set_columns: frozenset[str]
    ) -> list[Any] | None:
        after: list[Any] = []

        def noted(*arguments: Any) -> Any:
            after.append(with_new_values(*arguments))
            return after[-1]

        with patch.object(locked, "with_new_values", noted):
            both = original(self, sent, each, set_columns)
        return None if both is None else after or both

    with patch.object(LockedRows, "before_and_after", after_alone):
        yield


@_switch("tags' record anew")
def _anew() -> Iterator[None]:
    """A new shape is put into the record as it is."""
    with _script("REGISTER", ("rec = renew(KEYS[1], rec.floor or rec.highest)\n", "")):
        yield


@_switch("tags' shape is there")
def _registered() -> Iterator[None]:
    """A token is made in whatever record there is."""

    def fresh(self: Tokens, want: RowRequest) -> Row:
        with patch.object(self._registrar, "has", lambda *_: True):
            return original(self, want)  # type: ignore[return-value]

    original = Tokens._fresh
    with patch.object(Tokens, "_fresh", fresh):
        yield


@_switch("tags' settle")
def _settle() -> Iterator[None]:
    """A floor is settled in whatever record there is."""
    with _script("SETTLE", ("rec[1] ~= ARGV[3] or ", "")):
        yield


@_switch("tags' highest")
def _remember() -> Iterator[None]:
    """An unknown floor is settled where the poll says, whatever was published meanwhile."""
    with _script("SETTLE", ("if rec[5] and rec[5] > floor then floor = rec[5] end", "")):
        yield


@_switch("tags' floors")
def _floor() -> Iterator[None]:
    """An answer comes from a node that has the floors of the entry's own records."""

    async def above(_: TagFloors, want: RowRequest, __: Iterable[str]) -> RowRequest:
        return want

    with patch.object(TagFloors, "above", above):
        yield


@_switch("tags raise")
def _raise() -> Iterator[None]:
    """What moves a tag, or all of an owner's, leaves the record's floor."""
    with _script("INVALIDATE", ("elseif position ~= '' then", "elseif false then")):
        yield


@_switch("tokens first")
def _tokens_first() -> Iterator[None]:
    """The floors are read before the tokens."""
    answer, above = QueryCache.answer, TagFloors.above
    read: dict[Query, RowRequest] = {}

    async def floors_first(
        self: QueryCache, query: Query, bookmark: Bookmark | None
    ) -> Answered | None:
        loader: QueryLoader = self.entries._loader._source.load.__self__  # type: ignore[attr-defined]
        history = loader._floors._settler._line.history
        nothing = RowRequest("", 0, history, bookmark, fills=True)
        read[query] = await above(loader._floors, nothing, query.tags)
        return await answer(self, query, bookmark)

    async def as_read(self: TagFloors, want: RowRequest, _: Iterable[str]) -> RowRequest:
        id: EntryId = want.id
        floors = want.floor, read[id.query].floor
        known = [floor for floor in floors if floor is not None]
        return want._replace(floor=max(known) if len(known) == 2 else None)

    with (
        patch.object(QueryCache, "answer", floors_first),
        patch.object(TagFloors, "above", as_read),
    ):
        yield


@dataclass(frozen=True, slots=True, eq=False)
class _Answered(Query):
    """With its answer."""

    answer: Answered


@_switch("tokens before")
def _before() -> Iterator[None]:
    """An answer is stored under the tokens that there are when it has come."""
    answer, load = QueryCache.answer, QueryLoader.load

    async def answer_first(self: QueryCache, query: Query, bookmark: Bookmark | None) -> Answered:
        before = await self.tokens.read(query.tags, bookmark)
        found = await answer(self, query, bookmark)
        tokens = await self.tokens.read(query.tags, bookmark)
        if tokens is not None and tokens != before:
            known = _Answered(query.statement, query.name, query.tags, found)
            await self.entries.read_past_l1(entry_id(known, tokens), bookmark)
        return found

    async def known(self: QueryLoader, wanted: Sequence[RowRequest]) -> Mapping[Any, Row]:
        found: dict[Any, Row] = {}
        for want in wanted:
            query = want.id.query
            if isinstance(query, _Answered):
                found[want.id] = (str(want.id), *query.answer)
            else:
                found |= await load(self, [want])
        return found

    with (
        patch.object(QueryCache, "answer", answer_first),
        patch.object(QueryLoader, "load", known),
    ):
        yield


@_switch("fresh tokens")
def _fresh() -> Iterator[None]:
    """A tag has one token for ever."""
    original = Tokens._fresh

    def same(self: Tokens, want: RowRequest) -> Any:
        found = original(self, want)
        return (want.id, "0" * 16) if isinstance(found, tuple) else found

    with patch.object(Tokens, "_fresh", same):
        yield


RULES = (
    "tags' shapes after",
    "tags of a lost record",
    "tags of unknown shapes",
    "tags of old values",
    "tags' record anew",
    "tags' shape is there",
    "tags' settle",
    "tags' highest",
    "tags' floors",
    "tags raise",
    "tokens first",
    "tokens before",
    "fresh tokens",
)
"""The names of all of them."""
