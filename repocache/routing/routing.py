"""What a session needs of a node: its bookmark, and the caller's wish for a node.

Owns what becomes of a bookmark from outside. Who has what is needed is `selection`'s, which session
is in scope `around`'s.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from functools import partial

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from repocache.bookmark import Bookmark, Refused, TextSigner, merge, received, says_something
from repocache.cache.l1_reader import ReadRecorder
from repocache.engines.scoped import settings_statement
from repocache.errors import ConfigurationError, DatabaseUnavailable
from repocache.events import BookmarkRefused, Observer, ignore
from repocache.history import cluster_of, is_newer
from repocache.nodes.selection import ReadRequirement
from repocache.nodes.topology import Topology
from repocache.routing.around import around, current_scopes, tell_unknown, within
from repocache.routing.causal_session import STRANGERS, CausalSession
from repocache.routing.expected import Expectation, ExpectingSession
from repocache.routing.past_caches import PastCaches
from repocache.routing.recorded import RecordedSession
from repocache.routing.recording import Trace
from repocache.scope import schema_of, settings_of


@dataclass(frozen=True, slots=True)
class Route:
    """The caller's wish. `primary`: no other node. `replica`: no primary while there are replicas.
    `max_lag`: seconds that a replica may be behind, in the general limit's place.
    """

    primary: bool = False
    replica: bool = False
    max_lag: float | None = None

    def __post_init__(self) -> None:
        if self.max_lag is not None and not self.max_lag > 0:
            raise ConfigurationError(f"max_lag={self.max_lag}: give seconds, more than 0")


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

    `window`: how long a bookmark counts after the write (or, `monotonic`, the read) that made it,
    for what its position does not tell; it must exceed the lag that replicas in the rotation may
    have. `uncovered`: how long one may count whose invalidation was not delivered: until the last
    stale value has left the caches (`last_fill`). `monotonic`: bookmarks advance by what was read
    too. `signer`: signs bookmarks that leave the process, and refuses others. Raises
    ConfigurationError.
    """

    window: float = 60.0
    uncovered: float = 60.0
    monotonic: bool = False
    signer: TextSigner | None = None

    def __post_init__(self) -> None:
        for name in ("window", "uncovered"):
            if not getattr(self, name) > 0:
                raise ConfigurationError(
                    f"Stickiness({name}={getattr(self, name)}): seconds, more than 0"
                )

    @property
    def vouched(self) -> bool:
        """Whether no stranger can have made a bookmark that is taken."""
        return self.signer is not None and self.signer.strict


LONGEST_CUT = 86_400.0
"""Seconds to which a bookmark's life is cut, if no own setting is longer: nobody pins himself for
ever."""


def last_fill(ttl: float, lease: float, staleness: float) -> float:
    """How long a stale value may be met after a commit whose invalidation nobody delivers, seconds.

    1. A replica that is as far behind as one in the rotation may be (`staleness`) is read; 2. its
    row is stored before the loader's `lease` ends; 3. it lives for its `ttl` in Redis, and then in
    a process, which took it at the last moment.
    """
    return staleness + lease + ttl


def need_of(
    floor: int | None, bookmark: Bookmark | None, history: str, route: Route, client: object = None
) -> ReadRequirement:
    """What a node must have (protocol, Read path 4: at least `max(floor, bookmark's)` of the
    floor's history).

    `floor`: of the keys that the read may fill, bytes; 0: none; None: unknown, only the primary may
    fill. `bookmark`: of the session, as `living` left it when the read began: its time is not
    looked at again. `history`: the floor's and the primary's; empty where there are no positions:
    then every floor is unknown, so that no lagging replica fills a cache, and a bookmark means the
    primary. A bookmark of another history, or that does not know where its write is, means the
    primary; one of a newer timeline means that the primary here has been replaced, and nobody here
    may answer. `client`: who is charged for what the bookmark asks for."""
    says = bookmark if bookmark is not None and bookmark.position != 0 else None
    unmet = NEWER if says is not None and is_newer(says.history, history) else ""
    if route.primary:
        return ReadRequirement(history=history, primary="asked", asked=True, unmet=unmet)
    position, primary = floor, ""
    if position is None:
        position, primary = 0, "floor unknown"
    elif not history:
        position = 0
    if says is not None:
        if says.position is None:
            primary = primary or "bookmark without position"
        elif says.history != history:
            primary = primary or "bookmark of another history"
        else:
            position = max(position or 0, says.position)
    return ReadRequirement(
        history,
        position or 0,
        route.max_lag,
        primary,
        fallback=not route.replica,
        unmet=unmet,
        client=client,
    )


NEWER = "the session knows of a newer timeline than the primary's here, which has been replaced"


