"""What a page says of its tags, and that whatever it leaves out is purged all the same. Pure."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from repocache.edges import CACHE_GROUPS, CACHE_TAG, SURROGATE_KEY, XKEY, TagHeader, TagNames
from repocache.edges.header import folded
from repocache.edges.names import purged
from repocache.invalidation.batch import Batch

NAMES = TagNames("shop")
LARGE = 10**6
OWNERS = ("user", "order", "tag--post", "tag--")
KEYS = st.sets(st.builds("{}:{}".format, st.sampled_from(OWNERS), st.integers(0, 12)), max_size=30)
WHOLES = st.frozensets(st.sampled_from(OWNERS), max_size=3)
BATCHES = st.builds(
    lambda keys, owners, anew: Batch(
        {
            owner: frozenset(key for key in keys if key.startswith(f"{owner}:"))
            for owner in {key.partition(":")[0] for key in keys}
        },
        owners,
        anew,
    ),
    KEYS,
    WHOLES,
    st.frozensets(st.integers(0, 9), max_size=1),
)


def fold(tags: Iterable[str], most: int, most_bytes: int) -> set[str] | None:
    carried = folded(tags, most, most_bytes, NAMES)
    return None if carried is None else set(carried)


@pytest.mark.parametrize(
    "header, line",
    [
        (SURROGATE_KEY, (b"surrogate-key", b"shop.* shop.user:7")),
        (CACHE_TAG, (b"cache-tag", b"shop.*,shop.user:7")),
        (XKEY, (b"xkey", b"shop.* shop.user:7")),
        (CACHE_GROUPS, (b"cache-groups", b'"shop.*", "shop.user:7"')),
    ],
)
def test_a_header_has_its_own_grammar(header: TagHeader, line: tuple[bytes, bytes]) -> None:
    assert header.lines(["shop.user:7", "shop.*", "shop.user:7"]) == [line]
    assert header.lines([]) == []


def test_a_page_carries_its_keys_their_owners_and_everything() -> None:
    assert fold(["user:7", "order"], 99, LARGE) == {"user:7", "user", "order", "*"}
    assert fold([], 99, LARGE) == {"*"}
    assert fold(["user:*", "user:7"], 99, LARGE) == {"user", "user:*", "*"}


def test_owners_with_most_keys_are_folded_first() -> None:
    page = [*(f"user:{n}" for n in range(5)), *(f"order:{n}" for n in range(3)), "tag--:home"]
    wholes = {"user", "order", "tag--", "*"}
    orders = {"order:0", "order:1", "order:2"}
    assert fold(page, 13, LARGE) == {*page, *wholes}
    assert fold(page, 12, LARGE) == {"user:*", *orders, "tag--:home", *wholes}
    assert fold(page, 8, LARGE) == {"user:*", "order:*", "tag--:home", *wholes}
    assert fold(page, 6, LARGE) is None


def test_it_folds_for_bytes_too() -> None:
    long = f"user:{'1' * 90}"
    assert fold([long], 99, 160) == {long, "user", "*"}
    assert fold([long], 99, 60) == {"user:*", "user", "*"}
    assert fold([long], 99, 30) is None


@given(page=st.one_of(KEYS, WHOLES), most=st.integers(0, 40), bytes_=st.integers(0, 900))
def test_what_is_carried_fits(page: set[str], most: int, bytes_: int) -> None:
    carried = folded(page, most, bytes_, NAMES)
    if carried is not None:
        assert len(carried) <= most
        for header in (SURROGATE_KEY, CACHE_TAG, XKEY, CACHE_GROUPS):
            [(_, value)] = header.lines(map(NAMES.name, carried))
            assert len(value) <= bytes_


@given(page=KEYS, wholes=WHOLES, batch=BATCHES, most=st.integers(1, 40))
@example(page={"user:1", "user:2"}, wholes=frozenset(), batch=Batch({}), most=3)
def test_a_batch_that_has_a_key_of_the_page_meets_it(
    page: set[str], wholes: frozenset[str], batch: Batch, most: int
) -> None:
    carried = folded({*page, *wholes}, most, LARGE, NAMES)
    owners = {key.partition(":")[0] for key in page} | wholes
    keys = {key for owner, texts in batch.keys.items() for key in texts}
    touched = keys & page or batch.owners & owners or batch.anew
    if carried is not None and touched:
        assert carried & {*purged(batch)}


@given(page=KEYS, owner=st.sampled_from(OWNERS), number=st.integers(0, 12))
def test_any_key_of_an_owner_meets_a_page_that_any_changes(
    page: set[str], owner: str, number: int
) -> None:
    carried = folded({*page, f"{owner}:*"}, 99, LARGE, NAMES)
    assert carried is not None
    assert carried & {*purged(Batch({owner: frozenset({f"{owner}:{number}"})}))}
