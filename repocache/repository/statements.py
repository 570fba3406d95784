"""From statements to queries: what an answer is called, and which tags it has.

Owns that what was looked at before is not looked at again: the structure of a statement once, as
SQLAlchemy does with what it compiles, and a statement with its values as long as it is asked for.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Mapping, Sequence
from typing import Any, Protocol

from sqlalchemy.engine import Dialect
from sqlalchemy.sql.selectable import SelectBase

from repocache.queries.shape import Shape
from repocache.repository.cached_queries import CachingWish
from repocache.repository.query import Query, digest_of

MOST_STRUCTURES = 512
MOST_STATEMENTS = 4_096
"""Those that are remembered; the one that was asked for longest ago is forgotten first."""


class Analyst(Protocol):
    """Knows what a statement depends on."""

    def tags(self, statement: SelectBase, tables: Sequence[object] = ()) -> Mapping[str, Shape]:
        """The keys of its tags, with their shapes. `tables`: that what is textual in it reads.
        Raises QueryRefused for what cannot be cached."""
        ...

    def words(self, statement: SelectBase, tables: Sequence[object] = ()) -> Sequence[str]:
        """The same for people. Raises QueryRefused."""
        ...


class Statements:
    """Of one repository."""

    def __init__(self, analyst: Analyst, dialect: Dialect) -> None:
        self.analyst = analyst
        self._dialect = dialect
        self._structures: OrderedDict[object, bytes] = OrderedDict()
        self._queries: OrderedDict[object, Query] = OrderedDict()

    def query(self, statement: SelectBase, wish: CachingWish) -> Query:
        """`wish`: with its `ttl`. Raises QueryRefused for what cannot be cached."""
        key = statement._generate_cache_key()  # noqa: SLF001 - there is no public way to ask
        if key is None:
            compiled = statement.compile(dialect=self._dialect)
            values = sorted(compiled.params.items())
            return self._made(statement, self._structure(statement), values, wish)
        values = [bind.effective_value for bind in key.bindparams]
        given = getattr(key, "params", None) or None  # of SQLAlchemy 2.1
        kept_under = _exactly(key.key, values, given, wish)
        found = self._queries.get(kept_under)
        if found is not None:
            self._queries.move_to_end(kept_under)
            return found
        structure = self._structures.get(key.key)
        if structure is None:
            structure = self._structure(statement)
            _keep(self._structures, key.key, structure, MOST_STRUCTURES)
        found = self._made(statement, structure, [values, given], wish)
        if kept_under is not None:
            _keep(self._queries, kept_under, found, MOST_STATEMENTS)
        return found

    def _made(
        self, statement: SelectBase, structure: bytes, values: object, wish: CachingWish
    ) -> Query:
        """The tables are in the name of the entry by their tags' tokens."""
        tags: dict[str, Shape | None] = {**self.analyst.tags(statement, wish.tables)}
        tags.update(dict.fromkeys(wish.named))
        return Query(statement, digest_of(structure, values, wish.ttl, wish.named), tags)

    def _structure(self, statement: SelectBase) -> bytes:
        """The text, and the types of what it gives: a release that has another type for a column
        reads nothing of this one."""
        compiled = statement.compile(dialect=self._dialect)
        return digest_of(str(compiled), [str(each.type) for each in statement.selected_columns])


def _exactly(
    key: object, values: Sequence[Any], given: object, wish: CachingWish
) -> Hashable | None:
    """A statement with its values, each of its type: 1 is not True. None: one is not hashable, as
    a list of them that is long."""
    if given is not None:
        return None
    exact: list[Any] = []
    for value in values:
        whole = tuple(value) if type(value) is list else value
        if type(whole) is tuple:
            exact.append(tuple(map(type, whole)))
        exact += [type(value), whole]
    found = key, tuple(exact), wish
    try:
        hash(found)
    except TypeError:
        return None
    return found


def _keep(known: OrderedDict[object, Any], key: object, value: object, most: int) -> None:
    known[key] = value
    if len(known) > most:
        known.popitem(last=False)
