"""Explicit-state check of lookups: which row has a value is cached under the value, the row itself
under its id.

    python3 lookups.py [RULE]...    check with these rules switched off (none: the whole protocol)

One session writes and reads; others fill, from any state that is not older than what the key was
told last (that is what the fence of a single key gives: fence.py). Two rows, two values of a column
that is unique in every committed state; a write changes one row's value, takes it away, or lets the
two rows swap. A read by value takes the lookup's entry, then the row's, and says what it found; the
database is asked if they do not fit. It has to be the row that has the value now.

WRITES (default 3): commits. OLD=told or untold (default): whether a write tells the old value too.
"""

import os
import sys
from typing import NamedTuple

from search import rules_off, search

RULES = {
    "new value": "a write tells the lookup the value that a row has from now on",
    "row": "a write tells the row's own key",
    "still has": "an entry counts only if the row that it leads to still has the value",
}
OFF = rules_off(RULES, sys.argv[1:])
WRITES = int(os.environ.get("WRITES", "3"))
OLD = os.environ.get("OLD", "untold") == "told"
VALUES, ROWS = ("a", "b"), (0, 1)
ABSENT = "absent"


class S(NamedTuple):
    states: tuple = (("a", None),)  # what each row had, after each commit
    told_value: tuple = (0, 0)  # the state that a lookup's key was told last, by value
    told_row: tuple = (0, 0)
    value: tuple = (ABSENT, ABSENT)  # cached: the row that has it, None: no row has
    row: tuple = (ABSENT, ABSENT)  # cached: the row's value
    read: object = None  # of the session: the value asked for, and the row that its entry named
    wrong: str = ""


def put(t, i, v):
    return t[:i] + (v,) + t[i + 1 :]


def holder(state, value):
    return next((r for r in ROWS if state[r] == value), None)


def writes(s):
    now = s.states[-1]
    for r in ROWS:
        for v in (*VALUES, None):
            if v != now[r] and (v is None or v not in now):
                yield f"row{r}={v}", put(now, r, v)
    if None not in now:
        yield "swap", now[::-1]


def write(s, new):
    old, at = s.states[-1], len(s.states)
    told_value, told_row, value, row = s.told_value, s.told_row, s.value, s.row
    for r in ROWS:
        if new[r] == old[r]:
            continue
        told = [new[r]] if "new value" not in OFF else []
        told += [old[r]] if OLD else []
        for v in filter(None, told):
            i = VALUES.index(v)
            told_value, value = put(told_value, i, at), put(value, i, ABSENT)
        if "row" not in OFF:
            told_row, row = put(told_row, r, at), put(row, r, ABSENT)
    return S((*s.states, new), told_value, told_row, value, row)


def fills(s):
    for i, v in enumerate(VALUES):
        for at in range(s.told_value[i], len(s.states)):
            yield f"fill-{v}-of-{at}", s._replace(value=put(s.value, i, holder(s.states[at], v)))
    for r in ROWS:
        for at in range(s.told_row[r], len(s.states)):
            yield f"fill-row{r}-of-{at}", s._replace(row=put(s.row, r, s.states[at][r]))


def answered(s, value, found):
    truth = holder(s.states[-1], value)
    wrong = "" if found == truth else f"{value} is row {found}, and row {truth} has it"
    return s._replace(read=None, wrong=wrong)


def reads(s):
    if s.read is None:
        for i, v in enumerate(VALUES):
            if s.value[i] is None:
                yield f"read-{v}: nobody's", answered(s, v, None)
            elif s.value[i] != ABSENT:
                yield f"read-{v}: row {s.value[i]}", s._replace(read=(v, s.value[i]))
        return
    v, r = s.read
    if s.row[r] != ABSENT:
        if s.row[r] == v or "still has" in OFF:
            yield "the row has it", answered(s, v, r)
        else:
            yield "asks the database", answered(s, v, holder(s.states[-1], v))


def steps(s):
    if s.read is None and len(s.states) <= WRITES:
        for name, new in writes(s):
            yield name, write(s, new)
    yield from fills(s)
    yield from reads(s)


sys.exit(search(S(), steps, lambda s: s.wrong or None, OFF))
