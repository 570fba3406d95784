"""What an operator can do about what events tell, in words for a log. Nothing here decides
anything."""

from __future__ import annotations

from collections.abc import Mapping

from repocache.events.out import Out

NODE_OUT: Mapping[str, str] = {
    Out.LOST: "look whether it runs and can be reached, and at its URL, TLS included",
    Out.BUSY: "all of its connections are in use: see TopologySettings(pool_size=...)",
    Out.REFUSED: (
        "look at the database, user and password in its URL, at pg_hba.conf and its limit of "
        "connections, and whether it is a physical replica of this primary"
    ),
    Out.LAGGING: (
        "it comes back by itself once it is less than TopologySettings(max_lag=...) behind"
    ),
    Out.NOT_STREAMING: (
        "look at its WAL receiver: primary_conninfo, the slot, the primary's pg_hba.conf"
    ),
    Out.OTHER_HISTORY: (
        "it follows another timeline than the primary: let it follow this one, or make it anew"
    ),
    Out.IN_RECOVERY: (
        "the primary's URL leads to a replica: give the primary's own address, or promote it"
    ),
    Out.OLDER_TIMELINE: "an old primary lives on under this address: fence it",
    Out.ELSEWHERE: (
        "the address has begun to lead to another server; nothing to do if it failed over"
    ),
    Out.POOLED: (
        "it is looked at again at once, as a pooler's; give the server's own address where you can"
    ),
}
"""By the first words of why a node is out."""
BY_KIND: Mapping[str, str] = {
    "HistoryChanged": "nothing to do if the primary failed over or restarted: caches begin anew",
    "ClockJumped": "look at how the database servers set their clocks",
    "ChannelDown": (
        "reads go on without caches until it is back; look whether Redis runs and can be reached"
    ),
    "PublishFailed": "it is tried again by itself; look whether Redis takes writes",
    "RelayFailed": "it is tried again by itself; look at the outbox's table and at Redis",
    "OutboxRefused": (
        "a newer release wrote it: update this one too; or look at who else may write the outbox"
    ),
    "OutboxPutAside": (
        "repocache outbox module:db lists them; --replay once the cause is mended, or --discard"
    ),
    "OutboxUnowned": "op.drop_invalidation_trigger(...), if no other service wants it",
    "CommitUnknown": (
        "it is published again once the primary has decided; look at the row before doing it twice"
    ),
    "UndeclaredWrite": "say what it touches: work.changes(Repository, ids=[...])",
    "CacheFailed": "the database answered; look whether Redis runs and can be reached",
    "ValueRefused": (
        "the database answered; look who else writes this key, or declare a "
        "ColumnCodec for the column"
    ),
    "MeasureFailed": "its figures are those of before; look at what could not be asked",
    "SerialReads": "bring them together: get_many(ids), or load= for what entities lead to",
    "ValueBig": (
        "look whether its row grows without a bound; CacheSettings(max_value=...) leaves it out"
    ),
    "CachedEntityChanged": (
        "load it in the transaction that changes it: work[Repository].require(id)"
    ),
    "FlushFailed": (
        "it is tried again by itself; look at the primary, at Redis, and at the rights in the "
        "tables that the migration made"
    ),
    "DeadLettered": (
        "repocache behind module:db lists them; --replay once the cause is mended, or --drop"
    ),
    "BacklogLeft": "start a process with this class: it flushes what waits",
    "EdgePurgeFailed": (
        "it is tried again by itself; look whether the edge can be reached, and at its token"
    ),
    "EdgeBacklogFolded": (
        "more pages are purged than had to be; look why the edge takes so little, or give "
        "Purger(most_waiting=...) more"
    ),
    "EdgeBacklogLeft": "purge everything there once, if its pages live long",
    "HookFailed": "the commit stands; mend the hook, which should not raise",
    "TaskFailed": "it does not run any more: restart the process, and report it",
}
"""By the event's name."""


def of_node(why: str) -> str:
    """What to do about a node that is out."""
    return NODE_OUT.get(why.partition(":")[0], "")
