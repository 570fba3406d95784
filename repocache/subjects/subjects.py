"""A subject's bookmark in Redis: merged by compare-and-set, and known to be lost if it is.

Owns what is believed of a drawer. How a drawer is looked at and changed is the scripts'.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Coroutine
from typing import Any, NamedTuple, Protocol

import msgspec

from repocache.bookmark import Bookmark, Refused, TextSigner, decode, merge
from repocache.errors import CacheUnavailable, UsageError
from repocache.events import BookmarkRefused, CacheFailed, Observer
from repocache.keys import bucket_of
from repocache.records import Namespace, Nonces
from repocache.records.message import Message
from repocache.records.redis import Peer
from repocache.redis_link import Link, ReplyError, Script
from repocache.subjects.scripts import LOOK, SWAP
from repocache.subjects.unsaid import Unsaid

ATTEMPTS = 16
"""At a subject's value, each lost to another who changed it meanwhile."""
LONGEST_KEPT = 86_400.0
"""Seconds that a bookmark is kept whose life has no end."""


class Times(Protocol):
    """What time does to bookmarks, by the primary's clock, in Unix seconds."""

    def now(self) -> float: ...

    def ended(self) -> float:
        """What was to end by then has."""
        ...

    def left_of(self, bookmark: Bookmark) -> Bookmark | None: ...


class Moving(Protocol):
    """What is stored of a session. `did`: what came in since it began."""

    @property
    def bookmark(self) -> Bookmark: ...

    @property
    def did(self) -> Bookmark | None: ...


class SubjectState(NamedTuple):
    """What is known of a subject. `bookmarks`: what its next session has to begin with, all of
    them. `whole`: nothing of the subject can be missing in them but what is stored later. `drawer`
    and `value`: what Redis had then."""

    subject: str
    bookmarks: tuple[Bookmark, ...] = ()
    whole: bool = False
    drawer: str = ""
    value: bytes = b""


