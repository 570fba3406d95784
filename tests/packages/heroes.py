"""Models of SQLModel, as its users write them."""
# mypy: disable-error-code="misc, call-arg"

import datetime
import enum
import uuid
from decimal import Decimal
from typing import Any

from sqlmodel import JSON, Field, SQLModel


class Level(enum.Enum):
    LOW = "low"
    HIGH = "high"


class Team(SQLModel, table=True):
    slug: str = Field(primary_key=True)
    name: str = Field(unique=True, max_length=50)


class Hero(SQLModel, table=True):
    id: uuid.UUID = Field(default_factory=uuid.uuid4, primary_key=True)
    name: str = Field(index=True, unique=True)
    level: Level = Level.LOW
    price: Decimal = Field(default=Decimal("1.50"), max_digits=6, decimal_places=2)
    born: datetime.date | None = None
    made: datetime.datetime = Field(
        default_factory=lambda: datetime.datetime(2024, 1, 2, tzinfo=datetime.UTC)
    )
    data: dict[str, Any] = Field(default_factory=dict, sa_type=JSON)
    team_slug: str | None = Field(default=None, foreign_key="team.slug")
