"""One select whose answer is cached: what it is called there, and what its answer depends on.

Owns the name of an entry. It says the statement, its values, the types of what it gives, and the
tokens of its tags: an answer is found as long as none of these has moved, and no longer.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy.sql.selectable import SelectBase

from repocache.cache.entry import Row
from repocache.codec.anything import pack_rows, unpack_rows
from repocache.errors import CodecError
from repocache.keys import KeyOwner, Keys, owner_beside
from repocache.queries.shape import Shape


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


def shape_texts(tags: Mapping[str, Shape | None]) -> dict[str, str]:
    """Of tags' shapes; empty of the application's own."""
    return {tag: "" if shape is None else shape.text for tag, shape in tags.items()}


def digest_of(*parts: object) -> bytes:
    """The same in every process for parts that `repr` tells apart."""
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
