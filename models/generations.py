"""Explicit-state check of several keys and buckets under one owner: keys 0 and 1 in bucket 0, keys 2 and 3 in bucket 1,
and a record of the owner's own with its generation; writers elsewhere, and a process that reads, hears messages, and
may miss some.

    python3 generations.py [RULE]...       check with these rules switched off (none: the whole protocol)

Redis holds nothing under a key's name that is older than an invalidation applied there; a reader gets nothing older
than what his process had heard of when he began (an invalidation counts as heard of once the process has taken over a
state of the record that has it), unless he reads a replica past the cache; reader 1, whatever he reads, nothing older
than what his session wrote. A write is of one of
the keys, a bulk write is of them all: it touches the owner's record alone. A read asks Redis by name or by the script,
which looks at both records, and goes on some time after the answer came: messages behind it may have been handled by
then.

In the beginning Redis holds keys 0 and 2. BOUNDS="writes bulks reads-of-0 reads-of-1 events" (default "0 1 1 1 1"),
KEYS: which keys are read and written (default "0 1"). EVENTS, each of which costs one of the bound
(default: all):
lost        a message never arrives
anew        a record is made anew
reconnect   the process loses its connection and what was on its way, and forgets all it believed
"""

import os
import sys
from typing import NamedTuple

from search import rules_off, search

RULES = {
    "owner": "a bulk write moves the generation, which is part of every key's name, and is asked for with every key",
    "owner told": "a message of a key tells of the owner's record too: one of its own may have been lost",
    "floor": "and raises the owner's floor, which binds fills beside the bucket's",
    "generation": "a fill lands only under the generation of its lease, or L1 keeps it for having landed",
    "gap": "a message that is not the next one drops all that is known of the bucket",
    "gap told": "and so does an answer that knows of more",
    "since": "an answer from before the view began is not believed: a message that was lost may have contradicted it",
    "newest": "an answer that is older than the view does not put its generation back",
    "record": "an answer of an older record does not replace the view of a newer one",
    "forgotten": "what GET brought under a view that is gone does not count: nobody tells what was missed since",
    "same view": "nor does L1 keep what was filled under one",
    "moved": "what was invalidated since it was asked for stays out of L1",
    "owner moved": "nor what was asked for before the owner changed as a whole",
    "bookmark": "a session takes values only from records, and by views, that know of what it wrote there",
    "owner's bookmark": "of a bulk write the owner's",
}
OFF = rules_off(RULES, sys.argv[1:])
WRITES, BULKS, *READS, MOST = map(int, os.environ.get("BOUNDS", "0 1 1 1 1").split())
EVENTS = set(os.environ.get("EVENTS", "lost anew reconnect").split())
KEYS = tuple(map(int, os.environ.get("KEYS", "0 1").split()))
ALL = -1
OWNER = 2
"""Of the records, that of the owner."""


def bucket(key):
    return key // 2


def keys_of(record):
    """Whose values lie under names with this record's state."""
    return (0, 1, 2, 3) if record == OWNER else (2 * record, 2 * record + 1)


def covers(target, key):
    return target in (key, ALL)


class Rec(NamedTuple):
    """A bucket's record, or the owner's. `gen`: number of its newest generation."""

    inc: int = 0
    seq: int = 0
    gen: int = 0
    floor: object = 0  # None: unknown


class View(NamedTuple):
    """What the process believes of a record. `gen`: that of the owner's."""

    inc: int
    seq: int
    since: int
    gen: object = None


class Reader(NamedTuple):
    """stage: named open opened read fill filled. `same`, `same_own`: whether the bucket's and the owner's views are
    the ones that he asked under; `touched`: the key was invalidated since; `swept`: the owner was, as a whole. `need`:
    he may get nothing older, `own`: nowhere. `mark`: of his session."""

    key: int
    stage: str
    need: int
    own: int = 0
    mark: tuple = ()
    same: bool = True
    same_own: bool = True
    touched: bool = False
    swept: bool = False
    name: tuple = ()  # incarnation, and the owner's incarnation and generation
    answer: object = None  # of a script: (kind, both records, value or floor)
    value: object = None


