"""What a tag is called at an edge, and which tags a commit purges. Pure.

A page carries the tags of what it was made of: a key (`user:7`, `tag--post:ab12cd:5`), an owner as
a whole (`user`), all that any key of an owner changes (`user:*`), everything of the application
(`*`).
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field

from repocache.errors import ConfigurationError
from repocache.invalidation.batch import Batch
from repocache.keys import PREFIX_FORM
from repocache.tags import stands_for_none

EVERYTHING = "*"
"""The tag that every page has."""
LONGEST = 128
"""Bytes of a name. Edges take more; what a page carries of them is bounded (`header.folded`)."""
SHORTEST_SECRET = 16
"""Bytes."""
DIGEST = 12
"""Bytes of a digest, two characters each. Two tags that share one are purged together, which is
never wrong."""
_APP = re.compile(r"[A-Za-z0-9_-]{1,32}")
_PLAIN = re.compile(rf"\*|{PREFIX_FORM}(?::\*|(?::[A-Za-z0-9_.~%-]*)+)?")
"""No space, comma, quote, backslash or line end: none of what separates names in `Surrogate-Key`,
`Cache-Tag` and `xkey`, or has to be escaped in a String of RFC 9651 (section 3.3.3)."""
_DIGESTED = "~"
"""Begins a digest, and no tag."""


def any_of(owner: str) -> str:
    """The tag of what any key of an owner changes. `owner`: its prefix."""
    return f"{owner}:{EVERYTHING}"


@dataclass(frozen=True, slots=True)
class TagNames:
    """How tags are called at the edges: `shop.user:7`.

    `app`: 1 to 32 ASCII letters, digits, `_` and `-`; of several applications behind one edge each
    has another. `secret`: of at least 16 bytes; names are digests with it, so that who sees a
    header learns no id from it. It is the same in every process, and a new one makes all pages
    unknown that edges keep. Without one, only what is too long or unusual is a digest.

    Raises ConfigurationError.
    """

    app: str
    secret: str | None = field(default=None, repr=False)
    _key: bytes = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not _is_app(self.app):
            raise ConfigurationError(
                f"TagNames(app={self.app!r}): give 1 to 32 ASCII letters, digits, '_' and '-'"
            )
        if self.secret is not None and not _is_secret(self.secret):
            raise ConfigurationError(
                f"TagNames(secret=...): a secret is a text of at least {SHORTEST_SECRET} bytes, "
                "or None"
            )
        secret = (self.secret or "").encode()
        object.__setattr__(self, "_key", hashlib.blake2b(secret, digest_size=32).digest())

    def name(self, tag: str) -> str:
        """What the tag is called: at most 128 visible ASCII characters, none of which separates
        names in any header. Two tags never share one, digests that are equal by chance aside."""
        plain = f"{self.app}.{tag}"
        if self.secret is None and len(plain) <= LONGEST and _PLAIN.fullmatch(tag):
            return plain
        digest = hashlib.blake2b(
            tag.encode(errors="surrogatepass"),
            digest_size=DIGEST,
            key=self._key,
            person=b"repocache edges",
        )
        return f"{self.app}.{_DIGESTED}{digest.hexdigest()}"


def _is_app(given: object) -> bool:
    return isinstance(given, str) and _APP.fullmatch(given) is not None


def _is_secret(given: object) -> bool:
    return isinstance(given, str) and len(given.encode()) >= SHORTEST_SECRET


def tag_of(name: str) -> str | None:
    """The tag that a name is plainly made of; None: it is a digest."""
    tag = name.partition(".")[2]
    return None if tag.startswith(_DIGESTED) else tag


def purged(batch: Batch) -> tuple[str, ...]:
    """The tags of all pages that the batch may have changed, in order, each once.

    `batch`: as it is delivered. One that a commit has just made does not yet know whether somebody
    has registered other shapes than it has told (`invalidation.registered_tags`).
    """
    tags: list[str] = []
    for owner in sorted(batch.keys):
        keys = [text for text in batch.keys[owner] if not stands_for_none(owner, text)]
        if keys and owner not in batch.owners:
            tags += [*sorted(keys), any_of(owner)]
    tags += sorted(batch.owners)
    if batch.anew:
        tags.append(EVERYTHING)
    return tuple(tags)
