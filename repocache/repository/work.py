"""The unit of work as users have it: with repositories that read inside its transaction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self, TypeVar

from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from repocache.errors import PreconditionFailed
from repocache.events import Observer
from repocache.repository.holding import hold_rows
from repocache.repository.registry import Registry
from repocache.repository.repository import Repository
from repocache.repository.scoped import ScopedMatches
from repocache.repository.session_access import SessionAccess
from repocache.routing.around import expectation
from repocache.routing.recording import Trace
from repocache.tags import NAMED, named_tag
from repocache.transactions.commit_watch import CommitWatch
from repocache.transactions.unit_of_work import PrimaryTransaction

I = TypeVar("I")  # noqa: E741  # as in Repository
R = TypeVar("R", bound=Repository[Any, Any])


class UnitOfWork(PrimaryTransaction):
    """`work[Users]` reads entities of this transaction, from the primary and never from a cache."""

    def __init__(
        self,
        sessions: async_sessionmaker[AsyncSession],
        watch: CommitWatch,
        registry: Registry,
        observe: Observer,
    ) -> None:
        super().__init__(sessions, watch.transaction_of, observe)
        self._registry = registry

    async def __aenter__(self) -> Self:
        """Raises UsageError if it was entered before, and PreconditionFailed as `hold`, for what a
        request's `If-Match` was about."""
        await super().__aenter__()
        expected = expectation()
        if expected is not None:
            try:
                await self.hold(expected.trace)
            except BaseException as error:
                expected.failed = isinstance(error, PreconditionFailed)
                await self.__aexit__(type(error), error, error.__traceback__)
                raise
        return self

    async def hold(self, trace: Trace) -> None:
        """Locks the rows that something was made of, as `db.recording()` knows them, until this has
        ended: nobody changes them meanwhile. Raises PreconditionFailed if one is not as it was
        then. Of lists, lookups and counts nothing is held."""
        for repository, binding in sorted(self._registry, key=lambda each: each[1].keys.prefix):
            wanted = trace.rows.get(binding.keys.prefix)
            if wanted:
                access = SessionAccess(binding.rows.plan, self.alone, {}, {})
                await hold_rows(access, binding, repository.__name__, wanted)

    def __getitem__(self, repository: type[R]) -> R:
        """Raises ConfigurationError for a class that is not one of the database's, UsageError
        outside the block, ScopeMissing for rows of a scope with schemas whose value nobody has
        said."""
        binding = self._registry[repository]
        _ = self.session
        access = SessionAccess(binding.plan, self.alone, binding.lookups, binding.counts)
        if binding.scope is not None and binding.by_schema:
            binding.scope.value()  # without it, statements mean what the search path finds
        elif binding.scope is not None:
            access.lookups = {
                name: ScopedMatches(each, binding.scope) for name, each in access.lookups.items()
            }
        return repository(binding, access)

    def invalidate(self, tag: str) -> None:
        """What is cached under this tag of the application's own, by `cached(tags=...)`, counts no
        longer once this commits. Raises UsageError for what is no tag."""
        self.declare(NAMED.prefix, (named_tag(tag),))

    def changes(self, repository: type[Repository[Any, I]], ids: Sequence[I] | None = None) -> None:
        """Say what textual SQL touches; without ids: every row of the repository. Whoever else has
        these rows, or follows their table, is told too. Raises InvalidId."""
        for prefix, keys in self._registry.declared(repository, ids):
            self.declare(prefix, keys)
