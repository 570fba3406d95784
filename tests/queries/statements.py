"""Statements drawn at random: whatever a select may be made of, over the tables of a blog."""

from __future__ import annotations

import dataclasses
from random import Random
from typing import Any

from sqlalchemy import (
    ColumnElement,
    CompoundSelect,
    Select,
    and_,
    case,
    except_,
    exists,
    false,
    func,
    intersect,
    not_,
    or_,
    select,
    tuple_,
    union,
    union_all,
)
from sqlalchemy.orm import aliased, with_loader_criteria

from tests.queries import blog
from tests.queries.blog import MODELS, Author, Label

Post: Any = blog.Post

VALUES: dict[str, tuple[Any, ...]] = {
    "id": (1, 2, 3, 4, 5),
    "author_id": (1, 2, 3),
    "post_id": (1, 2, 3),
    "rank": (0, 1, 2),
    "score": (0, 1, 2),
    "weight": (0, 1),
    "city": ("a", "b", "c"),
    "kind": ("a", "b", "c"),
    "word": ("a", "b"),
    "live": (True, False),
}
_LINKS = {
    (Post, Author): ("author_id", "id"),
    (Author, Post): ("id", "author_id"),
    (Label, Post): ("post_id", "id"),
    (Post, Label): ("id", "post_id"),
    (Label, Author): ("weight", "rank"),
    (Author, Label): ("rank", "weight"),
    (Post, Post): ("score", "score"),
    (Author, Author): ("rank", "rank"),
    (Label, Label): ("word", "word"),
}


@dataclasses.dataclass(frozen=True)
class Drawn:
    """A statement. `entities`: analysed and compared by ids. `ordered`: the order of its answer is
    its affair."""

    statement: Any
    entities: bool
    ordered: bool


@dataclasses.dataclass(frozen=True)
class _Source:
    model: Any
    entity: Any

    def column(self, name: str) -> Any:
        return getattr(self.entity, name)

    @property
    def names(self) -> list[str]:
        return [column.name for column in self.model.__table__.columns]


