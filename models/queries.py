"""Explicit-state check of cached selects whose conditions the writers learn: one row, one select
"where c = 0", one primary, one replica, one Redis.

    python3 models/queries.py [RULE]...   check with these rules switched off (none: the protocol)

The shape of the select is registered in the record of its tags' owner (`own`); the tag's token lies
under that record and under the one of its bucket. An answer is stored under its token. A writer
knows the shape when it flushes, or not, as one of an older release. Two processes read; each keeps
the token in L1, until a message takes it away, which arrives at once. Tags are keys: what lost and
late messages, views and bookmarks do with them is `fence.py`'s and `generations.py`'s.

BOUNDS="writes evictions reads" (default "1 1 2"). START=unregistered: nobody has cached the select
yet, and the record's floor is unknown.
"""

import os
import sys
from typing import NamedTuple

from search import rules_off, search

RULES = {
    "after": "a writer reads the shapes after its COMMIT",
    "lost": "a record that is not there costs all tags of the table: L1 has to hear of it",
    "coarse": "a registered shape that it did not know when it flushed costs all tags of the table",
    "old": "the tag of the row's old value is moved, not only that of its new one",
    "anew": "a new shape makes the record anew: fresh incarnation, floor unknown",
    "registered": "a token is made only in a record in which its shape is registered",
    "settle": "the floor is settled only under the incarnation that was seen before the poll began",
    "floor": "an answer comes from a node that has replayed both records' floors",
    "raise": "moving a tag, or all of the owner's, raises the record's floor",
    "remember": "an unknown floor remembers the highest position, and is settled no lower",
    "tokens first": "floors are read after the token",
    "before": "an answer is stored under the token that was there before the database was asked",
    "fresh": "a missing token is replaced by one never used before",
}
UNREGISTERED = os.environ.get("START") == "unregistered"
OFF = rules_off(RULES, sys.argv[1:])
WRITES, EVICTS, READS = map(int, os.environ.get("BOUNDS", "1 1 2").split())


class Record(NamedTuple):
    """`inc`: 0: there is none. `floor`: None: unknown. `shape`: of an owner's: it is registered."""

    inc: int = 0
    floor: object = None
    high: int = 0
    shape: bool = False
    gen: int = 0

    def raised(self, position):
        if "raise" in OFF:
            return self
        if self.floor is not None:
            return self._replace(floor=max(self.floor, position))
        return self if "remember" in OFF else self._replace(high=max(self.high, position))


class S(NamedTuple):
    hist: tuple = (0,)  # the row's condition value in each version
    vis: int = 0
    rep: int = 0
    w: object = None  # a commit that is written and not visible yet: (version, knew, shape before)
    post: tuple = ()  # (version, knew, shape before, position, looked)
    own: Record = Record(1, None) if UNREGISTERED else Record(1, 0, 0, True)
    bucket: Record = Record(1, 0)
    token: object = (1, 1, 0, 1)  # (own's inc, bucket's inc, generation, value)
    entries: tuple = ()  # (token's value, version)
    l1: tuple = (0, 0)  # each process's token
    fresh: int = 2
    inv: tuple = ()  # versions whose invalidation was applied
    polls: tuple = (None, None)  # settling polls of own and bucket: (inc, position)
    rd: tuple = (None, None)
    left: tuple = (WRITES, EVICTS, READS)


class Read(NamedTuple):
    stage: str
    began: tuple  # versions whose invalidation was applied before the read
    inc: int = 0  # of the owner's record, as the shape was registered
    token: int = 0
    floors: tuple = ()
    version: int = 0


def put(t, i, v):
    return (*t[:i], v, *t[i + 1 :])


def touches(hist, version):
    return 0 in (hist[version], hist[version - 1])


def made(s, name, **more):
    """A record made anew."""
    old = getattr(s, name)
    high = old.high if old.floor is None else old.floor
    record = Record(s.fresh, None, 0 if "remember" in OFF else high)._replace(**more)
    return s._replace(**{name: record}, fresh=s.fresh + 1, l1=(0, 0))


def live(s):
    """The token that is found under its name now."""
    if s.token is None or 0 in (s.own.inc, s.bucket.inc):
        return None
    here = (s.own.inc, s.bucket.inc, s.own.gen)
    return s.token[3] if s.token[:3] == here else None


def writes(s):
    w, e, r = s.left
    if s.w is None and w:
        for value in (0, 1):
            for knew in (True, False):
                n = len(s.hist)
                yield (
                    f"commit{n}(c={value},{'knows' if knew else 'does not know'})",
                    s._replace(hist=(*s.hist, value), w=(n, knew, s.own.shape), left=(w - 1, e, r)),
                )
    if s.w is not None:
        yield f"visible{s.w[0]}", s._replace(vis=s.w[0], w=None, post=(*s.post, (*s.w, None, None)))
    for i, (version, knew, was, position, looked) in enumerate(s.post):
        if position is None:
            after = (version, knew, was, len(s.hist) - 1, looked)
            yield f"position{version}", s._replace(post=put(s.post, i, after))
        if looked is None:
            seen = "none" if not s.own.inc else "shape" if s.own.shape else "no shape"
            if "after" in OFF:
                seen = "shape" if was else "no shape"
            after = (version, knew, was, position, seen)
            yield f"look{version}({seen})", s._replace(post=put(s.post, i, after))
        if position is not None and looked is not None:
            yield f"publish{version}", published(s, i)


