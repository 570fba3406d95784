"""The SQL of the outbox, its functions and its triggers, as plain texts for PostgreSQL 14 and
later."""

from __future__ import annotations

from collections.abc import Sequence

from repocache.behind.tables import DEAD_LETTERS, POSITIONS
from repocache.invalidation.identifier import literal, quoted
from repocache.invalidation.outbox import CHANNEL, PURGES, TABLE
from repocache.invalidation.outbox_table import WAKE

MOST_ROWS = 1_000
"""A statement that changes more rows is noticed as a change of the whole table."""
MOST_STATEMENTS = 1_000
"""A transaction that has left more rows notices each table as a whole."""
MOST_BYTES = 8 * 1024 * 1024
"""That all rows of a transaction take; a notice beyond it is of the whole table."""
EVENTS = ("insert", "update", "delete", "truncate")
_NOTICE = "repocache_notice"


def create_outbox(schema: str, grant_to: Sequence[str], owner: str = "") -> list[str]:
    """Table, the triggers' function, and what wakes the relays. `grant_to`: roles that write
    through the library. `owner`: the role whose rights the triggers' function has, empty: the one
    that migrates.
    """
    at = f"{quoted(schema, 'schema')}."
    table = _rows_table(at, TABLE)
    comment = (
        f"COMMENT ON TABLE {at}{TABLE} IS 'repocache: invalidations that are not known to be "
        "delivered'"
    )
    # What a transaction's triggers have noticed so far; rows of units of work are not in it.
    index = f"CREATE INDEX {TABLE}_xid ON {at}{TABLE} (xid, source) WHERE source IS NOT NULL"
    waker = f"""
CREATE CONSTRAINT TRIGGER {WAKE} AFTER INSERT ON {at}{TABLE} DEFERRABLE INITIALLY DEFERRED
FOR EACH ROW WHEN (NEW.source IS NOT NULL) EXECUTE FUNCTION {at}{WAKE}()"""
    revoked = [
        f"REVOKE ALL ON FUNCTION {at}{function}() FROM PUBLIC" for function in (_NOTICE, WAKE)
    ]
    granted = [
        f"GRANT SELECT, INSERT, UPDATE, DELETE ON {at}{TABLE} TO {quoted(role, 'grant_to')}"
        for role in grant_to
    ]
    owned = _owned(at, quoted(owner, "owner")) if owner else []
    return [
        table,
        comment,
        index,
        _notice_function(at),
        _wake_function(at),
        *revoked,
        waker,
        *granted,
        *owned,
    ]


def create_purges(schema: str, grant_to: Sequence[str]) -> list[str]:
    """What edges have still to purge. `grant_to`: as of the outbox."""
    at = f"{quoted(schema, 'schema')}."
    comment = (
        f"COMMENT ON TABLE {at}{PURGES} IS 'repocache: what edges are not known to have purged'"
    )
    granted = [
        f"GRANT SELECT, INSERT, UPDATE, DELETE ON {at}{PURGES} TO {quoted(role, 'grant_to')}"
        for role in grant_to
    ]
    return [_rows_table(at, PURGES), comment, *granted]


def drop_purges(schema: str) -> list[str]:
    """The table."""
    return [f"DROP TABLE {quoted(schema, 'schema')}.{PURGES}"]


def _rows_table(at: str, name: str) -> str:
    """Small, and churning: vacuumed by count and not by share, without pauses."""
    return f"""
CREATE TABLE {at}{name} (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  source text,
  notices jsonb NOT NULL,
  due timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
  xid bigint NOT NULL DEFAULT pg_catalog.pg_current_xact_id()::text::bigint,
  since timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
  tries integer NOT NULL DEFAULT 0,
  why text
) WITH (
  autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000,
      autovacuum_vacuum_cost_delay = 0,
  autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 10000
)"""


def drop_outbox(schema: str) -> list[str]:
    """All that `create_outbox` makes. Fails while a table still has its triggers."""
    at = f"{quoted(schema, 'schema')}."
    return [
        f"DROP TABLE {at}{TABLE}",
        f"DROP FUNCTION {at}{WAKE}()",
        f"DROP FUNCTION {at}{_NOTICE}()",
    ]


