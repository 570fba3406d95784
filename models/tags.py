"""Explicit-state check of tagged query entries: one tag, one query, one primary, one replica, one
Redis.

    python3 tags.py [RULE]...      check with these rules switched off (none: the whole protocol)

before    the tag's token is read before the database read, and stored with the entry
fresh     a missing (evicted) token is replaced by one never used before, never by a fixed first
          value
floor     the fill reads a node that has replayed the floor of the tag's bucket; a missing floor
          means the primary
"""

import os
import sys
from collections import deque
from typing import NamedTuple

OFF = set(sys.argv[1:])
WRITES, EVICTS, READS = map(int, os.environ.get("BOUNDS", "2 2 3").split())


class S(NamedTuple):
    lsn: int = 0
    vis: int = 0
    rep: int = 0
    w: int = 0
    post: tuple = ()  # committed writers: (version, floor or None)
    token: object = None  # the tag's generation in redis, None = never set or evicted
    floor: object = 0  # the tag's bucket floor, None = evicted (unknown)
    entry: object = None  # (version, token)
    fresh: int = 1  # next token never used before
    inv: int = 0  # newest version whose invalidation redis has applied
    # Two readers: (stage, token, floor, version, newest invalidation when the read began)
    rd: tuple = (
        None,
        None,
    )
    left: tuple = (WRITES, EVICTS, READS)


def put(t, i, v):
    return t[:i] + (v,) + t[i + 1 :]


def steps(s):
    w, e, r = s.left
    if not s.w and w:
        yield "commit-record", s._replace(lsn=s.lsn + 1, w=1, left=put(s.left, 0, w - 1))
    if s.w:
        yield "visible", s._replace(vis=s.lsn, w=0, post=s.post + ((s.lsn, None),))
    for i, (ver, floor) in enumerate(s.post):
        if floor is None:
            yield f"floor{ver}", s._replace(post=put(s.post, i, (ver, s.lsn)))
        else:
            yield (
                f"invalidate{ver}",
                s._replace(
                    token=s.fresh,
                    fresh=s.fresh + 1,
                    floor=None if s.floor is None else max(s.floor, floor),
                    inv=max(s.inv, ver),
                    post=s.post[:i] + s.post[i + 1 :],
                ),
            )
    if s.rep < s.lsn:
        yield "replay", s._replace(rep=s.rep + 1)
    if e:
        if s.token is not None:
            yield "evict-token", s._replace(token=None, left=put(s.left, 1, e - 1))
        if s.floor is not None:
            yield "evict-floor", s._replace(floor=None, left=put(s.left, 1, e - 1))
    for p in (0, 1):
        x = s.rd[p]
        if x is None:
            if r:
                yield (
                    f"r{p}.start",
                    s._replace(
                        rd=put(s.rd, p, ("get", None, None, None, s.inv)),
                        left=put(s.left, 2, r - 1),
                    ),
                )
            continue
        stage, token, floor, ver, began = x
        if stage == "get":  # entry, token and floor in one script
            if s.entry and s.token is not None and s.entry[1] == s.token:
                yield (
                    f"r{p}.hit",
                    s._replace(rd=put(s.rd, p, ("done", None, None, s.entry[0], began))),
                )
            elif s.token is None:
                new = 0 if "fresh" in OFF else s.fresh
                yield (
                    f"r{p}.miss-new-token",
                    s._replace(
                        token=new,
                        fresh=s.fresh + 1,
                        rd=put(s.rd, p, ("db", new, s.floor, None, began)),
                    ),
                )
            else:
                yield (
                    f"r{p}.miss",
                    s._replace(rd=put(s.rd, p, ("db", s.token, s.floor, None, began))),
                )
        elif stage == "db":
            if "floor" in OFF or (floor is not None and s.rep >= floor):
                yield (
                    f"r{p}.replica",
                    s._replace(rd=put(s.rd, p, ("fill", token, floor, s.rep, began))),
                )
            yield f"r{p}.primary", s._replace(rd=put(s.rd, p, ("fill", token, floor, s.vis, began)))
        elif stage == "fill":
            t = s.token if "before" in OFF and s.token is not None else token
            yield f"r{p}.fill", s._replace(entry=(ver, t), rd=put(s.rd, p, None))
        else:
            yield f"r{p}.end", s._replace(rd=put(s.rd, p, None))


def bad(s):
    for x in s.rd:
        if x and x[0] == "done" and x[3] < x[4]:
            return (
                f"a hit served version {x[3]}, though {x[4]} was invalidated before the read began"
            )


def main():
    seen = {S(): None}
    todo = deque(seen)
    while todo:
        s = todo.popleft()
        why = bad(s)
        if why:
            path = []
            while seen[s]:
                s, name = seen[s]
                path.append(name)
            print(
                f"VIOLATION without {sorted(OFF) or 'nothing'}: {why}\n  "
                + " > ".join(reversed(path))
            )
            return 1
        for name, n in steps(s):
            if n not in seen:
                seen[n] = (s, name)
                todo.append(n)
    print(f"holds in all {len(seen)} states")
    return 0


sys.exit(main())
