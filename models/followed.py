"""Explicit-state check of monotonic reads beside an old primary that lives on: a replica follows
the new one already, and a process that is linked to the old one reads it by a sample of before.

    python3 followed.py [RULE]...    check with these rules switched off (none: the whole protocol)

The session never gets less of a line than it has seen of it, nor, once it has seen a commit that
only the new line has, anything of the old one; in whichever process it reads; a read that finds no
node raises. It sees what it wrote.

A node's state is a line and a number of its commits; the first FORK of them are common to both. The
replica takes the new line's commits, by its receiver or without; it turns to the new primary as it
is, or rewound, which is another life, as is its return to the old one. A process polls it at any
moment, or does not; it may not hear its primary for a while, though connections of its pool go on.
The name of the primary leads to the new one at any moment, and stays. After a read of the replica
it is polled, or that fails; a replica without a receiver says an old timeline, or the right one. A
snapshot is such a read: it is taken, and stamped, before it is shown. A read of the primary may be
a transaction's, whose connection is lost before anything can be asked.

BOUNDS="writes reads turns outages" (default "1 2 1 1"; a turn is the replica's, or its receiver's
end or beginning).
"""

import os
import sys
from typing import NamedTuple

from search import rules_off, search

RULES = {
    "newer timeline": "a bookmark of a newer timeline is satisfied by no node of an older one",
    "followed timeline": "what was read on a replica is not shown unless it could be stamped",
    "line of a read": "what a connection of the primary's pool showed is of its server's line",
    "own line": (
        "a commit's position, if it is not known, is of the line of the connection that committed"
    ),
}
OFF = rules_off(RULES, sys.argv[1:])
LEFT = tuple(map(int, os.environ.get("BOUNDS", "1 2 1 1").split()))
FORK = 1
NONE, OLD, NEW = -1, 0, 1  # lines: NONE is that of who knows none


class Replica(NamedTuple):
    line: int = OLD
    has: int = FORK
    receives: bool = True
    life: int = 0


class Sample(NamedTuple):
    """`line`: for which it vouches with `has`. `most`: bound of what it shows, None: not known."""

    line: int
    has: int
    most: object
    newer: int
    rotates: bool
    life: int


class Process(NamedTuple):
    """`link`: whom it polls. `out`: that does not answer. `vouched`: the last sample of the replica
    that had a line."""

    link: int = OLD
    out: bool = False
    sample: object = Sample(OLD, FORK, FORK, NONE, True, 0)
    vouched: object = Sample(OLD, FORK, FORK, NONE, True, 0)


class Read(NamedTuple):
    """Of the replica, or of the primary (sample None). `got`: line and number."""

    process: int
    sample: object
    got: tuple
    life: int = 0


class S(NamedTuple):
    heads: tuple = (FORK, FORK)  # of the servers' lines
    promoted: bool = False
    name: int = OLD
    replica: Replica = Replica()
    processes: tuple = (Process(), Process())
    mark: tuple = (NONE, 0)  # the session's bookmark: line and number, None: unknown
    seen: tuple = (0, 0)  # of each line
    read: object = None
    left: tuple = LEFT
    wrong: str = ""


def put(t, i, v):
    return t[:i] + (v,) + t[i + 1 :]


def less(s, i):
    return s._replace(left=put(s.left, i, s.left[i] - 1))


def process(s, p, **changes):
    return s._replace(processes=put(s.processes, p, s.processes[p]._replace(**changes)))


def at(s, p, link):
    """The process has found its primary by name: of another one it believes no sample."""
    if s.processes[p].link == link:
        return process(s, p, out=False)
    return process(s, p, link=link, out=False, sample=None)


def looks(s, p):
    """By name: whether the process is answered, and the state then."""
    yield True, at(s, p, s.name)
    if s.left[3]:
        yield False, process(less(s, 3), p, out=True)


def judged(s, p):
    """positions.judge: each sample that a poll of the replica may bring."""
    r, mine = s.replica, s.processes[p]
    old = mine.vouched
    last = old if old is not None and (old.line, old.life) == (mine.link, r.life) else None
    # Without a receiver the control file says it, late.
    for timeline in {r.line} if r.receives else {OLD, r.line}:
        other = r.receives and timeline != mine.link
        believed = r.receives and not other and not mine.out
        line, has, most = NONE, 0, None
        if believed:
            line, has, most = mine.link, r.has, r.has
        elif not other and last is not None:
            line, has = mine.link, min(last.has, r.has)
            most = r.has if r.receives and last.most is not None and r.has <= last.most else None
        rotates = (last is not None or timeline == mine.link) if mine.out else believed
        newer = timeline if timeline > mine.link else NONE
        yield Sample(line, has, most, newer, rotates, r.life)


def polled(s, p, sample):
    vouched = sample if sample.line != NONE else s.processes[p].vouched
    return process(s, p, sample=sample, vouched=vouched)


def merged(old, new, polled_after):
    """bookmark.merge. `polled_after`: on the primary, which has all that is left of an older line,
    and all that any node had shown before."""
    if old[1] == 0 or new[1] == 0:
        return new if old[1] == 0 else old
    line = max(old[0], new[0])
    if old[1] is None and polled_after and line == new[0]:
        return new
    if old[1] is None or new[1] is None:
        return line, None
    if old[0] == new[0]:
        return line, max(old[1], new[1])
    return line, new[1] if polled_after and line == new[0] else None


