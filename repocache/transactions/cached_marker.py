"""The mark on an entity that came from a cache: a session that is about to take it in can tell, and
refuse; and a change of it, which nobody would write, is told where it is made.

Owns the entity's `InstanceState`, where the mark lies: attributes, `vars()`, `repr` and comparison
do not see it. Every change of a mapped attribute passes
the state, whatever makes it: an assignment, `del`, a collection, a mutable value. Entities of a
session have SQLAlchemy's own state and pay nothing. Copies and pickled entities keep both, being no
fresher than the original.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Any

from sqlalchemy.orm import ClassManager, InstanceState
from sqlalchemy.orm.attributes import instance_state

from repocache.errors import CachedEntityRefused
from repocache.events import CachedEntityChanged, Observer, ignore
from repocache.transactions.not_loaded import NotLoaded


class Misuse(Enum):
    """What a change of an entity that came from a cache leads to: it is never written."""

    RAISE = "raise"
    """CachedEntityRefused, at the change."""
    TELL = "tell"
    """The event CachedEntityChanged; the entity is changed, and no row."""


_OWNER = "repocache.owner"
"""In what is pickled."""


class CachedState(InstanceState[Any]):
    """The state of an entity that came from a cache. `owner`: the key prefix of the owner that it
    is of, None once it is a session's own; `loading`: while the listeners of its load run;
    `brought_by_load`: its relationships can be asked for with the read."""

    __slots__ = ()

    owner: str | None = None
    loading = False
    origin = "came from the cache of owner"
    brought_by_load = True

    def _modified_event(
        self,
        dict_: dict[str, Any],
        attr: Any,
        previous: Any,
        collection: bool = False,
        is_userland: bool = False,
    ) -> None:
        """As InstanceState's, which all changes of attributes call before they are made. What a
        relationship that is only viewed is filled with is nobody's write."""
        if (
            not self.loading
            and self.session_id is None
            and (attr is None or attr.send_modified_events)
        ):
            prefix = _owner_of(self)
            if prefix is not None:
                self.changed(prefix, "" if attr is None else attr.key)
        super()._modified_event(dict_, attr, previous, collection, is_userland)

    @property
    def callables(self) -> dict[str, Any]:
        """Loaders of this entity's own: of one without a session, those that refuse."""
        prefix = _owner_of(self) if self.session_id is None else None
        if prefix is None or not self.brought_by_load:
            own: dict[str, Any] = self.__dict__.get("callables", {})
            return own
        return NotLoaded(self, _named(self, prefix))

    @callables.setter
    def callables(self, loaders: dict[str, Any]) -> None:
        self.__dict__["callables"] = loaders

    @callables.deleter
    def callables(self) -> None:
        self.__dict__.pop("callables", None)

    def __getstate__(self) -> dict[str, Any]:
        return super().__getstate__() | {_OWNER: self.owner}

    def __setstate__(self, state_dict: dict[str, Any]) -> None:
        super().__setstate__(state_dict)
        self.owner = state_dict.get(_OWNER)

    def changed(self, prefix: str, attribute: str) -> None:
        """The attribute is about to be changed."""
        raise CachedEntityRefused(
            f"{_named(self, prefix)}: a change of {attribute or 'it'!r} would never be written. "
            f"{_remedy(self, prefix)}"
        )


class ReadState(CachedState):
    """That of an entity which a session that only reads has loaded, as `db.reading()`. `owner`: the
    name of its class: it need not have a repository."""

    __slots__ = ()

    origin = "was read outside of the transaction, as"
    brought_by_load = False


class ToldState(CachedState):
    """`tell`: hears of changes; of an entity that was pickled, nobody."""

    __slots__ = ()

    tell: Observer = staticmethod(ignore)

    def changed(self, prefix: str, attribute: str) -> None:
        self.tell(CachedEntityChanged(prefix, _id_of(self), attribute))


StateMaker = Callable[[object, ClassManager[Any]], CachedState]
"""Makes the state of a new entity."""


def state_maker(misuse: Misuse, observe: Observer) -> StateMaker:
    """States by which a change leads to this."""
    if misuse is Misuse.RAISE:
        return CachedState

    def told(entity: object, manager: ClassManager[Any]) -> ToldState:
        state = ToldState(entity, manager)
        state.tell = observe
        return state

    return told


def unmark(state: InstanceState[Any]) -> None:
    """The entity becomes a session's own: it is inserted as a new one, after `make_transient()`."""
    if isinstance(state, CachedState):
        state.owner = None


def cached_by(instance: object) -> str | None:
    """The prefix of the owner whose cache the entity came from; None: it came from elsewhere.

    None also after `make_transient()`: an entity without identity can only be inserted, never
    overwrite a newer row.
    """
    return _owner_of(instance_state(instance))


def detached_name(state: InstanceState[Any]) -> str:
    """How messages call an entity from a cache; empty: it is a session's own."""
    prefix = _owner_of(state) if state.session_id is None else None
    return "" if prefix is None else _named(state, prefix)


def refusal(instance: object, prefix: str) -> CachedEntityRefused:
    """Of the entity as the base of a write."""
    state = instance_state(instance)
    return CachedEntityRefused(
        f"{_named(state, prefix)}, its row may be newer. {_remedy(state, prefix)}"
    )


def _owner_of(state: InstanceState[Any]) -> str | None:
    return state.owner if isinstance(state, CachedState) and state.key is not None else None


def _named(state: InstanceState[Any], prefix: str) -> str:
    origin = state.origin if isinstance(state, CachedState) else CachedState.origin
    return f"this {state.class_.__name__} {_id_of(state)} {origin} {prefix!r}"


def _remedy(state: InstanceState[Any], prefix: str) -> str:
    return (
        f"Load it in the transaction, as in `await work[Users].require({_id_of(state)})` with the "
        f"repository of {prefix!r}, or by `work.session`"
    )


def _id_of(state: InstanceState[Any]) -> str:
    identity = state.identity or ()
    return repr(identity[0] if len(identity) == 1 else identity)
