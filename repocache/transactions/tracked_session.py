"""SQLAlchemy's session with two refusals: of entities from a cache, and of a commit that is a unit
of work's affair."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

from sqlalchemy import Connection, event
from sqlalchemy import inspect as inspect_entity
from sqlalchemy.orm import InstanceState, Session, SessionTransaction
from sqlalchemy.orm.interfaces import ORMOption

from repocache.errors import UsageError
from repocache.transactions.cached_marker import cached_by, refusal, unmark
from repocache.transactions.one_at_a_time import OneAtATime

E = TypeVar("E", bound=object)
Stops = Callable[[InstanceState[Any]], bool]

OF_UNIT = "repocache.of_unit"
"""In `Session.info`, true: it belongs to a unit of work, whose `commit` alone may commit it."""
CONNECTING = "repocache.connecting"
"""In `Session.info`: `OneAtATime`, whose turn it is while a statement is asking for the
connection."""


ENTERING = "repocache.entering"
"""In `Session.info`: what each of its transactions does when it has begun, on its connection."""


class TrackedSession(Session):
    """A session that refuses entities from a cache: `add`, `delete`, cascades, `merge` and
    `bulk_save_objects` raise CachedEntityRefused. A cached row is never the base of a write: it may
    be older than the one that it overwrites.

    What is public here is SQLAlchemy's: others copy a session's methods.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.info[CONNECTING] = OneAtATime()
        if ENTERING in self.info:
            event.listen(self, "after_begin", _enter)

    def begin(self, nested: bool = False) -> SessionTransaction:
        """As Session.begin. Raises UsageError for the transaction of a unit of work, which has
        begun."""
        if self.info.get(OF_UNIT) and not nested:
            raise UsageError(
                "a unit of work is one transaction already: for a nested one use work.savepoint()"
            )
        return super().begin(nested)

    def commit(self) -> None:
        """As Session.commit. Raises UsageError for the transaction of a unit of work."""
        if self.info.get(OF_UNIT):
            raise UsageError("use work.commit(), which runs the hooks and gives the bookmark")
        super().commit()

    def _connection_for_bind(self, *arguments: Any, **options: Any) -> Connection:
        # Every statement passes here. Two at once, before there is a connection, would leave one of
        # two connections to the garbage collection.
        with self.info[CONNECTING].turn():
            return super()._connection_for_bind(*arguments, **options)

    def _before_attach(self, state: InstanceState[Any], obj: object) -> bool:
        # Every way into the session passes here, cascades too. The event of this name would have to
        # be listened to again for each session.
        _refuse_cached(obj)
        unmark(state)
        return super()._before_attach(state, obj)

    def add(self, instance: object, *, _warn: bool = True) -> None:
        """As Session.add, before which all that it will bring in is looked at: half of it must not
        be added."""
        # SQLAlchemy stops at what the session has, too.
        _refuse_cached_graph(instance, "save-update", self._contains_state)
        super().add(instance, _warn=_warn)

    def merge(
        self, instance: E, *, load: bool = True, options: Sequence[ORMOption] | None = None
    ) -> E:
        """As Session.merge, before which the whole graph is looked at: half of it must not be
        merged."""
        _refuse_cached_graph(instance, "merge", set[InstanceState[Any]]().__contains__)
        return super().merge(instance, load=load, options=options)

    if hasattr(Session, "merge_all"):  # SQLAlchemy 2.1

        def merge_all(
            self,
            instances: Iterable[E],
            *,
            load: bool = True,
            options: Sequence[ORMOption] | None = None,
        ) -> Sequence[E]:
            """As Session.merge_all, before which all graphs are looked at."""
            merged = list(instances)
            seen: set[InstanceState[Any]] = set()
            for instance in merged:
                seen.update(_refuse_cached_graph(instance, "merge", seen.__contains__))
            return super().merge_all(merged, load=load, options=options)

    def bulk_save_objects(
        self,
        objects: Iterable[object],
        return_defaults: bool = False,
        update_changed_only: bool = True,
        preserve_order: bool = True,
    ) -> None:
        """As Session.bulk_save_objects."""
        saved = list(objects)
        for each in saved:
            _refuse_cached(each)
        super().bulk_save_objects(saved, return_defaults, update_changed_only, preserve_order)


def _enter(session: Session, transaction: SessionTransaction, connection: Connection) -> None:
    if not transaction.nested:
        session.info[ENTERING](connection)


def _refuse_cached(instance: object) -> None:
    state = inspect_entity(instance, raiseerr=False)
    if not isinstance(state, InstanceState):
        return  # SQLAlchemy will say so
    prefix = cached_by(instance)
    if prefix is not None:
        raise refusal(instance, prefix)


def _refuse_cached_graph(instance: object, cascade: str, stops: Stops) -> list[InstanceState[Any]]:
    """Look at the entity, and at what it leads to, but at nothing for which `stops` is true or that
    lies beyond. Those that were looked at."""
    _refuse_cached(instance)
    state = inspect_entity(instance, raiseerr=False)
    if not isinstance(state, InstanceState):
        return []
    looked = [state]
    for related, _, reached, _ in state.mapper.cascade_iterator(cascade, state, halt_on=stops):
        _refuse_cached(related)
        looked.append(reached)
    return looked
