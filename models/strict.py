"""Explicit-state check of strict write-through: one row, its primary and a replica, one Redis,
writers that die, two readers of one process.

    python3 strict.py [RULE]...       check with these rules switched off (none: the whole protocol)

A reader never gets a value older than what the primary showed when his read began, which COMMIT has
returned of at the latest then; and a stored value is never older than an invalidation that took a
value away. Time is not modelled: any write lease may be past its deadline at any moment, and those
that were taken before it too.

BOUNDS="writers declarers reads events" (default "2 0 2 1"): a declarer commits without having
changed the row that it names (rule `locked` needs one: "1 1 1 0"). EVENTS, each of which costs one
of the bound (default: all but flush and restore):
die       a writer dies: between lease and COMMIT, or between COMMIT and put; its lease stays
away      Redis does not answer a writer's lease, whether it took it or not
sweep     a bulk change of other rows moves the owner's generation
renew     somebody's COMMIT with an unknown outcome makes the record anew
relay     a commit's invalidation is delivered by the outbox's relay, once more or in place of its
          writer
flush     Redis loses all it knew. Then readers are promised less: nothing older than what was
          *published* there
restore   Redis restarts from an older snapshot: a lease comes back, or is lost; promised as with
          flush
"""

import os
import sys
from typing import NamedTuple

from search import rules_off, search

RULES = {
    "before": "the write lease is there before COMMIT, or the old value is a hit after it",
    "refused": (
        "without a lease there is no COMMIT, or Redis away for the writer is still there for "
        "readers"
    ),
    "write lease": (
        "readers look for write leases, or one fills the old row between lease and COMMIT"
    ),
    "read leases": (
        "a write lease takes values and read leases away, or what it hid is back once it is taken"
        " over"
    ),
    "side by side": (
        "writers' leases stand beside each other, or the first to publish ends the second's"
    ),
    "others": "an invalidation takes none but its own write lease",
    "outside": (
        "a write lease lies outside of incarnation and generation, or a bulk change hides it"
    ),
    "own lease": "a put lands only if its own write lease is there, and alone",
    "order": "a put lands only if the position noted under the lock is at least the floor",
    "in progress": "a lease is taken over only if its transaction has ended",
    "visible": (
        "a transaction that others do not see yet has not ended, though its commit record is "
        "written"
    ),
    "asked first": "whether it has ended is asked before the row is read",
    "clock": (
        "deadlines follow the order of the leases (Redis's clock), or the last is taken over and "
        "not the first"
    ),
    "primary": "fills read the primary: who dies after COMMIT has published no floor",
    "locked": (
        "a put holds a row that its transaction has locked; one that is locked by another is "
        "skipped"
    ),
    "by script": "a value is read by the script, never by a name that an older generation gave it",
    "sent": "nobody joins a load that has asked before he came",
    "kept": (
        "Redis forgets no lease (it evicts nothing): an assumption, off: with EVENTS=flush the "
        "promise breaks"
    ),
}
OFF = rules_off(RULES, sys.argv[1:])
EVENTS = set(os.environ.get("EVENTS", "die away sweep renew relay").split()) | (
    {"flush"} if "kept" in OFF else set()
)
WRITERS, DECLARERS, READS, MOST = map(int, os.environ.get("BOUNDS", "2 0 2 1").split())
FORGETS = bool(EVENTS & {"flush", "restore"}) and "kept" not in OFF


class Writer(NamedTuple):
    """A transaction. stage: idle looked locked leased record visible gone. `own`: it changes the
    row, or only says so. `put`: what it would store, `seen`: the name under which. `version`: that
    it has committed. `left`: the relay has its row."""

    own: bool
    stage: str = "idle"
    put: object = None
    order: int = 0
    seen: int = 0
    version: int = 0
    left: bool = False


class Reader(NamedTuple):
    """stage: open ask read fill. `over`: write leases asked about, then those that are over.
    `name`: where his read lease is, None: he fills nothing."""

    stage: str
    began: int
    value: object = None
    over: tuple = ()
    again: bool = False
    name: object = None


class S(NamedTuple):
    lsn: int = 0  # the primary's WAL: how many commit records of the row
    vis: int = 0  # what a snapshot of the primary sees
    rep: int = 0  # what the replica has replayed
    lock: object = None  # the writer who holds the row
    name: int = 0  # incarnation and generation: each change of either gives another
    floor: object = 0  # None: unknown
    high: int = 0
    cells: tuple = ((0, 0),)  # what lies under a name: a value, or ('L', reader)
    # Write leases, the oldest first: (writer, name that it lies under, if not outside).
    leases: tuple = ()
    inv: int = 0  # newest version whose invalidation Redis has applied
    snap: object = None
    writers: tuple = (*(Writer(True),) * WRITERS, *(Writer(False),) * DECLARERS)
    readers: tuple = (None, None)
    believed: int = 0  # the name that the readers' process learned last
    reads: int = READS
    events: int = MOST
    wrong: str = ""


