"""With which values of its columns a row may satisfy a condition.

Owns the algebra of AND and OR over sets of values, and its bounds. Whatever it gives up, it takes
for satisfied: never too few rows. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

MOST_SHAPES = 8
"""Alternatives of different columns that one table of a statement may have."""
MOST_TAGS = 100
"""Tags that a statement may have."""

Columns = tuple[str, ...]
"""Names, sorted."""
Values = frozenset[tuple[str, ...]]
"""Texts of values, in the order of the columns."""


class Alternatives(NamedTuple):
    """A row that counts has, for one of these tuples of columns, one of their tuples of values.

    No columns at all: any row counts. None of them: no row does.
    """

    of: Mapping[Columns, Values]

    @property
    def tags(self) -> int:
        return sum(map(len, self.of.values()))


ANY_ROW = Alternatives({(): frozenset([()])})
NO_ROW = Alternatives({})


def equal(columns: Iterable[str], rows: Iterable[tuple[str, ...]]) -> Alternatives:
    """These columns have one of these tuples of values. Each column once."""
    names = tuple(columns)
    order = sorted(range(len(names)), key=names.__getitem__)
    values = frozenset(tuple(row[at] for at in order) for row in rows)
    return _bounded({tuple(names[at] for at in order): values} if values else {})


def either(some: Iterable[Alternatives]) -> Alternatives:
    """OR."""
    found: dict[Columns, Values] = {}
    for each in some:
        for columns, values in each.of.items():
            found[columns] = found.get(columns, frozenset()) | values
    return _bounded(found)


def both(one: Alternatives, other: Alternatives) -> Alternatives:
    """AND."""
    found: dict[Columns, Values] = {}
    for left, some in one.of.items():
        for right, others in other.of.items():
            columns, values = _joined((left, some), (right, others))
            if values:
                found[columns] = found.get(columns, frozenset()) | values
    return _bounded(found)


def narrowed(alternatives: Alternatives, most: int) -> Alternatives:
    """At most so many tags: the column with most values is given up first. `most`: at least one."""
    while alternatives.tags > most:
        widest = max(alternatives.of, key=lambda columns: len(alternatives.of[columns]))
        columns, values = _without_widest(widest, alternatives.of[widest])
        rest = {each: some for each, some in alternatives.of.items() if each != widest}
        rest[columns] = rest.get(columns, frozenset()) | values
        alternatives = _absorbed(rest)
    return alternatives


def _joined(one: tuple[Columns, Values], other: tuple[Columns, Values]) -> tuple[Columns, Values]:
    (left, some), (right, others) = one, other
    while len(some) * len(others) > MOST_TAGS * MOST_TAGS:
        if len(some) >= len(others):
            left, some = _without_widest(left, some)
        else:
            right, others = _without_widest(right, others)
    columns = tuple(sorted({*left, *right}))
    found = set()
    for mine in some:
        named = dict(zip(left, mine, strict=True))
        for theirs in others:
            pairs = dict(zip(right, theirs, strict=True))
            if all(named.get(name, value) == value for name, value in pairs.items()):
                merged = named | pairs
                found.add(tuple(merged[name] for name in columns))
    return columns, frozenset(found)


def _without_widest(columns: Columns, values: Values) -> tuple[Columns, Values]:
    counts = [len({row[at] for row in values}) for at in range(len(columns))]
    widest = counts.index(max(counts))
    return (
        columns[:widest] + columns[widest + 1 :],
        frozenset(row[:widest] + row[widest + 1 :] for row in values),
    )


def _bounded(found: Mapping[Columns, Values]) -> Alternatives:
    absorbed = _absorbed(found)
    if len(absorbed.of) > MOST_SHAPES:
        return ANY_ROW
    return narrowed(absorbed, MOST_TAGS)


def _absorbed(found: Mapping[Columns, Values]) -> Alternatives:
    """Without what another says of fewer columns."""
    if () in found:
        return ANY_ROW if found[()] else NO_ROW
    kept = {
        columns: frozenset(
            row
            for row in values
            if not any(
                set(fewer) < set(columns) and _picked(columns, row, fewer) in others
                for fewer, others in found.items()
            )
        )
        for columns, values in found.items()
    }
    return Alternatives({columns: values for columns, values in kept.items() if values})


def _picked(columns: Columns, row: tuple[str, ...], fewer: Columns) -> tuple[str, ...]:
    named = dict(zip(columns, row, strict=True))
    return tuple(named[name] for name in fewer)