def create_write_behind(schema: str, grant_to: Sequence[str]) -> list[str]:
    """How far each stream is written, one row for each, and the dead letters. `grant_to`: as of the
    outbox.

    The first is updated by each flush: it is vacuumed by count, and its pages have room.
    """
    at = f"{quoted(schema, 'schema')}."
    positions = f"""
CREATE TABLE {at}{POSITIONS} (
  stream text PRIMARY KEY,
  positions jsonb NOT NULL,
  changes bigint NOT NULL,
  flushed timestamptz NOT NULL
) WITH (
  fillfactor = 20, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000,
  autovacuum_vacuum_cost_delay = 0
)"""
    dead = f"""
CREATE TABLE {at}{DEAD_LETTERS} (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  owner text NOT NULL,
  key text NOT NULL,
  change bytea NOT NULL,
  why text NOT NULL,
  since timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp()
)"""
    index = f"CREATE INDEX {DEAD_LETTERS}_owner ON {at}{DEAD_LETTERS} (owner, id)"
    said = {
        POSITIONS: "repocache: how far each stream of a WriteBehind is written",
        DEAD_LETTERS: "repocache: changes of a WriteBehind that the database refused",
    }
    comments = [f"COMMENT ON TABLE {at}{name} IS '{words}'" for name, words in said.items()]
    granted = [
        f"GRANT SELECT, INSERT, UPDATE, DELETE ON {at}{name} TO {quoted(role, 'grant_to')}"
        for role in grant_to
        for name in said
    ]
    return [positions, dead, index, *comments, *granted]


def drop_write_behind(schema: str) -> list[str]:
    """Both."""
    at = f"{quoted(schema, 'schema')}."
    return [f"DROP TABLE {at}{DEAD_LETTERS}", f"DROP TABLE {at}{POSITIONS}"]


def create_trigger(
    table: str, schema: str, outbox_schema: str, columns: Sequence[str]
) -> list[str]:
    """Four triggers, one for each kind of statement: transition tables allow no less."""
    on = _table(table, schema)
    function = f"{quoted(outbox_schema, 'outbox_schema')}.{_NOTICE}"
    arguments = ", ".join(map(literal, columns))
    rows = {
        "insert": "REFERENCING NEW TABLE AS new_rows",
        "update": "REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows",
        "delete": "REFERENCING OLD TABLE AS old_rows",
        "truncate": "",
    }
    return [
        f"CREATE TRIGGER {trigger_name(event)} AFTER {event.upper()} ON {on} {rows[event]} "
        f"FOR EACH STATEMENT EXECUTE FUNCTION {function}({arguments})"
        for event in EVENTS
    ]


def drop_trigger(table: str, schema: str) -> list[str]:
    """All four."""
    return [f"DROP TRIGGER {trigger_name(event)} ON {_table(table, schema)}" for event in EVENTS]


def trigger_name(event: str) -> str:
    """Of the trigger for this kind of statement, on any table."""
    return f"repocache_notice_{event}"


def _table(table: str, schema: str) -> str:
    return f"{quoted(schema, 'schema')}.{quoted(table, 'table')}"


def _owned(at: str, owner: str) -> list[str]:
    """The triggers' function as a role's that may do nothing else; the table stays with who
    migrates."""
    function = f"FUNCTION {at}{_NOTICE}()"
    return [
        f"GRANT SELECT, INSERT, DELETE ON {at}{TABLE} TO {owner}",
        f"ALTER {function} OWNER TO {owner}",
        f"GRANT EXECUTE ON {function} TO CURRENT_USER",  # who makes a trigger needs it
    ]


