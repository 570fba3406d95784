"""What is cached of a mapped class: its row, and the ways from a row to an id, an entity and a
view.

Owns the plan, which is checked when it is made. The verdicts are those of `attributes`,
`hierarchy`, `kinds`, `layout` and `listeners`.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

from sqlalchemy import Column, ColumnElement, Select, Table, inspect, select
from sqlalchemy.engine import Dialect
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Mapper, configure_mappers, selectin_polymorphic, with_polymorphic
from sqlalchemy.sql.expression import TableClause

from repocache.codec.row import RowCodec
from repocache.errors import CodecError, ConfigurationError
from repocache.keys import KeyPart, Keys
from repocache.mapping.attributes import check_mapper, check_names
from repocache.mapping.derived import tables_read
from repocache.mapping.entity import Row, entity_maker
from repocache.mapping.hierarchy import (
    check_concrete,
    family,
    id_columns,
    id_tables,
    own_rows,
    says_primary_only,
)
from repocache.mapping.key_columns import key_parts, values_of
from repocache.mapping.layout import RowLayout, row_layout
from repocache.mapping.listeners import check_listeners
from repocache.mapping.options import MappingOptions
from repocache.mapping.refusals import Refusals
from repocache.mapping.relation import fingerprint_of
from repocache.mapping.rules import MappingRules
from repocache.mapping.statement import LoadStatement, load_statement
from repocache.mapping.view import ViewColumn, view_maker
from repocache.transactions.cached_marker import CachedState, StateMaker, detached_name
from repocache.transactions.not_loaded import guard_dynamic

M = TypeVar("M")
V = TypeVar("V")

NO_RULES = MappingRules()


@dataclass(frozen=True, slots=True, eq=False)
class EntityPlan(Generic[M]):
    """What is cached of a mapped class. Make it with `EntityPlan.of`."""

    model: type[M]
    mapper: Mapper[M]
    #: That of the owner's keys, which marks its entities.
    prefix: str
    layout: RowLayout
    #: Every table that a part of an entity lies in, with the columns that hold its id, in the key's
    #: order.
    tables: Mapping[Table, tuple[Column[Any], ...]]
    #: Tables that its derived attributes are computed from besides.
    reads: frozenset[TableClause]
    #: Replicas do not have the rows.
    primary_only: bool
    fingerprint: str
    #: All rows, as Core.
    select: Select[Any]
    #: Makes a new entity of a row, as `session.get()` and `expunge()` would give it: clean,
    #: detached, with all that is loaded; raises CodecError for a row of a class that this program
    #: does not know.
    entity: Callable[[Row], M]
    #: The id; a tuple of its parts where the key is composite.
    id_of_row: Callable[[Row], Any]
    #: Of the id, in the key's order.
    id_columns: tuple[Column[Any], ...]
    #: What an id is made of, in the key's order.
    key: tuple[KeyPart, ...]
    #: Of the database.
    rules: MappingRules
    _uuids: tuple[int, ...]

    @classmethod
    def of(  # noqa: PLR0913  # keyword-only
        cls,
        model: type[M],
        prefix: str,
        options: MappingOptions | None = None,
        state: StateMaker = CachedState,
        *,
        rules: MappingRules = NO_RULES,
        id_types: Sequence[object] = (),
    ) -> EntityPlan[M]:
        """`state`: makes the states of entities, which say what a change of one leads to.
        `rules`: of the database. `id_types`: as declared; needed for key columns whose types make
        values of their own.

        Raises MappingRefused for a mapping that cannot be cached rightly, saying what to do, and
        ConfigurationError for what is no mapped class and for options that do not fit.
        """
        mapper = inspect(model, raiseerr=False)
        if not isinstance(mapper, Mapper):
            raise ConfigurationError(f"{model!r} is no mapped class")
        try:
            configure_mappers()
        except SQLAlchemyError as error:
            raise ConfigurationError(
                f"{model.__name__}: SQLAlchemy cannot configure the mapped classes: {error}. "
                "Import all modules that have models before Database(...)"
            ) from error
        options = options or MappingOptions()
        mappers = family(mapper)
        check_names(mappers, options)
        check_concrete(mapper)
        refusals = Refusals()
        for each in mappers:
            with refusals.gathered():
                check_mapper(each, options, rules)
            with refusals.gathered():
                check_listeners(each)
        laid_out: list[tuple[RowLayout, tuple[KeyPart, ...]]] = []
        with refusals.gathered():
            layout = row_layout(mapper, options, rules)
            laid_out.append((layout, key_parts(layout.id_stored, id_types)))
        refusals.check()
        [(layout, key)] = laid_out
        tables = id_tables(mapper)
        for each in mappers:
            guard_dynamic(each, detached_name)
        return cls(
            model=model,
            mapper=mapper,
            prefix=prefix,
            layout=layout,
            tables=tables,
            reads=tables_read(mappers, tables, options),
            primary_only=says_primary_only(tables),
            fingerprint=layout.fingerprint(),
            select=_all_rows(mapper, layout),
            entity=_entity_of(mapper, layout, prefix, state),
            id_of_row=values_of(layout, layout.ids, key),
            id_columns=id_columns(mapper),
            key=key,
            rules=rules,
            _uuids=_uuids(layout),
        )

    def beside(
        self,
        owner: Keys,
        layout: RowLayout,
        select: Select[Any],
        entity: Callable[[Row], Any],
    ) -> EntityPlan[Any]:
        """The plan of what is cached beside these rows, under other columns of one table: `layout`
        begins with them. `owner`: of its keys. `entity`: what is made of such a row."""
        held = layout.columns[: len(layout.ids)]
        ids = tuple(each for each in held if isinstance(each, Column))
        table = ids[0].table
        assert isinstance(table, Table)
        has_ids = [each.compared.is_not(None) for each in layout.id_stored]
        return replace(
            self,
            prefix=owner.prefix,
            layout=layout,
            tables={table: ids},
            reads=frozenset(),
            primary_only=self.primary_only or says_primary_only([table]),
            fingerprint=fingerprint_of(layout.fingerprint(), [str(select)]),
            select=select.where(*has_ids),
            entity=entity,
            id_of_row=values_of(layout, layout.ids, owner.parts),
            id_columns=ids,
            key=owner.parts,
            _uuids=_uuids(layout),
        )

    @property
    def columns(self) -> tuple[ColumnElement[Any], ...]:
        """Of a row, in order."""
        return self.layout.columns

    @property
    def entities(self) -> Select[Any]:
        """All of them, by the ORM; of a hierarchy with the columns of all its classes."""
        children = [each.class_ for each in self.mapper.self_and_descendants][1:]
        options = (selectin_polymorphic(self.model, children),) if children else ()
        return select(self.model).options(*options)

    @property
    def id_types(self) -> tuple[type, ...]:
        return tuple(each.type for each in self.key)

    @property
    def id_layout(self) -> RowLayout:
        """Of rows that hold an id alone."""
        stored = self.layout.id_stored
        return RowLayout(
            stored=stored, classes={}, ids=tuple(range(len(stored))), discriminator=None
        )

    def codec(self, max_bytes: int = 1 << 20) -> RowCodec:
        """For this plan's rows."""
        return RowCodec(self.layout.kinds, max_bytes)

    def statement_for(self, dialect: Dialect) -> LoadStatement:
        """Loads the rows of many ids. Build it once."""
        return load_statement(self.select, self.layout.id_stored, dialect)

    def row(self, result: Iterable[Any]) -> Row:
        """A result's row as it is kept: a plain tuple, with UUIDs of the standard class and not of
        asyncpg's own."""
        row = tuple(result)
        if not self._uuids:
            return row
        values = list(row)
        for at in self._uuids:
            value = values[at]
            if type(value) is not uuid.UUID and value is not None:
                values[at] = uuid.UUID(int=value.int)
        return tuple(values)

    def view(self, view: type[V]) -> Callable[[Row], V]:
        """What makes such views of rows. `view`: a frozen `msgspec.Struct` or a frozen dataclass,
        its fields named as loaded attributes. Raises ConfigurationError, naming the field that does
        not fit.
        """
        columns = {
            name: ViewColumn(at, self.layout.stored[at], _may_be_null(self.columns[at]))
            for name, at in self.layout.classes[self.mapper].attributes.items()
        }
        return view_maker(view, columns, len(self.columns))


