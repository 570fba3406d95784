"""From a statement to the tags that invalidate its answer.

Owns the verdict on a statement, and what it says of itself. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from sqlalchemy import Select, TextClause
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import lazyload
from sqlalchemy.orm.strategy_options import _AbstractLoad
from sqlalchemy.sql.elements import BindParameter
from sqlalchemy.sql.lambdas import StatementLambdaElement
from sqlalchemy.sql.selectable import SelectBase

from repocache.errors import QueryRefused, UsageError
from repocache.queries.alternatives import ANY_ROW, MOST_TAGS, Alternatives, both, narrowed
from repocache.queries.conditions import ValueOf
from repocache.queries.loaders import second_statement
from repocache.queries.recorder import Recorder
from repocache.queries.shape import ALL, Place, Shape, Tag
from repocache.queries.sheet import Occurrence, Sheet
from repocache.queries.sources import Sources

NOT_GIVEN: Mapping[str, Any] = {}


@dataclass(frozen=True)
class Coarse:
    """A table any insert or delete of which, and any change of what matters, invalidates the
    answer. `why`: in words."""

    place: Place
    why: str


@dataclass(frozen=True)
class Analysis:
    """What a statement's answer depends on. `str` of it is for people.

    `tags`: all that invalidate it, sorted by their texts. `coarse`: tables of which no condition
    restricts the rows.
    """

    tags: tuple[Tag, ...]
    coarse: tuple[Coarse, ...] = ()

    @cached_property
    def shapes(self) -> tuple[Shape, ...]:
        """Each once, to be registered."""
        return tuple(sorted({tag.shape for tag in self.tags}, key=lambda shape: shape.text))

    @cached_property
    def places(self) -> tuple[Place, ...]:
        """Of the tables, whose tokens invalidate it too."""
        return tuple(sorted({shape.place for shape in self.shapes}))

    def __str__(self) -> str:
        lines = ["invalidated by"]
        lines += [f"  {tag.shape.said(tag.values)}" for tag in self.tags]
        lines += [f"  writes to {place.text} whose values are not known" for place in self.places]
        if self.coarse:
            lines.append("coarse")
            lines += [f"  {each.place.text}: {each.why}" for each in self.coarse]
        return "\n".join(lines)


def shapes_of(
    statement: Any,
    sources: Sources,
    parameters: Mapping[str, Any] = NOT_GIVEN,
    *,
    entities: bool = False,
    tables: Iterable[object] = (),
) -> Analysis:
    """The tags of a statement that reads.

    `parameters`: by name, as it would be executed with. `entities`: its answer is kept as the
    primary keys of the one class that it selects, in order; give what `ids_only` makes of it.
    `tables`: what is textual in it reads these (mapped classes, Tables, or names): any write to
    one of them invalidates the answer.

    Raises QueryRefused, with the remedy, for a statement whose answer may change without a write
    that is seen, and UsageError for a parameter that is missing.
    """
    declared = sources.declared(tables)
    sheet = Sheet(sources, only_ids=entities, declared=bool(declared))
    for place in sorted(declared):
        sheet.add_whole(place, "declared by tables=")
    _record(_resolved(statement, entities=entities), sheet)
    return _analysis(sheet, _values(parameters))


def ids_only(statement: Select[Any]) -> Select[Any]:
    """The statement without loader options and eager loads, which say nothing of which entities it
    gives: to be analysed and executed where only their ids are kept. Criteria of
    `with_loader_criteria` stay."""
    plain = statement.options()
    plain._with_options = tuple(  # noqa: SLF001 - there is no public way to drop one
        each
        for each in statement._with_options  # noqa: SLF001 - as above
        if not isinstance(each, _AbstractLoad)
    )
    return plain.options(lazyload("*"))


def explain(
    statement: Any,
    sources: Sources,
    parameters: Mapping[str, Any] = NOT_GIVEN,
    *,
    entities: bool = False,
    tables: Iterable[object] = (),
) -> str:
    """For people: what would invalidate the statement's answer, or why it cannot be cached."""
    try:
        return str(shapes_of(statement, sources, parameters, entities=entities, tables=tables))
    except QueryRefused as refused:
        return f"refused: {refused}"


