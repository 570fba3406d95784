"""Types of sqlalchemy-utils."""

from __future__ import annotations

import enum
import uuid
from typing import Any

import pytest
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from repocache import InvalidId, KeyOwner, Lookup, Repository
from tests.packages.places import Places, needs
from tests.shop import open_shop

utils: Any = needs("sqlalchemy_utils")


class Kind(enum.Enum):
    BIG = "b"
    SMALL = "s"


class Base(DeclarativeBase):
    pass


class Account(Base):
    __tablename__ = "account"
    id: Mapped[uuid.UUID] = mapped_column(utils.UUIDType(), primary_key=True)
    email: Mapped[str] = mapped_column(utils.EmailType, unique=True)
    kind: Mapped[Any] = mapped_column(utils.ChoiceType(Kind))
    data: Mapped[Any] = mapped_column(utils.JSONType)
    names: Mapped[Any] = mapped_column(utils.ScalarListType())
    address: Mapped[Any] = mapped_column(utils.IPAddressType)
    words: Mapped[str | None] = mapped_column(utils.TSVectorType())


class Accounts(Repository[Account, uuid.UUID]):
    owner = KeyOwner("account")
    by_email = Lookup(Account.email)


def account() -> Account:
    return Account(
        id=uuid.UUID(int=2**99),
        email="Ada@X.org",
        kind=Kind.BIG,
        data={"a": [1]},
        names=["a", "b"],
        address="10.0.0.1",
        words="a b",
    )


async def test_they_are_read_everywhere_as_they_are(places: Places) -> None:
    await places.make(Base.metadata)

    def change(entity: Any) -> None:
        entity.kind, entity.names = Kind.SMALL, ["c"]

    await places.round_trip(Accounts, account, change)
    assert places.checked > 100


async def test_a_normalised_value_is_one_key(places: Places) -> None:
    await places.make(Base.metadata)
    async with open_shop(places.endpoints, repositories=[Accounts]) as shop:
        async with shop.db.unit_of_work() as work:
            work.add(account())
            await work.commit()
        for _ in range(2):
            found = await shop.db[Accounts].by_email.require("ada@x.org")
            assert found.email == "ada@x.org"
        with pytest.raises(InvalidId, match=r"has 'ada@x.org', and one row has one id"):
            await shop.db[Accounts].by_email.get("Ada@X.org")
