"""Whether only the primary will do for a key, before anybody works out the need."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repocache.bookmark import Bookmark
from repocache.cache.entry import RowRequest
from repocache.repository.rows import alike, strictest
from repocache.routing.routing import ANYWHERE, need_of

HERE = "s.1.h"


def mark(position: int | None, history: str = HERE) -> Bookmark:
    return Bookmark(history, position, {}, covered=True, expires=1e12)


@pytest.mark.parametrize(
    "floor, bookmark, primary",
    [
        (0, None, False),
        (40, None, False),
        (None, None, True),
        (40, mark(50), False),
        (None, mark(50), True),
        (40, mark(None), True),
        (40, mark(None, ""), True),
        (40, mark(50, "s.1.old"), True),
        (40, mark(50, "s.2.new"), True),
        (40, mark(0, ""), False),
        (40, mark(0, "s.2.new"), False),
        (None, mark(0), True),
    ],
)
def test_who_needs_the_primary(floor: int | None, bookmark: Bookmark | None, primary: bool) -> None:
    for fills in (False, True):
        assert RowRequest(7, floor, HERE, bookmark, fills).primary is primary


marks = st.builds(
    mark, st.none() | st.integers(0, 9), st.sampled_from([HERE, "", "s.1.old", "s.2.new"])
)


@given(st.none() | st.integers(0, 9), st.none() | marks, st.sampled_from([HERE, "", "s.2.new"]))
def test_it_is_what_the_need_will_say(
    floor: int | None, bookmark: Bookmark | None, history: str
) -> None:
    """Else one that needs the primary, and is not known to, would hold up in its lane those who do
    not."""
    want = RowRequest(7, floor, history, bookmark)
    assert want.primary == bool(need_of(floor, bookmark, history, ANYWHERE).primary)


def test_what_many_need_is_what_the_strictest_needs() -> None:
    one, other = mark(50), mark(50)
    wanted = [
        RowRequest(1, 10, HERE, one),
        RowRequest(2, None, HERE, one),
        RowRequest(3, 30, HERE, one, fills=True),
        RowRequest(4, 0, HERE, other),
        RowRequest(5, None, HERE, one),
    ]
    groups = [list(some) for some in alike(wanted)]
    assert [[want.id for want in some] for some in groups] == [[1, 3], [2, 5], [4]]
    assert [strictest(some)[1:5] for some in groups] == [
        (30, HERE, one, True),
        (None, HERE, one, False),
        (0, HERE, other, False),
    ]
