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
it is polled, or that fails. A replica without a receiver says an old timeline, or the right one.

`told` is an assumption. Where it does not hold nothing can be known: the commit is shown, and what
could have said whose it is has gone, while the name still leads to the old primary. AGAIN=1: what
was read on the replica is not shown unless it could be stamped; then neither that is needed nor any
rule of what it showed.

BOUNDS="writes reads turns outages" (default "1 2 1 1"; a turn is the replica's, or its receiver's
end or beginning).
"""

import os
import sys
from typing import NamedTuple

from search import rules_off, search

RULES = {
    "newer timeline": "a bookmark of a newer timeline is satisfied by no node of an older one",
    "followed timeline": (
        "what a replica of a newer timeline showed is unknown, but of that timeline"
    ),
    "by name": "a process that cannot tell what a replica showed looks for its primary by name",
    "not vouched": "also if the replica says the same as before the read, and that has no position",
    "before": "what the sample said that it was chosen by counts too",
    "carried": (
        "a position that is not known is at least of the line that the process knows by then"
    ),
    "nobody": (
        "a read raises if neither its node nor, by name, the primary says anything afterwards"
    ),
    "own line": (
        "a commit's position, if it is not known, is of the line of the connection that committed"
    ),
    "told": (
        "a replica of the new line says so before the read or after it, or the name leads to the "
        "new primary"
    ),
}
OFF = rules_off(RULES, sys.argv[1:])
AGAIN = os.environ.get("AGAIN") == "1"
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
        if not r.receives and timeline != r.line and "told" not in OFF and s.name == OLD:
            continue
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


def unknown(s, p, line):
    """Noted is a position that is not known. `line`: what the replica said."""
    mine = s.processes[p].link if "carried" not in OFF else NONE
    return noted(s, max(line, mine), None)


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


def may_fail(s, read):
    """Whether the poll after this read may fail, or find another life of the replica: see
    `told`."""
    harmless = read.got[0] <= s.processes[read.process].link or read.sample.newer != NONE
    return "told" in OFF or s.name == NEW or harmless


def ends(s):
    """What the process makes of a read: once the replica was polled, or could not be."""
    read = s.read
    p, sample = read.process, read.sample
    if sample is None:
        yield from ends_at_primary(s, read)
        return
    for after in judged(s, p):
        t = polled(s, p, after)
        if after.life != read.life and not may_fail(s, read):
            continue
        same = after.line == sample.line and after.life == read.life
        if same and after.most is not None:
            yield "stamped", noted(shown(t, read.got), after.line, after.most)
        elif same and "not vouched" in OFF:
            yield "not-vouched", unknown(shown(t, read.got), p, NONE)
        else:
            yield from doubted(t, read, after.newer)
    if may_fail(s, read):
        yield from doubted(process(s, p, sample=None), read, NONE)


def ends_at_primary(s, read):
    """A connection to another server than the process polls makes it look by name."""
    p, line = read.process, read.got[0]
    elsewhere = line != s.processes[p].link
    for answered, t in looks(s, p) if elsewhere or s.processes[p].out else [(True, s), (False, s)]:
        if answered:
            link = t.processes[p].link
            yield "stamped", noted(shown(t, read.got), link, t.heads[link], primary=True)
        elif elsewhere and "nobody" not in OFF:
            yield "not-shown", t._replace(read=None)
        else:
            yield "unstamped", unknown(shown(t, read.got), p, NONE)


def doubted(s, read, newer):
    p = read.process
    if AGAIN:
        yield "not-shown", s._replace(read=None)
        return
    if "before" not in OFF:
        newer = max(newer, read.sample.newer)
    if "followed timeline" in OFF:
        newer = NONE
    for answered, t in looks(s, p) if "by name" not in OFF else [(True, s)]:
        if answered or newer != NONE or "nobody" in OFF:
            yield (
                "doubted" if answered else "doubted-by-nobody",
                unknown(shown(t, read.got), p, newer),
            )
        else:
            yield "not-shown", t._replace(read=None)


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
