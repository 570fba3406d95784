"""Explicit-state check of what sessions are shown past the cache: a primary and two replicas of one
history, sessions with bookmarks, loads that are joined, monotonic reads, transactions and
snapshots.

    python3 sessions.py [RULE]...    check with these rules switched off (none: the whole protocol)

A session gets nothing older than what it wrote, of which COMMIT has returned (or, if that never
told, what others see). A monotonic one gets nothing older than what it was shown before it asked;
but on the primary a commit that a replica showed may not be visible yet. Positions: on the primary
a commit record is in the WAL, and in polled positions, before it is visible. On a replica it is
visible before the replay position covers it.

SESSIONS="plain monotonic ..." (default "monotonic"), each of which may have two reads under way.
Plain ones, all in one process, write and read past the cache, and join each other's loads;
monotonic ones read for themselves. BOUNDS="writes others reads transactions events" (default
"0 1 3 0 1"): writes of sessions, writes of others. ROWS (default 1): 2 for writes that move
positions, and nothing else. EVENTS, each of which costs one of the bound (default: all but doubt,
which takes the place of an own write):
failed    a poll fails
receiver  replica 0 loses its WAL receiver, and replays from an archive, until it finds one again
doubt     COMMIT's outcome is unknown: it takes place later, or never
"""

import os
import sys
from typing import NamedTuple

from search import rules_off, search

RULES = {
    "sent to the primary": "a load that was sent is joined with no other bookmark: it may be older",
    "shown": "a replica has shown at most what it has received, or replayed, by a later poll",
    "looked first": "that poll sees the receiver before the positions: the rest is replayed",
    "transactions": "the end of a transaction, or a snapshot, is something that its session saw",
    "while open": "until then its session's other reads go to the primary",
    "unknown stays": "an unknown position gives way to none but one polled later on the primary",
    "begun later": "and of an earlier read to none: its poll may have been before",
    "noted anew": "and what is merged into it notes it anew: the poll may have been before",
    "in doubt": "and of a COMMIT that may still take place to none at all",
}
OFF = rules_off(RULES, sys.argv[1:])
SESSIONS = os.environ.get("SESSIONS", "monotonic").split()
EVENTS = set(os.environ.get("EVENTS", "failed receiver").split())
ROWS = range(int(os.environ.get("ROWS", "1")))
LEFT = tuple(map(int, os.environ.get("BOUNDS", "0 1 3 0 1").split()))
WRITES, OTHERS, READS, TRANSACTIONS, MOST = range(5)


class Session(NamedTuple):
    """`mark`: position of its bookmark, None: unknown; `unknowns`: how often it was noted so.
    `wrote`, `seen`: versions of the row. `opened`: its transaction: (node, what its snapshot
    shows). `doubt`: of its COMMIT nothing is known: open, while it may take place, then over."""

    mark: object = 0
    unknowns: int = 0
    wrote: int = 0
    seen: int = 0
    opened: object = None
    doubt: str = ""


class Read(NamedTuple):
    """Of a monotonic session. stage: ask, poll, polled (a position, or: is there a receiver)."""

    session: int
    mark: object
    wrote: int
    seen: int
    unknowns: int
    stage: str = "ask"
    node: int = -1
    value: int = 0
    polled: object = None
    ends: bool = False  # a snapshot that ends, not a read


class Load(NamedTuple):
    """`owner`: the session whose bookmark, the very object, it has. `waiting`: who joined, and what
    they must get. `value`: None until it is sent."""

    owner: object
    mark: object
    waiting: tuple
    value: object = None


class Replica(NamedTuple):
    """What it received, replayed and shows: positions. `receives`: whether a WAL receiver runs."""

    received: int = 0
    replayed: int = 0
    shows: int = 0
    receives: bool = True


class S(NamedTuple):
    log: tuple = ()  # commit records: which row; a version of row 0 is a place in it
    vis: int = 0  # the version that a snapshot of the primary shows
    commits: tuple = ()  # (session or None, row, version, stage): record visible
    replicas: tuple = (Replica(), Replica())
    sessions: tuple = (Session(),) * len(SESSIONS)
    reads: tuple = ()
    loads: tuple = ()  # the last one may be joined
    left: tuple = LEFT
    wrong: str = ""


def put(t, i, v):
    return t[:i] + (v,) + t[i + 1 :]


def less(s, which):
    return s._replace(left=put(s.left, which, s.left[which] - 1))


def version(s, position):
    return max((n for n, row in enumerate(s.log[:position], 1) if row == 0), default=0)


def session(s, i, **what):
    """The session with something new. Loads of its old bookmark are nobody's any more."""
    if "mark" in what:
        s = s._replace(loads=tuple(x._replace(owner=None) if x.owner == i else x for x in s.loads))
    return s._replace(sessions=put(s.sessions, i, s.sessions[i]._replace(**what)))


