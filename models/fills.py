"""Explicit-state check of the last stale fill: a commit whose invalidation nobody delivers, a
replica that lags and fills, processes with lag limits and times to live of their own.

    python3 fills.py [RULE]...    check with these rules switched off (none: the whole protocol)

There is no outbox, so nothing but time ends what caches hold: the session's bookmark is uncovered,
and while it counts no cache answers. Afterwards the session gets no value of before its write. Time
is a small integer, the write is at 2 at the latest; clocks agree (lives.py has them wrong). The
filler has a lease, reads the replica, and stores; it may lose the primary, and then knows the
replica's lag no more. `at` is the moment whose state the replica has.

SETTINGS="max_lag:ttl ..." of writer, filler and reader (default "2:2 2:2 2:2"). LEASE (default 1),
LOCAL (default 1): a lease's life, and a value's in L1. TIME (default 10): the last tick.
"""

import os
import sys
from typing import NamedTuple

from search import rules_off, search

RULES = {
    "last fill": "an uncovered bookmark counts for ttl, local ttl, and while a stale fill may come",
    "unheard": "a replica fills only while its lag is known to be within max_lag now",
    "longest": "lag and ttl are the longest of any process (assumed), or of writer and reader",
}
OFF = rules_off(RULES, sys.argv[1:])
AGE = 1  # of a sample, which is sample_every and probe_timeout
SETTINGS = os.environ.get("SETTINGS", "2:2 2:2 2:2").split()
LAGS, TTLS = zip(*(map(int, x.split(":")) for x in SETTINGS), strict=True)
LEASE = int(os.environ.get("LEASE", "1"))
LOCAL = int(os.environ.get("LOCAL", "1"))
TIME = int(os.environ.get("TIME", "10"))
WRITER, FILLER, READER = range(3)


class S(NamedTuple):
    now: int = 0
    wrote: object = None
    at: int = 0
    leased: object = None  # when the filler took its lease
    read: object = None  # whether what it read is of before the write
    ends: int = 0  # when the old value in Redis does, 0: there is none
    local: int = 0  # and that in the reader's L1
    heard: object = None  # when the filler heard the primary last, None: it does
    counts: object = None  # when the bookmark ends
    wrong: str = ""


def life():
    who = (WRITER, READER) if "longest" in OFF else (WRITER, FILLER, READER)
    lag, ttl = max(LAGS[p] for p in who), max(TTLS[p] for p in who)
    return ttl + LOCAL + (0 if "last fill" in OFF else lag + AGE + LEASE)


def fills(s):
    """What the filler, and whoever reads in the reader's process, may do next."""
    if s.leased is None:
        yield "lease", s._replace(leased=s.now)
        return
    if s.read is None:
        known = s.now if s.heard is None else s.heard  # by what its lag is measured
        if s.at >= (known - AGE if "unheard" in OFF else s.now) - LAGS[FILLER]:
            old = s.wrote is None or s.at <= s.wrote
            yield "reads-replica", s._replace(read=old)
    elif s.read:
        yield "fill", s._replace(leased=None, read=None, ends=max(s.ends, s.now + TTLS[FILLER]))
    else:
        yield "fills-anew", s._replace(leased=None, read=None, ends=0)


def steps(s):
    if s.now < TIME and (s.leased is None or s.now < s.leased + LEASE):
        yield f"tick-{s.now + 1}", s._replace(now=s.now + 1)
    if s.leased is not None and s.now >= s.leased + LEASE:
        yield "lease-is-over", s._replace(leased=None, read=None)
    if s.at < s.now:
        yield f"replica-at-{s.at + 1}", s._replace(at=s.at + 1)
    yield from fills(s)
    if s.wrote is None and s.now <= 2:
        yield "committed-and-told-nobody", s._replace(wrote=s.now, counts=s.now + life())
    if s.heard is None:
        yield "filler-loses-the-primary", s._replace(heard=s.now)
    if s.now < s.ends and s.local < s.now + LOCAL:
        yield "l1-takes-it", s._replace(local=s.now + LOCAL)
    if s.counts is not None and s.now >= s.counts:
        for tier, ends in (("Redis", s.ends), ("L1", s.local)):
            if s.now < ends:
                why = f"at {s.now} {tier} has what was before the write at {s.wrote}"
                yield f"session-reads-{tier}", s._replace(wrong=why)


def bad(s):
    return s.wrong


if __name__ == "__main__":
    sys.exit(search(S(), steps, bad, OFF))
