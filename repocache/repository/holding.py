"""Rows that a transaction locks and finds as they were: what a client builds upon who has seen them
(RFC 9110, 13.1.1)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from repocache.cache.values import row_version
from repocache.errors import PreconditionFailed
from repocache.repository.binding import Binding
from repocache.repository.session_access import SessionAccess


async def hold_rows(
    access: SessionAccess[Any], binding: Binding[Any], name: str, wanted: Mapping[str, bytes]
) -> None:
    """`wanted`: versions by key. `name`: of the repository, for the message. Raises
    PreconditionFailed."""
    ids = {binding.keys.id(key): version for key, version in wanted.items()}
    found = await access.locked(list(ids))
    codec = binding.rows.plan.codec()
    for id, version in ids.items():
        if row_version(codec, found.get(id)) != version:
            raise PreconditionFailed(f"{name} {id!r:.100} is not as it was when it was seen")
