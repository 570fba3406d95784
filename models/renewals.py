"""Explicit-state check of renewals: a row in Redis past its time is given while somebody reads it
anew, or asks whether it has changed, under a lease that is left beside it; and of what an
invalidation takes away and keeps aside.

    python3 renewals.py [RULE]...    check with these rules switched off (none: the whole protocol)

One key, one primary, one replica that lags, one Redis; a session that writes, and readers who fill
or renew. Redis must never hold a value older than the last invalidation that it has applied, and
the session must never be given, while the database is away, what was there before its own write.

BOUNDS="writes evictions reads" (default "2 1 3"). Commits are visible at once, positions are taken
after COMMIT, records are never lost: fence.py is of these.
"""

import os
import sys
from typing import NamedTuple

from search import rules_off, search

RULES = {
    "own lease": "a renewal lands only if its own lease is still beside the row",
    "nonce": "every lease has a name of its own",
    "taken along": "an invalidation takes the renewal's lease away with the row",
    "floor": "a renewal reads a node that has replayed the floor",
    "floor of the lease": "that of the moment at which it took its lease, not an older one",
    "in place": "what is not changed gets a longer life, and is not written once more",
    "not the writer": "who wrote in the bucket is given nothing that was taken away",
    "as long": "his bookmark lives as long as that is kept",
}
OFF = rules_off(RULES, sys.argv[1:])
WRITES, EVICTIONS, READS = map(int, os.environ.get("BOUNDS", "2 1 3").split())
READERS = (0, 1)
KEEP = "keep"


class Reader(NamedTuple):
    stage: str
    floor: int = 0
    beside: bool = False
    nonce: int = 0
    brings: object = 0
    given: object = None  # what it was given before it took its lease


class S(NamedTuple):
    commits: int = 0  # by the session; its position is their number, as is the version
    replayed: int = 0
    unpublished: tuple = ()
    floor: int = 0
    told: int = 0  # the newest version whose invalidation Redis has applied
    value: object = 0  # a version, ("L", nonce), None
    old: bool = False
    beside: object = None  # a nonce
    aside: object = None  # a version
    mark: int = 0  # what the session's bookmark says that it wrote, 0: nothing
    nonces: int = 0
    readers: tuple = (None, None)
    left: tuple = (WRITES, EVICTIONS, READS)
    wrong: str = ""


def put(t, i, v):
    return t[:i] + (v,) + t[i + 1 :]


def spent(s, i):
    return put(s.left, i, s.left[i] - 1)


def is_row(value):
    return isinstance(value, int)


def writes(s):
    if s.left[0]:
        version = s.commits + 1
        yield (
            f"commit{version}",
            s._replace(
                commits=version,
                mark=version,
                unpublished=(*s.unpublished, version),
                left=spent(s, 0),
            ),
        )
    for version in s.unpublished:
        yield (
            f"invalidate{version}",
            s._replace(
                unpublished=tuple(each for each in s.unpublished if each != version),
                floor=max(s.floor, version),
                told=max(s.told, version),
                aside=s.value if is_row(s.value) else s.aside,
                value=None,
                old=False,
                beside=None if "taken along" not in OFF else s.beside,
            ),
        )
    if s.replayed < s.commits:
        yield "replay", s._replace(replayed=s.replayed + 1)


def times(s):
    if is_row(s.value) and not s.old:
        yield "past its time", s._replace(old=True)
    if s.beside is not None:
        yield "the renewal's lease ends", s._replace(beside=None)
    if s.aside is not None:
        yield "the row aside ends", s._replace(aside=None)
    if s.mark and not s.unpublished and (s.aside is None or "as long" in OFF):
        yield "the bookmark ends", s._replace(mark=0)
    if s.left[1] and s.value is not None:
        yield "evict", s._replace(value=None, old=False, left=spent(s, 1))


def named(s):
    return 1 if "nonce" in OFF else s.nonces + 1


def leased(s, r, *, beside):
    nonce = named(s)
    floor = s.readers[r].floor if "floor of the lease" in OFF and beside else s.floor
    given = s.readers[r].given if beside else None
    t = s._replace(
        nonces=s.nonces + 1,
        readers=put(s.readers, r, Reader("read", floor, beside, nonce, given=given)),
    )
    return t._replace(beside=nonce) if beside else t._replace(value=("L", nonce))


def reads(s, r):
    reader = s.readers[r]
    if reader is None:
        if not s.left[2]:
            return
        t = s._replace(left=spent(s, 2))
        if is_row(s.value) and s.old:
            seen = Reader("ask", s.floor, given=s.value)
            yield f"r{r} is given {s.value}", t._replace(readers=put(s.readers, r, seen))
        elif not is_row(s.value):
            yield f"r{r} leases", leased(t, r, beside=False)
    elif reader.stage == "ask":
        if is_row(s.value):
            if s.beside is None:
                yield f"r{r} leases beside", leased(s, r, beside=True)
        else:
            yield f"r{r} leases", leased(s, r, beside=False)
        yield f"r{r} lets it be", s._replace(readers=put(s.readers, r, None))
    elif reader.stage == "read":
        if s.replayed >= reader.floor or ("floor" in OFF and reader.beside):
            brought = reader._replace(stage="fill", brings=s.replayed)
            yield f"r{r} reads the replica", s._replace(readers=put(s.readers, r, brought))
        if reader.beside:
            kept = reader.given if "in place" in OFF else KEEP
            brought = reader._replace(stage="fill", brings=kept)
            yield f"r{r} hears: not changed", s._replace(readers=put(s.readers, r, brought))
        brought = reader._replace(stage="fill", brings=s.commits)
        yield f"r{r} reads the primary", s._replace(readers=put(s.readers, r, brought))
    else:
        yield filled(s, r, reader)


def filled(s, r, reader):
    t = s._replace(readers=put(s.readers, r, None))
    if reader.beside:
        lands = s.beside == reader.nonce or ("own lease" in OFF and is_row(s.value))
    else:
        lands = s.value == ("L", reader.nonce)
    if not lands:
        return f"r{r} is refused", t
    if reader.brings == KEEP:
        return f"r{r} keeps", t._replace(beside=None, old=s.old and not is_row(s.value))
    return f"r{r} fills {reader.brings}", t._replace(
        value=reader.brings, old=False, beside=None, aside=None
    )


def away(s):
    """The database is away, and the session reads: nothing that is not known to Redis counts."""
    if s.aside is None or s.unpublished or (s.mark and "not the writer" not in OFF):
        return
    if s.aside < s.commits:
        yield "the session reads", s._replace(wrong=f"it wrote {s.commits}, and gets {s.aside}")


def steps(s):
    yield from writes(s)
    yield from times(s)
    for r in READERS:
        yield from reads(s, r)
    yield from away(s)


def bad(s):
    if s.wrong:
        return s.wrong
    if is_row(s.value) and s.value < s.told:
        return f"Redis holds {s.value}, and {s.told} was invalidated"
    return None


sys.exit(search(S(), steps, bad, OFF))