def _uuids(layout: RowLayout) -> tuple[int, ...]:
    """Where single ones stand: the driver's are of a class of its own."""
    return tuple(
        at
        for at, kind in enumerate(layout.kinds)
        if kind.python_type is uuid.UUID and kind.depth == 0
    )


def _may_be_null(column: ColumnElement[Any]) -> bool:
    return not isinstance(column, Column) or bool(column.nullable)


def _all_rows(mapper: Mapper[Any], layout: RowLayout) -> Select[Any]:
    rows = select(*layout.expressions).select_from(
        inspect(with_polymorphic(mapper, "*")).selectable
    )
    condition = own_rows(mapper)
    return rows if condition is None else rows.where(condition)


def _entity_of(
    mapper: Mapper[M], layout: RowLayout, prefix: str, state: StateMaker
) -> Callable[[Row], M]:
    own = entity_maker(mapper, layout, prefix, state)
    at = layout.discriminator
    if at is None:
        return own
    makers: dict[object, Callable[[Row], M]] = {
        each.polymorphic_identity: entity_maker(each, layout, prefix, state)
        for each in family(mapper)
        if not each.polymorphic_abstract and each.polymorphic_identity is not None
    }
    # Rows that say no class are of the class itself, as SQLAlchemy has it.
    makers[None] = own
    value = layout.stored[at].value

    def make(row: Row) -> M:
        kind = row[at] if value is None else value(row[at])
        maker = makers.get(kind)
        if maker is None:
            raise CodecError(
                f"{mapper.class_.__name__}: no class of it has the polymorphic identity {kind!r}"
            )
        return maker(row)

    return make
