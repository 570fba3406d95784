"""What operators ask of a running database: which caches answer, whether they are right, what is to
be forgotten or fetched."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, TypeVar

from repocache.background.home import Home
from repocache.cache.switch import CacheMode
from repocache.errors import ConfigurationError, InvalidId, NotStarted, OwnerClash
from repocache.events import Observer
from repocache.invalidation.batch import Batch
from repocache.invalidation.channel import Receiver
from repocache.invalidation.held import Held
from repocache.keys import owner_bucket, shown
from repocache.records import CallerHistory
from repocache.repository.registry import Registry
from repocache.repository.repository import Repository
from repocache.runtime.description import OwnerDescription, describe
from repocache.runtime.inspection import Inspection, inspect_key
from repocache.runtime.outbox import RunningOutbox
from repocache.runtime.plan import DatabasePlan
from repocache.runtime.purges import RunningPurges
from repocache.runtime.readers import to_examine
from repocache.runtime.responses import Responses, made_anew
from repocache.runtime.running import Running
from repocache.runtime.served import RouteDescription
from repocache.runtime.switches import LONGEST, SharedSwitch
from repocache.tags import named_tag
from repocache.verification.shadow import ShadowCount
from repocache.verification.verdict import Verification

I = TypeVar("I")  # noqa: E741  # as in Repository

WARMED_AT_ONCE = 512
"""Ids of one statement."""


class Operations:
    """The part of `Database` that operators use."""

    _plan: DatabasePlan
    _registry: Registry
    _observe: Observer
    _home: Home
    _running: Running | None
    _routes: tuple[RouteDescription, ...] = ()

    @property
    def _started(self) -> Running:
        """Raises NotStarted, and OtherLoop."""
        if self._running is None:
            raise NotStarted
        self._home.check()
        return self._running

    def _require_started(self) -> None:
        _ = self._started

    @property
    def plan(self) -> DatabasePlan:
        """What it was made with, checked: for who examines it from outside. No promise is made of
        what is in it."""
        return self._plan

    @property
    def owners(self) -> tuple[OwnerDescription, ...]:
        """The one owner of every key of this database, as it is declared; it need not be started.
        What the database itself says of tables is in it from the first start on."""
        return describe(self._plan)

    @property
    def responses(self) -> Responses:
        """For who makes responses; see `repocache.http.HttpCache`."""
        return self._started.responses

    def serves(self, routes: Iterable[RouteDescription]) -> None:
        """An application tells what its routes may be kept for; `routes` has what was told last."""
        self._routes = tuple(routes)

    @property
    def routes(self) -> tuple[RouteDescription, ...]:
        """Of the application that `HttpCache` stands in front of, the most specific first."""
        return self._routes

    @property
    def keeps_pages(self) -> bool:
        """Whether it was given `pages`."""
        return self._plan.pages is not None

    def now(self) -> float:
        """Unix time in seconds, by the primary's clock."""
        return self._plan.topology.now()

    async def revalidate_tag(self, *tags: str) -> None:
        """`await db.revalidate_tag("product:123")`: pages that were made of these tags are made
        anew when they are next asked for, and edges purge them, though nothing of them has changed.

        A tag is a key, an owner's prefix for all of its pages, or one of the application's own by
        its name, as `work.invalidate("home")` has it. Raises UsageError for what is no tag,
        CacheUnavailable."""
        running, owned = self._started, self._registry.keys
        told = made_anew(
            [tag if tag.partition(":")[0] in owned else named_tag(tag) for tag in tags]
        )
        await running.cache.retry.deliver(told.slots)
        running.purges.committed(told.batch)

    @contextmanager
    def hearing(self, receiver: Receiver) -> Iterator[None]:
        """`with db.hearing(receiver):` it hears every message of the channel in the block."""
        receivers = self._started.cache.receivers
        receivers.append(receiver)
        try:
            yield
        finally:
            receivers.remove(receiver)

    @property
    def counting_switches(self) -> Mapping[str, SharedSwitch]:
        """The switches of all processes that this one follows now, by the owner's prefix."""
        return self._started.switches.counting

    async def shapes(self) -> Mapping[str, Sequence[str]]:
        """Which shapes of cached selects are registered, by the prefix of their tables' tags: what
        commits tell of. Raises CacheUnavailable if Redis is away."""
        started, found = self._started, {}
        history = CallerHistory(self._plan.topology.history)
        for prefix in sorted(self._registry.tags.prefixes):
            records = started.cache.shared.records
            said = await records.look(owner_bucket(prefix), prefix, history)
            if said is not None and said.shapes:
                found[prefix] = tuple(said.shapes)
        return found

    async def inspect(self, repository: type[Repository[Any, Any]], key: str) -> Inspection:
        """One key of a repository, as its records, Redis and the primary have it, by its text as
        `KeyOwner` makes it, without the prefix. It changes nothing. Raises InvalidId,
        DatabaseUnavailable; a Redis that does not answer is told."""
        started, binding = self._started, self._registry[repository]
        keys = binding.keys
        try:
            id = keys.id(f"{keys.prefix}:{key}")
        except OwnerClash as error:
            types = ", ".join(each.__name__ for each in keys.types)
            raise InvalidId(f"{keys.prefix}: {shown(key)} is no id of the type {types}") from error
        examined = to_examine(self._registry, self._plan.settings, self._plan.signing)[keys.prefix]
        names = binding.rows.plan.layout.names
        return await inspect_key(examined, id, started.cache.link, self._plan.settings, names)

    def switch(self, repository: type[Repository[Any, Any]], mode: CacheMode) -> None:
        """Answer the repository's reads in this mode from now on, in this process."""
        switches = self._started.switches
        _require_mode("switch", mode)
        switches.turn(self._registry[repository].keys.prefix, mode)

    async def switch_everywhere(
        self,
        repository: type[Repository[Any, Any]],
        mode: CacheMode | None,
        *,
        seconds: float = 600.0,
        by: str = "",
    ) -> None:
        """Answer the repository's reads in this mode in every process of this `Settings.app`, those
        that start meanwhile too, for so many seconds, at most a day; then each has its own mode
        again. In this process at once, in the others within some seconds. `mode`: None: end it now.
        `by`: who does so, for events and lists. Raises CacheUnavailable if Redis is away."""
        switches = self._started.switches
        owner = self._registry[repository].keys.prefix
        if mode is None:
            await switches.end(owner)
            return
        _require_mode("switch_everywhere", mode)
        if not 0 < seconds <= LONGEST:
            raise ConfigurationError(
                f"switch_everywhere(seconds={seconds!r}): give more than 0 and at most a day"
            )
        await switches.switch(owner, mode, seconds, by)

    async def switches(self) -> Mapping[str, SharedSwitch]:
        """Those of all processes that count now, by the owner's prefix. Raises CacheUnavailable if
        Redis is away."""
        return await self._started.switches.read()

    @property
    def modes(self) -> Mapping[str, CacheMode]:
        """How reads of each repository are answered now, in this process, by its owner's prefix."""
        return {
            self._registry[repository].keys.prefix: reader.mode
            for repository, reader in self._started.readers.items()
        }

    def shadow(self, repository: type[Repository[Any, Any]]) -> ShadowCount:
        """What the repository's reads in `CacheMode.SHADOW` have shown so far, in this process."""
        readers = self._started.readers
        _ = self._registry[repository]
        return readers[repository].shadow.count

    async def verify(self, samples: int = 1_000, within: float = 2.0) -> Verification:
        """Compare up to `samples` values of each tier, drawn at random, with the primary, and
        invalidate those that are wrong: older than the primary's row for `within` seconds or more,
        which is how long an invalidation may be on its way. L1 is this process's own.

        Raises CacheUnavailable if Redis is away, DatabaseUnavailable if the primary is.
        """
        verifier = self._started.verifier
        if samples < 1 or not within >= 0:
            raise ConfigurationError(
                f"verify(samples={samples}, within={within}): give 1 or more, and seconds"
            )
        return await verifier.verify(samples, within)

    async def measure(self, observe: Observer | None = None) -> None:
        """Tell the observer now how things stand, as it is told every `Settings.measure_every`
        seconds; `observe`: this one in its place. What cannot be measured is an event
        (`MeasureFailed`)."""
        measuring = self._started.measuring
        await (measuring if observe is None else replace(measuring, observe=observe)).measure()

    @property
    def is_durable(self) -> bool:
        """Whether commits write the outbox, so that no invalidation is lost with this process."""
        return isinstance(self._started.outbox, RunningOutbox)

    @property
    def outbox(self) -> Held:
        """What waits there, and what was put aside. Raises ConfigurationError without one."""
        outbox = self._started.outbox
        if not isinstance(outbox, RunningOutbox):
            raise ConfigurationError(
                "this database has no outbox: op.create_repocache_outbox() makes one"
            )
        return outbox.held

    @property
    def purges(self) -> Held:
        """What edges have still to purge, and what was put aside. Raises ConfigurationError without
        edges, or their table."""
        purges = self._started.outbox.purges
        if not isinstance(purges, RunningPurges):
            raise ConfigurationError(
                "this database keeps no purges: it needs Database(edges=...), an outbox, and the "
                "table that op.create_repocache_purges() makes"
            )
        return purges.held

    async def clear(self, declared: type[Any]) -> None:
        """Forget all that is cached of a repository, or of a `ReadThrough`, in every process: of a
        repository also its lookups, key lists, counts and the answers of its selects. One change
        for each, however much is cached. Raises CacheUnavailable if Redis is away, and
        ConfigurationError for a class that was not given."""
        retry = self._started.cache.retry
        await retry.deliver(Batch({}, frozenset(self._plan.prefixes(declared))))

    async def invalidate(
        self, repository: type[Repository[Any, I]], ids: Sequence[I]
    ) -> Sequence[str]:
        """Forget what is cached of these rows, in every process, as a commit does that declares
        them by `work.changes(repository, ids)`; what was told: keys, and prefixes of owners that
        were forgotten as a whole. Raises InvalidId, ScopeMissing, CacheUnavailable if Redis is
        away, and ConfigurationError for a class that was not given."""
        retry = self._started.cache.retry
        owners: set[str] = set()
        keys: dict[str, frozenset[str]] = {}
        for prefix, texts in self._registry.declared(repository, ids):
            if texts is None:
                owners.add(prefix)
            else:
                keys[prefix] = keys.get(prefix, frozenset()).union(texts)
        named = {owner: texts for owner, texts in keys.items() if texts and owner not in owners}
        await retry.deliver(Batch(named, frozenset(owners)))
        return [*sorted(key for texts in named.values() for key in texts), *sorted(owners)]

    async def warm(self, repository: type[Repository[Any, I]], ids: Sequence[I]) -> int:
        """Bring the rows of these ids into the caches, some hundred by a statement; how many there
        are. Raises InvalidId, and DatabaseUnavailable."""
        readers, _ = self._started.readers, self._registry[repository]
        reader = readers[repository].repository
        found = 0
        for begin in range(0, len(ids), WARMED_AT_ONCE):
            found += len(await reader.get_many(ids[begin : begin + WARMED_AT_ONCE]))
        return found


def _require_mode(call: str, mode: object) -> None:
    if not isinstance(mode, CacheMode):
        raise ConfigurationError(f"{call}({mode!r}): give a CacheMode, as in CacheMode.OFF")
