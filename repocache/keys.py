"""Who owns which key: `KeyOwner` makes the keys of one repository, `KeySpace` refuses two owners of
one prefix.

Owns the text of a key, its bucket, and the way back from text to id. Where a key lives in Redis is
`records`' affair.
"""

from __future__ import annotations

import datetime
import re
import uuid
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, unquote

from repocache.errors import ConfigurationError, InvalidId, OwnerClash
from repocache.scope import Scope

BUCKETS = 1024
KEY_FORMAT = 2
"""Counts changes of `bucket_of`, `owner_bucket` and of the key text: it is part of the namespace in
Redis."""

LONGEST = 1_024
"""Characters of a key's text that a cache keeps. Ids come from anybody, and real ones are far
shorter: PostgreSQL indexes no more than some 2,700 bytes."""
PREFIX_FORM = r"[a-z][a-z0-9_-]{0,63}"
KEY_FORM = rf"{PREFIX_FORM}(?::[A-Za-z0-9_.~%-]*)+"
"""Regular expressions of what `KeyOwner` takes for a prefix, and of what `Keys.text` makes."""

_PREFIX = re.compile(PREFIX_FORM)


def bucket_of(text: str) -> int:
    """The bucket of a key's text, the same in every process and release (CRC-32, modulo 1,024)."""
    return zlib.crc32(text.encode()) & (BUCKETS - 1)


def owner_bucket(prefix: str) -> int:
    """The bucket of an owner's own record, which has its generation: one of 1,024 behind those of
    keys, the same in every process and release."""
    return BUCKETS + bucket_of(prefix)


@dataclass(frozen=True, slots=True)
class Follow:
    """A table that an owner follows by key: `Follow("article_tag", key="article_id")`.

    `key`: the column of the followed table that holds the owner's id; a tuple of columns, in the
    key's order, where the id is composite. Raises ConfigurationError for anything else.
    """

    table: str
    key: str | tuple[str, ...]

    def __post_init__(self) -> None:
        given: tuple[object, ...] = (self.table, *self.columns)
        if len(given) < 2 or not all(isinstance(name, str) and name for name in given):
            raise ConfigurationError(
                f"{self!r}: give a table's name, and a column's name or a tuple of them"
            )

    @property
    def columns(self) -> tuple[str, ...]:
        return self.key if isinstance(self.key, tuple) else (self.key,)


@dataclass(frozen=True, slots=True)
class KeyOwner:
    """Declares that a repository makes all keys that begin with `prefix`.

    `prefix`: lower-case letters, digits, `_` and `-`, at most 64, unique in the database.
    `follows`: tables whose writes may change this owner's rows behind the ORM's back
    (`ON DELETE CASCADE`, database triggers): any write to one that is named invalidates the whole
    owner, and to a `Follow` the keys in its rows. `None` (the default) derives them from the
    foreign keys' `ON DELETE` and `ON UPDATE` actions in the metadata and from what `derived`
    attributes read; a tuple states exactly these.
    `scope`: whose rows they are, of which a reader sees those of one value alone: it is part of
    each key, before the id.

    Raises ConfigurationError for a prefix of another form.
    """

    prefix: str
    follows: tuple[str | Follow, ...] | None = None
    scope: Scope | None = None

    def __post_init__(self) -> None:
        if not _PREFIX.fullmatch(self.prefix):
            raise ConfigurationError(
                f"KeyOwner(prefix={self.prefix!r}): a prefix is 1 to 64 of a-z, 0-9, '_' and '-', "
                "first a letter"
            )
        named = isinstance(self.follows, tuple) and all(
            isinstance(each, str | Follow) for each in self.follows
        )
        if self.follows is not None and not named:
            raise ConfigurationError(
                f"KeyOwner({self.prefix!r}, follows={self.follows!r}): give a tuple of table "
                "names, or of "
                'Follow("table", key="column")'
            )
        if not isinstance(self.scope, Scope | None):
            raise ConfigurationError(
                f"KeyOwner({self.prefix!r}, scope={self.scope!r}): give a Scope, as in "
                'Scope("tenant", setting="app.tenant")'
            )


def owner_beside(owner: KeyOwner, name: str) -> KeyOwner:
    """Of what is cached beside an owner's rows: `user-by_email` for the lookup `by_email` of
    `user`. What the owner follows may change it too; a key of the owner is none of its own, so all
    of it is told. Raises ConfigurationError for a name that is no prefix."""
    follows = owner.follows
    if follows is not None:
        follows = tuple(each.table if isinstance(each, Follow) else each for each in follows)
    return KeyOwner(f"{owner.prefix}-{name}", follows)


_SHOWN = 200


def shown(id: object) -> str:
    """An id as a message has it: cut, and Python does not print an int of more than 4,300
    digits."""
    try:
        return cut(repr(id))
    except ValueError:
        return f"<{type(id).__name__} of thousands of digits>"


def cut(text: str) -> str:
    """As much of a text from outside as a message shows."""
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}... ({len(text)} characters)"


def _digits(part: int) -> str:
    try:
        return str(part)
    except ValueError as error:
        raise InvalidId(f"an id {shown(part)} has no key: no column holds it ({error})") from error


