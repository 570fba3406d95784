"""Explicit-state check of several keys and buckets under one owner: keys 0 and 1 in bucket 0, keys 2 and 3 in bucket 1;
writers elsewhere, and a process that reads, hears messages, and may miss some.

    python3 generations.py [RULE]...       check with these rules switched off (none: the whole protocol)

Redis holds nothing under a key's name that is older than an invalidation applied there; a reader gets nothing older
than what his process had heard of when he began (an invalidation counts as heard of once the process has taken over a
state of the record that has it), unless he reads a replica past the cache; reader 1, whatever he reads, nothing older
than what his session wrote. A write to one key is of key 0 or
key 2, a bulk write is of them all. A read asks Redis by name or by the script, and goes on some time after the answer
came: messages behind it may have been handled by then.

In the beginning Redis holds keys 0 and 2. BOUNDS="writes bulks reads-of-0 reads-of-1 events" (default "0 1 1 1 1"),
KEYS: which keys are read, and written of 0 and 2 (default "0 1"; `everywhere` needs key 2). EVENTS, each of which costs
one of the bound (default: all):
lost        a message never arrives
anew        a record is made anew
reconnect   the process loses its connection and what was on its way, and forgets all it believed
"""

import os
import sys
from typing import NamedTuple

from search import rules_off, search

RULES = {
    "everywhere": "a bulk write moves the generation in every bucket",
    "floor": "and raises each one's floor, or a replica that lags fills under the new generation",
    "generation": "a fill lands only under the generation of its lease, or L1 keeps it for having landed",
    "gap": "a message that is not the next one drops all that is known of the bucket",
    "gap told": "and so does an answer that knows of more",
    "since": "an answer from before the view began is not believed: a message that was lost may have contradicted it",
    "newest": "an answer that is older than the view does not put its generation back",
    "record": "an answer of an older record does not replace the view of a newer one",
    "forgotten": "what GET brought under a view that is gone does not count: nobody tells what was missed since",
    "same view": "nor does L1 keep what was filled under one",
    "moved": "what was invalidated since it was asked for stays out of L1",
    "bookmark": "a session takes values only from a record, and by a view, that knows of what it wrote there",
}
OFF = rules_off(RULES, sys.argv[1:])
WRITES, BULKS, *READS, MOST = map(int, os.environ.get("BOUNDS", "0 1 1 1 1").split())
EVENTS = set(os.environ.get("EVENTS", "lost anew reconnect").split())
KEYS = tuple(map(int, os.environ.get("KEYS", "0 1").split()))
ALL = -1


def bucket(key):
    return key // 2


def covers(target, key):
    return target in (key, ALL)


class Rec(NamedTuple):
    """A bucket's record. `gen`: number of its newest generation."""

    inc: int = 0
    seq: int = 0
    gen: int = 0
    floor: object = 0  # None: unknown


class View(NamedTuple):
    """What the process believes of a bucket."""

    inc: int
    seq: int
    since: int
    gen: object = None


class Reader(NamedTuple):
    """stage: named open opened read fill filled. `same`, `touched`: whether the view is the one that he asked under,
    and the key was invalidated since. `need`: he may get nothing older, `own`: nowhere. `mark`: of his session."""

    key: int
    stage: str
    need: int
    own: int = 0
    mark: tuple = ()
    same: bool = True
    touched: bool = False
    name: tuple = ()  # incarnation and generation
    answer: object = None  # of a script: (kind, incarnation, seq, generation, value or floor)
    value: object = None


class S(NamedTuple):
    log: tuple = ()  # the primary's commits: which keys; a version is a place in it
    rep: int = 0
    pending: tuple = ()  # publications on their way: (bucket, target, version)
    recs: tuple = (Rec(), Rec())
    # sorted: a key, its record's incarnation and generation; a version or ('L', reader)
    cells: tuple = (((0, (0, 0)), 0), ((2, (0, 0)), 0))
    applied: tuple = ((), ())  # by bucket, in order: (incarnation, seq, target, version)
    queue: tuple = ()  # messages on their way: (bucket, incarnation, seq, target, generation or None)
    views: tuple = (View(0, 0, 0, 0), View(0, 0, 0, 0))
    heard: tuple = (0, 0, 0, 0)  # by key, the newest version whose invalidation the process knows of
    l1: tuple = (None,) * 4
    marks: tuple = ()  # what the session's bookmark tells, or will: (bucket, incarnation, seq, version)
    readers: tuple = (None, None)
    left: tuple = (WRITES, BULKS, MOST, *READS)
    wrong: str = ""


