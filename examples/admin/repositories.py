"""What is cached: each row under its id, and each list of ids under the id of who has it."""

from __future__ import annotations

from examples.admin.models import Department, Menu, Position, Role, User
from repocache import CacheAside, KeyList, KeyOwner, Lookup, Repository

POLICY = CacheAside(ttl=3600, local_ttl=60)


class Users(Repository[User, int]):
    owner = KeyOwner("user")
    policy = POLICY
    by_name = Lookup(User.name)
    roles = KeyList(User.roles)
    positions = KeyList(User.positions)

    async def whole(self, id: int) -> User | None:
        """With all that says what the user is and may do: nine tables."""
        return await self.get(
            id,
            load=[
                User.department,
                User.positions,
                (User.roles, Role.menus),
                (User.roles, Role.departments),
            ],
        )


class Departments(Repository[Department, int]):
    owner = KeyOwner("department")
    policy = POLICY


class Positions(Repository[Position, int]):
    owner = KeyOwner("position")
    policy = POLICY


class Roles(Repository[Role, int]):
    owner = KeyOwner("role")
    policy = POLICY
    menus = KeyList(Role.menus)
    departments = KeyList(Role.departments)


class Menus(Repository[Menu, int]):
    owner = KeyOwner("menu")
    policy = POLICY


REPOSITORIES = (Users, Departments, Positions, Roles, Menus)
