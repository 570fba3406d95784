"""The SQL that puts a test's database back to what it was made with.

Owns the statements and the reading of their answers. When they run, and what becomes of a database
that cannot be put back, is `copies`'.

Rows and sequences are put back, by DELETE: two orders of magnitude cheaper than a new copy, and
than TRUNCATE, which makes new files on every node. What else a test may have changed is seen, by
the catalogue's row versions, and not undone.
"""
# ruff: noqa: S608  # nothing that is put into a text comes from outside

from dataclasses import dataclass

SCHEMA = "repocache_testing"
"""Where a copy keeps the rows that it was made with."""
USER_MADE = 16_384
"""The first oid of what a database was not born with."""
MOST_GROWTH = 64 * 1024 * 1024
"""Bytes of dead rows, after which a new copy is cheaper to work in."""

_TABLES = f"""SELECT class.oid, CAST(CAST(class.oid AS regclass) AS text) AS place
    FROM pg_class AS class WHERE class.relkind = 'r' AND class.relpersistence <> 't'
    AND class.oid >= {USER_MADE} AND class.relnamespace <> '{SCHEMA}'::regnamespace"""
_SEQUENCES = f"""SELECT oid, CAST(CAST(oid AS regclass) AS text) AS place FROM pg_class
    WHERE relkind = 'S' AND relpersistence <> 't' AND oid >= {USER_MADE}"""

# Rules and triggers rest as on a replica, and foreign keys are not checked on the way.
_QUIETLY = "SET client_min_messages = warning; SET session_replication_role = replica;"

RESTORABLE = f"""
SELECT current_setting('is_superuser') = 'on'
    AND NOT EXISTS (SELECT FROM pg_class WHERE relkind = 'm' AND oid >= {USER_MADE})
    AND NOT EXISTS (SELECT FROM pg_trigger WHERE tgenabled IN ('A', 'R'))
    AND NOT EXISTS (SELECT FROM pg_rewrite WHERE ev_enabled IN ('A', 'R'))
"""
"""Whether rows can be put back unseen. Not by an ordinary role, for which triggers run and foreign
keys are checked; nor under triggers that run always; and materialized views keep what they saw."""

PREPARE = f"""
{_QUIETLY}
CREATE SCHEMA {SCHEMA};
CREATE TABLE {SCHEMA}.seeds (
    place oid PRIMARY KEY, kept text NOT NULL, names text NOT NULL, rows bigint NOT NULL, xid xid);
CREATE TABLE {SCHEMA}.sequences (place oid PRIMARY KEY, value bigint, called boolean);
DO $prepare$
DECLARE
    each record; count bigint; names text; kept text;
BEGIN
    FOR each IN {_TABLES} LOOP
        EXECUTE format('SELECT count(*) FROM ONLY %s', each.place) INTO count;
        CONTINUE WHEN count = 0;
        SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum) INTO names FROM pg_attribute
            WHERE attrelid = each.oid AND attnum > 0 AND NOT attisdropped AND attgenerated = '';
        kept := format('{SCHEMA}.%I', 'rows_' || each.oid);
        EXECUTE format('CREATE TABLE %s AS SELECT %s FROM ONLY %s', kept, names, each.place);
        INSERT INTO {SCHEMA}.seeds VALUES (each.oid, kept, names, count);
    END LOOP;
    FOR each IN {_SEQUENCES} LOOP
        EXECUTE format('INSERT INTO {SCHEMA}.sequences SELECT %s, last_value, is_called FROM %s',
            each.oid, each.place);
    END LOOP;
END $prepare$;
"""
"""Keeps the rows of the tables that have some, and where the sequences stand."""

