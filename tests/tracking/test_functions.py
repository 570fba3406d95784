"""Which functions may write, as their declarations and bodies say."""

from __future__ import annotations

from repocache.tracking.functions import NO_FUNCTIONS, DatabaseFunctions

FUNCTIONS = DatabaseFunctions.of(
    [
        ("lower", None),
        ("in", None),
        ("draws", "SELECT random()"),
        ("writes", "$f$DELETE FROM x$f$"),
        ("Calls", "PERFORM writes(1)"),
        ("calls_again", "SELECT calls(1)"),
        ("runs", "EXECUTE"),
    ]
)


def test_who_calls_what_writes_writes_himself() -> None:
    assert FUNCTIONS.writing == {"writes", "calls", "calls_again", "runs"}
    assert FUNCTIONS.harmless == {"lower", "in", "draws"}


def test_what_is_not_known_is_suspected_where_it_must_be_a_function() -> None:
    assert FUNCTIONS.suspected("SELECT unknown(1)")
    assert not FUNCTIONS.suspected_text("SELECT unknown(1)")
    for sql in ("SELECT writes(1)", 'SELECT "Calls"(1)', "SELECT lower(app.runs(1))"):
        assert FUNCTIONS.suspected(sql)
        assert FUNCTIONS.suspected_text(sql)
    for sql in (
        "SELECT lower('writes(1)') FROM x WHERE y IN (draws())",
        "INSERT INTO x (writes) VALUES ($1)",
    ):
        assert not FUNCTIONS.suspected(sql)
        assert not FUNCTIONS.suspected_text(sql)


def test_where_nothing_is_known_nothing_is_suspected() -> None:
    assert not NO_FUNCTIONS.suspected("SELECT writes(1)")
    assert not NO_FUNCTIONS.suspected_text("SELECT writes(1)")
