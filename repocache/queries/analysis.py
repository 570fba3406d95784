"""The tags that invalidate an answer, and what they say of themselves.

Owns the way from what was noted of a statement to its tags. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from repocache.queries.alternatives import ANY_ROW, MOST_TAGS, Alternatives, both, narrowed
from repocache.queries.conditions import ValueOf
from repocache.queries.shape import ALL, Shape, TablePlace, Tag
from repocache.queries.sheet import Occurrence, Sheet


@dataclass(frozen=True)
class Coarse:
    """A table any insert or delete of which, and any change of what matters, invalidates the
    answer. `why`: in words."""

    place: TablePlace
    why: str


@dataclass(frozen=True)
class Analysis:
    """What a statement's answer depends on. `str` of it is for people.

    `tags`: all that invalidate it, sorted by their texts. `coarse`: tables of which no condition
    restricts the rows.
    """

    tags: tuple[Tag, ...]
    coarse: tuple[Coarse, ...] = ()

    @cached_property
    def shapes(self) -> tuple[Shape, ...]:
        """Each once, to be registered."""
        return tuple(sorted({tag.shape for tag in self.tags}, key=lambda shape: shape.text))

    @cached_property
    def places(self) -> tuple[TablePlace, ...]:
        """Of the tables, whose tokens invalidate it too."""
        return tuple(sorted({shape.place for shape in self.shapes}))

    def __str__(self) -> str:
        lines = ["invalidated by"]
        lines += [f"  {tag.shape.said(tag.values)}" for tag in self.tags]
        lines += [f"  writes to {place.text} whose values are not known" for place in self.places]
        if self.coarse:
            lines.append("coarse")
            lines += [f"  {each.place.text}: {each.why}" for each in self.coarse]
        return "\n".join(lines)


def analysis_of(sheet: Sheet, value_of: ValueOf) -> Analysis:
    """`value_of`: what the statement's parameters stand for at this call."""
    tables = [each for each in sheet.occurrences if not sheet.sources.is_view(each.place)]
    found = _fitted([_alternatives(each, value_of) for each in tables], MOST_TAGS)
    tags = {Tag(Shape(place, (), ALL)) for place in sheet.whole}
    coarse = [Coarse(place, why) for place, why in sheet.whole.items()]
    for occurrence, alternatives in zip(tables, found, strict=True):
        tags.update(_tags(occurrence, alternatives))
        if alternatives == ANY_ROW:
            coarse.append(Coarse(occurrence.place, _why(occurrence, sheet)))
    return Analysis(tuple(sorted(tags, key=lambda tag: tag.text)), tuple(dict.fromkeys(coarse)))


def _alternatives(occurrence: Occurrence, value_of: ValueOf) -> Alternatives:
    found = ANY_ROW
    for condition in occurrence.conditions:
        found = both(found, condition.of(occurrence.number, value_of))
    return found


def _fitted(found: list[Alternatives], most: int) -> list[Alternatives]:
    """No more tags in all: the table that has most of them gives up first."""
    while sum(each.tags for each in found) > most and any(each.tags > 1 for each in found):
        at = max(range(len(found)), key=lambda number: found[number].tags)
        excess = sum(each.tags for each in found) - most
        found[at] = narrowed(found[at], max(1, found[at].tags - excess))
    return found


def _tags(occurrence: Occurrence, alternatives: Alternatives) -> Iterator[Tag]:
    for columns, values in alternatives.of.items():
        shape = Shape(
            occurrence.place,
            columns,
            ALL if occurrence.everything else frozenset(occurrence.columns),
        )
        for row in values:
            yield Tag(shape, row)


def _why(occurrence: Occurrence, sheet: Sheet) -> str:
    unfit = [why for (place, _), why in sheet.unfit.items() if place == occurrence.place]
    if unfit:
        return f"no column is compared by = or IN that can be a condition: {'; '.join(unfit)}"
    return "no column is compared with a value by = or IN in every case"
