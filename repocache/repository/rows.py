"""Rows of one plan from the topology: one prebuilt statement for many ids, and the loads that fill
the cache."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar, cast

from sqlalchemy import CursorResult, Executable, Select
from sqlalchemy import Row as SqlRow
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.selectable import SelectBase

from repocache.cache.entry import Row, RowRequest
from repocache.engines.driver_errors import READ_ONLY, sqlstate
from repocache.engines.lent import lend
from repocache.errors import CodecError, UsageError
from repocache.events import Observer, Served
from repocache.mapping.plan import EntityPlan
from repocache.mapping.reader import state_statement
from repocache.mapping.relation import (
    Relation,
    check_seen_alike,
    fingerprint_of,
    hindrance,
    is_primary_only,
    relations_statement,
    tables_read,
)
from repocache.mapping.statement import LoadStatement
from repocache.nodes.reading import NodeRead
from repocache.nodes.selection import ReadRequirement
from repocache.nodes.topology import Topology
from repocache.repository.answered import Answered, answered
from repocache.repository.under_scopes import behind_row, within
from repocache.repository.unreadable import any_row, read_apart, readable, unreadable
from repocache.routing.around import current_scopes, tell_unknown
from repocache.routing.routing import ANYWHERE, ON_PRIMARY, Route, Routing, need_of
from repocache.scope import Scope, Scopes
from repocache.tracking.statements import writes
from repocache.transactions.reading_session import plain_session

M = TypeVar("M")
T = TypeVar("T")

WRITES = (
    "repositories only read outside of a unit of work: call what writes in "
    "`async with db.unit_of_work() as work:`"
)


@dataclass(frozen=True, slots=True)
class Nodes:
    """Where rows come from, the same for all repositories of a database."""

    topology: Topology
    routing: Routing
    observe: Observer


@dataclass(frozen=True, slots=True)
class Rows(Generic[M]):
    """`owner`: prefix, for events. `route`: the caller's wish for a node. `primary_only`: replicas
    have not these rows, whatever the mapping says. `strict`: reads by id are the primary's, unless
    the caller wishes otherwise. `hindrance`: why no commit can store its rows (write-through).
    `places`: where its tables are, once the database has said so; `state`: of a reader's connection
    (`mapping.reader`). `scope`: whose rows they are: an id begins with its value."""

    plan: EntityPlan[M]
    statement: LoadStatement
    nodes: Nodes
    owner: str
    route: Route = ANYWHERE
    primary_only: bool = False
    strict: bool = False
    hindrance: str = ""
    places: tuple[str, ...] = ()
    state: str = ""
    scope: Scope | None = None

    async def located(self) -> Rows[M]:
        """The same, once the database has said where its rows are: those of unlogged and temporary
        tables are the primary's alone (protocol, Read path). Raises MappingRefused for a database
        view and for row-level security."""
        topology = self.nodes.topology
        if topology.write_engine.dialect.name != "postgresql":
            return self
        dialect = topology.write_engine.dialect
        by_schema = self.scope is not None and self.scope.schema
        # What lies in the schemas of a scope is asked about when each is used first.
        own_tables = () if by_schema else tuple(self.plan.tables)
        others = tables_read(self.plan.columns)
        own = relations_statement(own_tables, dialect)
        own_names = [dialect.identifier_preparer.format_table(each) for each in own_tables]
        read = relations_statement(
            [*own_tables, *(each for each in others if each.schema is not None or not by_schema)],
            dialect,
        )

        async def run(connection: AsyncConnection) -> tuple[list[Relation], str, str]:
            seen = [Relation(*row) for row in await connection.execute(read)]
            check_seen_alike(self.owner, seen, () if self.scope is None else own_names)
            relations = [Relation(*row) for row in await connection.execute(own)]
            return relations, *(await connection.execute(state_statement())).one()

        relations, state, database = (
            await topology.read(ReadRequirement(primary="asked", asked=True), run)
        ).value
        places = [relation.place for relation in relations if relation.place is not None]
        if by_schema:
            places = [f"{database}.*.{each.name}" for each in self.plan.tables]
        return replace(
            self,
            primary_only=self.primary_only or is_primary_only(relations),
            hindrance=self.hindrance or hindrance(relations),
            places=tuple(places),
            state=state,
        )

    @property
    def fingerprint(self) -> str:
        """Of the rows' shape and of the tables that they lie in: part of each key's name in
        Redis."""
        return fingerprint_of(self.plan.fingerprint, self.places)

    async def by_id(self, ids: Sequence[Any]) -> Mapping[Any, Row]:
        """By id, past the cache; ids without a row are missing. Raises CodecError for a row that
        cannot be read."""
        route = self._key_route

        async def read(some: Sequence[Any]) -> Mapping[Any, Row]:
            return await self._seen(lambda need: self._load(some, need), route)

        def refuse(id: Any, error: Exception) -> CodecError:
            raise self._unreadable(id, error)

        found: dict[Any, Row] = {}
        for some in self._together(ids):
            found |= cast("Mapping[Any, Row]", await read_apart(some, read, refuse))
        return found

    def _together(self, ids: Sequence[Any]) -> Iterable[Sequence[Any]]:
        """Those that one statement may name: of one value of the scope."""
        if self.scope is None:
            return (ids,)
        values: dict[Any, list[Any]] = {}
        for id in ids:
            values.setdefault(id[0], []).append(id)
        return values.values()

    async def select(self, statement: Select[Any]) -> list[Row]:
        """A select of the plan's columns; one that may write goes to the primary, which refuses
        it."""
        return await self._select(statement, self._kept, self._route)

    async def by_value(self, statement: Select[Any]) -> list[Row]:
        """A select of the plan's columns that names rows by their value in a lookup's columns: a
        read by key, as `by_id`."""
        return await self._select(statement, self._kept, self._key_route)

    async def rows(self, statement: Executable) -> Sequence[SqlRow[Any]]:
        """Of a select of columns, as SQLAlchemy gives them. As `select`."""
        return await self._select(statement, _rows, self._route)

    async def entities(self, statement: Select[Any]) -> list[M]:
        """Of a select of the plan's class by the ORM, detached, with all that its options load."""

        async def run(connection: AsyncConnection) -> list[M]:
            async with plain_session(connection) as session:
                with readable(any_row(self.plan.model)):
                    return list((await session.scalars(statement)).unique())

        return await self._select_by(statement, run, self._route)

    def _kept(self, result: CursorResult[Any]) -> list[Row]:
        schema = () if self.scope is None else behind_row(self.scope, current_scopes())
        return [self.plan.row(row) + schema for row in result]

    async def _select(
        self, statement: Executable, answer: Callable[[CursorResult[Any]], T], wanted: Route
    ) -> T:
        async def run(connection: AsyncConnection) -> T:
            with readable(any_row(self.plan.model)):
                return answer(await connection.execute(statement))

        return await self._select_by(statement, run, wanted)

    async def _select_by(
        self,
        statement: Executable,
        execute: Callable[[AsyncConnection], Awaitable[T]],
        wanted: Route,
    ) -> T:
        sure = not writes(statement)
        route = wanted if sure else ON_PRIMARY

        async def run(connection: AsyncConnection) -> T:
            if sure:
                return await execute(connection)
            await lend(connection)
            try:
                return await execute(connection)
            except DBAPIError as error:
                if sqlstate(error) == READ_ONLY:
                    raise UsageError(f"{error.orig}: {WRITES}") from error
                raise

        scopes = current_scopes()
        told = within(scopes, run) if scopes else run

        async def select(need: ReadRequirement) -> NodeRead[T]:
            began = time.perf_counter()
            read = await self.nodes.topology.read(need, told)
            rows = len(read.value) if isinstance(read.value, list) else 1
            tell_read(self.nodes, self.owner, read, began, rows=rows)
            return read

        return await self._seen(select, route)

    async def load(self, wanted: Sequence[RowRequest]) -> Mapping[Any, Row | CodecError]:
        """For the cache: one statement for those that replicas may answer, one for those that only
        the primary may; more where a row cannot be read. See `Load`."""
        needs = [(some, self._needed(strictest(some))) for some in alike(wanted)]
        groups = [
            group
            for group in (
                [(some, need) for some, need in needs if not need.primary],
                [(some, need) for some, need in needs if need.primary],
            )
            if group
        ]
        if len(groups) == 1:
            return await self._load_group(groups[0])
        both = await asyncio.gather(*map(self._load_group, groups))
        return {id: row for rows in both for id, row in rows.items()}

    async def answer(self, statement: SelectBase, want: RowRequest) -> Answered:
        """Of a select of columns, for the cache: on a node that has what is asked for."""
        return await answer_of(self.nodes, statement, want, self.owner, self._route)

    def _needed(self, want: RowRequest) -> ReadRequirement:
        return needed(self.nodes, want, self._route)

    async def _load_group(
        self, group: Sequence[tuple[Sequence[RowRequest], ReadRequirement]]
    ) -> dict[Any, Row | CodecError]:
        """The strictest of the needs: a node that satisfies it satisfies them all."""
        need = max((need for _, need in group), key=lambda need: need.position)
        fresh = next((each.fresh for _, each in group if each.fresh is not None), None)
        need = replace(need, fresh=fresh, unmet=max(each.unmet for _, each in group))

        async def read(ids: Sequence[Any]) -> Mapping[Any, Row]:
            return (await self._load(ids, need)).value

        ids = [want.id for some, _ in group for want in some]
        if self.scope is None:
            return await read_apart(ids, read, self._unreadable)
        found: dict[Any, Row | CodecError] = {}
        for some in self._together(ids):
            found |= await read_apart(some, read, self._unreadable)
        return found

    async def _load(self, ids: Sequence[Any], need: ReadRequirement) -> NodeRead[dict[Any, Row]]:
        plan, statement = self.plan, self.statement
        parameters = statement.parameters(ids)

        scopes: Scopes = {} if self.scope is None else {self.scope: ids[0][0]}
        schema = () if self.scope is None else behind_row(self.scope, scopes)

        async def run(connection: AsyncConnection) -> dict[Any, Row]:
            found = map(plan.row, await connection.execute(statement.select, parameters))
            rows = [row + schema for row in found] if schema else found
            return {plan.id_of_row(row): row for row in rows}

        told = within(scopes, run) if scopes else run
        began = time.perf_counter()
        read = await self.nodes.topology.read(need, told)
        tell_read(self.nodes, self.owner, read, began, count=len(ids))
        return read

    def _unreadable(self, id: Any, error: Exception) -> CodecError:
        return unreadable(self.plan.model, id, error)

    @property
    def _route(self) -> Route:
        return ON_PRIMARY if self.primary_only or self.plan.primary_only else self.route

    @property
    def _key_route(self) -> Route:
        return ON_PRIMARY if self.strict and self.route is ANYWHERE else self._route

    async def _seen(
        self, read: Callable[[ReadRequirement], Awaitable[NodeRead[T]]], route: Route
    ) -> T:
        """A read in the present session, which is told what it has seen if its reads are
        monotonic."""
        tell_unknown(f"{self.owner} was read past the caches")
        routing = self.nodes.routing
        session = routing.monotonic
        if session is None:
            return (await read(routing.need(0, route))).value
        look = session.reads()
        brought = await read(routing.need(0, route))
        session.saw(look, brought.stamp)
        return brought.value