def put(t, i, v):
    return t[:i] + (v,) + t[i + 1 :]


def cell(s, name=None):
    return dict(s.cells).get(s.name if name is None else name)


def store(s, v):
    old = tuple(c for c in s.cells if c[0] != s.name) if "by script" in OFF else ()
    return s._replace(cells=old if v is None else (*old, (s.name, v)))


def renamed(s, **more):
    """What lies under the old name is out of reach, but for who still calls it so."""
    return s._replace(name=s.name + 1, cells=s.cells if "by script" in OFF else (), **more)


def held(s):
    """The write leases that a script sees."""
    return [w for w, name in s.leases if "outside" not in OFF or name == s.name]


def ended(s, w):
    gone = ("visible", "gone")
    return s.writers[w].stage in (("record", *gone) if "visible" in OFF else gone)


def intend(s, w):
    """The INTEND script."""
    s = s._replace(leases=()) if "side by side" in OFF else give_back(s, w)
    s = s._replace(leases=(*s.leases, (w, s.name)))
    return s if "read leases" in OFF else store(s, None)


def give_back(s, w):
    return s._replace(
        leases=tuple(each for each in s.leases if each[0] != w and "side by side" not in OFF)
    )


def published(s, w, writer, nonce):
    """The INVALIDATE script; `nonce`: with the writer's own put and lease, which a relay has not.
    The least position that it may have is the worst: that of the newest commit that its own or the
    relay's poll has to cover."""
    leases = held(s)
    lands = nonce and writer.put is not None and writer.seen == s.name and s.floor is not None
    lands = lands and ("order" in OFF or writer.order >= s.floor)
    lands = lands and ("own lease" in OFF or leases == [w])
    if s.floor is None:
        s = s._replace(high=max(s.high, writer.version))
    else:
        s = s._replace(floor=max(s.floor, writer.version))
    s = store(s, writer.put if lands else None)
    if "others" in OFF:
        s = s._replace(leases=())
    elif nonce:
        s = give_back(s, w)
    return ("put" if lands else "invalidate"), s._replace(inv=max(s.inv, writer.version))


def writes(s, w):
    """What writer w may do next."""
    x = s.writers[w]
    less = s._replace(events=s.events - 1)

    def to(s, **what):
        return s._replace(writers=put(s.writers, w, x._replace(**what)))

    def unlocked(s):
        return s._replace(lock=None) if s.lock == w else s

    def gone(s, version=0, left=False):
        left = left and "relay" in EVENTS
        return s._replace(
            writers=put(
                s.writers, w, Writer(x.own, "gone", version=version if left else 0, left=left)
            )
        )

    if x.stage == "idle":
        if x.own:
            if s.lock is None:
                yield "locks", to(s._replace(lock=w), stage="locked", put=s.vis + 1, order=s.lsn)
        elif s.lock is None and "locked" not in OFF:
            yield "looks", to(s._replace(lock=w), stage="looked", put=s.vis)
        else:
            yield "looks-past", to(s, stage="looked", put=s.vis if "locked" in OFF else None)
    elif x.stage == "looked":
        yield "order", to(s, stage="locked", order=s.lsn)
    elif x.stage == "locked":
        if "before" in OFF:
            yield "no-lease-yet", to(s, stage="leased", seen=s.name)
        else:
            yield "leases", to(intend(s, w), stage="leased", seen=s.name)
        if "away" in EVENTS and s.events:
            for t, how in ((less, "lease-unsent"), (intend(less, w), "lease-unanswered")):
                if "refused" in OFF:
                    yield how, to(t, stage="leased", seen=s.name)
                else:
                    yield f"{how}-rolls-back", gone(unlocked(t))
                    yield f"{how}-rolls-back-gives-back", gone(unlocked(give_back(t, w)))
    elif x.stage == "leased":
        if x.own:
            yield "commit-record", to(s._replace(lsn=s.lsn + 1), stage="record", version=s.lsn + 1)
        else:
            yield "commits", to(unlocked(s), stage="visible")
        if "die" in EVENTS and s.events:
            yield "dies", gone(unlocked(less))
    elif x.stage == "record":
        yield (
            "visible",
            to(unlocked(s._replace(vis=s.lsn)), stage="visible", left="relay" in EVENTS),
        )
    elif x.stage == "visible":
        how, t = published(intend(s, w) if "before" in OFF else s, w, x, True)
        yield how, gone(t, x.version, x.left)
        if "die" in EVENTS and s.events:
            yield "dies-committed", gone(less, x.version, x.left)
    if x.left and s.events:
        yield "relayed", to(published(less, w, x, False)[1], left=False)


