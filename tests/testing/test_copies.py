"""Databases of tests: what one test leaves is not seen by the next, and what is used again."""

from collections.abc import Iterator

import asyncpg
import pytest

from repocache.testing import Endpoints, ServerError, Servers, template_database
from repocache.testing.copies import Copies

TABLES = """
SET ROLE app;
CREATE TABLE empty (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text);
CREATE TABLE seeded (
    id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, parent int REFERENCES seeded, "a b" json,
    twice int GENERATED ALWAYS AS (parent * 2) STORED);
INSERT INTO seeded (parent, "a b") VALUES (NULL, '{}'), (1, NULL), (1, '[]');
CREATE TABLE parts (id int, at int) PARTITION BY RANGE (at);
CREATE TABLE part PARTITION OF parts FOR VALUES FROM (0) TO (10);
INSERT INTO parts VALUES (1, 1);
CREATE SEQUENCE plain START 7;
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN RAISE 'no DELETE here'; END $$;
CREATE TRIGGER refuse BEFORE DELETE ON seeded FOR EACH ROW EXECUTE FUNCTION refuse();
CREATE RULE keep AS ON DELETE TO empty DO INSTEAD NOTHING;
"""
ALL = """
SELECT 'empty', id, NULL, name, 0 FROM empty
UNION ALL SELECT 'seeded', id, parent, CAST("a b" AS text), twice FROM seeded
UNION ALL SELECT 'parts', id, at, NULL, 0 FROM parts
UNION ALL SELECT 'sequences', last_value, NULL, CAST(is_called AS text), 0 FROM (
    SELECT * FROM plain UNION ALL SELECT * FROM empty_id_seq
    UNION ALL SELECT * FROM seeded_id_seq) AS stood
ORDER BY 1, 2, 3
"""


@pytest.fixture
def template(repocache_servers: Servers) -> Iterator[str]:
    primary = repocache_servers.primary

    def make(url: str) -> None:
        primary.sql(TABLES, url.rpartition("/")[2])

    with template_database(repocache_servers, make) as name:
        yield name


@pytest.fixture
def copies(repocache_servers: Servers) -> Iterator[Copies]:
    copies = Copies(repocache_servers)
    yield copies
    copies.close()


def name_of(endpoints: Endpoints) -> str:
    return endpoints.primary.rpartition("/")[2]


@pytest.mark.parametrize(
    "left",
    [
        "INSERT INTO empty (name) VALUES ('a'), ('b'); SELECT nextval('plain')",
        "DELETE FROM parts",
        "UPDATE seeded SET parent = 2 WHERE id = 3",
        "SELECT setval('seeded_id_seq', 99)",
        "SET session_replication_role = replica; DELETE FROM seeded WHERE id = 1",
        "ALTER TABLE seeded DISABLE TRIGGER refuse; DELETE FROM seeded",
        "TRUNCATE seeded, empty, parts RESTART IDENTITY",
        "BEGIN; INSERT INTO empty (name) VALUES ('a'); ROLLBACK",
        "INSERT INTO seeded (parent) SELECT 1 FROM generate_series(1, 5000); VACUUM seeded",
    ],
)
def test_rows_and_sequences_are_as_they_were_on_all_servers(
    left: str, template: str, copies: Copies, repocache_servers: Servers
) -> None:
    wanted = repocache_servers.primary.sql(ALL, template)
    for _ in range(2):
        with copies.endpoints(template) as endpoints:
            for server in (repocache_servers.primary, *repocache_servers.replicas):
                assert server.sql(ALL, name_of(endpoints)) == wanted
            repocache_servers.primary.sql(left, name_of(endpoints))
            repocache_servers.redis.command("SET", "left", 1)
        with copies.endpoints(template) as endpoints:
            for server in (repocache_servers.primary, *repocache_servers.replicas):
                assert server.sql(ALL, name_of(endpoints)) == wanted
            assert repocache_servers.redis.command("DBSIZE") == 0


