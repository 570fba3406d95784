"""Every rule of the protocol, how it is switched off in the simulation, and where a violation is
then found.

The switches are those of `proof/protocol`, but where those rewrite a Lua script: the simulated
Redis has `MemoryRecords` in the scripts' place, so here the same piece of it is replaced.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from types import MappingProxyType
from unittest.mock import patch

from proof.protocol import (
    edge_switches,
    outbox_switches,
    refresh_switches,
    renewal_switches,
    tag_switches,
    wider_switches,
)
from proof.protocol.switches import SWITCHES
from proof.simulation import outbox
from proof.simulation.record_rules import RECORD_RULES
from proof.simulation.renewal_rules import RENEWALS_ELSEWHERE, RENEWALS_FOUND
from proof.simulation.tag_rules import TAG_RULES, TAGS_ELSEWHERE, TAGS_FOUND
from repocache.routing import routing

__all__ = [  # they add switches
    "edge_switches",
    "outbox_switches",
    "refresh_switches",
    "renewal_switches",
    "tag_switches",
    "wider_switches",
]


@contextmanager
def _last_fill() -> Iterator[None]:
    """What a lagging replica fills is as old as what was there at the commit."""
    with patch.object(routing, "last_fill", lambda ttl, *_: ttl):
        yield


@contextmanager
def _whose_row() -> Iterator[None]:
    """A row is known by its id alone."""
    with patch.object(outbox, "is_whose", lambda cluster, id, _: id in cluster.primary.notes):
        yield


SIMULATED: Mapping[str, Callable[[], AbstractContextManager[None]]] = MappingProxyType(
    {**RECORD_RULES, **TAG_RULES, "last fill": _last_fill, "whose row": _whose_row}
)
"""By the names of the switches that they stand in for."""


def rule_off(name: str) -> AbstractContextManager[None]:
    """Live without the rule inside the block. Raises KeyError for a name that is no rule's."""
    return SIMULATED[name]() if name in SIMULATED else SWITCHES[name]()


OF_EDGES = (
    "look again", "again", "heard", "arrived", "edges' outbox", "kept", "past", "strange tags",
    "another record's tags", "a lost record's tags", "proven tags", "ripe tags", "tags ripe before",
    "the same record's tags",
)  # fmt: skip
ELSEWHERE: Mapping[str, str] = MappingProxyType(
    {
        "primary only": (
            "the simulated database has no unlogged tables: which ones are is asked of the "
            "catalogue"
        ),
        "outermost": ("SQLAlchemy's sessions and outer transactions are not simulated"),
        "autocommit": ("isolation levels are SQLAlchemy's and PostgreSQL's own"),
        "as locked": ("no statement is: what changed is given to the transaction by the client"),
        "bare": ("MULTI is Redis's own behaviour"),
        "as stored": ("there is no object in memory: a put is read from the database's rows"),
        "new value": ("its services have no lookups"),
        "still has": ("its services have no lookups"),
        **dict.fromkeys(OF_EDGES, "no caches stand in front of its services"),
        **TAGS_ELSEWHERE,
        **RENEWALS_ELSEWHERE,
        "unknown stays": (
            "a poll of the primary has to fail alone between the reads of one session that another "
            "poll answers: since nothing is shown that a replica cannot stamp, not met in 600 runs"
        ),
        "reader's life": (
            "positions do not lapse, and processes agree on how long values live: what is left "
            "takes a failover, or a position that is not known, and a replica that is seconds "
            "behind"
        ),
        "owner told": (
            "a push that is lost is followed by another of each bucket within half a millisecond: "
            "only a read in between, of a key that was written in between, would go by the old name"
        ),
        "sent to the primary": (
            "two commits have to be flushed together and shown apart, and their sessions to meet "
            "in one load: one run of 2,000 operations in several hundred showed it, and none of "
            "those tried since"
        ),
        "asked": (
            "one seed in several hundred showed it, and none of 400 tried since: a process that "
            "did not ask has to meet a reader who alone knows of the newer primary"
        ),
        "told": (
            "a push is there before its session's next read, but for a moment in which somebody "
            "would have to forge the very number of its record: not met in 43,000 operations"
        ),
        "tips": (
            "a message has to be lost and its number forged before the next one comes: not met in "
            "43,000 operations"
        ),
        "ahead": ("it costs misses, for which nobody is blamed here"),
        "unheard": (
            "it takes a process that alone has lost the primary for longer than replicas may lag, "
            "and a commit that nobody publishes meanwhile"
        ),
    }
)
"""Rules that cannot be broken in the simulation, and why. Their guards are the scenarios on real
servers."""

FOUND: Mapping[str, tuple[str, int]] = MappingProxyType(
    {
        "lease": ("impatience", 0),
        "nonce": ("impatience", 0),
        "nonce per lease": ("impatience", 0),
        "generation": ("sweeps", 0),
        "incarnation": ("evictions", 0),
        "unknown": ("evictions", 3),
        "server": ("usurpers", 17),
        "floor": ("restarts", 0),
        "owner's floor": ("sweeps", 0),
        "owner's record": ("sweeps", 0),
        "settle": ("evictions", 0),
        "sample": ("restarts", 124),
        "inorder": ("impatience", 0),
        "landed": ("impatience", 1),
        "waited": ("impatience", 0),
        "counters": ("deafness", 12),
        "own writes": ("silence", 0),
        "bookmark": ("restarts", 0),
        "join": ("impatience", 0),
        "position first": ("restarts", 0),
        "postcommit": ("impatience", 0),
        "published again": ("doubt", 22),
        "server process": ("amnesia", 2),
        "order": ("stores", 0),
        "late put": ("stores", 0),
        "write lease": ("prices", 0),
        "others' write leases": ("prices", 0),
        "own write lease": ("prices", 0),
        "strict primary": ("prices", 9),
        "by script": ("prices", 4),
        "sent": ("prices", 4),
        "in progress": ("lingering", 338),
        "replication id": ("returns", 69),
        "pulse": ("demotions", 7),
        "own record": ("divided", 5),
        "read leases": ("widows", 6),
        "epochs": ("torn", 0),
        "answers alone": ("torn", 0),
        "generation asked": ("forgers", 0),
        "outbox": ("orphans", 1),
        "acknowledged": ("orphans", 0),
        "whose row": ("rebirths", 15),
        "noticed": ("strangers", 0),
        "relayed": ("orphans", 0),
        "relay position": ("strangers", 4),
        "direct": ("turns", 2),
        "shown": ("ahead", 2),
        "transactions": ("reports", 0),
        "long lives": ("releases", 0),
        "primary's clock": ("drifts", 0),
        "positions stay": ("releases", 54),
        "outages": ("bereft", 19),
        "lagging": ("bereft", 5),
        "last fill": ("strands", 0),
        "newer timeline": ("parted", 1),
        "followed timeline": ("forks", 151),
        "line of a read": ("amnesia+feeds", 92),
        "feed history": ("feeds", 19),
        "sealed history": ("seals", 0),
        "not known": ("confusion", 16),
        **TAGS_FOUND,
        **RENEWALS_FOUND,
    }
)
"""Rule -> the profile in which its absence is found, and the seed to begin with. Other seeds find
it too."""
