"""The one error tree. Every class's docstring is its default message.

RepocacheError
    ConfigurationError          found when something is built: a programming mistake
        MappingRefused          a mapping that cannot be cached rightly
        OwnerClash              two owners of one key prefix, or a key that is not the owner's
    UsageError                  found at the call: a programming mistake
        CachedEntityRefused     a cached row was about to become the base of a write
        ChangesLost             a unit of work was left with changes and without an end
        TransactionRefused      a way of ending a transaction that cannot be followed
        InvalidId               an id of the wrong type or arity
        ScopeMissing            rows of a scope were read and nobody said of which value
        NotStarted              used before `async with` or after it
        HeaderRefused           a header line of a response that would end early
        UndeclaredDependence    a public response depended on what it does not say
        OtherLoop               used in another event loop than the one that it was entered in
    NotFound                    `require` found no row
    PreconditionFailed          a row was not as its client had seen it
    DatabaseUnavailable         no node can answer
        PoolExhausted           all connections to a node are in use
        PrimaryBudgetExceeded   the primary already carries all the reads it may stand in for
        CommitOutcomeUnknown    the connection was lost during COMMIT
    CacheUnavailable            Redis cannot answer (never raised to callers of reads or commits)
    EdgeFailed                  an edge did not purge (never raised to callers of reads or commits)
        EdgeUnavailable         it cannot be reached or is too busy: to be tried again
        EdgeRefused             it does not take this: a wrong token, a wrong address
    BehindUnavailable           Redis cannot answer, which has what is not in the database yet
        AcceptanceUnknown       the connection was lost before Redis said whether it has a change
    BacklogFull                 more changes wait to be written than may
    AcceptedLost                Redis has lost changes that were accepted
    StrictWriteRefused          Redis could not hold back the readers of what was about to be
        written
    CodecError                  a value that cannot be encoded or decoded
    OutboxGone                  the outbox's table disappeared, or the right to it
"""

from __future__ import annotations


class RepocacheError(Exception):
    """Something in repocache failed."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or " ".join((type(self).__doc__ or "").split()))


class ConfigurationError(RepocacheError):
    """The configuration is wrong."""


class MappingRefused(ConfigurationError):
    """This mapping cannot be cached rightly."""

    def __init__(
        self,
        message: str | None = None,
        *,
        leave_out: str = "",
        parts: tuple[MappingRefused, ...] = (),
    ) -> None:
        """`leave_out`: the attribute without which it could be, empty: none. `parts`: each by
        itself, where several things are refused."""
        super().__init__(message)
        self.leave_out = leave_out
        self.parts = parts


class OwnerClash(ConfigurationError):
    """Two owners claim the same keys."""


class UsageError(RepocacheError):
    """The call is not allowed here."""


class UndeclaredDependence(UsageError):
    """A public response depended on a header, or on who asks, and does not say so."""


class CachedEntityRefused(UsageError):
    """An entity that came from a cache cannot become the base of a write."""


class ChangesLost(UsageError):
    """A unit of work was left with changes, and neither commit() nor rollback() was called after
    them."""


class TransactionRefused(UsageError):
    """This way of ending a transaction cannot be followed by the invalidation."""


class InvalidId(UsageError):
    """The id is not of the key's type."""


class QueryRefused(UsageError):
    """The answer to this statement cannot be cached rightly."""


class ScopeMissing(UsageError):
    """Rows of a scope are read within `async with db.scoped(...)` alone."""


class HeaderRefused(UsageError):
    """A header line of a response would end early: what follows would be taken for another one."""


class NotStarted(UsageError):
    """The database is not started: use it inside `async with db:`."""


class OtherLoop(UsageError):
    """The database was entered in another event loop, and can be used there alone: leave it there
    and enter it here, hand the call over to that loop (asyncio.run_coroutine_threadsafe), or give
    each loop a Database of its own."""


class NotFound(RepocacheError):
    """No row has this id."""


class PreconditionFailed(RepocacheError):
    """A row is not as it was when its client saw it."""


class DatabaseUnavailable(RepocacheError):
    """No database node can answer."""


class PoolExhausted(DatabaseUnavailable):
    """All connections to a node are in use, and none came free in time."""


class PrimaryBudgetExceeded(DatabaseUnavailable):
    """The primary already carries all the reads that it may stand in for."""


class CommitOutcomeUnknown(DatabaseUnavailable):
    """The connection was lost during COMMIT: the transaction may or may not have been committed."""


class CacheUnavailable(RepocacheError):
    """Redis cannot answer."""


class EdgeFailed(RepocacheError):
    """An edge did not purge."""


class EdgeUnavailable(EdgeFailed):
    """The edge cannot be reached, or is too busy: try again."""

    def __init__(self, message: str | None = None, *, retry_after: float | None = None) -> None:
        """`retry_after`: seconds for which the edge wants to be left alone; None: it said
        nothing."""
        super().__init__(message)
        self.retry_after = retry_after


class EdgeRefused(EdgeFailed):
    """The edge does not take this purge: look at its token and its address."""


class BehindUnavailable(RepocacheError):
    """Redis cannot answer, which accepts what is written behind and has what is pending."""


class AcceptanceUnknown(BehindUnavailable):
    """The connection was lost before Redis said whether it has the change: it may or may not be
    accepted."""


class BacklogFull(RepocacheError):
    """More changes wait to be written than may: nothing of these was accepted."""


class AcceptedLost(RepocacheError):
    """Changes that were accepted are gone from Redis, and are not in the database."""


class StrictWriteRefused(RepocacheError):
    """Redis could not hold back the readers of what was about to be written: nothing was
    committed."""


class CodecError(RepocacheError):
    """The value cannot be encoded or decoded."""


class OutboxGone(RepocacheError):
    """The outbox that was there at start cannot be written any more: nothing was committed, for the
    invalidation might have been lost. Bring it back with op.create_repocache_outbox(), or restart
    the process to do without."""
