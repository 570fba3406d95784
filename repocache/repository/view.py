"""Declares views on a repository, and reads by them: `card = View(UserCard)`, then
`users.card.get(7)`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar, cast, overload

from repocache.cache.entry import CachedRow, Row
from repocache.mapping.joined_view import JoinedShape
from repocache.repository.access import Access
from repocache.repository.binding import Binding
from repocache.repository.relations import branches
from repocache.repository.repository import Repository

I = TypeVar("I")  # noqa: E741  # as in Repository
V = TypeVar("V")


class View(Generic[V]):
    """Declares a frozen view on a repository: `card = View(UserCard)`, then `users.card.get(7)`.

    `shape`: a frozen `msgspec.Struct`, dataclass or Pydantic model whose fields are named as mapped
    attributes; one object, shared by all callers. A field may be named as a relationship, its
    annotation another such shape (`author: AuthorCard | None`, `comments: tuple[CommentCard,
    ...]`): then each call makes its own, of entities that are read with `load=`. Checked when the
    database is built: ConfigurationError for fields that are unknown or can be changed in place.
    """

    def __init__(self, shape: type[V]) -> None:
        self.shape = shape
        self._name = ""

    def __set_name__(self, owner: type[object], name: str) -> None:
        self._name = name

    @overload
    def __get__(self, repository: None, owner: type[object]) -> View[V]: ...

    @overload
    def __get__(self, repository: Repository[Any, I], owner: type[object]) -> BoundView[I, V]: ...

    def __get__(
        self, repository: Repository[Any, I] | None, owner: type[object]
    ) -> View[V] | BoundView[I, V]:
        if repository is None:
            return self
        binding, access = repository._binding, repository._access  # noqa: SLF001  # one declaration
        kind = JoinedView if self.shape in binding.joined else BoundView
        bound: BoundView[I, V] = kind(binding, access, self.shape)
        repository.__dict__[self._name] = bound  # found there from now on, without this call
        return bound


class BoundView(Generic[I, V]):
    """A view of one repository's rows."""

    def __init__(self, binding: Binding[Any], access: Access[Any], shape: type[V]) -> None:
        self._access = access
        self._check = binding.ids.check
        self._distinct = binding.ids.distinct
        self._plain_type = binding.ids.plain_type
        self._peek = access.peek
        self._shape = shape
        self._make: Callable[[Row], V] = binding.shapes.get(shape, _none)

    async def get(self, id: I) -> V | None:
        """The view of this row, or None. Raises as `Repository.get`."""
        if type(id) is not self._plain_type:
            self._check(id)
        cached = self._peek(id) or (await self._access.cached_rows((id,)))[id]
        try:
            # A cast would be one more call.
            return cached.shapes[self._shape]  # type: ignore[no-any-return]
        except KeyError:
            return self._of(cached)

    async def get_many(self, ids: Sequence[I]) -> dict[I, V]:
        """The views of the rows that exist, in the order asked."""
        cached_rows = await self._access.cached_rows(self._distinct(ids))
        views = ((id, self._of(cached)) for id, cached in cached_rows.items())
        return {id: view for id, view in views if view is not None}

    def _of(self, cached: CachedRow) -> V | None:
        try:
            return cast("V", cached.shapes[self._shape])
        except KeyError:
            if cached.row is None:
                return None
        view = cached.shapes[self._shape] = self._make(cached.row)
        return view


class JoinedView(BoundView[I, V]):
    """A view over several tables: made of entities, for each call."""

    def __init__(self, binding: Binding[Any], access: Access[Any], shape: type[V]) -> None:
        super().__init__(binding, access, shape)
        self._joined: JoinedShape[V] = binding.joined[shape]
        self._branches = branches(binding.plan.mapper, self._joined.load)

    async def get(self, id: I) -> V | None:
        """As of a view of one table; what it leads to is read as by `load=`."""
        return (await self.get_many((id,))).get(id)

    async def get_many(self, ids: Sequence[I]) -> dict[I, V]:
        """The views of the rows that exist, in the order asked; one round trip a tier and level."""
        found = await self._access.entities(self._distinct(ids))
        if found:
            await self._access.bring(found.values(), self._branches)
        return {id: self._joined.make(entity) for id, entity in found.items()}


def _none(_row: Row) -> Any:
    """Of a view that no row makes alone."""
    raise AssertionError
