"""Which tags one written row moves."""

from decimal import Decimal
from typing import Any

import pytest

from repocache.queries.shape import ALL, Shape, TablePlace, Tag
from tests.queries.touched import touched

POST = TablePlace("public", "post")
BY_AUTHOR = Shape(POST, ("author_id",), frozenset({"score"}))
ALL_POSTS = Shape(POST, (), frozenset({"score"}))
WHOLE = Shape(POST, (), ALL)
ROW = {"id": 1, "author_id": 5, "score": 3, "title": "a"}
FIVE, SIX = "public.post(author_id)[score] author_id=5", "public.post(author_id)[score] author_id=6"
TOKEN = "public.post"


def changed(**values: Any) -> dict[str, Any]:
    return ROW | values


@pytest.mark.parametrize(
    "before, after, set_columns, moved",
    [
        (None, ROW, None, {FIVE}),
        (ROW, None, None, {FIVE}),
        (ROW, changed(author_id=6), None, {FIVE, SIX}),
        (ROW, changed(score=4), None, {FIVE}),
        (ROW, changed(title="b"), None, set()),
        (ROW, dict(ROW), None, set()),
        (ROW, changed(author_id=None), None, {FIVE}),
        (changed(author_id=None), ROW, None, {FIVE}),
        (None, changed(author_id=None), None, set()),
        # Condition columns alone are known, and what was set.
        ({"author_id": 5}, {"author_id": 5}, frozenset({"score"}), {FIVE}),
        ({"author_id": 5}, {"author_id": 5}, frozenset({"title"}), set()),
        ({"author_id": 5}, {"author_id": 6}, frozenset({"author_id"}), {FIVE, SIX}),
        ({"author_id": 5}, {"author_id": 6}, frozenset(), {FIVE, SIX}),
        ({"author_id": 5}, {"author_id": 5}, None, {FIVE}),
        # One image that stands for both says nothing of what was set.
        (ROW, ROW, frozenset({"score"}), {FIVE}),
        (ROW, ROW, frozenset({"title"}), set()),
        (ROW, ROW, None, {FIVE}),
        # Not enough is known.
        (None, None, None, {TOKEN}),
        (None, {"id": 1}, None, {TOKEN}),
        ({"score": 3}, {"score": 4, "author_id": 5}, None, {TOKEN, FIVE}),
        # No condition has such a value.
        (None, changed(author_id=Decimal("NaN")), None, set()),
        (None, changed(author_id=object()), None, set()),
    ],
)
def test_tags_of_old_and_new_values(
    before: Any, after: Any, set_columns: Any, moved: set[str]
) -> None:
    assert touched([BY_AUTHOR], before, after, set_columns) == moved


@pytest.mark.parametrize(
    "old, new",
    [
        (1, True),
        (Decimal("1.0"), Decimal("1.00")),
        (0.0, -0.0),
        ({"a": 1}, {"a": True}),
        ([1], [1.0]),
        ([1], [1, 2]),
        (float("nan"), float("nan")),
        (object(), object()),
    ],
)
def test_what_looks_different_has_changed(old: Any, new: Any) -> None:
    moved = touched([ALL_POSTS], changed(score=old), changed(score=new))
    assert moved == (set() if repr(old) == repr(new) == "nan" else {"public.post()[score]"})


@pytest.mark.parametrize("value", [1, "a", 1.5, None, {"a": [1, 2.0]}, (1, 2), Decimal("1.0")])
def test_what_stays_moves_nothing(value: Any) -> None:
    assert (
        touched([ALL_POSTS, WHOLE], changed(score=value), changed(score=value), frozenset())
        == set()
    )


def test_a_shape_of_all_columns_is_moved_by_any_change() -> None:
    moved = {"public.post()[*]"}
    assert touched([WHOLE], ROW, changed(title="b"), frozenset({"title"})) == moved
    assert touched([WHOLE], {}, {}, frozenset({"title"})) == moved
    assert touched([WHOLE], {}, {}, None) == moved
    assert touched([WHOLE], ROW, dict(ROW), frozenset()) == set()


def test_a_tag_is_what_a_statement_has() -> None:
    assert touched([BY_AUTHOR], None, ROW) == {Tag(BY_AUTHOR, ("5",)).text}
