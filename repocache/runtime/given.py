"""What a database is given, or what it takes where nothing is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from repocache.behind.declared import parted
from repocache.behind.write_behind import AnyBehind, WriteBehind
from repocache.computed.declared import (
    AnyComputed,
    ComputedBinding,
    computed_bindings,
    lives_of_computed,
    parted_computed,
)
from repocache.computed.read_through import ReadThrough
from repocache.errors import ConfigurationError
from repocache.repository.cached_queries import ONLY_ASKED
from repocache.repository.registry import AnyRepository, checked
from repocache.repository.repository import Repository

T = TypeVar("T")


def given_or_default(argument: str, given: T | None, kind: type[T]) -> T:
    """Raises ConfigurationError for what is of another kind."""
    if given is None:
        return kind()
    if not isinstance(given, kind):
        raise ConfigurationError(
            f"Database({argument}={type(given).__name__}): give {kind.__name__}(...)"
        )
    return given


Readable = Repository[Any, Any] | WriteBehind[Any, Any] | ReadThrough[Any, Any]
Declared = type[Readable]


@dataclass(frozen=True, slots=True)
class Declarations:
    """The classes that a database is given, by their kinds."""

    repositories: tuple[AnyRepository, ...]
    behind: tuple[AnyBehind, ...]
    computed: Mapping[AnyComputed, ComputedBinding]

    @classmethod
    def of(cls, given: Iterable[Declared]) -> Declarations:
        """Raises ConfigurationError for what is none of these, is named twice or declares
        wrongly."""
        rest, behind = parted(given)
        rest, computed = parted_computed(rest)
        return cls(checked(rest), behind, computed_bindings(computed))

    @property
    def lives(self) -> list[float]:
        """Seconds for which what is cached of them may be kept."""
        own = lives_of(self.repositories, tagged=bool(self.computed))
        return [*own, *lives_of_computed(self.computed)]


def lives_of(repositories: Iterable[AnyRepository], *, tagged: bool) -> Iterator[float]:
    """Seconds for which what is cached of them may be kept. `tagged`: computed values are, too."""
    classes = list(repositories)
    selects = tagged or any(each.queries is not None for each in classes)
    for each in classes:
        yield each.policy.longest
        if selects:
            yield (each.queries or ONLY_ASKED).policy.longest