def got(s, p, value, reader=None):
    """Reader p has his answer, and goes on as `reader`."""
    r = s.readers[p]
    wrong = ""
    if value < r.began:
        wrong = (
            f"reader {p} got version {value}, and {r.began} was there for all to see when he began"
        )
    return s._replace(readers=put(s.readers, p, reader), wrong=s.wrong or wrong)


def opened(s, p, r):
    """The OPEN script, and where its answer leads."""

    def to(s, **what):
        return s._replace(readers=put(s.readers, p, r._replace(**what)))

    if "by script" in OFF and isinstance(cell(s, s.believed), int):
        yield "hit-by-name", got(s, p, cell(s, s.believed))
        return
    s = s._replace(leases=tuple(each for each in s.leases if each[0] not in r.over))
    s = s._replace(believed=s.name) if "by script" in OFF else s
    leases, now = held(s), cell(s)
    value = r.value if "asked first" in OFF and r.again else None
    if leases and "write lease" not in OFF:
        yield "written", to(s, stage="read", over=())
        for n in range(0 if r.again else len(leases)):
            yield f"overdue-{leases[: n + 1]}", to(s, stage="ask", over=tuple(leases[: n + 1]))
            if "clock" in OFF and n:
                yield f"overdue-{leases[n:]}", to(s, stage="ask", over=tuple(leases[n:]))
    elif isinstance(now, int):
        yield "hit", got(s, p, now)
    else:
        if now is not None:
            yield "waits-in-vain", to(s, stage="read", over=())
        yield "read-lease", to(store(s, ("L", p)), stage="read", value=value, name=s.name, over=())


def reads(s, p):
    """What reader p may do next."""
    r = s.readers[p]

    def to(s, **what):
        return s._replace(readers=put(s.readers, p, r._replace(**what)))

    if r is None:
        other = s.readers[1 - p]
        if s.reads and (p == 0 or other):
            began = s.inv if FORGETS else s.vis
            t = s._replace(reads=s.reads - 1, readers=put(s.readers, p, Reader("open", began)))
            yield "begins", t
            if "sent" in OFF and other and other.stage == "fill":
                yield "joins", got(t, p, other.value)
    elif r.stage == "open":
        yield from opened(s, p, r)
    elif r.stage == "ask":
        if "asked first" in OFF and r.value is None:
            yield "reads-before-asking", to(s, value=s.vis)
            return
        over = tuple(w for w in r.over if "in progress" in OFF or ended(s, w))
        if over:
            yield f"over-{list(over)}", to(s, stage="open", over=over, again=True)
        else:
            yield "in-progress", to(s, stage="read", over=(), value=None)
    elif r.stage == "read":
        for how, value in (("primary", s.vis if r.value is None else r.value), ("replica", s.rep)):
            if how == "replica" and (
                "primary" not in OFF or r.name is None or s.floor is None or s.rep < s.floor
            ):
                continue
            yield (
                how,
                got(s, p, value, None if r.name is None else Reader("fill", 0, value, name=r.name)),
            )
    else:
        lands = r.name == s.name and cell(s) == ("L", p)
        t = store(s, r.value) if lands else s
        yield "fill" if lands else "fill-refused", t._replace(readers=put(s.readers, p, None))


def steps(s):
    for w in range(len(s.writers)):
        for name, t in writes(s, w):
            yield f"w{w}.{name}", t
    for p in (0, 1):
        for name, t in reads(s, p):
            yield f"r{p}.{name}", t
    if s.rep < s.lsn and "primary" in OFF:
        yield "replay", s._replace(rep=s.rep + 1)
    if s.floor is None:
        yield "settle", s._replace(floor=max(s.high, s.lsn), high=0)
    if s.events:
        less = s._replace(events=s.events - 1)
        known = s.floor is not None
        if "sweep" in EVENTS:
            floor, high = (max(s.floor, s.lsn), 0) if known else (None, max(s.high, s.lsn))
            yield "sweep", renamed(less, floor=floor, high=high)
        if "renew" in EVENTS:
            yield "renew", renamed(less, floor=None, high=s.floor if known else s.high)
        if "flush" in EVENTS:
            yield "flush", renamed(less, floor=None, high=0, leases=())
        if "restore" in EVENTS and s.snap is None:
            yield "snapshot", less._replace(snap=s.leases)
        elif "restore" in EVENTS:
            yield "restore", renamed(less, floor=None, high=0, leases=s.snap, snap=None)


def bad(s):
    now = cell(s)
    if isinstance(now, int) and now < s.inv:
        return f"Redis holds version {now} after the invalidation of {s.inv}"
    return s.wrong


if __name__ == "__main__":
    sys.exit(search(S(), steps, bad, OFF))
