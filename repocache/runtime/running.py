"""THE wiring of one database: what is started, in which order, and what each part is given.

Reading `start` from above shows the whole; what a part does is its own affair.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

from repocache.computed.declared import AnyComputed
from repocache.computed.read_through import ReadThrough
from repocache.errors import ConfigurationError
from repocache.events import Degraded, ignore
from repocache.invalidation.bus import nobody
from repocache.invalidation.familiar import FamiliarTags
from repocache.invalidation.outbox import OutboxMode
from repocache.invalidation.recent import RecentChanges
from repocache.invalidation.registered_tags import CommittedTags, RegisteredTags
from repocache.pages.pages import Pages
from repocache.publication.publisher import CommitPublisher, InFront
from repocache.publication.write_through import WriteThroughHook, WriteThroughOwner
from repocache.queries.known import ShapeBook
from repocache.records import Registrations
from repocache.repository.repository import Repository
from repocache.repository.storing import INVALIDATED, strict_needs, write_through_owners
from repocache.routing.seen import SeenTransactions
from repocache.runtime.behind import Behinds, open_behind
from repocache.runtime.cache import RunningCache, open_cache
from repocache.runtime.computed import open_computed
from repocache.runtime.description import describe
from repocache.runtime.edges import (
    EVERYTHING,
    REPLAYED,
    AnyPurger,
    PurgeQueue,
    RunningEdges,
    open_edges,
)
from repocache.runtime.measuring import Measuring
from repocache.runtime.outbox import NoOutbox, open_outbox
from repocache.runtime.pages import open_pages
from repocache.runtime.plan import DatabasePlan
from repocache.runtime.primary_wal import PrimaryWal
from repocache.runtime.purges import SPARE
from repocache.runtime.queries import RunningQueries, open_queries
from repocache.runtime.readers import RepositoryReader, readers, to_examine
from repocache.runtime.recordings import Recordings, recorded_owners
from repocache.runtime.responses import EdgeTags, NoEdgeTags, Responses
from repocache.runtime.subjects import open_subjects
from repocache.runtime.switch_signing import SwitchSigning
from repocache.runtime.switches import SharedSwitches
from repocache.subjects import Subjects
from repocache.tracking.listener import Tracker
from repocache.tracking.shaped import KnownShapes
from repocache.transactions.changes import Changes
from repocache.transactions.commit_watch import CommitWatch
from repocache.verification.verifier import Verifier


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A database that is started."""

    cache: RunningCache
    outbox: NoOutbox
    watch: CommitWatch
    verifier: Verifier
    subjects: Subjects | None
    readers: Mapping[type[Repository[Any, Any]], RepositoryReader]
    switches: SharedSwitches
    behind: Behinds
    measuring: Measuring
    recordings: Recordings
    purges: PurgeQueue
    responses: Responses
    computed: Mapping[AnyComputed, ReadThrough[Any, Any]]

    def new_history(self) -> None:
        """What was cached, or derived, in this process may hold commits that the new primary never
        had."""
        self.cache.channel.new_history()
        self.outbox.reconnect()
        self.purges.committed(EVERYTHING)