def _notice_function(at: str) -> str:
    """It runs as its owner, so that whoever may write a watched table need not know of the outbox.

    So it runs no code of the table's owner: `to_jsonb` calls casts to JSON, which the owner of a
    type may make; of types in `pg_catalog`, and domains straight over one, it calls what PostgreSQL
    has. A column of another type is not carried. Nor does it believe what the session can set: what
    was noticed before, it asks the outbox.

    Keys are found in the catalogue when it runs: a migration of the primary key leaves no trigger
    behind. A notice of the whole table takes the place of all that the transaction noticed of it
    before, and stands for all that comes after, so that many statements leave few rows; a rollback
    to a savepoint brings back what was before. Ids of transactions are those of this cluster, a row
    may be from a dump of another: it is older.
    """
    body = f"""
DECLARE
  watched text := TG_TABLE_SCHEMA || '.' || TG_TABLE_NAME;
  whole jsonb := jsonb_build_array(jsonb_build_object('t', watched));
  notice jsonb := whole;
  noticed bigint;
  taken bigint;
  is_noticed boolean;
  mine bigint := pg_current_xact_id()::text::bigint;
  many bigint := 0;
  carried text;
  changed jsonb;
BEGIN
  IF TG_OP = 'DELETE' THEN
    SELECT count(*) INTO many FROM (SELECT 1 FROM old_rows LIMIT {MOST_ROWS + 1}) AS first_rows;
  ELSIF TG_OP <> 'TRUNCATE' THEN
    SELECT count(*) INTO many FROM (SELECT 1 FROM new_rows LIMIT {MOST_ROWS + 1}) AS first_rows;
  END IF;
  IF many = 0 AND TG_OP <> 'TRUNCATE' THEN
    RETURN NULL;
  END IF;
  SELECT count(*), coalesce(sum(pg_column_size(o.notices)), 0),
      coalesce(bool_or(o.source = watched AND o.notices = whole), false)
          INTO noticed, taken, is_noticed
    FROM {at}{TABLE} o
    WHERE o.xid = mine AND o.source IS NOT NULL AND o.due >= transaction_timestamp();
  IF is_noticed THEN
    RETURN NULL;
  END IF;
  IF TG_OP <> 'TRUNCATE' AND many <= {MOST_ROWS} AND noticed < {MOST_STATEMENTS} THEN
    SELECT string_agg(format('r.%I', a.attname), ', ') INTO carried FROM pg_attribute a
      JOIN pg_type t ON t.oid = a.atttypid
      JOIN pg_type b ON b.oid = CASE t.typtype WHEN 'd' THEN t.typbasetype ELSE t.oid END
      LEFT JOIN pg_index i ON i.indrelid = a.attrelid AND i.indisprimary
      WHERE a.attrelid = TG_RELID AND a.attnum > 0 AND NOT a.attisdropped
        AND (a.attnum = ANY (i.indkey::int2[]) OR a.attname::text = ANY (TG_ARGV))
        AND b.typnamespace = 'pg_catalog'::regnamespace AND a.attgenerated <> 'v';
    IF carried IS NOT NULL THEN
      EXECUTE format('SELECT jsonb_agg(to_jsonb(c.*)) FROM (%s) AS c', concat_ws(' UNION ALL ',
          CASE WHEN TG_OP <> 'INSERT' THEN format('SELECT %s FROM old_rows AS r', carried) END,
          CASE WHEN TG_OP <> 'DELETE' THEN format('SELECT %s FROM new_rows AS r', carried) END))
              INTO changed;
      IF taken + pg_column_size(changed) <= {MOST_BYTES} THEN
        notice := jsonb_build_array(jsonb_build_object('t', watched, 'rows', changed));
      END IF;
    END IF;
  END IF;
  IF notice = whole AND noticed > 0 THEN
    DELETE FROM {at}{TABLE} o
      WHERE o.xid = mine AND o.source = watched AND o.due >= transaction_timestamp();
  END IF;
  INSERT INTO {at}{TABLE} (source, notices) VALUES (watched, notice);
  RETURN NULL;
END
"""  # noqa: S608  # names that are quoted
    return f"""
CREATE FUNCTION {at}{_NOTICE}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET bytea_output = hex AS {literal(body)}"""


def _wake_function(at: str) -> str:
    """At COMMIT, when it is known whether a unit of work publishes the notice itself, which
    postpones it: NOTIFY is not free. As its owner: who writes a watched table may not read the
    outbox."""
    body = f"""
BEGIN
  IF EXISTS (SELECT FROM {at}{TABLE} o WHERE o.id = NEW.id AND o.due <= clock_timestamp()) THEN
    PERFORM pg_notify('{CHANNEL}', '');
  END IF;
  RETURN NULL;
END
"""  # names that are quoted
    return f"""
CREATE FUNCTION {at}{WAKE}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS {literal(body)}"""
