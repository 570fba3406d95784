"""The demo's data: the 28,298 airports of `airportsdata` in one table, with a version that each
write raises."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from importlib import resources

from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

PACKAGE = "airportsdata"
NUMBERS = ("elevation", "lat", "lon")


class Base(DeclarativeBase):
    """The demo's mapped classes."""


class Airport(Base):
    """An ordinary mapped class. `version`: 1 at first, 1 more with each write."""

    __tablename__ = "airport"

    icao: Mapped[str] = mapped_column(primary_key=True)
    iata: Mapped[str]
    name: Mapped[str]
    city: Mapped[str]
    subd: Mapped[str]
    country: Mapped[str]
    elevation: Mapped[float]
    lat: Mapped[float]
    lon: Mapped[float]
    tz: Mapped[str]
    lid: Mapped[str]
    version: Mapped[int] = mapped_column(default=1)


async def raise_version(session: AsyncSession, icao: str) -> int:
    """Lock the row and count it up; the new version. The same statements for every contestant."""
    airport = await session.get_one(Airport, icao, with_for_update=True)
    airport.version += 1
    return airport.version


COLUMNS = tuple(Airport.__table__.columns.keys())


def read_airports() -> list[tuple[str | float | int, ...]]:
    """The rows of the table, in the order of its columns. Raises ModuleNotFoundError without the
    package."""
    with resources.files(PACKAGE).joinpath("airports.csv").open(encoding="utf-8") as file:
        return [
            (*(float(row[name]) if name in NUMBERS else row[name] for name in COLUMNS[:-1]), 1)
            for row in csv.DictReader(file)
        ]


async def load_airports(primary: str, rows: Sequence[tuple[str | float | int, ...]]) -> None:
    """Make the table on the primary (a SQLAlchemy URL) and fill it."""
    engine = create_async_engine(primary)
    try:
        async with engine.begin() as connection:
            await connection.run_sync(Base.metadata.create_all)
            pooled = await connection.get_raw_connection()
            driver = pooled.driver_connection
            assert driver is not None
            await driver.copy_records_to_table(Airport.__tablename__, records=rows, columns=COLUMNS)
            await connection.exec_driver_sql("ANALYZE airport")
    finally:
        await engine.dispose()