def needed(nodes: Nodes, want: RowRequest, route: Route) -> ReadRequirement:
    """What is stored must be known to be within the limit of lag now: no time passes for it while
    the primary is not heard, and the bookmark of a commit that nobody published would end before
    what was stored."""
    need = need_of(want.floor, want.bookmark, want.history, route)
    if want.fills and not need.primary:
        return replace(need, fresh=nodes.topology.settings.max_lag)
    return need


async def answer_of(
    nodes: Nodes,
    statement: SelectBase,
    want: RowRequest,
    owner: str,
    route: Route = ANYWHERE,
) -> Answered:
    """Of a select of columns, on a node that has what is asked for; one that may write, as what is
    textual may, on the primary, which refuses that. `owner`: prefix, for events."""
    sure = not writes(cast("Executable", statement))

    async def run(connection: AsyncConnection) -> Answered:
        if not sure:
            await lend(connection)
        with readable("a row of a query"):
            return answered(await connection.execute(cast("Executable", statement)))

    began = time.perf_counter()
    read = await nodes.topology.read(needed(nodes, want, route if sure else ON_PRIMARY), run)
    tell_read(nodes, owner, read, began, rows=len(read.value.rows))
    return read.value


def tell_read(  # noqa: PLR0913  # keyword-only, the last
    nodes: Nodes,
    owner: str,
    read: NodeRead[Any],
    began: float,
    *,
    count: int = 1,
    rows: int | None = None,
) -> None:
    """The database has answered. `began`: when it was asked, on `time.perf_counter`. `count`: ids;
    `rows`: of a select."""
    took = time.perf_counter() - began
    told = Served(owner, "database", read.node, read.why, count, seconds=took, rows=rows)
    nodes.observe(told)


def alike(wanted: Sequence[RowRequest]) -> Iterable[Sequence[RowRequest]]:
    """Those whose needs differ in nothing but how far a replica must be."""
    found: dict[tuple[int, str, bool], list[RowRequest]] = {}
    for want in wanted:
        same = id(want.bookmark), want.history, want.floor is None
        found.setdefault(same, []).append(want)
    return found.values()


def strictest(some: Sequence[RowRequest]) -> RowRequest:
    """Of such: who may answer this one may answer them all."""
    first = some[0]
    fills = any(want.fills for want in some)
    floor = None if first.floor is None else max(want.floor or 0 for want in some)
    return first._replace(floor=floor, fills=fills)


def _rows(result: CursorResult[Any]) -> Sequence[SqlRow[Any]]:
    return result.all()
