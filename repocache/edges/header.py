"""How a page says its tags to an edge, and how many of them. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from repocache.edges.names import EVERYTHING, TagNames, any_of

AROUND = 4
"""Bytes that a name costs beside its own, at the most: quotes, a comma and a space."""


@dataclass(frozen=True, slots=True)
class TagHeader:
    """A header that an edge reads tags from. `name`: in lower case. `between`: what separates two
    names. `quoted`: each is a String of RFC 9651. `most_bytes`: of its value, that the edge reads.
    """

    name: str
    between: str
    quoted: bool = False
    most_bytes: int = 8_000

    def lines(self, names: Iterable[str]) -> list[tuple[bytes, bytes]]:
        """One header line with these names, sorted, each once; none without names. `names`: as
        `TagNames` makes them."""
        each = sorted(set(names))
        if not each:
            return []
        shown = [f'"{name}"' for name in each] if self.quoted else each
        return [(self.name.encode("ascii"), self.between.join(shown).encode("ascii"))]


SURROGATE_KEY = TagHeader("surrogate-key", " ", most_bytes=16_000)
"""Fastly, and others after it."""
CACHE_TAG = TagHeader("cache-tag", ",", most_bytes=16_000)
"""Cloudflare."""
XKEY = TagHeader("xkey", " ", most_bytes=8_000)
"""Varnish (vmod_xkey). A line of more than `http_resp_hdr_len`, by default 8 KiB, makes Varnish
refuse the response."""
CACHE_GROUPS = TagHeader("cache-groups", ", ", quoted=True, most_bytes=8_000)
"""RFC 9875, section 2. A cache need not keep more than 32 groups of 32 characters."""


def folded(
    tags: Iterable[str], most: int, most_bytes: int, names: TagNames
) -> frozenset[str] | None:
    """The tags that a page carries which was made of these: `*`, each owner as a whole, and its
    keys, or, folded, `owner:*`. None: even so they are too many, and no edge may keep the page.

    `tags`: keys, owners as a whole, `owner:*`, `*`. `most`: names in the header. `most_bytes`: of
    its value, in the header that takes most for it. Owners with most keys are folded first: a page
    that many keys change is likely to be changed by another soon. Whatever is folded, a batch that
    has one of these keys purges one of the tags that are left.
    """
    keys = keys_by_owner(tags)
    carried = {EVERYTHING, *keys}
    for owner, texts in keys.items():
        carried |= {any_of(owner)} if any_of(owner) in texts else texts
    sizes = {tag: len(names.name(tag)) + AROUND for tag in carried}
    count, size = len(sizes), sum(sizes.values())
    for owner in sorted(keys, key=lambda each: (-len(keys[each]), each)):
        if count <= most and size <= most_bytes:
            break
        texts = keys[owner]
        if not texts or any_of(owner) in texts:
            continue
        carried = carried.difference(texts) | {any_of(owner)}
        count += 1 - len(texts)
        size += len(names.name(any_of(owner))) + AROUND - sum(sizes[text] for text in texts)
    return frozenset(carried) if count <= most and size <= most_bytes else None


def keys_by_owner(tags: Iterable[str]) -> dict[str, set[str]]:
    """Keys, and `owner:*`, by their owners; of one that is there as a whole alone none."""
    found: dict[str, set[str]] = {}
    for tag in tags:
        if tag != EVERYTHING:
            owner, colon, _ = tag.partition(":")
            keys = found.setdefault(owner, set())
            if colon:
                keys.add(tag)
    return found
