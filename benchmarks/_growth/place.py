"""Rows that a path reads and writes: some ids of one table, or of many."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Update, update
from sqlalchemy.orm import Mapped, mapped_column

from benchmarks._shop import Base, User
from repocache import CacheAside, KeyOwner, Repository

PRIME = 611_953
"""Walks through all ids of a table, neighbours far apart."""
LONG = CacheAside(ttl=7_200, local_ttl=0)
"""In Redis only, and for the whole of the longest run."""


class Document(Base):
    """One text of the length in question."""

    __tablename__ = "documents"

    id: Mapped[int] = mapped_column(primary_key=True)
    body: Mapped[str]


class Documents(Repository[Document, int]):
    """Kept in Redis only."""

    owner = KeyOwner("document")
    policy = LONG


class WarmUsers(Repository[User, int]):
    """Kept in Redis only."""

    owner = KeyOwner("user")
    policy = LONG


class ColdUsers(Repository[User, int]):
    """The same rows under other keys, which are forgotten before each round."""

    owner = KeyOwner("cold")
    policy = LONG


class WrittenUsers(Repository[User, int]):
    """The same rows under keys of its own, so that commits leave the others' values alone; kept in
    this process too."""

    owner = KeyOwner("written")
    policy = CacheAside(ttl=7_200, local_ttl=7_200)


Change = Callable[[type[Any]], Mapping[str, "ColumnElement[Any] | str"]]
"""What a commit sets, of a model."""


def one_visit_more(model: type[Any]) -> Mapping[str, ColumnElement[Any] | str]:
    return {"visits": model.visits + 1}


@dataclass(frozen=True, slots=True)
class Place:
    """`count` rows of each repository's table, from the id `begin` on. Number n is a row of the
    repository n modulo how many there are; so no two numbers below `numbers` are one row."""

    models: tuple[type[Any], ...]
    repositories: tuple[type[Repository[Any, int]], ...]
    count: int
    begin: int = 0
    change: Change = one_visit_more

    @property
    def numbers(self) -> int:
        return self.count * len(self.repositories)

    def owner(self, number: int) -> int:
        """Which repository."""
        return number % len(self.repositories)

    def id(self, number: int) -> int:
        return self.begin + number // len(self.repositories) * PRIME % self.count

    def statement(self, number: int) -> Update:
        """What a commit executes."""
        model = self.models[self.owner(number)]
        return update(model).where(model.id == self.id(number)).values(**self.change(model))


def users(count: int, repository: type[Repository[User, int]] = WarmUsers) -> Place:
    return Place((User,), (repository,), count)
