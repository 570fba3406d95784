"""Events of reads: where they were answered, and what of a cache was not taken."""

from __future__ import annotations

from repocache.events.event import Event


class Served(Event, frozen=True):
    """A read was answered. `tier`: "l1", "l2", "database", or "aside" for what a `Freshness` keeps
    for when the database is away; `node`: the node's name for the database, else empty; `why`: the
    reason for the tier or node; `count`: keys answered together, 1 for a select.

    `seconds`: that the database took, with the wait for a connection; `rows`: of a select, None:
    it was by ids. `key`, and `size` in bytes: of a value that Redis gave."""

    owner: str
    tier: str
    node: str
    why: str
    count: int = 1
    seconds: float = 0.0
    key: str = ""
    size: int = 0
    rows: int | None = None


class HitSampled(Event, frozen=True):
    """One hit in L1, drawn at random, that stands for `hits` of this owner. `age`: seconds that the
    entry has been there."""

    owner: str
    key: str
    hits: int
    age: float


class Filled(Event, frozen=True):
    """A value was offered to L2. `landed`: False if the lease had been voided, which is the fence
    at work, or if nothing was `kept`: no value, but that there is none or a larger one than may be.
    `size`: bytes of the value, 0: the one that lies there was kept for longer."""

    key: str
    landed: bool
    owner: str = ""
    size: int = 0
    kept: bool = True


class Routed(Event, frozen=True):
    """A statement went to a node. `why` is one of the reasons of `routing.routing`."""

    node: str
    why: str


class SerialReads(Event, frozen=True):
    """A session has read so many rows of an owner one after another, each by a call that waited for
    a server, where `get_many` or `load=` would bring them together. `place`: the caller's code, as
    "orders.py:42 in total". Told once for each session and owner."""

    owner: str
    count: int
    place: str


class ValueBig(Event, frozen=True):
    """A value far beyond its owner's usual size is stored in Redis; both in bytes. Told once a
    minute for each owner."""

    owner: str
    key: str
    size: int
    usual: int


class BookmarkRefused(Event, frozen=True):
    """A bookmark from outside was not taken: the session begins without one."""

    why: str


class CacheFailed(Event, frozen=True):
    """A cache call failed and the read went on without it. `what`: the call; `why`: the error."""

    what: str
    why: str


class ValueRefused(Event, frozen=True):
    """A value in Redis was corrupt, foreign or oversized: treated as a miss."""

    key: str
    why: str


class CachedEntityChanged(Event, frozen=True):
    """An attribute of an entity that came from a cache was changed (`Misuse.TELL`): no row is.
    `id`: as `repr` shows it; `attribute`: empty for the entity as a whole."""

    owner: str
    id: str
    attribute: str


class Switched(Event, frozen=True):
    """An owner's cache answers in another mode from now on, in this process. `by`: who switched all
    processes; empty: this one alone was, or has its own mode again. `until`: when that ends, Unix
    time in seconds."""

    owner: str
    mode: str
    by: str = ""
    until: float | None = None


class Shadowed(Event, frozen=True):
    """In shadow mode the cache had another row than the database answered. `verdict`: "late": the
    cached one was gone or replaced in time; "wrong": it was older than the primary's and stayed;
    "right", "moved": it was as good."""

    owner: str
    id: str
    verdict: str


class Verified(Event, frozen=True):
    """Cached values were compared with the primary. `wrong`: had not been invalidated `within`
    seconds."""

    judged: int
    late: int
    wrong: int
    within: float
