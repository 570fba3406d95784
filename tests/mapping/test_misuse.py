"""A change of an entity that came from a cache is refused, or told, where it is made: nobody would
write it."""

import copy
import dataclasses
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import ForeignKey, create_engine, event, inspect
from sqlalchemy.ext.hybrid import hybrid_property
from sqlalchemy.ext.mutable import MutableComposite, MutableDict
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    Session,
    WriteOnlyMapped,
    column_property,
    composite,
    make_transient,
    mapped_column,
    reconstructor,
    relationship,
    synonym,
)
from sqlalchemy.orm.attributes import flag_modified, set_committed_value

from repocache.errors import CachedEntityRefused
from repocache.events import CachedEntityChanged, Event
from repocache.mapping.options import MappingOptions
from repocache.mapping.plan import EntityPlan
from repocache.transactions.cached_marker import Misuse, state_maker
from repocache.transactions.tracked_session import TrackedSession


class Base(DeclarativeBase):
    pass


@dataclasses.dataclass
class Point(MutableComposite):
    x: int
    y: int

    def __setattr__(self, name: str, value: int) -> None:
        object.__setattr__(self, name, value)
        self.changed()

    def __getstate__(self) -> tuple[int, int]:
        return self.x, self.y

    def __setstate__(self, state: tuple[int, int]) -> None:
        self.__dict__.update(x=state[0], y=state[1])


class Team(Base):
    __tablename__ = "team"

    id: Mapped[int] = mapped_column(primary_key=True)
    members: Mapped[list["Member"]] = relationship(back_populates="team")


class Member(Base):
    __tablename__ = "member"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str | None]
    x: Mapped[int] = mapped_column()
    y: Mapped[int]
    bag: Mapped[dict[str, Any]] = mapped_column(MutableDict.as_mutable(sa.JSON))
    team_id: Mapped[int | None] = mapped_column(ForeignKey("team.id"))
    story: Mapped[str | None] = mapped_column(deferred=True)
    twice: Mapped[int] = column_property(x * 2)
    alias = synonym("name")
    point: Mapped[Point] = composite("x", "y")
    team: Mapped[Team | None] = relationship(back_populates="members")
    badges: Mapped[list["Badge"]] = relationship(back_populates="member")
    written: WriteOnlyMapped["Badge"] = relationship(overlaps="badges,member")
    seen: Mapped[list["Badge"]] = relationship(viewonly=True)

    note = "not mapped"

    @hybrid_property
    def title(self) -> str | None:
        return self.name

    @title.inplace.setter
    def _set_title(self, title: str | None) -> None:
        self.name = title

    @reconstructor
    def made_anew(self) -> None:
        self.name = self.name.strip() if self.name else None


class Badge(Base):
    __tablename__ = "badge"

    id: Mapped[int] = mapped_column(primary_key=True)
    member_id: Mapped[int] = mapped_column(ForeignKey("member.id"))
    member: Mapped[Member] = relationship(back_populates="badges")


OPTIONS = MappingOptions(derived=("twice",))
PLAN = EntityPlan.of(Member, "member", OPTIONS)
VALUES = {"id": 2, "name": "Ada ", "x": 1, "y": 2, "bag": {"a": 1}, "team_id": 3, "twice": 2}


def row(plan: EntityPlan[Member]) -> tuple[Any, ...]:
    attributes = plan.layout.classes[plan.mapper].attributes
    return tuple(name for _, name in sorted((at, VALUES[name]) for name, at in attributes.items()))


def cached() -> Member:
    return PLAN.entity(row(PLAN))


def unset(name: str) -> Callable[[Member], None]:
    return lambda member: delattr(member, name)


def put(name: str, value: Any) -> Callable[[Member], None]:
    return lambda member: setattr(member, name, value)


def filled(member: Member) -> Member:
    """With what a caller read by another repository."""
    set_committed_value(member, "badges", [])
    return member


def join(member: Member) -> None:
    Team(id=1).members.append(member)


CHANGES: dict[str, tuple[Callable[[Member], object], str]] = {
    "a column": (put("name", "x"), "name"),
    "the value that it has": (put("name", "Ada"), "name"),
    "a deferred column": (put("story", "x"), "story"),
    "a key column": (put("id", 7), "id"),
    "a derived column": (put("twice", 7), "twice"),
    "del": (unset("name"), "name"),
    "a synonym": (put("alias", "x"), "name"),
    "a hybrid": (put("title", "x"), "name"),
    "a composite": (put("point", Point(5, 6)), "x"),
    "in a mutable composite": (lambda member: setattr(member.point, "x", 5), "x"),
    "a mutable dict": (lambda member: member.bag.update(b=2), "bag"),
    "in a mutable dict": (lambda member: member.bag.__setitem__("a", 2), "bag"),
    "flag_modified": (lambda member: flag_modified(member, "name"), "name"),
    "a relationship": (put("team", Team(id=1)), "team"),
    "a relationship to nothing": (put("team", None), "team"),
    "a collection that was filled": (
        lambda member: filled(member).badges.append(Badge(id=1)),
        "badges",
    ),
    "another collection": (lambda member: put("badges", [Badge(id=1)])(filled(member)), "badges"),
    "a collection that is write-only": (lambda member: member.written.add(Badge(id=1)), "written"),
    "the other side of a relationship": (
        lambda member: setattr(Badge(id=1), "member", member),
        "badges",
    ),
    "the other side of a collection": (join, "team"),
}


