"""`repocache map`: the layering of an application, drawn."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from repocache.cli.frame import AsJson, CommandRefused, Frame, Target
from repocache.cli.live import look_at_servers
from repocache.cli.target import find_database
from repocache.database import Database
from repocache.layering.drawn_tier import (
    DeclaredServers,
    DrawnTier,
    SeenServer,
    drawn_edges,
    drawn_tiers,
)
from repocache.layering.svg import as_svg
from repocache.layering.text import as_mermaid, as_text


def draw_map(
    target: Target,
    live: Annotated[
        bool, typer.Option("--live", help="Ask the servers, and show what they are like now.")
    ] = False,
    mermaid: Annotated[bool, typer.Option("--mermaid", help="Print a Mermaid flowchart.")] = False,
    svg: Annotated[
        Path | None, typer.Option("--svg", help="Write a picture to this file; - is stdout.")
    ] = None,
    json: AsJson = False,
) -> None:
    """Draw the whole layering: browser, CDN, edge, gateway, L1, Redis, replicas, primary; what each
    owns and for how long. Needs no server without --live, which also asks each edge to purge a tag
    that no page has.

    Ends with status 1 if --live finds a server that is not as it should be.
    """
    with Frame(json=json) as frame:
        if sum((mermaid, svg is not None, json)) > 1:
            raise CommandRefused("give one of --mermaid, --svg and --json")
        db = find_database(target)
        seen = asyncio.run(look_at_servers(db)) if live else {}
        tiers = drawn_tiers(db.owners, declared_servers(db, seen))
        found = not all(each.is_well for each in tiers)
        title = f"{target.partition(':')[0]}: who answers"
        if svg is not None and str(svg) != "-":
            svg.write_text(as_svg(tiers, title))
            frame.answer(None, lambda console: console.print(f"wrote {svg}"), found=found)
            return
        text = shown(tiers, title, mermaid=mermaid, svg=svg is not None)

        def show(console: Console) -> None:
            console.print(text, soft_wrap=True)

        frame.answer({"tiers": tiers}, show, found=found)


def shown(tiers: tuple[DrawnTier, ...], title: str, *, mermaid: bool, svg: bool) -> str:
    """In the form that was asked for."""
    if svg:
        return as_svg(tiers, title).rstrip()
    return as_mermaid(tiers) if mermaid else as_text(tiers)


def declared_servers(db: Database, seen: dict[str, SeenServer]) -> DeclaredServers:
    """What the database was made with, and what was seen of it."""
    settings = db.settings
    return DeclaredServers(
        has_redis=db.has_redis,
        replicas=[each.name for each in db.replicas],
        local_entries=settings.local_entries,
        local_bytes=settings.local_bytes,
        max_lag=settings.topology.max_lag,
        edges=drawn_edges(db.plan),
        routes=db.routes,
        seen=seen,
    )
