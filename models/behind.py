"""Explicit-state check of changes that are written behind: accepted into a stream in Redis, flushed
to the database exactly once, read with what is pending.

    python3 models/behind.py [RULE]...  check with these rules switched off (none: the protocol)

One stream, one row. A process hands changes over, one call at a time; its connection may be lost,
before Redis has the call or after, and it sends it again. Processes flush: each reads the stream,
writes the row and the stream's position, and takes the items out; it may die, or stand still,
between any two of these. Redis may lose the stream, all it has, or be replaced by a copy of before:
then ids come again. What it has lost that was not flushed is lost; all else that it has accepted is
in the row once, and a read shows it once. The lease is left out: it saves work, and nothing depends
on it.

BOUNDS="calls losses reads" (default "2 1 1"). FLUSHERS (default 2).
"""

import os
import sys
from typing import NamedTuple

from search import rules_off, search

RULES = {
    "position": "the position moves in the transaction that writes the row",
    "locked": "what is written already is looked at under a lock that ends with the COMMIT",
    "after": "items leave Redis once the COMMIT has been answered",
    "own items": "they are taken out of the stream that they were read of, and of no later one",
    "lives": "a position counts for the life of the stream that the item came in",
    "server": "another server's stream begins a new life",
    "gone": "so does one that is not there any more, though its state is",
    "mark": "a call that is sent again is told by its number",
    "same life": "and is not accepted in another life, where that says nothing",
    "stream first": "a reader asks for the stream, and then for the row",
    "one moment": "he reads the row and the position at one moment",
    "by position": "what the position covers is not pending",
}
OFF = rules_off(RULES, sys.argv[1:])
CALLS, LOSSES, READS = map(int, os.environ.get("BOUNDS", "2 1 1").split())
FLUSHERS = int(os.environ.get("FLUSHERS", "2"))


class Item(NamedTuple):
    id: int
    life: int
    change: int


class Redis(NamedTuple):
    """`last`: the id given last. `mark`: the number of the call that came last."""

    items: tuple = ()
    last: int = 0
    life: int = 0
    of: int = 0  # the server that the life was begun on
    mark: int = 0


class Call(NamedTuple):
    """`life`: that it may be in, None: any. `stage`: sent, answered, lost."""

    number: int
    stage: str
    life: object = None
    answer: str = ""


class Flush(NamedTuple):
    stage: str  # write, move, trim
    items: tuple
    seen: tuple = ()  # positions, where they are looked at too early


class Read(NamedTuple):
    stage: str  # stream, row, position
    had: tuple  # changes that had been accepted before
    items: tuple = ()
    row: tuple = ()
    positions: object = None


class S(NamedTuple):
    redis: Redis = Redis()
    copy: Redis = Redis()
    server: int = 1
    fresh: int = 1
    call: object = None
    known: int = 0  # the life that the process has heard of
    accepted: tuple = ()
    row: tuple = (0,) * CALLS
    positions: tuple = ()
    lost: tuple = ()
    flushers: tuple = (None,) * FLUSHERS
    read: object = None
    shown: str = ""
    left: tuple = (CALLS, LOSSES, READS)


def put(t, i, x):
    return (*t[:i], x, *t[i + 1 :])


def covers(positions, item):
    if "lives" in OFF:
        return any(item.id <= id for _, id in positions)
    return item.id <= dict(positions).get(item.life, 0)


def moved(positions, items):
    known = dict(positions)
    for item in items:
        known[item.life] = max(known.get(item.life, 0), item.id)
    return tuple(sorted(known.items()))


def accept(s, call):
    """What Redis makes of it."""
    r, fresh = s.redis, s.fresh
    life = r.life
    begins = not life
    begins |= r.of != s.server and "server" not in OFF
    begins |= not r.last and "gone" not in OFF
    if begins:
        life, fresh = fresh, fresh + 1
    if r.mark == call.number and "mark" not in OFF:
        return s, call._replace(stage="answered", answer="accepted")
    if call.life is not None and call.life != life and "same life" not in OFF:
        return s, call._replace(stage="answered", answer="unknown")
    item = Item(r.last + 1, life, call.number)
    r = r._replace(items=(*r.items, item), last=item.id, life=life, of=s.server, mark=call.number)
    s = s._replace(redis=r, fresh=fresh)
    return s, call._replace(stage="answered", answer="accepted", life=life)


