"""The SQL of the outbox, its functions and its triggers, as plain texts for PostgreSQL 14 and later."""

from __future__ import annotations

import re
from collections.abc import Sequence

from repocache.errors import ConfigurationError
from repocache.invalidation.outbox import CHANNEL, TABLE

MOST_ROWS = 1_000
"""A statement that changes more rows is noticed as a change of the whole table."""
MOST_NOTICED = 8_000
"""Characters of ids that one transaction remembers of its triggers' notices; then each table is noticed as a whole."""
EVENTS = ("insert", "update", "delete", "truncate")
_NOTICE, _WAKE = "repocache_notice", "repocache_wake"
_NAME = re.compile(r"[^\x00]{1,63}")


def create_outbox(schema: str, grant_to: Sequence[str]) -> list[str]:
    """Table, the triggers' function, and what wakes the relays. `grant_to`: roles that write through the library.

    The table is small and churns: it is vacuumed by count and not by share, without pauses.
    """
    at = f"{quoted(schema)}."
    table = f"""
CREATE TABLE {at}{TABLE} (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  source text,
  notices jsonb NOT NULL,
  due timestamptz NOT NULL DEFAULT clock_timestamp(),
  since timestamptz NOT NULL DEFAULT clock_timestamp(),
  tries integer NOT NULL DEFAULT 0,
  why text
) WITH (
  autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0,
  autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 10000
)"""
    comment = f"COMMENT ON TABLE {at}{TABLE} IS 'repocache: invalidations that are not known to be delivered'"
    # At COMMIT, when it is known whether a unit of work publishes the notice itself: NOTIFY is not free.
    wake = f"""
CREATE FUNCTION {at}{_WAKE}() RETURNS trigger LANGUAGE plpgsql AS $wake$
BEGIN
  IF current_setting('repocache.sealed', true) IS DISTINCT FROM 'on' THEN
    PERFORM pg_notify('{CHANNEL}', '');
  END IF;
  RETURN NULL;
END $wake$"""
    waker = f"""
CREATE CONSTRAINT TRIGGER {_WAKE} AFTER INSERT ON {at}{TABLE} DEFERRABLE INITIALLY DEFERRED
FOR EACH ROW WHEN (NEW.source IS NOT NULL) EXECUTE FUNCTION {at}{_WAKE}()"""
    revoke = f"REVOKE ALL ON FUNCTION {at}{_NOTICE}() FROM PUBLIC"
    grants = [f"GRANT SELECT, INSERT, UPDATE, DELETE ON {at}{TABLE} TO {quoted(role)}" for role in grant_to]
    return [table, comment, _notice_function(schema), revoke, wake, waker, *grants]


def drop_outbox(schema: str) -> list[str]:
    """All that `create_outbox` makes. Fails while a table still has its triggers."""
    at = f"{quoted(schema)}."
    return [f"DROP TABLE {at}{TABLE}", f"DROP FUNCTION {at}{_WAKE}()", f"DROP FUNCTION {at}{_NOTICE}()"]


def create_trigger(table: str, schema: str, outbox_schema: str, columns: Sequence[str]) -> list[str]:
    """Four triggers, one for each kind of statement: transition tables allow no less."""
    on = f"{quoted(schema)}.{quoted(table)}"
    arguments = ", ".join("'" + column.replace("'", "''") + "'" for column in columns)
    rows = {
        "insert": "REFERENCING NEW TABLE AS new_rows",
        "update": "REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows",
        "delete": "REFERENCING OLD TABLE AS old_rows",
        "truncate": "",
    }
    return [
        f"CREATE TRIGGER {trigger_name(event)} AFTER {event.upper()} ON {on} {rows[event]} "
        f"FOR EACH STATEMENT EXECUTE FUNCTION {quoted(outbox_schema)}.{_NOTICE}({arguments})"
        for event in EVENTS
    ]


def drop_trigger(table: str, schema: str) -> list[str]:
    """All four."""
    return [f"DROP TRIGGER {trigger_name(event)} ON {quoted(schema)}.{quoted(table)}" for event in EVENTS]


def trigger_name(event: str) -> str:
    """Of the trigger for this kind of statement, on any table."""
    return f"repocache_notice_{event}"


def quoted(name: str) -> str:
    """An identifier, whatever is in it. Raises ConfigurationError for what cannot be one."""
    if not _NAME.fullmatch(name):
        raise ConfigurationError(f"{name!r} is no name of a table, schema or role")
    return '"' + name.replace('"', '""') + '"'


def _notice_function(schema: str) -> str:
    """It runs as its owner, so that whoever may write a watched table need not know of the outbox.

    Keys are found in the catalogue when it runs: a migration of the primary key leaves no trigger behind. What it
    remembers in `repocache.noticed` is forgotten by a rollback to a savepoint, as its rows are. A transaction of very
    many statements leaves no more rows than it can remember, and one for the whole of each table.
    """
    at = f"{quoted(schema)}."
    return f"""
CREATE FUNCTION {at}{_NOTICE}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET bytea_output = hex AS $notice$
DECLARE
  watched text := TG_TABLE_SCHEMA || '.' || TG_TABLE_NAME;
  notice jsonb := jsonb_build_object('t', watched);
  noticed text := coalesce(current_setting('repocache.noticed', true), '');
  whole text := coalesce(nullif(current_setting('repocache.whole', true), ''), ',');
  too_many boolean := length(noticed) >= {MOST_NOTICED};
  many bigint := 0;
  carried text;
  changed jsonb;
  made bigint;
BEGIN
  IF too_many AND position(',' || TG_RELID || ',' IN whole) > 0 THEN
    RETURN NULL;
  END IF;
  IF TG_OP <> 'TRUNCATE' THEN
    IF TG_OP <> 'DELETE' THEN
      SELECT count(*) INTO many FROM (SELECT 1 FROM new_rows LIMIT {MOST_ROWS + 1}) AS first_rows;
    ELSE
      SELECT count(*) INTO many FROM (SELECT 1 FROM old_rows LIMIT {MOST_ROWS + 1}) AS first_rows;
    END IF;
    IF many = 0 THEN
      RETURN NULL;
    END IF;
    IF many <= {MOST_ROWS} AND NOT too_many THEN
      SELECT string_agg(format('r.%I', a.attname), ', ') INTO carried FROM pg_attribute a
        LEFT JOIN pg_index i ON i.indrelid = a.attrelid AND i.indisprimary
        WHERE a.attrelid = TG_RELID AND a.attnum > 0 AND NOT a.attisdropped
          AND (a.attnum = ANY (i.indkey::int2[]) OR a.attname::text = ANY (TG_ARGV));
      IF carried IS NOT NULL THEN
        EXECUTE format('SELECT jsonb_agg(to_jsonb(c)) FROM (%s) AS c', concat_ws(' UNION ALL ',
            CASE WHEN TG_OP <> 'INSERT' THEN format('SELECT %s FROM old_rows AS r', carried) END,
            CASE WHEN TG_OP <> 'DELETE' THEN format('SELECT %s FROM new_rows AS r', carried) END)) INTO changed;
        notice := notice || jsonb_build_object('rows', changed);
      END IF;
    END IF;
  END IF;
  INSERT INTO {at}{TABLE} (source, notices) VALUES (watched, jsonb_build_array(notice)) RETURNING id INTO made;
  PERFORM set_config('repocache.noticed', concat_ws(',', nullif(noticed, ''), made::text), true);
  IF too_many THEN
    PERFORM set_config('repocache.whole', whole || TG_RELID || ',', true);
  END IF;
  RETURN NULL;
END $notice$
"""  # noqa: S608  # names that are quoted
