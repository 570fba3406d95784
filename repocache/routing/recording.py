"""What a response was made of: the rows and tags that were read meanwhile, and whether that is all.

A record of what was read, each with what it was at that moment, is enough to say later whether the
same would be made again: if every read would be answered as it was, every later read was asked the
same too ("verifying traces", Mokhov, Mitchell, Peyton Jones: Build Systems a la Carte, 2018). Pure.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from repocache.cache.entry import CachedRow
from repocache.errors import CodecError
from repocache.keys import bucket_of
from repocache.tags import named_tag

ANOTHER = "another database was read, whose commits are told elsewhere"
SLOTS = tuple(named_tag(f"repocache revalidate {slot}") for slot in range(16))
"""Tags of the application's own by which something is made anew though nothing of it has changed:
each of what a response was made of has one of them."""
MOST_READ = 10_000
"""Rows and tags of one response that are remembered."""


class RecordedOwner(NamedTuple):
    """An owner whose rows responses may be made of. `text`: of an id, the key. `version`: of an
    answer; see `TieredCache.version`. `hindrance`: why nothing made of its rows may be kept, empty:
    it may. `absent`: the same for what says that there is no such row. `scope`: whose rows they
    are, empty: everybody's."""

    text: Callable[[Any], str]
    version: Callable[[CachedRow], bytes]
    hindrance: str = ""
    absent: str = ""
    scope: str = ""


class Trace:
    """What was read. `rows`: by owner's prefix, the version of each key that was asked for;
    `tokens`: of tags; `shapes`: the texts of the tags' shapes. Never changed. `memo`: what somebody
    has worked out of it in this process."""

    __slots__ = ("_tags", "_version", "memo", "rows", "shapes", "tokens")

    def __init__(
        self,
        rows: Mapping[str, Mapping[str, bytes]],
        tokens: Mapping[str, str],
        shapes: Mapping[str, str],
    ) -> None:
        self.rows = rows
        self.tokens = tokens
        self.shapes = shapes
        self.memo: dict[type, Any] = {}
        self._tags: frozenset[str] | None = None
        self._version = b""

    @property
    def tags(self) -> frozenset[str]:
        """Of which a commit tells when one of these changes."""
        if self._tags is None:
            self._tags = frozenset(self.tokens).union(*self.rows.values())
        return self._tags

    @property
    def version(self) -> bytes:
        """The same for the same keys with the same values, and for them alone."""
        if not self._version:
            self._version = _digest(self.rows, self.tokens)
        return self._version


def _digest(rows: Mapping[str, Mapping[str, bytes]], tokens: Mapping[str, str]) -> bytes:
    """No key, tag or token has a NUL, and all versions are of one length: so no two traces have
    one text."""
    parts = [
        b"%s\0%s" % (key.encode(), version)
        for owner in sorted(rows)
        for key, version in sorted(rows[owner].items())
    ]
    parts.append(b"\0")
    parts += [f"{tag}\0{token}\0".encode() for tag, token in sorted(tokens.items())]
    return hashlib.blake2b(b"".join(parts), digest_size=16).digest()


def slot_of(tag: str) -> str:
    """The tag by which what was made of this one is made anew."""
    return SLOTS[bucket_of(tag) % len(SLOTS)]


NOTHING_READ = Trace({}, {}, {})


class Recording:
    """Follows one response, until `end`. `since`: of the changes that this process had heard of
    when it began (`RecentChanges.number`).

    `why_unknown`: why it depends on what nobody tells of, empty: it does not. `why_behind`: why it
    may show less than what was invalidated before it began. `of`: the caches of its database.
    """

    def __init__(self, of: object, owners: Mapping[str, RecordedOwner], since: int) -> None:
        self.since = since
        self._of = of
        self.why_unknown = ""
        self.why_behind = ""
        #: Tokens of `SLOTS`, read before all else; empty where nothing is kept.
        self.slots: Mapping[str, str] = {}
        self._owners = owners
        self._rows: dict[tuple[str, Any], CachedRow] = {}
        self._tokens: dict[str, str] = {}
        self._shapes: dict[str, str] = {}
        self._left = MOST_READ
        self._ended = False

    def row(self, of: object, owner: str, id: Any, cached: CachedRow) -> None:
        """See `ReadRecorder`. What belongs to no repository, as tokens and entries of queries do,
        is told in another way."""
        if of is not self._of:
            return self.unknown(ANOTHER)
        if self._ended or owner not in self._owners:
            return None
        had = self._rows.setdefault((owner, id), cached)
        if had is cached:
            self._count(1)
        elif had.row != cached.row:
            self.behind(f"{self._owners[owner].text(id)} has changed meanwhile")

    def tokens(self, of: object, tokens: Mapping[str, str], shapes: Mapping[str, str]) -> None:
        """See `ReadRecorder`."""
        if of is not self._of:
            return self.unknown(ANOTHER)
        if self._ended:
            return None
        self._count(len(tokens))
        for tag, token in tokens.items():
            if self._tokens.setdefault(tag, token) != token:
                self.behind(f"{tag} has changed meanwhile")
        self._shapes.update(shapes)

    def behind(self, why: str) -> None:
        """See `ReadRecorder`."""
        if not self._ended:
            self.why_behind = self.why_behind or why

    def unknown(self, why: str) -> None:
        """See `ReadRecorder`."""
        if not self._ended:
            self.why_unknown = self.why_unknown or why

    def end(self) -> None:
        """What is read from now on, as by a task that goes on, is no part of it."""
        self._ended = True

    def _count(self, more: int) -> None:
        self._left -= more
        if self._left < 0:
            self.unknown(f"more than {MOST_READ} rows and tags were read")
            self._rows.clear()
            self._tokens.clear()
            self._ended = True

    @property
    def scopes(self) -> frozenset[str]:
        """Names of the scopes whose rows were read."""
        names = {self._owners[owner].scope for owner, _ in self._rows}
        return frozenset(name for name in names if name)

    def trace(self) -> Trace:
        """What was read until now. Sets `why_unknown` where not all of it is told of."""
        rows: dict[str, dict[str, bytes]] = {}
        for (owner, id), cached in self._rows.items():
            known = self._owners[owner]
            why = known.hindrance or (known.absent if cached.row is None else "")
            if why:
                self.why_unknown = self.why_unknown or why
                continue
            try:
                rows.setdefault(owner, {})[known.text(id)] = known.version(cached)
            except CodecError as error:
                self.why_unknown = self.why_unknown or str(error)
        tokens, shapes = dict(self._tokens), dict(self._shapes)
        if self.slots:
            read = (*tokens, *(key for each in rows.values() for key in each))
            for slot in set(map(slot_of, read)):
                tokens[slot] = self.slots[slot]
                shapes[slot] = ""
        return Trace(rows, tokens, shapes)
