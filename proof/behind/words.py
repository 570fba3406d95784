"""What the processes of a storm are told, and the classes that they share."""

from __future__ import annotations

from decimal import Decimal

import msgspec
from sqlalchemy import BigInteger, Numeric
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from repocache import Flush, KeyOwner, WriteBehind

STREAMS = 3
IDS = 50
"""Counters that all processes add to."""
OWN = 1_000
"""From here on each process has one of its own."""


class Base(DeclarativeBase):
    pass


class Counter(Base):
    __tablename__ = "counters"
    id: Mapped[int] = mapped_column(primary_key=True)
    hits: Mapped[int] = mapped_column(BigInteger, default=0)
    weight: Mapped[Decimal | None] = mapped_column(Numeric(20, 3))
    last: Mapped[int | None]


class Counters(WriteBehind[Counter, int]):
    """In the processes that may be killed at any moment."""

    owner = KeyOwner("counter")
    flush = Flush(every=0.1, most=2_000, backlog=30_000, streams=STREAMS, lease=1.0, patience=60.0)


class Adding(WriteBehind[Counter, int]):
    """In those that add, and flush nothing themselves."""

    owner = KeyOwner("counter")
    flush = Flush(
        every=86_400.0, most=10**9, backlog=30_000, streams=STREAMS, lease=1.0, patience=60.0
    )


class Order(msgspec.Struct, frozen=True):
    """`number`: of an adder, -1: a flusher. `increments`: that it makes, `together`: at once."""

    primary: str
    redis: str
    number: int
    increments: int = 0
    together: int = 200


class Account(msgspec.Struct, frozen=True):
    """What an adder has done, by counter. `last`: what its own counter was set to last. `reads`:
    that were compared, and `wrong`: what did not fit."""

    hits: dict[int, int]
    weight: dict[int, int]
    last: int
    reads: int
    full: int
    wrong: list[str]
