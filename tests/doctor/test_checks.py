"""Each check by the facts that it is for, without servers; and that facts as they should be lead to
nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from repocache import CacheMode, OutboxMode, Settings
from repocache.cache.entry import CacheSettings
from repocache.doctor.edge_facts import EdgeFacts
from repocache.doctor.examination import findings_of
from repocache.doctor.finding import Severity
from repocache.doctor.postgres_facts import NodeFacts, Slot
from repocache.doctor.redis_facts import RedisFacts, beyond
from repocache.doctor.setup import Connections, SetupFacts
from repocache.doctor.table_facts import ForeignKeyAction, PurgeFacts, TableFact, TableFacts
from repocache.events import Unguarded
from repocache.invalidation.outbox_table import OutboxTable
from repocache.runtime.description import OwnerDescription, OwnerKind, OwnerTimes, Tier

DOCS = Path(__file__).parents[2] / "docs"
ERROR, WARNING, NOTE = Severity.ERROR, Severity.WARNING, Severity.NOTE
OWNER = OwnerDescription(
    prefix="user",
    kind=OwnerKind.REPOSITORY,
    declared="Users",
    source="shop.Users",
    key="user:{id: int}",
    pattern="cache-aside",
    times=OwnerTimes(ttl=300, local_ttl=120),
    tiers=tuple(Tier),
    written_by="reads fill it",
    tables=("public.users",),
)
BEHIND = replace(OWNER, kind=OwnerKind.WRITE_BEHIND)
NUMBERS = {"max_connections": "100", "superuser_reserved_connections": "3"}
PRIMARY = NodeFacts(
    name="primary",
    system="1",
    timeline=2,
    position=1_000,
    settings={**NUMBERS, "wal_level": "replica", "synchronous_commit": "on"},
)
REPLICA = NodeFacts(
    name="db2",
    in_recovery=True,
    system="1",
    timeline=2,
    position=900,
    replayed_ago=1.0,
    settings={
        **NUMBERS,
        "hot_standby_feedback": "on",
        "max_standby_streaming_delay": "4000",
    },
)
REDIS = RedisFacts(
    version="valkey 9",
    maxmemory=1 << 30,
    used_memory=1 << 20,
    policy="noeviction",
    appends=True,
    pubsub_limit=1 << 25,
    round_trip=0.001,
)
OUTBOX = OutboxTable(
    owner="app",
    trusted=True,
    ordinary=True,
    missing=[],
    triggers=[],
    ruled=False,
    secured=False,
    foreign=False,
    usable=True,
)
EDGE = EdgeFacts("varnish v1", "xkey")
USERS = TableFact("users", exists=True, secured=False, watched=True)
TABLES = TableFacts(OUTBOX, (USERS,))
WELL = SetupFacts(
    settings=Settings(secrets=("a" * 32,)),
    owners=(OWNER,),
    unguarded=(),
    connections=Connections(primary=37, replica=11),
    processes=2,
    redis=REDIS,
    primary=PRIMARY,
    replicas=(REPLICA,),
    tables=TABLES,
)


def test_facts_as_they_should_be() -> None:
    assert findings_of(WELL) == ()


def redis(**facts: Any) -> dict[str, Any]:
    return {"redis": replace(REDIS, **facts)}


def primary(**facts: Any) -> dict[str, Any]:
    return {"primary": replace(PRIMARY, **facts)}


def told(**settings: str) -> dict[str, Any]:
    return primary(settings={**PRIMARY.settings, **settings})


def replica(**facts: Any) -> dict[str, Any]:
    return {"replicas": (replace(REPLICA, **facts),)}


def table(**facts: Any) -> dict[str, Any]:
    return {"tables": TableFacts(OUTBOX, (USERS._replace(**facts),))}


def outbox(**facts: Any) -> dict[str, Any]:
    return {"tables": TableFacts(OUTBOX._replace(**facts), (USERS,))}


def edged(**facts: Any) -> dict[str, Any]:
    return purged(PurgeFacts(OUTBOX)) | {"edges": (replace(EDGE, **facts),)}


def purged(found: PurgeFacts) -> dict[str, Any]:
    return {"tables": replace(TABLES, purges=found), "edges": (EDGE,)}


def settings(**facts: Any) -> dict[str, Any]:
    return {"settings": replace(WELL.settings, **facts)}


STRICT = {"owners": (replace(OWNER, is_strict=True),)}
ORDERS = USERS._replace(name="orders", watched=False)
KEY = ForeignKeyAction("users", "public.teams", "users_team", "ON DELETE CASCADE")
CASES: list[tuple[dict[str, Any], str, Severity]] = [
    (redis(unreachable="gone"), "Redis does not answer", ERROR),
    (redis(role="slave"), "leads to no single master", ERROR),
    (redis(mode="cluster"), "leads to no single master", ERROR),
    (redis(missing_rights=("PTTL",)), "lacks rights", ERROR),
    (redis(policy="allkeys-lru") | STRICT, "may evict", ERROR),
    (redis(policy=None) | STRICT, "may evict", ERROR),
    (redis(policy="allkeys-lru") | {"owners": (BEHIND,)}, "may be evicted", ERROR),
    (redis(appends=False) | {"owners": (BEHIND,)}, "is lost if Redis restarts", WARNING),
    (redis(used_memory=1 << 30), "Redis is full", WARNING),
    (redis(maxmemory=0), "no limit of memory", NOTE),
    (redis(pubsub_limit=1 << 20), "output-buffer-limit pubsub is small", WARNING),
    (redis(round_trip=None), "does not deliver", ERROR),
    (redis(round_trip=0.5), "channel is slow", WARNING),
    (redis(snapshot_failed=True), "snapshot of Redis failed", WARNING),
    (redis(skew=-7.0), "clock of Redis", WARNING),
    (primary(unreachable="gone", settings={}), "primary does not answer", ERROR),
    (primary(in_recovery=True), "leads to a replica", ERROR),
    (told(wal_level="minimal"), "no WAL for replicas", ERROR),
    (told(synchronous_commit="off"), "may lose what was committed", WARNING),
    (told(max_connections="50"), "larger than the primary allows", ERROR),
    (told(max_connections="90"), "no room", WARNING),
    (primary(role_limit=10), "larger than the primary allows", ERROR),
    (primary(database_limit=80), "no room", WARNING),
    (primary(slots=(Slot("old", False, 1 << 30),)), "slots are inactive", WARNING),
    (primary(skew=3.0), "primary's clock", WARNING),
    ({"tables": TableFacts(unread="no")}, "could not be looked at", ERROR),
    (table(exists=False), "are not in the database", ERROR),
    (table(secured=True), "row-level security", ERROR),
    ({"tables": TableFacts(None, (USERS,))}, "there is no outbox", WARNING),
    (
        {"tables": TableFacts(None, (USERS,))} | settings(outbox=OutboxMode.REQUIRED),
        "there is no outbox",
        ERROR,
    ),
    (outbox(trusted=False), "outbox cannot be used", ERROR),
    (outbox(usable=False), "outbox cannot be used", ERROR),
    (outbox(missing=["xid"]), "outbox cannot be used", ERROR),
    ({"tables": TableFacts(OUTBOX, (USERS, ORDERS))}, "some tables have no trigger", WARNING),
    ({"tables": TableFacts(OUTBOX, (ORDERS,))}, "no table has triggers", NOTE),
    ({"tables": replace(TABLES, unknown_keys=(KEY,))}, "metadata does not know", WARNING),
    ({"is_postgres": False, "tables": None}, "no positions", NOTE),
    (replica(unreachable="gone"), "db2 does not answer", ERROR),
    (replica(in_recovery=False), "db2 is a primary", ERROR),
    (replica(system="9"), "another cluster", ERROR),
    (replica(timeline=3), "another timeline", ERROR),
    (replica(receives=False), "receives nothing", ERROR),
    (replica(paused=True), "does not replay", ERROR),
    (replica(replayed_ago=4.0), "lags", WARNING),
    (replica(replayed_ago=10.0), "out of the rotation", ERROR),
    (replica(settings={"hot_standby_feedback": "off"}), "may be cancelled", NOTE),
    (replica(settings={"max_standby_streaming_delay": "-1"}), "may take it out", NOTE),
    ({"connections": Connections(primary=1, replica=60)}, "larger than replica db2", ERROR),
    (replica(skew=-2.0), "clock of replica db2", WARNING),
    (settings(cache=CacheSettings(mode=CacheMode.OFF)), "caches are not on", WARNING),
    (settings(local_bytes=1 << 20), "large values fill L1", NOTE),
    (settings(publish_timeout=45.0), "longer than their bookmarks count", ERROR),
    (purged(PurgeFacts()), "there is no table of purges", WARNING),
    (purged(PurgeFacts()) | settings(outbox=OutboxMode.REQUIRED), "no table of purges", ERROR),
    (purged(PurgeFacts(OUTBOX._replace(usable=False))), "purges cannot be used", ERROR),
    (purged(PurgeFacts(OUTBOX, aside=2)), "put aside", WARNING),
    (purged(PurgeFacts(OUTBOX, waiting=3, seconds=61.0)), "wait for long", WARNING),
    (edged(hindrance="status 403", refused=True), "varnish v1 refuses our purges", ERROR),
    (edged(hindrance="no answer: gone"), "varnish v1 does not take purges", ERROR),
    ({"unguarded": (Unguarded("TLS to Redis", "anybody; rediss://"),)}, "TLS to Redis", WARNING),
]


@pytest.mark.parametrize("changed, what, severity", CASES, ids=[case[1] for case in CASES])
def test_a_fact_that_is_otherwise(changed: dict[str, Any], what: str, severity: Severity) -> None:
    found = findings_of(replace(WELL, **changed))
    assert [(each.severity, what in each.what) for each in found] == [(severity, True)], found
    [finding] = found
    assert finding.evidence
    assert finding.remedy


def test_without_redis() -> None:
    found = {each.what: each.severity for each in findings_of(replace(WELL, redis=None))}
    assert found == {
        "no Redis is configured": NOTE,
        "L1 keeps rows for long, and hears of no other process": WARNING,
    }


def test_what_is_level_does_not_lag() -> None:
    still = replica(position=1_000, replayed_ago=5_000.0)
    assert findings_of(replace(WELL, **still)) == (), "nobody writes"


def test_the_worst_comes_first() -> None:
    changed = redis(maxmemory=0) | replica(paused=True) | primary(skew=3.0)
    severities = [each.severity for each in findings_of(replace(WELL, **changed))]
    assert severities == [ERROR, WARNING, NOTE]


@pytest.mark.parametrize("asked, skew", [((1, 2, 3), 0), ((1, 5, 3), 2), ((4, 1, 6), -3)])
def test_clocks(asked: tuple[float, float, float], skew: float) -> None:
    assert beyond(*asked) == skew


def test_every_page_that_is_named_exists() -> None:
    from_cases = {
        each.page for changed, _, _ in CASES for each in findings_of(replace(WELL, **changed))
    }
    for page in from_cases:
        assert (DOCS / page).exists(), page
