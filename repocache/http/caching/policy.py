"""What a route's responses may be kept for, and by whom: RFC 9111, 5861, 8246 and 9213 as frozen
values."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import ClassVar, TypeAlias

from repocache.http.caching.refusals import (
    checked_flags,
    checked_names,
    checked_seconds,
    checked_tags,
    refuse_guesses,
    refuse_pairs,
    refused,
)

TARGET = "CDN-Cache-Control"
"""All shared caches that speak RFC 9213 heed it (section 3.1)."""


class Etag(Enum):
    """What a response's ETag is made of.

    `VERSIONS`: of the versions of what was read; weak, since bytes may differ (RFC 9110, 8.8.1).
    `BODY`: of the bytes that are sent; strong. `NONE`: there is none.
    """

    VERSIONS = "versions"
    BODY = "body"
    NONE = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class CdnControl:
    """What a CDN is told instead of `Cache-Control` (RFC 9213): it heeds `name` alone then, and
    browsers never do. A targeted field is sent with a `Public` answer only.

    `name`: `CDN-Cache-Control`, or that of one vendor, as `Cloudflare-CDN-Cache-Control`.
    `max_age`, `stale_while_revalidate`, `stale_if_error`: seconds. `no_cache`: ask each time;
    `no_store`: keep nothing. Raises ConfigurationError for contradictions.
    """

    max_age: int | None = None
    stale_while_revalidate: int | None = None
    stale_if_error: int | None = None
    no_cache: bool = False
    no_store: bool = False
    must_revalidate: bool = False
    name: str = TARGET

    def __post_init__(self) -> None:
        checked_names(self, "name", (self.name,))
        lower = self.name.lower()
        if not lower.endswith("-cache-control"):
            raise refused(
                self, "name", self.name, f"give {TARGET!r}, or a vendor's own of its form"
            )
        checked_seconds(self, "max_age", "stale_while_revalidate", "stale_if_error")
        checked_flags(self, "no_cache", "no_store", "must_revalidate")
        refuse_pairs(self)
        if self.max_age is None and not (self.no_cache or self.no_store):
            raise refused(
                self,
                "max_age",
                None,
                "give seconds, no_cache=True or no_store=True: an empty field is ignored",
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Public:
    """Anybody's answer: browsers, proxies and CDNs may keep it and give it to whoever asks.

    So it must not depend on who asks. `Cookie` and `Authorization` are taken out of what the
    application is shown, unless it `sees` them. What may be kept, and until when:

    - `max_age`: seconds that it is fresh; 0: stale at once, and kept to be asked for.
    - `s_maxage`: the same for shared caches, which never serve it stale then (RFC 9111, 5.2.2.10).
    - `no_cache`: keep it, and ask before each use (5.2.2.4). It is not `no-store`.
    - `stale_while_revalidate`, `stale_if_error`: seconds past `max_age` in which it may be given
      while it is asked for, or if that fails (RFC 5861).
    - `must_revalidate`: never stale, whoever is away (5.2.2.2); `proxy_revalidate`: so for shared
      caches alone (5.2.2.8).
    - `immutable`: not asked for while it is fresh, not even by a reload (RFC 8246).

    `vary`: headers that the answer may depend on. `sees`: what the application reads though its
    answer depends on it no more than the URL tells: headers, or parts of the scope, as
    `scope:client`, and `scope:state.tenant` for `request.state.tenant`. `cdn`: what CDNs are told
    instead. `etag`: see `Etag`. `tags`: the application's own, 1 to 128 characters. `scopes`: of
    rows, whose value the URL tells. `pages`: whole responses are kept, as `Database(pages=...)`
    says. Raises ConfigurationError for contradictions; docs/http.md has them all.
    """

    max_age: int | None = None
    s_maxage: int | None = None
    stale_while_revalidate: int | None = None
    stale_if_error: int | None = None
    no_cache: bool = False
    must_revalidate: bool = False
    proxy_revalidate: bool = False
    immutable: bool = False
    vary: tuple[str, ...] = ()
    cdn: CdnControl | None = None
    etag: Etag = Etag.VERSIONS
    tags: tuple[str, ...] = ()
    scopes: tuple[str, ...] = ()
    sees: tuple[str, ...] = ()
    pages: bool = False

    def __post_init__(self) -> None:
        checked_seconds(self, "max_age", "s_maxage", "stale_while_revalidate", "stale_if_error")
        checked_flags(self, "no_cache", "must_revalidate", "proxy_revalidate", "immutable", "pages")
        _check_rest(self)
        for name in self.vary:
            if name.lower() in ("cookie", "authorization"):
                raise refused(
                    self,
                    "vary",
                    name,
                    "an answer that depends on who asks is not public: make it Private(...)",
                )
        given: object = self.cdn
        if given is not None and not isinstance(given, CdnControl):
            raise refused(self, "cdn", given, "give CdnControl(...), or None")


@dataclass(frozen=True, slots=True, kw_only=True)
class Private:
    """One user's answer: his browser may keep it, no shared cache may (RFC 9111, 5.2.2.7).

    It is not secret for that: the browser writes it to its disk; what must not lie there is
    `NoStore()`. The arguments are those of `Public`, without what speaks to shared caches: a
    targeted field would override `private` in the CDN. Raises ConfigurationError for
    contradictions.
    """

    cdn: ClassVar[None] = None
    max_age: int | None = None
    stale_while_revalidate: int | None = None
    stale_if_error: int | None = None
    no_cache: bool = False
    must_revalidate: bool = False
    immutable: bool = False
    vary: tuple[str, ...] = ()
    etag: Etag = Etag.VERSIONS
    tags: tuple[str, ...] = ()
    scopes: tuple[str, ...] = ()
    sees: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        checked_seconds(self, "max_age", "stale_while_revalidate", "stale_if_error")
        checked_flags(self, "no_cache", "must_revalidate", "immutable")
        _check_rest(self)


@dataclass(frozen=True, slots=True)
class NoStore:
    """Nobody's to keep, not even the browser's: `no-store` (RFC 9111, 5.2.2.5).

    `no-cache` is another thing: it keeps, and asks. An answer that is not stored has no ETag, and
    is never a 304.
    """

    vary: ClassVar[tuple[str, ...]] = ()
    cdn: ClassVar[None] = None
    etag: ClassVar[Etag] = Etag.NONE
    tags: ClassVar[tuple[str, ...]] = ()
    scopes: ClassVar[tuple[str, ...]] = ()
    sees: ClassVar[tuple[str, ...]] = ()


RoutePolicy: TypeAlias = Public | Private | NoStore


def _check_rest(policy: Public | Private) -> None:
    """What both have."""
    checked_names(policy, "vary", policy.vary)
    checked_names(policy, "sees", policy.sees)
    twice = {name.lower() for name in policy.vary} & {name.lower() for name in policy.sees}
    if twice:
        raise refused(
            policy, "sees", sorted(twice), "it is in vary, so the answer does depend on it"
        )
    checked_tags(policy, policy.tags, policy.scopes)
    given: object = policy.etag
    if not isinstance(given, Etag):
        raise refused(policy, "etag", given, "give Etag.VERSIONS, Etag.BODY or Etag.NONE")
    refuse_pairs(policy)
    refuse_guesses(policy)
