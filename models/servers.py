"""Explicit-state check of what a failover of Redis leaves behind: two servers, A and B, one of them
the master; two processes, each linked to one of them; a session that carries its bookmark from
process to process and writes keys of one bucket.

    python3 servers.py [RULE]...     check with these rules switched off (none: the whole protocol)

The session (reader 1) gets nothing older than what it wrote. A reader without one (reader 0) gets
nothing older than what was invalidated at the server that answers him, or anywhere before that
server was last promoted, and once a pulse has passed nothing older than what had been invalidated
at the master. Each server has a record of the bucket, and what lies under it; the other's copy of
these may be old. A failover promotes the other server with the copy that it has; the old one goes
on serving who is linked to it, until the pulse, or until it is told: then it takes the new master's
data over and cuts its links. Messages arrive at once and fills read the primary; delays and
replicas are fence.py's.

BOUNDS="writes reads-of-0 reads-of-1 failovers copies" (default "2 1 1 1 1"), KEYS (default 1).
`replication id` needs two failovers (BOUNDS="1 2 0 2 1"), `two masters` two keys (BOUNDS="2 0 2 1
0" KEYS=2).
"""

import os
import sys
from typing import NamedTuple

from search import rules_off, search

RULES = {
    "server": (
        "a record made by another server counts as missing, or an old copy's values and leases "
        "count"
    ),
    "replication id": (
        "a server that was a replica meanwhile is another, or the copy it has come back with counts"
    ),
    "pulse": "a process leaves a server that is no master within a pulse, though it answers",
    "own record": "a session takes values only from a record that knows of its write",
    "two masters": (
        "nor any of a bucket that it wrote under two records: one may not know the other"
    ),
    "many": "nor any at all, once it has written in more buckets than its bookmark tells of",
}
OFF = rules_off(RULES, sys.argv[1:])
WRITES, *READS, FAILOVERS, COPIES = map(int, os.environ.get("BOUNDS", "2 1 1 1 1").split())
KEYS = range(int(os.environ.get("KEYS", "1")))
# What a bookmark says in place of a record's state.
NEVER, MANY = (
    "under two records",
    "in many buckets",
)
NOTHING = (0,) * len(KEYS)


class Data(NamedTuple):
    """What a server holds: its record (who made it, incarnation, seq) and what lies under keys."""

    record: object = None
    cells: tuple = ()  # ((incarnation, key), version or ('L', reader)), sorted


class Reader(NamedTuple):
    """stage: ask read fill. `needs`: he may get nothing older, by the server that answers. `lease`:
    incarnation under which his read lease is, None: he fills nothing."""

    process: int
    key: int
    needs: tuple
    stage: str = "ask"
    value: int = 0
    lease: object = None


class S(NamedTuple):
    log: tuple = ()  # the primary's commits: which key; a version is a place in it
    pending: object = None  # the session's commit that is not published yet
    data: tuple = (Data(), Data())
    lives: tuple = (0, 0)  # how often each server was promoted
    master: int = 0
    deposed: bool = False  # the other one does not know that it is no master
    # By server and key: what was invalidated there, or before it was promoted.
    known: tuple = (
        NOTHING,
        NOTHING,
    )
    must: tuple = NOTHING  # by key, what had been invalidated at the master at the last pulse
    incs: int = 0
    links: tuple = (0, 0)
    views: tuple = (None, None)  # by process: incarnation and seq
    l1: tuple = ((None,) * len(KEYS),) * 2
    mark: object = None  # the session's bookmark of the bucket: incarnation and seq
    readers: tuple = (None, None)
    left: tuple = (WRITES, *READS, FAILOVERS, COPIES)
    wrong: str = ""


def put(t, i, v):
    return t[:i] + (v,) + t[i + 1 :]


def less(s, i):
    return s._replace(left=put(s.left, i, s.left[i] - 1))


def identity(s, x):
    return x if "replication id" in OFF else (x, s.lives[x])


def record(s, x):
    """The record, if it counts."""
    made = s.data[x].record
    return made if made is not None and ("server" in OFF or made[0] == identity(s, x)) else None


def made(s, x):
    """The state with a record for sure; a new one is announced to who is linked."""
    if record(s, x) is not None:
        return s
    inc = s.incs
    s = s._replace(
        incs=inc + 1, data=put(s.data, x, s.data[x]._replace(record=(identity(s, x), inc, 0)))
    )
    return heard(s, x, inc, 0, None)


def heard(s, x, inc, seq, key):
    """The processes that are linked to a server hear of its record; `key`: of its invalidation,
    None: of another."""
    for p in (0, 1):
        if s.links[p] == x:
            anew = s.views[p] is None or s.views[p][0] != inc or key is None
            l1 = (None,) * len(KEYS) if anew else put(s.l1[p], key, None)
            s = s._replace(views=put(s.views, p, (inc, seq)), l1=put(s.l1, p, l1))
    return s


def store(s, x, name, v):
    cells = dict(s.data[x].cells)
    cells.pop(name, None)
    if v is not None:
        cells[name] = v
    return s._replace(
        data=put(
            s.data, x, s.data[x]._replace(cells=tuple(sorted(cells.items(), key=lambda c: c[0])))
        )
    )


def linked(s, p):
    """A process goes to the master: it believes nothing any more."""
    return s._replace(
        links=put(s.links, p, s.master),
        views=put(s.views, p, None),
        l1=put(s.l1, p, (None,) * len(KEYS)),
    )


