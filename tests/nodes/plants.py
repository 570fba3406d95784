"""What a hostile role can put before PostgreSQL's own functions and operators: those for exactly
other argument types.

A call resolves to the function whose argument types fit exactly, in whatever schema of the
search_path, before one of `pg_catalog` that needs a conversion, and before one for any type.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

TYPES = (
    *(
        "text",
        "name",
        '"char"',
        "varchar",
        "bool",
        "int2",
        "int4",
        "int8",
        "numeric",
        "float8",
        "oid",
        "regclass",
    ),
    *(
        "regtype",
        "regnamespace",
        "pg_lsn",
        "timestamptz",
        "interval",
        "jsonb",
        "xid8",
        "text[]",
        "name[]",
        "int2[]",
    ),
)
SECOND = ("text", "name", '"char"', "varchar", "oid", "int4")
OPERATORS = ("=", "<>", "<=", ">=", "-", "*", "||", "~~", "!~~")
# Beyond functions, what stands before a parenthesis in the library's SQL.
SYNTAX = frozenset(
    {
        *(
            "all",
            "and",
            "any",
            "array",
            "as",
            "asked",
            "bit",
            "cast",
            "coalesce",
            "exists",
            "extract",
            "from",
            "given",
        ),
        *(
            "greatest",
            "in",
            "lateral",
            "not",
            "nullif",
            "on",
            "or",
            "over",
            "part",
            "tied",
            "reached",
            "further",
            "using",
        ),
        *(
            "select",
            "then",
            "values",
            "wanted",
            "where",
            "with",
            "when",
            "repocache_outbox",
            "union",
            "done",
            "retry",
            "filter",
        ),
    }
)
PLANTED = "planted"
PLANT = """
DO $plant$
DECLARE
  kinds text[] := '{types}';
  second text[] := '{second}';
  a text; b text; o text; f text;
BEGIN
  FOREACH a IN ARRAY kinds LOOP
    FOREACH b IN ARRAY kinds LOOP
      EXECUTE format('CREATE FUNCTION planted.planted(%s, %s)'
        ' RETURNS bool LANGUAGE sql AS ''SELECT true''', a, b);
      FOREACH o IN ARRAY '{operators}'::text[] LOOP
        IF to_regoperator(format('pg_catalog.%s(%s,%s)', o, a, b)) IS NULL THEN
          EXECUTE format('CREATE OPERATOR planted.%s'
            ' (FUNCTION = planted.planted, LEFTARG = %s, RIGHTARG = %s)',
            o, a, b);
        END IF;
      END LOOP;
    END LOOP;
  END LOOP;
  FOREACH f IN ARRAY '{functions}'::text[] LOOP
    FOREACH a IN ARRAY kinds LOOP
      IF to_regprocedure(format('pg_catalog.%I(%s)', f, a)) IS NULL THEN
        EXECUTE format('CREATE FUNCTION planted.%I(%s) RETURNS %2$s LANGUAGE sql AS ''SELECT $1''',
            f, a);
      END IF;
      FOREACH b IN ARRAY second LOOP
        IF to_regprocedure(format('pg_catalog.%I(%s,%s)', f, a, b)) IS NULL THEN
          EXECUTE format('CREATE FUNCTION planted.%I(%s, %s)'
            ' RETURNS %2$s LANGUAGE sql AS ''SELECT $1''', f, a, b);
        END IF;
      END LOOP;
    END LOOP;
  END LOOP;
END $plant$
"""


def plants(functions: Iterable[str]) -> str:
    """Fills the schema `planted` with all of these that `pg_catalog` has not for exactly the same
    types."""
    given = {
        "types": TYPES,
        "second": SECOND,
        "operators": OPERATORS,
        "functions": sorted(functions),
    }
    lists = {
        name: "{" + ",".join('"' + each.replace('"', '\\"') + '"' for each in of) + "}"
        for name, of in given.items()
    }
    sql = PLANT
    for name, said in lists.items():
        sql = sql.replace("{" + name + "}", said)
    return sql


def called(sql: str) -> set[str]:
    """Names of all functions that a statement calls, in whatever schema."""
    return {name.rpartition(".")[2] for name in _calls(sql)}


def unqualified(sql: str) -> set[str]:
    """Functions that the search_path finds."""
    return {name for name in _calls(sql) if "." not in name}


def _calls(sql: str) -> set[str]:
    found = re.findall(r"(?<!\bAS )(?<![\w.])([\w.]+) ?\(", re.sub(r"'[^']*'", "''", sql))
    return {name for name in found if name.lower() not in SYNTAX and not name[0].isdigit()}
