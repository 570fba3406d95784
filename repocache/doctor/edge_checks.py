"""What may be wrong with edges and their purges: each a function of the set-up. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from repocache.doctor.finding import Finding, error, warning
from repocache.doctor.setup import SetupFacts
from repocache.doctor.table_facts import PurgeFacts
from repocache.errors import ConfigurationError
from repocache.invalidation.outbox import PURGES, OutboxMode
from repocache.invalidation.outbox_table import OutboxPlace, check

LONG = 60.0
"""Seconds that a row waits only if something is wrong: its second purge is due after some."""


def _purges(setup: SetupFacts) -> PurgeFacts | None:
    """None: they were not looked at, or have nowhere to be."""
    tables = setup.tables
    if tables is None or tables.unread or setup.redis is None or not setup.edges:
        return None
    if setup.settings.outbox is OutboxMode.OFF or tables.outbox is None:
        return None  # the outbox is another finding
    return tables.purges


def edges_have_redis(setup: SetupFacts) -> Finding | None:
    """The second purge relies on every process having heard of the commit by then."""
    if setup.redis is not None or not setup.edges:
        return None
    return warning(
        "edges may keep what a process rendered that had not heard of a commit",
        "no Redis: processes do not tell each other of writes",
        "give Database(redis=...), or run one process",
        "edges.md",
    )


def has_purges(setup: SetupFacts) -> Finding | None:
    """Without the table a purge dies with its process."""
    found = _purges(setup)
    if found is None or found.table is not None:
        return None
    make = error if setup.settings.outbox is OutboxMode.REQUIRED else warning
    return make(
        "there is no table of purges",
        f"no table {setup.settings.outbox_schema}.{PURGES}: if a process dies between a COMMIT and "
        "its purge, edges keep pages of before it",
        "op.create_repocache_purges() in a migration",
        "edges.md",
    )


def purges_are_sound(setup: SetupFacts) -> Finding | None:
    """The table's owner, its form, and the role's rights."""
    found, settings = _purges(setup), setup.settings
    if found is None or found.table is None:
        return None
    place = OutboxPlace(settings.outbox_schema, settings.outbox_owners).purges
    try:
        check(found.table, place)
    except ConfigurationError as refused:
        told, _, remedy = str(refused).partition(": ")
        return error("the table of purges cannot be used", told, remedy, "edges.md")
    return None


def purges_are_taken(setup: SetupFacts) -> Finding | None:
    """What was put aside is not, until somebody looks."""
    found = _purges(setup)
    if found is None or not found.aside:
        return None
    return warning(
        "rows of purges are put aside",
        f"{found.aside} of them: edges keep pages of before what they say until their time ends",
        "`repocache purges` lists them with the reason; mend it, and --replay them",
        "on-call.md",
    )


def purges_do_not_wait(setup: SetupFacts) -> Finding | None:
    """Somebody purges."""
    found = _purges(setup)
    if found is None or found.seconds < LONG:
        return None
    return warning(
        "purges wait for long",
        f"{found.waiting} of them, the oldest for {found.seconds:.0f} s",
        "look at the edges, and whether a process runs; `repocache relay` has edges purge too",
        "on-call.md",
    )


EDGE_CHECKS: tuple[Callable[[SetupFacts], Finding | None], ...] = (
    *(edges_have_redis, has_purges, purges_are_sound, purges_are_taken, purges_do_not_wait),
)


def deaf_edges(setup: SetupFacts) -> Iterator[Finding]:
    """Those that do not take our purges."""
    for each in setup.edges:
        if each.refused:
            yield error(
                f"{each.name} refuses our purges",
                each.hindrance,
                "give it the secret or token that the edge knows, the right address, and let its "
                "rules take PURGE from this machine",
                "edges.md",
            )
        elif each.hindrance:
            yield error(
                f"{each.name} does not take purges",
                each.hindrance,
                "look whether it runs and can be reached, at its address and at its own log",
                "edges.md",
            )