def merged(old, new):
    """bookmark.merge, of one bucket."""
    if old in (NEVER, MANY):
        return old
    if old is not None and old[0] != new[0] and "two masters" not in OFF:
        return NEVER
    return new


def knows(mark, state):
    """Bookmark.known_to. `state`: incarnation and seq of a view or an answer."""
    if mark == NEVER:
        return False
    if mark == MANY:
        return "many" in OFF
    return (
        mark is None
        or "own record" in OFF
        or (state is not None and mark[0] == state[0] and mark[1] <= state[1])
    )


def writes(s):
    """The session writes, in any process, and goes on when that is published."""
    if s.pending is None:
        for key in KEYS if s.left[0] else ():
            yield f"commit-{key}", less(s, 0)._replace(log=(*s.log, key), pending=key)
        if s.log and s.mark not in (None, MANY):
            yield "writes-in-many-buckets", s._replace(mark=MANY)
        return
    key = s.pending
    for p in (0, 1):
        x = s.links[p]
        t = made(s, x)
        by, inc, seq = record(t, x)
        t = t._replace(
            data=put(t.data, x, t.data[x]._replace(record=(by, inc, seq + 1))), pending=None
        )
        t = heard(store(t, x, (inc, key), None), x, inc, seq + 1, key)
        known = put(t.known, x, put(t.known[x], key, len(s.log)))
        yield f"published-by-{p}", t._replace(known=known, mark=merged(s.mark, (inc, seq + 1)))


def newest(s, key):
    return max((n for n, each in enumerate(s.log, 1) if each == key), default=0)


def got(s, i, value, reader=None):
    r, wrong = s.readers[i], ""
    need = r.needs[s.links[r.process]]
    if value < need:
        got = f"reader {i} got version {value} of key {r.key} in process {r.process}"
        wrong = f"{got}, and had to get {need}"
    return s._replace(readers=put(s.readers, i, reader), wrong=s.wrong or wrong)


def keep(s, r, value):
    return s._replace(l1=put(s.l1, r.process, put(s.l1[r.process], r.key, value)))


def begins(s, i, p, key):
    needs = tuple(newest(s, key) if i else max(s.known[x][key], s.must[key]) for x in (0, 1))
    t = less(s, 1 + i)._replace(readers=put(s.readers, i, Reader(p, key, needs)))
    near = s.l1[p][key]
    if near is not None and (i == 0 or (s.mark != MANY and knows(s.mark, s.views[p]))):
        return f"l1-hit-{key}-in-{p}", got(t, i, near)
    return f"begins-{key}-in-{p}", t


def reads(s, i):
    """What reader i may do next; the session reads when what it wrote is published."""
    r = s.readers[i]
    if r is None:
        if s.left[1 + i] and not (i and s.pending is not None):
            for p in (0, 1):
                for key in KEYS:
                    yield begins(s, i, p, key)
        return
    p, x = r.process, s.links[r.process]
    if r.stage == "ask":
        t = made(s, x)
        _, inc, seq = record(t, x)
        t = t._replace(views=put(t.views, p, (inc, seq)))
        now = dict(t.data[x].cells).get((inc, r.key))
        if isinstance(now, int) and (i == 0 or knows(s.mark, (inc, seq))):
            yield "l2-hit", got(keep(t, r, now), i, now)
        else:
            if now is not None:
                yield (
                    "past-the-cache",
                    t._replace(readers=put(t.readers, i, r._replace(stage="read"))),
                )
            if not isinstance(now, int):
                t = store(t, x, (inc, r.key), ("L", i))
                yield (
                    "lease",
                    t._replace(readers=put(t.readers, i, r._replace(stage="read", lease=inc))),
                )
    elif r.stage == "read":
        value = newest(s, r.key)
        yield (
            "primary",
            got(
                s,
                i,
                value,
                r._replace(needs=(), stage="fill", value=value) if r.lease is not None else None,
            ),
        )
    else:
        name, rec = (r.lease, r.key), record(s, x)
        lands = (
            rec is not None and rec[1] == name[0] and dict(s.data[x].cells).get(name) == ("L", i)
        )
        t = keep(store(s, x, name, r.value), r, r.value) if lands and s.views[p] is not None else s
        yield "fill" if lands else "fill-refused", t._replace(readers=put(s.readers, i, None))


def steps(s):
    for name, t in writes(s):
        yield f"s.{name}", t
    for i in (0, 1):
        for name, t in reads(s, i):
            yield f"r{i}.{name}", t
    other = 1 - s.master
    if s.left[3] and not s.deposed:
        everywhere = tuple(map(max, *s.known))
        yield (
            "failover",
            less(s, 3)._replace(
                master=other,
                deposed=True,
                lives=put(s.lives, other, s.lives[other] + 1),
                known=put(s.known, other, everywhere),
            ),
        )
    if s.left[4] and not s.deposed and s.data[other] != s.data[s.master]:
        yield "copy", less(s, 4)._replace(data=(s.data[s.master],) * 2)
    for p in (0, 1):
        if s.links[p] != s.master:
            yield f"p{p}-leaves", linked(s, p)
    if s.deposed:
        t = s
        for p in (0, 1):
            t = linked(t, p) if t.links[p] != t.master else t
        yield "old-master-is-told", t._replace(deposed=False, data=(s.data[s.master],) * 2)
        t = (s if "pulse" in OFF else t)._replace(must=s.known[s.master])
        if t != s:
            yield "pulse", t


def bad(s):
    return s.wrong


if __name__ == "__main__":
    sys.exit(search(S(), steps, bad, OFF))