class Subjects:
    """For one database. Nothing here raises because Redis fails: what is not known to be whole
    means the primary for `window` seconds.

    "Never written" is told from "lost" by the birth of the subject's drawer (see `scripts`). A
    value was stored before it was lost, so before the drawer was born again: `window` seconds after
    its birth every replica in the rotation has what anything lost can have told of.
    """

    def __init__(  # noqa: PLR0913  # keyword-only
        self,
        *,
        link: Link,
        namespace: Namespace,
        nonces: Nonces,
        peer: Peer,
        signer: TextSigner | None,
        window: float,
        times: Times,
        spawn_to_end: Callable[[Coroutine[Any, Any, None]], object],
        spawn: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]],
        observe: Observer,
    ) -> None:
        """`window`: seconds for which it matters that something was lost. `spawn_to_end`: runs what
        has to end though its caller is cancelled, `spawn` what nobody waits for."""
        self._link = link
        self._root = namespace.root
        self._nonces = nonces
        self._peer = peer
        self._signer = signer
        self._window = window
        self._times = times
        self._spawn_to_end = spawn_to_end
        self._observe = observe
        self._back_since: float | None = None
        self.unsaid = Unsaid(link, self._name, spawn, observe)

    async def load(self, subject: str) -> SubjectState:
        """What a session of this subject has to begin with:
        `db.causal_session(*state.bookmarks)`. Raises UsageError for a subject that is no text."""
        _check(subject)
        now = self._times.now()
        try:
            name, born, value = await self._run(LOOK, subject)
        except (CacheUnavailable, ReplyError) as error:
            self._observe(CacheFailed("subject", str(error)))
            return SubjectState(subject, (self._lost(now),))
        since = min(int(born) / 1000, now)
        if self._back_since is not None:
            since = max(since, self._back_since)
        if _drawer_of(subject) in self.unsaid:
            since = now
        bookmark = self._read(value)
        if isinstance(bookmark, Refused):
            # Nobody knows what it was. With its drawer it is lost, which heals in time.
            self._observe(BookmarkRefused(f"of a subject: {bookmark.reason}"))
            self.unsaid.add(_drawer_of(subject))
            bookmark, since = None, now
        lost = self._times.left_of(self._lost(since))
        kept = None if bookmark is None else self._times.left_of(bookmark)
        bookmarks = tuple(each for each in (kept, lost) if each is not None)
        return SubjectState(subject, bookmarks, lost is None, name.decode(), value)

    def store(self, state: SubjectState, session: Moving) -> asyncio.Future[SubjectState]:
        """What the session did counts for the subject's next ones. `state`: what it began with, or
        what the last `store` of it returned. Begins at once, and goes on though nobody waits for
        it. Never raises because Redis fails. Raises UsageError for a subject that is no text,
        NotStarted once the database is left."""
        _check(state.subject)
        stored: asyncio.Future[SubjectState] = asyncio.get_running_loop().create_future()

        async def to_the_end() -> None:
            new = state
            try:
                new = await self._store(state, session)
            finally:
                if not stored.done():
                    stored.set_result(new)

        self._spawn_to_end(to_the_end())
        return stored

    async def _store(self, state: SubjectState, session: Moving) -> SubjectState:
        """1. Two devices of one subject begin; 2. both commit; 3. the later commit is stored, then
        the earlier one. Each puts its value only in the place of the one that it has seen, and
        merges what it finds there instead: neither takes the other away.

        Who finds what he began with has it in his own bookmark already, and more: a position that
        was not known may be by now.
        """
        did = session.did
        if did is None:
            return state
        new = session.bookmark if state.whole else merge(self._kept(state.value), did)
        try:
            for _ in range(ATTEMPTS):
                value, ended = self._text(new), _milliseconds(self._times.ended())
                done, name, _, found = await self._run(
                    SWAP, state.subject, state.drawer, state.value, value, ended
                )
                if done:
                    return state._replace(value=value)
                state = state._replace(drawer=name.decode(), value=found, whole=False)
                new = merge(self._kept(found), did)
            why = "others changed it again and again"
        except (CacheUnavailable, ReplyError) as error:
            why = str(error)
        self._observe(CacheFailed("subject", why))
        self.unsaid.add(_drawer_of(state.subject))
        return state

    def up(self) -> None:
        """Redis is there again, and may have been without what it was to be told meanwhile:

        1. a process cannot tell it of a commit; 2. this process, which could not reach it either,
        finds it with the subject's bookmark of before; 3. only then the first one takes that away
        (`Unsaid`).
        """
        self._back_since = self._times.now()
        self.unsaid.wake()

    def down(self) -> None:
        """See `up`."""

    def apply(self, message: Message) -> None:
        """Of what is told of records nothing is about subjects."""

    def forget_all(self) -> None:
        """As `apply`."""

    def new_history(self) -> None:
        """As `apply`: a bookmark names its history."""

    async def _run(self, script: Script, subject: str, *values: str | bytes | int) -> Any:
        digest = _digest(subject)
        head = (self._peer.server, self._nonces(), _milliseconds(self._times.now()))
        drawer = self._name(_drawer_of(subject))
        return await self._link.run(script, (drawer,), (*head, f"s:{digest}", *values))

    def _name(self, drawer: int) -> str:
        return f"{self._root}:{{s{drawer}}}"

    def _lost(self, since: float) -> Bookmark:
        """Says that something may have been lost until then: past all caches, to the primary."""
        return Bookmark("", None, None, covered=True, expires=since + self._window)

    def _read(self, value: bytes) -> Bookmark | Refused | None:
        return decode(value.partition(b":")[2], self._signer) if value else None

    def _kept(self, value: bytes) -> Bookmark | None:
        """What counts of it."""
        bookmark = self._read(value)
        if bookmark is None or isinstance(bookmark, Refused):
            return None
        return self._times.left_of(bookmark)

    def _text(self, bookmark: Bookmark) -> bytes:
        ends = min(bookmark.expires, self._times.now() + LONGEST_KEPT)
        kept = msgspec.structs.replace(bookmark, expires=ends)
        return f"{_milliseconds(ends)}:{kept.encode(self._signer)}".encode()


def _check(subject: object) -> None:
    if not isinstance(subject, str) or not subject:
        raise UsageError(f"a subject {subject!r}: give its name, such as a user's id, as a text")


def _digest(subject: str) -> str:
    """Of a fixed length, and no name of a user in Redis."""
    return hashlib.sha256(subject.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _drawer_of(subject: str) -> int:
    return bucket_of(_digest(subject))


def _milliseconds(seconds: float) -> int:
    return max(0, int(seconds * 1000))
