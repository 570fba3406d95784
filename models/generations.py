"""Explicit-state check of several keys and buckets under one owner: keys 0 and 1 in bucket 0, keys
2 and 3 in bucket 1, and a record of the owner's own with its generation; writers elsewhere, and a
process that reads, hears messages, and may miss some.

    python3 generations.py [RULE]...     check with these rules off (none: the whole protocol)

Redis holds nothing under a key's name that is older than an invalidation applied there; a reader
gets nothing older than what his process had heard of when he began (an invalidation counts as heard
of once its message was handled, or an answer was believed that has it), unless he reads a replica
past the cache; reader 1, whatever he reads, nothing older than what his session wrote. And if
nothing was heard of a record while it was asked, its answer is believed: a forger costs misses, and
not for longer than he goes on.

A write is of one of the keys, a bulk write is of them all: it touches the owner's record alone. A
read asks Redis by name or by the script, which looks at both records, and goes on some time after
the answer came: messages behind it may have been handled by then. `beliefs.py` says what the
process makes of messages and answers.

In the beginning Redis holds keys 0 and 2, and L1 key 0. BOUNDS="writes bulks reads-of-0 reads-of-1
events" (default "0 1 1 1 1"), KEYS: which keys are read and written (default "0 1"). EVENTS, each
of which costs one of the bound (default: the first three):
lost        a message never arrives
anew        a record is made anew
reconnect   the process loses its connection and what was on its way, and forgets all it believed
forged      somebody publishes what he likes: the next message of a record as he has seen it, or
            another, the first one again, an old generation, an owner's record that is further; he
            knows all that was published, and not what will be
"""

import os
import sys
from typing import NamedTuple

from beliefs import BELIEFS, FORGED, Doubt, Said, View, hear, is_at, take
from search import rules_off, search

