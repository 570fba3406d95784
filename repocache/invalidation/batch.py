"""What one commit changed, as the records want it: pure values and the way from keys to buckets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from repocache.keys import bucket_of, owner_bucket
from repocache.records import Change, Writing


@dataclass(frozen=True, slots=True)
class Batch:
    """`keys`: owner -> key texts; `owners`: changed as a whole (their keys need not be named).
    `anew`: buckets whose records are made anew, which changes all that lies under them."""

    keys: Mapping[str, frozenset[str]]
    owners: frozenset[str] = frozenset()
    anew: frozenset[int] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.owners or self.anew) or any(self.keys.values())

    def __len__(self) -> int:
        return sum(map(len, self.keys.values()))

    def __or__(self, other: Batch) -> Batch:
        """Both. An owner that changed as a whole needs no keys."""
        owners = self.owners | other.owners
        keys = {
            owner: self.keys.get(owner, frozenset()) | other.keys.get(owner, frozenset())
            for owner in {*self.keys, *other.keys} - owners
        }
        return Batch(keys, owners, self.anew | other.anew)

    def told_to(self, declared: frozenset[str]) -> Batch:
        """The same, of which Redis keeps no name but those of owners who are declared: another who
        changed as a whole is told by a new record."""
        strange = self.owners - declared
        return replace(
            self, owners=self.owners & declared, anew=self.anew.union(map(owner_bucket, strange))
        )


NOTHING = Batch({})


def merged(batches: Iterable[Batch], most: int) -> Batch:
    """All of them, in one pass. Beyond `most` keys their owners as a whole: what is delivered
    together is bounded."""
    owners: set[str] = set()
    anew: set[int] = set()
    keys: dict[str, set[str]] = {}
    for batch in batches:
        owners |= batch.owners
        anew |= batch.anew
        for owner, texts in batch.keys.items():
            keys.setdefault(owner, set()).update(texts)
    if sum(len(texts) for owner, texts in keys.items() if owner not in owners) > most:
        return Batch(
            {},
            frozenset(owners.union(owner for owner, texts in keys.items() if texts)),
            frozenset(anew),
        )
    named = {owner: frozenset(texts) for owner, texts in keys.items() if owner not in owners}
    return Batch(named, frozenset(owners), frozenset(anew))


def changes(
    batch: Batch,
    position: int | None,
    writings: Mapping[int, Writing] = MappingProxyType({}),
    asides: Mapping[str, float] = MappingProxyType({}),
) -> list[Change]:
    """One change for each bucket that the batch touches. `position`: as in `Change`. `writings`: by
    bucket. `asides`: by owner, seconds for which what is taken away is kept aside."""
    keys, owners = keys_by_bucket(batch), owners_by_bucket(batch)
    return [
        Change(
            bucket,
            tuple(keys.get(bucket, ())),
            owners.get(bucket, ()),
            None if bucket in batch.anew else position,
            writings.get(bucket, Writing()),
            tuple((owner, asides[owner]) for owner in batch.keys if owner in asides),
        )
        for bucket in sorted({*keys, *owners, *batch.anew})
    ]


def keys_by_bucket(batch: Batch) -> dict[int, list[tuple[str, str]]]:
    """(owner, key text) by bucket; none for what changed as a whole."""
    named: dict[int, list[tuple[str, str]]] = {}
    for owner, texts in batch.keys.items():
        if owner not in batch.owners:
            for text in sorted(texts):
                named.setdefault(bucket_of(text), []).append((owner, text))
    return named


def owners_by_bucket(batch: Batch) -> dict[int, tuple[str, ...]]:
    """Owners that changed as a whole, by their own bucket."""
    moved: dict[int, tuple[str, ...]] = {}
    for owner in sorted(batch.owners):
        moved[owner_bucket(owner)] = (*moved.get(owner_bucket(owner), ()), owner)
    return moved
