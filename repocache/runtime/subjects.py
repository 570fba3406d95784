"""The subjects' bookmarks of a running database, where there is a Redis to keep them."""

from __future__ import annotations

from repocache.events import Observer
from repocache.routing.routing import Routing
from repocache.runtime.cache import RunningCache
from repocache.settings import Settings
from repocache.subjects import Subjects


def open_subjects(
    cache: RunningCache, routing: Routing, settings: Settings, observe: Observer
) -> Subjects | None:
    """None without a Redis: a process alone would keep them from the others."""
    if cache.link is None:
        return None
    subjects = Subjects(
        link=cache.link,
        namespace=cache.shared.namespace,
        nonces=cache.nonces,
        peer=cache.channel,
        signer=routing.signer,
        window=settings.window,
        times=routing,
        spawn_to_end=cache.tasks.spawn_to_end,
        spawn=cache.tasks.spawn,
        observe=observe,
    )
    cache.receivers.append(subjects)
    return subjects
