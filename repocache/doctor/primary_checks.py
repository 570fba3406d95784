"""What may be wrong with a primary and its tables: each a function of the set-up. Pure."""

from __future__ import annotations

from collections.abc import Callable

from repocache.doctor.finding import Finding, error, note, warning
from repocache.doctor.setup import SetupFacts
from repocache.errors import ConfigurationError
from repocache.invalidation.outbox import TABLE, OutboxMode
from repocache.invalidation.outbox_table import OutboxPlace, check

MOST_SKEW = 1.0
"""Seconds."""
MOST_RETAINED = 1024 * 1024 * 1024
"""Bytes of WAL that an inactive slot may keep before that is more than a note."""
FEW = 0.8
"""Share of the server's connections from which on there is hardly room for another process."""


def primary_answers(setup: SetupFacts) -> Finding | None:
    """Nothing works without it."""
    if not setup.primary.unreachable:
        return None
    return error(
        "the primary does not answer",
        setup.primary.unreachable,
        "look whether it runs and can be reached, at its URL, password, TLS and pg_hba.conf",
        "connections.md",
    )


def primary_is_one(setup: SetupFacts) -> Finding | None:
    """A replica takes no writes."""
    if not setup.primary.in_recovery:
        return None
    return error(
        "the primary's URL leads to a replica",
        "pg_is_in_recovery() is true",
        "give the primary's own address, or promote it",
        "connections.md",
    )


def has_positions(setup: SetupFacts) -> Finding | None:
    """Other databases have no WAL to go by."""
    if setup.is_postgres:
        return None
    return note(
        "this database has no positions",
        "it is not PostgreSQL",
        "nothing, if what is lost is known: sessions read the primary for Settings.window",
        "degraded.md",
    )


def ships_wal(setup: SetupFacts) -> Finding | None:
    """Replicas need it."""
    if setup.primary.settings.get("wal_level") != "minimal":
        return None
    return error(
        "the primary writes no WAL for replicas",
        "wal_level minimal",
        "ALTER SYSTEM SET wal_level = replica, and restart it",
        "connections.md",
    )


def commits_durably(setup: SetupFacts) -> Finding | None:
    """A crash may lose commits that caches were told of; the history then begins anew."""
    level = setup.primary.settings.get("synchronous_commit")
    if level != "off":
        return None
    return warning(
        "a crash of the primary may lose what was committed",
        "synchronous_commit off",
        "ALTER SYSTEM SET synchronous_commit = on; off only in transactions that may be lost",
        "assumptions.md",
    )


def has_connections(setup: SetupFacts) -> Finding | None:
    """The pools of all processes, and what the server, the role and the database allow."""
    primary, wanted = setup.primary, setup.connections.primary * setup.processes
    if "max_connections" not in primary.settings:
        return None
    most = primary.number("max_connections") - primary.number("superuser_reserved_connections")
    limits = [each for each in (primary.role_limit, primary.database_limit) if each >= 0]
    least = min([most, *limits])
    told = f"{setup.processes} x {setup.connections.primary} connections of ours, {least} allowed"
    remedy = (
        "raise max_connections (or the role's and database's CONNECTION LIMIT), or lower "
        "TopologySettings(pool_size=...), EngineSettings(write_pool_size=...)"
    )
    if wanted > least:
        return error("the pools are larger than the primary allows", told, remedy, "connections.md")
    if wanted > FEW * least:
        return warning("the pools leave the primary no room", told, remedy, "connections.md")
    return None


def slots_are_used(setup: SetupFacts) -> Finding | None:
    """What nobody takes fills the disk."""
    unused = [each for each in setup.primary.slots if not each.active]
    if not unused:
        return None
    told = ", ".join(f"{each.name} keeps {(each.retained or 0) / 2**20:.1f} MB" for each in unused)
    return warning(
        "replication slots are inactive and retain WAL",
        told,
        "start the replica that has it, or pg_drop_replication_slot(...); set "
        "max_slot_wal_keep_size",
        "connections.md",
    )


def primary_clock_agrees(setup: SetupFacts) -> Finding | None:
    """Bookmarks live by the primary's clock."""
    if abs(setup.primary.skew) < MOST_SKEW:
        return None
    return warning(
        "the primary's clock differs from this machine's",
        f"by at least {setup.primary.skew:+.1f} s",
        "let both set their clocks by NTP",
        "assumptions.md",
    )


def tables_are_there(setup: SetupFacts) -> Finding | None:
    """That are mapped."""
    gone = [] if setup.tables is None else [each for each in setup.tables.tables if not each.exists]
    if not gone:
        return None
    return error(
        "tables of repositories are not in the database",
        ", ".join(each.name for each in gone),
        "run the migrations, or look at the database's name and the role's search_path",
        "deploys.md",
    )


