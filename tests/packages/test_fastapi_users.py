"""The user of fastapi-users, whose key is a type of its own."""

from __future__ import annotations

import uuid
from typing import Any

from sqlalchemy.orm import DeclarativeBase

from repocache import KeyOwner, Lookup, Repository
from tests.packages.places import Places, needs
from tests.shop import open_shop

package: Any = needs("fastapi_users_db_sqlalchemy")
tokens: Any = needs("fastapi_users_db_sqlalchemy.access_token")


class Base(DeclarativeBase):
    pass


class User(package.SQLAlchemyBaseUserTableUUID, Base):  # type: ignore[misc]
    pass


class Token(tokens.SQLAlchemyBaseAccessTokenTableUUID, Base):  # type: ignore[misc]
    pass


class Users(Repository[User, uuid.UUID]):
    owner = KeyOwner("user")
    by_email = Lookup(User.email)


class Tokens(Repository[Token, str]):
    owner = KeyOwner("token")


async def test_a_user_is_read_everywhere_as_it_is(places: Places) -> None:
    await places.make(Base.metadata)

    def change(user: Any) -> None:
        user.is_superuser = True

    await places.round_trip(Users, lambda: User(email="ada@x.org", hashed_password="x"), change)
    assert places.checked > 50


async def test_a_token_is_found_with_its_user(places: Places) -> None:
    await places.make(Base.metadata)
    async with open_shop(places.endpoints, repositories=[Users, Tokens]) as shop:
        user = User(email="ada@x.org", hashed_password="x")
        async with shop.db.unit_of_work() as work:
            work.add(user)
            await work.session.flush()
            work.add(Token(token="t", user_id=user.id))
            await work.commit()
        for _ in range(2):
            token = await shop.db[Tokens].require("t")
            assert token.created_at.tzinfo is not None
            assert (await shop.db[Users].require(token.user_id)).email == "ada@x.org"
            assert (await shop.db[Users].by_email.require("ada@x.org")).id == user.id
