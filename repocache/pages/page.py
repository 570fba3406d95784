"""A page, what it was made of, and what both are called where they are kept.

A page's entry is named by its key and the versions of all that it was made of: what lies there is
right whenever it was put there. Which versions to look for the other entry says, the trace of the
last rendering; if something has changed it leads to a name under which nothing lies. So no page has
to be invalidated, and none is found by a session whose own reads would answer otherwise.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from contextvars import Context
from dataclasses import dataclass, field

import msgspec

from repocache.cache.entry import Row
from repocache.errors import CodecError
from repocache.keys import KeyOwner, Keys, owner_beside
from repocache.routing.recording import NOTHING_READ, Trace

BODIES = "body"


class KeptPage(msgspec.Struct, frozen=True, array_like=True):
    """A whole response. `lines`: its header, names in lower case. `made`: Unix time, seconds."""

    status: int
    lines: tuple[tuple[bytes, bytes], ...]
    body: bytes
    made: float


@dataclass(frozen=True, slots=True)
class Rendered:
    """What a rendering brought. `page`: None: it is none to be kept. `trace`: of what it was made
    of, worth keeping where `is_traced`."""

    page: KeptPage | None
    trace: Trace
    is_traced: bool = False


Render = Callable[[], Awaitable[Rendered]]


async def nobody() -> Rendered:
    """Whoever wanted the page has gone."""
    raise CodecError("whoever wanted the page has gone")


class PageKey(str):
    """Of one request: a digest of all that tells pages apart. `render` makes the page, in the
    `context` of whoever asked; `behind` does so for nobody in particular, while he is given an old
    one. `rendered`: what `render` brought him; `failed`: what it raised."""

    __slots__ = ("behind", "context", "failed", "render", "rendered")

    render: Render
    behind: Render
    context: Context
    rendered: Rendered | None
    failed: Exception | None

    @classmethod
    def of(cls, text: str, render: Render, context: Context, *, behind: Render = nobody) -> PageKey:
        """Of this text."""
        key = cls(text)
        key.render, key.behind, key.context = render, behind, context
        key.rendered = key.failed = None
        return key

    def again(self) -> PageKey:
        """The same page for nobody in particular."""
        return PageKey.of(str(self), self.behind, self.context)

    def leave(self) -> None:
        """What is kept under it must not keep the request."""
        self.render = self.behind = nobody
        self.context, self.rendered, self.failed = Context(), None, None


class BodyId(str):
    """The id of a page's entry. `held`: the page, if it is known; else who misses it renders
    `page`, if that is wanted. `trace`: that it is looked for by, in `version`."""

    __slots__ = ("held", "page", "trace", "version")

    held: KeptPage | None
    page: PageKey | None
    trace: Trace
    version: bytes


def body_id(
    key: str,
    version: bytes,
    *,
    page: PageKey | None = None,
    held: KeptPage | None = None,
    trace: Trace = NOTHING_READ,
) -> BodyId:
    """Of the page under this key, made of these versions."""
    digest = hashlib.blake2b(key.encode(), digest_size=20, key=version)
    found = BodyId(digest.hexdigest())
    found.page, found.held, found.trace, found.version = page, held, trace, version
    return found


class PageKeys(Keys):
    """Of traces or of bodies."""

    __slots__ = ()

    def __init__(self, owner: KeyOwner) -> None:
        super().__init__(owner, (str,))

    def text(self, id: object) -> str:
        return f"{self.prefix}:{id}"


def page_keys(owner: KeyOwner) -> tuple[PageKeys, PageKeys]:
    """Of the traces, and of the bodies."""
    return PageKeys(owner), PageKeys(owner_beside(owner, BODIES))


class _Kept(msgspec.Struct, frozen=True, array_like=True):
    key: str
    rows: dict[str, dict[str, bytes]]
    tokens: dict[str, str]
    shapes: dict[str, str]


class TraceCodec:
    """A row is a key, and a trace."""

    def encode(self, row: Row) -> bytes:
        key, trace = row
        rows = {owner: dict(each) for owner, each in trace.rows.items()}
        kept = _Kept(str(key), rows, dict(trace.tokens), dict(trace.shapes))
        return msgspec.msgpack.encode(kept)

    def decode(self, payload: bytes) -> Row:
        try:
            kept = msgspec.msgpack.decode(payload, type=_Kept)
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            raise CodecError(f"the trace of a page cannot be read: {error}") from error
        return (kept.key, Trace(kept.rows, kept.tokens, kept.shapes))


class PageCodec:
    """A row is an id, and a page."""

    def encode(self, row: Row) -> bytes:
        return msgspec.msgpack.encode((str(row[0]), row[1]))

    def decode(self, payload: bytes) -> Row:
        try:
            return msgspec.msgpack.decode(payload, type=tuple[str, KeptPage])
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            raise CodecError(f"a page cannot be read: {error}") from error


def first(row: Row) -> str:
    """The id of such a row."""
    return str(row[0])


@dataclass(slots=True)
class LastRight:
    """When this process last knew of pages that they were right, Unix seconds, and of which
    versions they were."""

    most: int = 10_000
    _at: dict[str, tuple[float, bytes]] = field(default_factory=dict)

    def note(self, key: str, version: bytes, now: float) -> None:
        """It was right now."""
        self._at.pop(key, None)
        self._at[str(key)] = now, version
        if len(self._at) > self.most:
            del self._at[next(iter(self._at))]

    def of(self, key: str) -> tuple[float, bytes] | None:
        """None: this process does not know."""
        return self._at.get(key)
