"""From a statement to its analysis.

Owns the verdict on what may be cached at all, and that statements of one structure are looked at
once: only what their parameters stand for is looked at each time, as SQLAlchemy does with what it
compiles. Pure.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select, TextClause
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import lazyload
from sqlalchemy.orm.strategy_options import _AbstractLoad
from sqlalchemy.sql.elements import BindParameter
from sqlalchemy.sql.lambdas import StatementLambdaElement
from sqlalchemy.sql.selectable import SelectBase

from repocache.errors import QueryRefused, UsageError
from repocache.queries.analysis import Analysis, analysis_of
from repocache.queries.loaders import second_statement
from repocache.queries.recorder import Recorder
from repocache.queries.shape import TablePlace
from repocache.queries.sheet import Sheet
from repocache.queries.sources import Sources

NOT_GIVEN: Mapping[str, Any] = {}
MOST = 512


class Outlines:
    """Analyses statements over one database's tables. `most`: structures that are remembered; the
    one that was asked for longest ago is forgotten first."""

    def __init__(self, sources: Sources, most: int = MOST) -> None:
        self._sources = sources
        self._most = most
        self._known: OrderedDict[object, _Outline | str] = OrderedDict()

    def __len__(self) -> int:
        return len(self._known)

    def analysis(
        self,
        statement: Any,
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

        Raises QueryRefused, with the remedy, for a statement whose answer may change without a
        write that is seen, and UsageError for a parameter that is missing.
        """
        declared = self._sources.declared(tables)
        statement = _plain(statement)
        key = statement._generate_cache_key()  # noqa: SLF001 - there is no public way to ask
        kept_under = None if key is None else (key.key, entities, declared)
        outline = self._known.get(kept_under)
        if outline is None:
            outline = self._outline(
                statement, () if key is None else key.bindparams, declared, entities=entities
            )
            if kept_under is not None:
                self._keep(kept_under, outline)
        else:
            self._known.move_to_end(kept_under)
        if isinstance(outline, str):
            raise QueryRefused(outline)
        given = getattr(key, "params", None)  # of SQLAlchemy 2.1
        binds = outline.binds if key is None else key.bindparams
        return outline.analysis(binds, {**(given or outline.given), **parameters})

    def explain(
        self,
        statement: Any,
        parameters: Mapping[str, Any] = NOT_GIVEN,
        *,
        entities: bool = False,
        tables: Iterable[object] = (),
    ) -> str:
        """For people: what would invalidate the statement's answer, or why it cannot be cached."""
        try:
            return str(self.analysis(statement, parameters, entities=entities, tables=tables))
        except QueryRefused as refused:
            return f"refused: {refused}"

    def _keep(self, key: object, outline: _Outline | str) -> None:
        self._known[key] = outline
        if len(self._known) > self._most:
            self._known.popitem(last=False)

    def _outline(
        self,
        statement: Any,
        binds: Sequence[BindParameter[Any]],
        declared: frozenset[TablePlace],
        *,
        entities: bool,
    ) -> _Outline | str:
        """Or why it is refused."""
        sheet = Sheet(self._sources, only_ids=entities, declared=bool(declared))
        for place in sorted(declared):
            sheet.add_whole(place, "declared by tables=")
        try:
            _check_answer(statement, entities=entities)
            given = _record(statement, sheet)
        except QueryRefused as refused:
            return str(refused)
        return _Outline(sheet, binds, given)


@dataclass(frozen=True, slots=True, eq=False)
class _Outline:
    """Of all statements of one structure. `binds`: the parameters of the one that was looked at, in
    the order of its cache key. `given`: what its `params()` has named."""

    sheet: Sheet
    binds: Sequence[BindParameter[Any]]
    given: Mapping[str, Any]

    def analysis(
        self, binds: Sequence[BindParameter[Any]], parameters: Mapping[str, Any]
    ) -> Analysis:
        """`binds`: of the statement that is asked about. A parameter that is not among those of the
        key is the same for all of the structure."""
        places = {bind.key: at for at, bind in enumerate(self.binds)}

        def value_of(bind: BindParameter[Any]) -> Any:
            copied = {each.key for each in bind._cloned_set}  # noqa: SLF001 - as SQLAlchemy does
            at = next((places[key] for key in copied if key in places), None)
            given = bind if at is None else binds[at]
            if given.key in parameters:
                return parameters[given.key]
            if given.required:
                raise UsageError(
                    f"the statement has a parameter {given.key!r}, and nobody says what it stands "
                    "for: name it in parameters={...}"
                )
            return given.effective_value

        return analysis_of(self.sheet, value_of)


def shapes_of(
    statement: Any,
    sources: Sources,
    parameters: Mapping[str, Any] = NOT_GIVEN,
    *,
    entities: bool = False,
    tables: Iterable[object] = (),
) -> Analysis:
    """Of a single statement: see `Outlines.analysis`."""
    return Outlines(sources).analysis(statement, parameters, entities=entities, tables=tables)


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


def _plain(statement: Any) -> Any:
    if isinstance(statement, StatementLambdaElement):
        statement = statement._resolved  # noqa: SLF001 - there is no public way to ask
    if not isinstance(statement, SelectBase | TextClause) and not hasattr(
        statement, "column_descriptions"
    ):
        raise QueryRefused(
            f"{type(statement).__name__} is no statement that reads: give a select()"
        )
    return statement


def _check_answer(statement: Any, *, entities: bool) -> None:
    """Raises QueryRefused."""
    if "schema_translate_map" in statement.get_execution_options():
        raise QueryRefused(
            "the statement has a schema_translate_map of its own, so that its tables are others "
            "than those that it names: read it uncached"
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


def _is_one_entity(described: Sequence[Mapping[str, Any]]) -> bool:
    return len(described) == 1 and described[0].get("entity") is described[0]["expr"]


def _record(statement: Any, sheet: Sheet) -> Mapping[str, Any]:
    """What `params()` of the statement names. Raises QueryRefused."""
    sheet.refuse_own_compilers(statement)
    try:
        recorder = Recorder(statement, sheet)
    except (SQLAlchemyError, AttributeError, NotImplementedError) as error:
        raise QueryRefused(
            f"the statement cannot be compiled for PostgreSQL, so that nobody sees what it reads: "
            f"{error}"
        ) from error
    return dict(getattr(recorder, "_collected_params", ()))  # of SQLAlchemy 2.1
