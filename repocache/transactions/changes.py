"""What one transaction has changed, with a stack of savepoints.

Owns the journal and what is left of it after rollbacks. Pure: who writes into it is
`tracking.listener`, who reads it after COMMIT is the database.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from enum import Enum
from typing import NamedTuple

from repocache.transactions.sql_text import shape

MOST_KEYS = 10_000
"""Beyond so many keys of one owner in a transaction, all of its keys are invalidated together."""
MOST_BYTES = 1_000_000
"""Of the keys of one owner, likewise: ids come from anybody, and every process reads each
message."""


class _Touched(NamedTuple):
    """Keys of an owner, None: all of them."""

    prefix: str
    keys: tuple[str, ...] | None
    declared: bool


class ChangedOwners(NamedTuple):
    """`keys`: the changed keys, by their owner's prefix; `whole`: prefixes of the owners all of
    whose keys are to be invalidated, who are not among these."""

    keys: Mapping[str, frozenset[str]]
    whole: frozenset[str]


class _Unseen(NamedTuple):
    """A textual statement that may have written: its shape."""

    statement: str


class _Written(Enum):
    """A statement has changed rows, perhaps of tables that nobody owns."""

    WRITTEN = "written"


class Changes:
    """A journal with marks: to roll back to a savepoint is to cut the journal at its mark.

    A name that is not on the stack is tolerated: nothing is forgotten then.
    """

    __slots__ = ("_journal", "_marks", "_owners")

    def __init__(self) -> None:
        self._journal: list[_Touched | _Unseen | _Written] = []
        self._owners: ChangedOwners | None = None
        self._marks: list[tuple[str, int]] = []

    def touch(self, prefix: str, keys: Iterable[str] | None) -> None:
        """Rows of an owner were written: these keys, None: all of the owner's may be affected."""
        self._owners = None
        self._journal.append(
            _Touched(prefix, None if keys is None else tuple(keys), declared=False)
        )

    def declare(self, prefix: str, keys: Iterable[str] | None) -> None:
        """The application says what it changes: keys of an owner, None: all of them."""
        self._owners = None
        self._journal.append(_Touched(prefix, None if keys is None else tuple(keys), declared=True))

    def unseen(self, statement: str) -> None:
        """A textual statement was run that may write, nobody knows what. Its shape is kept alone:
        the texts of a long transaction, with all that clients sent, would add up."""
        self._journal.append(_Unseen(shape(statement)))

    def write(self) -> None:
        """A statement was run that changed rows, whoever owns them."""
        self._journal.append(_Written.WRITTEN)

    def push(self, name: str) -> None:
        """A savepoint was made. One of the same name is hidden until this one is released."""
        self._marks.append((name, len(self._journal)))

    def release(self, name: str) -> None:
        """The savepoint and those made after it are gone, what they hold stays."""
        found = self._find(name)
        if found is not None:
            del self._marks[found:]

    def rollback(self, name: str) -> None:
        """Forget what came after the savepoint, and the savepoints made after it. It stays itself,
        as in SQL."""
        found = self._find(name)
        if found is not None:
            self._owners = None
            del self._journal[self._marks[found][1] :]
            del self._marks[found + 1 :]

    def _find(self, name: str) -> int | None:
        for index in range(len(self._marks) - 1, -1, -1):
            if self._marks[index][0] == name:
                return index
        return None

    def __len__(self) -> int:
        """Entries of the journal: more of them later, more was changed."""
        return len(self._journal)

    @property
    def empty(self) -> bool:
        """Nothing is to be invalidated."""
        return not any(isinstance(entry, _Touched) and entry.keys != () for entry in self._journal)

    @property
    def written(self) -> bool:
        """There is what a rollback would take back: rows were changed, or the application says
        so."""
        return any(
            entry is _Written.WRITTEN
            or (isinstance(entry, _Touched) and entry.declared and entry.keys != ())
            for entry in self._journal
        )

    @property
    def owners(self) -> ChangedOwners:
        """What is to be invalidated; computed once, until something else is changed."""
        if self._owners is None:
            sets = self._sets()
            whole = frozenset(
                each for each, keys in sets.items() if keys is None or _are_many(keys)
            )
            named = {
                each: frozenset(keys) for each, keys in sets.items() if keys and each not in whole
            }
            self._owners = ChangedOwners(named, whole)
        return self._owners

    @property
    def whole(self) -> frozenset[str]:
        """Prefixes of the owners all of whose keys are to be invalidated."""
        return self.owners.whole

    @property
    def keys(self) -> Mapping[str, frozenset[str]]:
        """The changed keys of the other owners, by their prefix."""
        return self.owners.keys

    @property
    def undeclared(self) -> tuple[str, ...]:
        """Shapes of textual statements that may have written, each once, if the application
        declared nothing at all."""
        if any(isinstance(entry, _Touched) and entry.declared for entry in self._journal):
            return ()
        return tuple(
            dict.fromkeys(each.statement for each in self._journal if isinstance(each, _Unseen))
        )

    def _sets(self) -> dict[str, set[str] | None]:
        sets: dict[str, set[str] | None] = {}
        for entry in self._journal:
            if not isinstance(entry, _Touched):
                continue
            known = sets.setdefault(entry.prefix, set())
            if entry.keys is None:
                sets[entry.prefix] = None
            elif known is not None:
                known.update(entry.keys)
        return sets


def _are_many(keys: Collection[str]) -> bool:
    return len(keys) > MOST_KEYS or sum(map(len, keys)) > MOST_BYTES
