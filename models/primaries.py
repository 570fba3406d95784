"""Explicit-state check of two primaries: one was promoted, with a newer timeline and perhaps
without the last commit, and the old one lives on, with processes linked to it.

    python3 primaries.py [RULE]...    check with these rules switched off (none: the whole protocol)

A session gets nothing older than what it wrote on the new line, in whichever process: a read that
finds no node raises. Nor is a write lost that was committed in a process which knew the new
primary. A record of the new line holds no row that is not of it. Who derives something from a feed
ends, once his process is at the new primary, with what that has. STRICT=1: a reader of a strict
owner gets nothing older than what was committed on the new line when he began.

Versions are numbers of commits, wherever they took place; replicas are sessions.py's. A process may
find the new primary at any moment, and moves there. Messages arrive at once (delays are
fence.py's). BOUNDS="writes reads" (default "2 2"). Rule `asked`: a read may wait before it is sent,
its bookmark may end, and another session with a bookmark of the same position may join.
"""

import os
import sys
from typing import NamedTuple

from search import rules_off, search

RULES = {
    "newer timeline": "a bookmark of a newer timeline is satisfied by no node of an older one",
    "strict too": "nor is a strict owner's read whose record is of a newer one",
    "not back": "a process of an older timeline never makes a record of a newer one anew",
    "newer counts": "of two bookmarks that of the newer timeline counts, whichever came first",
    "feed history": "its process's own change of history tells a feed to begin anew",
    "asked": "whether its bookmark has ended is asked once, when a read begins",
    "sealed history": "a put lands only if order, what was seen, and position are of one line",
    "known no more": "on a server that is known to be the primary no more nothing is committed",
}
OFF = rules_off(RULES, sys.argv[1:])
STRICT = os.environ.get("STRICT") == "1"
LEFT = tuple(map(int, os.environ.get("BOUNDS", "2 2").split()))
OLD, NEW = 0, 1


class Record(NamedTuple):
    """What Redis has of the bucket. `line`: its history's. `floor`: None: unknown. `cell`: a
    version, or ('L', process)."""

    line: int = OLD
    inc: int = 0
    floor: object = 0
    cell: object = None


class Write(NamedTuple):
    """The session's transaction: in which process, on which server. stage: begun committed.
    `order`: the position under the lock, `seen`: (line, incarnation) as believed then."""

    process: int
    server: int
    order: int
    seen: tuple
    stage: str = "begun"
    version: int = 0


class Read(NamedTuple):
    """`asks`: line of the bookmark with which it was begun. `must`: what those who wait must get,
    the first of whom began it. stage: waits, or fill."""

    process: int
    asks: object
    must: tuple
    over: bool = False  # the bookmark has ended since
    stage: str = "waits"
    value: int = 0


class S(NamedTuple):
    logs: tuple = ((), None)  # by server
    count: int = 0
    links: tuple = (OLD, OLD)  # of processes
    record: Record = Record()
    incs: int = 1
    views: tuple = ((OLD, 0), (OLD, 0))
    write: object = None
    mark: object = None  # line of the session's bookmark: the newest position there
    must: int = 0  # the session's newest version that must not be missed
    read: object = None
    derived: int = 0  # by who listens to the feed of process 0
    told: bool = False
    feed: int = OLD  # the line of the last message that the feed heard
    left: tuple = LEFT
    wrong: str = ""


def put(t, i, v):
    return t[:i] + (v,) + t[i + 1 :]


def shows(s, server):
    return s.logs[server][-1] if s.logs[server] else 0


def heard(s, line, of_the_row=True):
    """Everybody hears of a record, and the feed of rows that changed, or that anything may have."""
    views = ((line, s.record.inc),) * 2 if of_the_row else s.views
    return s._replace(views=views, feed=line, told=s.told or of_the_row or line != s.feed)


def met(s, p):
    """The state after process p has met the record, and whether it may use it: one of an older
    line is made anew."""
    mine, theirs = s.links[p], s.record.line
    if mine == theirs:
        return s, True
    if mine < theirs and "not back" not in OFF:
        return s, False
    anew = s._replace(record=Record(mine, s.incs, None), incs=s.incs + 1)
    # A record made anew begins at 0, which is no gap: the feed is told by the change of line alone.
    views = ((mine, anew.record.inc),) * 2
    return anew._replace(views=views, feed=mine, told=s.told or mine != s.feed), True


def writes(s):
    x = s.write
    if x is None:
        for p in (0, 1) if s.left[0] and s.read is None else ():
            server = s.links[p]
            t, usable = met(s, p) if STRICT else (s, True)
            if usable:
                t = t._replace(left=put(s.left, 0, s.left[0] - 1))
                w = Write(p, server, len(s.logs[server]), t.views[p])
                yield f"begins-in-{p}", t._replace(write=w)
        return
    if x.stage == "begun":
        if x.server != s.links[x.process] and "known no more" not in OFF:
            yield "rolls-back", s._replace(write=None)
        else:
            n = s.count + 1
            t = s._replace(logs=put(s.logs, x.server, (*s.logs[x.server], n)), count=n)
            counts = x.server == NEW or s.links[x.process] == NEW
            t = t._replace(must=n if counts else s.must)
            yield f"commits-{n}", t._replace(write=x._replace(stage="committed", version=n))
    else:
        yield "publishes", published(s, x)


