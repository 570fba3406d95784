"""What a causal session carries between requests, and its text form.

Owns the value, how two bookmarks merge, and decoding that never raises. Who obeys it: routing and
the read path.
"""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple, Protocol

import msgspec

from repocache.history import LAST, is_newer

MAX_BUCKETS = 16
"""Beyond so many written buckets the bookmark says "L1 does not count" (protocol, Words)."""
MAX_TEXT = 4096
"""Longer texts are refused unread (characters)."""


class Seen(NamedTuple):
    """The state of a bucket's record right after a write: which record, and how many invalidations
    it had counted."""

    incarnation: str
    seq: int


_AMBIGUOUS = Seen("", 0)
"""Of a bucket that was written under two records: no record is called so, so none is known to have
heard of both."""
_NOTHING: Mapping[int, Seen] = MappingProxyType({})


class Bookmark(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What a session has seen, so that its next read, anywhere, is not older.

    `history`: the line of WAL that `position` belongs to; empty where positions are not to be had.
    `position`: WAL position in bytes, or None: known to have written, not known where. `wrote`:
    bucket -> record state after the session's writes; None: too many, the session uses no cache.
    `covered`: False if an invalidation could not be delivered: the session uses no cache.
    `expires`: when its life ends, as its writer's settings have it: after that it still names its
    position, and says nothing else. `made`: when it was made; a reader's own settings may give it a
    longer life. Both are Unix times in seconds, of the primary's clock.
    """

    history: str
    position: int | None
    wrote: dict[int, Seen] | None
    covered: bool
    expires: float
    made: float = 0.0

    def encode(self, signer: TextSigner | None = None) -> str:
        """URL-safe text for a header or a cookie, at most about 1 KB; signed if a signer is
        given."""
        body = base64.urlsafe_b64encode(_ENCODER.encode(self)).rstrip(b"=").decode()
        return body if signer is None else signer.sign(body)

    @property
    def takes_cached(self) -> bool:
        """Whether a cache may answer: it was told all that the session wrote, and that can be
        checked."""
        return self.covered and self.wrote is not None

    @property
    def buckets(self) -> Mapping[int, Seen]:
        """`wrote`, empty where it is None."""
        return _NOTHING if self.wrote is None else self.wrote

    def known_to(self, bucket: int, incarnation: str, seq: int) -> bool:
        """Whether a record in this state has heard of what the session wrote in the bucket, as far
        as that is told."""
        seen = self.buckets.get(bucket)
        return seen is None or (seen.incarnation == incarnation and seen.seq <= seq)


SIGNED_BY = "."
"""Between a body, which has none, and its signature."""


class TextSigner(Protocol):
    """Signs the text of a bookmark, and says which are signed."""

    @property
    def strict(self) -> bool:
        """Whether each text that it takes is of one who knows a secret."""
        ...

    def sign(self, body: str) -> str:
        """The body, `SIGNED_BY` and a signature."""
        ...

    def unsign(self, text: str) -> str | None:
        """The body, None if it is not taken."""
        ...


class Refused(NamedTuple):
    """Why a text was not taken as a bookmark: a reason for an event, never an error to the end
    user."""

    reason: str


_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(Bookmark)


def decode(text: str | bytes, signer: TextSigner | None) -> Bookmark | Refused:
    """The bookmark in `text`, or why it is refused. Never raises, whatever the text: it is advice
    from outside. Headers of ASGI are bytes. Who has no signer takes what others have signed, too:
    they may be a step ahead.

    How long it counts is not decided here: `routing` cuts lives, and refuses none for being long.
    """
    if len(text) > MAX_TEXT:
        return Refused("too long")
    body = text if isinstance(text, str) else text.decode("ascii", errors="replace")
    if signer is None:
        body = body.partition(SIGNED_BY)[0]
    else:
        unsigned = signer.unsign(body)
        if unsigned is None:
            return Refused("signature")
        body = unsigned
    try:
        bookmark = _DECODER.decode(
            base64.b64decode(body + "=" * (-len(body) % 4), altchars=b"-_", validate=True)
        )
    except (ValueError, binascii.Error, msgspec.MsgspecError, RecursionError):
        return Refused("malformed")
    return bookmark if _is_sound(bookmark) else Refused("malformed")


def received(given: object, signer: TextSigner | None) -> Bookmark | Refused:
    """What somebody gave as a bookmark: its text, or the value, as nobody has looked at it. Never
    raises."""
    if isinstance(given, str | bytes):
        return decode(given, signer)
    if not isinstance(given, Bookmark):
        return Refused(f"a {type(given).__name__} is no bookmark")
    try:
        bookmark = msgspec.convert(msgspec.structs.astuple(given), Bookmark)
    except (msgspec.MsgspecError, ValueError, TypeError, AttributeError, RecursionError):
        return Refused("malformed")
    return bookmark if _is_sound(bookmark) else Refused("malformed")


def _is_sound(bookmark: Bookmark) -> bool:
    """Whether all that it says is within bounds."""
    wrote = bookmark.buckets
    numbers = (bookmark.position or 0, *wrote, *(seen.seq for seen in wrote.values()))
    lives = math.isfinite(bookmark.made) and not math.isnan(bookmark.expires)
    return lives and len(wrote) <= MAX_BUCKETS and all(0 <= number <= LAST for number in numbers)


def says_something(bookmark: Bookmark) -> bool:
    """Whether a bookmark asks anything of anybody."""
    return bookmark.position != 0 or bookmark.wrote != {} or not bookmark.covered


def merge(old: Bookmark | None, new: Bookmark, *, beyond: bool = False) -> Bookmark:
    """The bookmark of a session that has seen both.

    Of two histories the newer timeline's counts. Positions of two never compare, so the merged one
    is unknown, unless `beyond`: the new one was polled on the primary of a later line, which has
    all that is left of an earlier one. An unknown position stays unknown: a known one was polled
    for something else. Uncovered stays uncovered until it expires. Of a bucket written twice under
    one record the higher seq counts. Under two records none does:

    1. A session writes at the Redis of one process, then in another process at a second Redis: one
       of them is a master that was replaced, and nothing tells which.
    2. If the bookmark remembered the later record only, the earlier write, of which that one has
       not heard, could be missed at it; if the earlier one, the later write.
    """
    if old is None:
        return new
    history, position = _place(old, new, beyond=beyond)
    wrote: dict[int, Seen] | None
    if old.wrote is None or new.wrote is None:
        wrote = None
    else:
        wrote = dict(old.wrote)
        for bucket, seen in new.wrote.items():
            wrote[bucket] = _later(wrote.get(bucket), seen)
        if len(wrote) > MAX_BUCKETS:
            wrote = None
    return Bookmark(
        history=history,
        position=position,
        wrote=wrote,
        covered=old.covered and new.covered,
        expires=max(old.expires, new.expires),
        made=max(old.made, new.made),
    )


def _place(old: Bookmark, new: Bookmark, *, beyond: bool) -> tuple[str, int | None]:
    """History and position of the merged bookmark. A position of 0 says nothing."""
    if old.position == 0:
        return new.history, new.position
    if new.position == 0:
        return old.history, old.position
    newer = old.history if new.history == "" or is_newer(old.history, new.history) else new.history
    if old.position is None or new.position is None:
        return newer, None
    if old.history == new.history:
        return newer, max(old.position, new.position)
    return newer, new.position if beyond and newer == new.history else None


def _later(old: Seen | None, new: Seen) -> Seen:
    if old is None:
        return new
    if old.incarnation != new.incarnation:
        return _AMBIGUOUS
    return max(old, new)
