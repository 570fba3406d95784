"""What may be wrong with a replica: each a function of the set-up and the replica. Pure."""

from __future__ import annotations

from collections.abc import Callable

from repocache.doctor.finding import Finding, error, note, warning
from repocache.doctor.postgres_facts import NodeFacts
from repocache.doctor.setup import SetupFacts

PAGE = "connections.md"
WARN_FROM = 0.4
"""Share of `max_lag` from which on a lag is a warning."""
MOST_SKEW = 1.0
"""Seconds."""
Check = Callable[[SetupFacts, NodeFacts], Finding | None]


def replica_answers(_: SetupFacts, replica: NodeFacts) -> Finding | None:
    """Its share goes to the others, and to the primary."""
    if not replica.unreachable:
        return None
    return error(
        f"replica {replica.name} does not answer",
        replica.unreachable,
        "look whether it runs and can be reached, at its URL, password, TLS and pg_hba.conf",
        PAGE,
    )


def follows(setup: SetupFacts, replica: NodeFacts) -> Finding | None:
    """It is a replica, of this primary, and has its timeline."""
    primary = setup.primary
    if replica.unreachable:
        return None
    if not replica.in_recovery:
        return error(
            f"replica {replica.name} is a primary",
            f"pg_is_in_recovery() is false, timeline {replica.timeline}",
            "make it anew from the primary (pg_rewind or pg_basebackup), or fence it",
            PAGE,
        )
    if primary.unreachable:
        return None
    if replica.system != primary.system:
        return error(
            f"replica {replica.name} is of another cluster",
            f"system identifier {replica.system}, the primary's is {primary.system}",
            "give the address of a physical replica of this primary",
            PAGE,
        )
    if replica.timeline > primary.timeline:
        return error(
            f"replica {replica.name} follows another timeline",
            f"timeline {replica.timeline}, the primary's is {primary.timeline}",
            "let it follow this primary, or make it anew",
            PAGE,
        )
    return None


def streams(_: SetupFacts, replica: NodeFacts) -> Finding | None:
    """What it does not receive, or replay, it does not show."""
    if replica.unreachable or not replica.in_recovery:
        return None
    if not replica.receives:
        return error(
            f"replica {replica.name} receives nothing",
            "it has no WAL receiver",
            "look at primary_conninfo, its slot, and the primary's pg_hba.conf",
            PAGE,
        )
    if replica.paused:
        return error(
            f"replica {replica.name} does not replay",
            "its replay is paused",
            "SELECT pg_wal_replay_resume()",
            PAGE,
        )
    return None


def keeps_up(setup: SetupFacts, replica: NodeFacts) -> Finding | None:
    """Its lag, as far as it is behind at all."""
    position, ago = replica.position, replica.replayed_ago
    newest, most = setup.primary.position, setup.settings.topology.max_lag
    if replica.unreachable or not replica.in_recovery or None in (position, ago, newest):
        return None
    assert position is not None
    assert newest is not None
    assert ago is not None
    if position >= newest or ago < WARN_FROM * most:
        return None
    told = f"{newest - position} bytes behind, {ago:.1f} s; max_lag is {most:g} s"
    remedy = "look at its disk and CPU, and at long queries there that hold its replay back"
    if ago >= most:
        return error(f"replica {replica.name} is out of the rotation", told, remedy, PAGE)
    return warning(f"replica {replica.name} lags", told, remedy, PAGE)


def tells_primary(_: SetupFacts, replica: NodeFacts) -> Finding | None:
    """Else reads are cancelled by what the primary vacuums."""
    if replica.settings.get("hot_standby_feedback") != "off":
        return None
    return note(
        f"reads on replica {replica.name} may be cancelled",
        "hot_standby_feedback off: they conflict with what the primary cleans up",
        "ALTER SYSTEM SET hot_standby_feedback = on, there; long reads then bloat the primary",
        PAGE,
    )


def may_be_held_back(setup: SetupFacts, replica: NodeFacts) -> Finding | None:
    """A long read may keep the replay for longer than `max_lag`."""
    if "max_standby_streaming_delay" not in replica.settings:
        return None
    delay = replica.number("max_standby_streaming_delay") / 1000
    most = setup.settings.topology.max_lag
    if 0 <= delay <= most:
        return None
    told = "without end" if delay < 0 else f"{delay:g} s"
    return note(
        f"a long read on replica {replica.name} may take it out of the rotation",
        f"max_standby_streaming_delay holds its replay back {told}, max_lag is {most:g} s",
        f"ALTER SYSTEM SET max_standby_streaming_delay = '{most / 2:g}s', there",
        PAGE,
    )


def replica_has_connections(setup: SetupFacts, replica: NodeFacts) -> Finding | None:
    """The pools of all processes there."""
    if "max_connections" not in replica.settings:
        return None
    wanted = setup.connections.replica * setup.processes
    most = replica.number("max_connections") - replica.number("superuser_reserved_connections")
    if wanted <= most:
        return None
    return error(
        f"the pools are larger than replica {replica.name} allows",
        f"{setup.processes} x {setup.connections.replica} connections of ours, {most} allowed",
        "raise max_connections there, or lower TopologySettings(pool_size=...)",
        PAGE,
    )


def replica_clock_agrees(_: SetupFacts, replica: NodeFacts) -> Finding | None:
    """Lag is told by clocks."""
    if abs(replica.skew) < MOST_SKEW:
        return None
    return warning(
        f"the clock of replica {replica.name} differs from this machine's",
        f"by at least {replica.skew:+.1f} s",
        "let both set their clocks by NTP",
        "assumptions.md",
    )


REPLICA_CHECKS: tuple[Check, ...] = (
    *(replica_answers, follows, streams, keeps_up, tells_primary, may_be_held_back),
    *(replica_has_connections, replica_clock_agrees),
)