RULES = {
    "owner": (
        "a bulk write moves the generation, which is part of every key's name, and is asked for "
        "with every key"
    ),
    "owner told": (
        "a message of a key tells of the owner's record too: one of its own may have been lost"
    ),
    "floor": "and raises the owner's floor, which binds fills beside the bucket's",
    "generation": (
        "a fill lands only under the generation of its lease, or L1 keeps it for having landed"
    ),
    "forgotten": (
        "what GET brought under a view that is gone does not count: nobody tells what was missed "
        "since"
    ),
    "same view": "nor does L1 keep what was filled under one",
    "moved": "what was invalidated since it was asked for stays out of L1",
    "owner moved": "nor what was asked for before the owner changed as a whole",
    "bookmark": (
        "a session takes values only from records, and by views, that know of what it wrote there"
    ),
    "owner's bookmark": "of a bulk write the owner's",
    "told": (
        "and of a view only what an answer of the record has told: a message of that number may "
        "be anybody's"
    ),
    "no repetition": (
        "a message whose number was heard already is none if its tip is another: one of both is "
        "forged"
    ),
    "generation asked": "a message makes the generation unknown, and only an answer tells it",
    **BELIEFS,
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

    @property
    def said(self):
        """What an answer or a message says of it: each change has a tip of its own, and tells the
        one before."""
        return Said(self.inc, self.seq, (self.inc, self.seq), (self.inc, self.seq - 1))


class Reader(NamedTuple):
    """stage: named open opened read fill filled. `same`, `same_own`: whether what is believed of
    the bucket and of the owner is what he asked under; `noted`: the numbers of both that were heard
    by then; `calm`: nothing was heard of them since. `touched`: the key was invalidated since;
    `swept`: the owner was, as a whole. `need`: he may get nothing older, `own`: nowhere. `mark`: of
    his session."""

    key: int
    stage: str
    need: int
    own: int = 0
    mark: tuple = ()
    same: bool = True
    same_own: bool = True
    noted: tuple = (0, 0)
    calm: bool = False
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
    # Messages on their way: (record, what it says of itself, target, generation or None, what it
    # says of the owner's).
    queue: tuple = ()
    views: tuple = (View(), View(), View(gen=0))
    # By key, the newest version whose invalidation the process knows of.
    heard: tuple = (
        0,
        0,
        0,
        0,
    )
    l1: tuple = (0, None, None, None)
    # What the session's bookmark tells, or will: (record, incarnation, seq, version).
    marks: tuple = ()
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


def knows_of(s, record, until):
    """What was applied to the record until it was in this state is known in the process."""
    known = [
        (target, version) for inc, seq, target, version in s.applied[record] if (inc, seq) <= until
    ]
    heard = s.heard
    for key in keys_of(record):
        heard = put(
            heard, key, max([heard[key], *(v for target, v in known if covers(target, key))])
        )
    return s._replace(heard=heard)


def viewed(s, record, view):
    """The process believes this from now on."""
    return s._replace(views=put(s.views, record, view))


def other(s, record, view, how="begins"):
    """Whoever has asked has asked under something else than what is believed from now on."""
    field, keys = "same_own" if record == OWNER else "same", keys_of(record)

    def now(same):
        first = how == "doubt" and same is True
        goes_on = same == "once" and (how == "more" or (how == "doubt" and "one doubt" in OFF))
        return "once" if first or goes_on else False

    readers = tuple(
        r._replace(**{field: now(getattr(r, field))}) if r and r.key in keys else r
        for r in s.readers
    )
    return viewed(s, record, view)._replace(readers=readers)


def apply(s, message):
    """Views.apply."""
    b, said, target, gen, own = message
    view = s.views[b]
    if said.tip != FORGED:
        s = knows_of(s, b, (said.inc, said.seq))
    if (
        "no repetition" in OFF
        and isinstance(view, View)
        and view.inc == said.inc
        and said.seq <= view.heard
    ):
        return s
    s = s._replace(
        readers=tuple(r and r._replace(calm=r.calm and r.key not in keys_of(b)) for r in s.readers)
    )
    if target == ALL:
        s = clear(s, b)
    elif target is not None:
        s = drop(s, target)
    how, view = hear(view, said, OFF)
    if how in ("doubt", "more", "begins"):
        s = other(clear(s, b) if isinstance(s.views[b], View) else s, b, view, how)
    elif target == ALL:
        s = viewed(s, b, view._replace(gen=gen if "generation asked" in OFF else None))
    else:
        s = viewed(s, b, view)
    owner = s.views[OWNER]
    if (
        own is not None
        and isinstance(owner, View)
        and not is_at(owner, own)
        and "owner told" not in OFF
    ):
        s = other(clear(s, OWNER), OWNER, Doubt(own[:3]), "doubt")
    return s


def deliver(s):
    """A reply comes behind all messages that Redis sent before it."""
    for message in s.queue:
        s = apply(s, message)
    return s._replace(queue=())


def adopted(s, p, record):
    """Views.adopt, of one of both records; None: the answer is not believed."""
    r = s.readers[p]
    own = record == OWNER
    rec = r.answer[1 + own]
    how, view = take(s.views[record], rec.said, r.same_own if own else r.same, r.noted[own], OFF)
    if how == "refused":
        return None
    if how == "replaced":
        s = other(clear(s, record) if isinstance(s.views[record], View) else s, record, view)
    s = viewed(s, record, view)
    if how != "older":
        s = knows_of(s, record, (rec.inc, rec.seq))
    if not own or view.gen == rec.gen:
        return s
    if view.heard > rec.seq and "newest" not in OFF:
        return None
    return viewed(s if view.gen is None else clear(s, record), record, view._replace(gen=rec.gen))


def knows(r, rec, own):
    """Bookmark.known_to, and Views.covers. `rec`, `own`: incarnation and number of both records."""
    if "bookmark" in OFF:
        return True
    for record, state in ((bucket(r.key), rec), (OWNER, own)):
        wrote = [(inc, seq) for at, inc, seq, _ in r.mark if at == record]
        if not wrote or (record == OWNER and "owner's bookmark" in OFF):
            continue
        if state is None or {inc for inc, _ in wrote} != {state[0]} or wrote[-1][1] > state[1]:
            return False
    return True


def got(s, p, value, reader=None, keep=False):
    """Reader p has his answer, and goes on as `reader`; L1 may `keep` it."""
    r, wrong = s.readers[p], ""
    if value < r.need:
        wrong = f"reader {p} got version {value} of key {r.key}, and {r.need} was known to him"
    moved = (r.touched and "moved" not in OFF) or (r.swept and "owner moved" not in OFF)
    if (
        keep
        and not moved
        and (r.same is r.same_own is True or "same view" in OFF or r.stage == "got")
    ):
        s = s._replace(l1=put(s.l1, r.key, value))
    return s._replace(readers=put(s.readers, p, reader), wrong=s.wrong or wrong)


def begins(s, p, key):
    coming = {
        version for _, _, version in s.pending
    }  # the session goes on when all its buckets have answered
    mark = tuple(each for each in s.marks if each[3] not in coming) if p else ()
    own = max((version for *_, version in mark if covers(s.log[version - 1], key)), default=0)
    r = Reader(key, "open", max(s.heard[key], own), own, mark)
    view, own = (v if isinstance(v, View) else None for v in (s.views[bucket(key)], s.views[OWNER]))
    s = s._replace(left=put(s.left, 3 + p, s.left[3 + p] - 1), readers=put(s.readers, p, r))
    known = knows(r, *(v and (v.inc, v.heard if "told" in OFF else v.told) for v in (view, own)))
    if s.l1[key] is not None and known:
        return "l1-hit", got(s, p, s.l1[key])
    if view is not None and own is not None and own.gen is not None and known:
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
        yield (
            "get",
            to(
                t,
                stage="got" if isinstance(now, int) else "open",
                value=now if isinstance(now, int) else None,
            ),
        )
    elif r.stage == "got":
        own = s.views[OWNER]
        now = isinstance(own, Doubt) or (own.inc, own.gen) == r.name[1:]
        if (r.same is r.same_own is True or "forgotten" in OFF) and now:
            yield "l2-hit", got(s, p, r.value, keep=True)
        else:
            yield "old-name", to(s, stage="open", value=None)
    elif r.stage == "open":
        asked = (s.views[b], s.views[OWNER])
        noted = tuple(view.heard if isinstance(view, View) else 0 for view in asked)
        t = to(s, same=True, same_own=True, touched=False, swept=False, noted=noted, calm=True)
        t = deliver(t)
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
        t = t and t._replace(
            readers=put(t.readers, p, t.readers[p]._replace(same=True, same_own=True))
        )
        kind, rec, own, what = r.answer
        # His own lease, if he has one, stays and is met again: he waits for it in vain.
        if t is None:
            calm = r.calm and r.same is r.same_own is True
            why = (
                f"reader {p} is not given what Redis answered, and nothing contradicts it"
                if calm
                else ""
            )
            yield "not-believed", to(s, stage="open", answer=None)._replace(wrong=s.wrong or why)
        elif kind == "value" and knows(r, rec[:2], own[:2]):
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
                fill = Reader(
                    r.key, "fill", 0, same=r.same, same_own=r.same_own, name=r.name, value=value
                )
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
        r
        and r._replace(
            same=False,
            same_own=False,
            calm=False,
            touched=r.touched or r.stage not in ("named", "got"),
        )
        for r in s.readers
    )
    return s._replace(queue=(), views=(Doubt(),) * 3, l1=(None,) * 4, readers=readers)