def advanced(s, i, position, r=None):
    """The session merges a position, None: unknown. `r`: the read that it is of, if it is."""
    x = s.sessions[i]
    if position is None:
        return session(s, i, mark=None, unknowns=x.unknowns + 1)
    if x.mark is not None:
        return session(s, i, mark=max(x.mark, position))
    settles = r is not None and r.node == -1 and (r.unknowns == x.unknowns or "begun later" in OFF)
    settles = settles and (not x.doubt or "in doubt" in OFF)
    if settles or "unknown stays" in OFF:
        return session(s, i, mark=position)
    return session(s, i, unknowns=x.unknowns + (0 if "noted anew" in OFF else 1))


def writes(s):
    for i, own in [(None, OTHERS), *((i, WRITES) for i in range(len(SESSIONS)))]:
        for row in ROWS:
            busy = any(c[1] == row or c[0] == i for c in s.commits)
            busy = busy or (i is not None and s.sessions[i].doubt == "open")
            if s.left[own] and not busy:
                if "doubt" not in EVENTS or i is None:
                    t = less(s, own)._replace(log=(*s.log, row))
                    more = (i, row, len(t.log), "record")
                    yield f"{who(i)}record-{row}", t._replace(commits=(*s.commits, more))
                elif s.left[MOST] and row == 0:
                    t = session(less(less(s, own), MOST), i, doubt="open")
                    yield f"{who(i)}in-doubt", advanced(t, i, None)
    for i, x in enumerate(s.sessions):
        if x.doubt == "open" and not any(c[1] == 0 for c in s.commits):
            t = s._replace(log=(*s.log, 0))
            more = (i, 0, len(t.log), "late")
            yield f"{who(i)}late-record", t._replace(commits=(*s.commits, more))
    for n, (i, row, ver, stage) in enumerate(s.commits):
        rest = s.commits[:n] + s.commits[n + 1 :]
        if stage != "visible":
            t = s._replace(vis=ver) if row == 0 else s
            if stage == "late":
                t = session(t, i, doubt="over", wrote=ver)
            stays = i is not None and stage != "late"
            after = put(s.commits, n, (i, row, ver, "visible")) if stays else rest
            yield f"{who(i)}visible-{ver}", t._replace(commits=after)
        else:
            t = session(s._replace(commits=rest), i, wrote=ver if row == 0 else s.sessions[i].wrote)
            yield f"{who(i)}returned-{ver}", advanced(t, i, len(s.log))
            if "failed" in EVENTS and s.left[MOST]:
                yield f"{who(i)}returned-{ver}-unknown", advanced(less(t, MOST), i, None)


def who(i):
    return "other." if i is None else f"s{i}."


def judged(s, i, value, must, how):
    wrong = f"session {i} got version {value} {how}, and had to get {must}" if value < must else ""
    return s._replace(wrong=s.wrong or wrong)


def nodes(s, mark):
    """(node, version that it shows) of those that satisfy a bookmark; -1: the primary."""
    yield -1, s.vis
    for n, replica in enumerate(s.replicas):
        if mark is not None and replica.replayed >= mark:
            yield n, version(s, replica.shows)


def commits(s, i):
    """Whether the session waits for its COMMIT."""
    return any(c[0] == i and c[3] != "late" for c in s.commits)


def loads(s):
    """Plain sessions: who reads begins a load, or joins the last."""
    for i, kind in enumerate(SESSIONS):
        x = s.sessions[i]
        if kind != "plain" or not s.left[READS] or commits(s, i):
            continue
        t, last = less(s, READS), s.loads[-1] if s.loads else None
        if last is not None and joins(last, i, x.mark):
            if last.value is None:
                joined = last._replace(waiting=(*last.waiting, (i, x.wrote)))
                yield f"s{i}.joins", t._replace(loads=(*s.loads[:-1], joined))
            else:
                t = judged(t, i, last.value, x.wrote, "from a load that was sent")
                yield f"s{i}.joins-sent", t
        else:
            old = tuple(each for each in s.loads if each.value is None)
            yield f"s{i}.loads", t._replace(loads=(*old, Load(i, x.mark, ((i, x.wrote),))))
    for n, load in enumerate(s.loads):
        if load.value is None:
            for node, value in nodes(s, load.mark):
                t = s
                for i, must in load.waiting:
                    t = judged(t, i, value, must, "from a load")
                t = t._replace(loads=put(s.loads, n, load._replace(value=value, waiting=())))
                yield f"load-sent-{name(node)}", t
        else:
            yield "load-lands", s._replace(loads=s.loads[:n] + s.loads[n + 1 :])


def joins(load, i, mark):
    """flights.may_join, of a load past the cache."""
    if mark == 0 or load.owner == i:
        return True
    if load.value is not None and "sent to the primary" not in OFF:
        return False
    return load.mark is not None and mark is not None and load.mark >= mark


def name(node):
    return "primary" if node < 0 else f"replica-{node}"


