"""Tables of which the metadata knows little: the database has foreign keys, partitions, views,
rules and functions."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Column, ForeignKey, Integer, MetaData, Table, Text
from sqlalchemy.ext.asyncio import AsyncEngine

from repocache.keys import KeyOwner, Keys
from repocache.tracking import Owned, OwnedTables
from repocache.tracking.catalog import NOTHING, Catalog, catalog_statement
from repocache.tracking.functions import DatabaseFunctions, functions_statement

SCRIPT = """
CREATE SCHEMA stage; CREATE SCHEMA hidden;
SET search_path = public, stage;
CREATE TABLE firm (id int PRIMARY KEY, code int UNIQUE, name text);
CREATE TABLE hidden.site (
    id int PRIMARY KEY,
    firm int REFERENCES firm ON DELETE CASCADE,
    code int UNIQUE REFERENCES firm (code) ON UPDATE CASCADE
);
CREATE TABLE desk (
    id serial PRIMARY KEY,
    label text,
    site int REFERENCES hidden.site ON DELETE SET NULL,
    code int REFERENCES hidden.site (code) ON UPDATE CASCADE ON DELETE SET NULL
);
CREATE TABLE tool (id int PRIMARY KEY, desk int REFERENCES desk);
CREATE TABLE event (id int, year int, note text, PRIMARY KEY (id, year)) PARTITION BY RANGE (year);
CREATE TABLE event_old PARTITION OF event FOR VALUES FROM (0) TO (2000) PARTITION BY RANGE (year);
CREATE TABLE hidden.event_ancient PARTITION OF event_old FOR VALUES FROM (0) TO (1000);
CREATE TABLE event_new PARTITION OF event FOR VALUES FROM (2000) TO (3000);
CREATE TABLE entry (
    id int PRIMARY KEY, note text, event int, year int, FOREIGN KEY (event, year) REFERENCES event
        ON DELETE CASCADE
) PARTITION BY RANGE (id);
CREATE TABLE entry_low PARTITION OF entry FOR VALUES FROM (0) TO (100);
CREATE TABLE animal (id int PRIMARY KEY, name text);
CREATE TABLE dog (tag int PRIMARY KEY) INHERITS (animal);
CREATE VIEW labelled AS SELECT id, label FROM desk WHERE label IS NOT NULL;
CREATE VIEW hidden.short AS SELECT id, label FROM labelled WHERE length(label) < 9;
CREATE VIEW firm_name AS SELECT id, name FROM firm;
CREATE TABLE payment (id int PRIMARY KEY);
CREATE VIEW paid AS SELECT count(*) AS total FROM payment;
CREATE MATERIALIZED VIEW painted AS SELECT id FROM desk;
CREATE TABLE mailbox (id int PRIMARY KEY, line text);
CREATE RULE post AS ON INSERT TO mailbox DO ALSO INSERT INTO desk (label) VALUES (NEW.line);
CREATE TABLE stage.lamp (id int PRIMARY KEY, watts int);

CREATE FUNCTION grant_wish() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN UPDATE animal SET name = 'granted'; RETURN NEW; END $$;
CREATE VIEW wish AS SELECT id, label FROM desk;
CREATE VIEW blank AS SELECT 1 AS id;
CREATE TRIGGER granted INSTEAD OF UPDATE ON wish FOR EACH ROW EXECUTE FUNCTION grant_wish();
CREATE TRIGGER granted INSTEAD OF UPDATE ON blank FOR EACH ROW EXECUTE FUNCTION grant_wish();

CREATE FUNCTION touch(int) RETURNS int
    LANGUAGE sql AS 'UPDATE desk SET label = ''touched'' WHERE id = $1 RETURNING id';
CREATE FUNCTION touch_by_another(int) RETURNS int LANGUAGE plpgsql AS $$ BEGIN RETURN touch($1);
    END $$;
