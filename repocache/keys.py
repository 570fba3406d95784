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
from decimal import Decimal
from enum import Enum
from typing import Any, NamedTuple
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
TAGS = "tag--"
"""With which the keys of all tags begin."""

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


def _number(part: Decimal) -> str:
    """Equal ones have one text, of as many characters as they have digits."""
    sign, digits, exponent = part.as_tuple()
    if not isinstance(exponent, int):
        raise InvalidId(f"an id {part} has no key: it is no number")
    significant = "".join(map(str, digits)).rstrip("0")
    if not significant.strip("0"):
        return "0"
    exponent += len(digits) - len(significant)
    return f"{'-' if sign else ''}{significant.lstrip('0')}e{exponent}"


def _moment(part: datetime.datetime) -> str:
    """Equal ones have one text."""
    try:
        zoned = part if part.tzinfo is None else part.astimezone(datetime.UTC)
    except OverflowError as error:
        raise InvalidId(f"an id {part} has no key: {error}") from error
    return quote(zoned.replace(fold=0).isoformat(), safe="")


_WRITERS: Mapping[type, Callable[[Any], str]] = {
    int: _digits,
    # A text that no database takes (a lone surrogate) has a key all the same: there is no such row.
    str: lambda part: quote(part, safe="", errors="surrogatepass"),
    uuid.UUID: lambda part: part.hex,
    bytes: lambda part: part.hex(),
    datetime.date: lambda part: part.isoformat(),
    bool: lambda part: "true" if part else "false",
    datetime.datetime: _moment,
    Decimal: _number,
}
_READERS: Mapping[type, Callable[[str], Any]] = {
    int: int,
    str: lambda part: unquote(part, errors="surrogatepass"),
    uuid.UUID: uuid.UUID,
    bytes: bytes.fromhex,
    datetime.date: datetime.date.fromisoformat,
    bool: lambda part: {"true": True, "false": False}[part],
    datetime.datetime: lambda part: datetime.datetime.fromisoformat(unquote(part)),
    Decimal: Decimal,
}
_NAMES = ", ".join([*(each.__name__ for each in _WRITERS), "an Enum"])
"""The types that a part of an id may have."""


def is_key_type(kind: object) -> bool:
    """Whether a part of an id may be of this type."""
    return isinstance(kind, type) and (kind in _WRITERS or issubclass(kind, Enum))


def key_type_names() -> str:
    """Of all such types, for messages."""
    return _NAMES


def _writer(kind: type) -> Callable[[Any], str]:
    """An enumeration's members by their names: two with one value are one member."""
    if issubclass(kind, Enum):
        return lambda part: quote(part.name, safe="")
    return _WRITERS[kind]


def _reader(kind: type) -> Callable[[str], Any]:
    if issubclass(kind, Enum):
        return lambda part: kind[unquote(part)]
    return _READERS[kind]


Form = Callable[[Any], Any]


class KeyPart(NamedTuple):
    """Of an id. `type`: exact. `form`: what the database gives for such a value, if that may be
    another; may raise anything for one that it does not take."""

    type: type
    form: Form | None = None


class Keys:
    """The keys of one owner: `prefix:part` or `prefix:part:part`, and back.

    `parts`: the exact type of each primary-key column, in order. `make`: builds a composite id (a
    NamedTuple class or `tuple`) from its parts; for a single column it is not used. An id of
    another type or arity raises InvalidId: `"7"`, `7`, `True` and a UUID's text must never become
    one key by accident. So does one that is not as the database gives it: of two ids for one row
    one would never hear of a change. `plain_type`: of an id of one column that needs no more than
    its type to be right; None: it is to be checked. `single`: the id is of one column.
    """

    __slots__ = (
        "_forms",
        "_readers",
        "_varies",
        "_writer",
        "_writers",
        "follows",
        "make",
        "parts",
        "plain_type",
        "prefix",
        "single",
        "types",
    )

    def __init__(
        self,
        owner: KeyOwner,
        parts: Sequence[type | KeyPart],
        make: Callable[[Iterable[Any]], Any] = tuple,
    ) -> None:
        given = [each if isinstance(each, KeyPart) else KeyPart(each) for each in parts]
        types = [each.type for each in given]
        for each in types:
            if not is_key_type(each):
                raise ConfigurationError(
                    f"owner {owner.prefix!r}: a key column of type {each.__name__} has no key "
                    f"text; supported are {_NAMES}"
                )
        self.prefix = owner.prefix
        self.follows = owner.follows
        self.parts = tuple(given)
        self.types = tuple(types)
        self.single = len(self.types) == 1
        forms = tuple(each.form for each in given)
        self._forms = () if set(forms) == {None} else forms
        self.plain_type = self.types[0] if self.single and not self._forms else None
        self.make = make
        self._varies = not {str, bytes}.isdisjoint(types)
        self._writers = tuple(_writer(each) for each in types)
        self._readers = tuple(_reader(each) for each in types)
        self._writer = self._writers[0]

    def check(self, id: object) -> None:
        """Raise InvalidId unless `id` has exactly the key's types and arity, and is as the database
        gives it. A UUID may be of the driver's class."""
        types = self.types
        if len(types) == 1:
            if _has_type(id, types[0]):
                if self._forms:
                    self._check_forms(id, (id,))
                return
        elif isinstance(id, tuple) and len(id) == len(types) and all(map(_has_type, id, types)):
            if self._forms:
                self._check_forms(id, id)
            return
        wanted = (
            types[0].__name__ if len(types) == 1 else f"({', '.join(t.__name__ for t in types)})"
        )
        raise InvalidId(f"{self.prefix}: the id {shown(id)} is not of the key's type {wanted}")

    def _check_forms(self, id: object, parts: Iterable[Any]) -> None:
        for part, form in zip(parts, self._forms, strict=True):
            if form is None:
                continue
            try:
                right = form(part)
            except Exception as error:
                # It is a type of the application's own.
                raise InvalidId(
                    f"{self.prefix}: the id {shown(id)} is none that the column takes: {error}"
                ) from error
            if type(right) is not type(part) or right != part:
                raise InvalidId(
                    f"{self.prefix}: for the id {shown(id)} the database has {shown(right)}, and "
                    "one row has one id: give it as the database has it"
                )

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
        if self.single:
            return f"{self.prefix}:{self._writer(id)}"
        return ":".join(
            (self.prefix, *(write(part) for write, part in zip(self._writers, id, strict=True)))
        )

    @property
    def has_forms(self) -> bool:
        """Whether an id of the right types may be none, for the database has another form of it."""
        return bool(self._forms)

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
        except (ArithmeticError, KeyError, ValueError) as error:
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
