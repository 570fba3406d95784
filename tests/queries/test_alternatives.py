"""AND and OR over the values of columns. The truth is asked of each row of a small table."""

from collections.abc import Callable
from itertools import product

from hypothesis import given
from hypothesis import strategies as st

from repocache.queries.alternatives import (
    ANY_ROW,
    MOST_TAGS,
    NO_ROW,
    Alternatives,
    both,
    either,
    equal,
    narrowed,
)

COLUMNS = ("a", "b", "c")
ROWS = [dict(zip(COLUMNS, values, strict=True)) for values in product("012", repeat=3)]

Row = dict[str, str]
Pair = tuple[Alternatives, Callable[[Row], bool]]


def is_among(row: Row, alternatives: Alternatives) -> bool:
    return any(
        tuple(row[name] for name in columns) in values
        for columns, values in alternatives.of.items()
    )


@st.composite
def conditions(draw: st.DrawFn, depth: int = 3) -> Pair:
    """Alternatives, and the truth."""
    kind = draw(st.sampled_from(("equal", "any", "and", "or") if depth else ("equal", "any")))
    if kind == "any":
        return ANY_ROW, lambda row: True
    if kind == "equal":
        name, values = draw(st.sampled_from(COLUMNS)), draw(st.sets(st.sampled_from("012")))
        return equal([name], [(each,) for each in values]), lambda row: row[name] in values
    parts = [draw(conditions(depth=depth - 1)) for _ in range(draw(st.integers(1, 3)))]
    if kind == "or":
        return either(each for each, _ in parts), lambda row: any(holds(row) for _, holds in parts)
    found = ANY_ROW
    for each, _ in parts:
        found = both(found, each)
    return found, lambda row: all(holds(row) for _, holds in parts)


@given(conditions())
def test_just_the_rows_that_satisfy_it(pair: Pair) -> None:
    alternatives, holds = pair
    assert [is_among(row, alternatives) for row in ROWS] == [holds(row) for row in ROWS]


@given(conditions(), st.integers(1, 5))
def test_what_is_narrowed_loses_no_row(pair: Pair, most: int) -> None:
    alternatives, _ = pair
    fewer = narrowed(alternatives, most)
    assert fewer.tags <= most
    assert all(is_among(row, fewer) for row in ROWS if is_among(row, alternatives))


def test_the_column_with_most_values_is_given_up() -> None:
    many = equal(["a"], [(str(each),) for each in range(60)])
    few = equal(["b"], [("x",), ("y",)])
    assert both(many, few).of == {("b",): {("x",), ("y",)}}
    assert equal(["a"], [(str(each),) for each in range(MOST_TAGS + 1)]) == ANY_ROW


def test_too_many_alternatives_are_any_row() -> None:
    some = [equal([f"c{at}"], [("x",)]) for at in range(9)]
    assert either(some[:8]) != ANY_ROW
    assert either(some) == ANY_ROW


def test_products_stay_small() -> None:
    big = [equal(["a"], [(f"{at}",)]) for at in range(90)]
    left = either(big)
    right = equal(["b", "c"], [(f"{at}", "x") for at in range(90)])
    assert both(left, right).tags <= MOST_TAGS
    assert both(left, NO_ROW) == NO_ROW
