"""Models of advanced-alchemy: its bases, and its types."""

from __future__ import annotations

import datetime
import uuid
from typing import Any

from sqlalchemy.orm import Mapped, mapped_column

from repocache import KeyOwner, Repository
from tests.packages.places import Places, needs

base: Any = needs("advanced_alchemy.base")
types: Any = needs("advanced_alchemy.types")


class Author(base.UUIDAuditBase):  # type: ignore[misc]
    __tablename__ = "aa_author"
    name: Mapped[str]
    guid: Mapped[uuid.UUID] = mapped_column(types.GUID())
    at: Mapped[datetime.datetime] = mapped_column(types.DateTimeUTC(timezone=True))
    data: Mapped[dict[str, Any]] = mapped_column(types.JsonB)
    secret: Mapped[str] = mapped_column(types.EncryptedString(key="a key of the test's"))


class Country(base.BigIntBase):  # type: ignore[misc]
    __tablename__ = "aa_country"
    name: Mapped[str]


class Keyed(base.DefaultBase):  # type: ignore[misc]
    __tablename__ = "aa_keyed"
    id: Mapped[uuid.UUID] = mapped_column(types.GUID(), primary_key=True)
    name: Mapped[str]


class Authors(Repository[Author, uuid.UUID]):
    owner = KeyOwner("author")


class Countries(Repository[Country, int]):
    owner = KeyOwner("country")


class Keyeds(Repository[Keyed, uuid.UUID]):
    owner = KeyOwner("keyed")


def author() -> Any:
    return Author(
        name="ada",
        guid=uuid.UUID(int=7),
        at=datetime.datetime(2024, 1, 2, tzinfo=datetime.UTC),
        data={"a": [1]},
        secret="secret",
    )


async def test_they_are_read_everywhere_as_they_are(places: Places) -> None:
    await places.make(Author.metadata)

    def rename(entity: Any) -> None:
        entity.name = "eve"

    def hide(entity: Any) -> None:
        entity.secret, entity.data = "other", {"b": 2}

    await places.round_trip(Authors, author, hide)
    await places.round_trip(Countries, lambda: Country(name="x"), rename)
    await places.round_trip(Keyeds, lambda: Keyed(id=uuid.UUID(int=9), name="x"), rename)
    assert places.checked > 200
