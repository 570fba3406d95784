"""Causal sessions over HTTP: an ASGI middleware, how bookmarks travel, and hooks for httpx.

Needs no framework. `repocache.fastapi` has what FastAPI alone can have.
"""

from repocache.http.asgi import HeaderLine, Scope
from repocache.http.bypass import Bypass
from repocache.http.carriers import Carrier, Cookie, Header
from repocache.http.hooks import bookmark_hooks
from repocache.http.middleware import CausalMiddleware
from repocache.http.subject import Subject

__all__ = [
    "Bypass",
    "Carrier",
    "CausalMiddleware",
    "Cookie",
    "Header",
    "HeaderLine",
    "Scope",
    "Subject",
    "bookmark_hooks",
]
