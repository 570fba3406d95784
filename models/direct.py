"""Explicit-state check of loads that go past the cache beside loads that do not: one key, one
process, its record in Redis, a replica that lags, writers elsewhere.

    python3 direct.py [RULE]...    check with these rules switched off (none: the whole protocol)

Who uses the cache gets nothing older than what this process had been told is invalid when he began.
A load that goes past the cache asks no record, so no floor bounds the replica that answers it: that
is its session's right, which asks for a position of its own. Kinds of reader: `cached`; `past`,
whose session wrote in many buckets, or who reads while the switch is off; `wrote`, whose session
wrote in this bucket under a record that may be gone: the record answers, or he goes past it.

BOUNDS="writes reads" (default "2 2"). A load waits, asks the record, then a node, and lands; one
that was invalidated meanwhile is joined no more.
"""

import os
import sys
from typing import NamedTuple

from search import rules_off, search

RULES = {
    "direct": "who uses the cache joins no load that goes past it",
    "may be direct": "nor one that may do so yet",
    "no answer": "nor one that does so since the record did not answer it",
    "other way": "who goes past the cache joins none that takes what it holds",
    "dirty": "an invalidation ends the joining of what is under way",
}
OFF = rules_off(RULES, sys.argv[1:])
WRITES, READS = map(int, os.environ.get("BOUNDS", "2 2").split())
KINDS = ("cached", "past", "wrote")


class Load(NamedTuple):
    """`kind`: of who began it. stage: waiting sent landing. `floor`: what its node must have, -1:
    the record was not asked. `waiting`: what those who joined must get."""

    kind: str
    stage: str
    waiting: tuple
    floor: int = 0
    value: int = 0
    dirty: bool = False


class S(NamedTuple):
    vis: int = 0
    rep: int = 0
    floor: int = 0  # the record's, and what has been invalidated in Redis
    told: int = 0  # and in this process
    cell: object = 0  # what Redis has
    mine: int = 0  # what the sessions that go past the cache wrote, before they came here
    loads: tuple = ()  # the last may be joined
    left: tuple = (WRITES, READS)
    wrong: str = ""


def put(t, i, v):
    return t[:i] + (v,) + t[i + 1 :]


def must(s, kind):
    return s.told if kind == "cached" else s.mine


def joins(load, kind):
    """flights.may_join; positions, here the same, are sessions.py's."""
    if load.dirty and "dirty" not in OFF:
        return False
    if kind == "cached":
        if load.kind == "past":
            return "direct" in OFF
        # The record has answered, and said what the load goes on with.
        if load.floor < 0:
            return load.kind == "cached" and "no answer" in OFF
        return load.kind == "cached" or load.stage != "waiting" or "may be direct" in OFF
    if load.kind == "cached" or (kind == "past" and load.kind != "past"):
        return "other way" in OFF
    return load.stage == "waiting"  # later: see sessions.py


def judged(s, value, needs, how):
    worst = max(needs, default=0)
    wrong = f"a reader got version {value} {how}, and had to get {worst}" if value < worst else ""
    return s._replace(wrong=s.wrong or wrong)


def reads(s):
    last = s.loads[-1] if s.loads else None
    for kind in KINDS if s.left[1] else ():
        t = s._replace(left=(s.left[0], s.left[1] - 1))
        need = must(s, kind)
        if last is not None and joins(last, kind):
            if last.stage == "waiting" or last.stage == "sent":
                joined = last._replace(waiting=(*last.waiting, need))
                yield f"{kind}-joins", t._replace(loads=(*s.loads[:-1], joined))
            else:
                yield f"{kind}-joins-late", judged(t, last.value, (need,), "from a load under way")
        else:
            yield f"{kind}-loads", t._replace(loads=(*s.loads, Load(kind, "waiting", (need,))))


def flies(s, n):
    load = s.loads[n]

    def to(s, **what):
        return s._replace(loads=put(s.loads, n, load._replace(**what)))

    gone = s._replace(loads=s.loads[:n] + s.loads[n + 1 :])
    if load.stage == "waiting":
        if load.kind != "cached":
            # The record under which the session wrote, another key perhaps, may be gone.
            yield "goes-past", to(s, stage="sent", floor=-1)
        if load.kind == "past" or (load.kind == "wrote" and s.floor < s.mine):
            return
        if load.kind == "cached":
            # Who waits would have had no answer himself, and is promised nothing.
            yield "no-answer", to(s, stage="sent", floor=-1, waiting=())
        if s.cell is not None:
            yield "hit", judged(gone, s.cell, load.waiting, "from Redis")
        else:
            yield "asks-the-record", to(s, stage="sent", floor=s.floor)
    elif load.stage == "sent":
        own = 0 if load.kind == "cached" else s.mine
        for node, value in (("primary", s.vis), ("replica", s.rep)):
            if node == "primary" or s.rep >= max(load.floor, own):
                t = judged(s, value, load.waiting, f"on the {node}")
                yield f"read-{node}", to(t, stage="landing", value=value, waiting=())
    else:
        lands = load.floor >= 0 and s.floor <= load.floor
        yield "lands", gone._replace(cell=load.value) if lands else gone


def steps(s):
    for name, t in reads(s):
        yield name, t
    for n in range(len(s.loads)):
        for name, t in flies(s, n):
            yield f"load{n}.{name}", t
    if s.left[0]:
        yield "commit", s._replace(vis=s.vis + 1, left=(s.left[0] - 1, s.left[1]))
    if s.mine < s.vis and not s.loads:
        yield "sessions-wrote-that", s._replace(mine=s.vis)
    if s.floor < s.vis:
        yield "invalidated", s._replace(floor=s.vis, cell=None)
    if s.told < s.floor:
        yield "told", s._replace(told=s.floor, loads=tuple(x._replace(dirty=True) for x in s.loads))
    if s.rep < s.vis:
        yield "replay", s._replace(rep=s.rep + 1)


def bad(s):
    return s.wrong


if __name__ == "__main__":
    sys.exit(search(S(), steps, bad, OFF))