def published(s, i):
    version, knew, _, position, looked = s.post[i]
    n = s._replace(post=(*s.post[:i], *s.post[i + 1 :]), inv=tuple(sorted({*s.inv, version})))
    if looked == "no shape":
        return n
    if looked == "shape" and knew:
        if s.hist[version] == 0 or (s.hist[version - 1] == 0 and "old" not in OFF):
            n = n if n.own.inc else made(n, "own")
            n = n if n.bucket.inc else made(n, "bucket")
            n = n._replace(token=None, l1=(0, 0), bucket=n.bucket.raised(position))
        return n
    if (looked == "shape" and "coarse" in OFF) or (looked == "none" and "lost" in OFF):
        return n
    n = n if n.own.inc else made(n, "own")
    own = n.own._replace(gen=n.fresh).raised(position)
    return n._replace(own=own, fresh=n.fresh + 1, l1=(0, 0))


def losses(s):
    w, e, r = s.left
    if not e:
        return
    left = (w, e - 1, r)
    if s.own.inc:
        yield "lose own record", s._replace(own=Record(), left=left)
    if s.bucket.inc:
        yield "lose bucket's record", s._replace(bucket=Record(), left=left)
    if live(s):
        yield "lose token", s._replace(token=None, left=left)


def settling(s):
    for at, name in enumerate(("own", "bucket")):
        record, poll = getattr(s, name), s.polls[at]
        if poll is None and record.inc and record.floor is None:
            yield f"poll {name}", s._replace(polls=put(s.polls, at, (record.inc, len(s.hist) - 1)))
        if poll is not None:
            n = s._replace(polls=put(s.polls, at, None))
            same = record.inc == poll[0] or "settle" in OFF
            if record.inc and record.floor is None and same:
                settled = record._replace(floor=max(poll[1], record.high), high=0)
                n = n._replace(**{name: settled})
            yield f"settle {name}", n


def reads(s):
    w, e, r = s.left
    for p, x in enumerate(s.rd):
        if x is None:
            if r:
                began = s._replace(rd=put(s.rd, p, Read("register", s.inv)), left=(w, e, r - 1))
                yield f"r{p}.start", began
                found = dict(s.entries).get(s.l1[p])
                if found is not None:
                    hit = Read("hit", s.inv, version=found)
                    yield f"r{p}.L1", s._replace(rd=put(s.rd, p, hit), left=(w, e, r - 1))
        elif x.stage == "register":
            yield f"r{p}.register", registered(s, p, x)
        elif x.stage == "token":
            yield from tokens(s, p, x)
        elif x.stage == "floors":
            floors = x.floors or (s.own.floor, s.bucket.floor)
            yield f"r{p}.floors", s._replace(rd=put(s.rd, p, x._replace(stage="db", floors=floors)))
        elif x.stage == "db":
            if "floor" in OFF or (None not in x.floors and s.rep >= max(x.floors)):
                after = x._replace(stage="fill", version=s.rep)
                yield f"r{p}.replica", s._replace(rd=put(s.rd, p, after))
            after = x._replace(stage="fill", version=s.vis)
            yield f"r{p}.primary", s._replace(rd=put(s.rd, p, after))
        elif x.stage == "fill":
            under = live(s) if "before" in OFF and live(s) else x.token
            others = tuple(each for each in s.entries if each[0] != under)
            entries = tuple(sorted((*others, (under, x.version))))
            kept = put(s.l1, p, x.token) if live(s) == x.token else s.l1
            yield f"r{p}.fill", s._replace(entries=entries, l1=kept, rd=put(s.rd, p, None))
        else:
            yield f"r{p}.end", s._replace(rd=put(s.rd, p, None))


def registered(s, p, x):
    n = s
    if not n.own.inc:
        n = made(n, "own", shape=True)
    elif not n.own.shape:
        own = n.own._replace(shape=True)
        n = n._replace(own=own) if "anew" in OFF else made(n, "own", shape=True)
    floors = (n.own.floor, n.bucket.floor) if "tokens first" in OFF else ()
    return n._replace(rd=put(n.rd, p, x._replace(stage="token", inc=n.own.inc, floors=floors)))


def tokens(s, p, x):
    n = s if s.bucket.inc else made(s, "bucket")
    n = n if n.own.inc else made(n, "own")
    value = live(n)
    if value is None:
        if "registered" not in OFF and n.own.inc != x.inc:
            yield f"r{p}.not registered", n._replace(rd=put(n.rd, p, None))
            return
        value = 0 if "fresh" in OFF else n.fresh
        n = n._replace(token=(n.own.inc, n.bucket.inc, n.own.gen, value), fresh=n.fresh + 1)
    found = dict(n.entries).get(value)
    if found is not None:
        after = x._replace(stage="hit", version=found, token=value)
        yield f"r{p}.hit", n._replace(rd=put(n.rd, p, after), l1=put(n.l1, p, value))
    else:
        after = x._replace(stage="floors", token=value)
        yield f"r{p}.token", n._replace(rd=put(n.rd, p, after))


def steps(s):
    yield from writes(s)
    if s.rep < len(s.hist) - 1:
        yield "replay", s._replace(rep=s.rep + 1)
    yield from losses(s)
    yield from settling(s)
    yield from reads(s)


def bad(s):
    for x in s.rd:
        if x is not None and x.stage == "hit":
            for version in x.began:
                if version > x.version and touches(s.hist, version):
                    return (
                        f"a hit served what was there at version {x.version}, though {version} was "
                        "invalidated before the read began"
                    )
    return None


if __name__ == "__main__":
    sys.exit(search(S(), steps, bad, OFF))
