"""What becomes of the rows that a relay has taken, whatever is in them."""

from __future__ import annotations

import json
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repocache.invalidation.batch import Batch, changes
from repocache.invalidation.notice import LONGEST, TableNotice, batch_of, notices_of
from repocache.invalidation.taken import (
    FIRST_WAIT,
    LONGEST_WAIT,
    MOST_TRIES,
    OutboxRow,
    Retry,
    retries,
    understood,
)
from repocache.keys import BUCKETS, owner_bucket

USERS = Batch({}, frozenset({"user"}))
KEY = '[{"k": ["user:7"], "o": []}]'


class Watching:
    """One table."""

    tables: Iterable[str] = ("public.users",)
    owners = frozenset({"user"})

    def resolve(self, notice: TableNotice) -> Batch:
        if notice.table != "public.users":
            raise ValueError(f"nobody here owns rows of {notice.table}")
        return USERS


WATCHING = Watching()
STRANGE = [
    "",
    "7",
    "null",
    "{}",
    "[null]",
    "[[]]",
    "[{}]",
    "[NaN]",
    '[{"k": [], "o": [1, "a"]}]',
    '[{"k": [], "o": [null]}]',
    '[{"k": [], "o": [["user"]]}]',
    '[{"k": [], "o": ["User"]}]',
    '[{"k": [], "o": ["user\\n"]}]',
    '[{"k": [], "o": ["user:7"]}]',
    '[{"k": [], "o": [""]}]',
    json.dumps([{"k": [], "o": ["a" * 65]}]),
    '[{"k": ["user"], "o": []}]',
    '[{"k": [":7"], "o": []}]',
    '[{"k": [""], "o": []}]',
    '[{"k": ["user: 7"], "o": []}]',
    '[{"k": ["user:7\\n"], "o": []}]',
    '[{"k": ["user:\\u00fc"], "o": []}]',
    '[{"k": ["user:\\ud800"], "o": []}]',
    '[{"k": [7], "o": []}]',
    '[{"k": {"user:7": 1}, "o": []}]',
    '[{"k": "user:7", "o": []}]',
    '[{"k": ["user:7"]}]',
    '[{"k": null, "o": []}]',
    '[{"k": [], "o": [], "more": 1}]',
    '[{"k": [], "o": [], "t": "public.users"}]',
    '[{"k": [], "o": [], "rows": []}]',
    '[{"t": 7}]',
    '[{"t": ["public.users"]}]',
    '[{"t": "public.strange"}]',
    '[{"t": "public.users", "rows": 7}]',
    '[{"t": "public.users", "rows": [7]}]',
    '[{"t": "public.users", "rows": null}]',
    '[{"t": "public.users", "rows": [{"id": 1e400}]}]',
    f'[{{"t": "public.users", "rows": [{{"id": {"9" * 5000}}}]}}]',
    f'[{{"t": "public.users", "rows": [{{"id": {"[" * 5000}{"]" * 5000}}}]}}]',
    "[" * 100_000,
    f'{KEY[:-1]}, {{"k": [], "o": [1]}}]',
]


@pytest.mark.parametrize("notices", STRANGE, ids=range(len(STRANGE)))
def test_what_no_release_wrote_is_refused(notices: str) -> None:
    with pytest.raises(ValueError):
        batch_of(notices, WATCHING.resolve)
    rows = [OutboxRow(1, notices), OutboxRow(2, KEY), OutboxRow(3, notices, "public.users")]
    found = understood(rows, WATCHING)
    assert found.batches == {2: Batch({"user": frozenset({"user:7"})}), 3: USERS}
    assert list(found.refused) == [1]
    assert list(found.whole) == [3], "of a watched table's row the table is known"


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from(["user", "user:7", "public.users"]),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(st.text() | st.sampled_from(["k", "o", "t", "rows", "id"]), inner)
    ),
    max_leaves=20,
)


@given(
    st.text()
    | JSON.map(json.dumps)
    | st.lists(st.fixed_dictionaries({"k": JSON, "o": JSON})).map(json.dumps)
)
def test_whatever_it_says_it_is_understood_or_refused(notices: str) -> None:
    try:
        batch = batch_of(notices, WATCHING.resolve)
    except ValueError:
        return
    assert all(change.bucket < 2 * BUCKETS for change in changes(batch, 7))


def test_what_is_too_long_is_refused_or_its_whole_table() -> None:
    found = understood([OutboxRow(1, None), OutboxRow(2, None, "public.users")], WATCHING)
    assert found.batches == {2: USERS}
    assert found.refused == {1: f"more than {LONGEST} bytes"}


def test_no_row_of_ours_is_too_long() -> None:
    few = Batch({"user": frozenset(f"user:{n}" for n in range(10_000))})
    assert batch_of(notices_of(few), WATCHING.resolve) == few
    for count, length in ((300_000, 1), (10_000, 500), (1, 2_000_000)):
        many = Batch(
            {"user": frozenset(f"user:{n:0{length}}" for n in range(count))}, frozenset({"tag"})
        )
        written = notices_of(many)
        assert len(written.replace(",", ", ")) <= LONGEST
        assert json.loads(written) == [{"k": [], "o": ["tag", "user"]}]


def test_who_gives_way_waits_longer_each_time_and_then_for_good() -> None:
    def given(tries: int) -> Retry:
        [retry] = retries([OutboxRow(1, KEY, None, tries), OutboxRow(2, KEY)], {1: "why"})
        return retry

    waits = [given(tries).wait for tries in range(MOST_TRIES)]
    assert waits == [*(2.0**n for n in range(12)), 3600.0, 3600.0, 3600.0, None]
    assert [given(tries).tries for tries in range(MOST_TRIES)] == list(range(1, MOST_TRIES + 1))
    assert given(2**31 - 1) == Retry(1, MOST_TRIES + 1, "why", None)
    assert given(-(2**31)) == Retry(1, 1, "why", FIRST_WAIT)
    assert max(filter(None, waits)) == LONGEST_WAIT


def test_why_is_a_text_that_postgresql_takes() -> None:
    [retry] = retries([OutboxRow(1, KEY)], {1: "\0a\ud800" + "b" * 1_000_000})
    assert retry.why == "a?" + "b" * 197


def test_redis_keeps_no_name_of_an_owner_whom_nobody_declares() -> None:
    batch = Batch({"user": frozenset({"user:7"}), "x": frozenset({"x:1"})}, frozenset({"y", "tag"}))
    told = batch.told_to(frozenset({"user", "tag"}))
    assert told == Batch(batch.keys, frozenset({"tag"}), frozenset({owner_bucket("y")}))
    found = {change.bucket: change for change in changes(told, 7)}
    assert [owner for change in found.values() for owner in change.owners] == ["tag"]
    assert (found[owner_bucket("y")].keys, found[owner_bucket("y")].position) == ((), None)
    assert batch.told_to(frozenset({"user", "tag", "y"})) == batch
