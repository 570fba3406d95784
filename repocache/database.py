"""What a user holds: checks what it is given, is entered and left, and hands out repositories,
units of work and sessions. How its parts are wired is `runtime.running`'s."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager, AsyncExitStack
from dataclasses import replace
from functools import partial
from typing import Any, Self, TypeVar, cast

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession

from repocache.background.home import Home
from repocache.behind.declared import bindings
from repocache.bookmark import Bookmark
from repocache.cache.signature import Signing
from repocache.computed.declared import keys_of
from repocache.engines.database_url import DatabaseUrl
from repocache.engines.engine import make_engine
from repocache.engines.engine_settings import EngineSettings
from repocache.engines.topology_settings import Replica
from repocache.environment.reading import Environment
from repocache.errors import ConfigurationError, NotStarted, UsageError
from repocache.events import Unguarded, guarded
from repocache.invalidation.feed import Audience, Feed
from repocache.mapping.rules import MappingRules
from repocache.nodes.topology import NodeStatus, Topology
from repocache.pages.page import page_keys
from repocache.pages.policy import PageCache
from repocache.publication.publisher import Lives
from repocache.redaction.urls import SecretText, UrlObject
from repocache.redis_link import Address, RedisClient, address_of
from repocache.repository.promises import asides, check_told
from repocache.repository.registry import Registry
from repocache.repository.repository import Repository
from repocache.repository.rows import Nodes
from repocache.repository.schemas import entered
from repocache.repository.scoping import checked_values, engines_for, enter_scopes
from repocache.repository.work import UnitOfWork
from repocache.routing.causal_session import CausalSession
from repocache.routing.recording import Recording
from repocache.routing.routing import ANYWHERE, Route, Routing, Stickiness, last_fill
from repocache.runtime.advice import advice
from repocache.runtime.edges import DeclaredEdges
from repocache.runtime.given import Declarations, Declared, Readable, given_or_default
from repocache.runtime.operations import Operations
from repocache.runtime.plan import DatabasePlan
from repocache.runtime.running import Running, start
from repocache.scope import ScopeValue
from repocache.settings import Settings
from repocache.signing.bookmarks import BookmarkSigner
from repocache.subjects import Subjects
from repocache.transactions.cached_marker import state_maker
from repocache.transactions.reading_session import reading_session
from repocache.transactions.session_factory import Sessions, sessions_on

I = TypeVar("I")  # noqa: E741  # as in Repository
R = TypeVar("R", bound=Readable)

FEED_ROOM = 10_000
"""Changes that wait for one slow reader of `invalidations`."""


class Database(Operations):
    """A primary, its replicas and a cache; an async context manager, one for each process.

    It belongs to the event loop that it is entered in until it is left there, and may then be
    entered in another. If its loop was closed instead, entering it begins anew. Used in another
    loop at once, or in that of another thread, it raises OtherLoop.

    `primary`, `replicas`: SQLAlchemy URLs, of asyncpg unless they name another async driver
    (`Replica(url, weight=...)` where one needs more). `redis`: redis://, rediss:// or unix:// URL,
    an `Address`, or a client of redis-py's, of which the address alone is taken; None: this process
    caches for itself alone. A URL is a text, SQLAlchemy's `URL`, or pydantic's.
    `repositories`: every repository and write-behind class, whose owners are so known at first.
    `engine`: what connections are told beyond a URL. `edges`: caches in front of the service, which
    each commit purges (`repocache.edges.declared.Edges`). `pages`: how whole responses are kept
    (`repocache.http.HttpCache`).

    Raises ConfigurationError (MappingRefused, OwnerClash) at construction for what cannot work, and
    DatabaseUnavailable on entering if the primary does not answer. A Redis that is away is no
    error.
    """

    def __init__(  # noqa: PLR0913  # keyword-only
        self,
        primary: DatabaseUrl,
        *,
        replicas: Sequence[DatabaseUrl | Replica] = (),
        redis: str | UrlObject | SecretText | Address | RedisClient | None = None,
        repositories: Iterable[Declared] = (),
        settings: Settings | None = None,
        engine: EngineSettings | None = None,
        edges: DeclaredEdges | None = None,
        pages: PageCache | None = None,
    ) -> None:
        settings = given_or_default("settings", settings, Settings)
        engine = given_or_default("engine", engine, EngineSettings)
        self.settings = settings = replace(settings, observe=guarded(settings.observe))
        self._observe = settings.observe
        declared = Declarations.of(repositories)
        classes, computed = declared.repositories, declared.computed
        longest = max([settings.window, *declared.lives])
        longest = last_fill(longest, settings.cache.lease, settings.topology.staleness)
        secrets, unsigned = settings.secrets, settings.accept_unsigned
        signer = BookmarkSigner(secrets, accept_unsigned=unsigned) if secrets else None
        longest = max(settings.window, settings.uncovered, longest)
        stickiness = Stickiness(settings.window, longest, settings.monotonic, signer)
        engines = engines_for(classes, partial(make_engine, given=engine))
        self._topology = Topology(primary, replicas, settings.topology, settings.observe, engines)
        self._routing = Routing(self._topology, stickiness, settings.observe)
        address = None if redis is None else address_of(redis)
        self._advise = partial(advice, redis=address, settings=settings, engine=engine)
        self._advice = tuple(self._advise(self._topology.urls))
        self._topology.on_history(self._history_changed)
        nodes = Nodes(self._topology, self._routing, settings.observe)
        states = state_maker(settings.misuse, settings.observe)
        dialect = self._topology.write_engine.dialect
        rules = MappingRules(dialect, settings.eager, settings.codecs)
        keys_of_pages = () if pages is None else page_keys(pages.owner)
        self._registry = Registry(
            classes,
            nodes,
            states,
            rules,
            redis=redis is not None,
            beside=[*keys_of(computed), *keys_of_pages],
            tagged=edges is not None,
        )
        owners = self._registry.keys
        self._plan = DatabasePlan(
            settings=settings,
            topology=self._topology,
            routing=self._routing,
            registry=self._registry,
            address=address,
            signing=Signing(settings.app, settings.secrets if settings.sign_values else ()),
            lives=Lives(settings.window, longest, self._topology.now, asides(self._registry)),
            behind=bindings(declared.behind, owners, states, rules, redis=redis is not None),
            computed=computed,
            nodes=nodes,
            edges=edges,
            pages=pages,
        )
        self._home = Home()
        self._stack = AsyncExitStack()
        self._running: Running | None = None
        self._readers: dict[type[Any], Any] = {}

    @classmethod
    def from_env(  # noqa: PLR0913  # keyword-only
        cls,
        prefix: str = "REPOCACHE_",
        *,
        repositories: Iterable[Declared] = (),
        settings: Settings | None = None,
        engine: EngineSettings | None = None,
        edges: DeclaredEdges | None = None,
        pages: PageCache | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> Self:
        """A database that environment variables describe: `SHOP_PRIMARY`, `SHOP_REPLICAS`,
        `SHOP_REDIS` and settings, as docs/settings.md has them, for `from_env("SHOP_")`.

        `prefix`: theirs alone. `settings`: what the program says itself, and no variable; `edges`
        and `pages` as of the constructor.
        `environ`: None: this process's.

        Raises ConfigurationError as the constructor does, and for a variable that is missing,
        empty, wrong or unknown, or says what `settings` say; it names the variable.
        """
        found = Environment.read(prefix, os.environ if environ is None else environ, settings)
        return cls(
            found.primary,
            replicas=found.replicas,
            redis=found.redis,
            repositories=repositories,
            settings=found.settings,
            engine=engine,
            edges=edges,
            pages=pages,
        )

    async def __aenter__(self) -> Self:
        """Raises UsageError if it is entered already, OtherLoop if in another loop."""
        if self._home.abandoned:
            self._forget()
        self._home.enter()
        async with AsyncExitStack() as stack:
            stack.callback(self._home.leave)
            found = await start(self._plan, stack)
            for each in self._advice:
                self._observe(each)
            self._running, self._stack = found, stack.pop_all()
        self._readers = {each: reader.repository for each, reader in found.readers.items()}
        self._readers.update(found.behind)
        self._readers.update(found.computed)
        return self

    async def __aexit__(self, *_: object) -> None:
        """Raises OtherLoop, and leaves nothing, if it was entered in another loop."""
        if self._home.abandoned:
            self._forget()
        if self._running is not None:
            self._home.check()
            self._running, self._readers = None, {}
            await self._stack.aclose()

    def _forget(self) -> None:
        """Its loop was closed, and nothing of it can be ended any more."""
        self._running, self._readers = None, {}
        self._stack.pop_all()
        self._home.leave()

    def _history_changed(self, _: str) -> None:
        if self._running is not None:
            self._running.new_history()

    def __getitem__(self, repository: type[R]) -> R:
        """The repository that reads through the cache, or the write-behind. Raises NotStarted, or
        ConfigurationError for a class that was not given."""
        if repository in self._readers:
            return cast("R", self._readers[repository])
        self._plan.check_declared(repository)
        raise NotStarted

    @property
    def engine(self) -> AsyncEngine:
        """The primary's engine for transactions, to be instrumented. What is committed on it
        invalidates."""
        return self._topology.write_engine

    @property
    def sessionmaker(self) -> Sessions[AsyncSession]:
        """Makes plain sessions on the primary; `db.sessionmaker(class_=...)` those of another
        class, as SQLModel's. What they commit invalidates like a unit of work's."""
        self._require_started()
        entering = enter_scopes if self._registry.scopes else None
        return sessions_on(self._topology.write_engine, entering)

    def unit_of_work(self) -> UnitOfWork:
        """`async with db.unit_of_work() as work:` one transaction on the primary."""
        return UnitOfWork(self.sessionmaker, self._started.watch, self._registry, self._observe)

    def causal_session(
        self, *incoming: Bookmark | str | bytes | None, client: str | None = None
    ) -> AbstractAsyncContextManager[CausalSession]:
        """`async with db.causal_session(bookmark) as s:` reads in the block, and in tasks begun
        there, are not older than the bookmark, nor than what the block commits; `s.encode()` goes
        with the answer. `incoming`: bookmarks or their texts, as they came; several are merged.
        Never raises for what it is given. `client`: who sent them, as an address or a user: all its
        sessions together get at most half of the places for reads that bookmarks send to the
        primary.

        Raises UsageError for a client that is no text."""
        self._require_started()
        if not isinstance(client, str | None):
            raise UsageError(
                f"causal_session(client={client!r}): give a text, as the address of who sent the "
                "bookmark"
            )
        return self._routing.causal_session(*incoming, client=client)

    def bypass(self) -> AbstractContextManager[None]:
        """`with db.bypass():` reads in the block, and in tasks and sessions begun there, go past
        every cache, and fill none; what the session in scope is promised holds."""
        self._require_started()
        return self._routing.bypass()

    def recording(self) -> AbstractContextManager[Recording]:
        """`with db.recording() as made:` what repositories give in the block, and in tasks and
        sessions begun there, is recorded: which tags a commit tells when it changes. For who makes
        responses of it; see `repocache.http`."""
        return self._started.recordings.record()

    def scoped(self, **values: ScopeValue) -> AbstractAsyncContextManager[None]:
        """`async with db.scoped(tenant="a"):` in the block, and in tasks begun there, rows of the
        scope are those of this value: for repositories, `reading()` and `snapshot()`, and for units
        of work and sessions whose transaction begins there. Raises UsageError for a scope that no
        repository has, for a value that is not of the column's type, and for one that may name no
        schema; on entering, for a schema that is not there, and MappingRefused for tables in it
        that cannot be cached."""
        self._require_started()
        return entered(checked_values(self._registry.scopes, values), self._registry.used)

    async def absorb(self, incoming: Bookmark | str | bytes | None) -> None:
        """The session in scope is from now on not older than this either: what another service has
        done on behalf of it. Nothing without a session. Never raises for what it is given."""
        self._require_started()
        await self._routing.absorb(incoming)

    @property
    def subjects(self) -> Subjects:
        """Bookmarks that Redis keeps under a subject, as a user's id; see `Subjects`. Raises
        ConfigurationError without a Redis."""
        subjects = self._started.subjects
        if subjects is None:
            raise ConfigurationError(
                "this database has no Redis to keep subjects' bookmarks in: give "
                "Database(redis=...), or let clients carry them"
            )
        return subjects

    @property
    def has_redis(self) -> bool:
        """Whether it was given one."""
        return self._plan.address is not None

    def snapshot(
        self, *, max_lag: float | None = None
    ) -> AbstractAsyncContextManager[AsyncConnection]:
        """One read-only REPEATABLE READ transaction on one node, for reports: all statements see
        the same moment. In a causal session it is not older than what that wrote. `max_lag`:
        seconds that the node may be behind; None: as replicas may be. Raises DatabaseUnavailable if
        no node may answer."""
        self._require_started()
        return self._routing.snapshot(ANYWHERE if max_lag is None else Route(max_lag=max_lag))

    def reading(self, *, max_lag: float | None = None) -> AbstractAsyncContextManager[AsyncSession]:
        """`async with db.reading() as session:` a plain SQLAlchemy session that only reads, for
        joins, eager loads, streams and server-side cursors: one transaction as of `snapshot`, and
        not older than what the causal session wrote. Its entities are detached on leaving, and
        refused as the base of a write. Raises DatabaseUnavailable if no node may answer, UsageError
        for a write, ChangesLost if an entity was changed."""
        return reading_session(self.snapshot(max_lag=max_lag))

    def invalidations(self, repository: type[Repository[Any, I]]) -> Feed[I]:
        """`async with db.invalidations(Users) as changes:` an iterator over what is written, by
        anybody; see `Feed`. Raises UsageError where the policy tells nobody of changes."""
        receivers, keys = self._started.cache.receivers, self._registry[repository].keys
        check_told(repository.__name__, repository.policy)
        audience = Audience(receivers, self._home, lambda: self._topology.history)
        window, now = self.settings.window, self._topology.now
        return Feed(keys, audience, room=FEED_ROOM, window=window, clock=now)

    async def changes(
        self,
        session: AsyncSession,
        repository: type[Repository[Any, I]],
        ids: Sequence[I] | None = None,
    ) -> None:
        """Declare what textual SQL in a plain session touches; see `UnitOfWork.changes`."""
        watch = self._started.watch
        declared = self._registry.declared(repository, ids)
        connection = (await session.connection()).sync_connection
        assert connection is not None
        changes = watch.transaction_of(connection).changes
        for prefix, keys in declared:
            changes.declare(prefix, keys)

    @property
    def unguarded(self) -> tuple[Unguarded, ...]:
        """What works and is open to others: bookmarks, and the ways to servers."""
        return self._advice

    @property
    def nodes(self) -> tuple[NodeStatus, ...]:
        """Every node as it stands: in the rotation or why not, its sample and load."""
        return self._topology.nodes

    @property
    def replicas(self) -> tuple[Replica, ...]:
        """Those that were given last, each with its name. `db.replicas = [...]` gives others, as to
        the constructor, also while the database runs, in its event loop: a new one is read from
        after its first sample; one that is taken out gets no new read, and its connections end with
        the reads that are there, after 5 seconds at the latest.

        Raises ConfigurationError and OtherLoop; then nothing has changed."""
        return self._topology.replicas

    @replicas.setter
    def replicas(self, replicas: Sequence[DatabaseUrl | Replica]) -> None:
        self._topology.change_replicas(replicas)
        told, self._advice = self._advice, tuple(self._advise(self._topology.urls))
        if self._running is not None:
            for each in self._advice:
                if each not in told:
                    self._observe(each)