def has_outbox(setup: SetupFacts) -> Finding | None:
    """Without it an invalidation dies with its process."""
    tables, mode = setup.tables, setup.settings.outbox
    if tables is None or tables.unread or setup.redis is None or mode is OutboxMode.OFF:
        return None
    if tables.outbox is not None:
        return None
    make = error if mode is OutboxMode.REQUIRED else warning
    return make(
        "there is no outbox",
        f"no table {setup.settings.outbox_schema}.{TABLE}: an invalidation that Redis did not take "
        "is lost if this process dies first",
        "op.create_repocache_outbox() in a migration, or Settings(outbox=OutboxMode.OFF)",
        "outbox.md",
    )


def outbox_is_sound(setup: SetupFacts) -> Finding | None:
    """Its owner, its form, and the role's rights."""
    if setup.tables is None or setup.tables.outbox is None:
        return None
    settings = setup.settings
    try:
        check(setup.tables.outbox, OutboxPlace(settings.outbox_schema, settings.outbox_owners))
    except ConfigurationError as refused:
        told, _, remedy = str(refused).partition(": ")
        return error("the outbox cannot be used", told, remedy, "outbox.md")
    return None


def outbox_is_delivered(setup: SetupFacts) -> Finding | None:
    """What was put aside is not, until somebody looks."""
    if setup.tables is None or not setup.tables.aside:
        return None
    return warning(
        "rows of the outbox are put aside",
        f"{setup.tables.aside} of them: what they invalidate may be stale until its ttl ends",
        "`repocache outbox` lists them with the reason; mend it, and --replay them",
        "on-call.md",
    )


def behind_has_tables(setup: SetupFacts) -> Finding | None:
    """Without them the database does not start."""
    tables = setup.tables
    if tables is None or tables.unread or not setup.is_behind or not tables.behind:
        return None
    told, _, remedy = tables.behind.partition(": ")
    return error("nothing can be written behind", told, remedy, "behind.md")


def behind_is_taken(setup: SetupFacts) -> Finding | None:
    """What the database refused waits for somebody."""
    if setup.tables is None or not setup.is_behind or not setup.tables.letters:
        return None
    return warning(
        "changes that were written behind are dead letters",
        f"{setup.tables.letters} of them: the database refused them",
        "`repocache behind` lists them with the reason; mend it, and --replay them",
        "on-call.md",
    )


def all_are_watched(setup: SetupFacts) -> Finding | None:
    """Triggers on some tables and not on others: writes from outside are heard of some alone."""
    tables = setup.tables
    if tables is None or tables.outbox is None:
        return None
    there = [each for each in tables.tables if each.exists]
    bare = [each.name for each in there if not each.watched]
    if not bare:
        return None
    told = f"no trigger on {', '.join(bare)}: what others write there is not heard of"
    remedy = "op.create_invalidation_trigger(...) for each that others write too"
    if len(bare) == len(there):
        return note("no table has triggers", told, remedy, "outbox.md")
    return warning("some tables have no trigger", told, remedy, "outbox.md")


def rows_are_everybodys(setup: SetupFacts) -> Finding | None:
    """A cached row is; row-level security says otherwise."""
    if setup.tables is None:
        return None
    scoped = {table for each in setup.owners if each.scope for table in each.tables}
    open_ = {table for each in setup.owners if not each.scope for table in each.tables}
    found = [
        each.name
        for each in setup.tables.tables
        if each.secured and _place(each.name) in open_ - scoped
    ]
    if not found:
        return None
    return error(
        "cached tables have row-level security, and no scope",
        ", ".join(found),
        'KeyOwner(..., scope=Scope("tenant", setting="app.tenant")), or leave the repository out',
        "scopes.md",
    )


def keys_are_known(setup: SetupFacts) -> Finding | None:
    """The library asks the database at each start; migrations and others go by the metadata."""
    if setup.tables is None or not setup.tables.unknown_keys:
        return None
    told = ", ".join(
        f"{each.name} of {each.table}: {each.action} from {each.parent}"
        for each in setup.tables.unknown_keys
    )
    return warning(
        "foreign keys change rows, and the metadata does not know them",
        told,
        "declare them: ForeignKey(..., ondelete=...); a process that started before they were made "
        "hears of them at its next start",
        "writes.md",
    )


def tables_can_be_read(setup: SetupFacts) -> Finding | None:
    """In the catalogue."""
    if setup.tables is None or not setup.tables.unread:
        return None
    return error(
        "the tables could not be looked at",
        setup.tables.unread,
        "look at the role's rights",
        "connections.md",
    )


def _place(name: str) -> str:
    plain = name.replace('"', "")
    return plain if "." in plain else f"public.{plain}"


PRIMARY_CHECKS: tuple[Callable[[SetupFacts], Finding | None], ...] = (
    *(primary_answers, primary_is_one, has_positions, ships_wal, commits_durably),
    *(has_connections, slots_are_used, primary_clock_agrees, tables_can_be_read),
    *(tables_are_there, has_outbox, outbox_is_sound, outbox_is_delivered, all_are_watched),
    *(behind_has_tables, behind_is_taken, rows_are_everybodys, keys_are_known),
)
