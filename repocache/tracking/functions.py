"""Which functions may change rows when a statement calls them.

Owns the question to the database and the verdict on a text. Pure: asking it at start is the
repositories' affair, and only PostgreSQL is asked.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from sqlalchemy import TextClause, text

from repocache.transactions.sql_text import calls

_QUESTION = """
SELECT CAST(pg_catalog.json_agg(pg_catalog.json_build_array(name, body)) AS text) FROM (
SELECT routine.proname AS name, pg_catalog.string_agg(
    CASE WHEN routine.provolatile <> 'v'
        OR routine.pronamespace = CAST(CAST('pg_catalog' AS regnamespace) AS oid)
            OR routine.prorettype = CAST(CAST('pg_catalog.trigger' AS regtype) AS oid)
                OR routine.prokind = 'a'
            THEN NULL
        WHEN language.lanname IN ('sql', 'plpgsql') THEN pg_catalog.pg_get_functiondef(routine.oid)
        WHEN language.lanname IN ('c', 'internal') AND EXISTS (
            SELECT FROM pg_catalog.pg_depend
            WHERE classid = CAST(CAST('pg_catalog.pg_proc' AS regclass) AS oid)
                AND objid = routine.oid
                AND deptype = 'e'
        ) THEN NULL
        ELSE 'EXECUTE'
    END, ' ') AS body
FROM pg_catalog.pg_proc AS routine JOIN pg_catalog.pg_language AS language
    ON language.oid = routine.prolang
GROUP BY routine.proname
UNION ALL SELECT word, NULL FROM pg_catalog.pg_get_keywords()
) AS routines
"""
_WORD = re.compile(r"[^\W\d]\w*")
_WRITING = frozenset(
    {
        "insert",
        "update",
        "delete",
        "merge",
        "truncate",
        "execute",
        "copy",
        "refresh",
        "drop",
        "alter",
    }
)


class Functions:
    """None that writes is known, as on SQLite: no call is suspected."""

    def suspected(self, sql: str) -> bool:
        """Whether a text of SQLAlchemy's own making calls what may write."""
        return False

    def suspected_text(self, sql: str) -> bool:
        """Whether the application's own text calls what is known to write."""
        return False


class DatabaseFunctions(Functions):
    """Those of a database as it was asked. `harmless`: names, and words that stand before a
    parenthesis like names. `writing`: names of those that may write. All are in lower case."""

    def __init__(self, harmless: frozenset[str], writing: frozenset[str]) -> None:
        self.harmless = harmless
        self.writing = writing

    @classmethod
    def read(cls, answer: str) -> DatabaseFunctions:
        """From the answer to `functions_statement`: of thousands of rows, each would cost
        SQLAlchemy's share of the start."""
        return cls.of(json.loads(answer))

    @classmethod
    def of(cls, rows: Sequence[tuple[str, str | None]]) -> DatabaseFunctions:
        """From names, each with None, or, of those that may write by their declaration, with their
        text, which may say that they do not. Who calls one that may write may write himself."""
        bodies: dict[str, frozenset[str]] = {}
        names = {name.lower() for name, _ in rows}
        for name, body in rows:
            if body is not None:
                words = frozenset(map(str.lower, _WORD.findall(body)))
                bodies[name.lower()] = bodies.get(name.lower(), frozenset()) | words
        writing, found = set[str](), set(_WRITING)
        while found:
            found = {
                name
                for name, words in bodies.items()
                if name not in writing and not words.isdisjoint(found)
            }
            writing |= found
        return cls(frozenset(names - writing), frozenset(writing))

    def suspected(self, sql: str) -> bool:
        """As above; a function that is younger than the question may write."""
        return not calls(sql).close <= self.harmless

    def suspected_text(self, sql: str) -> bool:
        return not self.writing.isdisjoint(calls(sql).names)


NO_FUNCTIONS = Functions()


def functions_statement() -> TextClause:
    """Asks for all functions. Believed are those that are declared STABLE or IMMUTABLE,
    PostgreSQL's own, and an extension's in C; what is in another language than SQL and PL/pgSQL
    cannot be read here, and may write."""
    return text(_QUESTION)
