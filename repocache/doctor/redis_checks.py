"""What may be wrong with a Redis: each a function of the set-up. Pure."""

from __future__ import annotations

from collections.abc import Callable

from repocache.doctor.finding import Finding, error, note, warning
from repocache.doctor.setup import SetupFacts

PAGE = "redis.md"
SMALLEST_LIMIT = 32 * 1024 * 1024
FULL = 0.9
"""Share of `maxmemory` from which on it is as good as full."""
SLOW = 0.25
"""Seconds of a round trip over the channel, from which on other processes are told late."""
MOST_SKEW = 1.0
"""Seconds."""


def answers(setup: SetupFacts) -> Finding | None:
    """Without it reads go to the database, and invalidations wait."""
    redis = setup.redis
    if redis is None or not redis.unreachable:
        return None
    return error(
        "Redis does not answer",
        redis.unreachable,
        "look whether it runs and can be reached, at the URL, user, password and TLS",
        "degraded.md",
    )


def is_configured(setup: SetupFacts) -> Finding | None:
    """A process alone hears of nobody's writes."""
    if setup.redis is not None:
        return None
    longest = max((each.times.local_ttl for each in setup.owners if each.times), default=0.0)
    return note(
        "no Redis is configured",
        f"each process caches for itself; what others change stays up to {longest:g} s",
        "give Database(redis=...), or keep local_ttl short",
        "degraded.md",
    )


def is_master(setup: SetupFacts) -> Finding | None:
    """A replica takes no scripts that write."""
    redis = setup.answering
    if redis is None or (redis.role == "master" and redis.mode == "standalone"):
        return None
    told = f"role {redis.role}, mode {redis.mode}"
    return error(
        "the address of Redis leads to no single master",
        told,
        "give the master's address, or redis+sentinel://host:26379/mymaster/0",
        PAGE,
    )


def has_rights(setup: SetupFacts) -> Finding | None:
    """Of the application's own user."""
    redis = setup.answering
    if redis is None or not redis.missing_rights:
        return None
    return error(
        "the user of Redis lacks rights",
        f"refused: {', '.join(redis.missing_rights)}",
        "give it those of ACL SETUSER in the page",
        PAGE,
    )


def evicts_strict(setup: SetupFacts) -> Finding | None:
    """A write lease that is evicted holds nobody back."""
    redis = setup.answering
    if redis is None or not setup.is_strict or redis.policy == "noeviction":
        return None
    return error(
        "strict owners are in a Redis that may evict",
        f"maxmemory-policy {redis.policy or 'is not told'}",
        "CONFIG SET maxmemory-policy noeviction, and enough memory",
        "policies.md",
    )


def evicts_accepted(setup: SetupFacts) -> Finding | None:
    """What was accepted and is not flushed would go."""
    redis = setup.answering
    if redis is None or not setup.is_behind or redis.policy is None:
        return None
    if redis.policy == "noeviction" or redis.policy.startswith("volatile"):
        return None
    return error(
        "what is written behind may be evicted",
        f"maxmemory-policy {redis.policy}",
        "CONFIG SET maxmemory-policy noeviction, or one of the volatile ones",
        "behind.md",
    )


def persists_accepted(setup: SetupFacts) -> Finding | None:
    """A restart loses what is not flushed."""
    redis = setup.answering
    if redis is None or not setup.is_behind or redis.appends:
        return None
    kept = {True: "snapshots alone", False: "no log and no snapshots", None: "no log"}
    return warning(
        "what is written behind is lost if Redis restarts",
        f"it keeps {kept[redis.snapshots]}",
        "appendonly yes, appendfsync everysec",
        "behind.md",
    )


def has_room(setup: SetupFacts) -> Finding | None:
    """A full Redis evicts, or refuses scripts."""
    redis = setup.answering
    if redis is None or not redis.maxmemory or redis.used_memory < FULL * redis.maxmemory:
        return None
    share = redis.used_memory / redis.maxmemory
    refuses = "and then refuses writes" if redis.policy == "noeviction" else "and evicts"
    return warning(
        "Redis is full",
        f"{share:.0%} of {redis.maxmemory / 2**20:.0f} MB are used, {refuses}; "
        f"{redis.evicted} keys evicted so far",
        "raise maxmemory, or shorten ttl where many keys are",
        PAGE,
    )


def has_limit(setup: SetupFacts) -> Finding | None:
    """Without one, the machine's memory is."""
    redis = setup.answering
    if redis is None or redis.maxmemory:
        return None
    return note(
        "Redis has no limit of memory",
        "maxmemory 0",
        "CONFIG SET maxmemory, below what the machine has, and a maxmemory-policy",
        PAGE,
    )


def has_large_buffers(setup: SetupFacts) -> Finding | None:
    """Replies on a subscribed connection count under this limit."""
    redis = setup.answering
    limit = None if redis is None else redis.pubsub_limit
    if limit is None or limit == 0 or limit >= SMALLEST_LIMIT:
        return None
    return warning(
        "client-output-buffer-limit pubsub is small",
        f"{limit} bytes; a large get_many, or many writes at once, may cost the connection",
        "CONFIG SET client-output-buffer-limit 'pubsub 33554432 8388608 60'",
        PAGE,
    )


def tells_in_time(setup: SetupFacts) -> Finding | None:
    """PUBLISH to a subscriber."""
    redis = setup.answering
    if redis is None:
        return None
    if redis.round_trip is None:
        return error(
            "the channel does not deliver",
            "nothing came of what was published",
            "allow the user SUBSCRIBE, PUBLISH and the channels &<app>:*",
            PAGE,
        )
    if redis.round_trip < SLOW:
        return None
    return warning(
        "the channel is slow",
        f"{redis.round_trip:.2f} s from PUBLISH to the subscriber",
        "look at the network, and at SLOWLOG for commands that hold Redis up",
        PAGE,
    )


def saves(setup: SetupFacts) -> Finding | None:
    """With stop-writes-on-bgsave-error it then refuses writes."""
    redis = setup.answering
    if redis is None or not redis.snapshot_failed:
        return None
    return warning(
        "the last snapshot of Redis failed",
        "rdb_last_bgsave_status is not ok; it may refuse writes",
        "look at its log and disk; or save '', for caches need no snapshots",
        PAGE,
    )


def clock_agrees(setup: SetupFacts) -> Finding | None:
    """Leases and bookmarks are told apart by time."""
    redis = setup.answering
    if redis is None or abs(redis.skew) < MOST_SKEW:
        return None
    return warning(
        "the clock of Redis differs from this machine's",
        f"by at least {redis.skew:+.1f} s",
        "let both set their clocks by NTP",
        "assumptions.md",
    )


REDIS_CHECKS: tuple[Callable[[SetupFacts], Finding | None], ...] = (
    *(answers, is_configured, is_master, has_rights, evicts_strict, evicts_accepted),
    *(persists_accepted, has_room, has_limit, has_large_buffers, tells_in_time, saves),
    clock_agrees,
)