class S(NamedTuple):
    log: tuple = ()  # the primary's commits: which keys; a version is a place in it
    rep: int = 0
    pending: tuple = ()  # publications on their way: (record, target, version)
    recs: tuple = (Rec(), Rec(), Rec())
    # sorted: a key, its name; a version or ('L', reader)
    cells: tuple = (((0, (0, 0, 0)), 0), ((2, (0, 0, 0)), 0))
    applied: tuple = ((), (), ())  # by record, in order: (incarnation, seq, target, version)
    # Messages on their way: (record, incarnation, seq, target, generation or None, the owner's incarnation and seq).
    queue: tuple = ()
    views: tuple = (View(0, 0, 0), View(0, 0, 0), View(0, 0, 0, 0))
    heard: tuple = (0, 0, 0, 0)  # by key, the newest version whose invalidation the process knows of
    l1: tuple = (None,) * 4
    marks: tuple = ()  # what the session's bookmark tells, or will: (record, incarnation, seq, version)
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


def name_of(s, key):
    """Under which the key's value lies now."""
    rec, own = s.recs[bucket(key)], s.recs[OWNER]
    return (rec.inc, own.inc, own.gen)


def store(s, key, name, v):
    cells = dict(s.cells)
    cells.pop((key, name), None)
    if v is not None:
        cells[key, name] = v
    return s._replace(cells=tuple(sorted(cells.items(), key=lambda c: c[0])))


def drop(s, key, swept=False):
    """A key was invalidated in the process, perhaps with all of the owner's."""
    what = {"swept": True} if swept else {"touched": True}
    readers = tuple(r._replace(**what) if r and r.key == key else r for r in s.readers)
    return s._replace(l1=put(s.l1, key, None), readers=readers)


def clear(s, record):
    for key in keys_of(record):
        s = drop(s, key, record == OWNER)
    return s


def seen(s, record, view, replaced):
    """The process has a view that knows of what was applied up to it."""
    until = (view.inc, view.seq)
    known = [(target, version) for inc, seq, target, version in s.applied[record] if (inc, seq) <= until]
    heard, keys = s.heard, keys_of(record)
    for key in keys:
        heard = put(heard, key, max([heard[key], *(v for target, v in known if covers(target, key))]))
    readers = s.readers
    if replaced:
        other = {"same_own": False} if record == OWNER else {"same": False}
        readers = tuple(r._replace(**other) if r and r.key in keys else r for r in readers)
    return s._replace(views=put(s.views, record, view), heard=heard, readers=readers)


def apply(s, message):
    """Views.apply."""
    b, inc, seq, target, gen, own = message
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
    s, known = seen(s, b, view, replaced), s.views[OWNER]
    behind = own is not None and known is not None and (known.inc, known.seq) < own
    if behind and "owner told" not in OFF:
        s = seen(clear(s, OWNER), OWNER, View(*own, own[1]), True)
    return s


def deliver(s):
    """A reply comes behind all messages that Redis sent before it."""
    for message in s.queue:
        s = apply(s, message)
    return s._replace(queue=())


def adopted(s, p, record):
    """Views.adopt, of one of both records; None: the answer is not believed."""
    r = s.readers[p]
    _, *states, _ = r.answer
    rec = states[record == OWNER]
    view = s.views[record]
    if view is not None and view.inc == rec.inc:
        if view.seq < rec.seq:
            if "gap told" in OFF:
                s = seen(s, record, view._replace(seq=rec.seq), False)
            else:
                s = seen(clear(s, record), record, View(rec.inc, rec.seq, rec.seq), True)
    elif not (r.same_own if record == OWNER else r.same) and "record" not in OFF:
        return None
    else:
        s = seen(s if view is None else clear(s, record), record, View(rec.inc, rec.seq, rec.seq), True)
    view = s.views[record]
    if rec.seq < view.since and "since" not in OFF:
        return None
    if record != OWNER:
        return s
    if view.gen is None:
        return seen(s, record, view._replace(gen=rec.gen), False)
    if view.gen != rec.gen:
        if view.seq > rec.seq and "newest" not in OFF:
            return None
        s = seen(clear(s, record), record, view._replace(gen=rec.gen), False)
    return s


