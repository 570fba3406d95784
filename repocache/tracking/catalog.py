"""What the database itself says of its tables: foreign keys, partitions, views and rules.

Owns the question and what its answer means. Pure: asking it at start is the repositories' affair,
and only PostgreSQL is asked. Functions are `tracking.functions`' affair.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, NamedTuple

from sqlalchemy import Column, ForeignKeyConstraint, MetaData, Table, TextClause, text
from sqlalchemy.sql.expression import TableClause

Place = tuple[str, str]
"""Schema and name of a relation."""

_ACTIONS = {"c": "CASCADE", "n": "SET NULL", "d": "SET DEFAULT"}
_QUESTION = """
WITH RECURSIVE tied (relation, named) AS (
    SELECT DISTINCT rule.ev_class, depends.refobjid
    FROM pg_catalog.pg_rewrite AS rule
    JOIN pg_catalog.pg_class AS class ON class.oid = rule.ev_class AND class.relkind <> 'm'
    JOIN pg_catalog.pg_depend AS depends
        ON depends.classid = CAST(CAST('pg_catalog.pg_rewrite' AS regclass) AS oid)
            AND depends.objid = rule.oid
        AND depends.refclassid = CAST(CAST('pg_catalog.pg_class' AS regclass) AS oid)
        AND depends.refobjid <> rule.ev_class
),
asked (oid) AS (
    SELECT class.oid
    FROM ROWS FROM (pg_catalog.unnest(CAST(:schemas AS text[])),
        pg_catalog.unnest(CAST(:names AS text[])))
        AS given (schema, name)
    JOIN pg_catalog.pg_class AS class ON class.relname = given.name
    JOIN pg_catalog.pg_namespace AS space ON space.oid = class.relnamespace
    WHERE coalesce(space.nspname = given.schema, pg_catalog.pg_table_is_visible(class.oid))
    UNION SELECT tied.named FROM asked JOIN tied ON tied.relation = asked.oid
),
reached (oid) AS (
    (SELECT oid FROM asked UNION SELECT oid FROM pg_catalog.pg_class WHERE relkind = 'v'
        AND relhastriggers)
    UNION SELECT further.oid FROM reached CROSS JOIN LATERAL (
        SELECT confrelid FROM pg_catalog.pg_constraint WHERE conrelid = reached.oid
            AND contype = 'f'
        UNION ALL SELECT inhparent FROM pg_catalog.pg_inherits WHERE inhrelid = reached.oid
        UNION ALL SELECT inhrelid FROM pg_catalog.pg_inherits WHERE inhparent = reached.oid
        UNION ALL SELECT relation FROM tied WHERE named = reached.oid
    ) AS further (oid)
),
key AS (
    SELECT CAST(conrelid AS bigint) AS child, CAST(confrelid AS bigint) AS parent,
        (SELECT pg_catalog.json_agg(attname ORDER BY number)
            FROM pg_catalog.unnest(conkey) WITH ORDINALITY AS part (attribute, number)
            JOIN pg_catalog.pg_attribute ON attrelid = conrelid AND attnum = attribute) AS columns,
        (SELECT pg_catalog.json_agg(attname ORDER BY number)
            FROM pg_catalog.unnest(confkey) WITH ORDINALITY AS part (attribute, number)
            JOIN pg_catalog.pg_attribute ON attrelid = confrelid
                AND attnum = attribute) AS referred,
        confdeltype AS deletes, confupdtype AS updates
    FROM pg_catalog.pg_constraint
    WHERE contype = 'f' AND conparentid = CAST(0 AS oid) AND conrelid IN (SELECT oid FROM reached)
)
SELECT CAST(pg_catalog.json_build_object(
    'relations', (SELECT pg_catalog.json_agg(pg_catalog.json_build_array(
            CAST(class.oid AS bigint), space.nspname, class.relname,
                pg_catalog.pg_table_is_visible(class.oid),
            class.relkind = 'v' AND EXISTS (SELECT FROM pg_catalog.pg_trigger
                WHERE tgrelid = class.oid),
            EXISTS (SELECT FROM pg_catalog.pg_trigger
                WHERE tgrelid = class.oid AND NOT tgisinternal AND tgenabled <> 'D'
                AND CAST(tgtype AS integer) & 3 = 3 AND CAST(tgtype AS integer) & 20 <> 0)
            OR EXISTS (SELECT FROM pg_catalog.pg_attribute
                WHERE attrelid = class.oid AND attgenerated <> ''))
            ORDER BY class.oid)
        FROM reached JOIN pg_catalog.pg_class AS class USING (oid)
        JOIN pg_catalog.pg_namespace AS space ON space.oid = class.relnamespace),
    'keys', (SELECT pg_catalog.json_agg(
            pg_catalog.json_build_array(child, parent, columns, referred, deletes, updates))
                FROM key),
    'parts', (SELECT pg_catalog.json_agg(
            pg_catalog.json_build_array(CAST(inhrelid AS bigint), CAST(inhparent AS bigint)))
        FROM pg_catalog.pg_inherits WHERE inhparent IN (SELECT oid FROM reached)),
    'rules', (SELECT pg_catalog.json_agg(pg_catalog.json_build_array(CAST(relation AS bigint),
        CAST(named AS bigint)))
        FROM tied WHERE relation IN (SELECT oid FROM reached) AND named IN
            (SELECT oid FROM reached))
) AS text)
"""


class _Relation(NamedTuple):
    """`visible`: found by the search_path. `untold`: a view with triggers. `rewritten`: triggers
    may give a row other values before it is stored, or the database computes some."""

    oid: int
    schema: str
    name: str
    visible: bool
    untold: bool
    rewritten: bool

    @property
    def places(self) -> list[Place]:
        """What is found without a schema is also `public` (`tracking.places`)."""
        return [(self.schema, self.name), *([("public", self.name)] if self.visible else [])]


class _Key(NamedTuple):
    child: int
    parent: int
    columns: Sequence[str]
    referred: Sequence[str]
    deletes: str
    updates: str


@dataclass(frozen=True, slots=True)
class Catalog:
    """What the database says; empty: nothing was asked.

    `tables`: those that foreign keys and rules lead through, with these foreign keys, in a MetaData
    of their own. `same`: the place that stands for a relation under any of its names, and for all
    partitions and inheriting tables of one tree: a write to one of them may be to rows of the
    others. `beneath`: for views, and tables with rules, the places whose rows a write to them may
    change and which they show, however far. `untold`: views whose triggers write what the catalogue
    does not tell. `rewritten`: tables whose rows the database may give other values than it is
    given, by triggers before each row or by generated columns.
    """

    tables: tuple[Table, ...] = ()
    same: Mapping[Place, Place] = field(default_factory=dict)
    beneath: Mapping[Place, frozenset[Place]] = field(default_factory=dict)
    untold: frozenset[Place] = frozenset()
    rewritten: frozenset[Place] = frozenset()

    @classmethod
    def of(cls, answer: str) -> Catalog:
        """From the one value that `catalog_statement` answers."""
        found = json.loads(answer)
        relations = {each[0]: _Relation(*each) for each in found["relations"] or ()}
        keys = [_Key(*each) for each in found["keys"] or ()]
        rules: list[tuple[int, int]] = found["rules"] or []
        trees = [
            (relations[part].places[0], relations[parent].places[0])
            for part, parent in found["parts"] or ()
            if part in relations
        ]
        names = [(name, each.places[0]) for each in relations.values() for name in each.places]
        same = _joined([*names, *trees])
        tied = {
            (same[relations[over].places[0]], same[relations[under].places[0]])
            for over, under in rules
        }
        return cls(
            tables=_tables(relations, keys, rules),
            same=same,
            beneath=_closed(tied),
            untold=frozenset(same[each.places[0]] for each in relations.values() if each.untold),
            rewritten=frozenset(
                same[each.places[0]] for each in relations.values() if each.rewritten
            ),
        )

    def at(self, place: Place) -> Place:
        """The place that stands for this one."""
        return self.same.get(place, place)

    def over(self, place: Place) -> frozenset[Place]:
        """Places whose rows are those of this one, or whose rules write it."""
        return frozenset(over for over, under in self.beneath.items() if place in under)


NOTHING = Catalog()


def catalog_statement(tables: Iterable[TableClause], schema: str | None = None) -> TextClause:
    """Asks for all that leads to these tables: what they refer to, however far, their partitions,
    and the views and rules over any of these; and for every view with triggers. `schema`: of those
    that name none; None: what the search_path finds."""
    given = list(tables)
    schemas = [schema if each.schema is None else str(each.schema) for each in given]
    return text(_QUESTION).bindparams(schemas=schemas, names=[str(each.name) for each in given])


def in_schema(answer: str, schema: str) -> str:
    """The same answer with nothing in the place of this schema, and of the numbers that differ from
    one schema to the next: of tables that are alike in two schemas it is the same text."""
    found = json.loads(answer)
    relations = [_Relation(*each) for each in found["relations"] or ()]
    renamed = [
        each._replace(schema="" if each.schema == schema else each.schema, visible=False)
        for each in relations
    ]
    renamed.sort(key=lambda each: (each.schema, each.name))
    numbers = {each.oid: number for number, each in enumerate(renamed)}
    pairs = {
        name: sorted(
            (numbers[one], numbers[other])
            for one, other in found[name] or ()
            if one in numbers and other in numbers
        )
        for name in ("parts", "rules")
    }
    keys = sorted(
        (numbers[child], numbers[parent], *more)
        for child, parent, *more in found["keys"] or ()
        if child in numbers and parent in numbers
    )
    relations = [each._replace(oid=numbers[each.oid]) for each in renamed]
    return json.dumps({"relations": relations, "keys": keys, **pairs})


def _tables(
    relations: Mapping[int, _Relation], keys: Iterable[_Key], rules: Iterable[tuple[int, int]]
) -> tuple[Table, ...]:
    columns: dict[int, dict[str, None]] = {oid: {} for oid in chain.from_iterable(rules)}
    keys = [key for key in keys if key.child in relations and key.parent in relations]
    for key in keys:
        columns.setdefault(key.child, {}).update(dict.fromkeys(key.columns))
        columns.setdefault(key.parent, {}).update(dict.fromkeys(key.referred))
    metadata = MetaData()
    tables = {oid: _table(relations[oid], names, metadata) for oid, names in columns.items()}
    for key in keys:
        referred = [tables[key.parent].c[name] for name in key.referred]
        ondelete, onupdate = _ACTIONS.get(key.deletes), _ACTIONS.get(key.updates)
        tables[key.child].append_constraint(
            ForeignKeyConstraint(key.columns, referred, ondelete=ondelete, onupdate=onupdate)
        )
    return tuple(tables.values())


def _table(relation: _Relation, names: Iterable[str], metadata: MetaData) -> Table:
    columns: list[Column[Any]] = [Column(name) for name in names]
    return Table(
        relation.name,
        metadata,
        *columns,
        schema=None if relation.visible else relation.schema or None,
    )


def _joined(pairs: Iterable[tuple[Place, Place]]) -> dict[Place, Place]:
    """For each place the one that stands for all that it is paired with, one through the other."""
    groups: dict[Place, set[Place]] = {}
    for one, other in pairs:
        small, large = sorted(
            (groups.setdefault(one, {one}), groups.setdefault(other, {other})), key=len
        )
        if small is not large:
            large |= small
            groups.update(dict.fromkeys(small, large))
    return {place: min(group) for place, group in groups.items()}


def _closed(pairs: Iterable[tuple[Place, Place]]) -> dict[Place, frozenset[Place]]:
    """What is beneath each place, however far."""
    direct: dict[Place, set[Place]] = {}
    for over, under in pairs:
        direct.setdefault(over, set()).add(under)
    closed: dict[Place, frozenset[Place]] = {}
    for place in direct:
        found = [place]
        for each in found:
            found.extend(direct.get(each, set()).difference(found))
        closed[place] = frozenset(found[1:]) - {place}
    return closed