def put(t, i, v):
    return t[:i] + (v,) + t[i + 1 :]


def at(log, position, key):
    """The key's version in a snapshot."""
    return max((n for n, target in enumerate(log[:position], 1) if covers(target, key)), default=0)


def cell(s, key, name):
    return dict(s.cells).get((key, name))


def store(s, key, name, v):
    cells = dict(s.cells)
    cells.pop((key, name), None)
    if v is not None:
        cells[key, name] = v
    return s._replace(cells=tuple(sorted(cells.items(), key=lambda c: c[0])))


def drop(s, key):
    """A key was invalidated in the process."""
    readers = tuple(r._replace(touched=True) if r and r.key == key else r for r in s.readers)
    return s._replace(l1=put(s.l1, key, None), readers=readers)


def clear(s, b):
    for key in (2 * b, 2 * b + 1):
        s = drop(s, key)
    return s


def seen(s, b, view, replaced):
    """The process has a view that knows of what was applied up to it."""
    until = (view.inc, view.seq)
    known = [(target, version) for inc, seq, target, version in s.applied[b] if (inc, seq) <= until]
    heard = s.heard
    for key in (2 * b, 2 * b + 1):
        heard = put(heard, key, max([heard[key], *(v for target, v in known if covers(target, key))]))
    readers = s.readers
    if replaced:
        readers = tuple(r._replace(same=False) if r and bucket(r.key) == b else r for r in readers)
    return s._replace(views=put(s.views, b, view), heard=heard, readers=readers)


def apply(s, message):
    """Views.apply."""
    b, inc, seq, target, gen = message
    view = s.views[b]
    if view is not None and view.inc == inc and seq <= view.seq:
        return s
    replaced = view is None or view.inc != inc or (seq != view.seq + 1 and "gap" not in OFF)
    if replaced:
        s, view = s if view is None else clear(s, b), View(inc, seq, seq)
    view = view._replace(seq=seq)
    if target == ALL:
        s, view = clear(s, b), view._replace(gen=gen)
    elif target is not None:
        s = drop(s, target)
    return seen(s, b, view, replaced)


def deliver(s):
    """A reply comes behind all messages that Redis sent before it."""
    for message in s.queue:
        s = apply(s, message)
    return s._replace(queue=())


def adopted(s, p):
    """Views.adopt; None: the answer is not believed."""
    r = s.readers[p]
    b = bucket(r.key)
    view, (_, inc, seq, gen, _) = s.views[b], r.answer
    if view is not None and view.inc == inc:
        if view.seq < seq:
            if "gap told" in OFF:
                s = seen(s, b, view._replace(seq=seq), False)
            else:
                s = seen(clear(s, b), b, View(inc, seq, seq), True)
    elif not r.same and "record" not in OFF:
        return None
    else:
        s = seen(s if view is None else clear(s, b), b, View(inc, seq, seq), True)
    view = s.views[b]
    if seq < view.since and "since" not in OFF:
        return None
    if view.gen is None:
        return seen(s, b, view._replace(gen=gen), False)
    if view.gen != gen:
        if view.seq > seq and "newest" not in OFF:
            return None
        s = seen(clear(s, b), b, view._replace(gen=gen), False)
    return s


def knows(r, state):
    """Bookmark.known_to, and Views.covers. `state`: incarnation and seq, of a view or an answer."""
    wrote = [(inc, seq) for b, inc, seq, _ in r.mark if b == bucket(r.key)]
    if not wrote or "bookmark" in OFF:
        return True
    return state is not None and {inc for inc, _ in wrote} == {state[0]} and wrote[-1][1] <= state[1]


