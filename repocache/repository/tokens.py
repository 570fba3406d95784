"""The tokens of tags, through both tiers: an answer is cached under those that were there before
the database was asked (protocol/queries.md, rules 2 and 3).

A token is what is cached under a tag. Whoever misses one makes a fresh one; no two are the same, so
that what was cached under a lost one is never found again.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from repocache.bookmark import Bookmark
from repocache.cache.entry import Row, RowRequest, Source
from repocache.cache.l1_reader import Session
from repocache.cache.policies import CacheAside
from repocache.cache.process_cache import ProcessCache
from repocache.cache.signature import Signing
from repocache.cache.tiered import TieredCache
from repocache.errors import CodecError
from repocache.keys import KeyOwner
from repocache.queries.shape import Shape
from repocache.repository.registrar import Registrar
from repocache.tags import NAMED, TagKeys

FORM = "token1"
"""In the place of the fingerprint of a row's shape."""
TTL = 86_400.0
"""Seconds that a token lives in Redis: longer than what is cached under it, as a rule; a token that
ends costs a miss."""


class TokenCodec:
    """A row is a tag's key and its token."""

    def encode(self, row: Row) -> bytes:
        return " ".join(row).encode()

    def decode(self, payload: bytes) -> Row:
        tag, _, token = payload.decode(errors="replace").partition(" ")
        if not token:
            raise CodecError("there is no token")
        return (tag, token)


def tag_of(row: Row) -> Any:
    """The id of such a row."""
    return row[0]


class Tokens:
    """Those of one database. `owners`: the prefixes of all owners of tags. `local_ttl`: seconds in
    this process."""

    def __init__(  # noqa: PLR0913  # keyword-only
        self,
        owners: Iterable[str],
        shared: ProcessCache,
        registrar: Registrar,
        *,
        local_ttl: float,
        signing: Signing,
        session_of: Callable[[], Session | None],
    ) -> None:
        self._registrar = registrar
        policy = CacheAside(TTL, local_ttl, 0.0)
        fingerprint = signing.fingerprint(FORM)
        self._caches: dict[str, TieredCache] = {}
        for owner in owners:
            source = Source(
                TagKeys(KeyOwner(owner)),
                fingerprint,
                policy,
                TokenCodec(),
                self._load,
                tag_of,
                signing.signature(fingerprint),
            )
            self._caches[owner] = TieredCache(source, shared, session_of)

    def at_hand(self, tags: Sequence[str]) -> list[str] | None:
        """Their tokens, if this process has all of them."""
        found = []
        for tag in tags:
            cached = self._caches[_prefix(tag)].peek_for_caller(tag)
            if cached is None or cached.row is None:
                return None
            found.append(cached.row[1])
        return found

    async def read(
        self, tags: Mapping[str, Shape | None], bookmark: Bookmark | None
    ) -> list[str] | None:
        """Their tokens. `tags`: with their shapes; None: of the application's own. None: a shape
        could not be registered, so that nobody would tell its tags."""
        if not await self._registrar.register(each for each in tags.values() if each is not None):
            return None
        return await self.known(tuple(tags), bookmark)

    async def known(self, tags: Sequence[str], bookmark: Bookmark | None) -> list[str] | None:
        """Those of tags whose shapes were registered by whoever named them. None: one is lost, and
        this process has not registered its shape."""
        by_owner: dict[str, list[str]] = {}
        for tag in tags:
            by_owner.setdefault(_prefix(tag), []).append(tag)
        found: dict[str, str] = {}
        try:
            for owner, some in by_owner.items():
                rows = await self._caches[owner].get_many(some, bookmark)
                found |= {tag: each.row[1] for tag, each in rows.items() if each.row is not None}
        except CodecError:
            return None
        return [found[tag] for tag in tags] if found.keys() >= set(tags) else None

    async def _load(self, wanted: Sequence[RowRequest]) -> Mapping[Any, Row | CodecError]:
        """Fresh ones, under the leases that were taken. Not where the shape is not registered in
        the record that the lease was taken in: there nobody would tell the tag.

        1. A shape is registered; 2. its record is lost; 3. a lease is taken in the next one.
        """
        return {want.id: self._fresh(want.id) for want in wanted}

    def _fresh(self, tag: str) -> Row | CodecError:
        owner, shape, *_ = tag.split(":")
        if owner != NAMED.prefix and not self._registrar.has(owner, (shape,)):
            return CodecError(f"{tag}: its shape is not registered any more")
        return (tag, secrets.token_hex(8))


def _prefix(tag: str) -> str:
    return tag.partition(":")[0]
