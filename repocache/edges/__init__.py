"""Edges: caches in front of the service, what tags are called there, and how they are purged.

What is here needs no library. Each edge is a module of its own, and needs the extra
`sqlalchemy-repocache[edges]`, as the purger does: `repocache.edges.varnish`, `.nginx`, `.fastly`,
`.cloudflare`, `.webhook`, `.purger`.
"""

from repocache.edges.header import (
    CACHE_GROUPS,
    CACHE_TAG,
    SURROGATE_KEY,
    XKEY,
    TagHeader,
    folded,
)
from repocache.edges.names import EVERYTHING, TagNames, any_of, purged

__all__ = [
    "CACHE_GROUPS",
    "CACHE_TAG",
    "EVERYTHING",
    "SURROGATE_KEY",
    "XKEY",
    "TagHeader",
    "TagNames",
    "any_of",
    "folded",
    "purged",
]