def living(bookmark: Bookmark, ends: float, now: float, history: str) -> Bookmark | None:
    """What a bookmark still says to a read that begins `now`; None: nothing. `ends`: when its life
    does. `history`: the primary's.

    Its position does not lapse, any replica that is well has it: time ends only what no position
    tells. A newer timeline counts for a day more: the primary here has been replaced, and goes on
    showing the past.
    """
    if not says_something(bookmark):
        return None
    if now < ends:
        return bookmark
    stays = bool(bookmark.position) and history != "" and bookmark.history == history
    replaced = is_newer(bookmark.history, history) and now < bookmark.expires + LONGEST_CUT
    if not stays and not replaced:
        return None
    return Bookmark(
        bookmark.history, bookmark.position, {}, covered=True, expires=ends, made=bookmark.made
    )


class Routing:
    """Sessions over one topology. Raises ConfigurationError if bookmarks would end before replicas
    may have caught up.
    """

    def __init__(
        self, topology: Topology, stickiness: Stickiness | None = None, observe: Observer = ignore
    ) -> None:
        self._topology = topology
        self._stickiness = stickiness = stickiness or Stickiness()
        self._observe = observe
        if stickiness.window <= topology.settings.staleness:
            raise ConfigurationError(
                f"Stickiness(window={stickiness.window}): a bookmark must outlive the lag of "
                "replicas in the rotation, TopologySettings: max_lag + sample_every + "
                f"probe_timeout = {topology.settings.staleness}"
            )
        topology.bookmarks_live(max(stickiness.window, stickiness.uncovered))

    def check(self) -> None:
        """Raise DatabaseUnavailable if the session in scope knows of a newer timeline than the
        primary's: a transaction here would show it the past, and what it commits is lost.
        """
        asked = self.asking()
        if asked is not None and is_newer(asked.history, self._topology.history):
            raise DatabaseUnavailable(f"no transaction may begin: {NEWER}")

    @property
    def monotonic(self) -> CausalSession | None:
        """The session in scope, if it also has to be told of what it reads."""
        return around.get().session if self._stickiness.monotonic else None

    def asking(self) -> Bookmark | None:
        """What the session in scope asks of a read that begins now; None: nothing, or there is no
        session."""
        session = around.get().session
        return None if session is None else self.left_of(session.bookmark)

    def need(self, floor: int | None, route: Route = ANYWHERE) -> ReadRequirement:
        """What a node must have for a read in the present session; see `need_of`.

        A session that cannot name its position may have written what it has forgotten by now: its
        wish for lag is cut to what bookmarks remember.
        """
        session = around.get().session
        if route.max_lag is not None and session is not None and not session.bookmark.position:
            settings = self._topology.settings
            remembered = self._stickiness.window - (settings.staleness - settings.max_lag)
            route = replace(route, max_lag=min(route.max_lag, remembered))
        client = None if session is None else session.client
        need = need_of(floor, self.asking(), self._topology.history, route, client)
        return need if self.monotonic is None else replace(need, stamped=True)

    @asynccontextmanager
    async def snapshot(self, route: Route = ANYWHERE) -> AsyncIterator[AsyncConnection]:
        """One REPEATABLE READ, READ ONLY transaction on a node that has what the session needs; see
        `Topology.snapshot`. A session with monotonic reads has seen what it shows.
        """
        session, need = self.monotonic, self.need(0, route)
        tell_unknown("a snapshot or reading() was opened, whose statements nobody follows")
        scopes = current_scopes()
        settings, schema = settings_of(scopes), schema_of(scopes)
        shown = () if session is None else (partial(session.saw, session.reads()),)
        async with self._topology.snapshot(need, *shown) as connection:
            if settings:
                await connection.execute(settings_statement(settings))
            if schema is not None:
                await connection.execution_options(schema_translate_map={None: schema})
            yield connection

    @asynccontextmanager
    async def causal_session(
        self, *incoming: Bookmark | str | bytes | None, client: str | None = None
    ) -> AsyncIterator[CausalSession]:
        """Reads in the block, and in tasks begun there, are not older than each `incoming` nor than
        the block's own commits.

        What is forged, malformed, foreign or no bookmark at all is not taken (BookmarkRefused says
        why) and never raises. Blocks may be nested; the inner one begins with its own `incoming`
        only, and the outer one knows, once the inner one is left, what that did. `client`: who sent
        the bookmark.
        """
        outer, session = around.get().session, self._new_session()
        begin: Bookmark | None = None
        strange = False
        for each in incoming:
            bookmark = await self.accepted(each)
            if bookmark is not None:
                begin = merge(begin, bookmark)
                strange |= isinstance(each, str | bytes)
        if begin is not None:
            session.begin_with(begin)
        if client is not None:
            session.client = client
        elif strange and not self._stickiness.vouched:
            session.client = STRANGERS
        seen = session
        if outer is not None and outer.reads_past_caches:
            seen = PastCaches(seen, self.left_of)
        if outer is not None and outer.recorder is not None:
            seen = RecordedSession(seen, outer.recorder)
        try:
            with within(seen):
                yield session
        finally:
            if outer is not None:
                outer.absorb(session.did)

    @contextmanager
    def bypass(self) -> Iterator[None]:
        """Reads in the block, and in tasks and sessions begun there, go past every cache, and keep
        the promises of the session in scope."""
        with within(PastCaches(around.get().session or self._new_session(), self.left_of)):
            yield

    @contextmanager
    def recorded(self, recorder: ReadRecorder) -> Iterator[None]:
        """What reads in the block, and in tasks and sessions begun there, are given is recorded."""
        with within(RecordedSession(around.get().session or self._new_session(), recorder)):
            yield

    @contextmanager
    def expecting(self, trace: Trace) -> Iterator[Expectation]:
        """The first unit of work in the block holds the rows of this, as they were."""
        expectation = Expectation(trace)
        with within(ExpectingSession(around.get().session or self._new_session(), expectation)):
            yield expectation

    async def absorb(self, incoming: Bookmark | str | bytes | None) -> None:
        """The session in scope is from now on not older than this either. Never raises for what it
        is given."""
        session = around.get().session
        if session is not None:
            session.absorb(await self.accepted(incoming))

    def _new_session(self) -> CausalSession:
        given = self._stickiness
        return CausalSession(given.window, self._topology.now, given.signer, given.monotonic)

    async def accepted(self, incoming: Bookmark | str | bytes | None) -> Bookmark | None:
        """The bookmark to begin with, None if there is none or it is refused. Never raises for what
        it is given."""
        if incoming is None or (isinstance(incoming, str | bytes) and not incoming):
            return None
        bookmark = received(incoming, self._stickiness.signer)
        if isinstance(bookmark, Refused):
            self._observe(BookmarkRefused(bookmark.reason))
            return None
        bookmark = self._lengthened(bookmark)
        left = self.left_of(bookmark)
        if left is None:
            if says_something(bookmark):
                self._observe(BookmarkRefused("expired"))
            return None
        newest: int | None = self._topology.newest
        if left.history != self._topology.history or (left.position or 0) > self._topology.newest:
            # It may know more than this process does: of a failover, or of WAL written since the
            # last poll.
            if left.history:
                self._topology.met(left.history)
            polled = await self._topology.position()
            newest = None if polled is None else polled.insert
        if why := implausible(left, self._topology.history, newest):
            self._observe(BookmarkRefused(why))
            return None
        return left

    def _life(self, bookmark: Bookmark) -> float:
        return self._stickiness.window if bookmark.covered else self._stickiness.uncovered

    def left_of(self, bookmark: Bookmark) -> Bookmark | None:
        """What it still says now, see `living`; no time passes while the primary is not heard
        (`clock.Outages`)."""
        ends = self._topology.counts_until(bookmark.expires, self._life(bookmark))
        return living(bookmark, ends, self._topology.now(), self._topology.history)

    def now(self) -> float:
        """Unix time in seconds by the primary's clock."""
        return self._topology.now()

    def ended(self) -> float:
        """What was to end by then has; 0 while no time passes."""
        now, given = self.now(), self._stickiness
        longest = max(given.window, given.uncovered)
        return now if self._topology.counts_until(now, longest) <= now else 0.0

    @property
    def signer(self) -> TextSigner | None:
        """Of the bookmarks that leave the process."""
        return self._stickiness.signer

    def _lengthened(self, bookmark: Bookmark) -> Bookmark:
        """With the longer of the lives that its writer and this process give it, and none that goes
        on for ever: it is cut, not refused. Processes, and releases, may differ in what they give.
        """
        longest = max(LONGEST_CUT, self._stickiness.window, self._stickiness.uncovered)
        expires = max(
            bookmark.expires, bookmark.made + self._life(bookmark) if bookmark.made else 0.0
        )
        return msgspec.structs.replace(
            bookmark, expires=min(expires, self._topology.now() + longest)
        )


def implausible(bookmark: Bookmark, history: str, newest: int | None) -> str:
    """Why a bookmark cannot be of this database, empty if it can.

    `newest`: end of the primary's WAL in bytes, polled after the bookmark came; None: the primary
    did not say, and what this process knew before proves nothing.
    """
    if not bookmark.history:
        return "foreign" if bookmark.position else ""
    if history and cluster_of(bookmark.history) != cluster_of(history):
        return "foreign"
    if newest is not None and bookmark.history == history and (bookmark.position or 0) > newest:
        return "ahead of the primary"
    return ""
