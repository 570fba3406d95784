"""From the repository classes that a database is given to their registry: the one place where a
class is looked up."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import Table
from sqlalchemy.ext.asyncio import AsyncConnection

from repocache.errors import ConfigurationError
from repocache.keys import Keys, KeySpace, owner_beside
from repocache.mapping.count import count_plan
from repocache.mapping.criteria import check_criteria
from repocache.mapping.joined_view import joined_shapes
from repocache.mapping.key_list import key_list_plan
from repocache.mapping.lookup import lookup_plan
from repocache.mapping.plan import EntityPlan
from repocache.mapping.refusals import RefusedRepositories
from repocache.mapping.rules import MappingRules
from repocache.mapping.schema_rows import lookup_by_schema, statement_by_schema
from repocache.mapping.scoped import scoped_id
from repocache.mapping.statement import load_statement
from repocache.nodes.selection import ReadRequirement
from repocache.queries.sources import Sources
from repocache.queries.steady_functions import (
    immutable_functions,
    immutable_functions_statement,
)
from repocache.repository.beside import Beside, CountBinding, KeyListBinding
from repocache.repository.binding import Binding
from repocache.repository.counts import Count
from repocache.repository.declared import (
    check_declaration,
    counts_of,
    declared_types,
    key_lists_of,
    lookups_of,
    make_keys,
    model_and_id,
    views_of,
)
from repocache.repository.lookup import Lookup
from repocache.repository.matches import LookupBinding
from repocache.repository.query import EntryKeys, entry_owner
from repocache.repository.repository import Repository
from repocache.repository.rows import Nodes, Rows
from repocache.repository.schemas import UsedSchemas
from repocache.repository.scoped import OF_A_SCOPE, ScopedOwner
from repocache.repository.scoping import check_apart, scoped_owner, scopes_of
from repocache.repository.storing import check_storing
from repocache.repository.table_checks import check_lookups, check_secured
from repocache.repository.tag_owners import NO_TAGS, TagOwners, cached_sources
from repocache.tracking import Owned, OwnedTables, reached
from repocache.tracking.catalog import NOTHING, Catalog, catalog_statement
from repocache.tracking.functions import (
    NO_FUNCTIONS,
    DatabaseFunctions,
    Functions,
    functions_statement,
)
from repocache.tracking.schema_tables import SchemaTables, WrittenTables, as_a_whole
from repocache.transactions.cached_marker import StateMaker

AnyRepository = type[Repository[Any, Any]]


def checked(repositories: Iterable[AnyRepository]) -> tuple[AnyRepository, ...]:
    """The classes as given. Raises ConfigurationError for what is none, is named twice or declares
    wrongly."""
    given: object = repositories
    if isinstance(given, str | type) or not isinstance(given, Iterable):
        raise ConfigurationError(
            f"Database(repositories={given!r}): give a list of repository classes"
        )
    found = tuple(repositories)
    everything: tuple[object, ...] = found
    for each in everything:
        if not isinstance(each, type) or not issubclass(each, Repository):
            raise ConfigurationError(
                f"Database(repositories=[... {each!r} ...]): give classes that derive from "
                "Repository"
            )
    if len(set(found)) != len(found):
        raise ConfigurationError("Database(repositories=...): a class is named twice")
    for repository in found:
        check_declaration(repository)
    return found


class Registry:
    """One for each class. `state`: makes the states of their entities. `rules`: for all their
    mappings. `redis`: whether there is one. `beside`: keys of what is cached with tags, and belongs
    to no repository. `tagged`: responses are, so that every table has tags.

    `tags`: who owns those of tables, if anything is cached by queries. `scopes`: by name, with the
    type of their values. `keys`: of all owners. `owned`: whose rows are in which table, and what
    leads from one table to another; `schemas`: the same of those that lie in the schemas of a
    scope, and `used`: which of these have been. `functions`: which may write. As the database says,
    once it was asked.

    Raises ConfigurationError or MappingRefused for a class that cannot be read or stored as it
    declares.
    """

    def __init__(  # noqa: PLR0913  # keyword-only, the last
        self,
        repositories: Iterable[AnyRepository],
        nodes: Nodes,
        state: StateMaker,
        rules: MappingRules,
        *,
        redis: bool,
        beside: Sequence[Keys] = (),
        tagged: bool = False,
    ) -> None:
        self._nodes = nodes
        self._beside = beside
        self._state = state
        self._rules = rules
        self._registry: dict[AnyRepository, Binding[Any]] = {}
        self._bind(repositories, redis=redis)
        self.scopes = scopes_of(binding.scope for _, binding in self)
        check_apart(self._registry, self._tables())
        cached = tagged or beside or any(repository.queries is not None for repository, _ in self)
        self.tags = TagOwners.of(self._tables()) if cached else NO_TAGS
        self.keys = KeySpace([*self.tags.keys, *self._keys()])
        self.owned = self._owned(NOTHING)
        self.schemas = self._schemas()
        self.used = self._used()
        self.functions = NO_FUNCTIONS
        self.sources = self._sources(NOTHING, frozenset())
        self._check_criteria()

    def _bind(self, repositories: Iterable[AnyRepository], *, redis: bool) -> None:
        """Raises MappingRefused for all that is refused of all of them."""
        refusals = RefusedRepositories()
        for repository in repositories:
            with refusals.of(repository.__name__, repository.mapping):
                self._registry[repository] = self._binding(repository)
        refusals.check()
        for repository, binding in list(self):
            with refusals.of(repository.__name__, repository.mapping):
                lists = tuple(self._key_lists(repository, binding))
                self._registry[repository] = replace(binding, key_lists=lists)
            with refusals.of(repository.__name__, repository.mapping):
                check_storing(repository, binding, redis=redis)
        refusals.check()

    def __iter__(self) -> Iterator[tuple[AnyRepository, Binding[Any]]]:
        return iter(self._registry.items())

    def __getitem__(self, repository: type[Any]) -> Binding[Any]:
        """Raises ConfigurationError for a class that was not given."""
        try:
            return self._registry[repository]
        except KeyError:
            name = getattr(repository, "__name__", repository)
            raise ConfigurationError(
                f"{name} is not one of this database's repositories: name it in "
                "Database(repositories=[...])"
            ) from None

    def declared(
        self, repository: type[Any], ids: Sequence[Any] | None
    ) -> list[tuple[str, tuple[str, ...] | None]]:
        """Prefix and keys of every owner of the rows that the application says it changes; None:
        all. Ids are of the value of the scope, where there is one: without it, ScopeMissing. Raises
        ConfigurationError for a class that was not given, InvalidId."""
        binding = self[repository]
        wanted = None if ids is None else binding.ids.distinct(ids)
        written = WrittenTables(self.owned)
        if binding.scope is not None and wanted is not None:
            value = binding.scope.value()
            if binding.by_schema:
                written = self.schemas.declared(str(value))
            else:
                wanted = [scoped_id(value, id) for id in wanted]
        elif binding.by_schema:
            written = WrittenTables(self.schemas.as_declared)
        found = list(reached(written, Owned(binding.keys, binding.rows.plan.tables), wanted))
        # Whatever leads from these rows to others, too.
        beside = [each.plan.keys for each in binding.key_lists]
        for keys in [*beside, *(each.plan.keys for each in binding.counts.values())]:
            texts = None if wanted is None else tuple(map(keys.text, wanted))
            found.append((keys.prefix, texts))
        return found

    async def locate(self) -> None:
        """Ask the database where the rows are, and what else changes them. Raises MappingRefused
        for a database view, for row-level security, and for a class whose selects sessions have
        begun to narrow."""
        self._check_criteria()
        await self._ask()
        for repository, binding in list(self):
            if not binding.by_schema:
                await check_lookups(self._nodes.topology, binding)
                await check_secured(self._nodes.topology, repository.__name__, binding)
            rows = await binding.rows.located()
            lookups = {name: each.located(rows) for name, each in binding.lookups.items()}
            lists = tuple([await each.located() for each in binding.key_lists])
            counts = {name: await each.located() for name, each in binding.counts.items()}
            self._registry[repository] = replace(
                binding, rows=rows, lookups=lookups, counts=counts, key_lists=lists
            )

    async def _ask(self) -> None:
        topology = self._nodes.topology
        if topology.write_engine.dialect.name != "postgresql":
            return
        statement = catalog_statement(self.owned.concerning)

        async def run(
            connection: AsyncConnection,
        ) -> tuple[Catalog, Functions, frozenset[str]]:
            catalog = Catalog.of((await connection.execute(statement)).scalar_one())
            answer = (await connection.execute(functions_statement())).scalar_one()
            steady = await connection.execute(immutable_functions_statement())
            functions = DatabaseFunctions.read(answer)
            return catalog, functions, immutable_functions(steady.scalars())

        catalog, self.functions, steady = (
            await topology.read(ReadRequirement(primary="asked", asked=True), run)
        ).value
        self.owned, self.schemas = self._owned(catalog), self._schemas()
        self.used = self._used()
        self.sources = self._sources(catalog, steady)

    def _sources(self, catalog: Catalog, steady: frozenset[str]) -> Sources:
        """`steady`: names of functions."""
        dialect = self._nodes.topology.write_engine.dialect
        return cached_sources(self._tables() if self.tags.tables else (), catalog, steady, dialect)

    def _keys(self) -> Iterator[Keys]:
        yield from self._beside
        for repository, binding in self:
            yield binding.keys
            yield from (each.plan.keys for each in binding.beside)
            if self.tags.tables:
                yield EntryKeys(entry_owner(repository.owner))

    def _tables(self) -> list[Table]:
        """Of all metadata that repositories have tables in."""
        own = [each for _, binding in self for each in binding.rows.plan.tables]
        metadata = {id(table.metadata): table.metadata for table in own}
        return [table for each in metadata.values() for table in each.tables.values()]

    def _owned(self, catalog: Catalog) -> OwnedTables:
        tables = self._tables()
        owned = [
            as_a_whole(each, tables) if each.by_schema else each for each in self._of_repositories()
        ]
        return OwnedTables([*owned, *self.tags.tables], tables, catalog)

    def _of_repositories(self) -> list[Owned]:
        return [each for repo, binding in self for each in binding.owned(repo.policy)]

    def _schemas(self) -> SchemaTables:
        return SchemaTables(self._of_repositories(), self._tables())

    def _used(self) -> UsedSchemas:
        lookups = [
            each for _, binding in self if binding.by_schema for each in binding.lookups.values()
        ]
        return UsedSchemas(self._nodes.topology, self.schemas, lookups, self._nodes.observe)

    def _check_criteria(self) -> None:
        dialect = self._nodes.topology.write_engine.dialect
        for repository, binding in self:
            if not repository.mapping.unfiltered:
                check_criteria(binding.plan.mapper, dialect)

    def _binding(self, repository: AnyRepository) -> Binding[Any]:
        model, id_type = model_and_id(repository)
        prefix = repository.owner.prefix
        dialect = self._nodes.topology.write_engine.dialect
        plan: EntityPlan[Any] = EntityPlan.of(
            model,
            prefix,
            repository.mapping,
            self._state,
            rules=self._rules,
            id_types=declared_types(id_type),
        )
        ids = make_keys(repository, plan, id_type)
        owner = scoped_owner(repository, plan, dialect)
        kept = plan if owner is None else owner.kept(plan)
        by_schema = owner is not None and owner.column is None
        rows = Rows(
            kept,
            statement_by_schema(plan.statement_for(dialect))
            if by_schema
            else kept.statement_for(dialect),
            self._nodes,
            ids.prefix,
            primary_only=repository.policy.primary_alone,
            strict=not repository.policy.fills_from_replicas,
            scope=repository.owner.scope,
            hindrance="" if owner is None else OF_A_SCOPE,
        )
        lookups = {
            each.name: self._lookup(repository, plan if by_schema else kept, rows, each, owner)
            for each in lookups_of(repository)
        }
        counts = {each.name: self._count(repository, rows, each) for each in counts_of(repository)}
        joined = joined_shapes(views_of(repository), plan.mapper)
        return Binding(
            ids if owner is None else Keys(repository.owner, kept.key),
            rows,
            ids,
            plan,
            owner,
            {shape: kept.view(shape) for shape in views_of(repository) if shape not in joined},
            joined,
            lookups,
            counts,
        )

    def _count(self, repository: AnyRepository, rows: Rows[Any], count: Count) -> CountBinding:
        owner = owner_beside(repository.owner, count.name)
        name = f"{repository.__name__}.{count.name}"
        plan = count_plan(rows.plan, owner, name, count.attributes)
        statement = plan.ids.statement_for(self._nodes.topology.write_engine.dialect)
        ids = replace(rows, plan=plan.ids, statement=statement, owner=plan.keys.prefix)
        return Beside(plan, ids)

    def _lookup(
        self,
        repository: AnyRepository,
        plan: EntityPlan[Any],
        rows: Rows[Any],
        lookup: Lookup[Any],
        scoped: ScopedOwner | None,
    ) -> LookupBinding:
        """`plan`: of the columns that are read."""
        owner = owner_beside(repository.owner, lookup.name)
        name = f"{repository.__name__}.{lookup.name}"
        attributes: Sequence[Any] = lookup.attributes
        if scoped is not None:
            attributes = scoped.before(name, plan.mapper, attributes)
        read = kept = lookup_plan(plan, owner, name, attributes)
        dialect = self._nodes.topology.write_engine.dialect
        by_value = read.ids.statement_for(dialect)
        whole = load_statement(plan.select, read.ids.layout.id_stored, dialect)
        values = read.keys
        if scoped is not None and scoped.column is None:
            kept = lookup_by_schema(read, owner, scoped.scope)
            by_value, whole = map(statement_by_schema, (by_value, whole))
        elif scoped is not None:
            values = Keys(owner, read.keys.parts[1:])
        ids = replace(rows, plan=kept.ids, statement=by_value, owner=kept.keys.prefix)
        return LookupBinding(name, kept, values, ids, whole, read)

    def _key_lists(
        self, repository: AnyRepository, binding: Binding[Any]
    ) -> Iterator[KeyListBinding]:
        """None where there are no arrays to ask for."""
        dialect = self._nodes.topology.write_engine.dialect
        for each in key_lists_of(repository):
            name = f"{repository.__name__}.{each.name}"
            child = self._of_class(each.relationship.mapper.class_, name)
            if child.scope is not None:
                raise ConfigurationError(
                    f"{name}: what it leads to belongs to the scope {child.scope.scope.name!r}, so "
                    "that each reader has a list of its own: leave the key list out"
                )
            owner = owner_beside(repository.owner, each.name)
            plan = key_list_plan(binding.plan, child.plan, owner, name, each.relationship)
            if dialect.name == "postgresql":
                statement = plan.ids.statement_for(dialect)
                yield Beside(
                    plan,
                    replace(
                        child.rows,
                        plan=plan.ids,
                        statement=statement,
                        owner=plan.keys.prefix,
                        strict=binding.rows.strict or child.rows.strict,
                    ),
                )

    def _of_class(self, model: type, name: str) -> Binding[Any]:
        for _, binding in self:
            if binding.plan.model is model:
                return binding
        raise ConfigurationError(
            f"{name}: {model.__name__} has no repository in Database(repositories=[...]), which "
            "reads what the key list leads to: give one, or leave the key list out"
        )
