"""Explicit-state check of a COMMIT whose outcome is unknown, without an outbox: what is believed of
the transaction's status, by its writer and by who meets its write lease.

    python3 doubt.py [RULE]...    check with these rules switched off (none: the whole protocol)

WRITE=invalidate (default): the connection is lost during COMMIT. The writer makes the record anew
at once, and invalidates again once the transaction is decided; what Redis holds after that is never
older than what that transaction wrote. WRITE=strict: the writer is lost too, and a write lease is
left. No reader gets a value older than what the primary showed when he began.

The transaction goes on at the server: it rolls back, or writes its commit record, and is visible
later. The question about its status may fail (a timeout, a cancel), as often as it likes; after a
failover its id may be one of the future, and then it is lost. BOUNDS="reads failovers" (default "3
1").
"""

import os
import sys
from typing import NamedTuple

from search import rules_off, search

RULES = {
    "not known": "a question that failed is no answer: it is asked again, nothing is taken over",
    "again": "the writer invalidates again once it is decided: the old row may have been filled",
    "visible": "what others do not see yet is in progress, though its commit record is written",
    "covering": "the second position is polled after the answer",
}
OFF = rules_off(RULES, sys.argv[1:])
STRICT = os.environ.get("WRITE") == "strict"
READS, FAILOVERS = map(int, os.environ.get("BOUNDS", "3 1").split())


class S(NamedTuple):
    stage: str = "running"  # the transaction's: running record visible over (rolled back, or lost)
    vis: int = 0
    lsn: int = 0
    rep: int = 0
    floor: object = 0  # None: unknown
    cell: object = "written" if STRICT else 0  # a value, or a lease: written, read
    writer: str = "gone" if STRICT else "lost"  # lost asks knows gone: what it has done so far
    polled: int = 0
    reader: str = ""  # open asks read fill; in a strict owner `asks` is about the write lease
    began: int = 0
    value: int = 0
    leased: bool = False
    future: bool = False  # whether the server has not come to its id yet: it is of another history
    left: tuple = (READS, FAILOVERS)
    wrong: str = ""


def answers(s):
    """(what a question about the status brings, whether that counts as an end)."""
    yield "failed", "not known" in OFF
    if s.future:
        yield "of-the-future", True
    elif s.stage in ("running", "record") and not (s.stage == "record" and "visible" in OFF):
        yield "in-progress", False
    else:
        yield "ended", True


def writes(s):
    if s.writer == "lost":
        anew = s._replace(cell=None, floor=None)
        yield "record-anew", anew._replace(writer="asks", polled=s.lsn)
    elif s.writer == "asks":
        for how, ended in answers(s):
            if ended and "again" in OFF:
                yield f"asks-{how}", s._replace(writer="gone")
            elif ended:
                yield f"asks-{how}", s._replace(writer="knows")
    elif s.writer == "knows":
        position = s.polled if "covering" in OFF else s.lsn
        floor = None if s.floor is None else max(s.floor, position)
        yield "invalidates-again", s._replace(writer="gone", cell=None, floor=floor)


def got(s, seen, **what):
    why = f"a reader got version {seen}, and {s.began} was there for all to see when he began"
    return s._replace(wrong=s.wrong or (why if STRICT and seen < s.began else ""), **what)


def reads(s):
    if not s.reader and s.left[0]:
        yield "begins", s._replace(reader="open", began=s.vis, left=(s.left[0] - 1, s.left[1]))
    elif s.reader == "open":
        if isinstance(s.cell, int):
            yield "hit", got(s, s.cell, reader="")
        elif s.cell == "written":
            yield "written", s._replace(reader="read", leased=False)
            yield "overdue", s._replace(reader="asks")
        else:
            yield "read-lease", s._replace(reader="read", leased=True, cell="read")
    elif s.reader == "asks":
        for how, ended in answers(s):
            t = s._replace(cell="read", leased=True) if ended else s._replace(leased=False)
            yield f"takes-over-{how}" if ended else f"leaves-it-{how}", t._replace(reader="read")
    elif s.reader == "read":
        stage = "fill" if s.leased else ""
        yield "primary", got(s, s.vis, reader=stage, value=s.vis if s.leased else 0)
        if not STRICT and s.floor is not None and s.rep >= s.floor:
            yield "replica", s._replace(reader=stage, value=s.rep if s.leased else 0)
    elif s.reader == "fill":
        cell = s.value if s.cell == "read" else s.cell
        yield "fills", s._replace(reader="", cell=cell, leased=False, value=0)


def steps(s):
    for name, t in writes(s):
        yield f"w.{name}", t
    for name, t in reads(s):
        yield f"r.{name}", t
    if s.stage == "running":
        yield "rolls-back", s._replace(stage="over")
        yield "commit-record", s._replace(stage="record", lsn=1)
    elif s.stage == "record":
        yield "visible", s._replace(stage="visible", vis=1)
    if s.rep < s.lsn:
        yield "replay", s._replace(rep=1)
    if s.floor is None:
        yield "settle", s._replace(floor=s.lsn)
    if s.left[1] and s.stage in ("running", "record"):
        # Records of another history count as missing.
        cell = s.cell if STRICT and s.cell == "written" else None
        lost = s.rep < s.lsn or s.stage == "running"
        t = s._replace(left=(s.left[0], s.left[1] - 1), cell=cell, floor=None, lsn=s.rep, vis=s.rep)
        yield "failover", t._replace(stage="over" if lost else "visible", future=lost)


def bad(s):
    if not STRICT and s.writer == "gone" and s.vis and s.cell == 0:
        return "Redis holds the old row, and nobody is going to invalidate it any more"
    return s.wrong


if __name__ == "__main__":
    sys.exit(search(S(), steps, bad, OFF))
