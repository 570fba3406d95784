"""What decides, beside the rows, what a load reads: the state of the connection that it is run on.

Owns the question, for a reader's connection at start and for a writer's before COMMIT: what is
stored under a key depends on the database alone, never on who wrote it.
"""

from __future__ import annotations

from sqlalchemy import (
    ColumnElement,
    Connection,
    Table,
    Text,
    TextClause,
    and_,
    cast,
    literal,
    literal_column,
    text,
)
from sqlalchemy.engine import Dialect

_SETTINGS = (
    *(
        "search_path",
        "TimeZone",
        "DateStyle",
        "IntervalStyle",
        "bytea_output",
        "extra_float_digits",
        "lc_monetary",
    ),
)
_STATE = "pg_catalog.concat_ws('|', {})".format(
    ", ".join(
        [
            "current_user",
            "session_user",
            *(f"pg_catalog.current_setting('{each}')" for each in _SETTINGS),
        ]
    )
)


def state_statement() -> TextClause:
    """Asks for the state: role, search path, and the settings by which values become texts or
    days; and for the database's name."""
    return text(f"SELECT {_STATE}, pg_catalog.current_database()::text")  # constants


def reads_alike(table: Table, place: str, state: str, dialect: Dialect) -> ColumnElement[bool]:
    """Whether the connection is in that state, and the table's name leads it to that place
    (`Relation.place`), whose rows nothing hides: to no temporary table, to no other schema. One
    row, asked with the load itself."""
    name = dialect.identifier_preparer.format_table(table)
    found = text(
        "(SELECT pg_catalog.concat_ws("
        "'.', pg_catalog.current_database(), CAST(relnamespace AS regnamespace), relname)"
        " FROM pg_catalog.pg_class WHERE NOT relrowsecurity"
        " AND oid = CAST(pg_catalog.to_regclass(CAST(:reader_table AS text)) AS oid)) = "
        "CAST(:reader_place AS text)"
    ).bindparams(reader_table=name, reader_place=place)
    return and_(literal_column(_STATE) == cast(literal(state), Text), found)


def renames_tables(connection: Connection) -> bool:
    """Whether statements on the connection mean other tables than they name."""
    return bool(connection.get_execution_options().get("schema_translate_map"))
