"""Explicit-state check of how long a bookmark counts: processes with windows, lag limits and clocks
of their own, a replica that lags, a primary that a process loses and finds again.

    python3 lives.py [RULE]...    check with these rules switched off (none: the whole protocol)

A session that has written never reads the row as it was before, however late it comes, in whichever
process: a read that finds no node raises. Time is a small integer. The replica is as old as it
likes: `at` is the moment whose state it has. A process takes it if its lag is within the process's
limit, or within what the read allows; it knows that from a sample, which may be one tick old. The
bookmark knows its position, or (a poll failed) that there is a write.

SETTINGS="max_lag:window ..." of the processes (default "1:3 2:4 1:9"): each may be writer, each
reader; a window must be more than max_lag and a sample's age. CLOCKS="ticks ..." (default "0 2
-2"): by which they are wrong. WISH (default 6): the lag that a read may allow. TIME (default 12):
the last tick. OUTAGES (default 1): how often the primary is lost.
"""

import os
import sys
from typing import NamedTuple

from search import rules_off, search

RULES = {
    "long lives": "a bookmark that lives longer than the reader's own is not refused",
    "reader's life": "it lives as long as writer's or reader's settings say, whichever is longer",
    "primary's clock": "its times are of the primary's clock, or one that is ahead ends it",
    "positions stay": "a known position never lapses",
    "outages": "time counts only while the primary is heard, and for a while after that",
    "lagging": "without the primary lag is measured by what that had when it was last heard",
    "sample's age": "a window is longer than the lag and the age of the sample that tells it",
    "wish": "for a read that allows more lag an unknown position counts longer",
}
OFF = rules_off(RULES, sys.argv[1:])
AGE = 1  # of a sample
SETTINGS = os.environ.get("SETTINGS", "1:3 2:4 1:9").split()
LAGS, WINDOWS = zip(*(map(int, x.split(":")) for x in SETTINGS), strict=True)
CLOCKS = tuple(map(int, os.environ.get("CLOCKS", "0 2 -2").split()))
WISH = int(os.environ.get("WISH", "6"))
TIME = int(os.environ.get("TIME", "12"))
OUTAGES = int(os.environ.get("OUTAGES", "1"))
PROCESSES = range(len(LAGS))
for lag, window in zip(LAGS, WINDOWS, strict=True):
    least = lag + (0 if "sample's age" in OFF else AGE)
    assert window > least, "a window must exceed max_lag and a sample's age"


class S(NamedTuple):
    now: int = 0
    writer: object = None  # a process
    known: bool = True  # whether the bookmark has a position
    wrote: int = 0  # when
    at: int = 0  # the replica has all that was committed before
    reader: object = None  # the process where the session goes on
    heard: int = 0  # when that heard of the primary for the last time
    lost: bool = False
    alive: bool = False  # whether the bookmark counted when the primary was lost, or was made since
    back: object = None  # when the primary was found again
    left: int = OUTAGES
    wrong: str = ""


def clock(s, p):
    return s.now + (CLOCKS[p] if "primary's clock" in OFF else 0)


def expires(s, wish):
    """When the bookmark ends for the reader, None: it is refused."""
    w, r = s.writer, s.reader
    made = s.wrote + clock(s, w) - s.now
    if "long lives" in OFF and made + WINDOWS[w] > clock(s, r) + 2 * WINDOWS[r]:
        return None
    life = WINDOWS[w] if "reader's life" in OFF else max(WINDOWS[w], WINDOWS[r])
    if wish and not s.known and "wish" not in OFF:
        life = max(life, WISH + AGE + 1)
    return made + life


def counts(s, wish=False):
    """Whether what the bookmark says without a position still counts, for the reader."""
    until = expires(s, wish)
    if until is None:
        return False
    if clock(s, s.reader) < until:
        return True
    if "outages" in OFF or not s.alive:
        return False
    life = max(WINDOWS[s.writer], WINDOWS[s.reader])
    return s.lost or (s.back is not None and s.now < s.back + life)


def in_rotation(s, p):
    """Whether a sample may say so, of now or of AGE ago, when the primary may have been lost."""
    if s.at >= s.now - AGE - LAGS[p] and not s.lost:
        return True
    if s.lost or (s.back is not None and s.now <= s.back + AGE):
        return "lagging" in OFF or s.at >= s.heard - AGE - LAGS[p]
    return False


def reads(s):
    p = s.reader
    for wish in (False, True):
        stays = s.known and expires(s, wish) is not None
        stays = stays and ("positions stay" not in OFF or counts(s, wish))
        to_primary = not s.known and counts(s, wish)
        fresh = s.at >= s.now - WISH if wish else in_rotation(s, p)
        if fresh and not to_primary and (not stays or s.at > s.wrote) and s.at <= s.wrote:
            how = f"that may lag by {WISH}" if wish else "in the rotation"
            life = f"written at {s.wrote} in process {s.writer}, read at {s.now} in process {p}"
            t = s._replace(wrong=f"a replica {how} shows what was at {s.at}: {life}")
            yield "reads-what-may-lag" if wish else "reads", t


def steps(s):
    if s.now < TIME:
        heard = s.heard if s.lost else s.now + 1
        if s.back is not None and s.back + AGE >= s.now + 1:
            heard = s.heard  # samples of before may be judged by it yet
        yield f"tick-{s.now + 1}", s._replace(now=s.now + 1, heard=heard)
    if s.at < s.now:
        yield f"replica-at-{s.at + 1}", s._replace(at=s.at + 1)
    if s.writer is None:
        for w in PROCESSES:
            for known in (True, False):
                t = s._replace(writer=w, known=known, wrote=s.now)
                where = "at-a-position" if known else "somewhere"
                yield f"written-in-{w}-{where}", t._replace(alive=s.lost)
    if s.reader is None:
        for p in PROCESSES:
            yield f"goes-on-in-{p}", s._replace(reader=p)
        return
    if s.writer is not None:
        yield from reads(s)
    if s.lost:
        yield "primary-back", s._replace(lost=False, back=s.now)
    elif s.left:
        alive = s.writer is not None and counts(s, True)
        t = s._replace(lost=True, heard=s.now, back=None, alive=alive, left=s.left - 1)
        yield "primary-lost", t


def bad(s):
    return s.wrong


if __name__ == "__main__":
    sys.exit(search(S(), steps, bad, OFF))
