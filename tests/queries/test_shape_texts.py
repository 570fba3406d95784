"""Shapes and tags as texts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repocache.errors import CodecError
from repocache.queries.shape import ALL, Shape, TablePlace, Tag
from repocache.queries.value_text import LONGEST_VALUE, value_text

NAMES = st.text(min_size=1, max_size=12)
SHAPES = st.builds(
    Shape,
    st.builds(TablePlace, NAMES, NAMES),
    st.sets(NAMES, max_size=3).map(tuple),
    st.one_of(st.just(ALL), st.frozensets(NAMES, max_size=3)),
)


@given(SHAPES)
def test_a_shape_is_read_as_it_was_written(shape: Shape) -> None:
    assert Shape.read(shape.text) == shape


@given(SHAPES, SHAPES)
def test_two_shapes_have_two_texts(one: Shape, other: Shape) -> None:
    assert (one.text == other.text) == (one == other)
    assert (hash(one) == hash(other)) or one != other


@given(st.text())
def test_other_texts_are_refused(text: str) -> None:
    try:
        assert Shape.read(text).text == text
    except CodecError:
        return


@pytest.mark.parametrize(
    "text", ["", "a.b", "a.b()", "a.b()[]x", "b(a)[]", "a.b(y,x)[]", "a.b(x)[x]", "a.b(x,x)[]"]
)
def test_so_is_what_no_shape_writes(text: str) -> None:
    with pytest.raises(CodecError, match="is the text of no shape"):
        Shape.read(text)


@given(st.text(min_size=1), st.text(min_size=1))
def test_values_do_not_run_into_each_other(one: str, other: str) -> None:
    shape = Shape(TablePlace("s", "t"), ("a", "b"))
    left = Tag(shape, (value_text(one), value_text(other))).text
    right = Tag(shape, (value_text(other), value_text(one))).text
    assert (left == right) == (one == other)


def test_texts_are_bounded() -> None:
    long = "x" * 10_000
    assert len(value_text(long)) <= LONGEST_VALUE
    assert value_text(long) != value_text(long + "x")
    names = tuple(f"column_{at}" for at in range(40))
    shape = Shape(TablePlace("public", "post"), names, frozenset({"other"}))
    one, other = (Tag(shape, (each,) * 40).text for each in "ab")
    assert one.startswith("public.post#")
    assert len(one) < 250
    assert one != other
    widest = Shape(TablePlace("\U0001f418" * 15, "\U0001f418" * 15), names)
    assert len(Tag(widest, ("a",) * 40).text) < 450
