"""An entity from a row beside what people use for it today: nanoseconds an object, in interleaved
rounds.

    python3 dev.py benchmark entity

Ten plain columns. The floor is the same technique by hand: a new instance, its `__dict__` filled
from a ready dict, its identity key; it copies nothing, marks nothing and knows one class only.
Medians over the rounds, with the quartiles.
"""

import datetime
import pickle
import statistics
import time
from collections.abc import Callable

import msgspec
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, configure_mappers, mapped_column
from sqlalchemy.orm.attributes import instance_state, manager_of_class

from repocache.mapping.plan import EntityPlan

ROUNDS = 41
OBJECTS = 2_000
FLOOR = "floor: new instance, dict, key"


class Base(DeclarativeBase):
    """The mapping's registry."""


class User(Base):
    """What is loaded."""

    __tablename__ = "user"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    email: Mapped[str]
    age: Mapped[int]
    active: Mapped[bool]
    score: Mapped[float]
    country: Mapped[str]
    city: Mapped[str]
    created: Mapped[datetime.datetime]
    visits: Mapped[int]


class Card(msgspec.Struct, frozen=True):
    """What a hot path wants of it."""

    id: int
    name: str
    email: str


NOW = datetime.datetime(2024, 2, 29, 12, 34, 56, 789012, tzinfo=datetime.UTC)
ROW = (42, "Ada Lovelace", "ada@example.org", 36, True, 1.5, "GB", "London", NOW, 12345)


def contestants() -> dict[str, Callable[[], object]]:
    configure_mappers()
    plan = EntityPlan.of(User, "user")
    codec, entity, card = plan.codec(), plan.entity, plan.view(Card)
    encoded = codec.encode(ROW)
    new_instance = manager_of_class(User).new_instance
    values = dict(zip(plan.mapper.column_attrs.keys(), ROW, strict=True))
    ready, pickled = entity(ROW), pickle.dumps(entity(ROW))
    session = Session()

    def floor() -> User:
        made: User = new_instance()
        made.__dict__.update(values)
        instance_state(made).key = (User, (values["id"],), None)
        return made

    def merged() -> User:
        made = session.merge(ready, load=False)
        session.expunge(made)
        return made

    return {
        FLOOR: floor,
        "plan.entity(row)": lambda: entity(ROW),
        "plan.entity(codec.decode(bytes))": lambda: entity(codec.decode(encoded)),
        "plan.view(Card)(row)": lambda: card(ROW),
        "codec.encode(row)": lambda: codec.encode(ROW),
        "codec.decode(bytes)": lambda: codec.decode(encoded),
        "User(**values)": lambda: User(**values),
        "session.merge(load=False) and expunge": merged,
        "pickle.loads(entity)": lambda: pickle.loads(pickled),
        "pickle.dumps(entity)": lambda: pickle.dumps(ready),
    }


def nanoseconds(make: Callable[[], object]) -> float:
    begin = time.perf_counter_ns()
    for _ in range(OBJECTS):
        make()
    return (time.perf_counter_ns() - begin) / OBJECTS


def main() -> None:
    entrants = contestants()
    rounds = [{name: nanoseconds(make) for name, make in entrants.items()} for _ in range(ROUNDS)]
    print(f"{'':40} {'ns':>8} {'quartiles':>15} {'ratio':>6}")
    for name in entrants:
        low, middle, high = statistics.quantiles([each[name] for each in rounds], n=4)
        ratio = statistics.median(each[name] / each[FLOOR] for each in rounds)
        print(f"{name:40} {middle:8,.0f} {f'{low:,.0f} - {high:,.0f}':>15} {ratio:6.2f}")


if __name__ == "__main__":
    main()