def reads(s):
    """Monotonic sessions."""
    for i, kind in enumerate(SESSIONS):
        x = s.sessions[i]
        if kind != "monotonic" or commits(s, i):
            continue
        if s.left[READS] and sum(r.session == i for r in s.reads) < 2:
            mark = None if x.opened is not None and "while open" not in OFF else x.mark
            # What a replica showed may not be visible yet: then the primary owes what it shows.
            r = Read(i, mark, x.wrote, x.seen, x.unknowns, value=s.vis)
            yield f"s{i}.begins", less(s, READS)._replace(reads=(*s.reads, r))
        yield from transactions(s, i, x)
    for n, r in enumerate(s.reads):
        rest = s._replace(reads=s.reads[:n] + s.reads[n + 1 :])
        if r.stage == "ask":
            for node, value in nodes(s, r.mark):
                must = max(r.wrote, min(r.seen, r.value) if node < 0 else r.seen)
                t = judged(s, r.session, value, must, f"on {name(node)}")
                r2 = r._replace(stage="poll", node=node, value=value)
                yield f"s{r.session}.reads-{name(node)}", t._replace(reads=put(s.reads, n, r2))
        elif r.stage == "poll" and r.node < 0:
            r2 = r._replace(stage="polled", polled=len(s.log))
            yield f"s{r.session}.polls", s._replace(reads=put(s.reads, n, r2))
        elif r.stage == "polled" and r.node < 0:
            yield f"s{r.session}.stamped", ended(rest, r, r.polled)
        elif r.stage == "poll":
            replica = s.replicas[r.node]
            most = max(replica.replayed, replica.received)
            first = most if "looked first" in OFF else replica.receives
            r2 = r._replace(stage="polled", polled=first)
            yield f"s{r.session}.looks", s._replace(reads=put(s.reads, n, r2))
        else:
            replica = s.replicas[r.node]
            runs, most = r.polled, max(replica.replayed, replica.received)
            if "looked first" in OFF:
                runs, most = replica.receives, r.polled
            if "shown" in OFF:
                runs, most = True, replica.replayed
            yield f"s{r.session}.stamped", ended(rest, r, most if runs else None)
        if r.stage == "poll" and "failed" in EVENTS and s.left[MOST]:
            yield f"s{r.session}.stamped-unknown", ended(less(rest, MOST), r, None)


def transactions(s, i, x):
    if x.opened is None:
        if s.left[TRANSACTIONS]:
            yield f"s{i}.opens-a-transaction", session(less(s, TRANSACTIONS), i, opened=(-1, None))
            for n, value in nodes(s, x.mark):
                if n >= 0:
                    t, must = less(s, TRANSACTIONS), max(x.wrote, x.seen)
                    t = judged(t, i, value, must, "in a snapshot")
                    yield f"s{i}.opens-a-snapshot-on-{n}", session(t, i, opened=(n, value))
        return
    if any(r.ends and r.session == i for r in s.reads):
        return  # Until the position is there the transaction counts as open.
    node, value = x.opened
    value = s.vis if value is None else value
    if value > x.seen:
        yield f"s{i}.sees-{value}-in-it", session(s, i, seen=value)
    if "transactions" in OFF:
        yield f"s{i}.ends-it", session(s, i, opened=None)
    else:
        r = Read(i, x.mark, 0, 0, x.unknowns, "poll", node, x.seen, None, True)
        yield f"s{i}.ends-it", s._replace(reads=(*s.reads, r))


def ended(s, r, position):
    """A read or a transaction is over; the bookmark advances before the caller goes on."""
    i = r.session
    if r.ends:
        return advanced(session(s, i, opened=None), i, position, r)
    return session(advanced(s, i, position, r), i, seen=max(s.sessions[i].seen, r.value))


def replays(s):
    for n, x in enumerate(s.replicas):

        def to(n=n, x=x, **what):
            return s._replace(replicas=put(s.replicas, n, x._replace(**what)))

        if x.receives and max(x.received, x.shows) < len(s.log):
            yield f"{n}.receives", to(received=max(x.received, x.shows) + 1)
        if x.shows > x.replayed:
            yield f"{n}.covers", to(replayed=x.shows)
        elif x.shows < (x.received if x.receives else len(s.log)):
            yield f"{n}.shows", to(shows=x.shows + 1)
        if n == 0 and "receiver" in EVENTS:
            if x.receives and s.left[MOST]:
                yield f"{n}.loses-its-receiver", less(to(receives=False), MOST)
            elif not x.receives and x.shows == x.replayed:
                # It is the startup process that asks for a receiver, between two records.
                yield f"{n}.receives-again", to(receives=True)


def steps(s):
    yield from writes(s)
    yield from loads(s)
    yield from reads(s)
    yield from replays(s)


def bad(s):
    return s.wrong


if __name__ == "__main__":
    sys.exit(search(S(), steps, bad, OFF))