def published(s, x):
    """INVALIDATE, with a position of where the process is linked now."""
    line = s.links[x.process]
    t, usable = met(s, x.process)
    if usable:
        floor, position = t.record.floor, len(s.logs[line])
        lands = x.seen[1] == t.record.inc and floor is not None and x.order >= floor
        lands = lands and not STRICT
        if "sealed history" not in OFF:
            lands = lands and x.seen[0] == x.server == line
        floor = None if floor is None else max(floor, position)
        t = t._replace(record=t.record._replace(cell=x.version if lands else None, floor=floor))
        t = heard(t, line)
    newer = s.mark is None or line > s.mark or "newer counts" in OFF
    return t._replace(write=None, mark=line if newer else s.mark)


def judged(s, value, must, over=False):
    """`over`: this reader is promised nothing any more."""
    new = s.logs[NEW] or ()
    lost = not over and (must > value or (must in new and value not in new))
    why = f"a reader got version {value}, and had to get {must}"
    return s._replace(wrong=s.wrong or (why if lost else ""))


def reads(s):
    r = s.read
    if r is None:
        for p in (0, 1) if s.left[1] and s.write is None else ():
            # Until somebody writes on the new line, a commit that it lost may still be shown.
            since = max(set(s.logs[NEW] or ()) - set(s.logs[OLD]), default=0)
            must = since if STRICT else s.must
            t = s._replace(left=put(s.left, 1, s.left[1] - 1))
            yield f"begins-in-{p}", t._replace(read=Read(p, None if STRICT else s.mark, (must,)))
        return
    if r.stage == "fill":
        lands = s.record.cell == ("L", r.process)
        t = s._replace(record=s.record._replace(cell=r.value)) if lands else s
        yield "fills", t._replace(read=None)
        return
    if s.left[1] and r.asks is not None and len(r.must) == 1 and not STRICT:
        joined = r._replace(must=(*r.must, s.must))
        yield "another-joins", s._replace(read=joined, left=put(s.left, 1, s.left[1] - 1))
    if not r.over and r.asks is not None and not STRICT:
        yield "its-bookmark-ends", s._replace(read=r._replace(over=True))
    yield from sent(s, r)


def sent(s, r):
    """A read that waits no more: from Redis, or the primary that its process is linked to."""
    link = s.links[r.process]
    asks = None if r.over and "asked" in OFF else r.asks
    if asks is not None and asks > link and "newer timeline" not in OFF:
        yield "raises", s._replace(read=None)
        return
    t, usable = met(s, r.process)
    if STRICT and not usable and "strict too" not in OFF:
        yield "raises", s._replace(read=None)
        return

    def got(t, value):
        for n, must in enumerate(r.must):
            t = judged(t, value, must, r.over and n == 0)
        return t._replace(read=None)

    cell = t.record.cell
    if usable and asks is None and not STRICT and isinstance(cell, int):
        yield "hit", got(t, cell)
    elif usable and asks is None and cell is None:
        t = t._replace(record=t.record._replace(cell=("L", r.process)))
        value = shows(s, link)
        yield "leased", got(t, value)._replace(read=Read(r.process, None, (), False, "fill", value))
    else:
        yield "past-the-cache", got(t, shows(s, link))


def steps(s):
    for name, t in writes(s):
        yield f"w.{name}", t
    for name, t in reads(s):
        yield f"r.{name}", t
    old, new = s.logs
    if new is None:
        for n in range(max(0, len(old) - 1), len(old) + 1):
            yield f"promoted-with-{n}-of-{len(old)}", s._replace(logs=(old, old[:n]))
        if s.told:
            yield "derived", s._replace(told=False, derived=shows(s, OLD))
        return
    if s.must in old and s.must not in new and s.links == (OLD, OLD):
        s = s._replace(must=0)
    for p in (0, 1):
        if s.links[p] == OLD:
            told = s.told or (p == 0 and "feed history" not in OFF)
            yield f"p{p}-finds-the-new-primary", s._replace(links=put(s.links, p, NEW), told=told)
    if s.record.floor is None:
        yield "settled", s._replace(record=s.record._replace(floor=len(s.logs[s.record.line])))
    if s.feed == OLD and NEW in s.links:
        yield "another-row's-record-is-made-anew", heard(s, NEW, of_the_row=False)
    if s.told:
        yield "derived", s._replace(told=False, derived=shows(s, s.links[0]))


def bad(s):
    new = s.logs[NEW]
    if new is None or s.wrong:
        return s.wrong
    cell = s.record.cell
    if s.record.line == NEW and isinstance(cell, int) and cell and cell not in new:
        return f"a record of the new line holds version {cell}, which is none of its"
    quiet = s.links[0] == NEW and s.feed == NEW and not s.told
    if quiet and s.derived not in (*new, 0):
        return f"version {s.derived} was derived, which is lost, and nothing is told any more"
    return ""


if __name__ == "__main__":
    sys.exit(search(S(), steps, bad, OFF))
