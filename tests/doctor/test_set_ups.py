"""Set-ups that are wrong in one way each, on real servers: it is found. A healthy one: nothing
is."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace

import pytest

from repocache import CacheMode, KeyOwner, Repository, WriteThrough
from repocache.doctor.finding import Severity
from repocache.engines.topology_settings import TopologySettings
from repocache.testing import Layout, embedded_servers
from tests.cli.shop_of_all import Post
from tests.doctor.conftest import Ground

ERROR, WARNING, NOTE = Severity.ERROR, Severity.WARNING, Severity.NOTE


async def test_a_healthy_one(ground: Ground) -> None:
    assert await ground.findings() == ()


Wreck = Callable[[Ground], AbstractContextManager[None]]
WRECKS: dict[str, tuple[Severity, Wreck]] = {}


def wreck(
    what: str, severity: Severity = ERROR
) -> Callable[[Callable[[Ground], Iterator[None]]], None]:
    """Makes what is to be found."""

    def declare(make: Callable[[Ground], Iterator[None]]) -> None:
        WRECKS[what] = severity, contextmanager(make)

    return declare


def setting(ground: Ground, name: str, value: str) -> Iterator[None]:
    """Of Redis."""
    [_, before] = ground.redis("CONFIG", "GET", name)
    ground.redis("CONFIG", "SET", name, value)
    yield
    ground.redis("CONFIG", "SET", name, before)


class Strict(Repository[Post, int]):
    owner = KeyOwner("post")
    policy = WriteThrough(strict=True)


@wreck("strict owners are in a Redis that may evict")
def _(ground: Ground) -> Iterator[None]:
    ground.repositories = [Strict]
    yield from setting(ground, "maxmemory-policy", "allkeys-lru")


@wreck("what is written behind may be evicted")
def _(ground: Ground) -> Iterator[None]:
    yield from setting(ground, "maxmemory-policy", "allkeys-lfu")


@wreck("what is written behind is lost if Redis restarts", WARNING)
def _(ground: Ground) -> Iterator[None]:
    yield from setting(ground, "appendonly", "no")


@wreck("Redis is full", WARNING)
def _(ground: Ground) -> Iterator[None]:
    yield from setting(ground, "maxmemory", "1mb")


@wreck("Redis has no limit of memory", NOTE)
def _(ground: Ground) -> Iterator[None]:
    yield from setting(ground, "maxmemory", "0")


@wreck("client-output-buffer-limit pubsub is small", WARNING)
def _(ground: Ground) -> Iterator[None]:
    yield from setting(ground, "client-output-buffer-limit", "pubsub 1048576 1048576 60")


@wreck("Redis does not answer")
def _(ground: Ground) -> Iterator[None]:
    ground.at(redis="redis://127.0.0.1:1/0")
    yield


def user_without(ground: Ground, *rights: str) -> Iterator[None]:
    words = ("reset", "on", ">own", "~*", "&*", "+@all", *rights)
    ground.redis("ACL", "SETUSER", "poor", *words)
    redis = ground.servers.redis
    ground.at(redis=f"redis://poor:own@{redis.host}:{redis.port}/0")
    yield
    ground.redis("ACL", "DELUSER", "poor")


@wreck("the user of Redis lacks rights")
def _(ground: Ground) -> Iterator[None]:
    yield from user_without(ground, "-pttl", "-xtrim")


@wreck("the channel does not deliver")
def _(ground: Ground) -> Iterator[None]:
    yield from user_without(ground, "resetchannels")


@wreck("the primary does not answer")
def _(ground: Ground) -> Iterator[None]:
    ground.at(primary="postgresql+asyncpg://app@127.0.0.1:1/shop")
    yield


@wreck("the primary's URL leads to a replica")
def _(ground: Ground) -> Iterator[None]:
    ground.at(primary=ground.ends.replicas[0])
    yield


@wreck("replica 127.0.0.1:1 does not answer")
def _(ground: Ground) -> Iterator[None]:
    ground.at(replicas=("postgresql+asyncpg://app@127.0.0.1:1/shop",))
    yield


@wreck("replication slots are inactive and retain WAL", WARNING)
def _(ground: Ground) -> Iterator[None]:
    name = f"left_{secrets.token_hex(3)}"
    ground.sql(f"SELECT pg_create_physical_replication_slot('{name}', true)")
    yield
    ground.sql(f"SELECT pg_drop_replication_slot('{name}')")


def system(ground: Ground, name: str, value: str, replica: bool = False) -> Iterator[None]:
    """A setting of PostgreSQL's."""
    server = ground.servers.replicas[0] if replica else ground.servers.primary
    server.sql(f"ALTER SYSTEM SET {name} = '{value}'; SELECT pg_reload_conf()")
    time.sleep(0.3)
    yield
    server.sql(f"ALTER SYSTEM RESET {name}; SELECT pg_reload_conf()")


@wreck("a crash of the primary may lose what was committed", WARNING)
def _(ground: Ground) -> Iterator[None]:
    yield from system(ground, "synchronous_commit", "off")


@wreck("the pools are larger than the primary allows")
def _(ground: Ground) -> Iterator[None]:
    topology = TopologySettings(pool_size=60)
    ground.settings = replace(ground.settings, topology=topology)
    yield


@wreck("the pools leave the primary no room", WARNING)
def _(ground: Ground) -> Iterator[None]:
    ground.sql(f'ALTER DATABASE "{ground.database}" CONNECTION LIMIT 40')
    yield
    ground.sql(f'ALTER DATABASE "{ground.database}" CONNECTION LIMIT -1')


@wreck("there is no outbox", WARNING)
def _(ground: Ground) -> Iterator[None]:
    ground.sql("DROP TABLE repocache_outbox CASCADE; DROP FUNCTION repocache_notice() CASCADE")
    yield