_WRITERS: Mapping[type, Callable[[Any], str]] = {
    int: _digits,
    # A text that no database takes (a lone surrogate) has a key all the same: there is no such row.
    str: lambda part: quote(part, safe="", errors="surrogatepass"),
    uuid.UUID: lambda part: part.hex,
    bytes: lambda part: part.hex(),
    datetime.date: lambda part: part.isoformat(),
}
_READERS: Mapping[type, Callable[[str], Any]] = {
    int: int,
    str: lambda part: unquote(part, errors="surrogatepass"),
    uuid.UUID: uuid.UUID,
    bytes: bytes.fromhex,
    datetime.date: datetime.date.fromisoformat,
}
KEY_TYPES = tuple(_WRITERS)
"""The types that a part of an id may have."""


class Keys:
    """The keys of one owner: `prefix:part` or `prefix:part:part`, and back.

    `types`: the exact type of each primary-key column, in order. `make`: builds a composite id (a
    NamedTuple class or `tuple`) from its parts; for a single column it is not used. An id of
    another type or arity raises InvalidId: `"7"`, `7`, `True` and a UUID's text must never become
    one key by accident. `plain_type`: the type of an id of one column, None for a composite one.
    """

    __slots__ = (
        "_readers",
        "_varies",
        "_writer",
        "_writers",
        "follows",
        "make",
        "plain_type",
        "prefix",
        "types",
    )

    def __init__(
        self, owner: KeyOwner, types: Sequence[type], make: Callable[[Iterable[Any]], Any] = tuple
    ) -> None:
        for each in types:
            if each not in _WRITERS:
                raise ConfigurationError(
                    f"owner {owner.prefix!r}: a key column of type {each.__name__} has no key "
                    f"text; supported are {', '.join(t.__name__ for t in KEY_TYPES)}"
                )
        self.prefix = owner.prefix
        self.follows = owner.follows
        self.types = tuple(types)
        self.plain_type = self.types[0] if len(self.types) == 1 else None
        self.make = make
        self._varies = not {str, bytes}.isdisjoint(types)
        self._writers = tuple(_WRITERS[each] for each in types)
        self._readers = tuple(_READERS[each] for each in types)
        self._writer = self._writers[0]

    def check(self, id: object) -> None:
        """Raise InvalidId unless `id` has exactly the key's types and arity. A UUID may be of the
        driver's class."""
        types = self.types
        if len(types) == 1:
            if _has_type(id, types[0]):
                return
        elif isinstance(id, tuple) and len(id) == len(types) and all(map(_has_type, id, types)):
            return
        wanted = (
            types[0].__name__ if len(types) == 1 else f"({', '.join(t.__name__ for t in types)})"
        )
        raise InvalidId(f"{self.prefix}: the id {shown(id)} is not of the key's type {wanted}")

    def distinct(self, ids: Iterable[Any]) -> list[Any]:
        """The ids, each once, in the order given. Raises InvalidId, also for one id where many are
        asked for."""
        if isinstance(ids, str | bytes) or not isinstance(ids, Iterable):
            raise InvalidId(f"{self.prefix}: ids={shown(ids)}: give a list of ids")
        given = list(ids)
        for id in given:
            self.check(id)
        return list(dict.fromkeys(given))

    def text(self, id: Any) -> str:
        """The key of `id`, for example `user:42` or `order:1:2`. Raises InvalidId."""
        if type(id) is self.plain_type:
            return f"{self.prefix}:{self._writer(id)}"
        self.check(id)
        if self.plain_type is not None:
            return f"{self.prefix}:{self._writer(id)}"
        return ":".join(
            (self.prefix, *(write(part) for write, part in zip(self._writers, id, strict=True)))
        )

    @property
    def may_be_long(self) -> bool:
        """Whether a key of these types can be longer than caches keep."""
        return self._varies

    def is_long(self, id: Any) -> bool:
        """Whether the key is longer than caches keep: what is read by it is read from the database.
        Raises InvalidId."""
        return self._varies and len(self.text(id)) > LONGEST

    def id(self, text: str) -> Any:
        """The id of a key that `text` made. Raises OwnerClash if the key is not this owner's."""
        prefix, *parts = text.split(":")
        if prefix != self.prefix or len(parts) != len(self._readers):
            raise OwnerClash(f"{text!r} is not a key of owner {self.prefix!r}")
        try:
            values = [read(part) for read, part in zip(self._readers, parts, strict=True)]
        except ValueError as error:
            raise OwnerClash(f"{text!r} is not a key of owner {self.prefix!r}") from error
        return values[0] if len(values) == 1 else self.make(values)


def _has_type(part: object, wanted: type) -> bool:
    return type(part) is wanted or (wanted is uuid.UUID and isinstance(part, uuid.UUID))


class KeySpace:
    """All owners of one database. Raises OwnerClash if two of them claim one prefix."""

    def __init__(self, owners: Iterable[Keys]) -> None:
        self._owners: dict[str, Keys] = {}
        for keys in owners:
            if keys.prefix in self._owners:
                raise OwnerClash(
                    f"two repositories own the prefix {keys.prefix!r}: every key has exactly one "
                    "owner, give one of them another KeyOwner prefix"
                )
            self._owners[keys.prefix] = keys

    def owner(self, text: str) -> Keys:
        """The owner of a key. Raises OwnerClash if nobody owns it."""
        prefix = text.partition(":")[0]
        try:
            return self._owners[prefix]
        except KeyError:
            raise OwnerClash(f"nobody owns the key {text!r}") from None

    def __iter__(self) -> Iterator[Keys]:
        return iter(self._owners.values())

    def __contains__(self, prefix: str) -> bool:
        return prefix in self._owners