@pytest.mark.parametrize("kind", CHANGES)
def test_a_change_is_refused_where_it_is_made(kind: str) -> None:
    change, attribute = CHANGES[kind]
    member = cached()
    with pytest.raises(
        CachedEntityRefused, match=rf"'{attribute}'.*`await work\[Users\]\.require\(2\)`.*'member'"
    ):
        change(member)


@pytest.mark.parametrize("name", ["name", "story", "x"])
def test_what_was_refused_did_not_happen(name: str) -> None:
    member, fresh = cached(), cached()
    with pytest.raises(CachedEntityRefused):
        setattr(member, name, 99)
    assert member.__dict__.get(name) == fresh.__dict__.get(name)
    assert inspect(member).committed_state == inspect(fresh).committed_state


@pytest.mark.parametrize("kind", CHANGES)
def test_a_change_is_told_and_made(kind: str) -> None:
    seen: list[Event] = []
    plan = EntityPlan.of(Member, "member", OPTIONS, state_maker(Misuse.TELL, seen.append))
    change, attribute = CHANGES[kind]
    member = plan.entity(row(plan))
    assert seen == []
    change(member)
    assert CachedEntityChanged("member", "2", attribute) in seen
    assert inspect(member).modified


def test_what_was_told_is_what_the_entity_then_has() -> None:
    plan = EntityPlan.of(Member, "member", OPTIONS, state_maker(Misuse.TELL, lambda _: None))
    member = plan.entity(row(plan))
    member.name = "x"
    assert member.name == "x"
    copied = pickle.loads(pickle.dumps(member))
    copied.name = "y"
    assert (member.name, copied.name) == ("x", "y")


def test_what_is_not_mapped_stays_free() -> None:
    member = cached()
    member.note = "x"
    member.__dict__["other"] = 1
    set_committed_value(member, "story", "told")
    set_committed_value(member, "seen", [])
    member.seen.append(Badge(id=1))
    assert (member.note, member.story, [badge.id for badge in member.seen]) == ("x", "told", [1])


def test_listeners_of_the_load_may_change_it() -> None:
    assert cached().name == "Ada"
    assert not inspect(cached()).session_id


COPIES: list[Callable[[Member], Member]] = [
    copy.copy,
    copy.deepcopy,
    lambda member: pickle.loads(pickle.dumps(member)),
]


@pytest.mark.parametrize("copied", COPIES)
def test_copies_are_no_fresher(copied: Callable[[Member], Member]) -> None:
    member = copied(cached())
    with pytest.raises(CachedEntityRefused, match="require"):
        member.name = "x"
    assert member.name == "Ada"


def test_other_entities_of_the_class_are_free() -> None:
    cached()
    member = Member(id=2, name="Ada", x=1, y=2, bag={})
    member.name, member.point = "x", Point(5, 6)
    member.bag["b"] = 2
    assert (member.name, member.x, member.bag) == ("x", 5, {"b": 2})


def test_one_made_transient_is_a_new_entity() -> None:
    engine = create_engine("sqlite://")
    Base.metadata.create_all(engine)
    member = cached()
    make_transient(member)
    member.name = "x"
    with TrackedSession(engine, expire_on_commit=False) as session:
        session.add(member)
        session.flush()
        member.name = "y"
        session.commit()
    with TrackedSession(engine) as session:
        assert session.get_one(Member, 2).name == "y"
        session.add(member)  # it is what a session has left, like any other
        member.name = "z"
        session.commit()
        assert session.get_one(Member, 2).name == "z"


def test_a_session_of_somebody_else_may_have_it() -> None:
    engine = create_engine("sqlite://")
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        session.add(Member(id=2, name="old", x=1, y=2, bag={}))
        session.commit()
    with Session(engine) as session:
        member = cached()
        session.add(member)
        member.name = "x"
        session.commit()
        assert session.scalar(sa.select(Member.name)) == "x"


def test_listeners_of_the_users_are_left_as_they_are() -> None:
    heard: list[Any] = []

    def set_name(_: Member, value: str, __: object, ___: object) -> None:
        heard.append(value)

    event.listen(Member.name, "set", set_name)
    try:
        Member(id=1).name = "plain"
    finally:
        event.remove(Member.name, "set", set_name)
    assert heard == ["plain"]
