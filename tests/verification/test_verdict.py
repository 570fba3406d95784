"""What a value is found to be, without any server."""

from __future__ import annotations

import pytest

from repocache.cache.entry import Row
from repocache.verification.verdict import Found, Verdict, Verification, judge

OLD, NEW = (7, "old"), (7, "new")


@pytest.mark.parametrize(
    "cached, primary, verdict",
    [
        ([], NEW, Verdict.LATE),
        ([NEW], NEW, Verdict.LATE),
        ([OLD], NEW, Verdict.WRONG),
        ([NEW, OLD], NEW, Verdict.WRONG),
        ([OLD], None, Verdict.WRONG),
        ([OLD], OLD, Verdict.MOVED),
        ([None], NEW, Verdict.LATE),
    ],
)
def test_a_row_that_the_primary_did_not_have(
    cached: list[Row | None], primary: Row | None, verdict: Verdict
) -> None:
    assert judge(OLD, cached, primary) is verdict


def test_the_knowledge_that_there_is_no_row_is_a_value_too() -> None:
    assert judge(None, [None], NEW) is Verdict.WRONG
    assert judge(None, [], NEW) is Verdict.LATE
    assert judge(None, [None], None) is Verdict.MOVED


def test_what_it_says_of_everything() -> None:
    found = (Found("user", "l1", 10, 5, 0, 0), Found("user", "l2", 980, 0, 9, 1))
    verification = Verification(2.0, found, repaired=1)
    assert (verification.judged, verification.late, verification.wrong) == (1000, 9, 1)
    assert verification.wrong_share == pytest.approx(0.00474, rel=1e-2)
    assert "2.3 nines within 2 s at 95%" in str(verification)


def test_an_empty_cache_proves_nothing() -> None:
    assert Verification(2.0, (), 0).nines == 0
