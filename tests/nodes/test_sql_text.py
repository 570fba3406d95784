"""Textual SQL judged by its words."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from repocache.transactions.commit_watch import certainly_rolled_back
from repocache.transactions.sql_text import calls, judge, shape


@pytest.mark.parametrize(
    "sql",
    [
        "insert into x values (1)",
        "  /* a /* nested */ comment */ UPDATE x SET y = 1",
        "-- SELECT\nDELETE FROM x",
        "MERGE INTO x USING y ON true WHEN MATCHED THEN DELETE",
        "WITH a AS (SELECT 1), b AS (UPDATE x SET y = 1 RETURNING *) SELECT * FROM b",
        "with a as (select 1) insert into x select * from a",
        "CALL p()",
        "DO $$ BEGIN END $$",
        "COPY x FROM STDIN",
        "EXECUTE prepared(1)",
        "EXPLAIN (ANALYZE) DELETE FROM x",
        "REFRESH MATERIALIZED VIEW x",
        "TRUNCATE x",
        "SELECT 1; DELETE FROM x",
        "(WITH a AS (DELETE FROM x RETURNING *) SELECT * FROM a)",
        "REPLACE INTO x VALUES (1)",
    ],
)
def test_what_may_write(sql: str) -> None:
    assert judge(sql).writes
    assert judge(sql).ends == ""


@pytest.mark.parametrize(
    "sql",
    [
        "",
        ";",
        "SELECT 1",
        "SELECT 'DELETE FROM x; COMMIT'",
        "SELECT $a$ ; DELETE FROM x $a$",
        "SELECT E'it\\'s; DELETE FROM x'",
        'SELECT "update" FROM "delete"',
        "SELECT * FROM x FOR UPDATE",
        "WITH a AS (SELECT * FROM x FOR NO KEY UPDATE) SELECT * FROM a",
        "WITH a AS (SELECT * FROM x FOR UPDATE) SELECT * FROM a",
        "/* DELETE FROM x */ SELECT 1 -- ; DELETE FROM x",
        "/* /* */ SELECT 1 */ VALUES (1)",
        "EXPLAIN DELETE FROM x",
        "SET LOCAL statement_timeout = 5",
        "SHOW all",
        "LOCK TABLE x",
        "SAVEPOINT a",
        "RELEASE SAVEPOINT a",
        "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC; DELETE FROM x; END",
        "CREATE TRIGGER t AFTER INSERT ON x BEGIN DELETE FROM y; COMMIT; END",
        "SELECT $1, $2",
    ],
)
def test_what_does_not(sql: str) -> None:
    assert not judge(sql).writes
    assert judge(sql).ends == ""


@pytest.mark.parametrize(
    "sql, ends",
    [
        ("commit", "COMMIT"),
        ("COMMIT AND CHAIN", "COMMIT"),
        ("COMMIT PREPARED 'x'", "COMMIT"),
        ("END", "END"),
        ("ABORT", "ABORT"),
        ("BEGIN", "BEGIN"),
        ("START TRANSACTION READ ONLY", "START"),
        ("ROLLBACK", "ROLLBACK"),
        ("ROLLBACK WORK", "ROLLBACK"),
        ("ROLLBACK TO a", ""),
        ("ROLLBACK WORK TO SAVEPOINT a", ""),
        ("PREPARE TRANSACTION 'x'", "PREPARE TRANSACTION"),
        ("PREPARE x AS DELETE FROM y", ""),
        ("UPDATE x SET y = 1; COMMIT", "COMMIT"),
    ],
)
def test_what_ends_a_transaction(sql: str, ends: str) -> None:
    assert judge(sql).ends == ends


@pytest.mark.parametrize(
    "sql, names, cascades",
    [
        ("TRUNCATE x", ("x",), False),
        ("truncate table only X *, s.Y restart identity cascade", ("x", "y"), True),
        ('TRUNCATE "Odd ""name", "s"."Y" CONTINUE IDENTITY RESTRICT', ('Odd "name', "Y"), False),
        ("TRUNCATE x; TRUNCATE y CASCADE", ("x", "y"), True),
    ],
)
def test_what_is_truncated(sql: str, names: tuple[str, ...], cascades: bool) -> None:
    judgement = judge(sql)
    assert (judgement.truncates, judgement.cascades, judgement.only_truncates) == (
        names,
        cascades,
        True,
    )


def test_truncating_beside_other_writes() -> None:
    judgement = judge("TRUNCATE x; DELETE FROM y")
    assert judgement.truncates == ("x",)
    assert not judgement.only_truncates


@pytest.mark.parametrize(
    "state", ["23505", "23503", "40001", "40P01", "P0001", "25P02", "22003", "42501", "2D000"]
)
def test_what_is_certainly_a_rollback(state: str) -> None:
    assert certainly_rolled_back(state)


@pytest.mark.parametrize(
    "state", [None, "", "08006", "08003", "40003", "57P01", "57014", "53100", "58030", "XX000"]
)
def test_what_may_have_been_committed(state: str | None) -> None:
    assert not certainly_rolled_back(state)


@pytest.mark.parametrize(
    "sql, close, apart",
    [
        (
            'SELECT lower(x), app.touch(1), "Odd"(2), f(g(h(3)))',
            {"lower", "touch", "odd", "f", "g", "h"},
            set(),
        ),
        ("SELECT touch (1) FROM x WHERE y IN (1) AND (z)", set(), {"touch", "in", "and"}),
        ("SELECT 1 -- touch(1)\n/* touch(2) */ WHERE 'touch(3)' = $$touch(4)$$", set(), set()),
        ("SELECT n FROM generate_series(1, 2) AS series(n)", {"generate_series"}, set()),
        ("WITH RECURSIVE numbers(n) AS (SELECT 1) SELECT $1::VARCHAR(3)", {"varchar"}, {"as"}),
        ("SELECT touch/* 1 */(1), (2)", set(), {"touch"}),
    ],
)
def test_what_is_called(sql: str, close: set[str], apart: set[str]) -> None:
    assert calls(sql).close == close
    assert calls(sql).names == close | apart


@pytest.mark.parametrize(
    "sql, shown",
    [
        (
            "UPDATE x SET y = 'it''s', z = 1.5e3 WHERE id IN (1, -2)",
            "UPDATE x SET y = ?, z = ? WHERE id IN (?, -?)",
        ),
        (
            "UPDATE x SET y = $1::INTEGER, z2 = :z AND %(z)s",
            "UPDATE x SET y = $1::INTEGER, z2 = :z AND %(z)s",
        ),
        ("UPDATE x -- secret\n  SET y /* a /* secret */ b */ = .5", "UPDATE x SET y = ?"),
        ("DO $$ secret $$; DO $a$ it's $$ secret $a$", "DO ?; DO ?"),
        ("CALL \"it's\"('secret')", 'CALL "it\'s"(?)'),
        (r"CALL p(E'it\'s secret', 'C:\', 'secret')", "CALL p(?, ?"),
        ("CALL p('secret", "CALL p(?"),
        ("DO $a$ secret", "DO ?"),
        ("CALL p(a[1:2345], '" + "secret" * 9_000 + "')", "CALL p(a[?:?], ?"),
        ("CALL p" + "p" * 400, "CALL p" + "p" * 293 + "…"),
    ],
)
def test_a_shape_has_names_and_no_literals(sql: str, shown: str) -> None:
    assert shape(sql) == shown


MARKS = st.text("'\"$\\-/*:;(),\n aE1", max_size=8)
LITERALS = st.one_of(
    MARKS.map(lambda mark: "'{}'".format(f"{mark}secret{mark}".replace("'", "''"))),
    MARKS.map(
        lambda mark: "E'{}'".format(f"{mark}secret{mark}".replace("\\", "\\\\").replace("'", "\\'"))
    ),
    MARKS.map(lambda mark: f"$other${mark}secret{mark}$other$"),
    MARKS.map(lambda mark: f"/*{mark.replace('/', '')}secret*/"),
)


@settings(max_examples=300)
@given(st.lists(LITERALS, min_size=1, max_size=4))
def test_no_literal_shows_in_a_shape(literals: list[str]) -> None:
    assert "secret" not in shape(f"CALL p({', '.join(literals)})")
