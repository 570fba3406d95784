"""Geometries of geoalchemy2, which their own SQL reads and writes.

The servers of the tests have no PostGIS: its type is a domain here, and the two functions that the
package calls take and give texts as bytes. What is shown is which SQL is sent and what is made of
the answer, not what PostGIS does.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from repocache import KeyOwner, Repository
from tests.packages.places import Places, needs

package: Any = needs("geoalchemy2")

STAND_IN = """
CREATE DOMAIN geometry AS text;
CREATE FUNCTION ST_GeomFromEWKT(text) RETURNS geometry LANGUAGE sql IMMUTABLE
    AS $$ SELECT $1::geometry $$;
CREATE FUNCTION ST_AsEWKB(geometry) RETURNS bytea LANGUAGE sql IMMUTABLE
    AS $$ SELECT decode('0101000000000000000000F03F0000000000000040', 'hex') $$
"""


class Base(DeclarativeBase):
    pass


class Place(Base):
    __tablename__ = "place"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    at: Mapped[Any] = mapped_column(
        package.Geometry(geometry_type=None, spatial_index=False), nullable=True
    )


class PlacesOf(Repository[Place, int]):
    owner = KeyOwner("place")


def alike(one: Any, other: Any) -> bool:
    return bool(one.desc == other.desc) if hasattr(one, "desc") else bool(one == other)


async def test_a_geometry_is_read_everywhere_as_it_is(places: Places) -> None:
    await places.make(Base.metadata, *STAND_IN.split(";"))

    def change(place: Any) -> None:
        place.name = "there"

    await places.round_trip(
        PlacesOf, lambda: Place(id=1, name="here", at="POINT(1 2)"), change, alike=alike
    )
    assert places.checked > 30
