"""One select whose answer is cached: what it is called there, and what its answer depends on.

Owns the name of an entry. It says the statement, its values, the types of what it gives, and the
tokens of its tags: an answer is found as long as none of these has moved, and no longer.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy.engine import Dialect
from sqlalchemy.sql.selectable import SelectBase

from repocache.cache.entry import Row
from repocache.codec.anything import pack_rows, unpack_rows
from repocache.errors import CodecError
from repocache.keys import KeyOwner, Keys, owner_beside
from repocache.queries.shape import Shape

MOST_STRUCTURES = 512


@dataclass(frozen=True, slots=True, eq=False)
class Query:
    """`statement`: gives columns. `name`: of it with its values. `tags`: the keys of its tags, each
    with its shape; None: the application's own."""

    statement: SelectBase
    name: bytes
    tags: Mapping[str, Shape | None]


class EntryId(str):
    """The id of an entry, with the query that it answers."""

    __slots__ = ("query",)

    query: Query


def entry_id(query: Query, tokens: Sequence[str]) -> EntryId:
    """Under these tokens of its tags."""
    digest = hashlib.blake2b(query.name, digest_size=20)
    for token in tokens:
        digest.update(token.encode())
    found = EntryId(digest.hexdigest())
    found.query = query
    return found


class QueryNames:
    """Names statements with their values, the same in every process. Statements of one structure
    are compiled once, as SQLAlchemy does with what it executes."""

    def __init__(self, dialect: Dialect, most: int = MOST_STRUCTURES) -> None:
        """`most`: structures that are remembered."""
        self._dialect = dialect
        self._most = most
        self._known: OrderedDict[object, bytes] = OrderedDict()

    def name(self, statement: SelectBase, *more: object) -> bytes:
        """`more`: what its entry is made by besides."""
        key = statement._generate_cache_key()  # noqa: SLF001 - there is no public way to ask
        if key is None:
            compiled = statement.compile(dialect=self._dialect)
            return _digest(self._structure(statement), sorted(compiled.params.items()), more)
        structure = self._known.get(key.key)
        if structure is None:
            structure = self._known[key.key] = self._structure(statement)
            if len(self._known) > self._most:
                self._known.popitem(last=False)
        values = [bind.effective_value for bind in key.bindparams]
        return _digest(structure, values, getattr(key, "params", None), more)

    def _structure(self, statement: SelectBase) -> bytes:
        """The text, and the types of what it gives: a release that has another type for a column
        reads nothing of this one."""
        compiled = statement.compile(dialect=self._dialect)
        return _digest(str(compiled), [str(each.type) for each in statement.selected_columns])


def _digest(*parts: object) -> bytes:
    text = "\0".join(map(repr, parts)).encode(errors="surrogatepass")
    return hashlib.blake2b(text, digest_size=20).digest()


class EntryKeys(Keys):
    """Of one repository's entries."""

    __slots__ = ()

    def __init__(self, owner: KeyOwner) -> None:
        super().__init__(owner, (str,))

    def text(self, id: Any) -> str:
        return f"{self.prefix}:{id}"


class EntryCodec:
    """A row is an entry's id, the names of its columns, and its rows."""

    def encode(self, row: Row) -> bytes:
        return pack_rows(row)

    def decode(self, payload: bytes) -> Row:
        found = unpack_rows(payload)
        if not isinstance(found, list) or len(found) != 3:
            raise CodecError("an entry of a query is an id, names and rows")
        id, names, rows = found
        if not isinstance(names, list) or not isinstance(rows, list):
            raise CodecError("an entry of a query has lists of names and of rows")
        width = len(names)
        if not all(isinstance(row, list) and len(row) == width for row in rows):
            raise CodecError("a row of a query has as many values as it has names")
        return (id, tuple(names), tuple(map(tuple, rows)))


def entry_owner(owner: KeyOwner) -> KeyOwner:
    """Of the entries of a repository, given by its own owner."""
    return owner_beside(owner, "queries")


def id_of_entry(row: Row) -> Any:
    """Of such a row."""
    return row[0]