@pytest.mark.parametrize(
    "left, again",
    [
        ("INSERT INTO empty (name) VALUES ('a')", True),
        ("TRUNCATE empty", True),
        ("CREATE TEMPORARY TABLE brief (id int)", True),
        ("ANALYZE", True),
        ("ALTER TABLE empty ADD age int", False),
        ("ALTER TABLE empty ALTER name SET DEFAULT 'x'", False),
        ("ALTER TABLE empty ADD CHECK (id < 7)", False),
        ("DROP TABLE seeded", False),
        ("CREATE TABLE further (id int)", False),
        ("CREATE INDEX ON empty (name)", False),
        (
            "CREATE OR REPLACE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN END'",
            False,
        ),
        ("DROP TRIGGER refuse ON seeded", False),
        ("ALTER TABLE seeded DISABLE TRIGGER refuse", False),
        ("ALTER SEQUENCE plain INCREMENT 2", False),
        ("CREATE SCHEMA other", False),
        ("GRANT SELECT ON empty TO pg_monitor", False),
        ("REVOKE EXECUTE ON FUNCTION pg_control_system() FROM PUBLIC", False),
        ("GRANT SELECT ON pg_authid TO pg_monitor", False),
        ("ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO pg_monitor", False),
        ("ALTER TABLE empty ENABLE ROW LEVEL SECURITY", False),
        ("SELECT lo_create(0)", False),
        ("CREATE TYPE mood AS ENUM ('a')", False),
        ("CREATE VIEW seen AS SELECT 1", False),
    ],
)
def test_what_is_no_row_costs_a_new_copy(
    left: str, again: bool, template: str, copies: Copies, repocache_servers: Servers
) -> None:
    with copies.endpoints(template) as endpoints:
        first = name_of(endpoints)
        repocache_servers.primary.sql(left, first)
    with copies.endpoints(template) as endpoints:
        assert (name_of(endpoints) == first) is again
    dropped = "SELECT count(*) FROM pg_database WHERE datname = "
    assert repocache_servers.primary.sql(f"{dropped}'{first}'") == [(str(int(again)),)]


@pytest.mark.parametrize(
    "beside",
    [
        "CREATE MATERIALIZED VIEW known AS SELECT count(*) FROM seeded",
        "ALTER TABLE seeded ENABLE ALWAYS TRIGGER refuse",
        "ALTER TABLE empty ENABLE ALWAYS RULE keep",
    ],
)
def test_what_cannot_be_put_back_is_copied_for_each_test(
    beside: str, template: str, copies: Copies, repocache_servers: Servers
) -> None:
    repocache_servers.primary.sql(beside, template)
    with copies.endpoints(template) as endpoints:
        first = name_of(endpoints)
    with copies.endpoints(template) as endpoints:
        assert name_of(endpoints) != first


def test_two_at_once_are_two(template: str, copies: Copies) -> None:
    with copies.endpoints(template) as one, copies.endpoints(template) as other:
        assert one.primary != other.primary
        assert one.replicas != other.replicas


async def test_connections_that_are_left_end(
    template: str, copies: Copies, repocache_servers: Servers
) -> None:
    with copies.endpoints(template) as endpoints:
        left = await asyncpg.connect(endpoints.primary.replace("+asyncpg", ""))
        await left.execute("BEGIN; LOCK TABLE empty, seeded; INSERT INTO seeded DEFAULT VALUES")
    with copies.endpoints(template) as again:
        assert again == endpoints
        with pytest.raises(asyncpg.PostgresError):
            await left.execute("COMMIT")


def test_a_template_that_cannot_be_made_says_why_and_leaves_nothing(
    repocache_servers: Servers,
) -> None:
    databases = "SELECT count(*) FROM pg_database"
    before = repocache_servers.primary.sql(databases)

    async def make(url: str) -> None:
        raise ZeroDivisionError(url)

    with (
        pytest.raises(ZeroDivisionError, match="repocache_template_"),
        template_database(repocache_servers, make),
    ):
        raise AssertionError
    assert repocache_servers.primary.sql(databases) == before


def test_a_template_that_is_not_there_is_told(copies: Copies) -> None:
    with pytest.raises(ServerError, match="missing"), copies.endpoints("missing"):
        raise AssertionError
