"""Explicit-state check of loaders that say "not changed": a value is kept under the tokens that it
was computed under, and of what was read to ask.

    python3 models/refresh.py [RULE]...   check with these rules switched off (none: all)

Two rows, 0 and 1, each with a tag of its own. `load` reads row 0. `refresh` is given the value that
lies there, reads row 1, or row 0 again, and says that nothing has changed. A hint says of which
tags a key's value is; the value is found under the tokens of now of these tags. No reader may be
given a value computed from a row 0 of before the last write that was told, nor one that was last
found to be unchanged by a row 1 of before that. What lies between a token and a node that is behind
is queries.py's; that a lease lets one renew is renewals.py's.

BOUNDS="writes loads refreshes" (default "2 1 2").
"""

import os
import sys
from typing import NamedTuple

from search import rules_off, search

RULES = {
    "kept tokens": "what is not changed stays under the tokens that it was computed under",
    "both": "its name has what it was computed of, and not only what was read to ask",
    "what it reads": "its name has what was read to ask",
    "tokens first": "the token of what is read to ask is taken before it is read",
}
OFF = rules_off(RULES, sys.argv[1:])
WRITES, LOADS, REFRESHES = map(int, os.environ.get("BOUNDS", "2 1 2").split())


class Load(NamedTuple):
    stage: str
    token: int = 0
    row: int = 0


class Refresh(NamedTuple):
    stage: str
    tokens: tuple  # of the kept value: pairs of tag and token
    value: tuple  # the kept value: rows 0 and 1 that it is of, None: not of row 1
    reads: int
    token: object = None
    row: object = None


class S(NamedTuple):
    rows: tuple = (0, 0)
    told: tuple = (0, 0)  # the newest version of each row that was told: it is the tag's token too
    unpublished: tuple = ()
    entries: tuple = ()  # (name, value)
    hint: object = None  # tags
    loads: tuple = (None, None)
    refreshes: tuple = (None,)
    left: tuple = (WRITES, LOADS + 1, REFRESHES)


def put(t, i, v):
    return (*t[:i], v, *t[i + 1 :])


def spent(s, i):
    return put(s.left, i, s.left[i] - 1)


def name(s, tags):
    return tuple((tag, s.told[tag]) for tag in tags)


def found(s):
    """What a reader is given now."""
    if s.hint is None:
        return None
    return dict(s.entries).get(name(s, s.hint))


def stored(s, under, value):
    rest = tuple(each for each in s.entries if each[0] != under)
    tags = tuple(tag for tag, _ in under)
    return s._replace(entries=tuple(sorted((*rest, (under, value)), key=str)), hint=tags)


def writes(s):
    if s.left[0]:
        for row in (0, 1):
            version = s.rows[row] + 1
            yield (
                f"write {row}",
                s._replace(
                    rows=put(s.rows, row, version),
                    unpublished=tuple(sorted((*s.unpublished, (row, version)))),
                    left=spent(s, 0),
                ),
            )
    for each in s.unpublished:
        row, version = each
        rest = tuple(other for other in s.unpublished if other != each)
        told = put(s.told, row, max(s.told[row], version))
        yield f"tell {row}", s._replace(unpublished=rest, told=told)


def loads(s, at):
    load = s.loads[at]
    if load is None:
        if s.left[1]:
            begun = put(s.loads, at, Load("read", s.told[0]))
            yield "load begins", s._replace(loads=begun, left=spent(s, 1))
    elif load.stage == "read":
        read = put(s.loads, at, load._replace(stage="store", row=s.rows[0]))
        yield "load reads 0", s._replace(loads=read)
    else:
        done = s._replace(loads=put(s.loads, at, None))
        yield "load stores", stored(done, ((0, load.token),), (load.row, None))


def refreshes(s, at):
    going = s.refreshes[at]
    if going is None:
        value = found(s)
        if value is not None and s.left[2]:
            for row in (0, 1):
                begun = Refresh("token", name(s, s.hint), value, row)
                t = s._replace(refreshes=put(s.refreshes, at, begun), left=spent(s, 2))
                yield f"refresh begins, by {row}", t
        return
    late = "tokens first" in OFF
    if going.stage == "token":
        token = None if late else s.told[going.reads]
        going = going._replace(stage="read", token=token)
        yield "refresh takes the token", s._replace(refreshes=put(s.refreshes, at, going))
    elif going.stage == "read":
        going = going._replace(stage="store", row=s.rows[going.reads])
        yield "refresh reads", s._replace(refreshes=put(s.refreshes, at, going))
    else:
        yield (
            "refresh stores",
            unchanged(s, at, going, s.told[going.reads] if late else going.token),
        )


def unchanged(s, at, going, token):
    done = s._replace(refreshes=put(s.refreshes, at, None))
    kept, read = dict(going.tokens), {going.reads: token}
    if "kept tokens" in OFF:
        kept = dict(name(s, kept))
    under = {**read, **kept}
    if "both" in OFF:
        under = read
    if "what it reads" in OFF:
        under = kept
    value = going.value if going.reads == 0 else (going.value[0], going.row)
    return stored(done, tuple(sorted(under.items())), value)


def steps(s):
    yield from writes(s)
    for at in range(len(s.loads)):
        yield from loads(s, at)
    for at in range(len(s.refreshes)):
        yield from refreshes(s, at)


def bad(s):
    value = found(s)
    if value is None:
        return None
    if value[0] < s.told[0]:
        return f"a value of row 0 as of {value[0]} is found, and {s.told[0]} was told"
    if value[1] is not None and value[1] < s.told[1]:
        return f"a value that row 1 as of {value[1]} confirmed is found, and {s.told[1]} was told"
    return None


sys.exit(search(S(), steps, bad, OFF))