CREATE FUNCTION "Touch"(int) RETURNS int LANGUAGE plpgsql AS $$
BEGIN EXECUTE 'UPDATE desk SET site = 1'; RETURN 1; END $$;
CREATE FUNCTION hidden.stroke(int) RETURNS int
    LANGUAGE sql AS 'DELETE FROM desk WHERE id = $1 RETURNING id';
CREATE FUNCTION mixed(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT 1';
CREATE FUNCTION mixed(text) RETURNS int
    LANGUAGE sql AS 'INSERT INTO firm (id) VALUES (7) RETURNING id';
CREATE FUNCTION atomic(int) RETURNS int LANGUAGE sql BEGIN ATOMIC DELETE FROM desk WHERE id = $1
    RETURNING id; END;
CREATE FUNCTION looks(int) RETURNS text LANGUAGE sql AS 'SELECT label FROM desk WHERE id = $1';
CREATE FUNCTION draws() RETURNS float LANGUAGE plpgsql AS $$ BEGIN RETURN random(); END $$;
CREATE FUNCTION declared(int) RETURNS text LANGUAGE plpgsql STABLE AS $$ BEGIN RETURN 'update';
    END $$;

INSERT INTO firm VALUES (1, 10, 'one');
INSERT INTO hidden.site VALUES (1, 1, 10);
INSERT INTO desk (label, site, code) VALUES ('a', 1, 10), ('b', NULL, NULL);
INSERT INTO event VALUES (1, 500, 'x'), (2, 2020, 'y');
INSERT INTO entry VALUES (1, 'x', 1, 500), (2, 'y', NULL, NULL);
INSERT INTO animal VALUES (1, 'cat');
INSERT INTO dog VALUES (2, 'rex', 20);
INSERT INTO stage.lamp VALUES (1, 40);
"""

METADATA = MetaData()
desk = Table("desk", METADATA, Column("id", Integer, primary_key=True), Column("label", Text))
tool = Table(
    "tool",
    METADATA,
    Column("id", Integer, primary_key=True),
    # So says the metadata, and not the database.
    Column("desk", ForeignKey("desk.id", ondelete="CASCADE")),
)
event = Table(
    "event",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("year", Integer, primary_key=True),
    Column("note", Text),
)
entry_low = Table(
    "entry_low", METADATA, Column("id", Integer, primary_key=True), Column("note", Text)
)
animal = Table("animal", METADATA, Column("id", Integer, primary_key=True), Column("name", Text))
dog = Table(
    "dog",
    METADATA,
    Column("tag", Integer, primary_key=True),
    Column("id", Integer),
    Column("name", Text),
)
lamp = Table("lamp", METADATA, Column("id", Integer, primary_key=True), Column("watts", Integer))
paid = Table("paid", METADATA, Column("total", Integer))


def _owned(
    table: Table, *types: type, reads: frozenset[Any] = frozenset(), follows: Any = None
) -> Owned:
    return Owned(
        Keys(KeyOwner(table.name, follows), types), {table: tuple(table.primary_key)}, reads
    )


OWNED = (
    _owned(desk, int),
    _owned(tool, int),
    _owned(event, int, int),
    _owned(entry_low, int),
    _owned(animal, int),
    _owned(dog, int),
    _owned(lamp, int, reads=frozenset({paid})),
    Owned(Keys(KeyOwner("follower", ("paid",)), (int,)), {lamp: (lamp.c.id,)}),
)


def owned(catalog: Catalog = NOTHING) -> OwnedTables:
    return OwnedTables(OWNED, METADATA.tables.values(), catalog)


async def asked(engine: AsyncEngine) -> tuple[Catalog, DatabaseFunctions]:
    """What the database says."""
    async with engine.connect() as connection:
        statement = catalog_statement(owned().concerning)
        catalog = Catalog.of((await connection.execute(statement)).scalar_one())
        answer = (await connection.execute(functions_statement())).scalar_one()
    return catalog, DatabaseFunctions.read(answer)
