"""`repocache invalidate` and `repocache clear`: what is cached is forgotten, in every process."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from repocache.cli.frame import AsJson, Frame, Target
from repocache.cli.inspect import Owner
from repocache.cli.named import find_owner, id_text
from repocache.cli.target import find_database
from repocache.database import Database


def invalidate(
    target: Target,
    owner: Owner,
    ids: Annotated[list[str], typer.Argument(metavar="ID...", help="As in the key: 7, or 1:2.")],
    json: AsJson = False,
) -> None:
    """Forget what is cached of these rows, in every process, as a commit that changes them does:
    lookups, key lists, counts and cached selects that lead to them, too, as far as ids tell."""
    with Frame(json=json) as frame:
        keys = asyncio.run(run_invalidate(find_database(target), owner, ids))
        frame.answer(
            {"invalidated": keys},
            lambda console: console.print(f"invalidated: {', '.join(keys)}", soft_wrap=True),
        )


async def run_invalidate(db: Database, owner: str, ids: Sequence[str]) -> list[str]:
    """The keys. Starts the database for it, in this process. Raises CommandRefused,
    CacheUnavailable, and what starting a database raises."""
    declared = find_owner(db, owner)
    binding = db.plan.registry[declared]
    keys, by_scope = binding.keys, dict[Any, list[Any]]()
    for given in ids:
        id = keys.id(f"{keys.prefix}:{id_text(keys, given)}")
        if binding.scope is None:
            by_scope.setdefault(None, []).append(id)
        else:
            own = tuple(id[1:])
            of_rows = own[0] if binding.ids.single else binding.ids.make(own)
            by_scope.setdefault(id[0], []).append(of_rows)
    told: list[str] = []
    async with db:
        for value, several in by_scope.items():
            if binding.scope is None:
                told += await db.invalidate(declared, several)
            else:
                async with db.scoped(**{binding.scope.scope.name: value}):
                    told += await db.invalidate(declared, several)
    return told


def clear(target: Target, owner: Owner, json: AsJson = False) -> None:
    """Forget all that is cached of an owner, in every process: of a repository also its lookups,
    key lists, counts and cached selects."""
    with Frame(json=json) as frame:
        prefixes = asyncio.run(run_clear(find_database(target), owner))
        frame.answer(
            {"cleared": prefixes},
            lambda console: console.print(f"cleared: {', '.join(prefixes)}", soft_wrap=True),
        )


async def run_clear(db: Database, owner: str) -> list[str]:
    """The prefixes. Starts the database for it, in this process. Raises as `run_invalidate`."""
    declared = find_owner(db, owner, kinds="cached")
    async with db:
        await db.clear(declared)
    return db.plan.prefixes(declared)
