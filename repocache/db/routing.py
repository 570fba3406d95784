"""What a session needs of a node: its bookmark, the caller's wish for a node, and the session in scope.

Owns the one context variable, and what becomes of a bookmark from outside. Who has what is needed is
`choice`'s.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace

import msgspec

from repocache.bookmark import Bookmark, Refused, Signer, decode, merge
from repocache.db.choice import Need
from repocache.db.positions import cluster_of
from repocache.db.topology import Topology
from repocache.errors import ConfigurationError
from repocache.events import BookmarkRefused, Observer, ignore


@dataclass(frozen=True, slots=True)
class Route:
    """The caller's wish. `primary`: no other node. `replica`: no primary while there are replicas. `max_lag`:
    seconds that a replica may be behind, in the general limit's place.
    """

    primary: bool = False
    replica: bool = False
    max_lag: float | None = None

    def __post_init__(self) -> None:
        if self.max_lag is not None and not self.max_lag > 0:
            raise ConfigurationError(f"on_replica(max_lag={self.max_lag}): seconds, more than 0")


ANYWHERE = Route()
ON_PRIMARY = Route(primary=True)


def on_replica(max_lag: float | None = None) -> Route:
    """Replicas only, for reads that must not burden the primary; bookmarks hold here too.

    Raises ConfigurationError unless `max_lag` is more than 0 seconds.
    """
    return Route(replica=True, max_lag=max_lag)


@dataclass(frozen=True, slots=True)
class Stickiness:
    """How long sessions remember, in seconds.

    `window`: how long a bookmark counts after the write (or, `monotonic`, the read) that made it; it must
    exceed the lag that replicas in the rotation may have. `uncovered`: how long one may count whose
    invalidation was not delivered: the longest time to live in the cache where nothing else repeats it.
    `monotonic`: bookmarks advance by what was read too. `signer`: signs bookmarks that leave the process, and
    refuses others. Raises ConfigurationError.
    """

    window: float = 60.0
    uncovered: float = 60.0
    monotonic: bool = False
    signer: Signer | None = None

    def __post_init__(self) -> None:
        for name in ("window", "uncovered"):
            if not getattr(self, name) > 0:
                raise ConfigurationError(f"Stickiness({name}={getattr(self, name)}): seconds, more than 0")


def need_of(floor: int | None, bookmark: Bookmark | None, history: str, now: float, route: Route) -> Need:
    """What a node must have (protocol, Read path 4: at least `max(floor, bookmark's)` of the floor's
    history).

    `floor`: of the keys that the read may fill, bytes; 0: none; None: unknown, only the primary may fill.
    `history`: the floor's and the primary's; empty where there are no positions: then every floor is
    unknown, so that no lagging replica fills a cache, and a bookmark means the primary. `now`: Unix time in seconds.
    An expired bookmark says nothing. One of another history, or that does not know where its write is, means the
    primary until it expires."""
    if route.primary:
        return Need(history=history, primary="asked", asked=True)
    position, primary = floor, ""
    if position is None:
        position, primary = 0, "floor unknown"
    elif not history:
        position = 0
    if bookmark is not None and bookmark.position != 0 and bookmark.expires > now:
        if bookmark.position is None:
            primary = primary or "bookmark without position"
        elif bookmark.history != history:
            primary = primary or "bookmark of another history"
        else:
            position = max(position or 0, bookmark.position)
    return Need(history, position or 0, route.max_lag, primary, fallback=not route.replica)


class CausalSession:
    """What one flow of requests has written and, if asked for, read. One mutable object for a task and all
    its children.

    `bookmark`: what a read of this session must not be older than; send it along with the answer.
    """

    def __init__(self, stickiness: Stickiness, clock: Callable[[], float] = time.time) -> None:
        self._stickiness = stickiness
        self._clock = clock
        self._bookmark = Bookmark("", 0, {}, covered=True, expires=clock() + stickiness.window)

    @property
    def bookmark(self) -> Bookmark:
        return self._bookmark

    def encode(self) -> str:
        """The bookmark's text, signed if there is a signer."""
        return self._bookmark.encode(self._stickiness.signer)

    def advance(self, bookmark: Bookmark) -> None:
        """After a commit: reads of this session are not older than it either. A bookmark that says nothing
        changes nothing.
        """
        if says_something(bookmark):
            self._bookmark = merge(self._bookmark, bookmark) if says_something(self._bookmark) else bookmark

    def saw(self, history: str, position: int | None) -> None:
        """After a read, for monotonic reads: what was read is not newer than `position` of `history`, bytes.

        None: not known, so the next reads are the primary's. `history` must be the one that the topology has
        now.
        """
        if self._stickiness.monotonic:
            expires = self._clock() + self._stickiness.window
            self.advance(Bookmark(history, position, {}, covered=True, expires=expires))