def knows(r, rec, own):
    """Bookmark.known_to, and Views.covers. `rec`, `own`: both records as viewed or answered."""
    if "bookmark" in OFF:
        return True
    for record, state in ((bucket(r.key), rec), (OWNER, own)):
        wrote = [(inc, seq) for at, inc, seq, _ in r.mark if at == record]
        if not wrote or (record == OWNER and "owner's bookmark" in OFF):
            continue
        if state is None or {inc for inc, _ in wrote} != {state.inc} or wrote[-1][1] > state.seq:
            return False
    return True


def got(s, p, value, reader=None, keep=False):
    """Reader p has his answer, and goes on as `reader`; L1 may `keep` it."""
    r, wrong = s.readers[p], ""
    if value < r.need:
        wrong = f"reader {p} got version {value} of key {r.key}, and {r.need} was known to him"
    moved = (r.touched and "moved" not in OFF) or (r.swept and "owner moved" not in OFF)
    if keep and not moved and ((r.same and r.same_own) or "same view" in OFF or r.stage == "got"):
        s = s._replace(l1=put(s.l1, r.key, value))
    return s._replace(readers=put(s.readers, p, reader), wrong=s.wrong or wrong)


def begins(s, p, key):
    coming = {version for _, _, version in s.pending}  # the session goes on when all its buckets have answered
    mark = tuple(each for each in s.marks if each[3] not in coming) if p else ()
    own = max((version for *_, version in mark if covers(s.log[version - 1], key)), default=0)
    r = Reader(key, "open", max(s.heard[key], own), own, mark)
    view, own = s.views[bucket(key)], s.views[OWNER]
    s = s._replace(left=put(s.left, 3 + p, s.left[3 + p] - 1), readers=put(s.readers, p, r))
    if s.l1[key] is not None and knows(r, view, own):
        return "l1-hit", got(s, p, s.l1[key])
    if view is not None and own is not None and own.gen is not None and knows(r, view, own):
        r = r._replace(stage="named", name=(view.inc, own.inc, own.gen))
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
        own = s.views[OWNER]
        if ((r.same and r.same_own) or "forgotten" in OFF) and (own is None or (own.inc, own.gen) == r.name[1:]):
            yield "l2-hit", got(s, p, r.value, keep=True)
        else:
            yield "old-name", to(s, stage="open", value=None)
    elif r.stage == "open":
        t = to(deliver(s), same=True, same_own=True, touched=False, swept=False)
        rec, own = t.recs[b], t.recs[OWNER]
        name = name_of(t, r.key)
        now = cell(t, r.key, name)
        floors = [rec.floor, 0 if "floor" in OFF else own.floor]
        floor = None if None in floors else max(floors)
        if isinstance(now, int):
            answers = [("value", now)]
        elif now is None:
            answers = [("lease", floor)]
        else:
            answers = [("wait", floor)]
        for kind, what in answers:
            u = store(t, r.key, name, ("L", p)) if kind == "lease" else t
            yield f"open-{kind}", to(u, stage="opened", name=name, answer=(kind, rec, own, what))
    elif r.stage == "opened":
        t = adopted(s, p, b)
        t = t and adopted(t, p, OWNER)
        t = t and t._replace(readers=put(t.readers, p, t.readers[p]._replace(same=True, same_own=True)))
        kind, rec, own, what = r.answer
        if t is None:  # his own lease, if he has one, stays and is met again: he waits for it in vain
            yield "not-believed", to(s, stage="open", answer=None)
        elif kind == "value" and knows(r, rec, own):
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
                fill = Reader(r.key, "fill", 0, same=r.same, same_own=r.same_own, name=r.name, value=value)
                yield how, got(s, p, value, fill)
            else:
                yield how, got(s, p, value)
    elif r.stage == "fill":
        t = to(deliver(s), touched=False, swept=False)
        rec, own = t.recs[b], t.recs[OWNER]
        current = rec.inc == r.name[0] and ((own.inc, own.gen) == r.name[1:] or "generation" in OFF)
        if current and cell(t, r.key, r.name) == ("L", p):
            yield "fill", to(store(t, r.key, r.name, r.value), stage="filled")
        else:
            yield "fill-refused", t._replace(readers=put(t.readers, p, None))
    elif r.stage == "filled":
        yield "ends", got(s, p, r.value, keep=True)


