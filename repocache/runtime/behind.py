"""What is written behind, of a running database: opened, flushed beside its users, and flushed once
more on leaving.

Owns their start and stop. What they do is theirs.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from repocache.background.tasks import Grace, Tasks
from repocache.behind.accepting import Acceptor
from repocache.behind.client import SideClient, client_to
from repocache.behind.dead_letters import DeadLetters
from repocache.behind.declared import BehindBinding
from repocache.behind.flusher import Flusher
from repocache.behind.flushing import FlushTransaction
from repocache.behind.reading import PendingReader
from repocache.behind.streams import Stream, StreamNames
from repocache.behind.tables import BehindTables
from repocache.behind.tail import Tail
from repocache.behind.write_behind import AnyBehind, OpenBehind, WriteBehind
from repocache.behind.writing import ChangeStatements
from repocache.errors import NotStarted, RepocacheError
from repocache.events import BacklogLeft, Degraded, Observer
from repocache.keys import bucket_of
from repocache.nodes.topology import Topology
from repocache.redaction.foreign import in_brief
from repocache.redis_link import Address
from repocache.runtime.cache import RunningCache
from repocache.settings import Settings
from repocache.transactions.commit_watch import CommitWatch
from repocache.transactions.session_factory import sessions_on
from repocache.transactions.unit_of_work import PrimaryTransaction

MOST_STREAMS = 1_024
"""Of one owner, that are looked for."""
EVICTED = (
    "what was accepted and is not flushed yet goes when Redis needs room, and nobody is told: set "
    "maxmemory-policy noeviction, or one of the volatile ones"
)
Behinds = Mapping[AnyBehind, WriteBehind[Any, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ground:
    """What all classes of a database share."""

    settings: Settings
    topology: Topology
    cache: RunningCache
    tables: BehindTables
    client: SideClient
    opening: Callable[[], PrimaryTransaction]
    check: Callable[[], None]


@asynccontextmanager
async def open_behind(  # noqa: PLR0913  # keyword-only
    bindings: Mapping[AnyBehind, BehindBinding],
    *,
    settings: Settings,
    topology: Topology,
    address: Address | None,
    cache: RunningCache,
    watch: CommitWatch,
) -> AsyncIterator[Behinds]:
    """Leaving takes nothing more, flushes what waits for as long as the grace lasts, and says what
    it left. Raises ConfigurationError for tables that are not there, DatabaseUnavailable."""
    if not bindings or address is None or cache.link is None:
        yield {}
        return
    observe = settings.observe
    tables = BehindTables(settings.outbox_schema)
    await tables.check(topology)
    if cache.evicts() and not (cache.channel.policy or "").startswith("volatile"):
        observe(Degraded(f"write-behind: maxmemory-policy is {cache.channel.policy}", EVICTED))
    is_open = True

    def check() -> None:
        if not is_open:
            raise NotStarted

    sessions = sessions_on(topology.write_engine)
    async with AsyncExitStack() as stack:
        patience = settings.link.connect_timeout
        client = SideClient(partial(client_to, address, patience), cache.channel)
        ground = _Ground(
            settings=settings,
            topology=topology,
            cache=cache,
            tables=tables,
            client=await stack.enter_async_context(client),
            opening=lambda: PrimaryTransaction(sessions, watch.transaction_of, observe),
            check=check,
        )
        opened = {each: await _open(binding, ground) for each, binding in bindings.items()}
        tasks = await stack.enter_async_context(Tasks(topology.grace, observe))
        for each in opened.values():
            for run in each.runs:
                tasks.keep(run)
        try:
            yield {each: each(found) for each, found in opened.items()}
        finally:
            is_open = False
            owners = {each.owner.prefix: found for each, found in opened.items()}
            await _leave(owners, topology.grace, observe)


async def _open(binding: BehindBinding, ground: _Ground) -> OpenBehind[Any]:
    flush, link = binding.declared.flush, ground.cache.link
    assert link is not None
    columns, loading, owner = binding.columns, binding.loading, binding.owner
    writer = ChangeStatements(columns, loading)
    transaction = FlushTransaction(owner, ground.opening, ground.tables, writer)
    names = [StreamNames(ground.settings.app, owner, at) for at in range(MOST_STREAMS)]
    written = await transaction.numbers([each.items for each in names])
    used = [each for each in names if each.number < flush.streams or each.items in written]
    streams = [Stream(each, ground.client) for each in used]
    tails = [Tail(each) for each in streams]
    beside = tails[flush.streams :]

    def tails_of(key: str) -> Sequence[Tail]:
        """What was put into a stream that is not written to any more came first."""
        return (*beside, tails[bucket_of(key) % flush.streams])

    nonces = ground.cache.nonces
    return OpenBehind(
        columns=columns,
        acceptors=[
            Acceptor(each, flush, link, ground.cache.channel, nonces)
            for each in names[: flush.streams]
        ],
        flushers=[
            Flusher(
                owner=owner,
                holder=nonces.process,
                stream=each,
                flush=flush,
                transaction=transaction,
                observe=ground.settings.observe,
            )
            for each in streams
        ],
        reader=PendingReader(ground.topology, columns, loading, ground.tables, tails_of),
        dead=DeadLetters(
            owner=owner,
            opening=ground.opening,
            tables=ground.tables,
            columns=columns,
            writer=writer,
            check=ground.check,
        ),
        check=ground.check,
    )


async def _leave(opened: Mapping[str, OpenBehind[Any]], grace: Grace, observe: Observer) -> None:
    """Half of what is left of the grace: publishing what the flush has written needs some, too."""
    left, loop = grace.left() / 2, asyncio.get_running_loop()
    until = loop.time() + left
    for owner, each in opened.items():
        why = "there was no time"
        try:
            async with asyncio.timeout_at(until):
                await asyncio.gather(*(acceptor.close() for acceptor in each.acceptors))
                await asyncio.gather(*(flusher.flushed() for flusher in each.flushers))
                continue
        except (RepocacheError, SQLAlchemyError, OSError) as error:
            why = in_brief(error) or why
        observe(BacklogLeft(owner, await _waiting(each), why))


async def _waiting(each: OpenBehind[Any]) -> int | None:
    try:
        async with asyncio.timeout(1.0):
            found = await asyncio.gather(*(stream.look() for stream in each.streams))
    except (RepocacheError, OSError):
        return None
    return sum(turn.left for turn in found)