def publish(s, i):
    record, target, version = s.pending[i]
    pending = s.pending[:i] + s.pending[i + 1 :]
    rec = s.recs[record]
    bulk = target == ALL
    floor = rec.floor if rec.floor is None else max(rec.floor, version)
    if not bulk:
        s = store(s, target, name_of(s, target), None)
    rec = Rec(rec.inc, rec.seq + 1, rec.gen + (bulk and "owner" not in OFF), floor)
    message = (
        record,
        rec.said,
        target,
        rec.gen if bulk else None,
        None if bulk else s.recs[OWNER].said,
    )
    return s._replace(
        recs=put(s.recs, record, rec),
        applied=put(s.applied, record, (*s.applied[record], (rec.inc, rec.seq, target, version))),
        queue=(*s.queue, message),
        pending=pending,
        marks=(*s.marks, (record, rec.inc, rec.seq, version)),
    )


def forged(s):
    """What somebody may publish who has heard all that was published."""
    for b, rec in enumerate(s.recs):
        yield f"again-{b}", (b, Rec().said, None, None, None)
        for inc in {rec.inc, rec.inc + 1, 0}:
            for seq in range(rec.seq, rec.seq + 3):
                said = Said(inc, seq, FORGED, rec.said.tip)
                yield f"forged-{b}-{inc}-{seq}", (b, said, None, None, None)
                if b == OWNER:
                    yield f"forged-all-{inc}-{seq}", (b, said, ALL, 0, None)
    ahead = s.recs[OWNER].said._replace(seq=s.recs[OWNER].seq + 1, tip=FORGED)
    yield (
        "forged-owner",
        (0, Said(s.recs[0].inc, s.recs[0].seq + 1, FORGED, s.recs[0].said.tip), None, None, ahead),
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
        new = Rec(s.recs[b].inc + 1, 0, 0, None)
        queue = (*s.queue, (b, new.said, None, None, None))
        yield f"record-{b}-anew", less._replace(recs=put(s.recs, b, new), queue=queue)
    if events and "forged" in EVENTS:
        for name, message in forged(s):
            yield name, less._replace(queue=(*s.queue, message))
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
