"""Causal sessions over HTTP: an ASGI middleware, how bookmarks travel, hooks for httpx, a page that
shows how a database stands, and what answers may be kept for.

Needs no framework. `repocache.fastapi` has what FastAPI alone can have.
"""

from repocache.http.asgi import HeaderLine, Scope
from repocache.http.bypass import Bypass
from repocache.http.caching import CdnControl, Etag, NoStore, Private, Public, Routes
from repocache.http.caching.middleware import HttpCache
from repocache.http.caching.warming import warm
from repocache.http.carriers import Carrier, Cookie, Header
from repocache.http.hooks import bookmark_hooks
from repocache.http.middleware import CausalMiddleware
from repocache.http.status_page import StatusPage
from repocache.http.subject import Subject
from repocache.pages.policy import PageCache

__all__ = [
    "Bypass",
    "Carrier",
    "CausalMiddleware",
    "CdnControl",
    "Cookie",
    "Etag",
    "Header",
    "HeaderLine",
    "HttpCache",
    "NoStore",
    "PageCache",
    "Private",
    "Public",
    "Routes",
    "Scope",
    "StatusPage",
    "Subject",
    "bookmark_hooks",
    "warm",
]
