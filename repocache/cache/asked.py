"""One id that L1 had not, on its way to the other tiers."""

from __future__ import annotations

from collections.abc import Awaitable

from repocache.bookmark import Bookmark
from repocache.cache.belief import BucketView
from repocache.cache.local_store import LocalKey


class Asked:
    """What was believed when Redis was asked for a key. `reply`: on its way, None: Redis was not
    asked. `views`, `prefix`, `moved`: the bucket's view and the owner's, the beginning of the key's
    name under them, and how often the two had been invalidated by then. `direct`: past the cache.
    `refused`: digest of a value that could not be read."""

    __slots__ = (
        "bookmark",
        "bucket",
        "direct",
        "key",
        "moved",
        "prefix",
        "refused",
        "reply",
        "text",
        "views",
    )

    def __init__(self, key: LocalKey, text: str, bucket: int, bookmark: Bookmark | None) -> None:
        self.key = key
        self.text = text
        self.bucket = bucket
        self.bookmark = bookmark
        self.direct = False
        self.refused = ""
        self.reply: Awaitable[bytes | None] | None = None
        self.views: tuple[BucketView, BucketView] | None = None
        self.prefix = ""
        self.moved = 0
