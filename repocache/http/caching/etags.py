"""Entity tags: made so that none stands for two representations, and read from what came
(RFC 9110, 8.8.3). Pure."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

from repocache.errors import UsageError

MOST_BYTES = 8_192
"""Of all lines of one precondition; what is longer is not looked at."""
_DIGEST = 24
_OPAQUE = re.compile(rb"[\x21\x23-\x7e\x80-\xff]*")
_ELEMENT = re.compile(rb'(W/)?"([\x21\x23-\x7e\x80-\xff]*)"')


@dataclass(frozen=True, slots=True)
class EntityTag:
    """`opaque`: what stands in the quotes. `weak`: as good as equal, not byte for byte."""

    weak: bool
    opaque: bytes


class Tags(Enum):
    """What a precondition says instead of a list."""

    ANY = "*"
    """Any current representation."""
    MALFORMED = "malformed"
    """Not to be read, or longer than `MOST_BYTES`: it names nothing that is known."""


EntityTags: TypeAlias = tuple[EntityTag, ...] | Tags


@dataclass(frozen=True, slots=True, kw_only=True)
class Representation:
    """What a representation is of, beside its content.

    `url`: scheme, host, path and query. `variant`: see `vary.variant`. `subject`: whose it is,
    None: anybody's. `coding`: its Content-Encoding, empty: none.
    """

    url: bytes
    variant: bytes = b""
    subject: bytes | None = None
    coding: bytes = b""

    def parts(self) -> tuple[bytes, ...]:
        whose = (b"anybody", b"") if self.subject is None else (b"subject", self.subject)
        return (self.url, self.variant, *whose, self.coding)


def body_etag(of: Representation, body: bytes) -> bytes:
    """Strong, of the bytes that are sent: those that are coded, where there is a coding."""
    return strong(etag_of((b"body", *of.parts(), body)))


def versions_etag(of: Representation, versions: Sequence[bytes]) -> bytes:
    """Weak, of the versions of all that was read, in their order."""
    return weak(etag_of((b"versions", *of.parts(), *versions)))


def etag_of(parts: Sequence[bytes]) -> bytes:
    """A digest, 32 characters of base64url. Each part has its length before it, so that no two
    lists of parts have one."""
    digest = hashlib.blake2b(digest_size=_DIGEST)
    for part in parts:
        digest.update(b"%d:" % len(part))
        digest.update(part)
    return base64.urlsafe_b64encode(digest.digest())


def strong(digest: bytes) -> bytes:
    """`"digest"`. Raises UsageError for what cannot stand in quotes (RFC 9110, etagc)."""
    if not _OPAQUE.fullmatch(digest):
        raise UsageError(f"an ETag cannot be of {digest!r}: give visible characters and no quotes")
    return b'"%s"' % digest


def weak(digest: bytes) -> bytes:
    """`W/"digest"`. Raises UsageError as `strong` does."""
    return b"W/" + strong(digest)


def parse(text: bytes) -> EntityTag | None:
    """One entity tag; None for what is none, whitespace around it included."""
    found = _ELEMENT.fullmatch(text)
    return None if found is None else EntityTag(found[1] is not None, found[2])


def listed(values: Sequence[bytes]) -> EntityTags:
    """What all lines of an `If-Match` or `If-None-Match` name. One thing that is no entity tag, and
    all of it is malformed: a proxy may have read it otherwise."""
    if sum(map(len, values)) + len(values) > MOST_BYTES:
        return Tags.MALFORMED
    text = b",".join(values)
    if text.strip(b" \t") == b"*":
        return Tags.ANY
    found: list[EntityTag] = []
    at = 0
    while True:
        at = _after(text, at, b" \t,")  # empty members are no members (5.6.1.2)
        if at == len(text):
            return tuple(found) if found else Tags.MALFORMED
        element = _ELEMENT.match(text, at)
        if element is None:
            return Tags.MALFORMED
        found.append(EntityTag(element[1] is not None, element[2]))
        at = _after(text, element.end(), b" \t")
        if at < len(text) and text[at : at + 1] != b",":
            return Tags.MALFORMED


def strongly_equal(one: EntityTag, other: EntityTag) -> bool:
    """Neither is weak, and they are the same (RFC 9110, 8.8.3.2)."""
    return not one.weak and not other.weak and one.opaque == other.opaque


def weakly_equal(one: EntityTag, other: EntityTag) -> bool:
    """They are the same, weak or not (RFC 9110, 8.8.3.2)."""
    return one.opaque == other.opaque


def _after(text: bytes, at: int, passed: bytes) -> int:
    """The next place whose byte is none of these."""
    while at < len(text) and text[at] in passed:
        at += 1
    return at
