"""What one commit changed, split among the buckets: nothing is lost, nothing is told twice."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from repocache.invalidation.batch import NOTHING, Batch, changes
from repocache.keys import BUCKETS, bucket_of, owner_bucket
from repocache.records import NO_POSITIONS

OWNERS = ("order", "user")
# Many of one bucket, and others.
CROWD = [id for id in range(20_000) if bucket_of(f"user:{id}") < 2]
ids = st.frozensets(st.sampled_from(CROWD) | st.integers(0, 3000), max_size=40)
named = st.fixed_dictionaries({}, optional=dict.fromkeys(OWNERS, ids)).map(
    lambda named: {owner: frozenset(f"{owner}:{id}" for id in ids) for owner, ids in named.items()}
)
batches = st.builds(Batch, named, st.frozensets(st.sampled_from(OWNERS)))
SOME = settings(max_examples=30)
positions = st.none() | st.just(NO_POSITIONS) | st.integers(0, 2**63)


def texts(batch: Batch) -> set[tuple[str, str]]:
    """Every key that the batch names, but for those of owners that changed as a whole."""
    return {
        (owner, text)
        for owner, texts in batch.keys.items()
        if owner not in batch.owners
        for text in texts
    }


def told(batch: Batch) -> dict[int, tuple[set[tuple[str, str]], tuple[str, ...]]]:
    """What each bucket is told, in whatever order of keys."""
    return {change.bucket: (set(change.keys), change.owners) for change in changes(batch, 1)}


@SOME
@given(batches, positions)
def test_each_key_is_told_once_in_its_own_bucket(batch: Batch, position: int | None) -> None:
    made = changes(batch, position)
    told = [key for change in made for key in change.keys]
    assert len(told) == len(set(told))
    assert set(told) == texts(batch)
    assert all(
        bucket_of(text) == change.bucket < BUCKETS for change in made for _, text in change.keys
    )
    assert all(change.position == position for change in made)


@SOME
@given(batches)
def test_each_bucket_is_told_once_and_only_where_something_changed(batch: Batch) -> None:
    made = changes(batch, 1)
    named = {bucket_of(text) for _, text in texts(batch)}
    assert [change.bucket for change in made] == sorted({*named, *map(owner_bucket, batch.owners)})
    assert all(change.keys or change.owners for change in made)


@SOME
@given(batches)
def test_an_owner_that_changed_as_a_whole_is_told_in_its_own_bucket(batch: Batch) -> None:
    moved = [(change.bucket, owner) for change in changes(batch, 1) for owner in change.owners]
    assert moved == sorted((owner_bucket(owner), owner) for owner in batch.owners)
    assert all(
        owner not in batch.owners for change in changes(batch, 1) for owner, _ in change.keys
    )


@SOME
@given(batches)
def test_the_same_batch_is_told_in_the_same_words(batch: Batch) -> None:
    """So that the scripts of two processes meet the buckets in one order."""
    again = Batch(
        {owner: frozenset(sorted(batch.keys[owner])) for owner in reversed(list(batch.keys))},
        batch.owners,
    )
    for made in (changes(batch, 1), changes(again, 1)):
        assert made == sorted(made)
        for change in made:
            for owner in OWNERS:
                own = [text for each, text in change.keys if each == owner]
                assert own == sorted(own)


@SOME
@given(batches, batches, batches)
def test_both_together_are_what_either_was(one: Batch, two: Batch, three: Batch) -> None:
    both = one | two
    assert both.owners == one.owners | two.owners
    assert texts(both) == {key for key in texts(one) | texts(two) if key[0] not in both.owners}
    assert told(both) == told(two | one)
    assert told((one | two) | three) == told(one | (two | three))
    assert told(one | one) == told(one | NOTHING) == told(one)
    assert not both.owners & {owner for owner, named in both.keys.items() if named}


@given(batches)
def test_it_is_true_if_it_tells_anything(batch: Batch) -> None:
    assert bool(batch) == bool(batch.owners or any(batch.keys.values()))
    assert len(batch) == sum(map(len, batch.keys.values()))


def test_nothing_is_nothing() -> None:
    assert not NOTHING
    assert not Batch({"user": frozenset()})
    assert changes(NOTHING, 1) == []
    assert changes(Batch({"user": frozenset()}), 1) == []
