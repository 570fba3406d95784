"""Servers of somebody else: used as they are, never controlled."""

from collections.abc import Callable

import pytest
from sqlalchemy import make_url

from repocache.testing import NotOurs, ServerError, Servers, given_servers

Environment = dict[str, str]


@pytest.fixture
def environment(repocache_servers: Servers) -> Environment:
    replicas = [replica.url(user="postgres") for replica in repocache_servers.replicas]
    return {
        "REPOCACHE_TEST_PRIMARY_URL": repocache_servers.primary.url(user="postgres"),
        "REPOCACHE_TEST_REPLICA_URLS": ", ".join(replicas),
        "REPOCACHE_TEST_REDIS_URL": repocache_servers.redis.url,
    }


def test_they_are_spoken_to_under_the_roles_of_their_urls(
    environment: Environment, repocache_servers: Servers
) -> None:
    given = given_servers(environment)
    assert given.endpoints().primary == environment["REPOCACHE_TEST_PRIMARY_URL"]
    assert given.endpoints().redis == repocache_servers.redis.url
    assert [replica.port for replica in given.replicas] == [
        r.port for r in repocache_servers.replicas
    ]
    assert given.primary.sql("SELECT current_user") == [("postgres",)]
    assert given.redis.command("PING") == "PONG"


def test_databases_can_be_made_on_them(environment: Environment) -> None:
    given = given_servers(environment)
    given.primary.create_database("given")
    try:
        given.catch_up()
        assert given.replicas[0].sql("SELECT 7", "given") == [("7",)]
    finally:
        given.primary.drop_database("given")


def test_a_superuser_of_its_own_makes_databases_that_an_ordinary_role_owns(
    environment: Environment, repocache_servers: Servers
) -> None:
    primary = repocache_servers.primary
    password = make_url(primary.url(user="postgres")).password
    given = given_servers(
        environment
        | {
            "REPOCACHE_TEST_PRIMARY_URL": primary.url(),
            "REPOCACHE_TEST_SUPERUSER": f"postgres:{password}",
        }
    )
    assert given.endpoints().primary == primary.url()
    assert given.primary.sql("SELECT current_user") == [("postgres",)]
    given.primary.create_database("given")
    try:
        owner = "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = 'given'"
        assert given.primary.sql(owner) == [(make_url(primary.url()).username,)]
    finally:
        given.primary.drop_database("given")


@pytest.mark.parametrize(
    "control",
    [
        lambda servers: servers.primary.kill(),
        lambda servers: servers.primary.restart(),
        lambda servers: servers.replicas[0].stop(),
        lambda servers: servers.replicas[0].start(),
        lambda servers: servers.replicas[0].freeze(),
        lambda servers: servers.replicas[0].thaw(),
        lambda servers: servers.replicas[0].promote(),
        lambda servers: servers.replicas[0].pause_replay(),
        lambda servers: servers.replicas[0].resume_replay(),
        lambda servers: servers.replicas[0].follow(servers.replicas[1]),
        lambda servers: servers.redis.restart(),
        lambda servers: servers.redis.snapshot(),
        lambda servers: servers.redis.promote(),
        lambda servers: servers.redis.replica_of(servers.redis),
        lambda servers: servers.rebuild(servers.replicas[0], servers.primary),
        lambda servers: servers.mend(),
    ],
)
def test_they_are_not_controlled(
    control: Callable[[Servers], None], environment: Environment
) -> None:
    with pytest.raises(NotOurs, match="not ours to control: unset REPOCACHE_TEST_PRIMARY_URL"):
        control(given_servers(environment))


@pytest.mark.parametrize("missing", ["REPOCACHE_TEST_PRIMARY_URL", "REPOCACHE_TEST_REDIS_URL"])
def test_half_an_environment_is_refused(environment: Environment, missing: str) -> None:
    del environment[missing]
    with pytest.raises(ServerError, match=missing):
        given_servers(environment)


def test_no_replica_is_an_empty_list(environment: Environment) -> None:
    del environment["REPOCACHE_TEST_REPLICA_URLS"]
    assert given_servers(environment).replicas == ()


@pytest.mark.parametrize(
    "name, value, told",
    [
        ("REPOCACHE_TEST_PRIMARY_URL", "postgresql:///app", "URL of primary"),
        ("REPOCACHE_TEST_REPLICA_URLS", "postgresql:///app", "URL of replica1"),
        ("REPOCACHE_TEST_REDIS_URL", "rediss://localhost", "URL of redis"),
    ],
)
def test_a_url_without_an_address_is_refused(
    environment: Environment, name: str, value: str, told: str
) -> None:
    with pytest.raises(ServerError, match=told):
        given_servers(environment | {name: value})


def test_a_password_may_hold_any_character(environment: Environment) -> None:
    url = make_url(environment["REPOCACHE_TEST_PRIMARY_URL"]).set(password="p@ss:w/rd%")
    address = url.render_as_string(hide_password=False)
    given = given_servers(environment | {"REPOCACHE_TEST_PRIMARY_URL": address})
    assert make_url(given.primary.url()).password == "p@ss:w/rd%"