async def start(plan: DatabasePlan, stack: AsyncExitStack) -> Running:
    """Start the parts; what has to end is put on the stack. The topology is the first to start and
    the last to end: what is being published on leaving still needs it.

    No generator: a loop that is closed without leaving the database closes all of its generators
    at once, and this one and those of its parts would end each other.

    Raises DatabaseUnavailable, and ConfigurationError for what the database does not have.
    """
    settings, topology, registry = plan.settings, plan.topology, plan.registry
    observe, grace, primary = settings.observe, topology.grace, PrimaryWal(topology)
    book = ShapeBook()
    queue = PurgeQueue(plan.purge_after, plan.never_carried)
    await stack.enter_async_context(topology)
    await registry.locate()
    outbox = await stack.enter_async_context(outbox_of(plan))
    cache = await stack.enter_async_context(
        open_cache(
            settings,
            plan.address,
            registry.keys,
            primary,
            strict=any(each.policy.holds_readers_back for each, _ in registry),
            tags=partial(committed_tags, plan, book),
            asides=plan.lives.asides,
            recovered=outbox.wake,
            delivered=queue.committed if queue.after else nobody,
            grace=grace,
        )
    )
    edges = await stack.enter_async_context(edges_of(plan, cache, outbox, queue))
    in_front: list[InFront] = [queue.committed] if queue.after else []
    publisher = publisher_of(plan, cache, primary, outbox, in_front)
    outbox.relay_beside(cache.tasks.keep, cache.retry.deliver)
    watch = watched(plan, publisher, cache, book, stack)
    queries = open_queries(
        registry,
        cache,
        settings,
        plan.signing,
        book,
        computed=[each.policy for each in plan.computed],
    )
    verifier = Verifier(
        to_examine(registry, settings, plan.signing),
        local=cache.shared.local,
        sampler=cache.sampler,
        repair=cache.retry.deliver,
        observe=observe,
    )
    behind = await stack.enter_async_context(
        open_behind(
            plan.behind,
            settings=settings,
            topology=topology,
            address=plan.address,
            cache=cache,
            watch=watch,
        )
    )
    opened = readers(registry, cache, settings, plan.signing, verifier, queries=queries)
    switches = switches_of(plan, cache, opened)
    await switches.look()
    measuring = measuring_of(plan, cache, outbox, edges, behind)
    if cache.link is not None:
        cache.tasks.keep(switches.run)
    if observe is not ignore:
        cache.tasks.keep(measuring.run)
    recordings = recordings_of(plan, cache, opened, queries, in_front)
    return Running(
        cache=cache,
        outbox=outbox,
        watch=watch,
        verifier=verifier,
        subjects=open_subjects(cache, plan.routing, settings, observe),
        readers=opened,
        switches=switches,
        computed=open_computed(plan.computed, queries, plan.nodes),
        behind=behind,
        measuring=measuring,
        recordings=recordings,
        purges=queue,
        responses=responses_of(plan, recordings, pages_of(plan, cache, recordings)),
    )


def edges_of(
    plan: DatabasePlan, cache: RunningCache, outbox: NoOutbox, queue: PurgeQueue
) -> AbstractAsyncContextManager[RunningEdges | None]:
    """What purges the caches in front of the service, if there are some."""
    declared, settings, topology = plan.edges, plan.settings, plan.topology
    if declared is None:
        return nullcontext()
    owners = plan.registry.tags.prefixes
    familiar = FamiliarTags(cache.shared.records, owners, plan.purge_after, time.monotonic)

    def made(purger: AnyPurger) -> RunningEdges:
        return RunningEdges(
            queue=queue,
            purger=purger,
            familiar=familiar,
            purges=outbox.purges,
            history=lambda: topology.history,
            nodes=lambda: topology.nodes,
        )

    purger = declared.purger(declared.names(settings.app), settings.observe)
    return open_edges(made, purger, settings.observe)


def publisher_of(
    plan: DatabasePlan,
    cache: RunningCache,
    primary: PrimaryWal,
    outbox: NoOutbox,
    in_front: Sequence[InFront],
) -> CommitPublisher:
    """What happens after COMMIT, with what write-through stores. Raises ConfigurationError."""
    settings = plan.settings
    hook = WriteThroughHook(
        stored_owners(plan),
        primary.lineage,
        records=cache.shared.records,
        views=cache.shared.views,
        nonces=cache.nonces,
        evicts=cache.evicts,
        deadline=settings.publish_timeout,
        spawn=cache.tasks.spawn,
        observe=settings.observe,
    )
    return CommitPublisher(
        bus=cache.bus,
        tags=cache.tags,
        retry=cache.retry,
        views=cache.shared.views,
        primary=primary,
        lives=plan.lives,
        outbox=outbox,
        write_through=hook,
        in_front=in_front,
        spawn=cache.tasks.spawn,
        observe=settings.observe,
    )


def switches_of(
    plan: DatabasePlan,
    cache: RunningCache,
    opened: Mapping[type[Repository[Any, Any]], RepositoryReader],
) -> SharedSwitches:
    """Those of all processes, for these readers."""
    settings = plan.settings
    return SharedSwitches(
        readers={each.owner.prefix: reader for each, reader in opened.items()},
        declared=settings.cache.mode,
        link=cache.link,
        namespace=cache.shared.namespace,
        signing=SwitchSigning(settings.secrets, accept_unsigned=settings.accept_unsigned),
        now=plan.topology.now,
        observe=settings.observe,
    )


def measuring_of(
    plan: DatabasePlan,
    cache: RunningCache,
    outbox: NoOutbox,
    edges: RunningEdges | None,
    behind: Behinds,
) -> Measuring:
    """What the observer is told now and then."""
    return Measuring(
        patterns={each.prefix: each.in_figures for each in describe(plan)},
        local=cache.shared.local,
        link=cache.link,
        topology=plan.topology,
        outbox=outbox,
        edges=edges,
        behind={each.owner.prefix: found for each, found in behind.items()},
        observe=plan.settings.observe,
        every=plan.settings.measure_every,
    )


