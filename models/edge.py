"""Explicit-state check of pages that lie in a cache in front of the service (CDN, gateway), which
knows no lease and no floor: what is sent to it is stored, what is purged is gone.

    python3 models/edge.py [RULE]...    check with these rules switched off (none: all)

One row. A commit is told to Redis, which raises the floor and sends a message to the process that
renders; then the edge is purged, and later once more. The writer may die after any step; a relay
has what he left in the outbox. Renderers read their process's L1, or a node that has replayed the
floor; what they made is on its way to the edge for a while. When all is quiet no page may be older
than the row; and the session that wrote is never given a page of before its own commit, though it
asks the edge.

Times are guards: the last purge waits until messages have come and until what was looked at before
that has arrived, since both are bounded in seconds.

BOUNDS="commits renders crashes" (default "2 2 1").
"""

import os
import sys
from typing import NamedTuple

from search import rules_off, search

RULES = {
    "look again": "a page is looked at once more before it is sent: nothing that it shows has been "
    "invalidated since its rendering began, as far as this process has heard",
    "floor": "what it shows was read on a node that has replayed the floor",
    "again": "the edge is purged a second time",
    "heard": "the second purge comes when every process has heard of the commit, or uses no L1",
    "arrived": "the second purge comes when what was looked at before that has arrived",
    "outbox": "the relay does what a dead writer has not done",
    "kept": "the outbox keeps its row until the second purge",
    "past": "who wrote asks past the edge until the second purge",
}
OFF = rules_off(RULES, sys.argv[1:])
COMMITS, RENDERS, CRASHES = map(int, os.environ.get("BOUNDS", "2 2 1").split())


class Render(NamedTuple):
    stage: str  # read, look, way
    heard: int  # the version that the process had heard of when it began
    version: int = 0
    looked: int = 0  # what it had heard of when the page was looked at


class S(NamedTuple):
    row: int = 0
    replica: int = 0
    told: int = 0
    heard: int = 0
    l1: object = 0
    edge: object = None
    writer: tuple = ()  # (version, what is to be done next)
    outbox: tuple = ()
    final: int = 0
    renders: tuple = ()
    shown: tuple = ()  # what the session that wrote was given, and what it had written
    left: tuple = (COMMITS, RENDERS, CRASHES)


def spent(s, i):
    return tuple(n - (at == i) for at, n in enumerate(s.left))


def without(t, x):
    at = t.index(x)
    return t[:at] + t[at + 1 :]


def may_be_last(s, version):
    """The second purge of a commit: bounded waits, told as guards."""
    if "heard" not in OFF and s.heard < version:
        return False
    on_the_way = [each for each in s.renders if each.stage == "way" and each.looked < version]
    return "arrived" in OFF or not on_the_way


def work(s, version, todo, keep):
    """The next step of a commit's publication, by its writer or by the relay. `keep`: what becomes
    of the rest."""
    if todo == "tell":
        yield f"tell {version}", keep(s._replace(told=max(s.told, version)), "purge")
    elif todo == "purge":
        n = s._replace(edge=None)
        if "again" in OFF:
            n = n._replace(final=max(s.final, version), outbox=gone(s, version))
            yield f"purge {version}", keep(n, None)
        else:
            if "kept" in OFF:
                n = n._replace(outbox=gone(s, version))
            yield f"purge {version}", keep(n, "again")
    elif may_be_last(s, version):
        n = s._replace(edge=None, final=max(s.final, version), outbox=gone(s, version))
        yield f"purge {version} again", keep(n, None)


def gone(s, version):
    return tuple(each for each in s.outbox if each[0] != version)


def steps(s):
    if s.left[0]:
        v = s.row + 1
        yield (
            f"commit {v}",
            s._replace(
                row=v,
                writer=(*s.writer, (v, "tell")),
                outbox=(*s.outbox, (v, "tell")),
                left=spent(s, 0),
            ),
        )
    for each in s.writer:
        rest = without(s.writer, each)

        def keep(n, todo, rest=rest, v=each[0]):
            return n._replace(writer=rest if todo is None else tuple(sorted((*rest, (v, todo)))))

        yield from work(s, *each, keep)
    if s.writer and s.left[2]:
        yield "the writer dies", s._replace(writer=(), left=spent(s, 2))
    alive = {v for v, _ in s.writer}
    if "outbox" not in OFF:
        for v, todo in s.outbox:
            if v not in alive:  # due: nobody has finished in time

                def keep(n, todo, v=v):
                    if (v, "tell") not in n.outbox and not any(each[0] == v for each in n.outbox):
                        return n
                    rest = tuple(each for each in n.outbox if each[0] != v)
                    return n._replace(outbox=rest if todo is None else (*rest, (v, todo)))

                yield from ((f"relay: {name}", n) for name, n in work(s, v, todo, keep))
    if s.replica < s.row:
        yield "replay", s._replace(replica=s.replica + 1)
    if s.heard < s.told:
        yield "hear", s._replace(heard=s.told, l1=None)
    if s.left[1]:
        begun = Render("read", s.heard)
        yield "render", s._replace(renders=(*s.renders, begun), left=spent(s, 1))
    for each in s.renders:
        yield from rendering(s, each)
    if not s.shown and s.edge is not None and s.row:
        if "past" in OFF or s.final >= s.row:
            yield "who wrote asks the edge", s._replace(shown=(s.edge, s.row))


def rendering(s, each):
    rest = without(s.renders, each)
    if each.stage == "read":
        nodes = [s.row]
        if "floor" in OFF or s.replica >= s.told:
            nodes.append(s.replica)
        if s.l1 is not None:
            nodes = [s.l1]
        for version in nodes:
            read = each._replace(stage="look", version=version)
            n = s._replace(renders=tuple(sorted((*rest, read))))
            if s.l1 is None and version >= s.heard:
                n = n._replace(l1=version)
            yield f"read {version}", n
    elif each.stage == "look":
        if "look again" not in OFF and s.heard != each.heard:
            yield "not kept", s._replace(renders=rest)
        else:
            sent = each._replace(stage="way", looked=s.heard)
            yield "send", s._replace(renders=tuple(sorted((*rest, sent))))
    else:
        yield "the edge stores", s._replace(renders=rest, edge=each.version)


def bad(s):
    if s.shown and s.shown[0] < s.shown[1]:
        return f"who wrote {s.shown[1]} was given the page of {s.shown[0]}"
    quiet = not s.writer and not s.renders and s.heard == s.told and s.replica == s.row
    quiet = quiet and ("outbox" in OFF or not s.outbox)
    if quiet and s.edge is not None and s.edge < s.row:
        return f"all is quiet, the edge has the page of {s.edge}, and the row is {s.row}"
    return None


sys.exit(search(S(), steps, bad, OFF))