def forgets(s):
    """Views.down, Views.up. A GET that was answered knows of it by its view alone."""
    readers = tuple(
        r and r._replace(same=False, same_own=False, touched=r.touched or r.stage not in ("named", "got"))
        for r in s.readers
    )
    return s._replace(queue=(), views=(None,) * 3, l1=(None,) * 4, readers=readers)


def publish(s, i):
    record, target, version = s.pending[i]
    pending = s.pending[:i] + s.pending[i + 1 :]
    rec = s.recs[record]
    bulk = target == ALL
    floor = rec.floor if rec.floor is None else max(rec.floor, version)
    if not bulk:
        s = store(s, target, name_of(s, target), None)
    rec = Rec(rec.inc, rec.seq + 1, rec.gen + (bulk and "owner" not in OFF), floor)
    own = None if bulk else (s.recs[OWNER].inc, s.recs[OWNER].seq)
    message = (record, rec.inc, rec.seq, target, rec.gen if bulk else None, own)
    return s._replace(
        recs=put(s.recs, record, rec),
        applied=put(s.applied, record, (*s.applied[record], (rec.inc, rec.seq, target, version))),
        queue=(*s.queue, message),
        pending=pending,
        marks=(*s.marks, (record, rec.inc, rec.seq, version)),
    )


def steps(s):
    writes, bulks, events, *_ = s.left
    less = s._replace(left=put(s.left, 2, events - 1))
    version = len(s.log) + 1
    for key in KEYS:
        if writes:
            t = s._replace(log=(*s.log, key), pending=(*s.pending, (bucket(key), key, version)))
            yield f"commit-{key}", t._replace(left=put(s.left, 0, writes - 1))
    if bulks:
        t = s._replace(log=(*s.log, ALL), pending=(*s.pending, (OWNER, ALL, version)))
        yield "commit-all", t._replace(left=put(s.left, 1, bulks - 1))
    for i, (b, target, _) in enumerate(s.pending):
        yield f"publish-{'all' if target == ALL else target}-in-{b}", publish(s, i)
    if s.rep < len(s.log):
        yield "replay", s._replace(rep=s.rep + 1)
    if s.queue:
        yield "message", apply(s, s.queue[0])._replace(queue=s.queue[1:])
        if events and "lost" in EVENTS:
            yield "message-lost", less._replace(queue=s.queue[1:])
    for b in (0, 1, OWNER) if events and "anew" in EVENTS else ():
        inc = s.recs[b].inc + 1
        yield (
            f"record-{b}-anew",
            less._replace(recs=put(s.recs, b, Rec(inc, 0, 0, None)), queue=(*s.queue, (b, inc, 0, None, None, None))),
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
        if isinstance(v, int) and name == name_of(s, key):
            applied = s.applied[bucket(key)] + s.applied[OWNER]
            newest = max((n for _, _, target, n in applied if covers(target, key)), default=0)
            if v < newest:
                return f"Redis holds version {v} of key {key} after the invalidation of {newest}"
    for key, v in enumerate(s.l1):
        if v is not None and v < s.heard[key]:
            return f"L1 holds version {v} of key {key}, and the process has heard of {s.heard[key]}"


if __name__ == "__main__":
    sys.exit(search(S(), steps, bad, OFF))