RESTORE = f"""
{_QUIETLY}
DO $end$ BEGIN PERFORM pg_terminate_backend(pid, 5000) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()
    AND backend_type = 'client backend'; END $end$;
DO $restore$
DECLARE
    each record; same boolean; stands record;
BEGIN
    FOR each IN SELECT tables.*, seeds.kept, seeds.names, seeds.rows, seeds.xid
        FROM ({_TABLES}) AS tables LEFT JOIN {SCHEMA}.seeds ON seeds.place = tables.oid
    LOOP
        same := false;
        IF each.kept IS NOT NULL THEN
            EXECUTE format('SELECT count(*) = %s AND bool_and(xmin = %L) FROM ONLY %s',
                each.rows, each.xid, each.place) INTO same;
        END IF;
        CONTINUE WHEN same;
        EXECUTE format('DELETE FROM ONLY %s', each.place);
        CONTINUE WHEN each.kept IS NULL;
        EXECUTE format('INSERT INTO %s (%s) OVERRIDING SYSTEM VALUE SELECT %2$s FROM %3$s',
            each.place, each.names, each.kept);
        UPDATE {SCHEMA}.seeds SET xid = CAST(pg_current_xact_id() AS xid) WHERE place = each.oid;
    END LOOP;
    FOR each IN SELECT stood.*, now.place AS name FROM ({_SEQUENCES}) AS now
        JOIN {SCHEMA}.sequences AS stood ON stood.place = now.oid
    LOOP
        EXECUTE format('SELECT last_value, is_called FROM %s', each.name) INTO stands;
        CONTINUE WHEN stands = (each.value, each.called);
        PERFORM setval(CAST(each.place AS regclass), each.value, each.called);
    END LOOP;
END $restore$;
"""
"""Ends who is connected, and puts rows back where a table has others, and sequences where they
stand elsewhere. Rows that were put back are known by the transaction that did it."""


def _versions(catalogue: str, key: str) -> str:
    """Each of its rows that is a user's making, in this version."""
    return f"SELECT '{catalogue} ' || {key} || ' ' || xmin FROM {catalogue} WHERE {key} >= "


_SHAPE = " UNION ALL ".join(
    [
        # Not by their versions: TRUNCATE makes new ones.
        f"""SELECT CAST(ROW(oid, relname, relnamespace, relowner, relpersistence, relkind, relnatts,
            relchecks, relrowsecurity, relforcerowsecurity, relispartition, relacl, reloptions)
            AS text) FROM pg_class WHERE oid >= {USER_MADE} AND relpersistence <> 't'""",
        """SELECT 'pg_namespace ' || oid || ' ' || xmin FROM pg_namespace
            WHERE nspname !~ '^pg_(toast_)?temp_'""",
        # Rights to what the database was born with.
        f"""SELECT CAST(ROW(oid, proacl) AS text) FROM pg_proc
            WHERE oid < {USER_MADE} AND proacl IS NOT NULL""",
        f"""SELECT CAST(ROW(oid, relacl) AS text) FROM pg_class
            WHERE oid < {USER_MADE} AND relacl IS NOT NULL""",
        """SELECT CAST(ROW(setrole, setconfig) AS text) FROM pg_db_role_setting WHERE setdatabase =
            (SELECT oid FROM pg_database WHERE datname = current_database())""",
        *(
            f"{_versions(catalogue, 'oid')}{USER_MADE}"
            for catalogue in (
                *("pg_attrdef", "pg_constraint", "pg_trigger", "pg_proc", "pg_type", "pg_enum"),
                *("pg_rewrite", "pg_policy", "pg_extension", "pg_largeobject_metadata"),
                "pg_default_acl",
            )
        ),
        *(
            f"{_versions(catalogue, key)}{USER_MADE}"
            for catalogue, key in (
                ("pg_index", "indexrelid"),
                ("pg_inherits", "inhrelid"),
                ("pg_sequence", "seqrelid"),
            )
        ),
        f"""SELECT 'pg_attribute ' || attrelid || ' ' || attnum || ' ' || xmin FROM pg_attribute
            WHERE attrelid >= {USER_MADE}""",
    ]
)

LOOK = f"""
SELECT md5(string_agg(part, ',' ORDER BY part COLLATE "C")),
    pg_database_size(current_database()), pg_current_wal_lsn() - '0/0'
FROM ({_SHAPE}) AS parts (part)
"""
"""What restoring does not undo, in one word; the size in bytes; and the primary's position."""

TABLES = f"SELECT relname FROM pg_class WHERE relkind IN ('r', 'p', 'v') AND oid >= {USER_MADE}"


@dataclass(frozen=True, slots=True)
class DatabaseLook:
    """A database as it stands: `shape` is all that rows are not."""

    shape: str
    size: int
    position: int

    @classmethod
    def of(cls, rows: list[tuple[str, ...]]) -> "DatabaseLook":
        """From the answer to LOOK, the last that a script said."""
        shape, size, position = rows[-1]
        return cls(shape, int(size), int(position))

    def is_as(self, made: "DatabaseLook") -> bool:
        """Whether a test may have it, which was made so."""
        return self.shape == made.shape and self.size < made.size + MOST_GROWTH
