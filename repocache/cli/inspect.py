"""`repocache inspect`: one key, tier by tier, beside the primary's row."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Annotated, Any

import typer
from rich.console import Console

from repocache.cli.frame import AsJson, Frame, Target, printable
from repocache.cli.named import find_owner, id_text
from repocache.cli.target import find_database
from repocache.database import Database
from repocache.keys import TAGS
from repocache.runtime.inspection import HeldState, Inspection

Owner = Annotated[
    str, typer.Argument(metavar="OWNER", help="A class, or its prefix: Users, or user.")
]


def inspect(
    target: Target,
    owner: Owner,
    id: Annotated[str, typer.Argument(metavar="ID", help="As in the key: 7, or 1:2.")],
    values: Annotated[
        bool, typer.Option("--values", help="Show the values themselves, and not their sizes.")
    ] = False,
    json: AsJson = False,
) -> None:
    """Show one key: L1, Redis, records, leases, tags, and the primary's row beside it. It changes
    nothing. Of a scope's rows the id begins with the scope's value: acme:7.

    Ends with status 1 if what is cached differs from the primary's row, is unreadable, or if Redis
    does not answer.
    """
    with Frame(json=json) as frame:
        db = find_database(target)
        found, tags = asyncio.run(look(db, owner, id))
        document = asdict(found) | {
            "held": found.held.value,
            "row": shown_row(found.row, values=values),
            "primary": shown_row(found.primary, values=values),
            "l1": "empty: this process has just begun",
            "tags": tags,
        }
        frame.answer(
            document,
            lambda console: show(console, document),
            found=not is_well(found, has_redis=db.has_redis),
        )


def is_well(found: Inspection, *, has_redis: bool) -> bool:
    """Whether it was seen, and is what the primary has."""
    if found.is_equal is False or found.held is HeldState.UNREADABLE:
        return False
    return not (has_redis and found.unreachable)


async def look(db: Database, owner: str, id: str) -> tuple[Inspection, Mapping[str, Sequence[str]]]:
    """With the shapes that are registered of its tables. Starts the database for it, in this
    process."""
    declared = find_owner(db, owner)
    binding = db.plan.registry[declared]
    text = id_text(binding.keys, id)
    async with db:
        found = await db.inspect(declared, text)
        tables = {table.name for table in binding.rows.plan.tables}
        if found.unreachable:
            return found, {}
        shapes = await db.shapes()
        return found, {
            prefix: each
            for prefix, each in shapes.items()
            if prefix.removeprefix(TAGS).rpartition("-")[2] in tables
        }


def shown_row(row: Mapping[str, Any] | None, *, values: bool) -> dict[str, str] | None:
    """Sizes and types, or the values as Python has them."""
    if row is None:
        return None
    return {name: repr(value) if values else size_of(value) for name, value in row.items()}


def size_of(value: object) -> str:
    """Nothing of the value: its type, and the length of what has one."""
    if value is None:
        return "NULL"
    length = getattr(value, "__len__", None)
    kind = type(value).__name__
    return kind if length is None else f"{kind} of {length()}"


def show(console: Console, found: Mapping[str, Any]) -> None:
    """A line for each thing that is known."""
    lines = [("key", f"{found['key']}, bucket {found['bucket']}"), ("L1", found["l1"])]
    if found["unreachable"]:
        lines.append(("Redis", f"not asked: {found['unreachable']}"))
    else:
        lines += _redis_lines(found)
    lines.append(("primary", _row_text(found["primary"])))
    if found["is_equal"] is not None:
        verdict = "equal to the primary's" if found["is_equal"] else "DIFFERENT from the primary's"
        lines.append(("cached", verdict))
    for prefix, shapes in found["tags"].items():
        lines += [("tags", f"{prefix}: {shape}") for shape in shapes]
    for name, text in lines:
        console.print(f"{name:16}{printable(text)}", soft_wrap=True)


def _redis_lines(found: Mapping[str, Any]) -> list[tuple[str, str]]:
    held = found["held"]
    if found["size"]:
        held += f", {found['size']} bytes"
    if found["left"] is not None:
        held += f", {found['left']:.1f} s to live"
    if found["age_at_most"] is not None:
        held += f", {found['age_at_most']:.1f} s old at most"
    lines = [("Redis", held)]
    if found["row"] is not None:
        lines.append(("  row", _row_text(found["row"])))
    if found["name"]:
        lines.append(("  under", found["name"]))
    for name in ("record", "owner_record"):
        told = ", ".join(f"{each} {value}" for each, value in found[name].items() if value)
        lines.append((f"  {name.replace('_', ' ')}", told or "none"))
    beside = "a loader renews it" if found["has_lease_beside"] else ""
    aside = "a row is kept aside for fail_safe" if found["aside"] else ""
    lines += [("  beside", each) for each in (beside, aside) if each]
    lines.append(("  write leases", str(found["write_leases"])))
    return lines


def _row_text(row: Mapping[str, str] | None) -> str:
    if row is None:
        return "no such row"
    return ", ".join(f"{name}: {value}" for name, value in row.items())
