"""Explicit-state check of which tags a commit has an edge purge, though Redis forgets which there
are.

    python3 models/edge_tags.py [RULE]...   check with these rules switched off (none: all)

One table, one select, one page that shows its answer. Who reads the select first registers its
shape in the table's record, which is made anew for it; a commit tells the tags of the shapes that
it finds there. What Redis has lost it needs not tell: nothing that is cached under a lost record
counts. But a page at the edge counts until it is purged (`edge.py` has what is known of one row).
So a process purges all of the table until the record has been familiar for long enough.

Messages are numbered: `sent`, and `heard` by the process that renders, which then has no L1 of
before. Times are guards: what was sent by now has been heard, and what was looked at before that
has arrived (`edge.py`, "heard" and "arrived"). When all is quiet the page is not older than the
row.

BOUNDS="commits renders losses" (default "2 1 1"). PROCESSES=2: two that commit.
"""

import os
import sys
from typing import NamedTuple

from search import rules_off, search

RULES = {
    "strange": "of a record that is not familiar all of the table is purged",
    "incarnation": "another incarnation is another record",
    "missing": "a record that is not there is not familiar",
    "server": "a record that another server has written is not there",
    "proven": "it is not familiar before all of the table was purged a second time",
    "ripe": "that counts if it was seen first so long ago that no page of an older record can be "
    "on its way",
    "before": "so long before the purge is sent, and not when it is answered",
    "same": "and if it is still the record that was seen then",
}
OFF = rules_off(RULES, sys.argv[1:])
COMMITS, RENDERS, LOSSES = map(int, os.environ.get("BOUNDS", "2 1 1").split())
PROCESSES = int(os.environ.get("PROCESSES", "1"))


class Record(NamedTuple):
    """`inc`: 0: there is none."""

    inc: int = 0
    lists: bool = False
    server: int = 0


class Known(NamedTuple):
    """`since`: the messages that were sent when it was seen first."""

    inc: int
    since: int
    proven: bool = False


class Commit(NamedTuple):
    """`since`: the messages that were sent when it had told Redis."""

    process: int
    version: int
    todo: str  # tell, first, look, purge, answered
    since: int = 0
    purges: bool = False
    proof: object = None


class Render(NamedTuple):
    stage: str  # read, look, way
    began: int  # the messages that were heard
    version: int = 0
    looked: int = 0


class S(NamedTuple):
    row: int = 0
    record: Record = Record()
    copy: Record = Record()
    server: int = 0
    fresh: int = 1
    sent: int = 0
    heard: int = 0
    l1: object = None
    edge: object = None
    known: tuple = (None,) * PROCESSES
    commits: tuple = ()
    renders: tuple = ()
    left: tuple = (COMMITS, RENDERS, LOSSES)


def spent(s, i):
    return tuple(n - (at == i) for at, n in enumerate(s.left))


def put(t, i, x):
    return (*t[:i], x, *t[i + 1 :])


def without(t, x):
    at = t.index(x)
    return t[:at] + t[at + 1 :]


def there(s):
    """The record, if it counts."""
    if s.record.server != s.server and "server" not in OFF:
        return Record()
    return s.record


def anew(s, lists):
    """Made anew: what L1 has of before hears of it."""
    record = Record(s.fresh, lists, s.server)
    return s._replace(record=record, fresh=s.fresh + 1, sent=s.sent + 1)


def over(s, since):
    """What had been sent is heard, and what was looked at before that has arrived."""
    on_the_way = [each for each in s.renders if each.stage == "way" and each.looked < since]
    return s.heard >= since and not on_the_way