def got(s, p, value, reader=None, keep=False):
    """Reader p has his answer, and goes on as `reader`; L1 may `keep` it."""
    r, wrong = s.readers[p], ""
    if value < r.need:
        wrong = f"reader {p} got version {value} of key {r.key}, and {r.need} was known to him"
    if keep and (not r.touched or "moved" in OFF) and (r.same or "same view" in OFF or r.stage == "got"):
        s = s._replace(l1=put(s.l1, r.key, value))
    return s._replace(readers=put(s.readers, p, reader), wrong=s.wrong or wrong)


def begins(s, p, key):
    coming = {version for _, _, version in s.pending}  # the session goes on when all its buckets have answered
    mark = tuple(each for each in s.marks if each[3] not in coming) if p else ()
    own = max((version for *_, version in mark if covers(s.log[version - 1], key)), default=0)
    r = Reader(key, "open", max(s.heard[key], own), own, mark)
    view = s.views[bucket(key)]
    s = s._replace(left=put(s.left, 3 + p, s.left[3 + p] - 1), readers=put(s.readers, p, r))
    if s.l1[key] is not None and knows(r, view):
        return "l1-hit", got(s, p, s.l1[key])
    if view is not None and view.gen is not None and knows(r, view):
        r = r._replace(stage="named", name=(view.inc, view.gen))
    return r.stage, s._replace(readers=put(s.readers, p, r))


def reads(s, p):
    """What reader p may do next."""
    r = s.readers[p]
    if r is None:
        if s.left[3 + p]:
            for key in KEYS:
                how, t = begins(s, p, key)
                yield f"{how}-{key}", t
        return
    b = bucket(r.key)

    def to(s, **what):
        return s._replace(readers=put(s.readers, p, s.readers[p]._replace(**what)))

    if r.stage == "named":
        t = deliver(s)
        now = cell(t, r.key, r.name)
        yield "get", to(t, stage="got" if isinstance(now, int) else "open", value=now if isinstance(now, int) else None)
    elif r.stage == "got":
        if (r.same or "forgotten" in OFF) and (s.views[b] is None or s.views[b].gen == r.name[1]):
            yield "l2-hit", got(s, p, r.value, keep=True)
        else:
            yield "old-name", to(s, stage="open", value=None)
    elif r.stage == "open":
        t = to(deliver(s), same=True, touched=False)
        rec = t.recs[b]
        name = (rec.inc, rec.gen)
        now = cell(t, r.key, name)
        if isinstance(now, int):
            answers = [("value", now)]
        elif now is None:
            answers = [("lease", rec.floor)]
        else:
            answers = [("wait", rec.floor)]
        for kind, what in answers:
            u = store(t, r.key, name, ("L", p)) if kind == "lease" else t
            yield f"open-{kind}", to(u, stage="opened", name=name, answer=(kind, rec.inc, rec.seq, rec.gen, what))
    elif r.stage == "opened":
        t = adopted(s, p)
        t = t and t._replace(readers=put(t.readers, p, t.readers[p]._replace(same=True)))
        kind, inc, seq, _, what = r.answer
        if t is None:  # his own lease, if he has one, stays and is met again: he waits for it in vain
            yield "not-believed", to(s, stage="open", answer=None)
        elif kind == "value" and knows(r, (inc, seq)):
            yield "l2-value", got(t, p, what, keep=True)
        elif kind == "value":
            yield "past-the-cache", to(t, stage="read", need=r.own, answer=(kind, 0))
        else:
            yield kind, to(t, stage="read", same=True, answer=(kind, what))
    elif r.stage == "read":
        kind, floor = r.answer
        need = max([floor or 0, *(version for *_, version in r.mark if "bookmark" not in OFF)])
        nodes = [("primary", len(s.log))]
        if floor is not None and s.rep >= need:
            nodes.append(("replica", s.rep))
        for how, position in nodes:
            value = at(s.log, position, r.key)
            if kind == "lease":
                fill = Reader(r.key, "fill", 0, same=r.same, name=r.name, value=value)
                yield how, got(s, p, value, fill)
            else:
                yield how, got(s, p, value)
    elif r.stage == "fill":
        t = to(deliver(s), touched=False)
        rec = t.recs[b]
        current = rec.inc == r.name[0] and (rec.gen == r.name[1] or "generation" in OFF)
        if current and cell(t, r.key, r.name) == ("L", p):
            yield "fill", to(store(t, r.key, r.name, r.value), stage="filled")
        else:
            yield "fill-refused", t._replace(readers=put(t.readers, p, None))
    elif r.stage == "filled":
        yield "ends", got(s, p, r.value, keep=True)


