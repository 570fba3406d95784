"""The text of a value in a tag.

Owns that two values which the database finds equal have one text. Pure.
"""

from __future__ import annotations

import datetime
import hashlib
import uuid
from collections.abc import Callable, Mapping
from decimal import Decimal
from enum import Enum
from typing import Any
from urllib.parse import quote

from repocache.errors import CodecError

LONGEST_VALUE = 64
"""Characters of a value's text; of a longer one its hash is taken."""
_MOST_ZEROS = 40
_PLAIN = 10**_MOST_ZEROS
_MOST_BITS = 8_192


def value_text(value: object) -> str:
    """Of a value that is not None, as SQLAlchemy gives it in a row: at most 64 characters of
    letters, digits and `_ . - ~ % #`.

    An integer and a Decimal of the same number have one text, and so have moments that are the
    same in two time zones. Raises CodecError for a value of another type than a key may have, and
    for what is no number.
    """
    text = _writer(type(value))(value)
    if len(text) <= LONGEST_VALUE:
        return text
    return "#" + digest(text)


def digest(text: str) -> str:
    """32 hexadecimal digits that no two texts share in practice (BLAKE2b)."""
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def quoted(text: str) -> str:
    """The text in letters, digits and `_ . - ~ %` alone."""
    if text.isascii() and text.isalnum():
        return text
    return quote(text, safe="", errors="surrogatepass")


def _writer(kind: type) -> Callable[[Any], str]:
    found = _WRITERS.get(kind)
    if found is not None:
        return found
    for known in (Enum, uuid.UUID):  # an enumeration, and the UUID of a driver
        if issubclass(kind, known):
            return _WRITERS[known]
    return _none


def _none(value: object) -> str:
    raise CodecError(f"a value of type {type(value).__name__} cannot be in a tag")


def _number(value: Decimal) -> str:
    if not value.is_finite():
        raise CodecError(f"{value} is no number")
    sign, digits, exponent = value.as_tuple()
    assert isinstance(exponent, int)
    written = "".join(map(str, digits)).lstrip("0")
    significant = written.rstrip("0")
    if not significant:
        return "0"
    exponent += len(written) - len(significant)
    mark = "-" if sign else ""
    if 0 <= exponent <= _MOST_ZEROS:
        return f"{mark}{significant}{'0' * exponent}"
    return f"{mark}{significant}e{exponent}"


def _integer(value: int) -> str:
    """As of the same Decimal."""
    if -_PLAIN < value < _PLAIN:
        return str(value)
    if value.bit_length() > _MOST_BITS:
        raise CodecError("an integer of thousands of digits is in no column")
    return _number(Decimal(value))


def _moment(value: datetime.datetime) -> str:
    try:
        zoned = value if value.tzinfo is None else value.astimezone(datetime.UTC)
    except OverflowError as error:
        raise CodecError(f"{value} has no moment in UTC") from error
    return quote(zoned.replace(fold=0).isoformat(), safe="")


_WRITERS: Mapping[type, Callable[[Any], str]] = {
    int: _integer,
    Decimal: _number,
    str: quoted,
    bool: lambda value: "true" if value else "false",
    uuid.UUID: lambda value: value.hex,
    bytes: lambda value: value.hex(),
    datetime.date: lambda value: value.isoformat(),
    datetime.datetime: _moment,
    Enum: lambda value: quoted(value.name),
}