def commits(s):
    if s.left[0]:
        for process in range(PROCESSES):
            begun = Commit(process, s.row + 1, "tell")
            n = s._replace(row=s.row + 1, left=spent(s, 0))
            yield f"p{process} commits {n.row}", n._replace(commits=(*s.commits, begun))
    for each in s.commits:
        n = s._replace(commits=without(s.commits, each))
        if each.todo == "tell":
            record = there(s)
            if not record.inc:
                n = anew(n, lists=False)
            elif record.lists:
                n = n._replace(sent=n.sent + 1)
            after = each._replace(todo="first", since=n.sent)
            yield f"tell {each.version}", added(n, after)
        elif each.todo == "first":
            n, purges, _ = narrowed(n, each.process)
            n = n._replace(edge=None) if purges else n
            yield f"purge {each.version}", added(n, each._replace(todo="look"))
        elif each.todo == "look":
            if over(s, each.since):
                n, purges, proof = narrowed(n, each.process)
                after = each._replace(todo="purge", purges=purges, proof=proof)
                yield f"look for {each.version}", added(n, after)
        elif each.todo == "purge":
            n = n._replace(edge=None) if each.purges else n
            after = each._replace(todo="answered", purges=False)
            yield f"purge {each.version} again", added(n, after) if each.proof else n
        else:
            yield f"{each.version} is answered", proved(n, each)


def added(s, each):
    return s._replace(commits=tuple(sorted((*s.commits, each), key=repr)))


def narrowed(s, process):
    """What a process purges for a commit, and what it will know of the record once it has."""
    record, known = there(s), s.known[process]
    if not record.inc:
        forgotten = known if "missing" in OFF else None
        whole = not (known is not None and known.proven) or "missing" not in OFF
        return s._replace(known=put(s.known, process, forgotten)), whole, None
    if known is None or (known.inc != record.inc and "incarnation" not in OFF):
        known = Known(record.inc, s.sent, "proven" in OFF)
        s = s._replace(known=put(s.known, process, known))
        return s, record.lists or "strange" not in OFF, proof_of(s, known)
    if known.proven:
        return s, record.lists, None
    return s, record.lists or "strange" not in OFF, proof_of(s, known)


def proof_of(s, known):
    """At the second purge."""
    if "before" in OFF or "ripe" in OFF or over(s, known.since):
        return known._replace(proven=True)
    return None


def proved(s, each):
    known, proof = s.known[each.process], each.proof
    if proof is None or known is None:
        return s
    if known.inc != proof.inc and "same" not in OFF:
        return s
    if "before" in OFF and not over(s, proof.since):
        return s
    return s._replace(known=put(s.known, each.process, known._replace(proven=True)))


def renders(s):
    if s.left[1]:
        n = s._replace(left=spent(s, 1))
        if s.l1 is not None:
            yield "render from L1", sent(n, Render("look", s.heard, s.l1))
        n = n if there(s).lists else anew(n, lists=True)
        yield "register", sent(n, Render("read", s.heard))
    for each in s.renders:
        n = s._replace(renders=without(s.renders, each))
        if each.stage == "read":
            n = n._replace(l1=s.row) if s.heard == each.began else n
            yield f"read {s.row}", sent(n, each._replace(stage="look", version=s.row))
        elif each.stage == "look":
            if s.heard == each.began:
                after = each._replace(stage="way", looked=s.heard)
                yield "send", sent(n, after)
            else:
                yield "not kept", n
        else:
            yield f"the edge stores {each.version}", n._replace(edge=each.version)


def sent(s, each):
    return s._replace(renders=tuple(sorted((*s.renders, each))))


def losses(s):
    if s.heard < s.sent:
        yield "hear", s._replace(heard=s.sent, l1=None)
    if s.copy != s.record:
        yield "replicate", s._replace(copy=s.record)
    if s.left[2]:
        if s.record.inc:
            yield "lose the record", s._replace(record=Record(), left=spent(s, 2))
        # Links are new, and L1 of before is not believed.
        failed = s._replace(record=s.copy, server=s.server + 1, sent=s.sent + 1, left=spent(s, 2))
        yield "fail over", failed


def steps(s):
    yield from commits(s)
    yield from renders(s)
    yield from losses(s)


def bad(s):
    if s.edge is None or s.edge >= s.row or s.commits or s.renders or s.heard < s.sent:
        return None
    return f"all is quiet, the edge has the page of {s.edge}, and the row is {s.row}"


sys.exit(search(S(), steps, bad, OFF))