@wreck("the outbox cannot be used")
def _(ground: Ground) -> Iterator[None]:
    owner = f"stranger_{secrets.token_hex(3)}"
    ground.sql(f"CREATE ROLE {owner}; ALTER TABLE repocache_outbox OWNER TO {owner}")
    yield
    ground.sql(f"ALTER TABLE repocache_outbox OWNER TO app; DROP ROLE {owner}")


@wreck("rows of the outbox are put aside", WARNING)
def _(ground: Ground) -> Iterator[None]:
    ground.sql("INSERT INTO repocache_outbox (notices, due) VALUES ('[]', 'infinity')")
    yield


@wreck("nothing can be written behind")
def _(ground: Ground) -> Iterator[None]:
    ground.sql("DROP TABLE repocache_write_behind")
    yield


@wreck("changes that were written behind are dead letters", WARNING)
def _(ground: Ground) -> Iterator[None]:
    ground.sql(
        "INSERT INTO repocache_dead_letters (owner, key, change, why) "
        "VALUES ('hit', 'hit:1', '', 'refused')"
    )
    yield


@wreck("some tables have no trigger", WARNING)
def _(ground: Ground) -> Iterator[None]:
    for event in ("insert", "update", "delete", "truncate"):
        ground.sql(f"DROP TRIGGER repocache_notice_{event} ON posts")
    yield


@wreck("tables of repositories are not in the database")
def _(ground: Ground) -> Iterator[None]:
    ground.sql("DROP TABLE posts")
    yield


@wreck("cached tables have row-level security, and no scope")
def _(ground: Ground) -> Iterator[None]:
    ground.sql("ALTER TABLE posts ENABLE ROW LEVEL SECURITY")
    yield


@wreck("foreign keys change rows, and the metadata does not know them", WARNING)
def _(ground: Ground) -> Iterator[None]:
    ground.sql(
        "CREATE TABLE chapters (id int PRIMARY KEY);"
        "ALTER TABLE posts ADD chapter int REFERENCES chapters ON DELETE SET NULL"
    )
    yield


@wreck("not guarded: signed bookmarks", WARNING)
def _(ground: Ground) -> Iterator[None]:
    ground.settings = replace(ground.settings, secrets=())
    yield


@wreck("the caches are not on", WARNING)
def _(ground: Ground) -> Iterator[None]:
    cache = replace(ground.settings.cache, mode=CacheMode.OFF)
    ground.settings = replace(ground.settings, cache=cache)
    yield


@pytest.mark.parametrize("what", WRECKS)
async def test_what_is_wrong_is_found(what: str, ground: Ground) -> None:
    severity, make = WRECKS[what]
    with ExitStack() as stack:
        stack.enter_context(make(ground))
        found = await ground.found()
    assert found.get(what) is severity, found
    assert is_one_finding(what, found)


def is_one_finding(what: str, found: dict[str, Severity]) -> bool:
    """One cause is one finding, as a rule: what cannot be known without a server is not guessed."""
    beside = {
        "the primary's URL leads to a replica": 3,
        "cached tables have row-level security, and no scope": 1,
        "the channel does not deliver": 1,
    }
    return len(found) <= 1 + beside.get(what, 0)


@pytest.mark.parametrize(
    "setting_of_replica, value, told",
    [
        ("hot_standby_feedback", "off", "may be cancelled"),
        ("max_standby_streaming_delay", "5min", "may take it out of the rotation"),
    ],
)
async def test_a_replica_set_wrongly(
    setting_of_replica: str, value: str, told: str, ground: Ground
) -> None:
    change = contextmanager(system)
    with change(ground, setting_of_replica, value, replica=True):
        [(what, severity)] = (await ground.found()).items()
    assert told in what
    assert severity is NOTE


async def test_a_replica_that_does_not_replay(ground: Ground) -> None:
    replica = ground.servers.replicas[0]
    replica.pause_replay()
    found = await ground.found()
    replica.resume_replay()
    assert found == {f"replica {replica.host}:{replica.port} does not replay": ERROR}


async def test_a_replica_that_was_promoted(ground: Ground) -> None:
    servers = ground.servers
    replica = servers.replicas[0]
    replica.promote()
    found = await ground.found()
    servers.rebuild(replica, servers.primary)
    assert found.get(f"replica {replica.host}:{replica.port} is a primary") is ERROR


async def test_a_redis_that_is_a_replica(ground: Ground) -> None:
    ground.redis("REPLICAOF", "127.0.0.1", 1)
    found = await ground.found()
    ground.redis("REPLICAOF", "NO", "ONE")
    assert found.get("the address of Redis leads to no single master") is ERROR


async def test_clocks_that_differ(ground: Ground) -> None:
    found = await ground.found(clock=lambda: time.time() - 30)
    assert {what.partition(" differs")[0].partition(" replica")[0] for what in found} == {
        "the primary's clock",
        "the clock of",
        "the clock of Redis",
    }
    assert set(found.values()) == {WARNING}


async def test_many_processes(ground: Ground) -> None:
    assert "the pools are larger than the primary allows" in await ground.found(processes=50)


async def test_a_replica_of_another_cluster_and_a_primary_without_wal(ground: Ground) -> None:
    alone = Layout(replicas=0, postgres={"wal_level": "minimal", "max_wal_senders": "0"})
    with embedded_servers(alone) as others:
        ground.at(replicas=(others.primary.url(),))
        found = await ground.found()
        assert any(what.endswith("is a primary") for what in found), found
        ground.at(primary=others.primary.url(), replicas=(ground.ends.replicas))
        assert "the primary writes no WAL for replicas" in await ground.found()
