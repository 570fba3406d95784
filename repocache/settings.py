"""How a database behaves beyond its addresses and repositories: one frozen value, whose defaults
are right."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from repocache.cache.entry import CacheSettings
from repocache.engines.topology_settings import TopologySettings
from repocache.errors import ConfigurationError
from repocache.events import LoggingObserver, Observer, check_observer
from repocache.invalidation.identifier import checked, checked_all
from repocache.invalidation.outbox import OutboxMode
from repocache.mapping.rules import Codecs, Eager, check_codecs
from repocache.redis_link import LinkSettings
from repocache.signing.bookmarks import SHORTEST
from repocache.transactions.cached_marker import Misuse


@dataclass(frozen=True, slots=True)
class Settings:
    """All times in seconds, all sizes in bytes."""

    #: Begins every key and the channel in Redis: the same in all services of one database, and
    #: another for each other cluster that uses this Redis; else both read past the cache where they
    #: meet, or, where positions are not to be had, one reads the other's rows.
    app: str = "app"
    #: `local_entries`, `local_bytes`: bounds of L1 in each process, in memory with ids and indexes.
    local_entries: int = 100_000
    local_bytes: int = 64 * 1024 * 1024
    #: How long a covered bookmark counts for what no position tells, and how long a session that
    #: wrote reads the primary where positions are not to be had; more than the greatest lag of a
    #: replica in the rotation.
    window: float = 60.0
    #: How long a bookmark counts at least whose invalidation nobody has delivered. By itself it is
    #: the longest ttl and local_ttl of this process, and what a fill may come late; where processes
    #: or releases differ in these, give all of them the longest.
    uncovered: float = 0.0
    #: How long a commit waits for Redis to take its invalidation before it returns without.
    publish_timeout: float = 1.0
    #: Bookmarks also advance by what was read, so that a session never sees an older state than it
    #: has seen; its reads go past the cache.
    monotonic: bool = False
    #: Sign bookmarks, messages and switches with the first, accept all (key rotation: a new one is
    #: known to all processes before one of them puts it first); empty: nothing is signed, and
    #: whatever others have signed is taken.
    secrets: tuple[str, ...] = field(default=(), repr=False)
    #: With secrets, take what is not signed too: the first of two steps in which a running fleet is
    #: given secrets.
    accept_unsigned: bool = False
    #: Sign what is stored in Redis too, with keys made from the secrets: for a Redis that others
    #: can write in.
    sign_values: bool = False
    #: Whether invalidations are also written to the database's outbox, with the commit; see
    #: `OutboxMode`.
    outbox: OutboxMode = OutboxMode.AUTO
    #: Where its table is.
    outbox_schema: str = "public"
    #: Roles that may own it, beside those who may do as they like with the application's role
    #: anyway: itself, its members, superusers, the owners of the database and of the cached tables.
    outbox_owners: tuple[str, ...] = ()
    #: What a change of an entity that came from a cache leads to; see `Misuse`.
    misuse: Misuse = Misuse.RAISE
    #: What becomes of relationships that a mapping loads with their owner; see `Eager`.
    eager: Eager = Eager.NOT_LOADED
    #: How values of columns are cached whose SQLAlchemy type is of this class, where the repository
    #: declares no codec: `{Money: ColumnCodec(...)}`. Needed for views and lookups of types that
    #: make values of their own.
    codecs: Codecs = field(default_factory=dict, hash=False)
    #: How often the observer is told how things stand: L1 and loads of each owner, Redis, the
    #: outbox, what is written behind.
    measure_every: float = 10.0
    #: Gets every event, and must not block; the default writes troubles, each with its remedy, to
    #: the log `repocache` (`repocache.events.ignore`: nobody hears of them). What it raises is
    #: logged, and reaches nobody.
    observe: Observer = field(default_factory=LoggingObserver, repr=False)
    topology: TopologySettings = field(default_factory=TopologySettings)
    cache: CacheSettings = field(default_factory=CacheSettings)
    link: LinkSettings = field(default_factory=LinkSettings)

    def __post_init__(self) -> None:
        self._check_app()
        self._check_lives()
        if not isinstance(self.outbox, OutboxMode):
            raise ConfigurationError(
                f"Settings(outbox={self.outbox!r}): give an OutboxMode, as in OutboxMode.REQUIRED"
            )
        checked("Settings: outbox_schema", self.outbox_schema)
        if not isinstance(self.outbox_owners, tuple):
            raise ConfigurationError(
                f"Settings(outbox_owners={self.outbox_owners!r}): give a tuple of roles' names"
            )
        checked_all("Settings: outbox_owners", self.outbox_owners)
        if not isinstance(self.misuse, Misuse):
            raise ConfigurationError(
                f"Settings(misuse={self.misuse!r}): give a Misuse, as in Misuse.TELL"
            )
        if not isinstance(self.eager, Eager):
            raise ConfigurationError(
                f"Settings(eager={self.eager!r}): give an Eager, as in Eager.REFUSE"
            )
        check_codecs(self.codecs)
        object.__setattr__(self, "codecs", dict(self.codecs))
        for name in ("local_entries", "local_bytes"):
            if getattr(self, name) < 1:
                raise ConfigurationError(f"Settings({name}={getattr(self, name)}): give at least 1")
        self._check_secrets()
        check_observer("Settings(observe=...)", self.observe)

    def _check_secrets(self) -> None:
        secrets: object = self.secrets
        if not isinstance(secrets, tuple) or not all(isinstance(secret, str) for secret in secrets):
            raise ConfigurationError("Settings(secrets=...): give a tuple of strings")
        if any(len(secret.encode()) < SHORTEST for secret in self.secrets):
            raise ConfigurationError(
                f"Settings(secrets=...): a secret has at least {SHORTEST} bytes"
            )
        if self.accept_unsigned and not self.secrets:
            raise ConfigurationError(
                "Settings(accept_unsigned=True): it is of use with Settings(secrets=(...,)) only"
            )
        if self.sign_values and not self.secrets:
            raise ConfigurationError(
                "Settings(sign_values=True): give Settings(secrets=(...,)) to sign them with"
            )

    def _check_app(self) -> None:
        if (
            not self.app
            or not self.app.isascii()
            or not self.app.isprintable()
            or any(each in self.app for each in "{}:'\" \\")
            or len(self.app) > 64
        ):
            raise ConfigurationError(
                f"Settings(app={self.app!r}): give 1 to 64 ASCII characters without braces, "
                "colons, quotes and spaces"
            )

    def _check_lives(self) -> None:
        if not self.window > self.topology.staleness:
            raise ConfigurationError(
                f"Settings(window={self.window}): a bookmark must outlive the lag of a replica in "
                "the rotation, topology.max_lag + sample_every + probe_timeout = "
                f"{self.topology.staleness}"
            )
        if not self.window > self.link.limits.silence:
            raise ConfigurationError(
                f"Settings(window={self.window}): a bookmark must outlive what L1 may show while "
                f"the link to Redis is silent, link.limits.silence = {self.link.limits.silence}"
            )
        if not 0 <= self.uncovered < math.inf:
            raise ConfigurationError(
                f"Settings(uncovered={self.uncovered}): give seconds, 0 or more"
            )
        for name in ("publish_timeout", "measure_every"):
            if not getattr(self, name) > 0:
                raise ConfigurationError(
                    f"Settings({name}={getattr(self, name)}): give seconds, more than 0"
                )
