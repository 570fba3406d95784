"""What users write: `class Users(Repository[User, int])`. Reads only; writes belong to a unit of
work.

Owns the few methods and the declaration. Where a read goes is `access`'s affair.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, Generic, Self, TypeVar

from sqlalchemy import ColumnExpressionArgument, Executable, Row, Table, func, literal, select
from sqlalchemy.orm.interfaces import ORMOption
from sqlalchemy.sql.selectable import SelectBase

from repocache.cache.policies import CacheAside, Policy
from repocache.errors import NotFound, UsageError
from repocache.keys import KeyOwner, shown
from repocache.mapping.options import MappingOptions
from repocache.repository.access import Access
from repocache.repository.binding import Binding
from repocache.repository.cached_queries import CachedQueries, CachingWish
from repocache.repository.columns import check_columns
from repocache.repository.page import Page
from repocache.repository.paging import Order, clauses, total_order
from repocache.repository.paging import after as behind
from repocache.repository.promises import check_lists, check_replicas
from repocache.repository.relations import Branch, Relations, branches
from repocache.routing.routing import ON_PRIMARY, on_replica
from repocache.tags import named_tag

M = TypeVar("M")
I = TypeVar("I")  # noqa: E741  # the id: short, since it stands in every signature


class Repository(Generic[M, I]):
    """Reads entities `M` by their id `I`. Declare `owner`; get one from `db[Users]` or, in a
    transaction, `work[Users]`.

    From `db[Users]` entities are fresh, clean, fully loaded and detached: nobody can spoil
    another's, and they are refused as the base of a write. From `work[Users]` they are the
    transaction's own.

    Every read raises InvalidId for an id that has not exactly the key's type, CodecError for a row
    that cannot be read, DatabaseUnavailable if no node can answer and the database's own errors;
    never one of the cache.
    """

    owner: ClassVar[KeyOwner]
    policy: ClassVar[Policy] = CacheAside()
    mapping: ClassVar[MappingOptions] = MappingOptions()
    queries: ClassVar[CachedQueries | None] = None

    def __init__(self, binding: Binding[M] | None = None, access: Access[M] | None = None) -> None:
        name = type(self).__name__
        if binding is None or access is None:
            raise UsageError(
                f"{name}() belongs to a database: use db[{name}], or work[{name}] in a unit of work"
            )
        self._binding = binding
        self._access = access
        self._check = binding.ids.check
        self._plain_type = binding.ids.plain_type
        self._peek = access.peek
        self._entity = binding.plan.entity

    async def get(self, id: I, *, load: Relations = ()) -> M | None:
        """The entity, or None if there is no such row. `load`: relationships to bring along, as
        `[Post.author, (Post.comments, Comment.author)]`; UsageError for what is none."""
        if type(id) is not self._plain_type:
            self._check(id)
        if load:
            return (await self.get_many((id,), load=load)).get(id)
        cached = self._peek(id)
        if cached is not None:
            return None if cached.row is None else self._entity(cached.row)
        return await self._access.entity(id)

    async def get_many(self, ids: Sequence[I], *, load: Relations = ()) -> dict[I, M]:
        """The entities that exist, in the order asked; one round trip a tier. `load`: as of
        `get`."""
        wanted = self._wanted(load)
        found = await self._access.entities(self._binding.ids.distinct(ids))
        await self._bring(found.values(), wanted)
        return found

    def _wanted(self, load: Relations) -> Sequence[Branch]:
        return branches(self._binding.plan.mapper, load)

    async def _bring(self, entities: Iterable[M], wanted: Sequence[Branch]) -> None:
        if wanted and (some := list(entities)):
            await self._access.bring(some, wanted)

    async def require(self, id: I, *, load: Relations = ()) -> M:
        """The entity. Raises NotFound. `load`: as of `get`."""
        found = await self.get(id, load=load)
        if found is None:
            raise NotFound(f"{self._binding.plan.model.__name__} {shown(id)} does not exist")
        return found

    async def find(
        self,
        *where: ColumnExpressionArgument[bool],
        order_by: Sequence[Order] = (),
        limit: int | None = None,
        after: M | None = None,
        options: Sequence[ORMOption] = (),
        load: Relations = (),
    ) -> list[M]:
        """The entities that satisfy all conditions; cached if `queries` or `cached()` says so, and
        no `options` are given.

        `order_by`: mapped columns, `.desc()` if wanted; the primary key follows, so that the order
        is total. `after`: the last entity of the page before (keyset paging), with the same
        `order_by`. `options`: SQLAlchemy's loader options, as `selectinload(User.orders)`: what
        they load is there when the entities are detached. `load`: as of `get`. Raises
        UsageError for an order that cannot be paged, or a `limit` below 1.
        """
        wanted = self._wanted(load)
        if limit is not None and limit < 1:
            raise UsageError(f"find(limit={shown(limit)}): give at least 1, or leave it out")
        access, plan = self._access, self._binding.plan
        statement = access.all_entities.options(*options) if options else access.all_rows
        statement = statement.where(*where)
        if order_by != () or limit is not None or after is not None:
            steps = total_order(plan.mapper, order_by)
            statement = statement.order_by(*clauses(steps)).limit(limit)
            if after is not None:
                statement = statement.where(behind(plan.mapper, steps, after))
        found = await (access.load if options else access.select)(statement)
        await self._bring(found, wanted)
        return found

    async def page(
        self,
        *where: ColumnExpressionArgument[bool],
        order_by: Sequence[Order] = (),
        offset: int = 0,
        limit: int,
        total: bool = False,
        load: Relations = (),
    ) -> Page[M]:
        """The entities from `offset` on, at most `limit`, with whether there are more and, if
        wanted, how many there are in all; cached as by `find`. For long lists `find(after=...)` is
        cheaper:
        the database reads, and drops, what comes before an offset.

        `order_by` and `load` as in `find`. Raises UsageError also for an `offset` below 0.
        """
        wanted = self._wanted(load)
        given: tuple[object, object] = (offset, limit)
        if not all(isinstance(each, int) for each in given) or limit < 1 or offset < 0:
            raise UsageError(
                f"page(offset={shown(offset)}, limit={shown(limit)}): give an offset of at least "
                "0 and a limit of at least 1"
            )
        steps = total_order(self._binding.plan.mapper, order_by)
        statement = self._access.all_rows.where(*where).order_by(*clauses(steps))
        items = await self._access.select(statement.offset(offset).limit(limit + 1))
        has_more = len(items) > limit
        count: int | None = None
        if total:
            ends_here = not has_more and (items or offset == 0)
            count = offset + len(items) if ends_here else await self.count(*where)
        del items[limit:]
        await self._bring(items, wanted)
        return Page(items, offset, limit, has_more, count)

    async def rows(self, statement: Executable) -> Sequence[Row[Any]]:
        """The rows of any select of columns that reads, or of a union of some, on a node that may
        answer; cached if `queries` or `cached()` says so, which raises QueryRefused for what cannot
        be. One that may write, as by calling a function that is not known to read,
        is sent to the primary, which refuses it: UsageError.

        Raises UsageError also for a select of entities: `find` gives them, and `db.reading()` a
        session that can load anything.
        """
        check_columns(statement)
        return await self._access.rows(statement)

    async def exists(self, *where: ColumnExpressionArgument[bool]) -> bool:
        """Whether any row satisfies all conditions; cached as `rows` are."""
        inner = select(literal(1)).select_from(self._binding.plan.model).where(*where)
        [(found,)] = await self._access.rows(select(inner.exists()))
        return bool(found)

    async def count(self, *where: ColumnExpressionArgument[bool]) -> int:
        """How many rows satisfy all conditions; cached as `rows` are."""
        counted = select(func.count()).select_from(self._binding.plan.model).where(*where)
        [(count,)] = await self._access.rows(counted)
        return int(count)

    def cached(
        self,
        *,
        ttl: float | None = None,
        tags: Sequence[str] = (),
        tables: Sequence[type | Table | str] = (),
    ) -> Self:
        """The same repository, whose `find`, `page`, `rows`, `exists` and `count` are cached, until
        a row is written that they depend on. `ttl`: seconds; None: as `queries` says. `tags`: the
        application's own, of which `work.invalidate(tag)` tells. `tables`: what is textual in the
        selects reads these, and any write to one of them invalidates the answers. Raises UsageError
        in a database that declares no `queries`, and where the policy says that lists are the
        primary's."""
        for name, given in (("tags", tags), ("tables", tables)):
            if isinstance(given, str):
                raise UsageError(
                    f"cached({name}={given!r}): give a sequence of texts, as in `({given!r},)`"
                )
        check_lists(type(self).__name__, self.policy)
        wish = CachingWish(ttl, tuple(map(named_tag, tags)), tuple(tables))
        return type(self)(self._binding, self._access.caching(wish))

    def explain(self, statement: SelectBase) -> Sequence[str]:
        """What invalidates the cached answer of this select: its tags, in words, a line each.
        Raises UsageError for a statement that cannot be cached, saying why and what to do."""
        return self._access.analysed(statement)

    def on_primary(self) -> Self:
        """The same repository, reading the primary past the cache, for the caller who knows
        better."""
        return type(self)(self._binding, self._binding.routed(ON_PRIMARY))

    def on_replica(self, max_lag: float | None = None) -> Self:
        """The same repository, reading only replicas, at most `max_lag` seconds behind, past the
        cache; the session's bookmark holds here too. Its reads raise DatabaseUnavailable if no
        replica may answer. Raises UsageError where the policy promises what no replica can: of
        `WriteThrough(strict=True)` and `AlwaysConsistent`."""
        check_replicas(type(self).__name__, self.policy)
        return type(self)(self._binding, self._binding.routed(on_replica(max_lag)))
