"""The texts of tags: what cached queries depend on, as keys of an owner that each table has for
them. Pure.

A tag is a key like any other: to invalidate it is what it is for every key, by a commit, its outbox
row, the relay and the channel. What is cached under it is a token. Which shapes a table's tags have
is `queries`' affair; who says which of them a commit knew, is told here, by a key that stands for
no tag.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple
from urllib.parse import quote

from repocache.errors import UsageError
from repocache.keys import PREFIX_FORM, TAGS, KeyOwner, Keys, shown

NAMED = KeyOwner(TAGS, follows=())
"""Of the application's own tags, as `work.invalidate("home")` names them."""
_KNOWN = "%known"
"""No part of a key has this text: a percent sign is followed by two digits there."""
LONGEST_NAME = 128
"""Characters of an application's tag."""
_PLAIN = re.compile(r"[a-z0-9_]+")


def tag_owner(schema: str, table: str) -> KeyOwner:
    """Of the tags of a table: `tag--post`, `tag--sales-order`. `schema`: "public" is not said."""
    parts = [table] if schema == "public" else [schema, table]
    prefix = NAMED.prefix + "-".join(parts)
    if not all(map(_PLAIN.fullmatch, parts)) or not re.fullmatch(PREFIX_FORM, prefix):
        text = f"{schema}\0{table}".encode()
        prefix = f"{NAMED.prefix}-{hashlib.blake2b(text, digest_size=12).hexdigest()}"
    return KeyOwner(prefix)


class TagKeys(Keys):
    """Of one owner of tags. An id is the key's text itself."""

    __slots__ = ()

    def __init__(self, owner: KeyOwner) -> None:
        super().__init__(owner, (str,))

    def text(self, id: Any) -> str:
        return str(id)

    def id(self, text: str) -> str:
        return text


def shape_id(shape: str) -> str:
    """By which keys name a shape."""
    return hashlib.blake2b(shape.encode(), digest_size=6).hexdigest()


def named_tag(name: object) -> str:
    """The key of an application's tag. Raises UsageError for what is no name."""
    if not isinstance(name, str) or not 0 < len(name) <= LONGEST_NAME:
        raise UsageError(
            f"tag {shown(name)}: give a text of 1 to {LONGEST_NAME} characters, as in "
            '`work.invalidate("home")`'
        )
    return f"{NAMED.prefix}:{quote(name, safe='', errors='surrogatepass')}"


def known_shapes(owner: str, shapes: Iterable[str]) -> str:
    """The key that says of which shapes, by their ids, a statement told the tags. `owner`: its
    prefix."""
    return f"{_begin(owner)}{'.'.join(sorted(shapes))}"


def stands_for_none(owner: str, text: str) -> bool:
    """Whether this key of an owner of tags says which shapes were known, and is no tag. `owner`:
    its prefix."""
    return text.startswith(_begin(owner))


def _begin(owner: str) -> str:
    return f"{owner}:{_KNOWN}:"


class ToldTags(NamedTuple):
    """Of one owner: the tags that moved, if no other shapes are registered than the `known`."""

    tags: frozenset[str]
    known: frozenset[str]

    def among(self, registered: Iterable[str]) -> frozenset[str] | None:
        """The tags of these shapes, given by their ids. None: of one of them nobody told, so that
        all of the owner's may have moved."""
        listed = frozenset(registered)
        if not listed <= self.known:
            return None
        return frozenset(tag for tag in self.tags if tag.split(":", 2)[1] in listed)


def told_tags(keys: Mapping[str, Iterable[str]]) -> dict[str, ToldTags]:
    """Of the owners of tags among these, by their prefixes. What several statements knew at their
    times is what all of them did."""
    found: dict[str, ToldTags] = {}
    for owner, texts in keys.items():
        begin = _begin(owner)
        said = [text for text in texts if text.startswith(begin)]
        if said:
            known = frozenset.intersection(
                *(frozenset(filter(None, text.removeprefix(begin).split("."))) for text in said)
            )
            found[owner] = ToldTags(frozenset(texts).difference(said), known)
    return found
