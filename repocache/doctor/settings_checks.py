"""What an application's own settings leave open, or contradict: each a function of the set-up.
Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from repocache.cache.switch import CacheMode
from repocache.doctor.finding import Finding, error, note, warning
from repocache.doctor.setup import SetupFacts

LONG = 60.0
"""Seconds that a process may show what it was never told of."""


def open_ways(setup: SetupFacts) -> Iterator[Finding]:
    """Unsigned bookmarks, and connections without TLS."""
    for each in setup.unguarded:
        risk, _, remedy = each.risk.partition("; ")
        yield warning(f"not guarded: {each.what}", risk, remedy, "security.md")


def is_on(setup: SetupFacts) -> Finding | None:
    """A mode that was set for a day, and stayed."""
    mode = setup.settings.cache.mode
    if mode is CacheMode.ON:
        return None
    return warning(
        "the caches are not on",
        f"CacheSettings(mode=CacheMode.{mode.name})",
        "take it out of the settings once it has served its purpose",
        "verification.md",
    )


def hears_of_others(setup: SetupFacts) -> Finding | None:
    """L1 without a channel is as old as its time."""
    if setup.redis is not None:
        return None
    deaf = [
        f"{each.declared} {each.times.local_ttl:g} s"
        for each in setup.owners
        if each.times is not None and each.times.local_ttl > LONG
    ]
    if not deaf:
        return None
    return warning(
        "L1 keeps rows for long, and hears of no other process",
        ", ".join(deaf),
        "give Database(redis=...), or a local_ttl of seconds",
        "policies.md",
    )


def value_fits_l1(setup: SetupFacts) -> Finding | None:
    """One value would throw all others out."""
    settings = setup.settings
    if settings.cache.max_value * 4 <= settings.local_bytes:
        return None
    return note(
        "a few large values fill L1",
        f"max_value {settings.cache.max_value}, local_bytes {settings.local_bytes}",
        "raise Settings(local_bytes=...), or lower CacheSettings(max_value=...)",
        "settings.md",
    )


def window_outlives_commits(setup: SetupFacts) -> Finding | None:
    """Publishing must end while the bookmark still counts."""
    settings = setup.settings
    if settings.publish_timeout < settings.window / 2:
        return None
    return error(
        "commits may wait for Redis longer than their bookmarks count",
        f"publish_timeout {settings.publish_timeout:g} s, window {settings.window:g} s",
        "lower Settings(publish_timeout=...), or raise Settings(window=...)",
        "settings.md",
    )


SETTINGS_CHECKS: tuple[Callable[[SetupFacts], Finding | None], ...] = (
    *(is_on, hears_of_others, value_fits_l1, window_outlives_commits),
)