def _resolved(statement: Any, *, entities: bool) -> Any:
    if isinstance(statement, StatementLambdaElement):
        statement = statement._resolved  # noqa: SLF001 - there is no public way to ask
    if not isinstance(statement, SelectBase | TextClause) and not hasattr(
        statement, "column_descriptions"
    ):
        raise QueryRefused(
            f"{type(statement).__name__} is no statement that reads: give a select()"
        )
    if entities:
        described = getattr(statement, "column_descriptions", ())
        if not isinstance(statement, Select) or not _is_one_entity(described):
            raise QueryRefused(
                "only ids can be kept of a select() of one mapped class: select that alone"
            )
    elif hidden := second_statement(statement):
        raise QueryRefused(
            f"{hidden} is read by a statement of its own, whose tables are not those of this one: "
            "select columns, or read the relationship with load="
        )
    return statement


def _is_one_entity(described: Sequence[Mapping[str, Any]]) -> bool:
    return len(described) == 1 and described[0].get("entity") is described[0]["expr"]


def _record(statement: Any, sheet: Sheet) -> None:
    sheet.refuse_own_compilers(statement)
    try:
        Recorder(statement, sheet)
    except (SQLAlchemyError, AttributeError, NotImplementedError) as error:
        raise QueryRefused(
            f"the statement cannot be compiled for PostgreSQL, so that nobody sees what it reads: "
            f"{error}"
        ) from error


def _values(parameters: Mapping[str, Any]) -> ValueOf:
    def value_of(bind: BindParameter[Any]) -> Any:
        if bind.key in parameters:
            return parameters[bind.key]
        if bind.required:
            raise UsageError(f"the statement has a parameter {bind.key!r}: give parameters=")
        return bind.effective_value

    return value_of


def _analysis(sheet: Sheet, value_of: ValueOf) -> Analysis:
    tables = [each for each in sheet.occurrences if not sheet.sources.is_view(each.place)]
    found = _fitted([_alternatives(each, value_of) for each in tables], MOST_TAGS)
    tags = {Tag(Shape(place, (), ALL)) for place in sheet.whole}
    coarse = [Coarse(place, why) for place, why in sheet.whole.items()]
    for occurrence, alternatives in zip(tables, found, strict=True):
        tags.update(_tags(occurrence, alternatives))
        if alternatives == ANY_ROW:
            coarse.append(Coarse(occurrence.place, _why(occurrence, sheet)))
    return Analysis(tuple(sorted(tags, key=lambda tag: tag.text)), tuple(dict.fromkeys(coarse)))


def _alternatives(occurrence: Occurrence, value_of: ValueOf) -> Alternatives:
    found = ANY_ROW
    for condition in occurrence.conditions:
        found = both(found, condition.of(occurrence.number, value_of))
    return found


def _fitted(found: list[Alternatives], most: int) -> list[Alternatives]:
    """No more tags in all: the table that has most of them gives up first."""
    while sum(each.tags for each in found) > most and any(each.tags > 1 for each in found):
        at = max(range(len(found)), key=lambda number: found[number].tags)
        excess = sum(each.tags for each in found) - most
        found[at] = narrowed(found[at], max(1, found[at].tags - excess))
    return found


def _tags(occurrence: Occurrence, alternatives: Alternatives) -> Iterator[Tag]:
    for columns, values in alternatives.of.items():
        shape = Shape(
            occurrence.place,
            columns,
            ALL if occurrence.everything else frozenset(occurrence.columns),
        )
        for row in values:
            yield Tag(shape, row)


def _why(occurrence: Occurrence, sheet: Sheet) -> str:
    unfit = [why for (place, _), why in sheet.unfit.items() if place == occurrence.place]
    if unfit:
        return f"no column is compared by = or IN that can be a condition: {'; '.join(unfit)}"
    return "no column is compared with a value by = or IN in every case"