def shown(s, got):
    """The session gets this of a node."""
    line, has = got
    if line == OLD:
        back = has < s.seen[OLD] or s.seen[NEW] > FORK
    else:
        back = has < max(s.seen[NEW], min(s.seen[OLD], FORK))
    why = f"of (old line, new line) the session had seen {s.seen}, and got {has} of number {line}"
    seen = put(s.seen, line, max(s.seen[line], has))
    return s._replace(seen=seen, wrong=s.wrong or (why if back else ""), read=None)


def noted(s, line, has, *, primary=False):
    return s._replace(mark=merged(s.mark, (line, has), primary))


def refused(s, p):
    return s.mark[1] != 0 and s.mark[0] > s.processes[p].link and "newer timeline" not in OFF


def begins(s, p):
    """The session reads in this process. Its bookmark's line makes that look by name, where it is
    refused."""
    mine, (line, has) = s.processes[p], s.mark
    t = less(s, 1)
    if refused(s, p):
        for _, found in looks(t, p):
            yield "refused", found
        return
    sample = mine.sample
    fits = sample is not None and sample.rotates and sample.life == s.replica.life
    if has != 0:
        fits = fits and has is not None and line == mine.link == sample.line and sample.has >= has
    if fits:
        r = s.replica
        yield "replica", t._replace(read=Read(p, sample, (r.line, r.has), r.life))
    for server in {mine.link, s.name}:
        yield f"primary-{server}", t._replace(read=Read(p, None, (server, s.heads[server])))


def ends(s):
    """What the process makes of a read: once the replica was polled, or could not be. What cannot
    be stamped is read elsewhere: another read."""
    read = s.read
    p, sample = read.process, read.sample
    if sample is None:
        yield from ends_at_primary(s, read)
        return
    for after in judged(s, p):
        t = polled(s, p, after)
        same = after.line == sample.line and after.life == read.life
        if same and after.most is not None:
            yield "stamped", noted(shown(t, read.got), after.line, after.most)
        else:
            yield doubted(t, read)
    yield doubted(process(s, p, sample=None), read)


def doubted(s, read):
    if "followed timeline" in OFF:
        return "unstamped", noted(shown(s, read.got), NONE, None)
    return "not-shown", s._replace(read=None)


def ends_at_primary(s, read):
    """A connection to another server than the process polls makes it look by name."""
    p, line = read.process, read.got[0]
    # A server that is known to have been replaced is of no line.
    of = line if line >= s.processes[p].link and "line of a read" not in OFF else NONE
    yield "lost", noted(shown(s, read.got), of, None)
    elsewhere = line != s.processes[p].link
    for answered, t in looks(s, p) if elsewhere or s.processes[p].out else [(True, s), (False, s)]:
        link = t.processes[p].link
        if answered and (line <= link or "line of a read" in OFF):
            yield "stamped", noted(shown(t, read.got), link, t.heads[link], primary=True)
        else:
            yield "unstamped", noted(shown(t, read.got), of, None)


def writes(s, p):
    """The session's own transaction, by a connection of the process's pool, and the poll after
    it."""
    mine = s.processes[p]
    if refused(s, p):
        return
    for server in {mine.link, s.name}:
        n = s.heads[server] + 1
        t = less(s, 0)._replace(heads=put(s.heads, server, n), seen=put(s.seen, server, n))
        for answered, u in (
            looks(t, p) if server != mine.link or mine.out else [(True, t), (False, t)]
        ):
            link = u.processes[p].link
            line = max(link, server) if "own line" not in OFF else link
            yield f"writes-{server}", noted(u, line, u.heads[link] if answered else None)


def replicas(s):
    r = s.replica
    if r.has < s.heads[r.line]:
        yield "replays", s._replace(replica=r._replace(has=r.has + 1))
    if not s.left[2]:
        return
    t = less(s, 2)
    yield "receiver", t._replace(replica=r._replace(receives=not r.receives))
    if r.line == OLD and s.promoted and r.has <= FORK:
        yield "turns", t._replace(replica=r._replace(line=NEW, receives=True))
    elif s.promoted:
        yield "rewound", again(t, Replica(1 - r.line, FORK, True, r.life + 1))


def again(s, replica):
    """Another life of the replica: connections end, and samples with them."""
    for p in (0, 1):
        s = process(s, p, sample=None)
    return s._replace(replica=replica)


def steps(s):
    for name, t in replicas(s):
        yield name, t
    if not s.promoted:
        yield "promoted", s._replace(promoted=True)
    elif s.name == OLD:
        yield "the-name-leads-to-the-new", s._replace(name=NEW)
    for line in (OLD, NEW)[: 1 + s.promoted] if s.left[0] else ():
        yield f"commit-{line}", less(s, 0)._replace(heads=put(s.heads, line, s.heads[line] + 1))
    for p, mine in enumerate(s.processes):
        if mine.link != s.name or mine.out:
            yield f"p{p}-connects-by-name", at(s, p, s.name)
        if not mine.out and s.left[3]:
            yield f"p{p}-hears-nothing", process(less(s, 3), p, out=True)
        if mine.out:
            yield f"p{p}-hears-again", process(s, p, out=False)
        for sample in judged(s, p):
            if sample != mine.sample:
                yield f"p{p}-polls-the-replica", polled(s, p, sample)
        if s.read is None and s.left[1]:
            for name, t in begins(s, p):
                yield f"p{p}.{name}", t
        if s.read is None and s.left[0]:
            for name, t in writes(s, p):
                yield f"p{p}.{name}", t
    if s.read is not None:
        for name, t in ends(s):
            yield f"r.{name}", t


def bad(s):
    return s.wrong


if __name__ == "__main__":
    sys.exit(search(S(), steps, bad, OFF))
