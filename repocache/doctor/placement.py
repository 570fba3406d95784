"""Which tier should own an owner's data, and which numbers say so: the questions from the reader
inwards, each answered as far as it can be known. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum

from repocache.runtime.description import OwnerDescription, OwnerKind, Tier

FEW_ROWS = 10_000
"""Rows that may be everywhere at once."""
RARE = 0.01
"""Writes for each read, up to which every process may keep a copy: each write ends it in all."""
OFTEN = 0.5
"""Writes for each read, from which on a copy is hardly read again before it is gone."""
FLOOD = 10.0
"""Writes for each read, from which on it is written rather than read."""
SHARE_OF_L1 = 0.25
"""Of `local_bytes`, that one owner may take."""
LOW_HITS = 0.5
"""Share of reads that caches answer, below which something is wrong with them."""
SLOW = 0.02
"""Seconds of a statement, on average, from which on it is the statement that is slow."""
ENOUGH = 100
"""Reads, below which numbers say nothing."""


class Reply(Enum):
    """To a question."""

    YES = "yes"
    NO = "no"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnerNumbers:
    """What is known of one owner. None: it is not.

    `reads`: of its keys, by the tier that answered, since processes began; `distinct`: keys that
    were read past L1; `load`: seconds of a statement on average; `serial`: requests that read one
    after another. Of its tables, since the database's statistics began: `rows`, `bytes`; rows
    `inserted`, `updated`, `deleted`; `scans` of them on all nodes. `local_bytes`: of L1.
    """

    local_bytes: int
    reads: Mapping[str, float] | None = None
    distinct: float | None = None
    load: float | None = None
    serial: float = 0.0
    rows: int | None = None
    bytes: int | None = None
    inserted: int = 0
    updated: int = 0
    deleted: int = 0
    scans: int | None = None
    since: str = ""

    @property
    def writes(self) -> int:
        """Rows written."""
        return self.inserted + self.updated + self.deleted

    @property
    def total(self) -> float | None:
        """Reads, as metrics tell; without them, as the tables do, whom caches spare most."""
        if self.reads is not None:
            return sum(self.reads.values())
        return None if self.scans is None else float(self.scans)

    @property
    def ratio(self) -> float | None:
        """Writes for each read; None: too few reads to say."""
        total = self.total
        return None if total is None or total < ENOUGH else self.writes / total

    @property
    def hits(self) -> float | None:
        """Share of reads that caches answered."""
        if not self.reads or sum(self.reads.values()) < ENOUGH:
            return None
        return sum(self.reads.get(each, 0.0) for each in ("l1", "l2")) / sum(self.reads.values())


@dataclass(frozen=True, slots=True)
class PlacementStep:
    """A question, its answer, and the numbers."""

    question: str
    reply: Reply
    evidence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """`advice`: which tier should own it and what to declare; `agrees`: that is as it is declared.
    `beside`: what else the numbers say."""

    owner: str
    declared: str
    advice: str
    agrees: bool
    steps: tuple[PlacementStep, ...]
    beside: tuple[str, ...] = field(default=())


def place(owner: OwnerDescription, numbers: OwnerNumbers) -> Placement:
    """The first question that is answered by yes has it."""
    steps: list[PlacementStep] = []
    for ask, advice, suits in QUESTIONS:
        step = ask(owner, numbers)
        steps.append(step)
        if step.reply is Reply.YES:
            return Placement(
                owner=owner.prefix,
                declared=owner.pattern,
                advice=advice,
                agrees=suits(owner),
                steps=tuple(steps),
                beside=tuple(_beside(owner, numbers)),
            )
    return Placement(
        owner=owner.prefix,
        declared=owner.pattern,
        advice="the numbers do not say: give --metrics of processes that have run for a while",
        agrees=True,
        steps=tuple(steps),
        beside=tuple(_beside(owner, numbers)),
    )


def _static(_: OwnerDescription, numbers: OwnerNumbers) -> PlacementStep:
    question = "is it data at all, or part of the program?"
    if numbers.rows is None:
        return PlacementStep(question, Reply.UNKNOWN, "nothing is known of its tables")
    if numbers.rows == 0 and not numbers.writes:
        return PlacementStep(question, Reply.UNKNOWN, "its tables are empty")
    told = f"{numbers.rows:,} rows, {numbers.writes:,} written{numbers.since}"
    is_static = numbers.writes == 0 and numbers.rows <= FEW_ROWS
    return PlacementStep(question, Reply.YES if is_static else Reply.NO, told)


def _outside(owner: OwnerDescription, _: OwnerNumbers) -> PlacementStep:
    question = "may a browser or a CDN answer?"
    if owner.scope:
        told = f"rows of one {owner.scope} alone: a browser may, a shared cache never"
        return PlacementStep(question, Reply.NO, told)
    return PlacementStep(question, Reply.UNKNOWN, "HTTP is not looked at from here")


def _written(_: OwnerDescription, numbers: OwnerNumbers) -> PlacementStep:
    question = "is it written rather than read?"
    ratio = numbers.ratio
    if ratio is None:
        return PlacementStep(question, Reply.UNKNOWN, _few(numbers))
    return PlacementStep(
        question, Reply.YES if ratio >= FLOOD else Reply.NO, _ratio(numbers, ratio)
    )


def _local(owner: OwnerDescription, numbers: OwnerNumbers) -> PlacementStep:
    question = "may every process keep it (L1)?"
    ratio = numbers.ratio
    if owner.is_strict:
        return PlacementStep(question, Reply.NO, "what is strict is never kept in a process")
    if ratio is None:
        return PlacementStep(question, Reply.UNKNOWN, _few(numbers))
    told = _ratio(numbers, ratio)
    if numbers.bytes is not None and numbers.distinct is not None and numbers.rows:
        wanted = numbers.distinct * numbers.bytes / numbers.rows
        told += f", {wanted / 2**20:.1f} MB of keys in use"
        if wanted > SHARE_OF_L1 * numbers.local_bytes:
            return PlacementStep(question, Reply.NO, told)
    return PlacementStep(question, Reply.YES if ratio <= RARE else Reply.NO, told)


def _stored(owner: OwnerDescription, numbers: OwnerNumbers) -> PlacementStep:
    question = "do readers come right after the write (write-through)?"
    ratio, hits = numbers.ratio, numbers.hits
    if ratio is None or hits is None:
        return PlacementStep(question, Reply.UNKNOWN, _few(numbers))
    told = f"{_ratio(numbers, ratio)}; caches answer {hits:.0%}"
    one_table = len(owner.tables) == 1 and owner.kind is OwnerKind.REPOSITORY
    wanted = one_table and hits < LOW_HITS and RARE < ratio < OFTEN
    return PlacementStep(question, Reply.YES if wanted else Reply.NO, told)


def _shared(_: OwnerDescription, numbers: OwnerNumbers) -> PlacementStep:
    question = "is a copy read again before it is written (Redis)?"
    ratio = numbers.ratio
    if ratio is None:
        return PlacementStep(question, Reply.UNKNOWN, _few(numbers))
    return PlacementStep(question, Reply.YES if ratio < OFTEN else Reply.NO, _ratio(numbers, ratio))


def _database(_: OwnerDescription, numbers: OwnerNumbers) -> PlacementStep:
    question = "is the database itself to answer (a replica, else the primary)?"
    ratio = numbers.ratio
    if ratio is None:
        return PlacementStep(question, Reply.UNKNOWN, _few(numbers))
    return PlacementStep(question, Reply.YES, _ratio(numbers, ratio))


def _few(numbers: OwnerNumbers) -> str:
    total = numbers.total
    return "reads are not known" if total is None else f"{total:,.0f} reads are too few to say"


def _ratio(numbers: OwnerNumbers, ratio: float) -> str:
    source = "" if numbers.reads is not None else ", by the tables' own counts"
    reads = f"{numbers.total or 0:,.0f} reads{source}"
    return f"{numbers.writes:,} rows written to {reads}: {ratio:.3f} for each"


def _beside(owner: OwnerDescription, numbers: OwnerNumbers) -> Sequence[str]:
    told = []
    hits, ratio = numbers.hits, numbers.ratio
    if numbers.load is not None and numbers.load >= SLOW:
        told.append(
            f"a statement takes {numbers.load * 1000:.0f} ms on average: look at its plan and "
            "indexes first"
        )
    if numbers.serial:
        told.append(
            f"{numbers.serial:,.0f} requests read one after another: get_many(), or load=[...]"
        )
    cached = Tier.REDIS in owner.tiers or Tier.L1 in owner.tiers
    if hits is not None and hits < LOW_HITS and cached:
        if ratio is not None and ratio > RARE and owner.pattern == "cache-aside":
            why = "writes end what is cached: WriteThrough(...) stores what was written"
        else:
            why = "a longer ttl, more room in Redis, or keys that are asked for twice"
        told.append(f"caches answer {hits:.0%} of its reads: {why}")
    return told


def _is_local(owner: OwnerDescription) -> bool:
    return Tier.L1 in owner.tiers


def _is_shared(owner: OwnerDescription) -> bool:
    return Tier.REDIS in owner.tiers


def _is_uncached(owner: OwnerDescription) -> bool:
    return not (_is_local(owner) or _is_shared(owner))


def _is_for_writing(owner: OwnerDescription) -> bool:
    return owner.kind is OwnerKind.WRITE_BEHIND or owner.pattern.startswith(("write-a", "uncached"))


QUESTIONS: tuple[
    tuple[
        Callable[[OwnerDescription, OwnerNumbers], PlacementStep],
        str,
        Callable[[OwnerDescription], bool],
    ],
    ...,
] = (
    (
        _static,
        "the program: make it at build time, or LocalOnly(ttl=3600) in each process",
        lambda owner: owner.pattern == "local only",
    ),
    (_outside, "the browser, or a CDN", lambda _: False),
    (
        _written,
        "the primary: WriteAround(...) for logs, WriteBehind for counters, else Uncached()",
        _is_for_writing,
    ),
    (_local, "L1 over Redis: CacheAside(ttl=300, local_ttl=10)", _is_local),
    (
        _stored,
        "Redis, stored by commits: WriteThrough(ttl=300)",
        lambda owner: "write-through" in owner.pattern,
    ),
    (_shared, "Redis: SharedOnly(ttl=300), or CacheAside(local_ttl=0)", _is_shared),
    (_database, "a replica: Uncached(), which coalesces reads still", _is_uncached),
)
"""What is asked, what to declare if the answer is yes, and whether that is declared."""
