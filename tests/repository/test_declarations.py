"""Declarations that cannot work, and what is said about them. No server is asked."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from typing import Any, Generic, NamedTuple, TypeVar

import msgspec
import pytest
from sqlalchemy.orm import Mapped, mapped_column

from repocache import (
    CacheAside,
    ConfigurationError,
    Database,
    KeyOwner,
    MappingOptions,
    Repository,
    Settings,
    UsageError,
    View,
)
from repocache.errors import OwnerClash
from tests.shop import Base, Order, OrderId, Orders, User, UserCard, Users

NOWHERE = "sqlite+aiosqlite:////nowhere/at/all"
M = TypeVar("M")
I = TypeVar("I")  # noqa: E741


def built(*repositories: Any, **arguments: Any) -> Database:
    return Database(NOWHERE, repositories=repositories, **arguments)


class Ticket(Base):
    __tablename__ = "tickets"
    id: Mapped[int] = mapped_column(primary_key=True)
    tags: Mapped[float]


class Owned(Repository[User, int]):
    owner = KeyOwner("owned")


def without_owner() -> Any:
    class Strays(Repository[User, int]):
        pass

    return Strays


def mistyped_policy() -> Any:
    class Strays(Repository[User, int]):
        owner = KeyOwner("stray")
        polcy = CacheAside(ttl=5)

    return Strays


def mistyped_owner() -> Any:
    class Strays(Repository[User, int]):
        ower = KeyOwner("stray")

    return Strays


def owner_as_text() -> Any:
    class Strays(Repository[User, int]):
        owner = "stray"  # type: ignore[assignment]

    return Strays


def policy_as_number() -> Any:
    class Strays(Repository[User, int]):
        owner = KeyOwner("stray")
        policy = 60  # type: ignore[assignment]

    return Strays


def options_as_dict() -> Any:
    class Strays(Repository[User, int]):
        owner = KeyOwner("stray")
        mapping = {"not_loaded": ()}  # type: ignore[assignment]  # noqa: RUF012

    return Strays


def bare() -> Any:
    class Strays(Repository):  # type: ignore[type-arg]
        owner = KeyOwner("stray")

    return Strays


def open_generic() -> Any:
    class Strays(Repository[M, I]):
        owner = KeyOwner("stray")

    return Strays


def id_of_another_type() -> Any:
    class Strays(Repository[User, str]):
        owner = KeyOwner("stray")

    return Strays


def one_id_for_two_columns() -> Any:
    class Strays(Repository[Order, int]):
        owner = KeyOwner("stray")

    return Strays


class ThreeFields(NamedTuple):
    tenant: int
    number: int
    more: int


class SwappedFields(NamedTuple):
    number: int
    tenant: int


def too_many_fields() -> Any:
    class Strays(Repository[Order, ThreeFields]):
        owner = KeyOwner("stray")

    return Strays


def fields_in_another_order() -> Any:
    class Strays(Repository[Order, SwappedFields]):
        owner = KeyOwner("stray")

    return Strays


def unmapped() -> Any:
    class Strays(Repository[UserCard, int]):
        owner = KeyOwner("stray")

    return Strays


class Unfrozen(msgspec.Struct):
    id: int


class Stranger(msgspec.Struct, frozen=True):
    id: int
    weight: int


@dataclasses.dataclass
class UnfrozenData:
    id: int


def view_of(shape: type[Any]) -> Callable[[], Any]:
    def declared() -> Any:
        class Strays(Repository[User, int]):
            owner = KeyOwner("stray")
            card = View(shape)

        return Strays

    return declared


def not_loaded_unknown() -> Any:
    class Strays(Repository[User, int]):
        owner = KeyOwner("stray")
        mapping = MappingOptions(not_loaded=("nmae",))

    return Strays


@pytest.mark.parametrize(
    "declared, message",
    [
        (
            without_owner,
            'Strays.owner: declare who makes its keys, as in `owner = KeyOwner("user")`',
        ),
        (mistyped_owner, "Strays.ower is a KeyOwner, which is looked for under the name 'owner'"),
        (
            mistyped_policy,
            "Strays.polcy is a CacheAside, which is looked for under the name 'policy'",
        ),
        (
            owner_as_text,
            'Strays.owner: declare who makes its keys, as in `owner = KeyOwner("user")`',
        ),
        (policy_as_number, "Strays.policy=60: give a policy, as in `CacheAside(ttl=60)`"),
        (options_as_dict, "Strays.mapping={'not_loaded': ()}: give `MappingOptions(...)`"),
        (
            bare,
            (
                "Strays: name the entity and the type of its id, as in `class "
                "Strays(Repository[User, int])`"
            ),
        ),
        (
            open_generic,
            (
                "Strays: name the entity and the type of its id, as in `class "
                "Strays(Repository[User, int])`"
            ),
        ),
        (
            id_of_another_type,
            "Strays: the primary key of User is (int), the declared id 'str' is not",
        ),
        (
            one_id_for_two_columns,
            "Strays: the primary key of Order is (int, int), the declared id 'int' is not",
        ),
        (
            too_many_fields,
            "Strays: the primary key of Order is (int, int), the declared id 'ThreeFields' is not",
        ),
        (
            fields_in_another_order,
            "Strays: the fields of SwappedFields are (number, tenant), the primary key of Order",
        ),
        (unmapped, "UserCard'> is no mapped class"),
        (view_of(Unfrozen), "Unfrozen"),
        (view_of(UnfrozenData), "UnfrozenData"),
        (view_of(Stranger), "weight"),
        (not_loaded_unknown, "nmae"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_class_that_cannot_work_is_refused(declared: Callable[[], Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(message)):
        built(declared())


@pytest.mark.parametrize(
    "repositories, message",
    [
        ((Users, Users), "Database(repositories=...): a class is named twice"),
        ((User,), "give classes that derive from Repository"),
        (("Users",), "give classes that derive from Repository"),
        ((7,), "give classes that derive from Repository"),
        ((Repository,), "Repository.owner: declare who makes its keys"),
    ],
)
def test_a_list_of_repositories_that_cannot_work_is_refused(
    repositories: Any, message: str
) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(message)):
        built(*repositories)


@pytest.mark.parametrize("repositories", [Users, "Users", 7, None])
def test_what_is_no_list_of_repositories_is_refused(repositories: Any) -> None:
    with pytest.raises(
        ConfigurationError, match=r"Database\(repositories=.*\): give a list of repository classes"
    ):
        Database(NOWHERE, repositories=repositories)


def test_two_owners_of_one_prefix_are_refused() -> None:
    class Others(Repository[Order, OrderId]):
        owner = KeyOwner("user")

    with pytest.raises(
        OwnerClash, match="two repositories own the prefix 'user': every key has exactly one owner"
    ):
        built(Users, Others)


def test_two_repositories_of_one_class_are_two_owners() -> None:
    built(Users, Owned)


def test_a_repository_is_not_made_by_hand() -> None:
    with pytest.raises(
        UsageError, match=re.escape("Users() belongs to a database: use db[Users], or work[Users]")
    ):
        Users()


def test_generic_classes_of_ones_own() -> None:
    class Named(Repository[M, I], Generic[M, I]):
        async def first(self) -> list[M]:
            return await self.find(limit=1)

    class ByNumber(Named[M, int], Generic[M]):
        policy = CacheAside(ttl=5)

    class Tickets(ByNumber[Ticket]):
        owner = KeyOwner("ticket")

    class Tuples(Named[Order, tuple[int, int]]):
        owner = KeyOwner("tuple")

    class Inherited(Users):
        owner = KeyOwner("inherited")

    built(Tickets, Tuples, Inherited)


@pytest.mark.parametrize("prefix", ["", "User", "7up", "a b", "a:b", "ä", "x" * 65, "{b}"])
def test_prefixes_of_another_form_are_refused(prefix: str) -> None:
    with pytest.raises(
        ConfigurationError, match=r"KeyOwner\(prefix=.*: a prefix is 1 to 64 of a-z, 0-9"
    ):
        KeyOwner(prefix)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"ttl": 0}, "CacheAside(ttl=0): give seconds, more than 0"),
        ({"ttl": float("nan")}, "CacheAside(ttl=nan): give seconds"),
        ({"ttl": float("inf")}, "CacheAside(ttl=inf): give seconds"),
        ({"ttl": "60"}, "CacheAside(ttl='60'): give a number"),
        ({"ttl": None}, "CacheAside(ttl=None): give a number"),
        ({"local_ttl": float("nan")}, "CacheAside(local_ttl=nan): give seconds, 0 or more"),
        ({"local_ttl": -1}, "CacheAside(local_ttl=-1): give seconds, 0 or more"),
        ({"negative_ttl": -1}, "CacheAside(negative_ttl=-1): give seconds, 0 or more"),
        ({"jitter": 0.6}, "CacheAside(jitter=0.6): give a share from 0 to 0.5"),
    ],
)
def test_policies_that_make_no_sense_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(message)):
        CacheAside(**arguments)


def test_a_short_ttl_alone_is_enough() -> None:
    assert CacheAside(ttl=2).local_ttl == 2
    assert CacheAside(ttl=2).negative_ttl == 2
    assert CacheAside(ttl=300).local_ttl == 10


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"app": ""}, "Settings(app=''): give 1 to 64"),
        ({"app": "a:b"}, "Settings(app='a:b'): give 1 to 64"),
        ({"app": "a{b"}, "give 1 to 64"),
        ({"app": "a\nb"}, "give 1 to 64"),
        ({"app": "x" * 65}, "give 1 to 64"),
        ({"window": 10.0}, "Settings(window=10.0): a bookmark must outlive the lag"),
        ({"publish_timeout": 0}, "Settings(publish_timeout=0): give seconds, more than 0"),
        ({"local_entries": 0}, "Settings(local_entries=0): give at least 1"),
        ({"local_bytes": 0}, "Settings(local_bytes=0): give at least 1"),
        ({"secrets": "secret"}, "Settings(secrets=...): give a tuple of strings"),
        ({"secrets": ("short",)}, "Settings(secrets=...): a secret has at least 16 bytes"),
        ({"secrets": (16,)}, "Settings(secrets=...): give a tuple of strings"),
        ({"observe": None}, "Settings(observe=...): NoneType: give a function of one event"),
    ],
)
def test_settings_that_make_no_sense_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(message)):
        Settings(**arguments)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"primary": "postgresql+psycopg2://a@b/c"}, "postgresql+asyncpg://"),
        ({"primary": "nonsense"}, "primary"),
        ({"replicas": "sqlite+aiosqlite:////a"}, "replicas: give a list of URLs, not one text"),
        ({"redis": "http://cache"}, "redis: the URL begins with none of redis, rediss, unix"),
        ({"redis": "localhost:6379"}, "redis"),
        ({"redis": ""}, "redis"),
        ({"settings": {"app": "x"}}, "Database(settings=dict): give Settings(...)"),
    ],
)
def test_addresses_that_make_no_sense_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(message)):
        Database(**{"primary": NOWHERE, "repositories": [Users, Orders]} | arguments)
