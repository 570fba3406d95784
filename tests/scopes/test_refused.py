"""What cannot be kept by scope is refused when the database is built, with the remedy."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest
from sqlalchemy.orm import Mapped, mapped_column

from repocache import (
    CacheAside,
    ConfigurationError,
    Count,
    Database,
    KeyList,
    KeyOwner,
    Lookup,
    Repository,
    Scope,
    WriteThrough,
)
from repocache.errors import MappingRefused
from tests.scopes.papers_of import Base, Paper, Papers, Sheet, Sheets, tenant

URL = "postgresql+asyncpg://app@127.0.0.1/papers"


class Plain(Base):
    __tablename__ = "plain"
    id: Mapped[int] = mapped_column(primary_key=True)
    tenant: Mapped[float]


class Nobodys(Repository[Paper, int]):
    owner = KeyOwner("paper", scope=Scope("user", setting="app.user"))


class OfAnother(Repository[Sheet, int]):
    owner = KeyOwner("sheet", scope=Scope("tenant", setting="app.org"))


class OfText(Repository[Sheet, int]):
    owner = KeyOwner("sheet", scope=Scope("tenant", setting="app.tenant", column="id"))


class OfFloat(Repository[Plain, int]):
    owner = KeyOwner("plain", scope=tenant)


class Strict(Repository[Paper, int]):
    owner = KeyOwner("paper", scope=tenant)
    policy: ClassVar[Any] = WriteThrough(strict=True)


class Listed(Repository[Paper, int]):
    owner = KeyOwner("paper", scope=tenant)
    sheets = KeyList(Paper.sheets)


class Counted(Repository[Paper, int]):
    owner = KeyOwner("paper", scope=tenant)
    sheets = Count(Sheet.paper_id)


class ListsScoped(Repository[Paper, int]):
    owner = KeyOwner("paper")
    policy = CacheAside()
    sheets = KeyList(Paper.sheets)


class Twice(Repository[Paper, int]):
    owner = KeyOwner("paper", scope=tenant)
    by_slug = Lookup(Paper.tenant, Paper.slug)


@pytest.mark.parametrize(
    "repositories, error, why",
    [
        ([Nobodys], ConfigurationError, r"no loaded column attribute 'user' or 'user_id'.*column="),
        ([Papers, OfAnother], ConfigurationError, r"OfAnother: .*'app.org'.*is not.*'app.tenant'"),
        ([Papers, OfText], ConfigurationError, "of type int is not .* of type str"),
        ([OfFloat], MappingRefused, "a key column must give one of"),
        ([Strict], ConfigurationError, r"strict=True.*CacheAside"),
        ([Listed, Sheets], ConfigurationError, r"Listed.sheets: a KeyList .*leave it out"),
        ([Counted, Sheets], ConfigurationError, r"Counted.sheets: a Count .*leave it out"),
        ([ListsScoped, Sheets], ConfigurationError, "leave the key list out"),
        ([Twice], ConfigurationError, "'tenant' says whose a row is.*leave it out"),
    ],
)
def test_repositories(repositories: Any, error: type[Exception], why: str) -> None:
    with pytest.raises(error, match=why):
        Database(URL, redis="redis://127.0.0.1", repositories=repositories)


def test_another_database_than_postgresql() -> None:
    with pytest.raises(ConfigurationError, match=r"needs PostgreSQL.*not sqlite"):
        Database("sqlite+aiosqlite:///papers.db", repositories=[Papers])


@pytest.mark.parametrize(
    "arguments, why",
    [
        (("a tenant", "app.tenant"), "name of an argument"),
        ((1, "app.tenant"), "name of an argument"),
        (("tenant", "tenant"), "with a dot in it"),
        (("tenant", "app.tenant'"), "with a dot in it"),
        (("tenant", None), "with a dot in it"),
        (("tenant", "app.tenant", ""), "column attribute"),
    ],
)
def test_scopes(arguments: tuple[Any, ...], why: str) -> None:
    with pytest.raises(ConfigurationError, match=why):
        Scope(*arguments)


def test_an_owner_takes_a_scope() -> None:
    with pytest.raises(ConfigurationError, match=r"scope='tenant'.*give a Scope"):
        KeyOwner("paper", scope="tenant")  # type: ignore[arg-type]


async def test_replicas_are_read_by_the_same_role() -> None:
    other = "postgresql+asyncpg://owner@127.0.0.1:1/papers"
    with pytest.raises(ConfigurationError, match=r"'owner' at 127\.0\.0\.1 is another role"):
        Database(URL, replicas=[other], repositories=[Papers])
    db = Database(URL, repositories=[Papers])
    with pytest.raises(ConfigurationError, match="another role"):
        db.replicas = [other]
    assert db.replicas == ()