class Drawing:
    """Draws statements. `full`: the database has FULL JOIN on any condition."""

    def __init__(self, random: Random, *, full: bool = True) -> None:
        self._random = random
        self._full = full

    def statement(self) -> Drawn:
        chosen = self._random.random()
        if chosen < 0.45:
            return self._entities()
        if chosen < 0.8:
            rows, ordered = self._rows(deep=False)
            return Drawn(rows, entities=False, ordered=ordered)
        return Drawn(self._compound(), entities=False, ordered=False)

    # FROM

    def _source(self) -> _Source:
        model = self._random.choice(MODELS)
        return _Source(model, aliased(model) if self._random.random() < 0.3 else model)

    def _from(self, query: Select[Any], root: _Source) -> tuple[Select[Any], list[_Source]]:
        sources = [root]
        query = query.select_from(root.entity)
        for _ in range(self._random.choice((0, 0, 0, 1, 1, 2))):
            left = self._random.choice(sources)
            model = self._random.choice(MODELS)
            right = _Source(model, aliased(model))
            ours, theirs = _LINKS[left.model, model]
            on = left.column(ours) == right.column(theirs)
            if self._random.random() < 0.5:
                on = and_(on, self._condition([*sources, right], 1))
            kind = self._random.random()
            full = self._full and kind < 0.12
            query = (
                query.join_from(
                    left.entity, right.entity, on, isouter=kind < 0.5 and not full, full=full
                )
                if len(sources) == 1
                else query.join(right.entity, on, isouter=kind < 0.5 and not full, full=full)
            )
            sources.append(right)
        return query, sources

    # Conditions

    def _condition(self, sources: list[_Source], depth: int) -> ColumnElement[bool]:
        chosen = self._random.random()
        if depth > 0 and chosen < 0.35:
            parts = [
                self._condition(sources, depth - 1) for _ in range(self._random.choice((2, 3)))
            ]
            return and_(*parts) if self._random.random() < 0.5 else or_(*parts)
        if depth > 0 and chosen < 0.4:
            return not_(self._condition(sources, depth - 1))
        if depth > 0 and chosen < 0.55:
            return self._subquery(sources, depth - 1)
        return self._comparison(self._random.choice(sources))

    def _comparison(self, source: _Source) -> ColumnElement[bool]:
        name = self._random.choice(source.names)
        column, values = source.column(name), VALUES[name]
        one = self._random.choice(values)
        some = self._random.sample(values, self._random.randint(0, len(values)))
        return self._random.choice(
            (
                *(column == one,) * 6,
                *(column.in_(some),) * 2,
                column.in_([one, None]),
                column != one,
                column.not_in(some),
                column.is_(None),
                column.is_not(None),
                column != one if name == "live" else column > one,
                column == source.column(self._random.choice(_alike(source, name))),
                func.coalesce(column, one) == one,
                case((column == one, 1), else_=0) == 1,
                self._pair(source),
                source.entity.live if source.model is Post else column == one,
                not_(source.entity.live) if source.model is Post else column == one,
                *((source.entity.label_count > 0,) if source.model is Post else ()),
            )
        )

    def _pair(self, source: _Source) -> ColumnElement[bool]:
        one, other = self._random.sample(source.names, 2)
        values = [
            (self._random.choice(VALUES[one]), self._random.choice(VALUES[other]))
            for _ in range(self._random.randint(1, 3))
        ]
        return tuple_(source.column(one), source.column(other)).in_(values)

    def _subquery(self, outer: list[_Source], depth: int) -> ColumnElement[bool]:
        left = self._random.choice(outer)
        model = self._random.choice(MODELS)
        inner = _Source(model, aliased(model))
        ours, theirs = _LINKS[left.model, model]
        condition = self._condition([inner], depth)
        kind = self._random.randrange(5)
        if kind == 0:
            found = exists().where(inner.column(theirs) == left.column(ours), condition)
            return not_(found) if self._random.random() < 0.4 else found
        if kind == 1:
            some = select(inner.column(theirs)).where(condition)
            chosen: ColumnElement[bool] = left.column(ours).in_(some)
            return chosen
        if kind == 2:
            correlated = inner.column(theirs) == left.column(ours)
            number = select(func.count()).select_from(inner.entity).where(correlated, condition)
            return number.scalar_subquery() == self._random.choice((0, 1))
        if kind == 3 and left.model is Post:
            word = self._random.choice(VALUES["word"])
            some_label: ColumnElement[bool] = left.entity.labels.any(Label.word == word)
            return not_(some_label) if self._random.random() < 0.4 else some_label
        if left.model is Post:
            has: ColumnElement[bool] = left.entity.author.has(city=self._random.choice(("a", "b")))
            return has
        return select(inner.entity).where(condition).exists()

    # Whole statements

    def _entities(self) -> Drawn:
        root = self._source()
        query, sources = self._from(select(root.entity), root)
        query = query.where(*self._conditions(sources))
        if self._random.random() < 0.15:
            query = query.options(
                with_loader_criteria(
                    root.model,
                    lambda cls: cls.id.in_([1, 2, 4]),
                    include_aliases=self._random.random() < 0.5,
                )
            )
        if self._random.random() < 0.2:
            return Drawn(query.distinct(), entities=True, ordered=False)
        ordered = self._random.random() < 0.6
        if ordered:
            query = self._ordered(query, sources, root)
        return Drawn(query, entities=True, ordered=ordered)

    def _conditions(self, sources: list[_Source]) -> list[ColumnElement[bool]]:
        number = self._random.choice((0, 1, 1, 1, 2))
        return [self._condition(sources, 2) for _ in range(number)]

    def _ordered(self, query: Select[Any], sources: list[_Source], root: _Source) -> Select[Any]:
        by = root.column(self._random.choice(root.names))
        if root.model is Post and root.entity is Post and self._random.random() < 0.2:
            by = root.entity.label_count
        first = by.desc() if self._random.random() < 0.5 else by
        query = query.order_by(first, *(each.entity.id for each in sources))
        if self._random.random() < 0.6:
            query = query.limit(self._random.randint(1, 3))
            if self._random.random() < 0.3:
                query = query.offset(self._random.randint(1, 2))
        return query

    def _rows(self, *, deep: bool) -> tuple[Select[Any], bool]:
        root = self._source()
        kind = self._random.randrange(6)
        names = self._random.sample(root.names, 2)
        names = ["id", names[1]] if deep else names  # it is joined by its first
        columns = [root.column(name).label(f"c{at}") for at, name in enumerate(names)]
        if kind == 0 and not deep:
            number = self._random.choice(
                (func.count(), func.sum(root.entity.id), func.max(root.entity.id))
            )
            query, sources = self._from(select(number), root)
            return query.where(*self._conditions(sources)), True
        if kind == 1:
            size = func.count(root.entity.id).label("c1")
            query, sources = self._from(select(columns[0], size), root)
            query = query.where(*self._conditions(sources)).group_by(root.column(names[0]))
            if self._random.random() < 0.5:
                query = query.having(func.count(root.entity.id) > 1)
            return query, False
        if kind == 2:
            rank = func.row_number().over(
                partition_by=root.column(names[0]), order_by=root.entity.id
            )
            query, sources = self._from(select(root.entity.id.label("c0"), rank.label("c1")), root)
            return query.where(*self._conditions(sources)), False
        if kind == 3 and not deep:
            return self._nested(), False
        query, sources = self._from(select(*columns), root)
        query = query.where(*self._conditions(sources))
        if self._random.random() < 0.3:
            return query.distinct(), False
        if self._random.random() < 0.4 and not deep:
            return self._ordered(query, sources, root), True
        return query, False

    def _nested(self) -> Select[Any]:
        inner, _ = self._rows(deep=True)
        common = self._random.random() < 0.5
        table = inner.cte() if common else inner.subquery()
        other = self._source()
        query = select(table.c.c1, other.column("id")).select_from(table)
        on = and_(table.c.c0 == other.column("id"), self._condition([other], 1))
        query = query.join(other.entity, on, isouter=self._random.random() < 0.4)
        if self._random.random() < 0.5:
            query = query.where(self._condition([other], 1))
        if common and self._random.random() < 0.4:
            again = table.alias()
            query = query.where(exists().where(again.c.c0 == table.c.c0, again.c.c1.is_not(None)))
        return query

    def _compound(self) -> CompoundSelect[Any] | Select[Any]:
        parts = []
        for _ in range(2):
            root = self._source()
            query, sources = self._from(select(root.entity.id.label("c0")), root)
            parts.append(query.where(*self._conditions(sources)))
        form = self._random.choice((union, union_all, except_, intersect))
        made = form(*parts)
        if self._random.random() < 0.3:
            both = made.subquery()
            chosen = self._source()
            return select(chosen.entity.id).where(
                chosen.entity.id.in_(select(both.c.c0)), or_(false(), *self._conditions([chosen]))
            )
        return made


def _alike(source: _Source, name: str) -> list[str]:
    """Columns of the same type."""
    kind = type(VALUES[name][0])
    return [each for each in source.names if type(VALUES[each][0]) is kind]
