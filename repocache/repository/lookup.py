"""Declares a lookup on a repository: `by_email = Lookup(User.email)`, then
`users.by_email.get("ada@x.org")`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Generic, TypeVar, overload

from sqlalchemy.orm import InstrumentedAttribute

from repocache.errors import ConfigurationError, NotFound
from repocache.keys import shown
from repocache.repository.access import Access
from repocache.repository.binding import Binding
from repocache.repository.relations import Relations, branches
from repocache.repository.repository import Repository

M = TypeVar("M")
V = TypeVar("V")
A = TypeVar("A")
B = TypeVar("B")


class Lookup(Generic[V]):
    """Finds entities by another unique column than the primary key, or by several together:
    `Lookup(User.email)`, `Lookup(Page.tenant, Page.slug)`.

    Which id a value leads to is cached under keys of its own (`user-by_email:...`), for as long as
    the repository's policy says; the entity itself is kept once, under its id. A value that no row
    has is kept as such (`negative_ttl`). Of a lookup on several columns the value is a tuple.

    Refused when the database is built: MappingRefused for columns in which two values may mean one
    row, ConfigurationError for what is no column attribute; and when it is entered: MappingRefused
    if no unique constraint or index covers the columns.
    """

    @overload
    def __init__(self: Lookup[A], first: InstrumentedAttribute[A | None], /) -> None: ...

    @overload
    def __init__(self: Lookup[A], first: InstrumentedAttribute[A], /) -> None: ...

    @overload
    def __init__(
        self: Lookup[tuple[A, B]],
        first: InstrumentedAttribute[A | None],
        second: InstrumentedAttribute[B | None],
        /,
    ) -> None: ...

    @overload
    def __init__(
        self: Lookup[tuple[A, B]],
        first: InstrumentedAttribute[A | None],
        second: InstrumentedAttribute[B],
        /,
    ) -> None: ...

    @overload
    def __init__(
        self: Lookup[tuple[A, B]],
        first: InstrumentedAttribute[A],
        second: InstrumentedAttribute[B | None],
        /,
    ) -> None: ...

    @overload
    def __init__(
        self: Lookup[tuple[A, B]],
        first: InstrumentedAttribute[A],
        second: InstrumentedAttribute[B],
        /,
    ) -> None: ...

    @overload
    def __init__(
        self: Lookup[tuple[Any, ...]],
        first: InstrumentedAttribute[Any],
        second: InstrumentedAttribute[Any],
        third: InstrumentedAttribute[Any],
        /,
        *more: InstrumentedAttribute[Any],
    ) -> None: ...

    def __init__(self, *attributes: Any) -> None:
        if not attributes or not all(isinstance(e, InstrumentedAttribute) for e in attributes):
            raise ConfigurationError(
                f"Lookup{attributes!r}: give column attributes of the mapped class, as in "
                "Lookup(User.email)"
            )
        if len(set(attributes)) < len(attributes):
            raise ConfigurationError(f"Lookup({', '.join(map(str, attributes))}): one is twice")
        self.attributes: tuple[InstrumentedAttribute[Any], ...] = attributes
        self.name = ""

    def __set_name__(self, owner: type[object], name: str) -> None:
        self.name = name

    @overload
    def __get__(self, repository: None, owner: type[object]) -> Lookup[V]: ...

    @overload
    def __get__(self, repository: Repository[M, Any], owner: type[object]) -> BoundLookup[M, V]: ...

    def __get__(
        self, repository: Repository[M, Any] | None, owner: type[object]
    ) -> Lookup[V] | BoundLookup[M, V]:
        if repository is None:
            return self
        # As of a view: one file, one thing.
        bound: BoundLookup[M, V] = BoundLookup(repository._binding, repository._access, self.name)  # noqa: SLF001
        repository.__dict__[self.name] = bound  # found there from now on, without this call
        return bound


class BoundLookup(Generic[M, V]):
    """A lookup of one repository. Every read raises InvalidId for a value that has not exactly the
    columns' types (None has not), and what `Repository.get` raises."""

    def __init__(self, binding: Binding[M], access: Access[M], name: str) -> None:
        plan, self._keys = binding.lookups[name].plan, binding.lookups[name].values
        self._plain_type = self._keys.plain_type
        self._matches = access.lookups[name]
        self._peek_id = self._matches.peek
        self._peek = access.peek
        self._id_of = plan.ids.entity
        self._holds = plan.holds
        self._entity = binding.plan.entity
        self._model = binding.plan.model
        self._mapper = binding.plan.mapper
        self._bring = access.bring

    async def get(self, value: V, *, load: Relations = ()) -> M | None:
        """The entity that has this value, or None. `load`: as of `Repository.get`."""
        if type(value) is not self._plain_type:
            self._keys.check(value)
        if load:
            return (await self.get_many((value,), load=load)).get(value)
        known = self._peek_id(value)
        if known is not None:
            if known.row is None:
                return None
            cached = self._peek(self._id_of(known.row))
            row = None if cached is None else cached.row
            if row is not None and self._holds(row, value):
                return self._entity(row)
        return (await self._matches.by_value((value,))).get(value)

    async def require(self, value: V, *, load: Relations = ()) -> M:
        """The entity. Raises NotFound."""
        found = await self.get(value, load=load)
        if found is None:
            raise NotFound(
                f"{self._model.__name__} with {self._keys.prefix} {shown(value)} does not exist"
            )
        return found

    async def get_many(self, values: Sequence[V], *, load: Relations = ()) -> dict[V, M]:
        """The entities that have these values, in the order asked."""
        wanted = branches(self._mapper, load)
        found = await self._matches.by_value(self._keys.distinct(values))
        if found and wanted:
            await self._bring(found.values(), wanted)
        return found

    async def exists(self, value: V) -> bool:
        """Whether a row has this value."""
        return await self.get(value) is not None
