"""The tokens of tags, through both tiers: an answer is cached under those that were there before
the database was asked (protocol/queries.md, rules 2 and 3).

A token is what is cached under a tag. Whoever misses one makes a fresh one; no two are the same, so
that what was cached under a lost one is never found again.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from repocache.bookmark import Bookmark
from repocache.cache.entry import Row, RowRequest, Source
from repocache.cache.freshness import LONGEST_ASIDE, Freshness
from repocache.cache.l1_reader import Session
from repocache.cache.policies import LONGEST_TTL, CacheAside
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
LIVES = 2.0
"""How often a token lives as long in Redis as what is cached under it: one that ends costs a miss,
and one that nobody asks for again must not stay, since values in conditions come from anybody."""


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
    """Those of one database. `owners`: the prefixes of all owners of tags. `ttl`, `local_ttl`:
    seconds that the longest of what is cached under them lives in Redis, and in this process.
    `renewed`: they are renewed as long as they are asked for, since what is cached under them may
    be."""

    def __init__(  # noqa: PLR0913  # keyword-only
        self,
        owners: Iterable[str],
        shared: ProcessCache,
        registrar: Registrar,
        *,
        ttl: float,
        local_ttl: float,
        renewed: bool,
        signing: Signing,
        session_of: Callable[[], Session | None],
    ) -> None:
        self._registrar = registrar
        self.shared = shared
        life = min(LIVES * ttl, LONGEST_TTL)
        stale = min(life, LONGEST_ASIDE) if renewed else 0.0
        freshness = Freshness(stale_while_revalidate=stale)
        policy = CacheAside(life, local_ttl, 0.0, freshness=freshness)
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
                conditional=renewed,
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
        """Their tokens, those of all tables at once. `tags`: with their shapes; None: of the
        application's own. None: nothing can be cached under them now, since a shape could not be
        registered, so that nobody would tell its tags, or a token not be kept."""
        if not await self._registrar.register(each for each in tags.values() if each is not None):
            return None
        by_owner: dict[str, list[str]] = {}
        for tag in tags:
            by_owner.setdefault(_prefix(tag), []).append(tag)
        read = [self._caches[owner].get_many(some, bookmark) for owner, some in by_owner.items()]
        found: dict[str, str] = {}
        for answer in await asyncio.gather(*read, return_exceptions=True):
            if isinstance(answer, CodecError):
                return None
            if isinstance(answer, BaseException):
                raise answer
            found |= {tag: each.row[1] for tag, each in answer.items() if each.row is not None}
        return [found[tag] for tag in tags]

    async def _load(self, wanted: Sequence[RowRequest]) -> Mapping[Any, Row | CodecError]:
        """Fresh ones, under the leases that were taken: without one it would be nobody else's, and
        nothing be found under it. Not where the shape is not registered in the record that the
        lease was taken in: there nobody would tell the tag.

        1. A shape is registered; 2. its record is lost; 3. a lease is taken in the next one.
        """
        return {want.id: self._fresh(want) for want in wanted}

    def _fresh(self, want: RowRequest) -> Row | CodecError:
        if want.kept is not None:
            return want.kept  # nothing has moved it: it is the same for longer
        tag: str = want.id
        owner, shape, *_ = tag.split(":")
        if not want.fills:
            return CodecError(f"{tag}: its token cannot be kept now")
        if owner != NAMED.prefix and not self._registrar.has(owner, (shape,)):
            return CodecError(f"{tag}: its shape is not registered any more")
        return (tag, secrets.token_hex(8))


def _prefix(tag: str) -> str:
    return tag.partition(":")[0]
