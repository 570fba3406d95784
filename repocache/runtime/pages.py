"""Pages of a running database."""

from __future__ import annotations

from contextvars import Context
from typing import Any

from repocache.cache.entry import Codec, Load, Source
from repocache.cache.signature import Signing
from repocache.cache.tiered import TieredCache
from repocache.errors import RepocacheError
from repocache.events import CacheFailed
from repocache.invalidation.batch import Batch
from repocache.pages.loaders import BodyLoader, TraceLoader
from repocache.pages.page import (
    PageCodec,
    PageKey,
    PageKeys,
    Rendered,
    TraceCodec,
    first,
    page_keys,
)
from repocache.pages.pages import Pages
from repocache.pages.policy import PageCache
from repocache.redaction.foreign import in_brief
from repocache.repository.rows import Nodes
from repocache.routing.around import current_session
from repocache.routing.recording import Trace
from repocache.runtime.cache import RunningCache
from repocache.runtime.recordings import Recordings

FORM = "page1"
"""In the place of the fingerprint of a row's shape."""


def open_pages(
    declared: PageCache,
    cache: RunningCache,
    recordings: Recordings,
    signing: Signing,
    nodes: Nodes,
) -> Pages:
    """Of one database."""
    shared, (of_traces, of_bodies) = cache.shared, page_keys(declared.owner)
    fingerprint = signing.fingerprint(FORM)
    signature = signing.signature(fingerprint)

    async def keep(id: Any) -> object:
        return await bodies.read_past_l1(id, None)

    async def replace(key: PageKey) -> None:
        """The old trace gives way: the key is invalidated, and then loaded by who holds the new
        one."""
        batch = Batch({of_traces.prefix: frozenset((of_traces.text(key),))})
        try:
            await cache.retry.deliver(batch)
            await traces.read_past_l1(key, None)
        except RepocacheError as error:
            shared.observe(CacheFailed("page", in_brief(error)))
            cache.retry.add(batch)

    def renew(text: str, trace: Trace) -> None:
        async def again() -> Rendered:
            return Rendered(None, trace, is_traced=True)

        shared.spawn(replace(PageKey.of(text, again, Context())))

    def kept(keys: PageKeys, codec: Codec, load: Load) -> TieredCache:
        source = Source(
            keys, fingerprint, declared.policy, codec, load, first, signature, alone=True
        )
        return TieredCache(source, shared, current_session)

    traces = kept(of_traces, TraceCodec(), TraceLoader(keep).load)
    bodies = kept(of_bodies, PageCodec(), BodyLoader(keep, renew).load)
    return Pages(
        traces=traces,
        bodies=bodies,
        versions=recordings,
        asking=nodes.routing.asking,
        spawn=shared.spawn,
        renew=renew,
        stale=declared.stale_while_revalidate,
        clock=nodes.topology.now,
    )
