"""`repocache purge`: edges drop the pages of some tags, or all of them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, NamedTuple

import typer

from repocache.cli.frame import AsJson, CommandRefused, Frame, Target
from repocache.cli.target import did_you_mean, find_database
from repocache.database import Database
from repocache.edges.names import EVERYTHING, purged
from repocache.events import ignore
from repocache.invalidation.batch import Batch
from repocache.keys import shown
from repocache.runtime.description import OwnerDescription, OwnerKind


class EdgesPurged(NamedTuple):
    """`edges`: their names. `tags`: that all of them have purged."""

    edges: list[str]
    tags: list[str]


def purge(
    target: Target,
    tags: Annotated[
        list[str] | None,
        typer.Argument(metavar="[TAG]...", help="A key, as user:7, an owner, as user, or a class."),
    ] = None,
    everything: Annotated[
        bool, typer.Option("--everything", help="All pages of the application.")
    ] = False,
    json: AsJson = False,
) -> None:
    """Have all edges drop the pages that show these keys, or anything of these owners. Needs no
    server but the edges; caches behind them keep what they have.

    Ends with status 2 if an edge did not.
    """
    with Frame(json=json) as frame:
        if bool(tags) is everything:
            raise CommandRefused("give tags, as user:7 or user, or --everything")
        db = find_database(target)
        wanted = (EVERYTHING,) if everything else wanted_tags(tags or (), prefixes_of(db.owners))
        found = asyncio.run(run_purge(db, wanted))
        frame.answer(
            found._asdict(),
            lambda console: console.print(
                f"purged at {', '.join(found.edges)}: {', '.join(found.tags)}", soft_wrap=True
            ),
        )


async def run_purge(db: Database, tags: Iterable[str]) -> EdgesPurged:
    """Raises CommandRefused without edges, and EdgeFailed, which names those that failed."""
    declared = db.plan.edges
    if declared is None:
        raise CommandRefused("this database has no edges: Database(edges=Edges(...)) names them")
    told = list(tags)
    async with declared.purger(declared.names(db.settings.app), ignore) as purger:
        await purger.purge(told)
    return EdgesPurged([each.name for each in declared.edges], told)


def prefixes_of(owners: Sequence[OwnerDescription]) -> Mapping[str, tuple[str, ...]]:
    """By what a person calls them. An owner is itself; a class is its owner, first, with what
    stands beside it and the tags of its tables: all that pages may show of it."""
    named: dict[str, tuple[str, ...]] = {each.prefix: (each.prefix,) for each in owners}
    for each in owners:
        if each.kind is OwnerKind.REPOSITORY:
            more = (
                other.prefix
                for other in owners
                if other.beside == each.prefix
                or (other.kind is OwnerKind.TAGS and not set(other.tables).isdisjoint(each.tables))
            )
            named[each.declared] = (each.prefix, *more)
    return named


def wanted_tags(given: Iterable[str], known: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    """The tags that a commit would have purged that changed these: with a key, those of pages that
    have too many keys of its owner to say each. Raises CommandRefused for what is of no owner."""
    keys: dict[str, frozenset[str]] = {}
    owners: set[str] = set()
    for each in given:
        name, colon, rest = each.partition(":")
        if name not in known:
            near = did_you_mean(name, known) or "; see `repocache keys`"
            raise CommandRefused(f"{shown(each)}: {shown(name)} is no such owner here{near}")
        if colon and rest in ("", EVERYTHING):
            raise CommandRefused(f"{shown(each)}: give {name} for all pages of it")
        if colon:
            owner = known[name][0]
            keys[owner] = keys.get(owner, frozenset()) | {f"{owner}:{rest}"}
        else:
            owners.update(known[name])
    return purged(Batch(keys, frozenset(owners)))