def says_something(bookmark: Bookmark) -> bool:
    """Whether a bookmark asks anything of anybody."""
    return bookmark.position != 0 or bookmark.wrote != {} or not bookmark.covered


_session: ContextVar[CausalSession | None] = ContextVar("repocache_session", default=None)


def current_session() -> CausalSession | None:
    """The session that the caller runs in."""
    return _session.get()


class Routing:
    """Sessions over one topology. Raises ConfigurationError if bookmarks would end before replicas may have
    caught up.
    """

    def __init__(self, topology: Topology, stickiness: Stickiness | None = None, observe: Observer = ignore) -> None:
        self._topology = topology
        self._stickiness = stickiness = stickiness or Stickiness()
        self._observe = observe
        if stickiness.window <= topology.settings.max_lag:
            raise ConfigurationError(
                f"Stickiness(window={stickiness.window}): a bookmark must outlive the lag of replicas in the rotation, "
                f"TopologySettings(max_lag={topology.settings.max_lag})"
            )

    def need(self, floor: int | None, route: Route = ANYWHERE) -> Need:
        """What a node must have for a read in the present session; see `need_of`."""
        session = _session.get()
        bookmark = session.bookmark if session else None
        need = need_of(floor, bookmark, self._topology.history, time.time(), route)
        if session is not None and self._stickiness.monotonic:
            need = replace(need, stamped=True)
        return need

    @asynccontextmanager
    async def causal_session(self, incoming: Bookmark | str | None = None) -> AsyncIterator[CausalSession]:
        """Reads in the block, and in tasks begun there, are not older than `incoming` nor than the block's
        own commits.

        A text that is forged, malformed, foreign or expired is not taken (BookmarkRefused says why) and never
        raises. Blocks may be nested; the inner one begins with its own `incoming` only.
        """
        session = CausalSession(self._stickiness, time.time)
        bookmark = await self.accepted(incoming)
        if bookmark is not None:
            session.advance(bookmark)
        token = _session.set(session)
        try:
            yield session
        finally:
            _session.reset(token)

    async def accepted(self, incoming: Bookmark | str | None) -> Bookmark | None:
        """The bookmark to begin with, None if there is none or it is refused. Never raises for what it is given."""
        if incoming is None or incoming == "":
            return None
        bookmark = incoming if isinstance(incoming, Bookmark) else self._decoded(incoming)
        if isinstance(bookmark, Refused):
            self._observe(BookmarkRefused(bookmark.reason))
            return None
        newest: int | None = self._topology.newest
        if bookmark.history != self._topology.history or (bookmark.position or 0) > self._topology.newest:
            # It may know more than this process does: of a failover, or of WAL written since the last poll.
            polled = await self._topology.position()
            newest = None if polled is None else polled.insert
        if why := implausible(bookmark, self._topology.history, newest):
            self._observe(BookmarkRefused(why))
            return None
        return bookmark

    def _decoded(self, text: str) -> Bookmark | Refused:
        """The bookmark in a text, its life cut to what a bookmark may have: clocks of two processes differ a
        little, so one that seems to live a little too long is not refused.
        """
        now, stickiness = time.time(), self._stickiness
        longest = max(stickiness.window, stickiness.uncovered)
        bookmark = decode(text, stickiness.signer, now, 2 * longest)
        if isinstance(bookmark, Refused):
            return bookmark
        life = stickiness.window if bookmark.covered else longest
        if bookmark.expires > now + 2 * life:
            return Refused("expires too late")
        return msgspec.structs.replace(bookmark, expires=min(bookmark.expires, now + life))


def implausible(bookmark: Bookmark, history: str, newest: int | None) -> str:
    """Why a bookmark cannot be of this database, empty if it can.

    `newest`: end of the primary's WAL in bytes, polled after the bookmark came; None: the primary did not say, and what
    this process knew before proves nothing.
    """
    if not bookmark.history:
        return "foreign" if bookmark.position else ""
    if history and cluster_of(bookmark.history) != cluster_of(history):
        return "foreign"
    if newest is not None and bookmark.history == history and (bookmark.position or 0) > newest:
        return "ahead of the primary"
    return ""