def forgets(s):
    """Views.down, Views.up. A GET that was answered knows of it by its view alone."""
    readers = tuple(
        r and r._replace(same=False, touched=r.touched or r.stage not in ("named", "got")) for r in s.readers
    )
    return s._replace(queue=(), views=(None, None), l1=(None,) * 4, readers=readers)


def publish(s, i):
    b, target, version = s.pending[i]
    pending = s.pending[:i] + s.pending[i + 1 :]
    rec = s.recs[b]
    bulk = target == ALL
    floor = rec.floor
    if floor is not None and not (bulk and "floor" in OFF):
        floor = max(floor, version)
    rec = Rec(rec.inc, rec.seq + 1, rec.gen + bulk, floor)
    s = s if bulk else store(s, target, (rec.inc, rec.gen), None)
    message = (b, rec.inc, rec.seq, target, rec.gen if bulk else None)
    return s._replace(
        recs=put(s.recs, b, rec),
        applied=put(s.applied, b, (*s.applied[b], (rec.inc, rec.seq, target, version))),
        queue=(*s.queue, message),
        pending=pending,
        marks=(*s.marks, (b, rec.inc, rec.seq, version)),
    )


def steps(s):
    writes, bulks, events, *_ = s.left
    less = s._replace(left=put(s.left, 2, events - 1))
    version = len(s.log) + 1
    for key in (0, 2):
        if writes and key in KEYS:
            t = s._replace(log=(*s.log, key), pending=(*s.pending, (bucket(key), key, version)))
            yield f"commit-{key}", t._replace(left=put(s.left, 0, writes - 1))
    if bulks:
        pending = tuple((b, ALL, version) for b in (0, 1)[: 1 if "everywhere" in OFF else 2])
        t = s._replace(log=(*s.log, ALL), pending=s.pending + pending)
        yield "commit-all", t._replace(left=put(s.left, 1, bulks - 1))
    for i, (b, target, _) in enumerate(s.pending):
        yield f"publish-{'all' if target == ALL else target}-in-{b}", publish(s, i)
    if s.rep < len(s.log):
        yield "replay", s._replace(rep=s.rep + 1)
    if s.queue:
        yield "message", apply(s, s.queue[0])._replace(queue=s.queue[1:])
        if events and "lost" in EVENTS:
            yield "message-lost", less._replace(queue=s.queue[1:])
    for b in (0, 1) if events and "anew" in EVENTS else ():
        inc = s.recs[b].inc + 1
        yield (
            f"record-{b}-anew",
            less._replace(recs=put(s.recs, b, Rec(inc, 0, 0, None)), queue=(*s.queue, (b, inc, 0, None, None))),
        )
    if events and "reconnect" in EVENTS:
        yield "reconnect", forgets(less)
    for p in (0, 1):
        for name, t in reads(s, p):
            yield f"r{p}.{name}", t


def bad(s):
    if s.wrong:
        return s.wrong
    for (key, name), v in s.cells:
        rec = s.recs[bucket(key)]
        if isinstance(v, int) and name == (rec.inc, rec.gen):
            newest = max((n for _, _, target, n in s.applied[bucket(key)] if covers(target, key)), default=0)
            if v < newest:
                return f"Redis holds version {v} of key {key} after the invalidation of {newest}"
    for key, v in enumerate(s.l1):
        if v is not None and v < s.heard[key]:
            return f"L1 holds version {v} of key {key}, and the process has heard of {s.heard[key]}"


if __name__ == "__main__":
    sys.exit(search(S(), steps, bad, OFF))
