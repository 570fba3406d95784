"""Every point of a well-run cache, answered for one set-up: pass, fail, or unknown, with what says
so. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum

from repocache.cache.policies import LONGEST_TTL
from repocache.doctor.finding import Finding, Severity
from repocache.doctor.setup import SetupFacts
from repocache.events import LoggingObserver, Observers, ignore
from repocache.runtime.description import OwnerKind, Tier

LONGEST_DEAF = 60.0
"""Seconds of `local_ttl` that count as short where no channel tells of changes."""
ELSEWHERE = "HTTP is not looked at from here"


class PointVerdict(Enum):
    """`UNKNOWN`: it cannot be known from here."""

    PASS = "pass"  # noqa: S105  # no password
    FAIL = "fail"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Point:
    """One point, with what says so."""

    what: str
    verdict: PointVerdict
    evidence: str


Asked = tuple[PointVerdict, str]


def checklist_of(setup: SetupFacts, findings: Sequence[Finding]) -> tuple[Point, ...]:
    """In the order in which a reviewer would ask. `findings`: of the same set-up."""
    return tuple(Point(what, *answer(setup, findings)) for what, answer in POINTS)


def _one_owner(setup: SetupFacts, _: Sequence[Finding]) -> Asked:
    prefixes = {each.prefix for each in setup.owners}
    if len(prefixes) < len(setup.owners):
        return PointVerdict.FAIL, "two owners have one prefix"
    return PointVerdict.PASS, f"{len(prefixes)} owners, no two of one prefix (repocache keys)"


def _writes_tell(setup: SetupFacts, _: Sequence[Finding]) -> Asked:
    """Commits through the library do; what others write is heard of by triggers."""
    tables = setup.tables
    if setup.redis is None:
        return PointVerdict.FAIL, "no Redis: processes do not tell each other of writes"
    if tables is None or tables.unread:
        return PointVerdict.UNKNOWN, "the tables could not be looked at"
    if tables.outbox is None:
        return PointVerdict.UNKNOWN, (
            "commits of this library do; writes of others are told by triggers, and there is no "
            "outbox"
        )
    bare = [each.name for each in tables.tables if each.exists and not each.watched]
    if bare:
        return PointVerdict.UNKNOWN, (
            f"commits of this library do; whether others write {', '.join(bare)}, which have no "
            "trigger, is not known"
        )
    return PointVerdict.PASS, "commits of this library, and triggers on every cached table"


def _ttl_is_a_net(setup: SetupFacts, _: Sequence[Finding]) -> Asked:
    cached = [each for each in setup.owners if each.times is not None and each.times.ttl]
    if any(each.times is not None and each.times.ttl > LONGEST_TTL for each in cached):
        return PointVerdict.FAIL, "a ttl is longer than 30 days"
    if setup.redis is None:
        return PointVerdict.FAIL, "without a channel the ttl is what ends what others have changed"
    longest = max((each.times.ttl for each in cached if each.times), default=0.0)
    return PointVerdict.PASS, f"commits invalidate; the longest ttl is {longest:g} s"


def _nothing_is_lost(setup: SetupFacts, _: Sequence[Finding]) -> Asked:
    if setup.redis is None:
        return PointVerdict.PASS, "nobody has to be told"
    if setup.tables is None:
        return PointVerdict.UNKNOWN, "the primary could not be looked at"
    if setup.tables.outbox is None:
        return PointVerdict.FAIL, "no outbox: what Redis did not take dies with the process"
    return PointVerdict.PASS, "the outbox holds what is not known to be delivered"


def _outside(_: SetupFacts, __: Sequence[Finding]) -> Asked:
    return PointVerdict.UNKNOWN, ELSEWHERE


def _purged(setup: SetupFacts, _: Sequence[Finding]) -> Asked:
    if not setup.edges:
        return PointVerdict.UNKNOWN, (
            "no Database(edges=...): of caches in front of the service nothing is known"
        )
    deaf = [each.name for each in setup.edges if each.hindrance]
    if deaf:
        return PointVerdict.FAIL, f"a purge is not taken by {', '.join(deaf)}"
    return PointVerdict.PASS, f"a purge is taken by {', '.join(each.name for each in setup.edges)}"


def _tagged(setup: SetupFacts, _: Sequence[Finding]) -> Asked:
    if not setup.edges:
        return PointVerdict.UNKNOWN, ELSEWHERE
    headers = ", ".join(dict.fromkeys(each.header for each in setup.edges))
    return PointVerdict.UNKNOWN, f"look at a response of the service: it should have {headers}"


def _coalesced(setup: SetupFacts, _: Sequence[Finding]) -> Asked:
    where = "in the process and by leases in Redis" if setup.redis else "in the process"
    return PointVerdict.PASS, f"every load is shared by those who wait for it, {where}"


def _negative(setup: SetupFacts, _: Sequence[Finding]) -> Asked:
    kinds = (OwnerKind.REPOSITORY, OwnerKind.LOOKUP)
    cached = [each for each in setup.owners if each.kind in kinds and Tier.REDIS in each.tiers]
    without = [
        each.declared for each in cached if each.times is not None and not each.times.negative_ttl
    ]
    if without:
        return PointVerdict.FAIL, f"not kept of {', '.join(without)}"
    return PointVerdict.PASS, f"kept of {len(cached)} owners, and cleared by an insert"


def _rates(setup: SetupFacts, _: Sequence[Finding]) -> Asked:
    observe = setup.settings.observe
    if observe is ignore:
        return PointVerdict.FAIL, "Settings(observe=ignore): nobody hears of events"
    given = observe.observers if isinstance(observe, Observers) else (observe,)
    if all(each is ignore or isinstance(each, LoggingObserver) for each in given):
        return PointVerdict.FAIL, "events are logged, and counted by nobody"
    return (
        PointVerdict.UNKNOWN,
        "an observer is given; whether alerts look at it is not known from here",
    )


def _l1_is_told(setup: SetupFacts, _: Sequence[Finding]) -> Asked:
    redis = setup.redis
    local = [each.times.local_ttl for each in setup.owners if each.times and Tier.L1 in each.tiers]
    if not local:
        return PointVerdict.PASS, "nothing is kept in the process"
    if redis is None:
        short = max(local) <= LONGEST_DEAF
        return (PointVerdict.PASS if short else PointVerdict.FAIL), (
            f"no channel; the longest local_ttl is {max(local):g} s"
        )
    if redis.unreachable:
        return PointVerdict.FAIL, "Redis does not answer: L1 is not used"
    if redis.round_trip is None:
        return PointVerdict.FAIL, "the channel does not deliver"
    return PointVerdict.PASS, f"the channel delivers, in {redis.round_trip * 1000:.1f} ms"


def _falls_back(setup: SetupFacts, _: Sequence[Finding]) -> Asked:
    if setup.primary.unreachable:
        return PointVerdict.FAIL, setup.primary.unreachable
    reads = setup.settings.topology.primary_reads
    return PointVerdict.PASS, f"the primary answers, and stands in for {reads} reads at once"


def _drawn(_: SetupFacts, __: Sequence[Finding]) -> Asked:
    return PointVerdict.PASS, "repocache map draws it from the declarations"


def _sound(_: SetupFacts, findings: Sequence[Finding]) -> Asked:
    errors = [each.what for each in findings if each.severity is Severity.ERROR]
    return (
        (PointVerdict.FAIL, "; ".join(errors))
        if errors
        else (PointVerdict.PASS, "no error was found")
    )


POINTS: tuple[tuple[str, Callable[[SetupFacts, Sequence[Finding]], Asked]], ...] = (
    ("each key has one owner", _one_owner),
    ("each write path invalidates or updates", _writes_tell),
    ("the ttl is a net and not the mechanism", _ttl_is_a_net),
    ("no invalidation is lost with a process", _nothing_is_lost),
    ("HTTP headers on what can be cached", _outside),
    ("no HTTP caching of what cannot be", _outside),
    ("edge pages are tagged", _tagged),
    ("CDN and edges drop what a commit changes", _purged),
    ("requests are coalesced", _coalesced),
    ("that there is no such row is kept", _negative),
    ("rates are exported, with alerts", _rates),
    ("L1 is told of changes, or short-lived", _l1_is_told),
    ("reads fall back to the primary", _falls_back),
    ("the layering is drawn", _drawn),
    ("the set-up is sound", _sound),
)
