"""Users with a department, positions and roles; roles with menus and the departments whose data
they show. Nine tables, ordinary SQLAlchemy."""

from __future__ import annotations

from sqlalchemy import Column, ForeignKey, Table
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship


class Base(DeclarativeBase):
    pass


def association(name: str, left: str, right: str) -> Table:
    """A table of pairs, of tables with an `id` each: `association("user_roles", "users", "roles")`
    has the columns `user_id` and `role_id`."""
    return Table(
        name,
        Base.metadata,
        *(
            Column(
                f"{table[:-1]}_id",
                ForeignKey(f"{table}.id", ondelete="CASCADE"),
                primary_key=True,
            )
            for table in (left, right)
        ),
    )


user_roles = association("user_roles", "users", "roles")
user_positions = association("user_positions", "users", "positions")
role_menus = association("role_menus", "roles", "menus")
role_departments = association("role_departments", "roles", "departments")


class User(Base):
    __tablename__ = "users"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    department_id: Mapped[int] = mapped_column(ForeignKey("departments.id"))
    department: Mapped[Department] = relationship()
    roles: Mapped[list[Role]] = relationship(secondary=user_roles)
    positions: Mapped[list[Position]] = relationship(secondary=user_positions)


class Department(Base):
    __tablename__ = "departments"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]


class Position(Base):
    __tablename__ = "positions"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]


class Role(Base):
    __tablename__ = "roles"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    menus: Mapped[list[Menu]] = relationship(secondary=role_menus)
    departments: Mapped[list[Department]] = relationship(secondary=role_departments)


class Menu(Base):
    __tablename__ = "menus"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    permission: Mapped[str]