def calls(s):
    call = s.call
    if call is None:
        if s.left[0]:
            number = CALLS - s.left[0] + 1
            left = put(s.left, 0, s.left[0] - 1)
            yield f"call {number}", s._replace(call=Call(number, "sent"), left=left)
    elif call.stage == "sent":
        n, after = accept(s, call)
        yield f"{call.number} arrives", n._replace(call=after)
        if call.life is None:
            again = call._replace(stage="lost", life=s.known)
            yield f"{call.number} is lost", s._replace(call=again)
            yield f"the answer to {call.number} is lost", n._replace(call=again)
    elif call.stage == "lost":
        yield f"{call.number} again", s._replace(call=call._replace(stage="sent"))
    elif call.answer == "accepted":
        known = call.life or s.known
        accepted = tuple(sorted({*s.accepted, call.number}))
        yield f"{call.number} is accepted", s._replace(call=None, known=known, accepted=accepted)
    else:
        yield f"nobody knows of {call.number}", s._replace(call=None)


def flushes(s):
    for at, flush in enumerate(s.flushers):
        if flush is None:
            if s.redis.items:
                begun = Flush("write", s.redis.items, s.positions)
                n = s if "after" not in OFF else taken_out(s, begun.items)
                yield f"f{at} reads", n._replace(flushers=put(s.flushers, at, begun))
            continue
        yield f"f{at} dies", s._replace(flushers=put(s.flushers, at, None))
        if flush.stage == "write":
            known = flush.seen if "locked" in OFF else s.positions
            row = list(s.row)
            for item in flush.items:
                if not covers(known, item):
                    row[item.change - 1] += 1
            n = s._replace(row=tuple(row))
            if "position" in OFF:
                n = n._replace(flushers=put(s.flushers, at, flush._replace(stage="move")))
            else:
                n = n._replace(positions=moved(s.positions, flush.items))
                n = n._replace(flushers=put(s.flushers, at, flush._replace(stage="trim")))
            yield f"f{at} writes", n
        elif flush.stage == "move":
            n = s._replace(positions=moved(s.positions, flush.items))
            n = n._replace(flushers=put(s.flushers, at, flush._replace(stage="trim")))
            yield f"f{at} moves the position", n
        else:
            n = taken_out(s, flush.items)._replace(flushers=put(s.flushers, at, None))
            yield f"f{at} takes out", n


def taken_out(s, items):
    last = items[-1]
    there = any(each[:2] == last[:2] for each in s.redis.items)
    if not there and "own items" not in OFF:
        return s
    left = tuple(each for each in s.redis.items if each.id > last.id)
    return s._replace(redis=s.redis._replace(items=left))


def losses(s):
    if s.copy != s.redis:
        yield "replicate", s._replace(copy=s.redis)
    if s.left[1]:
        left = put(s.left, 1, s.left[1] - 1)
        n = s._replace(server=s.server + 1, left=left)
        yield "flush all", without(n, Redis())
        yield "fail over", without(n, s.copy)
        gone = s.redis._replace(items=(), last=0)
        yield "the stream is evicted", without(s._replace(left=left), gone)


def without(s, redis):
    """What was there, is not there now, and was not flushed, is lost."""
    kept = {each.change for each in redis.items}
    lost = {each.change for each in s.redis.items if not s.row[each.change - 1]} - kept
    return s._replace(redis=redis, lost=tuple(sorted({*s.lost, *lost})))


def reads(s):
    read = s.read
    if read is None:
        if s.left[2]:
            first = "row" if "stream first" in OFF else "stream"
            left = put(s.left, 2, s.left[2] - 1)
            yield "read", s._replace(read=Read(first, s.accepted), left=left)
    elif read.stage == "stream":
        after = read._replace(stage="row", items=s.redis.items)
        yield "stream", shown(s, after) if "stream first" in OFF else s._replace(read=after)
    elif read.stage == "row":
        after = read._replace(row=s.row, positions=s.positions)
        if "one moment" in OFF:
            yield "row", s._replace(read=after._replace(stage="position"))
        elif "stream first" in OFF:
            yield "row", s._replace(read=after._replace(stage="stream"))
        else:
            yield "row", shown(s, after)
    else:
        yield "position", shown(s, read._replace(positions=s.positions))


def shown(s, read):
    found = list(read.row)
    for item in read.items:
        if "by position" in OFF or not covers(read.positions, item):
            found[item.change - 1] += 1
    why = ""
    for change, times in enumerate(found, 1):
        if times > 1:
            why = f"a read shows {change} {times} times"
        if not times and change in read.had and change not in s.lost:
            why = f"a read shows nothing of {change}, which had been accepted"
    return s._replace(read=None, shown=s.shown or why)


def steps(s):
    yield from calls(s)
    yield from flushes(s)
    yield from losses(s)
    yield from reads(s)


def bad(s):
    if s.shown:
        return s.shown
    twice = [change for change, times in enumerate(s.row, 1) if times > 1]
    if twice:
        return f"{twice[0]} is written twice"
    waits = any(not covers(s.positions, each) for each in s.redis.items)
    if s.call is None and not any(s.flushers) and not waits:
        for change in s.accepted:
            if not s.row[change - 1] and change not in s.lost:
                return f"{change} was accepted, and nobody will write it"
    return None


sys.exit(search(S(), steps, bad, OFF))
