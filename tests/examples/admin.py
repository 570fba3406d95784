"""An admin with two users: Ada may do all, Bob nothing."""

from __future__ import annotations

from typing import Any

from examples.admin.app import PERMISSIONS, tokens
from examples.admin.models import (
    Base,
    Department,
    Menu,
    Position,
    Role,
    User,
    role_departments,
    role_menus,
    user_positions,
    user_roles,
)
from tests.examples.service import SECRET, Path, make_tables

ADA, BOB = (tokens(SECRET).dumps(id) for id in (1, 2))
ME: dict[str, Path] = {"me": ("/me", ADA)}


async def make_admin(url: str) -> None:
    menus = [
        {"id": id, "name": f"menu {id}", "permission": permission}
        for id, permission in enumerate((*PERMISSIONS, "reports"), 1)
    ]
    await make_tables(
        url,
        Base,
        {
            Department: [{"id": id, "name": f"department {id}"} for id in (1, 2, 3)],
            User: [
                {"id": 1, "name": "ada", "department_id": 1},
                {"id": 2, "name": "bob", "department_id": 2},
            ],
            Position: [{"id": id, "name": f"position {id}"} for id in (1, 2)],
            Role: [{"id": id, "name": f"role {id}"} for id in (1, 2)],
            Menu: menus,
            user_roles: [{"user_id": 1, "role_id": 1}],
            user_positions: [{"user_id": 1, "position_id": 1}],
            role_menus: [
                *({"role_id": 1, "menu_id": id} for id in range(1, 6)),
                {"role_id": 2, "menu_id": 6},
            ],
            role_departments: [
                {"role_id": 1, "department_id": 1},
                {"role_id": 2, "department_id": 3},
            ],
        },
    )


CHANGES: dict[str, tuple[str, str, Any]] = {
    "users": ("PATCH", "/users/1", {"name": "augusta"}),
    "departments": ("PATCH", "/departments/1", {"name": "other"}),
    "positions": ("PATCH", "/positions/1", {"name": "other"}),
    "roles": ("PATCH", "/roles/1", {"name": "other"}),
    "menus": ("PATCH", "/menus/1", {"permission": "other"}),
    "user_roles": ("PUT", "/users/1/roles", [1, 2]),
    "user_positions": ("PUT", "/users/1/positions", [2]),
    "role_menus": ("PUT", "/roles/1/menus", [2, 3, 4, 5]),
    "role_departments": ("PUT", "/roles/1/departments", [1, 2]),
}
"""By the table that is written."""