def recordings_of(
    plan: DatabasePlan,
    cache: RunningCache,
    opened: Mapping[type[Repository[Any, Any]], RepositoryReader],
    queries: RunningQueries | None,
    in_front: list[InFront],
) -> Recordings:
    """Of what responses are made of."""
    policies = {
        keys.prefix: (policy, "" if binding.scope is None else binding.scope.scope.name)
        for repository, binding in plan.registry
        for keys, _, policy in binding.cached(repository.policy)
    }
    return Recordings(
        recorded_owners(opened.values(), policies),
        shared=cache.shared,
        routing=plan.routing,
        tokens=None if queries is None else queries.tokens,
        recent=partial(heard_from_now, cache, in_front),
    )


def pages_of(plan: DatabasePlan, cache: RunningCache, recordings: Recordings) -> Pages | None:
    """Whole responses, if they are kept."""
    if plan.pages is None:
        return None
    return open_pages(plan.pages, cache, recordings, plan.signing, plan.nodes)


def responses_of(plan: DatabasePlan, recordings: Recordings, pages: Pages | None) -> Responses:
    """What makers of responses ask."""
    edges, settings = plan.edges, plan.settings
    tags = NoEdgeTags() if edges is None else EdgeTags.of(edges, settings.app)
    after = plan.purge_after
    fresh_for = after + settings.publish_timeout + REPLAYED + SPARE if after else 0.0
    return Responses(recordings, pages, tags, fresh_for=fresh_for)


def heard_from_now(cache: RunningCache, in_front: list[InFront]) -> RecentChanges:
    """What changes, by messages and by this process's own commits."""
    recent = RecentChanges(cache.nonces.process, alive=cache.shared.views.alive)
    cache.receivers.append(recent)
    in_front.append(recent.committed)
    return recent


def committed_tags(
    plan: DatabasePlan, book: ShapeBook, registrations: Registrations
) -> CommittedTags | None:
    """Which tags commits move: those of the shapes that are registered. None: nothing is cached
    with tags."""
    tags, settings = plan.registry.tags, plan.settings
    if not tags.tables:
        return None
    return RegisteredTags(
        registrations, tags.prefixes, book.learn, settings.publish_timeout / 2, settings.observe
    )


def watched(
    plan: DatabasePlan,
    publisher: CommitPublisher,
    cache: RunningCache,
    shapes: KnownShapes,
    stack: AsyncExitStack,
) -> CommitWatch:
    """The primary's engine, whose commits are followed from now on: what they change, what their
    sessions see, and the commit itself, which is the first to end."""
    engine, registry = plan.topology.write_engine, plan.registry
    watch = CommitWatch(engine, publisher, cache.tasks.spawn_to_end, Changes)
    of, observe = watch.transaction_of, plan.settings.observe
    tracker = Tracker(
        engine,
        registry.owned,
        of,
        observe,
        registry.functions,
        shapes=shapes,
        schemas=registry.schemas,
    )
    stack.callback(tracker.stop)
    stack.callback(SeenTransactions(engine, plan.routing, plan.topology).stop)
    stack.push_async_callback(watch.close, plan.topology.grace)
    return watch


def outbox_of(plan: DatabasePlan) -> AbstractAsyncContextManager[NoOutbox]:
    """The outbox, where there are others who would have to be told. Raises ConfigurationError."""
    settings = plan.settings
    if plan.is_shared and settings.outbox is not OutboxMode.OFF:
        topology = plan.topology
        return open_outbox(
            topology.outbox_engine(),
            settings,
            plan.registry.owned,
            topology.grace,
            schemas=plan.registry.schemas,
            purge_after=plan.purge_after,
        )
    if settings.outbox is OutboxMode.REQUIRED:
        raise ConfigurationError(
            "Settings(outbox=OutboxMode.REQUIRED): an outbox needs PostgreSQL and a Redis"
        )
    return nullcontext(NoOutbox())


def stored_owners(plan: DatabasePlan) -> list[WriteThroughOwner]:
    """Owners whose commits store values: none where that cannot be had. Raises ConfigurationError
    for a strict one."""
    owners = [each for each in plan.registry if each[0].policy.stores_on_commit]
    observe = plan.settings.observe
    if not owners or plan.is_shared:
        return write_through_owners(owners, plan.settings.cache, plan.signing, observe)
    for repository, _ in owners:
        if repository.policy.holds_readers_back:
            raise strict_needs(repository, "WAL positions")
    observe(Degraded("write-through", INVALIDATED))
    return []
